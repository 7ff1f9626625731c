//go:build amd64 || arm64

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// What stands in Pad of an epoll event: a slot, or one of these.
const (
	fromEngine int32 = -1
	fromShared int32 = -2
	fromKnock  int32 = -3
	fromProof  int32 = -8
	// fromReleased and above are children that are no runs any more.
	fromReleased int32 = maxSlots
)

const second = 1_000_000_000

// patience is how long the engine may be silent, in nanoseconds.
var patience = struct{ quiet, answer, hello, farewell, proof, trial int64 }{
	quiet:    2 * second,  // after news, or a client's connection, before it is asked whether it lives
	answer:   5 * second,  // for the answer to that
	hello:    60 * second, // from its start to its first word
	farewell: 3 * second,  // to end after it asked for our end, or closed its socket
	proof:    5 * second,  // for a new keeper to prove itself
	trial:    10 * second, // for a new engine to be in charge
}

// messagesATurn bounds what one turn takes from the engine, so that exits are not
// kept waiting by a flood of requests.
const messagesATurn = 64

// run is the loop's thread. It never returns.
func (k *keeper) run() {
	k.watchListener()
	for {
		n, e := raw.EpollWait(k.epoll, k.events[:], k.timeout())
		if e != 0 {
			if e != syscall.EINTR {
				say("cannot wait for events").errno(e).end()
				raw.Sleep(second / 10)
			}
			continue
		}
		for i := range k.events[:n] {
			ev := &k.events[i]
			switch ev.Pad {
			case fromEngine:
				if int(ev.Fd) == k.engine.sock {
					k.engineEvent(ev.Events)
				}
			case fromKnock:
				k.knock()
			case fromShared:
				raw.EventfdDrain(k.shared.wake)
				k.takeReaped()
				k.takeEngine()
				k.noteSignals()
			case fromProof:
				if int(ev.Fd) == k.upgrade.proof {
					k.proofEnded()
				}
			default:
				if ev.Pad >= fromReleased {
					k.releasedEnded(uint32(ev.Pad-fromReleased), ev.Fd)
				} else if s := uint32(ev.Pad); k.table.private[s].pidfd == ev.Fd {
					k.ended(s, ev.Events)
				}
			}
		}
		k.deadlines()
		k.flush()
	}
}

// timeout is the time to the next deadline in milliseconds, -1 for none. An idle
// keeper has none.
func (k *keeper) timeout() int {
	next := k.dueAt
	if d := k.engine.deadline(k.shared.ending.Load() != endNo); d != 0 && (next == 0 || d < next) {
		next = d
	}
	if d := k.upgradeDeadline(); d != 0 && (next == 0 || d < next) {
		next = d
	}
	if next == 0 {
		return -1
	}
	left := next - raw.Monotonic()
	if left <= 0 {
		return 0
	}
	return int((left + 999_999) / 1_000_000)
}

// deadline is when the engine's patience ends, 0 for never.
func (c *connection) deadline(ending bool) int64 {
	switch {
	case c.killed || c.owed == 0:
		return 0
	case ending || c.sock < 0:
		return c.owed + patience.farewell
	case c.asked:
		return c.owed + patience.answer
	case !c.hello || c.begins:
		return c.owed + patience.hello
	}
	return c.owed + patience.quiet
}

func (k *keeper) deadlines() {
	if d := k.upgradeDeadline(); d != 0 && raw.Monotonic() >= d {
		k.upgradeDue()
	}
	if k.dueAt != 0 || k.engine.owed != 0 {
		now := raw.Monotonic()
		if k.dueAt != 0 && now >= k.dueAt {
			k.dueSlots(now)
		}
		ending := k.shared.ending.Load() != endNo
		if d := k.engine.deadline(ending); d != 0 && now >= d {
			k.engineSilent(now, ending)
		}
	}
}

