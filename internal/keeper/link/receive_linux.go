package link

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// receive takes one message into l.in, sleeping in the netpoller until there is
// one. fd is -1 or the first descriptor that came along.
func (l *Link) receive() (n, fd int, err error) {
	fd = -1
	var oobn int
	var got error
	err = l.conn.Read(func(sock uintptr) bool {
		for {
			n, oobn, _, _, got = unix.Recvmsg(int(sock), l.in, l.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
			// A keeper that died with requests unread resets the connection; what
			// it sent before is still there, behind this error.
			if got != unix.EINTR && got != unix.ECONNRESET {
				return got != unix.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, -1, err
	case got != nil:
		return 0, -1, got
	case oobn > 0:
		fd = firstDescriptor(l.oob[:oobn])
	case n == 0:
		return 0, -1, io.EOF
	}
	return n, fd, nil
}

func firstDescriptor(oob []byte) int {
	first := -1
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if first < 0 {
				first = fd
			} else {
				unix.Close(fd)
			}
		}
	}
	return first
}

// read is the reader goroutine.
func (l *Link) read() {
	for _, msg := range l.early {
		if err := l.message(msg, -1); err != nil {
			l.finish(err)
			return
		}
	}
	l.early = nil
	for {
		n, fd, err := l.receive()
		if err == nil {
			err = l.message(l.in[:n], fd)
		}
		if err != nil {
			l.finish(err)
			return
		}
	}
}

// lose makes every later request fail. It reports whether it was the first to.
func (l *Link) lose(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return false
	}
	l.lost = err
	for _, seq := range slices.Sorted(maps.Keys(l.asked)) {
		r := l.asked[seq]
		// Nobody can say whether it was done: the next keeper's records do.
		l.custody.answered(&r, true)
		if r.reply != nil {
			r.reply <- reply{fd: -1, err: fmt.Errorf("cannot %s: %w", r.what, err)}
		}
		delete(l.asked, seq)
	}
	return true
}

// finish is the reader's last act.
func (l *Link) finish(err error) {
	if err == io.EOF {
		err = ErrLost
	}
	l.lose(err)
	if l.handler.Lost != nil {
		l.handler.Lost(err)
	}
}

func (l *Link) answered(seq uint32) request {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.asked[seq]
	delete(l.asked, seq)
	return r
}

func refusal(what string, body []byte) error {
	var m wire.Failure
	if code := m.Decode(body); code != wire.CodeNone {
		return fmt.Errorf("malformed error: %v", code)
	}
	return &Error{Request: what, Code: m.Code, Errno: int(m.Errno)}
}

// message hands one message on. An error means that the keeper talks nonsense.
func (l *Link) message(msg []byte, fd int) error {
	h, body, code := wire.Parse(msg)
	if code != wire.CodeNone {
		return fmt.Errorf("malformed message of the keeper: %v", code)
	}
	if h.Seq == 0 {
		if fd >= 0 {
			unix.Close(fd)
		}
		code = l.news(h.Type, body)
	} else {
		code = l.answer(h, body, fd)
	}
	if code != wire.CodeNone {
		return fmt.Errorf("malformed message %#x of the keeper: %v", h.Type, code)
	}
	return nil
}

func (l *Link) news(kind wire.Type, body []byte) wire.Code {
	switch kind {
	case wire.TypeExited:
		var m wire.Exited
		if code := m.Decode(body); code != wire.CodeNone {
			return code
		}
		if l.handler.Exited != nil {
			l.handler.Exited(exitedFrom(&m))
		}
		l.custody.ended(string(m.Name), m.Run)
	case wire.TypeSignaled:
		var m wire.Signaled
		if code := m.Decode(body); code != wire.CodeNone {
			return code
		}
		if l.handler.Signaled != nil {
			l.handler.Signaled(Signaled{Signo: int(m.Signo), Count: m.Count})
		}
	case wire.TypeIsAlive:
		if l.handler.Alive != nil {
			l.handler.Alive(l.pong)
		} else {
			l.pong()
		}
	case wire.TypeError: // an answer to nothing: to a message whose seq could not be read
	default:
		return wire.CodeType
	}
	return wire.CodeNone
}

// pong answers ISALIVE; it is not answered itself.
func (l *Link) pong() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		_ = l.send(wire.Bare(l.out[:0], wire.TypePong, 0), nil)
	}
}

func (l *Link) answer(h wire.Header, body []byte, fd int) wire.Code {
	r := l.answered(h.Seq)
	l.custody.answered(&r, h.Type == wire.TypeSpawned || h.Type == wire.TypeOK)
	if r.reply != nil {
		answer := reply{kind: h.Type, body: append([]byte(nil), body...), fd: fd}
		if h.Type == wire.TypeError {
			answer.err = refusal(r.what, body)
		}
		r.reply <- answer
		return wire.CodeNone
	}
	if fd >= 0 {
		unix.Close(fd)
	}
	switch h.Type {
	case wire.TypeSpawned:
		var m wire.Spawned
		if code := m.Decode(body); code != wire.CodeNone {
			return code
		}
		if l.handler.Spawned != nil {
			l.handler.Spawned(Spawned{Seq: h.Seq, Name: string(m.Name), Run: m.Run, Pid: int(m.Pid), Start: m.Start, Began: int64(m.Began)})
		}
		// The engine has been told: this is not on the way of the start.
		l.custody.begins(string(m.Name), m.Run, int(m.Pid), m.Start)
	case wire.TypeRefused:
		var m wire.Refused
		if code := m.Decode(body); code != wire.CodeNone {
			return code
		}
		if l.handler.Refused != nil {
			l.handler.Refused(Refused{
				Seq: h.Seq, Name: string(m.Name), Run: m.Run, Code: m.Code, Op: int(m.Op),
				Errno: int(m.Errno), Burned: m.Burned != 0,
			})
		}
	case wire.TypeError:
		var m wire.Failure
		if code := m.Decode(body); code != wire.CodeNone {
			return code
		}
		if l.handler.Failed != nil {
			l.handler.Failed(h.Seq, &Error{Request: r.what, Code: m.Code, Errno: int(m.Errno)})
		}
	}
	return wire.CodeNone
}

func exitedFrom(m *wire.Exited) Exited {
	return Exited{
		Name: string(m.Name), Run: m.Run, Pid: int(m.Pid), Known: m.Flags&wire.StatusUnknown == 0, Status: m.Status,
		NotStarted: m.Flags&wire.NotStarted != 0, ExecFailed: m.Flags&wire.ExecFailed != 0, Op: int(int32(m.Op)), Errno: int(m.Errno),
		Adopted: m.Flags&wire.WasAdopted != 0, User: time.Duration(m.User), System: time.Duration(m.System),
		MaxRSS: int64(m.MaxRSS) << 10, Boot: int64(m.Boot), Real: time.Unix(0, int64(m.Real)),
	}
}

func recordFrom(m *wire.Record) Record {
	r := Record{
		Name: string(m.Name), Run: m.Run, Phase: m.Phase, Pid: int(m.Pid), Start: m.Start, Began: int64(m.Began),
		Held: append([]wire.HeldTag(nil), m.Held[:m.NHeld]...),
	}
	if m.Phase == wire.Ended {
		r.Exit = exitedFrom(&m.Exit)
	}
	return r
}
