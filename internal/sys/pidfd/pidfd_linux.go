// Package pidfd names processes by descriptors, which never mean another process
// than the one they were opened for. It knows nothing of whose process it is.
package pidfd

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Open returns a descriptor for the process that has this number now, close on
// exec. It fails with ESRCH when there is none (pidfd_open(2)).
func Open(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	return fd, nil
}

// Send sends a signal through a descriptor. ESRCH says that the process has ended
// and was waited for (pidfd_send_signal(2)).
func Send(fd int, sig syscall.Signal) error {
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// Ended reports whether the process has ended, with all its threads, whether it
// was waited for or not.
func Ended(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 0)
		if err == unix.EINTR {
			continue
		}
		return n > 0
	}
}

// Close gives the descriptor back.
func Close(fd int) { unix.Close(fd) }

// Await waits for the end of the process, for a time at most, and reports whether
// it has ended.
func Await(fd int, limit time.Duration) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for until := time.Now().Add(limit); ; {
		n, err := unix.Poll(poll, int(max(time.Until(until).Milliseconds(), 0)))
		if err != unix.EINTR {
			return n > 0
		}
	}
}
