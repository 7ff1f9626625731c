//go:build linux

package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
)

// Every request is sent by an engine that dies at once; the next one must find
// what the request did, whole or not at all.
func TestEngineKilledAtEachMessage(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("live", 1, 0, "/bin/sleep", "1000")
	e.up("ended", 1, 0, "/bin/sh", "-c", "exit 9")
	next(e, e.exited)
	pipe := must(os.CreateTemp(r.dir, "held"))
	defer pipe.Close()
	must(e.Keep("live", 1, 7, int(pipe.Fd())))
	e.sync()

	steps := []struct {
		name string
		send func(e *engine)
	}{
		{"hello only", func(e *engine) {}},
		{"signal 0", func(e *engine) { must(e.Signal("live", 1, 0, wire.ToMain)) }},
		{"spawn of a live service", func(e *engine) {
			must(e.Spawn(&link.SpawnArgs{Name: "live", Run: 2, CgroupFD: -1, Program: r.program("live", "/bin/sleep", "1000")}))
		}},
		{"spawn", func(e *engine) {
			must(e.Spawn(&link.SpawnArgs{Name: "more", Run: 1, CgroupFD: -1, Program: r.program("more", "/bin/sh", "-c", "exit 3")}))
		}},
		{"keep", func(e *engine) { must(e.Keep("live", 1, 8, int(pipe.Fd()))) }},
		{"drop", func(e *engine) { must(e.Drop("live", 1, 8)) }},
		{"forget of a live service", func(e *engine) { must(e.Forget("live")) }},
	}
	pid := 0
	for _, step := range steps {
		step.send(e)
		e.kill()
		e = r.connected()
		rec, ok := e.record("live")
		if !ok || rec.Phase != wire.Live || rec.Run != 1 || (pid != 0 && rec.Pid != pid) {
			t.Fatalf("after %s: live is %+v", step.name, rec)
		}
		pid = rec.Pid
		if rec, ok = e.record("ended"); !ok || rec.Phase != wire.Ended || !rec.Exit.Known || rec.Exit.Status != 9<<8 {
			t.Fatalf("after %s: ended is %+v", step.name, rec)
		}
	}
	if n := len(r.marked("live")); n != 1 {
		t.Errorf("%d copies of live run", n)
	}
	rec, _ := e.record("live")
	if len(rec.Held) != 1 || rec.Held[0] != (wire.HeldTag{Run: 1, Tag: 7}) {
		t.Errorf("held is %v", rec.Held)
	}

	// The exit of "more" is in an inventory or an event of exactly one engine,
	// or again in the inventory of each later one, until it is acknowledged.
	if rec, ok := e.record("more"); !ok || rec.Phase != wire.Ended || rec.Exit.Status != 3<<8 {
		t.Errorf("more is %+v", rec)
	}
	must(e.Ack("more", 1))
	must(e.Ack("ended", 1))
	e.kill()
	e = r.connected()
	for _, name := range []string{"more", "ended"} {
		if rec, ok := e.record(name); !ok || rec.Phase != wire.Idle || rec.Run != 1 {
			t.Errorf("acknowledged %s is %+v", name, rec)
		}
	}
	if e.welcome.Engines != len(steps)+2 {
		t.Errorf("%d engines started, want %d", e.welcome.Engines, len(steps)+2)
	}
}

func TestExitsDuringAnEnginesDeathAreDeliveredOnce(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	const services = 300
	for i := range services {
		name := fmt.Sprint("s", i)
		must(e.Spawn(&link.SpawnArgs{Name: name, Run: 1, CgroupFD: -1, Program: r.program(name, "/bin/sh", "-c", fmt.Sprintf("exit %d", i%200))}))
	}
	seen := map[string]int{}
	check := func(x link.Exited) {
		var i int
		fmt.Sscanf(x.Name, "s%d", &i)
		if !x.Known || x.Status != uint32(i%200)<<8 {
			t.Errorf("exit %+v", x)
		}
		seen[x.Name]++
	}
	for len(seen) < services {
		// Deal with a few exits, then die with the rest in flight.
		for n := 0; n < 40 && len(seen) < services; n++ {
			select {
			case x := <-e.exited:
				must(e.Ack(x.Name, x.Run))
				check(x)
				continue
			case <-time.After(50 * time.Millisecond):
			}
			break
		}
		e.sync()
		e.kill()
		e = r.connected()
		for _, rec := range e.records {
			if rec.Phase == wire.Ended {
				must(e.Ack(rec.Name, rec.Run))
				check(rec.Exit)
			}
		}
		e.sync()
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("exit of %s was delivered %d times", name, n)
		}
	}
}

