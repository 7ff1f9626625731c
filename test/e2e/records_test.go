//go:build linux

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/test/internal/harness"
)

// lost is what a test of lost records has: services that must keep their
// processes, one of which writes numbered lines all the time.
type lost struct {
	*harness.Abide
	t    *testing.T
	pids map[string]int
	was  string // the id of the run directory
	gaps int    // how many times lines may be missing
}

const writer = `command = "i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.02; done"
shell = true
`

func newLost(t *testing.T) *lost {
	t.Helper()
	return lostIn(t, harness.New(t))
}

func lostIn(t *testing.T, a *harness.Abide) *lost {
	t.Helper()
	l := &lost{Abide: a, t: t}
	l.Define("sleeps", `command = ["/bin/sleep", "100000"]`)
	l.Define("writes", writer)
	l.Define("brood", "command = \"setsid sleep 100000 & sleep 100000 & exec sleep 100000\"\nshell = true\n")
	l.Start()
	l.pids = pidsOf(t, l.Abide, []string{"sleeps", "writes", "brood"})
	id, err := os.ReadFile(l.in("id"))
	harness.Check(t, err)
	l.was = strings.TrimSpace(string(id))
	l.awaitMirror()
	return l
}

func (l *lost) in(name string) string { return filepath.Join(l.Run, name) }

// awaitMirror waits until the mirror names all main processes.
func (l *lost) awaitMirror() {
	l.t.Helper()
	harness.Eventually(l.t, "the mirror is complete", func() error {
		data, err := os.ReadFile(filepath.Join(l.State, "mirror"))
		if err != nil {
			return err
		}
		m, err := state.DecodeMirror(data)
		if err != nil {
			return err
		}
		found := 0
		for _, r := range m.Runs {
			if l.pids[r.Name] == r.Pid {
				found++
			}
		}
		if found != len(l.pids) {
			return fmt.Errorf("it names %d of %d: %+v", found, len(l.pids), m.Runs)
		}
		return nil
	})
}

// destroy does one thing to one file of the run directory.
func (l *lost) destroy(how, name string) {
	l.t.Helper()
	path := l.in(name)
	if name == "mirror" {
		path = filepath.Join(l.State, name)
	}
	switch how {
	case "removed":
		harness.Check(l.t, os.RemoveAll(path))
	case "truncated":
		harness.Check(l.t, os.Truncate(path, 100))
	case "noise":
		l.overwrite(path, 0, 64<<10, nil)
	case "another boot":
		// Both files have the boot in their first page.
		at := map[string]int64{"keeper.state": 40, "engine.state": 18}[name]
		l.overwrite(path, at, 36, []byte("00000000-0000-0000-0000-000000000000"))
	case "slots":
		at := map[string]int64{"keeper.state": 4096, "engine.state": 4096}[name]
		l.overwrite(path, at, 0, make([]byte, 3*1024))
	default:
		l.t.Fatalf("no way is called %s", how)
	}
}

