//go:build linux

package keeper

import (
	"fmt"
	"net"
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

// heir starts a keeper that inherits, in the place of one that is dead, and
// returns our end of its socket.
func (r *rig) heir(t *testing.T) int {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "heir")
	defer theirs.Close()
	r.extra = []*os.File{theirs}
	r.args = []string{"--inherit-fd", "3", "--nofile", "512:1024"}
	r.start()
	r.extra, r.args = nil, nil
	return pair[0]
}

// succeed kills the keeper and hands everything that e has to the next one.
func (r *rig) succeed(t *testing.T, e *engine) {
	t.Helper()
	r.killKeeper()
	e.orphaned()
	r.handOver(t, e)
}

// handOver gives everything that e has to a new keeper, and ends e.
func (r *rig) handOver(t *testing.T, e *engine) {
	t.Helper()
	sock := r.heir(t)
	if err := e.HandOver(sock, link.Estate{Listener: e.listener, Lock: e.lock, Lease: -1}); err != nil {
		t.Fatalf("%v; stderr:\n%s", err, r.stderr)
	}
	e.kill()
	unix.Close(sock)
}

// orphaned waits until the link knows that the keeper is gone.
func (e *engine) orphaned() {
	e.rig.t.Helper()
	select {
	case <-e.lost:
	case <-time.After(patient):
		e.rig.t.Fatalf("the link does not see the keeper's end; stderr:\n%s", e.rig.stderr)
	}
}