// The keeper is killed at a random instant around a spawn. Whatever it got done,
// its records and the processes must agree, and the next keeper must not start a
// second copy.
func TestKeeperKilledAroundASpawn(t *testing.T) {
	r := newRig(t)
	lived := 0
	for round := range 30 {
		name := fmt.Sprint("k", round)
		r.start()
		e := r.connected()
		must(e.Spawn(&link.SpawnArgs{Name: name, Run: 1, CgroupFD: -1, Program: r.program(name, "/bin/sleep", "1000")}))
		if pause := time.Duration(round) * 15 * time.Microsecond; round%10 != 9 {
			for t0 := time.Now(); time.Since(t0) < pause; {
			}
		} else {
			next(e, e.spawned)
		}
		_ = syscall.Kill(r.keeper.Process.Pid, syscall.SIGKILL)
		r.waitKeeper()
		e.kill()

		r.start()
		e = r.connected()
		var pids []int
		until(t, name+" has executed its program or is gone", func() bool {
			pids = r.marked(name)
			rec, ok := e.record(name)
			return len(pids) == 1 || (ok && rec.Phase != wire.Live) || !ok
		})
		rec, ok := e.record(name)
		switch {
		case len(pids) > 1:
			t.Fatalf("round %d: %d copies", round, len(pids))
		case len(pids) == 1:
			lived++
			if !ok || rec.Phase != wire.Live || rec.Pid != pids[0] || rec.Run != 1 || !e.welcome.Adopted {
				t.Fatalf("round %d: pid %d runs, record %+v", round, pids[0], rec)
			}
			_, no := e.ask(link.SpawnArgs{Name: name, Run: 2, CgroupFD: -1, Program: r.program(name, "/bin/sleep", "1000")})
			if no == nil || no.Code != wire.CodeLives {
				t.Fatalf("round %d: a second copy was started", round)
			}
			must(e.Signal(name, 1, int(syscall.SIGKILL), wire.ToMain))
			if x := next(e, e.exited); !x.Adopted || x.Run != 1 || (x.Known && x.Status != uint32(syscall.SIGKILL)) {
				t.Fatalf("round %d: exit %+v", round, x)
			}
			must(e.Ack(name, 1))
		case ok && rec.Phase == wire.Live:
			t.Fatalf("round %d: recorded as alive, but nothing runs: %+v", round, rec)
		case ok && rec.Phase == wire.Ended:
			if rec.Exit.Known {
				t.Fatalf("round %d: nobody saw the end of %+v", round, rec)
			}
			must(e.Ack(name, 1))
		}
		e.sync()
		r.killKeeper() // first, or it would start another engine
		e.kill()
	}
	if lived == 0 {
		t.Error("no round got as far as a running program")
	}
}

func TestAdoptedRunsKeepTheirPidsAndStatus(t *testing.T) {
	// We are the reaper of what the keeper leaves behind, as an init would be.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 4, 0, "/bin/sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done")
	gone := e.up("gone", 2, 0, "/bin/sleep", "1000")
	idle := e.up("idle", 8, 0, "/bin/true")
	next(e, e.exited)
	must(e.Ack("idle", 8))
	e.up("told", 1, 0, "/bin/sh", "-c", "exit 5")
	next(e, e.exited)
	e.sync()
	r.killKeeper()
	e.kill()
	_ = syscall.Kill(gone.Pid, syscall.SIGKILL)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(gone.Pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}

	r.start()
	e = r.connected()
	rec, _ := e.record("web")
	if rec.Phase != wire.Live || rec.Pid != s.Pid || rec.Start != s.Start || rec.Run != 4 {
		t.Errorf("web is %+v, was %+v", rec, s)
	}
	if rec, _ := e.record("gone"); rec.Phase != wire.Ended || rec.Exit.Known || rec.Exit.NotStarted {
		t.Errorf("gone is %+v", rec)
	}
	if rec, _ := e.record("idle"); rec.Phase != wire.Idle || rec.Run != 8 || idle.Run != 8 {
		t.Errorf("idle is %+v", rec)
	}
	if rec, _ := e.record("told"); rec.Phase != wire.Ended || rec.Exit.Status != 5<<8 || !rec.Exit.Known {
		t.Errorf("told is %+v", rec)
	}
	until(t, "the trap is set", func() bool { return caught(s.Pid, syscall.SIGTERM) })
	must(e.Signal("web", 4, int(syscall.SIGTERM), wire.ToMain))
	if _, err := syscall.Wait4(s.Pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	x := next(e, e.exited)
	if !x.Adopted || x.Pid != s.Pid || (x.Known && x.Status != 7<<8) {
		t.Errorf("exit %+v", x)
	}
	if !x.Known && kernelTellsExits() {
		t.Errorf("this kernel tells the status of reaped processes, but the exit is unknown")
	}
}

// caught says whether a process has a handler for a signal.
func caught(pid int, sig syscall.Signal) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, l := range strings.Split(string(status), "\n") {
		var mask uint64
		if n, _ := fmt.Sscanf(l, "SigCgt: %x", &mask); n == 1 {
			return mask&(1<<(sig-1)) != 0
		}
	}
	return false
}

func kernelTellsExits() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return major > 6 || (major == 6 && minor >= 15)
}

