//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// container prepares abide as process 1 of a pid namespace, as in a container.
func container(t *testing.T) *harness.Abide {
	t.Helper()
	a := harness.New(t)
	a.Wrap = []string{"unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"}
	return a
}

func initArguments(a *harness.Abide, command ...string) []string {
	arguments := []string{"init", "--run", a.Run, "--state", a.State, "--log", a.Log, "--"}
	return append(arguments, command...)
}

func TestInitEndsWithItsProgramsCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		want   int
	}{
		{"exit 0", 0},
		{"exit 7", 7},
		{"kill -KILL $$", 137},
		{"kill -TERM $$", 143},
		{"kill -SEGV $$", 139},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			a := container(t)
			a.Launch(initArguments(a, "/bin/sh", "-c", c.script)...)
			if code := a.DaemonExit(); code != c.want {
				t.Errorf("%q: init exits %d, want %d; it said:\n%s", c.script, code, c.want, a.Output())
			}
		})
	}
}

func TestInitSaysWhatItCannotStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		program, says string
		want          int
	}{
		{"/nonexistent/program", "does not exist", 127},
		{"/etc/passwd", "not executable", 126},
	} {
		a := container(t)
		a.Launch(initArguments(a, c.program)...)
		if code := a.DaemonExit(); code != c.want {
			t.Errorf("init of %s exits %d, want %d", c.program, code, c.want)
		}
		harness.Contains(t, a.Output(), c.says)
		harness.Contains(t, a.Output(), c.program)
	}
}

func TestInitReapsOrphans(t *testing.T) {
	t.Parallel()
	a := container(t)
	// The shell's own children are gone at once, so all that is left to reap is
	// process 1's. A thousandth of a second a look: the last ones may be on
	// their way when the loop ends.
	a.Launch(initArguments(a, "/bin/sh", "-c", `
n=0
while [ $n -lt 10000 ]; do (: &); n=$((n + 1)); done
tries=0
while grep -q '^State:	Z' /proc/[0-9]*/status 2>/dev/null; do
	tries=$((tries + 1))
	[ $tries -lt 2000 ] || { echo "zombies are left"; exit 1; }
	sleep 0.01
done
echo "no zombies are left"`)...)
	if code := a.DaemonExit(); code != 0 {
		t.Errorf("init exits %d, want 0", code)
	}
	harness.Contains(t, a.Output(), "no zombies are left")
}

func TestInitShutsDownAtTERM(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			a := container(t)
			a.Launch(initArguments(a, "/bin/sh", "-c", `trap 'echo told to end; exit 0' TERM; echo up; while :; do sleep 1 & wait $!; done`)...)
			harness.Eventually(t, "the program is up", func() error {
				if out := a.Output(); !strings.Contains(out, "up") {
					return fmt.Errorf("the output is %q", out)
				}
				return nil
			})
			inner := harness.Children(a.DaemonPid())
			if len(inner) != 1 {
				t.Fatalf("unshare has the children %v", inner)
			}
			harness.Check(t, syscall.Kill(inner[0], signal))
			if code := a.DaemonExit(); code != 0 {
				t.Errorf("init exits %d, want 0", code)
			}
			harness.Contains(t, a.Output(), "told to end")
		})
	}
}

// HUP, and whatever else a container is sent, does not end process 1.
func TestInitPassesSignalsOn(t *testing.T) {
	t.Parallel()
	a := container(t)
	a.Launch(initArguments(a, "/bin/sh", "-c", `trap 'echo got USR1' USR1; trap 'echo got TERM; exit 0' TERM; echo up; while :; do sleep 1 & wait $!; done`)...)
	says := func(text string) {
		harness.Eventually(t, "the program says "+text, func() error {
			if out := a.Output(); !strings.Contains(out, text) {
				return fmt.Errorf("the output is %q", out)
			}
			return nil
		})
	}
	says("up")
	inner := harness.Children(a.DaemonPid())[0]
	harness.Check(t, syscall.Kill(inner, syscall.SIGHUP))
	harness.Check(t, syscall.Kill(inner, syscall.SIGUSR1))
	says("got USR1")
	harness.Check(t, syscall.Kill(inner, syscall.SIGTERM))
	says("got TERM")
	if code := a.DaemonExit(); code != 0 {
		t.Errorf("init exits %d after a shutdown that was asked for, want 0", code)
	}
}
