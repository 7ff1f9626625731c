//go:build amd64 || arm64

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// handoverTime is how long the engine of a dead keeper may be silent in the
// middle of a hand-over, and how long it may take to end after it.
const handoverTime = 3 * second

// handover is what the engine of a dead keeper gives to us, read message by
// message. Whatever is missing at its end, because the engine died as well, comes
// from the records and the run directory, as after the death of both.
type handover struct {
	sock   int // -1: there is no hand-over, or it broke off
	engine int // pidfd of the engine, -1: it has ended
	whole  bool
	ahead  bool // the message in buf is read and not used

	lock, listener, lease int // -1: not given

	kind wire.Type
	body []byte
	fd   int // came with the message, -1: none
	mail raw.Messenger
	buf  [wire.HeaderSize + 512]byte
}

// receiveFirst takes what is needed before there are records. fd is the socket
// we were started with, -1 for none.
func receiveFirst(fd int) *handover {
	h := &handover{sock: above(fd), engine: -1, lock: -1, listener: -1, lease: -1, fd: -1}
	if h.sock < 0 {
		return h
	}
	if cred, err := syscall.GetsockoptUcred(h.sock, syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
		if low, e := raw.PidfdOpen(int(cred.Pid)); e == 0 {
			h.engine = above(low)
		}
	}
	for h.next() {
		switch h.kind {
		case wire.TypeLock:
			h.lock = h.take(h.lock)
		case wire.TypeListener:
			h.listener = h.take(h.listener)
		case wire.TypeLease:
			h.lease = h.take(h.lease)
		default:
			h.ahead = true
			return h
		}
	}
	return h
}

// next reads a message. false: the engine has ended, or says what no engine says.
func (h *handover) next() bool {
	if h.ahead {
		h.ahead = false
		return true
	}
	if h.sock < 0 || h.whole {
		return false
	}
	h.drop()
	if !raw.Readable(h.sock, handoverTime) {
		h.breakOff("it is silent", true)
		return false
	}
	n, fds, truncated, e := h.mail.Receive(h.sock, h.buf[:])
	if e == 0 && n == 0 && len(fds) == 0 {
		h.breakOff("it has ended", false)
		return false
	}
	if len(fds) > 0 {
		h.fd = fds[0]
		closeAll(fds[1:])
	}
	head, body, code := wire.Parse(h.buf[:min(n, len(h.buf))])
	want := 1
	if head.Type == wire.TypeDone {
		want = 0
	}
	if e != 0 || truncated || code != wire.CodeNone || !head.Type.Handover() || len(fds) != want {
		h.breakOff("its message makes no sense", true)
		return false
	}
	h.kind, h.body = head.Type, body
	return true
}

// drop closes a descriptor that nobody took.
func (h *handover) drop() {
	if h.fd >= 0 {
		raw.Close(h.fd)
		h.fd = -1
	}
}

// take makes the descriptor of the message ours, in the place of an earlier one.
func (h *handover) take(earlier int) int {
	if earlier >= 0 {
		raw.Close(earlier)
	}
	fd := above(h.fd)
	h.fd = -1
	return fd
}

// breakOff goes on without the engine. One that lives on is ended: its services
// are ours from here.
func (h *handover) breakOff(why string, lives bool) {
	say("cannot take everything over from the engine: ").s(why).s("; going on with the records").end()
	if lives && h.engine >= 0 {
		raw.PidfdSignal(h.engine, int(syscall.SIGKILL), 0)
	}
	h.release()
}

// release ends the connection when the engine has ended, which the end of its
// side says: its threads write no log and no page any more.
func (h *handover) release() {
	if h.sock < 0 {
		return
	}
	h.drop()
	for h.ending() {
	}
	raw.Close(h.sock)
	h.sock = -1
	if h.engine >= 0 {
		raw.Close(h.engine)
		h.engine = -1
	}
}

