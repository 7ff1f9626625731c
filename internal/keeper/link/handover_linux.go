package link

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// takeTime is how long a new keeper may take to come up, to take what it is given
// and to look at every run.
const takeTime = 20 * time.Second

// Options of a keeper that takes over: the descriptor at which its predecessor's
// engine is, and the limits of descriptors that the first keeper was born with.
const (
	inheritOption = "--inherit-fd"
	nofileOption  = "--nofile"
)

// HandOver gives a new keeper, through the socket it was started with, what the
// dead one had: descriptors, and a pidfd of every live run. It returns nil when
// the keeper has taken everything and has looked at every record; it starts its own
// engine as soon as this process has ended, which must be at once. The socket
// stays the caller's: its end tells the keeper that this process has ended.
func (l *Link) HandOver(sock int, e Estate) error {
	h := handover{sock: sock, until: time.Now().Add(takeTime)}
	for _, part := range []struct {
		kind wire.Type
		fd   int
	}{{wire.TypeLock, e.Lock}, {wire.TypeListener, e.Listener}, {wire.TypeLease, e.Lease}} {
		if part.fd >= 0 {
			h.send(wire.Bare(h.buf[:0], part.kind, 0), part.fd)
		}
	}
	l.custody.mu.Lock()
	defer l.custody.mu.Unlock()
	for name, r := range l.custody.runs {
		m := wire.LiveRun{Name: []byte(name), Run: r.run, Pid: uint32(r.pid), Start: r.start}
		h.send(m.Append(h.buf[:0]), r.pidfd)
	}
	for of, list := range l.custody.held {
		for _, k := range list {
			l.handHeld(&h, of, k)
		}
	}
	h.send(wire.Bare(h.buf[:0], wire.TypeDone, 0))
	h.receive()
	if h.err != nil {
		return fmt.Errorf("cannot hand over to a new keeper: %w", h.err)
	}
	return nil
}

func (l *Link) handHeld(h *handover, of holder, k kept) {
	fd := k.fd
	if fd < 0 && l.handler.Held != nil {
		if fd = l.handler.Held(of.name, of.run, k.tag); fd >= 0 {
			defer unix.Close(fd)
		}
	}
	if fd >= 0 {
		m := wire.Held{Name: []byte(of.name), Run: of.run, Tag: k.tag}
		h.send(m.Append(h.buf[:0], wire.TypeHeld, 0), fd)
	}
}

// handover is the engine's end of one; after the first error nothing is done.
type handover struct {
	sock  int
	until time.Time
	err   error
	buf   [wire.HeaderSize + 512]byte
}

func (h *handover) send(msg []byte, fds ...int) {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for h.err == nil {
		switch err := unix.Sendmsg(h.sock, msg, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err {
		case nil:
			return
		case unix.EINTR:
		case unix.EAGAIN:
			h.await(unix.POLLOUT)
		case unix.ENOBUFS, unix.ETOOMANYREFS:
			// Not the socket is full but the kernel: there is nothing to wait for.
			time.Sleep(time.Millisecond)
			h.late()
		default:
			h.err = err
		}
	}
}

// receive waits for the keeper's OK.
func (h *handover) receive() {
	for h.err == nil {
		n, _, err := unix.Recvfrom(h.sock, h.buf[:], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			h.await(unix.POLLIN)
		case err != nil:
			h.err = err
		case n == 0:
			h.err = ErrLost
		default:
			if head, _, code := wire.Parse(h.buf[:n]); code != wire.CodeNone || head.Type != wire.TypeOK {
				h.err = fmt.Errorf("its answer %#x is not what was to come", head.Type)
			}
			return
		}
	}
}

func (h *handover) await(event int16) {
	poll := []unix.PollFd{{Fd: int32(h.sock), Events: event}}
	if _, err := unix.Poll(poll, int(max(time.Until(h.until).Milliseconds(), 0))); err != nil && err != unix.EINTR {
		h.err = err
	}
	h.late()
}

func (h *handover) late() {
	if h.err == nil && !time.Now().Before(h.until) {
		h.err = fmt.Errorf("it does not answer within %s", takeTime)
	}
}

// Orphan is the link of an engine whose keeper died before it was greeted. It can
// only replace it.
func Orphan() *Link { return &Link{custody: newCustody()} }

// Replace starts a keeper as a sibling of this process, which it is to outlive, and
// hands everything over to it. After nil the caller must end at once; after an
// error nothing of the new keeper is left, and it may be tried again.
func (l *Link) Replace(s Successor, e Estate) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot make a socket for a new keeper: %w", err)
	}
	_ = unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	pidfd, err := s.start(pair[1])
	unix.Close(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return err
	}
	defer unix.Close(pidfd)
	if err = l.HandOver(pair[0], e); err == nil {
		return nil // pair[0] is closed by our end, and says it
	}
	// It must be gone before its side sees an end: it would go on alone.
	_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != unix.EINTR {
			break
		}
	}
	unix.Close(pair[0])
	return err
}

// Start starts a keeper that is given nothing: it waits for the lock of its run
// directory, which this process holds until its end, and goes by the records.
func (s *Successor) Start() error {
	pidfd, err := s.start(-1)
	if err == nil {
		unix.Close(pidfd)
	}
	return err
}

// start runs the keeper with sock as its descriptor 3, and returns a pidfd of it.
func (s *Successor) start(sock int) (int, error) {
	pidfd := -1
	files := []uintptr{0, 1, 2}
	if sock >= 0 {
		files = append(files, uintptr(sock))
	}
	_, err := syscall.ForkExec(s.Path, s.argv(sock >= 0), &syscall.ProcAttr{
		Env: s.Env, Files: files,
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT, Setsid: true, PidFD: &pidfd},
	})
	if err != nil {
		return -1, &os.PathError{Op: "cannot run", Path: s.Path, Err: err}
	}
	if pidfd < 0 {
		return -1, fmt.Errorf("cannot follow the new keeper: %w", unix.ENOSYS)
	}
	return pidfd, nil
}

// argv is the command line of a keeper that inherits or does not. What stands
// behind -- is the engine's.
func (s *Successor) argv(inherit bool) []string {
	end := slices.Index(s.Argv, "--")
	if end < 0 {
		end = len(s.Argv)
	}
	var out []string
	for i := 0; i < end; i++ {
		if s.Argv[i] == inheritOption || s.Argv[i] == nofileOption {
			i++
			continue
		}
		out = append(out, s.Argv[i])
	}
	if inherit {
		out = append(out, inheritOption, strconv.Itoa(3))
	}
	if s.Nofile[0] > 0 {
		out = append(out, nofileOption, strconv.FormatUint(s.Nofile[0], 10)+":"+strconv.FormatUint(s.Nofile[1], 10))
	}
	return append(out, s.Argv[end:]...)
}
