//go:build amd64 || arm64

package keeper

import (
	"sync/atomic"
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/sys/raw"
)

const (
	// fadeTime is how long the exit of a process that is not our child may wait
	// for its parent to reap it, which is when the kernel gives its status away.
	fadeTime = second / 20
	// blindTime is the pause before a pidfd that could not be watched is looked at.
	blindTime = second / 10
)

// exitFacts is what is learnt of an end.
type exitFacts struct {
	status uint32
	flags  uint32
	usage  syscall.Rusage
}

// ended looks at a run whose pidfd says that it has ended.
func (k *keeper) ended(s uint32, events uint32) {
	p := &k.table.private[s]
	if p.state&stAdopted != 0 {
		k.adoptedEnded(s, events)
		return
	}
	var info raw.Siginfo
	var facts exitFacts
	e := raw.WaitID(raw.PPidfd, int(p.pidfd), &info, raw.WExited|raw.WNoWait|raw.WNoHang|raw.WAll, &facts.usage)
	switch {
	case e == syscall.ECHILD:
		// Not ours after all: somebody else reaps it.
		p.state |= stAdopted
		k.adoptedEnded(s, events)
	case e == 0 && info.Pid != 0:
		facts.status = info.WaitStatus()
		k.finish(s, &facts)
		// Taking a dead process apart costs the kernel as much as making one. The
		// engine decides meanwhile.
		k.flush()
		raw.WaitID(raw.PPidfd, int(p.pidfd), &info, raw.WExited|raw.WNoHang|raw.WAll, nil)
		k.unwatch(s)
	}
}

// adoptedEnded is for a run that an earlier keeper started. Its status is there
// once its parent has reaped it, on Linux 6.15 and later; that shows as a hang-up.
func (k *keeper) adoptedEnded(s uint32, events uint32) {
	p := &k.table.private[s]
	facts := exitFacts{flags: wire.WasAdopted}
	status, known := raw.PidfdExit(int(p.pidfd))
	switch {
	case known:
		facts.status = status
	case events == 0:
		facts.flags |= wire.StatusUnknown
	default:
		// A hang-up is reported even when nothing is asked for, so after it the
		// descriptor must go: only the deadline, or the parent thread, is left.
		op := syscall.EPOLL_CTL_MOD
		if events&syscall.EPOLLHUP != 0 {
			op = syscall.EPOLL_CTL_DEL
		}
		ev := syscall.EpollEvent{Fd: p.pidfd, Pad: int32(s)}
		raw.EpollCtl(k.epoll, op, int(p.pidfd), &ev)
		if p.state&stFading == 0 {
			p.state |= stFading
			k.dueIn(s, fadeTime)
		}
		return
	}
	k.finish(s, &facts)
	k.unwatch(s)
}

// finish stores an end in the record: facts first, phase last.
func (k *keeper) finish(s uint32, f *exitFacts) {
	r, p := &k.records.slots[s], &k.table.private[s]
	r.status = f.status
	r.flags = f.flags
	r.user = uint64(f.usage.Utime.Nano())
	r.system = uint64(f.usage.Stime.Nano())
	r.maxRSS = uint64(f.usage.Maxrss)
	r.boot = uint64(raw.Boottime())
	r.real = uint64(raw.Realtime())
	r.op, r.errno = 0, 0
	if p.report >= 0 {
		var b [prog.ReportSize]byte
		if n, e := raw.Pread(int(p.report), b[:], 0); e == 0 {
			if report, ok := prog.DecodeReport(b[:n]); ok {
				r.flags |= wire.ExecFailed
				r.op, r.errno = report.Op, report.Errno
			}
		}
		raw.Close(int(p.report))
		p.report = -1
	}
	r.setPhase(wire.Ended)
	k.stats.Exits++
	k.table.live--
	k.queueExit(s)
}

// unwatch gives up the pidfd of a run whose end is stored.
func (k *keeper) unwatch(s uint32) {
	p := &k.table.private[s]
	if p.state&(stAdopted|stLeaders) != 0 {
		k.shared.adopted.remove(k.records.slots[s].pid.Load())
	}
	if p.pidfd >= 0 {
		raw.Close(int(p.pidfd)) // which takes it out of epoll as well
	}
	p.pidfd = -1
	p.state &^= stAdopted | stLeaders | stFading | stBlind
}

