// Package waitset waits for any of many descriptors without a thread of its own:
// the goroutine sleeps in the runtime's poller until one is ready.
package waitset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Set is an epoll instance. One goroutine waits; the other methods may be called
// from any.
type Set struct {
	file *os.File
	conn syscall.RawConn
	fd   int
}

// Events to wait for.
const (
	Readable = unix.EPOLLIN  // a pidfd whose process has ended
	Changed  = unix.EPOLLPRI // a kernfs file such as cgroup.events, since it was last read

	// Once lets a descriptor be reported one time; Again waits for it again.
	Once = unix.EPOLLONESHOT
)

// New returns an empty set.
func New() (*Set, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make an epoll instance: %w", err)
	}
	// The runtime takes descriptors for its poller only when they do not block.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot make an epoll instance: %w", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot wait for an epoll instance: %w", err)
	}
	return &Set{file: file, conn: conn, fd: fd}, nil
}

// Add waits for events on fd.
func (s *Set) Add(fd int, events uint32) error {
	err := unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("cannot wait for descriptor %d: %w", fd, err)
	}
	return nil
}

// Again waits once more for events on fd, which was added with Once.
func (s *Set) Again(fd int, events uint32) error {
	err := unix.EpollCtl(s.fd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("cannot wait for descriptor %d: %w", fd, err)
	}
	return nil
}

// Remove forgets fd, which must still be open.
func (s *Set) Remove(fd int) {
	_ = unix.EpollCtl(s.fd, unix.EPOLL_CTL_DEL, fd, nil)
}

// Wait returns descriptors that are ready. It returns none when the deadline (the
// zero time: never) has passed, and the context's error when it ended.
func (s *Set) Wait(ctx context.Context, deadline time.Time) ([]int, error) {
	if err := s.file.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("cannot set a deadline: %w", err)
	}
	hurried := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		s.file.SetReadDeadline(time.Unix(1, 0))
		close(hurried)
	})
	defer func() {
		if !stop() {
			<-hurried // it must not hurry the next wait
		}
	}()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var events [64]unix.EpollEvent
	var ready []int
	var failed error
	err := s.conn.Read(func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), events[:], 0)
		for err == unix.EINTR {
			n, err = unix.EpollWait(int(fd), events[:], 0)
		}
		if err != nil {
			failed = err
			return true
		}
		for _, ev := range events[:n] {
			ready = append(ready, int(ev.Fd))
		}
		return n > 0
	})
	switch {
	case failed != nil:
		return nil, fmt.Errorf("cannot wait: %w", failed)
	case len(ready) > 0:
		return ready, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	}
	return nil, err
}

// Close gives the set back.
func (s *Set) Close() { s.file.Close() }
