//go:build linux

package kernel

import (
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/sim/sched"
)

// File is an open file description of any kind.
type File struct {
	refs  int
	pidfd *Proc
	ino   *inode
	event *uint64
	poll  *poll
	sock  *sock
	pipe  *Pipe
	plain bool // /dev/null, a folder
	quiet bool // a listener to which nobody connects
}

// inode is a file with contents: in the run directory, or a memory file.
type inode struct {
	number uint64
	data   []byte
	shared unsafe.Pointer // the mapping, once there is one: it holds the contents
	size   int64
	seals  int
	memory bool  // no disk is behind it
	lock   *File // holds the flock
}

// poll is an epoll instance.
type poll struct {
	list []*interest
}

type interest struct {
	fd     int
	file   *File
	events uint32
	pad    int32
}

// sock is one end of a connection.
type sock struct {
	maker int // pid
	peer  *sock
	queue []message
	gone  bool // the other end is closed
	reset bool // it was closed with messages unread
}

type message struct {
	data []byte
	fds  []*File
}

// Pipe is a FIFO: who has it open keeps what is in it.
type Pipe struct {
	Opens int
	// Emptied is told when the last one closes it.
	Emptied func()
}

func (k *Kernel) install(p *Proc, f *File, low int, cloexec bool) int {
	fd := low
	for p.fds[fd] != nil {
		fd++
	}
	f.refs++
	p.fds[fd] = &fdEntry{file: f, cloexec: cloexec}
	if f.pipe != nil {
		f.pipe.Opens++
	}
	return fd
}

func (k *Kernel) file(p *Proc, fd int) *File {
	if e := p.fds[fd]; e != nil {
		return e.file
	}
	return nil
}

func (k *Kernel) closeFD(p *Proc, fd int) syscall.Errno {
	e := p.fds[fd]
	if e == nil {
		return syscall.EBADF
	}
	delete(p.fds, fd)
	if e.file.pipe != nil {
		k.closePipe(e.file.pipe)
	}
	k.unref(e.file)
	return 0
}

func (k *Kernel) closePipe(p *Pipe) {
	if p.Opens--; p.Opens == 0 && p.Emptied != nil {
		p.Emptied()
	}
}

func (k *Kernel) unref(f *File) {
	f.refs--
	if f.refs > 0 {
		return
	}
	switch {
	case f.poll != nil:
		f.poll.list = nil
	case f.sock != nil:
		s := f.sock
		if s.peer != nil {
			s.peer.gone = true
			s.peer.reset = len(s.queue) > 0
			s.peer.peer = nil
		}
		for _, m := range s.queue {
			k.dropMessage(m)
		}
		s.queue = nil
	case f.ino != nil && f.ino.lock == f:
		f.ino.lock = nil
	}
}

func (k *Kernel) dropMessage(m message) {
	for _, f := range m.fds {
		if f.pipe != nil {
			k.closePipe(f.pipe)
		}
		k.unref(f)
	}
}

// OpenPipe opens a FIFO in a process.
func (k *Kernel) OpenPipe(p *Proc, pipe *Pipe) int {
	return k.install(p, &File{pipe: pipe}, 3, true)
}

// CloseFD closes a descriptor of a process.
func (k *Kernel) CloseFD(p *Proc, fd int) { k.closeFD(p, fd) }

// ready is what poll(2) would say of a file.
func (k *Kernel) readiness(f *File) uint32 {
	switch {
	case f.quiet:
		return 0
	case f.pidfd != nil:
		switch {
		case f.pidfd.state == alive:
			return 0
		case f.pidfd.state == reaped && k.PidfdInodes:
			return syscall.EPOLLIN | syscall.EPOLLHUP
		}
		return syscall.EPOLLIN
	case f.event != nil:
		if *f.event > 0 {
			return syscall.EPOLLIN
		}
		return 0
	case f.sock != nil:
		var ev uint32
		if len(f.sock.queue) > 0 || f.sock.gone {
			ev |= syscall.EPOLLIN
		}
		if f.sock.gone {
			ev |= syscall.EPOLLHUP | syscall.EPOLLOUT
		} else if len(f.sock.peer.queue) < k.SocketRoom {
			ev |= syscall.EPOLLOUT
		}
		return ev
	}
	return syscall.EPOLLIN | syscall.EPOLLOUT
}

// occurred lists the interests of an epoll that have something to say.
func (k *Kernel) occurred(p *Proc, ep *poll) []syscall.EpollEvent {
	var out []syscall.EpollEvent
	kept := ep.list[:0]
	for _, i := range ep.list {
		if i.file.refs == 0 {
			continue // closed everywhere: it left by itself
		}
		kept = append(kept, i)
		ev := k.readiness(i.file) & (i.events | syscall.EPOLLHUP | syscall.EPOLLERR)
		if ev != 0 {
			out = append(out, syscall.EpollEvent{Events: ev, Fd: int32(i.fd), Pad: i.pad})
		}
	}
	ep.list = kept
	return out
}

