//go:build amd64 || arm64

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// maxReleased bounds the released children that live at one time.
const maxReleased = maxSlots

// released is a child that went on without us. It is nobody's run, but only its
// parent can reap it.
type released struct {
	pid   uint32
	pidfd int32 // -1: the entry is free
	next  uint32
}

// adoptRequest carries out ADOPT: a process that runs already becomes the next run
// of a service. Its end is told as if an earlier keeper had started it, unless it
// is a child that was released.
func (k *keeper) adoptRequest(seq uint32, body []byte, fds []int, truncated bool) {
	var m wire.Adopt
	if code := m.Decode(body); code != wire.CodeNone {
		closeAll(fds)
		k.wrong(seq, code)
		return
	}
	if truncated || len(fds) > 1 {
		closeAll(fds)
		k.wrong(seq, wire.CodeDescriptors)
		return
	}
	s, code, e := k.admit(m.Name, m.Run)
	if code == wire.CodeNone && !k.foreign(m.Pid) {
		code = wire.CodeTaken
	}
	if code == wire.CodeNone {
		code, e = k.adoptLive(s, &m, fds)
	}
	closeAll(fds)
	if code != wire.CodeNone {
		k.stats.Refusals++
		no := wire.Refused{Name: m.Name, Run: m.Run, Code: code, Op: wire.NoOp, Errno: uint32(e)}
		k.answer(no.Append(k.out[:0], seq), -1)
		return
	}
	r := &k.records.slots[s]
	yes := wire.Spawned{Name: m.Name, Run: m.Run, Pid: m.Pid, Start: r.start, Began: r.began}
	k.answer(yes.Append(k.out[:0], seq), -1)
}

// foreign says that a process is none of ours and no service's main process.
func (k *keeper) foreign(pid uint32) bool {
	if pid == 1 || pid == uint32(raw.Pid()) || pid == k.engine.pid {
		return false
	}
	for s := range k.table.fresh {
		r := &k.records.slots[s]
		if r.at() == wire.Live && r.pid.Load() == pid {
			return false
		}
	}
	return true
}

// adoptLive stores the record of a run that nobody spawned: facts, number, phase.
// A keeper killed before the phase has used up a number and taken nothing.
func (k *keeper) adoptLive(s uint32, m *wire.Adopt, fds []int) (wire.Code, syscall.Errno) {
	pidfd, inode, code, e := k.lookAt(m.Pid, m.Start, fds)
	if code != wire.CodeNone {
		return code, e
	}
	r := &k.records.slots[s]
	r.pid.Store(m.Pid)
	r.start, r.pidfd, r.flags = m.Start, inode, 0
	r.began = m.Start * (second / ticksPerSecond)
	r.run.Store(m.Run)
	r.setPhase(wire.Live)
	k.table.live++
	k.follow(s, m.Pid, pidfd)
	return wire.CodeNone, 0
}

// lookAt opens the process that a pid and a start time mean, if that is also the one
// of the pidfd in fds, if any.
func (k *keeper) lookAt(pid uint32, start uint64, fds []int) (pidfd int, inode uint64, code wire.Code, errno syscall.Errno) {
	low, e := raw.PidfdOpen(int(pid))
	if e == syscall.ESRCH || e == syscall.EINVAL {
		return -1, 0, wire.CodeGone, 0
	}
	if e != 0 {
		return -1, 0, wire.CodeSystem, e
	}
	pidfd, e = raw.DupAbove(low, ownDescriptors)
	raw.Close(low)
	if e != 0 {
		return -1, 0, wire.CodeSystem, e
	}
	refuse := func(code wire.Code, e syscall.Errno) (int, uint64, wire.Code, syscall.Errno) {
		raw.Close(pidfd)
		return -1, 0, code, e
	}
	if uint64(pidfd)+spareDescriptors >= k.nofile {
		return refuse(wire.CodeSystem, syscall.EMFILE)
	}
	// The descriptor is open while the start time is read, so it is of this
	// process and of no later one with the same pid.
	st, e := raw.ReadStat(int(pid))
	if e != 0 || st.Start != start || st.State == 'Z' || raw.PidfdSignal(pidfd, 0, 0) == syscall.ESRCH {
		return refuse(wire.CodeGone, 0)
	}
	if k.flags&wire.PidfdNamed != 0 {
		inode, _ = raw.Inode(pidfd)
		if len(fds) > 0 {
			if other, e := raw.Inode(fds[0]); e != 0 || other != inode {
				return refuse(wire.CodeGone, 0)
			}
		}
	}
	return pidfd, inode, wire.CodeNone, 0
}