// ending waits for the end of the engine's side, or makes it come. What it still
// sends is thrown away.
func (h *handover) ending() bool {
	if !raw.Readable(h.sock, handoverTime) {
		if h.engine < 0 || raw.PidfdSignal(h.engine, int(syscall.SIGKILL), 0) != 0 {
			return false
		}
		return true
	}
	n, fds, _, e := h.mail.Receive(h.sock, h.buf[:])
	closeAll(fds)
	return e == syscall.ECONNRESET || e == 0 && (n > 0 || len(fds) > 0)
}

// agree tells the engine that it may end, and waits until it has.
func (h *handover) agree() {
	if h.sock < 0 {
		return
	}
	if h.whole {
		h.mail.Send(h.sock, wire.Bare(h.buf[:0], wire.TypeOK, 0), nil)
	}
	h.release()
}

// inherit takes the rest: the pidfds of live runs, which adopt then compares with
// the records, and what was held.
func (k *keeper) inherit(h *handover) {
	for h.next() {
		switch h.kind {
		case wire.TypePidfd:
			var m wire.LiveRun
			if m.Decode(h.body) == wire.CodeNone {
				k.inheritPidfd(h, &m)
			}
		case wire.TypeHeld:
			var m wire.Held
			if m.Decode(h.body) == wire.CodeNone {
				k.inheritHeld(h, &m)
			}
		case wire.TypeDone:
			h.whole = true
		}
	}
}

// inheritHeld keeps what belongs to a run that has begun, or to the service. The
// engine may have asked for one that never did, and will ask again.
func (k *keeper) inheritHeld(h *handover, m *wire.Held) {
	s, ok := k.find(m.Name)
	if !ok || m.Run > k.records.slots[s].run.Load() || uint64(h.fd)+spareDescriptors >= k.nofile {
		return
	}
	k.keep(s, m.Run, m.Tag, h.fd)
	h.fd = -1
}

// inheritPidfd keeps the pidfd of a run that the records know as alive. Where they
// know nothing of the service, because they were lost, the engine's word makes a
// new one.
func (k *keeper) inheritPidfd(h *handover, m *wire.LiveRun) {
	if uint64(h.fd)+spareDescriptors >= k.nofile {
		return
	}
	if _, ok := k.find(m.Name); !ok && !k.recordAgain(h.fd, m) {
		return
	}
	s, _ := k.find(m.Name)
	r, p := &k.records.slots[s], &k.table.private[s]
	if r.at() == wire.Live && r.run.Load() == m.Run && r.pid.Load() == m.Pid && p.pidfd < 0 {
		p.pidfd = int32(h.take(-1))
	}
}

// recordAgain makes a record for the process behind a pidfd, if its inode names it
// and the start time is the one that the engine knows.
func (k *keeper) recordAgain(pidfd int, m *wire.LiveRun) bool {
	st, e := raw.ReadStat(int(m.Pid))
	if e != 0 || st.Start != m.Start || k.flags&wire.PidfdNamed == 0 {
		return false
	}
	ino, e := raw.Inode(pidfd)
	other, oe := raw.PidfdOpen(int(m.Pid))
	if e != 0 || oe != 0 {
		return false
	}
	now, e := raw.Inode(other)
	raw.Close(other)
	if e != 0 || now != ino {
		return false
	}
	s, code, _ := k.obtain(m.Name)
	if code != wire.CodeNone {
		return false
	}
	r := &k.records.slots[s]
	r.start, r.pidfd, r.flags = m.Start, ino, 0
	r.began = m.Start * (second / ticksPerSecond)
	r.pid.Store(m.Pid)
	r.run.Store(m.Run)
	r.setPhase(wire.Live)
	return true
}

// known says whether the pidfd that came with a hand-over is that of the very
// process in the record. It still knows the status of one that was reaped.
func (k *keeper) known(s uint32) bool {
	r, p := &k.records.slots[s], &k.table.private[s]
	if p.pidfd < 0 {
		return false
	}
	ino, e := raw.Inode(int(p.pidfd))
	if e == 0 && k.flags&wire.PidfdNamed != 0 && r.pidfd != 0 && ino == r.pidfd {
		return true
	}
	raw.Close(int(p.pidfd))
	p.pidfd = -1
	return false
}