func TestEverythingIsHandedOver(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 3, 0, "/bin/sleep", "1000")
	e.up("ended", 1, 0, "/bin/sh", "-c", "exit 9")
	next(e, e.exited)
	e.up("idle", 7, 0, "/bin/true")
	next(e, e.exited)
	must(e.Ack("idle", 7))
	p := make([]int, 2)
	if err := unix.Pipe2(p, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	must(e.Keep("web", 3, 1, p[0]))
	must(e.Keep("web", 0, 2, p[1]))
	if _, err := unix.Write(p[1], []byte("kept")); err != nil {
		t.Fatal(err)
	}
	unix.Close(p[0])
	unix.Close(p[1])
	e.sync()

	// A client that connects while there is no keeper is not refused.
	r.killKeeper()
	e.orphaned()
	before, err := net.Dial("unix", filepath.Join(r.run(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	r.handOver(t, e)
	after, err := net.Dial("unix", filepath.Join(r.run(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()

	e = r.connected()
	if !e.welcome.Adopted || e.welcome.KeeperPid != r.keeper.Process.Pid || e.welcome.NofileSoft != 512 || e.welcome.NofileHard != 1024 {
		t.Errorf("welcome %+v", e.welcome)
	}
	if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != s.Pid || rec.Start != s.Start || rec.Run != 3 || len(rec.Held) != 2 {
		t.Errorf("web is %+v, was %+v", rec, s)
	}
	if rec, _ := e.record("ended"); rec.Phase != wire.Ended || rec.Exit.Status != 9<<8 || !rec.Exit.Known {
		t.Errorf("ended is %+v", rec)
	}
	if rec, _ := e.record("idle"); rec.Phase != wire.Idle || rec.Run != 7 {
		t.Errorf("idle is %+v", rec)
	}
	for range 2 {
		// The listener that both clients connected to is the one that the new engine has.
		fd, _, err := unix.Accept4(e.listener, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	fd := must(e.Take("web", 3, 1))
	defer unix.Close(fd)
	b := make([]byte, 10)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "kept" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if holder := string(must(os.ReadFile(filepath.Join(r.run(), "lock")))); !strings.HasPrefix(holder, fmt.Sprint(r.keeper.Process.Pid, " ")) {
		t.Errorf("the lock says %q", holder)
	}
	if text := r.stderr.String(); strings.Contains(text, "cannot") {
		t.Errorf("stderr %q", text)
	}
}

func TestAnExitAtTheMomentOfTheKeepersDeathIsExact(t *testing.T) {
	subreaper(t)
	r := startRig(t)
	e := r.connected()
	pid := e.up("web", 1, 0, "/bin/sleep", "1000").Pid
	for run := uint64(1); run <= 20; run++ {
		stop(t, r.keeper.Process.Pid)
		_ = syscall.Kill(pid, syscall.SIGTERM)
		r.killKeeper()
		e.orphaned()
		if status := reap(t, pid); status != uint32(syscall.SIGTERM) {
			t.Fatalf("run %d: status %#x", run, status)
		}
		r.handOver(t, e)
		e = r.connected()
		rec, _ := e.record("web")
		x := rec.Exit
		if rec.Phase != wire.Ended {
			x = next(e, e.exited)
		}
		if kernelTellsExits() && (!x.Known || x.Status != uint32(syscall.SIGTERM)) || !x.Adopted {
			t.Fatalf("run %d: exit %+v", run, x)
		}
		pid = e.up("web", run+1, run, "/bin/sleep", "1000").Pid
	}
}

func TestWithAParentThatNeverReapsAnExitIsUnknown(t *testing.T) {
	subreaper(t)
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 1, 0, "/bin/sleep", "1000")
	r.succeed(t, e)
	e = r.connected()
	_ = syscall.Kill(s.Pid, syscall.SIGTERM)
	if x := next(e, e.exited); x.Known || x.Pid != s.Pid {
		t.Errorf("exit %+v", x)
	}
	e.up("web", 2, 1, "/bin/true")
	reap(t, s.Pid)
}

// An engine that dies in the middle of a hand-over leaves what it left had it died
// before: the records.
func TestAHandOverThatBreaksOffIsNoWorseThanNone(t *testing.T) {
	const parts = 6
	for sent := range parts {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			r := startRig(t)
			e := r.connected()
			s := e.up("web", 1, 0, "/bin/sleep", "1000")
			null := must(os.Open("/dev/null"))
			defer null.Close()
			e.sync()
			r.killKeeper()
			e.orphaned()
			sock := r.heir(t)
			for i, part := range []struct {
				msg []byte
				fd  int
			}{
				{wire.Bare(nil, wire.TypeLock, 0), e.lock},
				{wire.Bare(nil, wire.TypeListener, 0), e.listener},
				{(&wire.LiveRun{Name: []byte("web"), Run: 1, Pid: uint32(s.Pid), Start: s.Start}).Append(nil), int(null.Fd())},
				{(&wire.Held{Name: []byte("web"), Run: 1, Tag: 1}).Append(nil, wire.TypeHeld, 0), int(null.Fd())},
				{(&wire.Held{Name: []byte("web"), Run: 9, Tag: 1}).Append(nil, wire.TypeHeld, 0), int(null.Fd())},
			} {
				if i < sent {
					send(t, sock, part.msg, part.fd)
				}
			}
			e.kill()
			unix.Close(sock)
			e = r.connected()
			if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != s.Pid || len(rec.Held) > 1 {
				t.Errorf("web is %+v", rec)
			}
			if _, no := e.ask(link.SpawnArgs{Name: "web", Run: 2, CgroupFD: -1, Program: r.program("web", "/bin/true")}); no == nil || no.Code != wire.CodeLives {
				t.Errorf("a second copy was started: %+v", no)
			}
			if conn, err := net.Dial("unix", filepath.Join(r.run(), "control.sock")); err != nil {
				t.Error(err)
			} else {
				conn.Close()
			}
		})
	}
}

func TestARunWhoseRecordsAreLostIsHandedOver(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 5, 0, "/bin/sleep", "1000")
	e.sync()
	r.killKeeper()
	e.orphaned()
	if err := os.Truncate(filepath.Join(r.run(), "keeper.state"), 100); err != nil {
		t.Fatal(err)
	}
	r.handOver(t, e)
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != s.Pid || rec.Run != 5 || rec.Start != s.Start {
		t.Errorf("web is %+v, was %+v", rec, s)
	}
}

func TestAKeeperThatDiesDuringAHandOverMayBeTriedAgain(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 1, 0, "/bin/sleep", "1000")
	r.killKeeper()
	e.orphaned()
	for range 3 {
		sock := r.heir(t)
		_ = r.keeper.Process.Kill()
		r.waitKeeper()
		if err := e.HandOver(sock, link.Estate{Listener: e.listener, Lock: e.lock, Lease: -1}); err == nil {
			t.Fatal("a dead keeper took everything")
		}
		unix.Close(sock)
	}
	r.handOver(t, e)
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != s.Pid {
		t.Errorf("web is %+v", rec)
	}
}

// A child that its keeper was about to start when that was killed has not stored
// its pid yet. The records stay locked until it has.
func TestTheRecordsAreNotReadWhileAnUnbornChildHoldsThem(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("web", 1, 0, "/bin/true")
	next(e, e.exited)
	e.sync()
	child := must(os.OpenFile(filepath.Join(r.run(), "keeper.state"), os.O_RDWR, 0))
	r.killKeeper()
	e.orphaned()
	if err := unix.Flock(int(child.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	sock := r.heir(t)
	done := make(chan error, 1)
	go func() { done <- e.HandOver(sock, link.Estate{Listener: e.listener, Lock: e.lock, Lease: -1}) }()
	until(t, "the new keeper has the lock of the run directory", func() bool {
		holder := string(must(os.ReadFile(filepath.Join(r.run(), "lock"))))
		return strings.HasPrefix(holder, fmt.Sprint(r.keeper.Process.Pid, " "))
	})
	patchRecords(t, r, func(s *slot) { s.run.Store(2) }) // what the child does
	select {
	case err := <-done:
		t.Fatalf("the new keeper did not wait: %v", err)
	default:
	}
	child.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	e.kill()
	unix.Close(sock)
	e = r.connected()
	if rec, _ := e.record("web"); rec.Run != 2 {
		t.Errorf("web is %+v", rec)
	}
}

func TestAnEngineThatAcceptsNoClientIsReplaced(t *testing.T) {
	r := newRig(t)
	r.env = []string{"ABIDE_TEST_PATIENCE=100"}
	r.start()
	e := r.nextEngine()
	hello, list := wire.Hello{Version: wire.Version}, wire.List{}
	send(t, e.fd, hello.Append(nil, 1))
	send(t, e.fd, list.Append(nil, 2))
	send(t, e.fd, wire.Bare(nil, wire.TypePing, 3)) // it is done with its start
	conn, err := net.Dial("unix", filepath.Join(r.run(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	until(t, "the hung engine is ended", func() bool { return dead(e.pid) })
	unix.Close(e.fd)
	second := r.connected()
	if fd, _, err := unix.Accept4(second.listener, unix.SOCK_CLOEXEC); err != nil {
		t.Errorf("the next engine finds no client: %v", err)
	} else {
		unix.Close(fd)
	}
	// Who accepts its clients and answers is left alone.
	for range 3 {
		again, err := net.Dial("unix", filepath.Join(r.run(), "control.sock"))
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
		fd, _, err := unix.Accept4(second.listener, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		second.sync()
	}
	if dead(second.pid) {
		t.Error("an engine that answers was ended")
	}
}

// subreaper makes us the parent of what a dead keeper leaves behind, as an init
// would be.
func subreaper(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

// stop stops a process and waits until none of its threads runs on.
func stop(t *testing.T, pid int) {
	t.Helper()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	until(t, "every thread is stopped", func() bool {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, path := range stats {
			stat, _ := os.ReadFile(path)
			if !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return len(stats) > 0
	})
}

func reap(t *testing.T, pid int) uint32 {
	t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			t.Fatalf("cannot reap %d: %v", pid, err)
		}
		return uint32(status)
	}
}