// engineSilent asks a silent engine for a word, and ends one that gave none, or
// that has closed its socket and lives on.
func (k *keeper) engineSilent(now int64, ending bool) {
	c := &k.engine
	if raw.PidfdSignal(c.pidfd, 0, 0) != 0 {
		c.owed = 0 // it has ended; the parent thread sees to it
		return
	}
	if c.hello && !c.asked && !ending {
		c.asked = true
		c.owed = now
		if !k.waiting {
			k.post(wire.Bare(k.news[:0], wire.TypeIsAlive, 0))
		}
		return
	}
	say("the engine (pid ").n(int64(c.pid)).s(") does not answer: ending it").end()
	c.killed = true
	raw.PidfdSignal(c.pidfd, int(syscall.SIGKILL), 0)
}

// owe starts the clock for the engine's next word.
func (k *keeper) owe() {
	if k.engine.owed == 0 {
		k.engine.owed = raw.Monotonic()
	}
}

// heard stops it; an engine that asked for our end is to end itself, whatever else
// it says.
func (k *keeper) heard() {
	if k.shared.ending.Load() == endNo {
		k.engine.owed = 0
		k.engine.asked = false
		k.engine.begins = k.engine.begins && k.engine.listed < maxSlots
		k.stillKnocking()
	}
}

// watchListener makes epoll tell of every client that connects, once. The engine
// accepts it; we only have to know that somebody waits, because an engine that
// hangs is noticed by what it owes.
func (k *keeper) watchListener() {
	if k.flags&wire.Unrecorded != 0 {
		return // nobody can connect
	}
	const edge = 1 << 31 // EPOLLET
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | edge, Fd: int32(k.listener), Pad: fromKnock}
	if e := raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_ADD, k.listener, &ev); e != 0 {
		say("cannot watch the control socket").errno(e).end()
	}
}

// knock starts the clock for an engine that a client waits for.
func (k *keeper) knock() {
	k.engine.knocked = true
	if k.engine.hello {
		k.owe()
	}
}

// stillKnocking starts it again for one that has said a word and accepted nobody.
func (k *keeper) stillKnocking() {
	c := &k.engine
	if c.knocked {
		if c.knocked = raw.Readable(k.listener, 0); c.knocked && c.hello {
			c.owed = raw.Monotonic()
		}
	}
}

// takeEngine takes over a newly started engine.
func (k *keeper) takeEngine() {
	box := &k.shared.mailbox
	if !box.full.Load() {
		return
	}
	k.dropEngine()
	if k.engine.pidfd >= 0 {
		raw.Close(k.engine.pidfd)
	}
	k.engine = connection{sock: box.sock, pidfd: box.pidfd, pid: box.pid}
	box.full.Store(false)
	k.owe()
	k.onTrial()
	k.waiting, k.outFD = false, -1
	k.unsent, k.unsentLast = none, none
	for s := range k.table.fresh {
		k.table.private[s].state &^= stQueued
	}
	for i := range k.signals {
		k.signals[i].told = k.signals[i].handled
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(k.engine.sock), Pad: fromEngine}
	k.wanted = ev.Events
	if e := raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_ADD, k.engine.sock, &ev); e != 0 {
		say("cannot listen to the engine").errno(e).end()
		raw.PidfdSignal(k.engine.pidfd, int(syscall.SIGKILL), 0)
	}
}

func (k *keeper) dropEngine() {
	if k.engine.sock < 0 {
		return
	}
	raw.Close(k.engine.sock)
	k.engine.sock, k.engine.hello, k.engine.owed = -1, false, raw.Monotonic()
	if k.outFD >= 0 {
		raw.Close(k.outFD)
	}
	k.waiting, k.outFD = false, -1
	k.shared.gone.Add(1)
}

