//go:build linux

package keeper

import (
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

func (e *engine) main(name string, run uint64, pid int, start uint64) (link.Spawned, *link.Refused) {
	e.rig.t.Helper()
	must(e.Main(name, run, pid, start, -1))
	return e.answer()
}

// family starts a service whose program leaves a child behind that ends with code 9
// when it gets TERM, and then goes on as script says.
func (r *rig) family(e *engine, name, script string) (main link.Spawned, child int) {
	r.t.Helper()
	main = e.up(name, 1, 0, "/bin/sh", "-c", `sh -c "trap 'exit 9' TERM; while :; do sleep 0.01; done" & `+script)
	until(r.t, "there is a child that knows what TERM means", func() bool {
		for _, pid := range r.marked(name) {
			// What the child itself starts has its traps for a moment.
			st, e := raw.ReadStat(pid)
			if e == 0 && (st.Ppid == main.Pid || st.Ppid == r.keeper.Process.Pid) && pid != main.Pid && caught(pid, syscall.SIGTERM) {
				child = pid
			}
		}
		return child != 0
	})
	return main, child
}

func TestTheMainProcessOfALivingRunChanges(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	before := footprintOf(t, r.keeper.Process.Pid)
	old, child := r.family(e, "web", "exec sleep 1000")
	start := startOf(t, child)
	for range 3 { // there and back, and each time asked for twice
		for _, p := range []link.Spawned{{Pid: child, Start: start}, {Pid: old.Pid, Start: old.Start}, {Pid: child, Start: start}} {
			for range 2 {
				s, no := e.main("web", 1, p.Pid, p.Start)
				if no != nil {
					t.Fatalf("refused: %+v", no)
				}
				if s.Run != 1 || s.Pid != p.Pid || s.Start != p.Start || s.Began != old.Began {
					t.Errorf("spawned %+v", s)
				}
			}
		}
	}
	e.kill()
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != child || rec.Start != start || rec.Run != 1 {
		t.Errorf("the next engine is told %+v", rec)
	}
	_ = syscall.Kill(old.Pid, syscall.SIGKILL)
	until(t, "the process that was the main one is reaped", func() bool { return syscall.Kill(old.Pid, 0) == syscall.ESRCH })
	if c := e.sync(); c.Live != 1 || len(e.exited) != 0 {
		t.Errorf("%d live, %d exits", c.Live, len(e.exited))
	}
	must(e.Signal("web", 1, int(syscall.SIGTERM), wire.ToMain))
	if x := next(e, e.exited); !x.Known || x.Status != 9<<8 || x.Pid != child || x.Run != 1 {
		t.Errorf("exit %+v", x)
	}
	must(e.Ack("web", 1))
	e.up("web", 2, 0, "/bin/true")
	next(e, e.exited)
	e.sync()
	until(t, "no descriptor is left", func() bool { return footprintOf(t, r.keeper.Process.Pid).fds == before.fds })
	e.noFailure()
}

// A program that forks: its own end is told first, then what it left behind is the
// main process of the same run.
func TestWhatAnEndedProgramLeftBehindBecomesItsMainProcess(t *testing.T) {
	for _, engineDies := range []bool{false, true} {
		t.Run(fmt.Sprint("engine dies ", engineDies), func(t *testing.T) {
			r := startRig(t)
			e := r.connected()
			starter, child := r.family(e, "web", "exit 0")
			if x := next(e, e.exited); !x.Known || x.Status != 0 || x.Pid != starter.Pid {
				t.Fatalf("the starter's exit is %+v", x)
			}
			if engineDies {
				e.kill()
				e = r.connected()
				if rec, _ := e.record("web"); rec.Phase != wire.Ended || rec.Exit.Pid != starter.Pid {
					t.Fatalf("the next engine is told %+v", rec)
				}
			}
			if _, no := e.main("web", 1, child, startOf(t, child)); no != nil {
				t.Fatalf("refused: %+v", no)
			}
			if _, no := e.ask(link.SpawnArgs{Name: "web", Run: 2, AckRun: 1, CgroupFD: -1, Program: r.program("web", "/bin/true")}); no == nil || no.Code != wire.CodeLives {
				t.Errorf("a second run beside it: %+v", no)
			}
			if engineDies {
				e.kill()
				e = r.connected()
				if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != child {
					t.Fatalf("the next engine is told %+v", rec)
				}
			}
			must(e.Signal("web", 1, int(syscall.SIGTERM), wire.ToMain))
			if x := next(e, e.exited); !x.Known || x.Status != 9<<8 || x.Pid != child || x.Run != 1 {
				t.Errorf("exit %+v", x)
			}
			must(e.Ack("web", 1))
			if c := e.sync(); c.Live != 0 {
				t.Errorf("%d live", c.Live)
			}
		})
	}
}

func TestWhatMayNotBeAMainProcessIsRefused(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	web := e.up("web", 1, 0, "/bin/sleep", "1000")
	other := e.up("other", 1, 0, "/bin/sleep", "1000")
	e.up("idle", 1, 0, "/bin/true")
	next(e, e.exited)
	must(e.Ack("idle", 1))
	cmd, start := r.stranger("/bin/sleep", "1000")
	pid := cmd.Process.Pid
	for _, c := range []struct {
		what  string
		name  string
		run   uint64
		pid   int
		start uint64
		code  wire.Code
	}{
		{"process 1", "web", 1, 1, startOf(t, 1), wire.CodeTaken},
		{"the keeper", "web", 1, r.keeper.Process.Pid, startOf(t, r.keeper.Process.Pid), wire.CodeTaken},
		{"the engine", "web", 1, e.pid, startOf(t, e.pid), wire.CodeTaken},
		{"another service's main process", "web", 1, other.Pid, other.Start, wire.CodeTaken},
		{"another run", "web", 2, pid, start, wire.CodeNotLive},
		{"a run whose exit is dealt with", "idle", 1, pid, start, wire.CodeNotLive},
		{"no service", "nothing", 1, pid, start, wire.CodeUnknown},
		{"another start time", "web", 1, pid, start + 1, wire.CodeGone},
		{"its own pid and another start time", "web", 1, web.Pid, web.Start + 1, wire.CodeTaken},
		{"no process", "web", 1, 1 << 29, 7, wire.CodeGone},
	} {
		if _, no := e.main(c.name, c.run, c.pid, c.start); no == nil || no.Code != c.code || no.Burned {
			t.Errorf("%s: %+v", c.what, no)
		}
	}
	pidfd, err := unix.PidfdOpen(other.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	must(e.Main("web", 1, pid, start, pidfd))
	if _, no := e.answer(); no == nil || no.Code != wire.CodeGone {
		t.Errorf("the pidfd of another process: %+v", no)
	}
	e.kill()
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Live || rec.Pid != web.Pid {
		t.Errorf("after all that web is %+v", rec)
	}
}

// The keeper is killed behind each store of a change of main process. The record is
// of one process or of the other, and that one lives.
func TestAKeeperKilledWhileTheMainProcessChangesKeepsOneOfTheTwo(t *testing.T) {
	for _, forked := range []bool{false, true} {
		for step := range 7 {
			t.Run(fmt.Sprint("forked ", forked, " step ", step), func(t *testing.T) {
				r := startRig(t)
				e := r.connected()
				script := "exec sleep 1000"
				if forked {
					script = "exit 0"
				}
				old, child := r.family(e, "web", script)
				if forked {
					next(e, e.exited)
				}
				e.sync()
				r.killKeeper()
				e.kill()
				start := startOf(t, child)
				patchRecords(t, r, func(s *slot) {
					for i, store := range []func(){
						func() { s.next.pid, s.next.start, s.next.pidfd = uint32(child), start, inodeOf(t, child) },
						func() { s.next.run.Store(1) },
						func() { s.pid.Store(s.next.pid) },
						func() { s.start = s.next.start },
						func() { s.pidfd, s.flags = s.next.pidfd, 0 },
						func() { s.setPhase(wire.Live) },
						func() { s.next.run.Store(0) },
					} {
						if i <= step {
							store()
						}
					}
				})
				r.start()
				e = r.connected()
				rec, _ := e.record("web")
				switch {
				case step > 0:
					if rec.Phase != wire.Live || rec.Pid != child || rec.Start != start || rec.Run != 1 {
						t.Errorf("record %+v", rec)
					}
				case forked:
					if rec.Phase != wire.Ended || rec.Exit.Pid != old.Pid || !rec.Exit.Known || rec.Exit.Status != 0 {
						t.Errorf("record %+v", rec)
					}
				case rec.Phase != wire.Live || rec.Pid != old.Pid:
					t.Errorf("record %+v", rec)
				}
				// What was asked for is asked for again.
				if _, no := e.main("web", 1, child, start); no != nil {
					t.Errorf("asked again: %+v", no)
				}
			})
		}
	}
}

func inodeOf(t *testing.T, pid int) uint64 {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ino, e := raw.Inode(fd)
	if e != 0 {
		t.Fatal(e)
	}
	return ino
}
