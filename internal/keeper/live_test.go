//go:build linux

package keeper

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// stranger is a process that has nothing to do with the keeper, a child of ours.
func (r *rig) stranger(argv ...string) (*exec.Cmd, uint64) {
	r.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), r.mark("stranger"))
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, startOf(r.t, cmd.Process.Pid)
}

func startOf(t testing.TB, pid int) uint64 {
	t.Helper()
	st, e := raw.ReadStat(pid)
	if e != 0 {
		t.Fatalf("process %d: %v", pid, e)
	}
	return st.Start
}

// answer is the answer to an adoption.
func (e *engine) answer() (link.Spawned, *link.Refused) {
	e.rig.t.Helper()
	select {
	case no := <-e.refused:
		return link.Spawned{}, &no
	case s := <-e.spawned:
		return s, nil
	case err := <-e.lost:
		e.rig.t.Fatalf("connection lost: %v; stderr:\n%s", err, e.rig.stderr)
	}
	panic("unreachable")
}

func (e *engine) adopt(name string, run uint64, pid int, start uint64) (link.Spawned, *link.Refused) {
	e.rig.t.Helper()
	must(e.Adopt(name, run, pid, start, -1))
	return e.answer()
}

func TestARunningProcessIsAdoptedAndItsEndIsTold(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	cmd, start := r.stranger("/bin/sleep", "1000")
	pid := cmd.Process.Pid
	s, no := e.adopt("web", 3, pid, start)
	if no != nil {
		t.Fatalf("refused: %+v", no)
	}
	if s.Run != 3 || s.Pid != pid || s.Start != start || s.Began == 0 {
		t.Errorf("spawned %+v", s)
	}
	e.kill()
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != pid || rec.Start != start || rec.Run != 3 {
		t.Errorf("the next engine is told %+v", rec)
	}
	if _, no := e.ask(link.SpawnArgs{Name: "web", Run: 4, CgroupFD: -1, Program: r.program("web", "/bin/true")}); no == nil || no.Code != wire.CodeLives {
		t.Errorf("a second run beside the adopted one: %+v", no)
	}
	must(e.Signal("web", 3, int(syscall.SIGTERM), wire.ToMain))
	_ = cmd.Wait()
	x := next(e, e.exited)
	if !x.Adopted || x.Pid != pid || x.Run != 3 || (x.Known && x.Status != uint32(syscall.SIGTERM)) {
		t.Errorf("exit %+v", x)
	}
	if !x.Known && kernelTellsExits() {
		t.Error("the status is unknown on a kernel that tells it")
	}
	must(e.Ack("web", 3))
	e.up("web", 4, 0, "/bin/sleep", "1000")
	e.noFailure()
}

func TestAnAdoptedProcessOutlivesTheKeeper(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	cmd, start := r.stranger("/bin/sleep", "1000")
	if _, no := e.adopt("web", 1, cmd.Process.Pid, start); no != nil {
		t.Fatalf("refused: %+v", no)
	}
	r.killKeeper()
	e.kill()
	r.start()
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != cmd.Process.Pid || rec.Start != start {
		t.Errorf("the next keeper has %+v", rec)
	}
}

func TestAnOrphanOfTheKeeperIsAdoptedWithItsStatus(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("web", 1, 0, "/bin/sh", "-c", "sh -c \"trap 'exit 9' TERM; while :; do sleep 0.01; done\" & exit 0")
	next(e, e.exited)
	must(e.Ack("web", 1))
	var pid int
	until(t, "the child is the keeper's", func() bool {
		for _, p := range r.marked("web") {
			if st, err := raw.ReadStat(p); err == 0 && st.Ppid == r.keeper.Process.Pid && caught(p, syscall.SIGTERM) {
				pid = p
			}
		}
		return pid != 0
	})
	if _, no := e.adopt("web", 2, pid, startOf(t, pid)); no != nil {
		t.Fatalf("refused: %+v", no)
	}
	must(e.Signal("web", 2, int(syscall.SIGTERM), wire.ToMain))
	if x := next(e, e.exited); !x.Known || x.Status != 9<<8 || x.Run != 2 {
		t.Errorf("exit %+v", x)
	}
}

