//go:build linux

package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// another writes a program that is this test's keeper under another name. first is
// shell that runs before it.
func (r *rig) another(name, first string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	text := fmt.Sprintf("#!/bin/sh\n%s\n%s=keeper exec %s \"$@\"\n", first, roleVar, must(os.Executable()))
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// change asks for an upgrade to a keeper and an engine; "" stands for the present
// engine.
func (e *engine) change(keeper, engine string) wire.Upgraded {
	e.rig.t.Helper()
	self := must(os.Executable())
	if engine == "" {
		engine = self
	}
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		e.rig.t.Fatal(err)
	}
	defer program.Close()
	up, err := e.Upgrade(keeper, engine, "", int(program.Fd()))
	if err != nil {
		e.rig.t.Fatalf("%v; stderr:\n%s", err, e.rig.stderr)
	}
	return up
}

func TestUpgradeChangesTheKeeperAndNothingElse(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	keeper := e.welcome.KeeperPid
	var pids []int
	for i := range 5 {
		pids = append(pids, e.up(fmt.Sprint("s", i), 3, 0, "/bin/sleep", "100000").Pid)
	}
	pipe := [2]int{}
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	if _, err := e.Keep("s1", 3, 7, pipe[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Keep("idle", 0, 9, pipe[0]); err != nil {
		t.Fatal(err)
	}
	e.up("ended", 1, 0, "/bin/sh", "-c", "exit 7")
	if x := next(e, e.exited); x.Status != 7<<8 {
		t.Fatalf("%+v", x)
	}
	_ = syscall.Kill(keeper, syscall.SIGUSR1)
	if s := next(e, e.signaled); s.Signo != int(syscall.SIGUSR1) || s.Count != 1 {
		t.Fatalf("%+v", s)
	}
	e.sync()
	held := 0
	for round := range 5 {
		if up := e.change(r.another("next", ""), ""); up.Result != wire.UpgradeDone {
			t.Fatalf("%+v; stderr:\n%s", up, r.stderr)
		}
		if up, err := e.InCharge(); err != nil || up.Result != wire.UpgradeNone {
			t.Fatalf("the engine that asked is in charge: %+v, %v", up, err)
		}
		if up := e.change(r.another("next", ""), ""); up.Result != wire.UpgradeBusy {
			t.Fatalf("an upgrade within an upgrade: %+v", up)
		}
		// The engine that asked lived on; another takes its place.
		old := e
		old.kill()
		e = r.connected()
		if !e.welcome.OnTrial || e.welcome.KeeperPid != keeper {
			t.Fatalf("round %d: %+v; stderr:\n%s", round, e.welcome, r.stderr)
		}
		if up, err := e.InCharge(); err != nil || up.Result != wire.UpgradeDone {
			t.Fatalf("%+v, %v", up, err)
		}
		for i, pid := range pids {
			rec, ok := e.record(fmt.Sprint("s", i))
			if !ok || rec.Pid != pid || rec.Phase != wire.Live || rec.Run != 3 {
				t.Fatalf("round %d: %+v", round, rec)
			}
		}
		if rec, _ := e.record("ended"); rec.Phase != wire.Ended || rec.Exit.Status != 7<<8 {
			t.Fatalf("round %d: %+v", round, rec)
		}
		if s := next(e, e.signaled); s.Signo != int(syscall.SIGUSR1) || s.Count != 1 {
			t.Fatalf("round %d: %+v", round, s)
		}
		if round == 0 {
			held = openFiles(t, keeper)
		}
	}
	if now := openFiles(t, keeper); now != held {
		t.Errorf("the keeper has %d descriptors open, after the first upgrade it were %d", now, held)
	}
	for _, h := range []wire.Held{{Name: []byte("s1"), Run: 3, Tag: 7}, {Name: []byte("idle"), Tag: 9}} {
		fd, err := e.Take(string(h.Name), h.Run, h.Tag)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	// The ends of the runs are known as exactly as ever.
	for i, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGUSR2)
		if x := next(e, e.exited); !x.Known || x.Status != uint32(syscall.SIGUSR2) || x.Adopted || x.Name != fmt.Sprint("s", i) {
			t.Errorf("%+v", x)
		}
		until(t, "reaped", func() bool { _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); return err != nil })
	}
	e.up("s0", 4, 3, "/bin/sleep", "100000")
	if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", keeper)); strings.Contains(string(line), "baton") || strings.Contains(string(line), "prove") {
		t.Errorf("the command line is %q", line)
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