func (k *keeper) engineEvent(events uint32) {
	if k.waiting && events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		k.retryAnswer()
	}
	for range messagesATurn {
		if k.waiting || k.engine.sock < 0 {
			return
		}
		n, fds, truncated, e := k.mail.Receive(k.engine.sock, k.in[:])
		if e == syscall.EAGAIN {
			return
		}
		if e == syscall.ECONNRESET {
			// The engine died with answers unread. What it sent before is still
			// there, behind this error.
			continue
		}
		if e != 0 {
			say("cannot read from the engine").errno(e).end()
		}
		if e != 0 || (n == 0 && len(fds) == 0) {
			k.dropEngine()
			return
		}
		k.heard()
		k.request(k.in[:min(n, len(k.in))], fds, truncated)
	}
}

// answer sends the message in out, with a descriptor of ours if fd is not -1; fd
// is ours to close. While there is no room the engine is not read from: one
// answer waits, never a queue of them.
func (k *keeper) answer(msg []byte, fd int) {
	k.out, k.outFD = msg, fd
	k.retryAnswer()
}

func (k *keeper) retryAnswer() {
	var fds [1]int
	list := fds[:0]
	if k.outFD >= 0 {
		list = append(list, k.outFD)
	}
	e := k.mail.Send(k.engine.sock, k.out, list)
	k.waiting = e == syscall.EAGAIN || e == syscall.ENOBUFS || e == syscall.ENOMEM
	if k.waiting {
		k.owe()
		return
	}
	// Any other failure means that the engine is gone; what it asked before is
	// still read to the end.
	if k.outFD >= 0 {
		raw.Close(k.outFD)
		k.outFD = -1
	}
}

// post sends news; false means that there is no room now.
func (k *keeper) post(msg []byte) bool {
	if e := k.mail.Send(k.engine.sock, msg, nil); e == syscall.EAGAIN || e == syscall.ENOBUFS || e == syscall.ENOMEM {
		k.owe()
		return false
	}
	k.owe()
	return true
}

// flush tells what is to be told and asks epoll for what is missing.
func (k *keeper) flush() {
	if k.engine.sock < 0 {
		return
	}
	room := !k.waiting && k.engine.hello
	if room {
		room = k.tellSignals() && k.tellExits()
	}
	var want uint32
	switch {
	case k.waiting:
		want = syscall.EPOLLOUT
	case k.engine.hello && !room:
		want = syscall.EPOLLIN | syscall.EPOLLOUT
	default:
		want = syscall.EPOLLIN
	}
	if want != k.wanted {
		k.wanted = want
		ev := syscall.EpollEvent{Events: want, Fd: int32(k.engine.sock), Pad: fromEngine}
		raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_MOD, k.engine.sock, &ev)
	}
}

func (k *keeper) tellSignals() bool {
	for signo := range k.signals {
		c := &k.signals[signo]
		count := k.shared.received[signo].Load()
		if count == c.told {
			continue
		}
		m := wire.Signaled{Signo: uint32(signo), Count: count}
		if !k.post(m.Append(k.news[:0], wire.TypeSignaled, 0)) {
			return false
		}
		c.told = count
	}
	return true
}

func (k *keeper) tellExits() bool {
	for k.unsent != none {
		s := k.unsent - 1
		p := &k.table.private[s]
		if k.records.slots[s].at() == wire.Ended {
			var m wire.Exited
			k.exitOf(s, &m)
			if !k.post(m.Append(k.news[:0])) {
				return false
			}
		}
		k.unsent = p.next
		if k.unsent == none {
			k.unsentLast = none
		}
		p.next = none
		p.state &^= stQueued
	}
	return true
}

// queueExit lets the engine know of an exit, unless its inventory will.
func (k *keeper) queueExit(s uint32) {
	p := &k.table.private[s]
	if p.state&stQueued != 0 || s >= k.engine.listed || k.engine.sock < 0 {
		return
	}
	p.state |= stQueued
	p.next = none
	if k.unsentLast == none {
		k.unsent = s + 1
	} else {
		k.table.private[k.unsentLast-1].next = s + 1
	}
	k.unsentLast = s + 1
}
