//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// Everything that matters works for somebody who has no rights at all and no
// cgroup.
func TestAPlainUserHasTheBasics(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", "command = \"echo started as $(id -u); echo again >/dev/stdout; setsid sleep 100000 & exec sleep 100000\"\nshell = true\n"+atOnce)
	a.Define("task", "kind = \"task\"\ncommand = [\"/bin/echo\", \"done once\"]\n")
	check := a.Healthy()
	a.As(nobody, nogroup)
	a.Start()

	first := a.Await("web", "running")
	if first.Containment == "cgroup" {
		t.Errorf("containment is %s for a user without rights", first.Containment)
	}
	a.AwaitLogged("web", fmt.Sprintf("started as %d", nobody))
	a.AwaitLogged("web", "again")
	a.Await("task", "finished")
	harness.Contains(t, a.Logged("task"), "done once")

	second := a.KillService("web")
	for _, p := range a.Processes("web") {
		if p.Run == fmt.Sprint(first.Run) {
			t.Errorf("process %d (%s) of the dead run lives beside run %d", p.Pid, p.Command, second.Run)
		}
	}
	a.OK("restart", "web")
	a.AwaitNext(second)
	a.OK("stop", "web")
	a.NothingOf("web")
	a.Refused(3, "stopped", "status", "web")
	a.OK("disable", "healthy")
	a.OK("enable", "healthy")
	check()
	if out := a.OK("status"); !strings.Contains(out, "healthy") {
		t.Errorf("status does not name healthy:\n%s", out)
	}
	a.OK("shutdown")
	if code := a.DaemonExit(); code != 0 {
		t.Errorf("after shutdown the daemon exits %d, want 0", code)
	}
	a.NothingOf("")
}

func TestAPlainUserCannotBecomeAnother(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("other", "command = [\"/bin/sleep\", \"100000\"]\nuser = \"daemon\"\n")
	a.Define("limits", "command = [\"/bin/sleep\", \"100000\"]\n[rlimits]\nnofile = 4000000000\n")
	check := a.Healthy()
	a.As(nobody, nogroup)
	a.Start()
	a.Refused(1, "operation not permitted", "start", "other")
	r := a.Refused(1, "operation not permitted", "start", "limits")
	harness.Contains(t, r.Out+r.Err, "RLIMIT_NOFILE")
	harness.Contains(t, r.Out+r.Err, "4000000000")
	check()
}

// Another user may look, and may do nothing.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Start()
	a.Await("healthy", "running")
	stranger := *a
	stranger.As(nobody, nogroup)
	if s := stranger.Status("healthy"); s.State != "running" {
		t.Errorf("a stranger sees healthy as %s", s.State)
	}
	stranger.Refused(5, "not permitted", "stop", "healthy")
	stranger.Refused(5, "not permitted", "shutdown")
	check()
}
