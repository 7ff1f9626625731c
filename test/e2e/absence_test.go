//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/test/internal/harness"
)

// A program that fills its pipe while nobody reads waits for us, and no line is
// lost.
func TestAProgramThatFillsItsPipeWhileNothingLivesWaits(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	const lines = 20000
	begin := filepath.Join(a.Dir, "begin")
	a.Define("fills", fmt.Sprintf("command = \"while [ ! -e %s ]; do sleep 0.01; done; i=0; while [ $i -lt %d ]; do i=$((i + 1)); echo line $i; done; exec sleep 100000\"\nshell = true\n", begin, lines))
	a.Start()
	pids := pidsOf(t, a, []string{"fills"})
	killAll(t, a)
	a.Write(begin, "")
	pipe, err := unix.Open(filepath.Join(a.Run, "services", "fills", "1.out"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	harness.Check(t, err)
	harness.Eventually(t, "the pipe is full", func() error {
		n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ)
		if err == nil && n < 60000 {
			err = fmt.Errorf("%d bytes are in it", n)
		}
		return err
	})
	unix.Close(pipe)
	a.Start()
	a.AwaitLogged("fills", fmt.Sprintf("line %d\n", lines))
	want := 1
	for line := range strings.Lines(a.Logged("fills")) {
		if !strings.HasSuffix(line, fmt.Sprintf(" line %d\n", want)) {
			t.Fatalf("after line %d comes %q", want-1, line)
		}
		want++
	}
	same(t, a, pids)
}

func TestWhatAProgramWroteLastWhileNothingLivedIsSaidToBeLost(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	begin := filepath.Join(a.Dir, "begin")
	a.Define("ends", fmt.Sprintf("kind = \"task\"\ncommand = \"while [ ! -e %s ]; do sleep 0.01; done; echo last words\"\nshell = true\n", begin))
	a.Start()
	pid := a.AwaitStatus("ends", "runs", running).Pid
	killAll(t, a)
	a.Write(begin, "")
	harness.Eventually(t, "the program has ended", func() error {
		if harness.Alive(pid) {
			return fmt.Errorf("process %d lives", pid)
		}
		return nil
	})
	a.Start()
	a.AwaitStatus("ends", "has failed", func(s client.Status) bool { return s.State == "failed" })
	a.AwaitLogged("ends", "may be lost here")
}

// A number that another process has by now is nobody's, whatever says otherwise.
func TestAProcessWithARecycledNumberIsNeverTouched(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	killAll(t, l.Abide)
	stranger := exec.Command("/bin/sleep", "100000")
	harness.Check(t, stranger.Start())
	defer func() {
		stranger.Process.Kill()
		stranger.Wait()
	}()
	path := filepath.Join(l.State, "mirror")
	data, err := os.ReadFile(path)
	harness.Check(t, err)
	m, err := state.DecodeMirror(data)
	harness.Check(t, err)
	for i := range m.Runs {
		if m.Runs[i].Name == "sleeps" {
			m.Runs[i].Pid = stranger.Process.Pid
		}
	}
	harness.Check(t, os.WriteFile(path, m.Encode(), 0o600))
	harness.Check(t, syscall.Kill(l.pids["sleeps"], syscall.SIGKILL))
	l.destroy("removed", "keeper.state")
	l.destroy("removed", "engine.state")
	l.Start()
	now := l.AwaitStatus("sleeps", "runs", running)
	if now.Pid == stranger.Process.Pid {
		t.Error("a stranger was taken for a service")
	}
	l.OK("stop", "sleeps")
	if !harness.Alive(stranger.Process.Pid) {
		t.Error("a stranger was ended")
	}
	delete(l.pids, "sleeps")
	l.noCopies()
}

// Adoption needs no right to look into processes; certainty without any record
// does, and so the service waits where that right is missing.
func TestWithoutTheRightToLookIntoProcesses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		who  string
		lose []string
		wait bool
	}{
		{"root", nil, false},
		{"root", []string{"keeper.state"}, false},
		{"root", []string{"keeper.state", "engine.state"}, false},
		{"root", []string{"keeper.state", "engine.state", "mirror"}, true},
		{"nobody", nil, false},
		{"nobody", []string{"keeper.state", "engine.state"}, false},
		{"nobody", []string{"keeper.state", "engine.state", "mirror"}, false},
	} {
		t.Run(c.who+" without "+strings.Join(c.lose, ", "), func(t *testing.T) {
			t.Parallel()
			a := harness.New(t)
			a.Env = append(a.Env, "ABIDE_CONTAINMENT=traced")
			user := ""
			if c.who == "root" {
				a.Wrap = []string{"setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"}
				user = "user = \"nobody\"\n"
			}
			command := `"/bin/sleep", "100000"`
			if c.wait {
				command = `"/usr/bin/env", "-i", ` + command // some kernels show environments to root all the same
			}
			a.Define("web", "command = ["+command+"]\n"+user)
			if c.who == "nobody" {
				a.As(nobody, nogroup)
			}
			a.Start()
			l := &lost{Abide: a, t: t, pids: pidsOf(t, a, []string{"web"})}
			l.awaitMirror()
			killAll(t, a)
			for _, name := range c.lose {
				l.destroy("removed", name)
			}
			a.Start()
			if !c.wait {
				same(t, a, l.pids)
				return
			}
			pid := l.pids["web"]
			s := a.AwaitStatus("web", "waits", func(s client.Status) bool { return s.State == "failed" })
			for _, want := range []string{fmt.Sprint(pid), "abide adopt PID --as web", "abide clear web"} {
				if !strings.Contains(s.Why, want) {
					t.Errorf("it says %q, want %q in it", s.Why, want)
				}
			}
			if !harness.Alive(pid) {
				t.Error("what may be the service was ended")
			}
			harness.Check(t, syscall.Kill(pid, syscall.SIGKILL))
			a.OK("clear", "web")
			a.Await("web", "running")
		})
	}
}

// A container that is started again has its old run directory on a volume and none
// of its processes: nothing is adopted, everything is started.
func TestAContainerThatIsStartedAgainAdoptsNothing(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Wrap = []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	names := sleepers(a, 3)
	a.Start()
	for _, name := range names {
		a.AwaitStatus(name, "runs", running)
	}
	harness.Check(t, syscall.Kill(a.DaemonPid(), syscall.SIGKILL))
	a.DaemonExit()
	a.Gone("")
	a.Start()
	for _, name := range names {
		s := a.AwaitStatus(name, "runs", running)
		if s.LastExit != nil || s.Restarts != 0 {
			t.Errorf("%s: last exit %s, %d restarts: it was taken for what ran before", name, harness.Describe(s.LastExit), s.Restarts)
		}
		if copies := a.Processes(name); len(copies) != 1 {
			t.Errorf("%s has the processes %v, want one", name, copies)
		}
	}
	if out := a.Output(); strings.Contains(out, "taken over") {
		t.Errorf("the daemon said:\n%s", out)
	}
	a.OK("shutdown")
}