func (l *lost) overwrite(path string, at int64, size int, with []byte) {
	l.t.Helper()
	if with == nil {
		with = make([]byte, size)
		rand.Read(with)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	harness.Check(l.t, err)
	defer f.Close()
	_, err = f.WriteAt(with, at)
	harness.Check(l.t, err)
}

// kept checks that every service lives in its process, once, and is in charge of
// us: its exit is seen and it is started again, its lines are logged.
func (l *lost) kept() {
	l.t.Helper()
	for name, pid := range l.pids {
		s := l.AwaitStatus(name, "runs", running)
		if s.Pid != pid || s.Restarts != 0 {
			l.t.Errorf("%s has pid %d in run %d after %d restarts, want pid %d; it says %q", name, s.Pid, s.Run, s.Restarts, pid, s.Why)
		}
	}
	l.noCopies()
	before := l.lastLine()
	harness.Eventually(l.t, "lines are logged", func() error {
		if n := l.lastLine(); n <= before {
			return fmt.Errorf("the last line is %d", n)
		}
		return nil
	})
	l.unbroken()
	after := l.KillService("sleeps")
	l.pids["sleeps"] = after.Pid
	l.OK("stop", "brood")
	l.NothingOf("brood")
	l.noCopies()
}

// noCopies is an error if a service lives in processes of two runs.
func (l *lost) noCopies() {
	l.t.Helper()
	for name := range l.pids {
		runs := map[string][]int{}
		for _, p := range l.Processes(name) {
			runs[p.Run] = append(runs[p.Run], p.Pid)
		}
		if len(runs) > 1 {
			l.t.Errorf("%s lives twice: %v", name, runs)
		}
	}
}

func (l *lost) lastLine() int {
	l.t.Helper()
	n := 0
	for line := range strings.Lines(l.Logged("writes")) {
		if _, text, ok := strings.Cut(line, "line "); ok {
			fmt.Sscan(text, &n)
		}
	}
	return n
}

// unbroken is an error if a line of the writer is missing, doubled or torn. What
// was on its way through a stage that was destroyed may be missing, once.
func (l *lost) unbroken() {
	l.t.Helper()
	want := 1
	for line := range strings.Lines(l.Logged("writes")) {
		_, text, ok := strings.Cut(line, "line ")
		if !ok {
			continue
		}
		if n := 0; strings.TrimSpace(text) != fmt.Sprint(want) {
			if fmt.Sscan(text, &n); n < want || l.gaps == 0 {
				l.t.Errorf("after line %d comes %q", want-1, line)
				return
			}
			want = n
			l.gaps--
		}
		want++
	}
}

// Each way to lose records while nothing of abide lives. The run directory goes
// with its folder of pipes when it is named "".
func TestWhatLivesIsFoundWhenRecordsAreLost(t *testing.T) {
	t.Parallel()
	type loss struct{ how, name string }
	for _, losses := range [][]loss{
		{{"truncated", "keeper.state"}},
		{{"noise", "keeper.state"}, {"truncated", "engine.state"}},
		{{"another boot", "keeper.state"}, {"noise", "id"}, {"removed", "lock"}},
		{{"removed", "keeper.state"}},
		{{"slots", "keeper.state"}},
		{{"noise", "engine.state"}},
		{{"removed", "id"}},
		{{"removed", "applied"}, {"slots", "engine.state"}},
		{{"removed", "services"}},
		{{"slots", "keeper.state"}, {"slots", "engine.state"}, {"removed", "id"}},
		{{"removed", "keeper.state"}, {"noise", "engine.state"}, {"noise", "mirror"}},
		{{"removed", "keeper.state"}, {"removed", "engine.state"}, {"removed", "id"}, {"removed", "mirror"}},
		{{"removed", ""}},
		{{"removed", ""}, {"removed", "mirror"}},
	} {
		var name []string
		for _, loss := range losses {
			name = append(name, loss.how+" "+loss.name)
		}
		t.Run(strings.Join(name, ", "), func(t *testing.T) {
			t.Parallel()
			l := newLost(t)
			killAll(t, l.Abide)
			for _, loss := range losses {
				l.destroy(loss.how, loss.name)
				if loss.name == "" {
					l.gaps = 1
				}
			}
			l.Start()
			id, err := os.ReadFile(l.in("id"))
			harness.Check(t, err)
			if got := strings.TrimSpace(string(id)); got != l.was {
				t.Errorf("the id is %s, what runs has %s", got, l.was)
			}
			l.kept()
		})
	}
}

// missing are the files that a living instance has in its run directory and that
// are not there.
func (l *lost) missing() (names []string) {
	for _, name := range []string{"lock", "id", "keeper.state", "control.sock", "engine.state", "services"} {
		if _, err := os.Lstat(l.in(name)); err != nil {
			names = append(names, name)
		}
	}
	return names
}

func (l *lost) awaitRebuilt() {
	l.t.Helper()
	harness.Eventually(l.t, "the run directory is made again", func() error {
		if names := l.missing(); len(names) > 0 {
			return fmt.Errorf("it lacks %v", names)
		}
		_, err := l.About()
		return err
	})
	id, err := os.ReadFile(l.in("id"))
	harness.Check(l.t, err)
	if got := strings.TrimSpace(string(id)); got != l.was {
		l.t.Errorf("the id is %s, was %s", got, l.was)
	}
}

// Files that are lost while all of abide lives, and what dies then.
func TestTheRunDirectoryMayBeWiped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, dies string }{
		{"", "nothing"}, {"", "the engine, then"}, {"", "the engine, at once"}, {"", "all"},
		{"lock", "all"}, {"id", "all"}, {"keeper.state", "all"}, {"keeper.state", "the engine, at once"},
		{"engine.state", "the engine, then"}, {"control.sock", "nothing"}, {"services", "the engine, then"},
	} {
		name := c.what
		if name == "" {
			name = "all of it"
		}
		t.Run(name+" is removed, "+c.dies+" dies", func(t *testing.T) {
			t.Parallel()
			l := newLost(t)
			about, err := l.About()
			harness.Check(t, err)
			l.destroy("removed", c.what)
			if c.dies == "the engine, at once" {
				harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
			}
			l.awaitRebuilt()
			switch c.dies {
			case "the engine, then":
				harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
				harness.Eventually(t, "another engine answers", func() error {
					now, err := l.About()
					if err == nil && now.Pid == about.Pid {
						err = fmt.Errorf("it is %d", now.Pid)
					}
					return err
				})
			case "all":
				killAll(t, l.Abide)
				l.Start()
			}
			l.kept()
		})
	}
}

// A second daemon must not become a second supervisor while the run directory
// says nothing of the first.
func TestASecondDaemonIsRefusedWhileTheRunDirectoryIsGone(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	about, err := l.About()
	harness.Check(t, err)
	// Nobody makes it again while these do not run.
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGSTOP))
	l.destroy("removed", "")
	r := l.RunCommand(l.Command("abide", l.DaemonArguments()...))
	if r.Code != 1 {
		t.Errorf("a second daemon exits %d, want 1\n%s%s", r.Code, r.Out, r.Err)
	}
	harness.Contains(t, r.Err, fmt.Sprint(about.Keeper))
	if _, err := os.Lstat(l.Run); err == nil {
		t.Error("the refused daemon made the run directory")
	}
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGCONT))
	l.awaitRebuilt()
	l.kept()
}

// Where the folder cannot be made again everything runs on, and is found again as
// soon as there is a place for it.
func TestARunDirectoryWithoutAParentComesBackWithIt(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	parent := filepath.Join(a.Dir, "login")
	a.Run = filepath.Join(parent, "abide")
	harness.Check(t, os.Mkdir(parent, 0o755))
	l := lostIn(t, a)
	harness.Check(t, os.RemoveAll(parent))
	harness.Eventually(t, "it is said", func() error {
		if !strings.Contains(l.Output(), "cannot be made again") {
			return fmt.Errorf("the daemon says: %s", l.Output())
		}
		return nil
	})
	for name, pid := range l.pids {
		if !harness.Alive(pid) {
			t.Errorf("%s has ended", name)
		}
	}
	harness.Check(t, os.Mkdir(parent, 0o755))
	l.awaitRebuilt()
	l.kept()
	if n := strings.Count(l.Output(), "cannot be made again"); n != 1 {
		t.Errorf("it is said %d times that the directory cannot be made, want once", n)
	}
}