func TestAPidThatIsAnotherProcessNowIsNotAdopted(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 1, 0, "/bin/sleep", "1000")
	e.sync()
	r.killKeeper()
	e.kill()
	// Make the record name another process, as a reused pid would.
	other := startStranger(t)
	patchRecords(t, r, func(s *slot) { s.pid.Store(uint32(other)) })
	r.start()
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Ended || rec.Exit.Known || rec.Exit.Pid != other {
		t.Errorf("web is %+v", rec)
	}
	must(e.Signal("web", 1, int(syscall.SIGKILL), wire.ToMain))
	if err := next(e, e.failed); err.Code != wire.CodeNotLive {
		t.Errorf("signal: %v", err)
	}
	if dead(other) {
		t.Error("a stranger was killed")
	}
	_ = syscall.Kill(s.Pid, syscall.SIGKILL)
}

func TestASecondKeeperIsRefusedByName(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	first, ended := r.keeper, r.ended
	r.start()
	if code := r.waitKeeper(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	want := fmt.Sprintf("cannot use %s: held by abide-keeper pid %d\n", r.run(), first.Process.Pid)
	if !strings.Contains(r.stderr.String(), want) {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
	r.keeper, r.ended = first, ended
	e.sync()
}

func TestANewKeeperWaitsForTheEngineOfADeadOne(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	r.killKeeper() // the engine lives and holds the lock
	r.start()
	select {
	case <-r.ended:
		t.Fatalf("the new keeper did not wait; stderr:\n%s", r.stderr)
	case <-time.After(50 * time.Millisecond):
	}
	e.kill()
	r.connected().sync()
}

func TestStrangeRecordsAreSetAside(t *testing.T) {
	for name, content := range map[string][]byte{
		"noise":     []byte(strings.Repeat("noise", 1000)),
		"truncated": append([]byte("AIDEKPST"), make([]byte, 4088)...),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			path := filepath.Join(r.run(), "keeper.state")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			r.start()
			e := r.connected()
			if !e.welcome.RecordsSet || len(e.records) != 0 {
				t.Errorf("welcome %+v, records %v", e.welcome, e.records)
			}
			if !strings.Contains(r.stderr.String(), "keeper.state.bad") {
				t.Errorf("stderr %q", r.stderr)
			}
			if bad, err := os.ReadFile(path + ".bad"); err != nil || string(bad) != string(content) {
				t.Errorf("keeper.state.bad: %v", err)
			}
			e.up("web", 1, 0, "/bin/true")
		})
	}
}

func TestRecordsOfAnotherBootAreSetAside(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("web", 1, 0, "/bin/sleep", "1000")
	e.sync()
	r.killKeeper()
	e.kill()
	mapRecords(t, r).head.boot[0] ^= 1
	r.start()
	if e = r.connected(); !e.welcome.RecordsSet || len(e.records) != 0 {
		t.Errorf("welcome %+v, records %v", e.welcome, e.records)
	}
}

func TestADamagedSlotCostsOnlyItself(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("first", 1, 0, "/bin/sleep", "1000")
	s := e.up("second", 1, 0, "/bin/sleep", "1000")
	e.sync()
	r.killKeeper()
	e.kill()
	patchRecords(t, r, func(s *slot) { s.nameLen = 4000 })
	r.start()
	e = r.connected()
	if rec, _ := e.record("second"); len(e.records) != 1 || rec.Phase != wire.Live || rec.Pid != s.Pid {
		t.Errorf("records %+v", e.records)
	}
	if !e.welcome.RecordsDamaged || !strings.Contains(r.stderr.String(), "cannot use record 0") {
		t.Errorf("welcome %+v, stderr %q", e.welcome, r.stderr)
	}
}

func TestAnEngineThatCannotBeRunEndsAKeeperWithNothingToKeep(t *testing.T) {
	r := newRig(t)
	r.engine = []string{"engine", "die"}
	r.start()
	if code := r.waitKeeper(); code != 3 {
		t.Errorf("exit code %d, want the engine's; stderr:\n%s", code, r.stderr)
	}
}

func TestTheKeeperEndsAsAsked(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	err := e.Exit(0, wire.ActionPoweroff)
	var refused *link.Error
	if !errors.As(err, &refused) || refused.Code != wire.CodeMachine {
		t.Fatalf("poweroff by a keeper that is not the machine's: %v", err)
	}
	if err := e.Exit(17, wire.ActionExit); err != nil {
		t.Fatal(err)
	}
	if _, no := e.ask(link.SpawnArgs{Name: "late", Run: 1, CgroupFD: -1, Program: r.program("late", "/bin/true")}); no == nil || no.Code != wire.CodeEnding {
		t.Errorf("spawn after the end: %+v", no)
	}
	e.release()
	if code := r.waitKeeper(); code != 17 {
		t.Errorf("exit code %d; stderr:\n%s", code, r.stderr)
	}
}