// watch begins to wait for the end of a run. When the kernel refuses, the run is
// looked at now and then until it does not.
func (k *keeper) watch(s uint32, pidfd int) {
	p := &k.table.private[s]
	p.pidfd = int32(pidfd)
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(pidfd), Pad: int32(s)}
	if e := raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_ADD, pidfd, &ev); e != 0 {
		p.state |= stBlind
		k.dueIn(s, blindTime)
	}
}

// dueIn puts a slot on the list of those with a deadline.
func (k *keeper) dueIn(s uint32, after int64) {
	p := &k.table.private[s]
	p.due = raw.Monotonic() + after
	if k.dueAt == 0 || p.due < k.dueAt {
		k.dueAt = p.due
	}
	if p.state&stDue == 0 {
		p.state |= stDue
		p.dueNext = k.due
		k.due = s + 1
	}
}

// dueSlots looks at every slot whose deadline has come.
func (k *keeper) dueSlots(now int64) {
	list := k.due
	k.due, k.dueAt = none, 0
	for list != none {
		s := list - 1
		p := &k.table.private[s]
		list = p.dueNext
		p.dueNext = none
		p.state &^= stDue
		switch {
		case p.state&(stFading|stBlind) == 0:
		case now < p.due:
			k.dueIn(s, p.due-now)
		case p.state&stFading != 0:
			k.adoptedEnded(s, 0)
		default:
			p.state &^= stBlind
			k.watch(s, int(p.pidfd))
		}
	}
}

// exitOf fills in the message about the end that a slot holds.
func (k *keeper) exitOf(s uint32, m *wire.Exited) {
	r := &k.records.slots[s]
	*m = wire.Exited{
		Name: r.name(), Run: r.run.Load(), Pid: r.pid.Load(), Status: r.status, Flags: r.flags,
		Op: r.op, Errno: r.errno, User: r.user, System: r.system, MaxRSS: r.maxRSS, Boot: r.boot, Real: r.real,
	}
}

// pidSet says which ids the parent thread must report before it reaps them: those
// of runs that are, or may have become, its children.
type pidSet [1 << 22 / 32]atomic.Uint32

func (p *pidSet) add(pid uint32) {
	if pid < 1<<22 {
		p[pid/32].Or(1 << (pid % 32))
	}
}

func (p *pidSet) remove(pid uint32) {
	if pid < 1<<22 {
		p[pid/32].And(^uint32(1 << (pid % 32)))
	}
}

func (p *pidSet) has(pid uint32) bool {
	return pid < 1<<22 && p[pid/32].Load()&(1<<(pid%32)) != 0
}

// reapedRing carries ends from the parent thread to the loop; one writes, one
// reads.
type reapedRing struct {
	head, tail atomic.Uint32
	ends       [1]reapedEnd
}

type reapedEnd struct {
	pid   uint32
	facts exitFacts
}

// put waits until the loop has stored the end: only then may it be reaped.
func (r *reapedRing) put(pid, status uint32, usage *syscall.Rusage, wake func()) {
	t := r.tail.Load()
	r.ends[t%uint32(len(r.ends))] = reapedEnd{pid: pid, facts: exitFacts{status: status, usage: *usage}}
	r.tail.Store(t + 1)
	for wake(); r.head.Load() != t+1; {
		raw.Sleep(second / 20000)
	}
}

// takeReaped stores what the parent thread is about to reap.
func (k *keeper) takeReaped() {
	ring := &k.shared.reaped
	for h := ring.head.Load(); h != ring.tail.Load(); h++ {
		end := &ring.ends[h%uint32(len(ring.ends))]
		for s := range k.table.fresh {
			p, r := &k.table.private[s], &k.records.slots[s]
			if p.state&(stAdopted|stLeaders) != 0 && r.pid.Load() == end.pid && r.at() == wire.Live {
				if p.state&stAdopted != 0 {
					end.facts.flags = wire.WasAdopted
				}
				k.finish(s, &end.facts)
				k.unwatch(s)
				break
			}
		}
		ring.head.Store(h + 1)
	}
}
