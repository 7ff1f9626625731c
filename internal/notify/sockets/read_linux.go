package sockets

import (
	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/notify"
)

// mailbox is where a message is read into.
type mailbox struct {
	data [notify.MaxDatagram]byte
	oob  [1280]byte // the sender and 253 descriptors: Linux lets none come with more
}

// Next returns the oldest message that waits at the socket of a run and leaves it
// there; false if there is none. Data is valid until the next call, the descriptors
// until Done.
func (s *Sockets) Next(name string, run uint64) (notify.Datagram, bool) {
	s.mu.Lock()
	k := s.open[Key{name, run}]
	s.mu.Unlock()
	if k == nil {
		return notify.Datagram{}, false
	}
	closeAll(k.fds)
	k.fds = nil
	var n, oobn, flags int
	var err error
	for {
		n, oobn, flags, _, err = unix.Recvmsg(k.fd, s.in.data[:], s.in.oob[:], unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return notify.Datagram{}, false
	}
	d := notify.Datagram{Data: s.in.data[:n], UID: -1, Cut: flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0}
	messages, err := unix.ParseSocketControlMessage(s.in.oob[:oobn])
	if err != nil {
		d.Cut = true
	}
	for i := range messages {
		m := &messages[i]
		if fds, err := unix.ParseUnixRights(m); err == nil {
			k.fds = append(k.fds, fds...)
		} else if c, err := unix.ParseUnixCredentials(m); err == nil {
			d.Pid, d.UID = int(c.Pid), int(c.Uid)
		}
	}
	d.FDs = k.fds
	return d, true
}

// Done takes away the message that Next returned and closes what came with it.
func (s *Sockets) Done(name string, run uint64) {
	s.mu.Lock()
	k := s.open[Key{name, run}]
	s.mu.Unlock()
	if k == nil {
		return
	}
	closeAll(k.fds)
	k.fds = nil
	var one [1]byte
	for {
		if _, _, err := unix.Recvfrom(k.fd, one[:], unix.MSG_DONTWAIT); err != unix.EINTR {
			return
		}
	}
}

// Same reports whether two descriptors are of one open file.
func Same(a, b int) bool {
	const file = 0 // KCMP_FILE
	pid := uintptr(unix.Getpid())
	r, _, e := unix.Syscall6(unix.SYS_KCMP, pid, pid, file, uintptr(a), uintptr(b), 0)
	if e == 0 {
		return r == 0
	}
	// Not every kernel compares. What has an inode of its own is known by that.
	var x, y unix.Stat_t
	if unix.Fstat(a, &x) != nil || unix.Fstat(b, &y) != nil || x.Mode&unix.S_IFMT == 0 {
		return false
	}
	return x.Dev == y.Dev && x.Ino == y.Ino
}

// Inode returns what file a descriptor is of.
func Inode(fd int) (dev, ino uint64) {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0, 0
	}
	return st.Dev, st.Ino
}

// HungUp reports whether a descriptor has hung up or is in error: nothing will come of
// it any more.
func HungUp(fd int) bool {
	list := []unix.PollFd{{Fd: int32(fd)}}
	for {
		n, err := unix.Poll(list, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0 && list[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
	}
}
