//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// kills is how often the loops kill a service.
const kills = 200

// atOnce is a drop-in that lets a service that dies early be started again
// without a wait, so that a loop of kills meets no back-off.
const atOnce = "[restart.backoff]\nhealthy = \"1ms\"\n"

func TestTwoHundredKillsOfNginxNeverMakeTwoCopies(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	p, _ := nginx(t, a, atOnce)
	a.Start()
	a.Await("nginx", "running")
	harness.Eventually(t, "nginx answers", p.answer)
	begin := a.Status("nginx")

	conf := filepath.Join(a.Dir, "nginx.conf")
	masters := func() (pids []int) {
		for _, p := range a.Processes("nginx") {
			if strings.Contains(p.Command, "nginx: master") && strings.Contains(p.Command, conf) {
				pids = append(pids, p.Pid)
			}
		}
		return pids
	}
	before := begin
	for n := range kills {
		harness.Check(t, syscall.Kill(before.Pid, syscall.SIGKILL))
		// Both while the next one comes and once it is there.
		if m := masters(); len(m) > 1 {
			t.Fatalf("kill %d: nginx has %d masters: %v", n, len(m), m)
		}
		before = a.AwaitNext(before)
		if m := masters(); len(m) > 1 {
			t.Fatalf("kill %d: nginx has %d masters: %v", n, len(m), m)
		}
		runs := map[string]bool{}
		for _, p := range a.Processes("nginx") {
			runs[p.Run] = true
		}
		if len(runs) > 1 {
			t.Fatalf("kill %d: processes of %d runs live at the same time", n, len(runs))
		}
	}
	harness.Eventually(t, "nginx answers", p.answer)
	end := a.Status("nginx")
	if end.Run != begin.Run+kills || end.Restarts != begin.Restarts+kills {
		t.Errorf("after %d kills it is run %d with %d restarts, was run %d with %d", kills, end.Run, end.Restarts, begin.Run, begin.Restarts)
	}
	p.isStopped(t)
}

// A program that takes a lock, and a child of it that holds the same lock: if a
// second copy ever began while any process of the first lived, it would say so.
func TestLeftoversAreGoneBeforeTheNextRun(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	lock := filepath.Join(a.Dir, "lock")
	a.Define("locked", fmt.Sprintf("command = [\"/usr/bin/flock\", \"--nonblock\", \"--conflict-exit-code\", \"99\", %q, \"/bin/sleep\", \"100000\"]\n%s", lock, atOnce))
	a.Start()
	before := a.Await("locked", "running")
	for n := range kills {
		harness.Eventually(t, "the child holds the lock", func() error {
			if p := a.Processes("locked"); len(p) != 2 {
				return fmt.Errorf("%d processes live", len(p))
			}
			return nil
		})
		harness.Check(t, syscall.Kill(before.Pid, syscall.SIGKILL))
		before = a.AwaitNext(before)
		if e := before.LastExit; e == nil || harness.Describe(e) != "KILL" {
			t.Fatalf("kill %d: the last exit is %s, want KILL: 99 is a second copy", n, harness.Describe(e))
		}
	}
	if before.Run != kills+1 {
		t.Errorf("after %d kills it is run %d, want %d", kills, before.Run, kills+1)
	}
	a.OK("stop", "locked")
	a.NothingOf("locked")
}

// What a program that forks as fast as it is killed leaves is ended, also what
// has left its session and process group.
func TestStopEndsEveryDescendant(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	script := a.NewFile("brood.sh", `#!/bin/sh
# Children in other sessions, children whose parent has gone, and one that keeps
# making children.
setsid sleep 100000 &
setsid sh -c 'sleep 100000 & sleep 100000 & exec sleep 100000' &
(sleep 100000 &)
(setsid sh -c 'while :; do (setsid sleep 100000 &); (sleep 1 &); sleep 0.01; done' &)
trap '' TERM
while :; do sleep 1; done
`, 0o755)
	a.Define("brood", fmt.Sprintf("command = %q\n[stop]\ntimeout = \"500ms\"\n", script))
	check := a.Healthy()
	a.Start()
	a.Await("brood", "running")
	harness.Eventually(t, "the brood has grown", func() error {
		if p := a.Processes("brood"); len(p) < 12 {
			return fmt.Errorf("%d processes live", len(p))
		}
		return nil
	})
	out := a.OK("stop", "brood")
	a.NothingOf("brood")
	harness.Contains(t, out, "KILL")
	check()
}

func TestACrashLeavesNothingForTheNextRun(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("crash", "command = \"setsid sleep 100000 & sleep 100000 & exec sleep 100000\"\nshell = true\n"+atOnce)
	a.Start()
	before := a.Await("crash", "running")
	harness.Eventually(t, "it has children", func() error {
		if p := a.Processes("crash"); len(p) != 3 {
			return fmt.Errorf("%d processes live", len(p))
		}
		return nil
	})
	after := a.KillService("crash")
	for _, p := range a.Processes("crash") {
		if p.Run == fmt.Sprint(before.Run) {
			t.Errorf("process %d (%s) of the dead run %s lives beside run %d", p.Pid, p.Command, p.Run, after.Run)
		}
	}
}

func TestAProgramThatKeepsDyingIsStartedPatiently(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Define("dies", "command = [\"/bin/false\"]\n")
	a.Define("gives-up", "command = [\"/bin/false\"]\n[restart.backoff]\nfirst = \"1ms\"\nmax = \"5ms\"\n[restart.limit]\ncount = 3\n")
	a.Start()
	a.AwaitStatus("gives-up", "is given up", func(s client.Status) bool { return s.State == "failed" })
	s := a.Status("gives-up")
	if s.Restarts != 3 || s.Fault == "" {
		t.Errorf("given up after %d restarts, want 3; the fault is %q", s.Restarts, s.Fault)
	}
	a.AwaitStatus("dies", "waits", func(s client.Status) bool { return s.State == "waiting" && s.Restarts > 2 })
	if s := a.Status("dies"); harness.Describe(s.LastExit) != "1" {
		t.Errorf("the last exit is %s, want 1", harness.Describe(s.LastExit))
	}
	check()

	// The operator's word lifts the fault.
	a.Define("gives-up", "command = [\"/bin/sleep\", \"100000\"]\n")
	a.OK("start", "gives-up")
	if s := a.Await("gives-up", "running"); s.Fault != "" {
		t.Errorf("after a start by hand the fault is still %q", s.Fault)
	}
}