func (k *Kernel) epollWait(p *Proc, ep *poll, events []syscall.EpollEvent, timeout int) int {
	until := int64(0)
	if timeout > 0 {
		until = k.S.Monotonic() + int64(timeout)*1_000_000
	}
	any := func() bool { return len(k.occurred(p, ep)) > 0 }
	switch {
	case any():
		sched.Yield() // who is never at rest must not keep the others from running
	case timeout != 0:
		sched.Park(any, until)
	}
	list := k.occurred(p, ep)
	k.S.Rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return copy(events, list)
}

func (k *Kernel) epollCtl(ep *poll, op, fd int, f *File, ev *syscall.EpollEvent) syscall.Errno {
	for i, it := range ep.list {
		if it.fd != fd || it.file != f {
			continue
		}
		switch op {
		case syscall.EPOLL_CTL_ADD:
			return syscall.EEXIST
		case syscall.EPOLL_CTL_DEL:
			ep.list = append(ep.list[:i:i], ep.list[i+1:]...)
		default:
			it.events, it.pad = ev.Events, ev.Pad
		}
		return 0
	}
	if op != syscall.EPOLL_CTL_ADD {
		return syscall.ENOENT
	}
	ep.list = append(ep.list, &interest{fd: fd, file: f, events: ev.Events, pad: ev.Pad})
	return 0
}

// SocketPair makes two descriptors of a process that are connected.
func (k *Kernel) SocketPair(p *Proc) (int, int) {
	a, b := &sock{maker: p.Pid}, &sock{maker: p.Pid}
	a.peer, b.peer = b, a
	return k.install(p, &File{sock: a}, 3, true), k.install(p, &File{sock: b}, 3, true)
}

// Give makes a descriptor of one process one of another.
func (k *Kernel) Give(from *Proc, fd int, to *Proc, as int) {
	k.install(to, k.file(from, fd), as, false)
}

// Behind is the process that a pidfd of a process is for, nil if it is none.
func (k *Kernel) Behind(p *Proc, fd int) *Proc {
	if f := k.file(p, fd); f != nil {
		return f.pidfd
	}
	return nil
}

// Readable reports whether a descriptor of a process has something to read.
func (k *Kernel) Readable(p *Proc, fd int) bool {
	f := k.file(p, fd)
	return f != nil && k.readiness(f)&syscall.EPOLLIN != 0
}

// Writable reports whether a descriptor of a process has room.
func (k *Kernel) Writable(p *Proc, fd int) bool {
	f := k.file(p, fd)
	return f != nil && k.readiness(f)&syscall.EPOLLOUT != 0
}

func (k *Kernel) send(p *Proc, s *sock, data []byte, fds []int) syscall.Errno {
	if s.gone {
		return syscall.EPIPE
	}
	if len(s.peer.queue) >= k.SocketRoom {
		return syscall.EAGAIN
	}
	m := message{data: append([]byte(nil), data...)}
	for _, fd := range fds {
		f := k.file(p, fd)
		if f == nil {
			return syscall.EBADF
		}
		m.fds = append(m.fds, f)
	}
	for _, f := range m.fds {
		f.refs++
		if f.pipe != nil {
			f.pipe.Opens++
		}
	}
	s.peer.queue = append(s.peer.queue, m)
	return 0
}

func (k *Kernel) receive(p *Proc, s *sock) (data []byte, fds []int, errno syscall.Errno) {
	if s.reset {
		s.reset = false
		return nil, nil, syscall.ECONNRESET
	}
	if len(s.queue) == 0 {
		if s.gone {
			return nil, nil, 0
		}
		return nil, nil, syscall.EAGAIN
	}
	m := s.queue[0]
	s.queue = s.queue[1:]
	for _, f := range m.fds {
		fds = append(fds, k.install(p, f, 3, true))
	}
	k.dropMessage(m)
	return m.data, fds, 0
}

// contents returns n bytes of a file at an offset, which may be fewer.
func (i *inode) read(b []byte, off int64) int {
	if off >= i.size {
		return 0
	}
	return copy(b, i.bytes()[off:i.size])
}

func (i *inode) bytes() []byte {
	if i.shared != nil {
		return unsafe.Slice((*byte)(i.shared), i.size)
	}
	if int64(len(i.data)) < i.size {
		i.data = append(i.data, make([]byte, i.size-int64(len(i.data)))...)
	}
	return i.data[:i.size]
}

func (i *inode) write(b []byte, off int64) int {
	if end := off + int64(len(b)); end > i.size {
		i.size = end
	}
	return copy(i.bytes()[off:], b)
}

// Standard gives a process something harmless as a standard descriptor.
func (k *Kernel) Standard(p *Proc, fd int) { k.install(p, &File{plain: true}, fd, false) }

// Remove takes a file of the run directory away.
func (k *Kernel) Remove(name string) { delete(k.dir, name) }

// Number is its inode, 0 if there is no such file.
func (k *Kernel) Number(name string) uint64 {
	if i := k.dir[name]; i != nil {
		return i.number
	}
	return 0
}

// Truncate sets its size.
func (k *Kernel) Truncate(name string, size int64) {
	if i := k.dir[name]; i != nil {
		i.size = min(size, i.size)
	}
}

// Overwrite changes bytes of it.
func (k *Kernel) Overwrite(name string, at int64, b []byte) {
	if i := k.dir[name]; i != nil && at+int64(len(b)) <= i.size {
		i.write(b, at)
	}
}
