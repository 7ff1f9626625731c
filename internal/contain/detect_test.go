//go:build linux

package contain

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/sys/cgroupfs"
)

func TestLeafNamesAreDirectoryNamesAndDiffer(t *testing.T) {
	names := []string{
		"web", "web@2", "web/reload", "web%2Freload", ".", "..", ".web", "a.b", "a b", "a\nb", "ö",
		strings.Repeat("x", 160), strings.Repeat("/", 160), strings.Repeat("/", 159) + ".",
	}
	seen := make(map[string]string)
	for _, name := range names {
		leaf := leafName(name, 12)
		if len(leaf) > 255 || strings.ContainsAny(leaf, "/\n ") || strings.HasPrefix(leaf, ".") {
			t.Errorf("the leaf of %q is %q", name, leaf)
		}
		if other, taken := seen[leaf]; taken {
			t.Errorf("%q and %q have the same leaf %q", name, other, leaf)
		}
		seen[leaf] = name
	}
	if got := leafName("web@2", 12); got != "web@2.12" {
		t.Errorf("the leaf of web@2 is %q", got)
	}
}

func TestARunIsPreparedOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, err := w.manager.Prepare("web/reload", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.manager.Prepare("web/reload", 1); err == nil {
			t.Error("a second group was made for the same run")
		}
		g.Remove()
		w.settle()
		if g, err = w.manager.Prepare("web/reload", 1); err != nil {
			t.Error(err)
		}
		g.Remove()
		g.Remove()
	})
}

// groups returns the control groups of the world's instance.
func (w *world) groups() []string {
	w.Helper()
	entries, err := os.ReadDir(w.manager.base.Path)
	if err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

func TestControlGroupsAreRemovedWithTheirRuns(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	w := newWorld(t, Cgroup)
	g, main := w.perl("web", 1, daemonize)
	w.report()
	w.keeper.waitEnd(main)
	// A service may divide its group further.
	leaf := filepath.Join(w.manager.base.Path, "web.1")
	for _, dir := range []string{"inner", "inner/most"} {
		if err := os.Mkdir(filepath.Join(leaf, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	pid := g.Members()[0]
	if err := os.WriteFile(filepath.Join(leaf, "inner/most/cgroup.procs"), []byte(itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
	if got := g.Members(); len(got) != 1 || got[0] != pid {
		t.Errorf("members are %v, want %d", got, pid)
	}
	w.wantClean(g, g.Clean(context.Background(), Options{}))
	g.Remove()
	w.settle()
	if got := w.groups(); len(got) != 0 {
		t.Errorf("groups %v are left", got)
	}
}

func TestAKeptGroupIsRemovedWhenItIsEmpty(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	w := newWorld(t, Cgroup)
	g, main := w.perl("sshd", 1, daemonize)
	kept := w.watch(w.report())
	w.keeper.waitEnd(main)
	g.Leave()
	w.settle()
	if got := w.groups(); len(got) != 1 {
		t.Fatalf("groups are %v, want that of the kept process", got)
	}
	w.wantAlive("the kept process", kept)
	g2, err := w.manager.Adopt("sshd", 1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.wantClean(g2, g2.Kill(context.Background()))
	g2.Remove()
	w.settle()
	if got := w.groups(); len(got) != 0 {
		t.Errorf("groups %v are left", got)
	}
}

func TestStaleGroupsAreSweptAndLivingOnesKept(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	w := newWorld(t, Cgroup)
	own := w.manager.base.Path
	dead := filepath.Join(filepath.Dir(own), baseName("dead-"+w.id))
	living := Detect("living-"+w.id, Config{Keeper: w.keeper.pid(), Force: Cgroup})
	for _, dir := range []string{dead, filepath.Join(dead, "web.1"), filepath.Join(living.base.Path, "web.1"), filepath.Join(own, "old.3")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g, err := w.manager.Prepare("web", 2)
	if err != nil {
		t.Fatal(err)
	}
	w.manager.sweep()
	if got := w.groups(); len(got) != 1 || got[0] != "web.2" {
		t.Errorf("groups are %v, want web.2", got)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("the group of a dead instance is left")
	}
	if _, err := os.Stat(filepath.Join(living.base.Path, "web.1")); err != nil {
		t.Error("the group of a living instance was removed")
	}
	living.base.Close()
	w.manager.sweep()
	if _, err := os.Stat(living.base.Path); err == nil {
		t.Error("the group of an ended instance is left")
	}
	g.Remove()
	w.settle()

	// Someone else tidies up more than we do.
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	g, err = w.manager.Prepare("web", 3)
	if err != nil || g.Kind() != Cgroup {
		t.Errorf("after the base was removed: kind %s, %v: %s", g.Kind(), err, w.manager.Describe())
	}
	g.Remove()
}

func TestARunWithoutControlGroupIsTracedAndSaid(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	w := newWorld(t, Cgroup)
	if err := os.WriteFile(filepath.Join(w.manager.base.Path, "cgroup.max.descendants"), []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	g, main := w.perl("web", 1, daemonize)
	left := w.watch(w.report())
	w.keeper.waitEnd(main)
	if g.Kind() != Traced || !strings.Contains(w.manager.Describe(), "some runs are traced: cannot make") {
		t.Errorf("kind is %s: %s", g.Kind(), w.manager.Describe())
	}
	r := g.Clean(context.Background(), Options{})
	w.wantGone("the leftover", left)
	w.wantClean(g, r)
}

func TestUsageIsThatOfAllProcessesOfTheRun(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	w := newWorld(t, Cgroup)
	g, main := w.perl("web", 1, report+`if (!fork) { 1 while times < 0.05; exit } wait; report; `+forever)
	w.report()
	if u := g.Usage(); u.CPU <= 0 {
		t.Errorf("usage of process %d is %+v", main, u)
	}
	if g.OOMKilled() {
		t.Error("the run was not killed for want of memory")
	}
	w.wantClean(g, g.Kill(context.Background()))
}

func TestAGroupIsFoundWhereTheMainProcessIs(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	// The engine before was in another group than this one.
	w := newWorld(t, Cgroup)
	g, main := w.perl("web", 1, report+`report; `+forever)
	w.report()
	moved := Detect(w.id, Config{Run: w.dir, Keeper: w.keeper.pid(), Force: Cgroup})
	elsewhere := filepath.Join(moved.base.Path, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := cgroupfs.Open(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	moved.base = dir
	stat := g.(*group).mainProc()
	found, err := moved.Adopt("web", 1, main, stat.start)
	if err != nil {
		t.Fatal(err)
	}
	if found.Kind() != Cgroup || found.JoinPaths()[0] != g.JoinPaths()[0] {
		t.Errorf("found %s %v, want %v", found.Kind(), found.JoinPaths(), g.JoinPaths())
	}
	w.wantClean(found, found.Kill(context.Background()))
}

func BenchmarkOneRun(b *testing.B) {
	for _, mode := range modes {
		b.Run(mode, func(b *testing.B) {
			m := Detect("bench", Config{Keeper: os.Getpid(), Force: mode})
			for run := uint64(1); b.Loop(); run++ {
				g, err := m.Prepare("web", run)
				if err != nil {
					b.Fatal(err)
				}
				g.CloseDir()
				g.Empty(true)
				g.Remove()
			}
		})
	}
}
