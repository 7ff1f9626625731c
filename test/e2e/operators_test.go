//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// as runs a command line as another user.
func as(a *harness.Abide, uid uint32, arguments ...string) harness.Result {
	c := a.Command("abide", append([]string{"--run", a.Run}, arguments...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return a.RunCommand(c)
}

// What is added later and runs as somebody else is not given away by a pattern that
// somebody wrote without thinking of it.
func TestAPatternOfOperatorsDoesNotHoldForWhatComesLaterAsAnotherUser(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	app := func(user string) string {
		return "command = [\"/bin/sleep\", \"100000\"]\nuser = \"" + user + "\"\nready.after = \"1ms\"\n"
	}
	a.Write(filepath.Join(a.Services, "abide.toml"), "[operators.\"app*\"]\nrestart = [\"user:daemon\"]\n")
	a.Define("app1", app("nobody"))
	a.Define("other", app("nobody"))
	const daemon, bin = 1, 2
	expect := func(when string, uid uint32, want map[string]int) {
		t.Helper()
		for line, code := range want {
			if r := as(a, uid, strings.Fields(line)...); r.Code != code {
				t.Errorf("%s abide %s as uid %d exits %d, want %d: %s%s", when, line, uid, r.Code, code, r.Out, r.Err)
			}
		}
	}
	a.Start()
	a.Await("app1", "running")
	a.Await("other", "running")
	expect("at first", daemon, map[string]int{"restart app1": 0, "stop app1": 5, "restart other": 5, "apply": 5})
	expect("at first", bin, map[string]int{"restart app1": 5})

	a.Define("app-root", app("root"))
	a.Define("app2", app("nobody"))
	a.OK("apply")
	a.Await("app-root", "running")
	a.Await("app2", "running")
	later := map[string]int{"restart app1": 0, "restart app2": 0, "restart app-root": 5}
	expect("after apply", daemon, later)
	const said = "[operators.\"app*\"] does not hold for it: it was given for services of nobody, and this one runs as root"
	harness.Contains(t, a.OK("events"), "app-root definition: "+said)

	// The next abide remembers for whom it was.
	a.OK("shutdown")
	a.DaemonExit()
	a.Start()
	a.Await("app-root", "running")
	expect("after a restart of abide", daemon, later)

	// Whoever writes the table again has seen what is there now.
	a.Write(filepath.Join(a.Services, "abide.toml"), "[operators.\"app*\"]\nrestart = [\"user:daemon\"]\nstop = [\"user:daemon\"]\n")
	a.OK("apply")
	expect("after another table", daemon, map[string]int{"restart app-root": 0, "stop app1": 0})
	a.NothingOf("app1")
}
