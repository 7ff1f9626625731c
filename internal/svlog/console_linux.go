package svlog

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	consoleQueue = 1 << 20 // bytes that wait for a slow console, at most
	consoleKeep  = 64 << 10
	nameWidthMax = 24
)

// console is abide's own output, shared by all services. What it does not accept
// at once waits in a bounded queue; what does not fit there is dropped and
// counted. It belongs to the Manager's thread.
type console struct {
	fd     int
	ours   bool // the description is our own and non-blocking
	file   bool // a regular file, which always accepts
	colour bool
	width  atomic.Int32 // of the widest name so far

	pending   []byte
	waiting   bool   // epoll will tell when it accepts again
	open      uint64 // the source whose line is unfinished
	lostBytes int
	lostLines int
}

// openConsole prepares f for writing without ever blocking on it. The descriptor
// is shared with whoever started abide, so O_NONBLOCK must not be set on it: a
// description of our own is opened where that is possible.
func openConsole(f *os.File, colour bool) (*console, error) {
	var st unix.Stat_t
	fd := int(f.Fd())
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("cannot use %s as console: %w", f.Name(), err)
	}
	c := &console{colour: colour, file: st.Mode&unix.S_IFMT == unix.S_IFREG}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFCHR:
		own, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			c.fd, c.ours = own, true
			return c, nil
		}
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s as console: %w", f.Name(), err)
	}
	c.fd = own
	return c, nil
}

// widen makes the column of names wide enough for name.
func (c *console) widen(name string) {
	w := int32(min(len(name), nameWidthMax))
	for old := c.width.Load(); w > old && !c.width.CompareAndSwap(old, w); old = c.width.Load() {
	}
}

// take queues what a source wrote, each line with the service's name before it.
func (c *console) take(t *take, src []byte) {
	c.put(t.src.name, t.src.id, src, t.src.svc)
}

func (c *console) put(name string, id uint64, src []byte, svc *service) {
	if len(c.pending)+len(src) > consoleQueue {
		lines := bytes.Count(src, newline)
		c.lostBytes += len(src)
		c.lostLines += lines
		if svc != nil {
			svc.consoleBytes.Add(uint64(len(src)))
			svc.consoleLines.Add(uint64(lines))
		}
		return
	}
	c.sayLost()
	for len(src) > 0 {
		if c.open != id {
			c.begin(name)
			c.open = id
		}
		end := bytes.IndexByte(src, '\n') + 1
		if end == 0 {
			c.pending = append(c.pending, src...)
			return
		}
		c.pending = append(c.pending, src[:end]...)
		c.open = 0
		src = src[end:]
	}
}

func (c *console) sayLost() {
	if c.lostBytes == 0 {
		return
	}
	c.begin("abide")
	c.pending = fmt.Appendf(c.pending, "dropped %d bytes in %d lines: the console is slow\n", c.lostBytes, max(c.lostLines, 1))
	c.lostBytes, c.lostLines, c.open = 0, 0, 0
}

// begin starts a line, ending the one that stands unfinished.
func (c *console) begin(name string) {
	if c.open != 0 {
		c.pending = append(c.pending, '\n')
	}
	if c.colour {
		h := fnv.New32a()
		h.Write([]byte(name))
		c.pending = append(c.pending, "\x1b[3"...)
		c.pending = append(c.pending, byte('1'+h.Sum32()%6), 'm')
	}
	c.pending = append(c.pending, name...)
	for i := len(name); i < int(c.width.Load()); i++ {
		c.pending = append(c.pending, ' ')
	}
	c.pending = append(c.pending, " | "...)
	if c.colour {
		c.pending = append(c.pending, "\x1b[0m"...)
	}
}

// finish ends the line a source that is gone has left unfinished.
func (c *console) finish(id uint64) {
	if c.open == id {
		c.pending = append(c.pending, '\n')
		c.open = 0
	}
}

// flush writes what is queued as far as the console accepts it.
func (c *console) flush(epoll int) {
	for len(c.pending) > 0 && !c.waiting {
		chunk := c.pending
		if !c.ours && !c.file {
			// Someone else's description may be a blocking one: then only as
			// much as poll vouches for.
			fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
			if n, err := unix.Poll(fds, 0); n == 0 || err != nil {
				c.wait(epoll)
				return
			}
			chunk = chunk[:min(len(chunk), 4096)]
		}
		n, err := unix.Write(c.fd, chunk)
		if n > 0 {
			c.pending = c.pending[:copy(c.pending, c.pending[n:])]
		}
		switch err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			c.wait(epoll)
		default:
			// A terminal that hung up, a closed pipe: nobody is there to read.
			c.pending = c.pending[:0]
		}
	}
	if len(c.pending) == 0 && cap(c.pending) > consoleKeep {
		c.pending = nil
	}
}

func (c *console) wait(epoll int) {
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: consoleEvent}
	err := unix.EpollCtl(epoll, unix.EPOLL_CTL_MOD, c.fd, &ev)
	if err == unix.ENOENT {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, c.fd, &ev)
	}
	if err != nil {
		c.pending = c.pending[:0]
		return
	}
	c.waiting = true
}

func (c *console) close(epoll int) {
	unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
	unix.Close(c.fd)
}
