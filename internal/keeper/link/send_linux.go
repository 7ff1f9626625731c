package link

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// ask sends a request. encode appends the message to an empty buffer.
func (l *Link) ask(what string, fds []int, encode func([]byte, uint32) []byte, wait chan reply) (uint32, error) {
	return l.request(request{what: what, reply: wait}, fds, encode)
}

// request is ask for one that changes what the keeper holds.
func (l *Link) request(r request, fds []int, encode func([]byte, uint32) []byte) (uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq, err := l.sendRequest(r, fds, encode)
	if err != nil {
		closeKept(r.gives)
	}
	return seq, err
}

// sendRequest is request with l.mu held.
func (l *Link) sendRequest(r request, fds []int, encode func([]byte, uint32) []byte) (uint32, error) {
	if l.lost != nil {
		return 0, fmt.Errorf("cannot %s: %w", r.what, l.lost)
	}
	l.seq++
	if l.seq == 0 {
		l.seq = 1
	}
	seq := l.seq
	l.out = encode(l.out[:0], seq)
	if h, _, _ := wire.Parse(l.out); h.Type.Since() > l.version && h.Type != wire.TypeHello {
		return 0, fmt.Errorf("cannot %s: %w", r.what, &OldKeeper{Version: l.version})
	}
	if err := l.send(l.out, fds); err != nil {
		return 0, fmt.Errorf("cannot %s: %w", r.what, err)
	}
	r.since = time.Now()
	l.asked[seq] = r
	return seq, nil
}

// send sends now, or keeps a copy for when there is room. l.mu is held.
func (l *Link) send(msg []byte, fds []int) error {
	if len(l.queue) == 0 {
		err := l.transmit(msg, fds)
		if err == nil || !full(err) {
			return err
		}
	}
	p := packet{msg: append([]byte(nil), msg...)}
	for _, fd := range fds {
		mine, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			p.close()
			return fmt.Errorf("cannot keep a descriptor until it can be sent: %w", err)
		}
		p.fds = append(p.fds, mine)
	}
	l.queue = append(l.queue, p)
	if !l.writing {
		l.writing = true
		go l.write()
	}
	return nil
}

func (p *packet) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
}

func full(err error) bool {
	return err == unix.EAGAIN || err == unix.ENOBUFS || err == unix.ETOOMANYREFS
}

// transmit sends without waiting.
func (l *Link) transmit(msg []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	var sent error
	err := l.conn.Control(func(fd uintptr) {
		for {
			sent = unix.Sendmsg(int(fd), msg, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if sent != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if sent == unix.EPIPE || sent == unix.ECONNRESET {
		return ErrLost
	}
	return sent
}

// write sends the queue, waiting for room, and ends with it.
func (l *Link) write() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 || l.lost != nil {
			for i := range l.queue {
				l.queue[i].close()
			}
			l.queue, l.writing = nil, false
			l.mu.Unlock()
			return
		}
		p := l.queue[0]
		l.mu.Unlock()
		var rights []byte
		if len(p.fds) > 0 {
			rights = unix.UnixRights(p.fds...)
		}
		var sent error
		err := l.conn.Write(func(fd uintptr) bool {
			for {
				sent = unix.Sendmsg(int(fd), p.msg, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
				if sent != unix.EINTR {
					return sent != unix.EAGAIN
				}
			}
		})
		if err == nil && full(sent) {
			// Not the socket is full but the kernel: there is nothing to wait for.
			time.Sleep(time.Millisecond)
			continue
		}
		l.mu.Lock()
		p.close()
		l.queue = l.queue[1:]
		l.mu.Unlock()
		if err != nil || sent != nil {
			// The reader sees the end of the connection as well and says so.
			l.lose(ErrLost)
		}
	}
}

// wait sends a request and waits for its answer.
func (l *Link) wait(what string, want wire.Type, encode func([]byte, uint32) []byte) (reply, error) {
	return l.waitFor(what, nil, want, answerTime, encode)
}

func (l *Link) waitFor(what string, fds []int, want wire.Type, patience time.Duration, encode func([]byte, uint32) []byte) (reply, error) {
	if !l.started {
		return reply{}, fmt.Errorf("cannot %s: the services are not listed yet", what)
	}
	ch := make(chan reply, 1)
	seq, err := l.ask(what, fds, encode, ch)
	if err != nil {
		return reply{}, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-ch:
		if r.err == nil && r.kind != want {
			if r.fd >= 0 {
				unix.Close(r.fd)
			}
			r.err = fmt.Errorf("cannot %s: unexpected answer %#x", what, r.kind)
		}
		return r, r.err
	case <-timer.C:
		l.abandon(seq)
		return reply{}, fmt.Errorf("cannot %s: the keeper does not answer", what)
	}
}

// abandon leaves the request unanswered as far as Owed is concerned, but nobody
// waits for it.
func (l *Link) abandon(seq uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.asked[seq]; ok {
		r.reply = nil
		l.asked[seq] = r
	}
}

// Gone says that the connection has ended: no request is sent any more.
func (l *Link) Gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost != nil
}
