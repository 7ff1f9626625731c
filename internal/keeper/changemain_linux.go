//go:build amd64 || arm64

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// mainRequest carries out MAIN: another process is the main process of a run from
// now on. What was it before and lives is a child like any other.
func (k *keeper) mainRequest(seq uint32, body []byte, fds []int, truncated bool) {
	var m wire.Main
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
	s, known := k.find(m.Name)
	code, e := wire.CodeUnknown, syscall.Errno(0)
	if known {
		code, e = k.changeMain(s, &m, fds)
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

func (k *keeper) changeMain(s uint32, m *wire.Main, fds []int) (wire.Code, syscall.Errno) {
	r, p := &k.records.slots[s], &k.table.private[s]
	lives := r.at() == wire.Live && p.pidfd >= 0
	switch {
	case r.run.Load() != m.Run || !lives && r.at() != wire.Ended:
		return wire.CodeNotLive, 0
	case lives && r.pid.Load() == m.Pid && r.start == m.Start:
		return wire.CodeNone, 0 // an engine that died has asked for it before
	case !k.foreign(m.Pid):
		return wire.CodeTaken, 0
	}
	pidfd, inode, code, e := k.lookAt(m.Pid, m.Start, fds)
	if code != wire.CodeNone {
		return code, e
	}
	if lives {
		if p.state&stAdopted == 0 {
			if code, e := k.letGo(s); code != wire.CodeNone {
				raw.Close(pidfd)
				return code, e
			}
		}
		if p.report >= 0 {
			raw.Close(int(p.report))
			p.report = -1
		}
		k.unwatch(s)
	} else {
		k.table.live++
	}
	r.next.pid, r.next.start, r.next.pidfd = m.Pid, m.Start, inode
	r.next.run.Store(m.Run)
	r.succeed()
	k.follow(s, m.Pid, pidfd)
	return wire.CodeNone, 0
}

// succeed gives the slot the main process that stands beside it. A keeper that is
// killed in it leaves that to the next one, so that a record is never of two
// processes.
func (s *slot) succeed() {
	if s.next.run.Load() == 0 {
		return
	}
	if p := s.at(); s.next.run.Load() == s.run.Load() && (p == wire.Live || p == wire.Ended) {
		s.pid.Store(s.next.pid)
		s.start, s.pidfd, s.flags = s.next.start, s.next.pidfd, 0
		s.setPhase(wire.Live)
	}
	s.next.run.Store(0)
}