func TestWhatMayNotBeAdoptedIsRefused(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	web := e.up("web", 1, 0, "/bin/sleep", "1000")
	cmd, start := r.stranger("/bin/sleep", "1000")
	pid := cmd.Process.Pid
	ended, endedStart := r.stranger("/bin/sleep", "1000")
	_ = ended.Process.Kill()
	until(t, "it is a zombie", func() bool { return dead(ended.Process.Pid) })
	keeper := r.keeper.Process.Pid
	for _, c := range []struct {
		what  string
		name  string
		run   uint64
		pid   int
		start uint64
		code  wire.Code
	}{
		{"process 1", "new", 1, 1, startOf(t, 1), wire.CodeTaken},
		{"the keeper", "new", 1, keeper, startOf(t, keeper), wire.CodeTaken},
		{"the engine", "new", 1, e.pid, startOf(t, e.pid), wire.CodeTaken},
		{"another service's process", "new", 1, web.Pid, web.Start, wire.CodeTaken},
		{"a service that runs", "web", 2, pid, start, wire.CodeLives},
		{"another start time", "new", 1, pid, start + 1, wire.CodeGone},
		{"a zombie", "new", 1, ended.Process.Pid, endedStart, wire.CodeGone},
		{"no process", "new", 1, 1 << 29, 7, wire.CodeGone},
	} {
		if _, no := e.adopt(c.name, c.run, c.pid, c.start); no == nil || no.Code != c.code || no.Burned {
			t.Errorf("%s: %+v", c.what, no)
		}
	}
	other, err := unix.PidfdOpen(web.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	must(e.Adopt("new", 1, pid, start, other))
	if _, no := e.answer(); no == nil || no.Code != wire.CodeGone {
		t.Errorf("the pidfd of another process: %+v", no)
	}
	mine, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mine)
	must(e.Adopt("new", 5, pid, start, mine))
	if _, no := e.answer(); no != nil {
		t.Errorf("with its pidfd: %+v", no)
	}
	if _, no := e.adopt("twice", 1, pid, start); no == nil || no.Code != wire.CodeTaken {
		t.Errorf("adopted twice: %+v", no)
	}
}

func TestAReleasedChildIsReapedInSilence(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	before := footprintOf(t, r.keeper.Process.Pid)
	first := e.up("web", 1, 0, "/bin/sleep", "1000")
	must(e.Release("web", 1))
	must(e.Signal("web", 1, int(syscall.SIGKILL), wire.ToMain))
	if err := next(e, e.failed); err.Code != wire.CodeNotLive {
		t.Errorf("signal after the release: %v", err)
	}
	if c := e.sync(); c.Live != 0 {
		t.Errorf("%d live", c.Live)
	}
	if dead(first.Pid) {
		t.Fatal("the release ended the process")
	}
	second := e.up("web", 2, 0, "/bin/sleep", "1000")
	_ = syscall.Kill(first.Pid, syscall.SIGKILL)
	until(t, "the released child is reaped", func() bool { return syscall.Kill(first.Pid, 0) == syscall.ESRCH })
	must(e.Release("web", 2))
	e.sync()
	e.kill()
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Idle || rec.Run != 2 {
		t.Errorf("record %+v", rec)
	}
	_ = syscall.Kill(second.Pid, syscall.SIGKILL)
	until(t, "the second one is reaped", func() bool { return syscall.Kill(second.Pid, 0) == syscall.ESRCH })
	if len(e.exited) != 0 {
		t.Errorf("an end was told: %+v", <-e.exited)
	}
	e.sync()
	until(t, "no descriptor is left", func() bool { return footprintOf(t, r.keeper.Process.Pid).fds == before.fds })
}

func TestAReleasedChildComesBackAsAChild(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 1, 0, "/bin/sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done")
	until(t, "the trap is set", func() bool { return caught(s.Pid, syscall.SIGTERM) })
	for run := uint64(2); run < 5; run++ {
		must(e.Release("web", run-1))
		if _, no := e.adopt("web", run, s.Pid, s.Start); no != nil {
			t.Fatalf("refused: %+v", no)
		}
	}
	must(e.Signal("web", 4, int(syscall.SIGTERM), wire.ToMain))
	if x := next(e, e.exited); !x.Known || x.Adopted || x.Status != 7<<8 || x.Run != 4 {
		t.Errorf("exit %+v", x)
	}
	if _, err := e.Release("web", 4); err != nil {
		t.Fatal(err)
	}
	if err := next(e, e.failed); err.Code != wire.CodeNotLive {
		t.Errorf("release of what has ended: %v", err)
	}
}
