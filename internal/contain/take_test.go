//go:build linux

package contain

import (
	"context"
	"os/exec"
	"slices"
	"testing"

	"github.com/abide-project/abide/internal/sys/proctree"
)

// foreigner starts a program that has nothing to do with the keeper, and a child of
// it, and returns both numbers.
func (w *world) foreigner() (main, child int) {
	w.Helper()
	c := exec.Command("/usr/bin/perl", "-e", report+"if (fork) { "+forever+" } report; "+forever, w.readyAt)
	c.Env = []string{}
	if err := c.Start(); err != nil {
		w.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		c.Wait()
		close(ended)
	}()
	w.Cleanup(func() {
		c.Process.Kill()
		<-ended
	})
	return c.Process.Pid, w.report()
}

func (w *world) startOf(pid int) uint64 {
	w.Helper()
	stat, err := proctree.ReadStat("/proc", pid)
	if err != nil {
		w.Fatal(err)
	}
	return stat.Start
}

func TestAProcessFromOutsideIsTakenWithItsChildren(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		pid, child := w.foreigner()
		main, below := w.watch(pid), w.watch(child)
		if _, _, mark := w.manager.Owner(pid); mark != "" {
			t.Errorf("before, %s says that it belongs to a run", mark)
		}
		g, why, err := w.manager.Take("web", 3, pid, w.startOf(pid))
		if err != nil || why != nil {
			t.Fatalf("%v, %v", why, err)
		}
		if g.Kind() != w.manager.Kind() {
			t.Errorf("it is held by %s", g.Kind())
		}
		members := g.Members()
		slices.Sort(members)
		want := []int{pid, child}
		slices.Sort(want)
		if !slices.Equal(members, want) {
			t.Errorf("members are %v, want %v", members, want)
		}
		for _, p := range want {
			if name, run, mark := w.manager.Owner(p); name != "web" || run != 3 || mark == "" {
				t.Errorf("process %d belongs to %s run %d by %q", p, name, run, mark)
			}
		}
		if _, _, err := w.manager.Take("web", 3, pid, w.startOf(pid)); err == nil {
			t.Error("taken twice")
		}
		again := w.detect(w.mode(g))
		if taken, err := again.Adopt("web", 3, pid, w.startOf(pid)); err != nil || taken.Kind() != g.Kind() {
			t.Errorf("the next engine: %v", err)
		}
		w.wantClean(g, g.Kill(context.Background()))
		w.wantGone("the main process and its child", main, below)
	})
}

// mode is what detect was asked for.
func (w *world) mode(g Group) string {
	if g.Kind() == Cgroup && w.manager.v1 != "" {
		return "cgroup-v1"
	}
	return g.Kind()
}

func TestAGroupThatIsLeftLetsItsProcessesBeTakenAgain(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, pid := w.perl("web", 1, report+"report; "+forever)
		w.report()
		main := w.watch(pid)
		if name, _, _ := w.manager.Owner(pid); name != "web" {
			t.Errorf("it belongs to %q", name)
		}
		g.Leave()
		if name, _, mark := w.manager.Owner(pid); mark != "" {
			t.Errorf("left, it belongs to %q by %s", name, mark)
		}
		taken, why, err := w.manager.Take("web", 2, pid, w.startOf(pid))
		if err != nil || why != nil {
			t.Fatalf("%v, %v", why, err)
		}
		w.wantAlive("the main process", main)
		w.wantClean(taken, taken.Kill(context.Background()))
		w.wantGone("the main process", main)
	})
}