// follow begins to wait for the end of a process that this keeper did not spawn for
// the slot.
func (k *keeper) follow(s uint32, pid uint32, pidfd int) {
	k.forgetReleased(pid)
	var info raw.Siginfo
	if raw.WaitID(raw.PPidfd, pidfd, &info, raw.WExited|raw.WNoWait|raw.WNoHang|raw.WAll|raw.WNoThread, nil) != 0 {
		k.table.private[s].state |= stAdopted
		k.shared.adopted.add(pid)
	}
	k.watch(s, pidfd)
}

// releaseRequest carries out RELEASE: the process of a run goes on, and its slot
// is idle. If it is our child it is reaped in silence when it ends.
func (k *keeper) releaseRequest(seq uint32, body []byte) {
	var m wire.ServiceRun
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	s, ok := k.slotOf(seq, m.Name)
	if !ok {
		return
	}
	r, p := &k.records.slots[s], &k.table.private[s]
	if r.at() != wire.Live || r.run.Load() != m.Run || p.pidfd < 0 {
		k.fail(seq, wire.CodeNotLive, 0)
		return
	}
	if p.state&stAdopted == 0 {
		if code, e := k.letGo(s); code != wire.CodeNone {
			k.fail(seq, code, e)
			return
		}
	}
	r.setPhase(wire.Idle)
	k.table.live--
	if p.report >= 0 {
		raw.Close(int(p.report))
		p.report = -1
	}
	k.unwatch(s)
	k.ok(seq)
}

// letGo moves the pidfd of a child from its slot to the released ones.
func (k *keeper) letGo(s uint32) (wire.Code, syscall.Errno) {
	t, p := k.table, &k.table.private[s]
	i := t.rfree
	switch {
	case i != none:
	case t.rfresh < maxReleased:
		i = t.rfresh + 1
	default:
		return wire.CodeFull, 0
	}
	op := syscall.EPOLL_CTL_MOD
	if p.state&stBlind != 0 {
		op = syscall.EPOLL_CTL_ADD
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: p.pidfd, Pad: fromReleased + int32(i-1)}
	if e := raw.EpollCtl(k.epoll, op, int(p.pidfd), &ev); e != 0 {
		return wire.CodeSystem, e
	}
	if i == t.rfree {
		t.rfree = t.released[i-1].next
	} else {
		t.rfresh++
	}
	t.released[i-1] = released{pid: k.records.slots[s].pid.Load(), pidfd: p.pidfd}
	p.pidfd = -1
	return wire.CodeNone, 0
}

// releasedEnded reaps a released child.
func (k *keeper) releasedEnded(i uint32, fd int32) {
	r := &k.table.released[i]
	if r.pidfd != fd {
		return
	}
	var info raw.Siginfo
	raw.WaitID(raw.PPidfd, int(fd), &info, raw.WExited|raw.WNoHang|raw.WAll, nil)
	k.freeReleased(i)
}

func (k *keeper) freeReleased(i uint32) {
	t := k.table
	r := &t.released[i]
	raw.Close(int(r.pidfd))
	*r = released{pidfd: -1, next: t.rfree}
	t.rfree = i + 1
}

// forgetReleased takes a process off the list of released ones: it is a run again.
func (k *keeper) forgetReleased(pid uint32) {
	for i := range k.table.rfresh {
		if r := &k.table.released[i]; r.pidfd >= 0 && r.pid == pid {
			k.freeReleased(i)
			return
		}
	}
}
