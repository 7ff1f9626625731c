//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// snapshots are the lines of `abide rollback NAME` without their times.
func snapshots(a *harness.Abide, name string) []string {
	a.T.Helper()
	var lines []string
	for _, line := range planned(a.OK("rollback", name))[1:] {
		words := strings.Fields(line)
		lines = append(lines, strings.Join(append(words[:1], words[3:]...), " "))
	}
	return lines
}

func runsFor(seconds string) func(client.Status) bool {
	return func(s client.Status) bool {
		return s.State == "running" && s.Pid > 0 && strings.HasSuffix(harness.CommandLine(s.Pid), "/bin/sleep "+seconds)
	}
}

func sleepFor(seconds int) string {
	return fmt.Sprintf("command = [\"/bin/sleep\", \"%d\"]\n", seconds)
}

func TestRollbackPinsAServiceUntilItIsUnpinned(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", sleepFor(1001))
	check := a.Healthy()
	a.Start()
	a.AwaitStatus("web", "runs by the first file", runsFor("1001"))
	a.Define("web", sleepFor(1002)+"environment = { DB_PASSWORD = \"hunter2\" }\n")
	a.OK("apply")
	a.AwaitStatus("web", "runs by the second file", runsFor("1002"))
	a.Define("web", sleepFor(1003))
	a.OK("restart", "web")
	expectLines(t, "snapshots", snapshots(a, "web"), "1 boot -", "2 apply, uid 0 command, environment", "3 restart, uid 0 command, environment in force")
	info, err := os.Stat(filepath.Join(a.State, "snapshots"))
	harness.Check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("snapshots may be read: %v", info.Mode())
	}

	a.OK("rollback", "web", "2")
	pinned := func(what string) {
		t.Helper()
		s := a.AwaitStatus("web", "runs by snapshot 2 after "+what, runsFor("1002"))
		if !s.Pinned || !s.Definition.Changed || !strings.Contains(s.Why, "pinned to snapshot 2 by uid 0") {
			t.Errorf("after %s: %+v", what, s)
		}
	}
	pinned("rollback")
	expectLines(t, "snapshots", snapshots(a, "web"), "1 boot -", "2 apply, uid 0 command, environment pinned", "3 restart, uid 0 command, environment")
	shown := a.OK("show", "web")
	if !strings.HasPrefix(shown, "# pinned to snapshot 2 by uid 0") || strings.Contains(shown, "hunter2") || !strings.Contains(shown, `DB_PASSWORD = "***"`) {
		t.Errorf("show:\n%s", shown)
	}
	r := a.Do("apply")
	if r.Code != 0 || !strings.Contains(r.Out, "passed over") || !strings.Contains(r.Err, "abide apply --unpin web") {
		t.Errorf("apply: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	pinned("apply")
	killEngine(t, a)
	pinned("the death of the engine")
	a.OK("restart", "web")
	pinned("restart")
	// Another instance on the same state folder, as after a reboot; the file is gone
	// by then.
	file := filepath.Join(a.Services, "web.toml")
	text, err := os.ReadFile(file)
	harness.Check(t, err)
	harness.Check(t, os.Remove(file))
	a.OK("shutdown")
	a.DaemonExit()
	harness.Check(t, os.RemoveAll(a.Run))
	a.Start()
	if s := a.AwaitStatus("web", "runs by snapshot 2 without its file", runsFor("1002")); !s.Pinned {
		t.Errorf("it is not pinned: %+v", s)
	}
	a.OK("apply")
	pin := a.Status("web")
	harness.Check(t, os.WriteFile(file, text, 0o644))
	pinned("the return of its file")
	if s := a.Status("web"); s.Pid != pin.Pid {
		t.Errorf("a file that is passed over had an effect")
	}
	a.OK("apply", "--unpin", "web")
	if s := a.AwaitStatus("web", "runs by its file again", runsFor("1003")); s.Pinned || s.Definition.Changed {
		t.Errorf("unpinned: %+v", s)
	}
	check()
}

func TestARollbackThatCannotBeIsRefusedBeforeAnythingStops(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	program := a.NewFile("program", "#!/bin/sh\nexec sleep 1001\n", 0o755)
	a.Define("web", fmt.Sprintf("command = [%q]\n", program))
	a.Start()
	a.Await("web", "running")
	a.Define("web", sleepFor(1002))
	a.OK("apply")
	pid := a.AwaitStatus("web", "runs by the second file", runsFor("1002")).Pid
	harness.Check(t, os.Remove(program))
	a.Refused(1, "cannot roll back web to snapshot 1: cannot find program "+program, "rollback", "web", "1")
	a.Refused(1, "cannot roll back web to snapshot 7: there is none of that number", "rollback", "web", "7")
	a.Refused(2, "is no number of a snapshot", "rollback", "web", "x")
	a.Refused(4, "unknown service", "rollback", "nobody", "1")
	a.Refused(4, "unknown service", "rollback", "nobody")
	a.Refused(2, "it needs the NAME", "apply", "--unpin")
	if s := a.Status("web"); s.Pid != pid || s.Pinned {
		t.Errorf("what was refused had an effect: %+v", s)
	}
}

// A full disk refuses what has to be kept, and nothing else.
func TestAFullStateFolderRefusesPinsAndScales(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	harness.Check(t, os.MkdirAll(a.State, 0o700))
	harness.Check(t, syscall.Mount("tmpfs", a.State, "tmpfs", 0, "size=256k,mode=700"))
	t.Cleanup(func() { _ = syscall.Unmount(a.State, syscall.MNT_DETACH) })
	a.Define("web", sleepFor(1001))
	a.Define("copy@", sleepFor(2001)+"scale = 2\n")
	a.Start()
	a.AwaitStatus("web", "runs", runsFor("1001"))
	a.Define("web", sleepFor(1002))
	a.OK("apply")
	pid := a.AwaitStatus("web", "runs by the second file", runsFor("1002")).Pid
	filler, err := os.Create(filepath.Join(a.State, "filler"))
	harness.Check(t, err)
	defer filler.Close()
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	a.Refused(1, "no space left on device", "rollback", "web", "1")
	a.Refused(1, "no space left on device", "scale", "copy", "4")
	if s := a.Status("web"); s.Pid != pid || s.Pinned {
		t.Errorf("a rollback that was refused had an effect: %+v", s)
	}
	if _, err := a.Peek("copy@3"); err == nil {
		t.Error("a scale that was refused had an effect")
	}
	// What runs can be changed all the same.
	a.Define("web", sleepFor(1003))
	a.OK("apply")
	a.AwaitStatus("web", "runs by the third file", runsFor("1003"))
	harness.Check(t, filler.Truncate(0))
	a.OK("rollback", "web", "1")
	a.AwaitStatus("web", "runs by the first snapshot", runsFor("1001"))
}
