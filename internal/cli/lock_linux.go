package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// holder tells whether an abide holds the run directory, and the pid of its
// keeper, 0 if the lock does not name it.
func holder(run string) (pid int, held bool) {
	f, err := os.Open(filepath.Join(run, "lock"))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return 0, false
	}
	buf := make([]byte, 64)
	n, _ := f.ReadAt(buf, 0)
	return pidOfLock(string(buf[:n])), true
}

// pidOfLock reads what a keeper writes into its lock, "PID START\n". What is not
// that is 0.
func pidOfLock(text string) int {
	line, _, _ := strings.Cut(text, "\n")
	first, _, _ := strings.Cut(line, " ")
	pid, err := strconv.ParseUint(first, 10, 31)
	if err != nil {
		return 0
	}
	return int(pid)
}

// keeperLives tells a keeper that holds its lock from an engine that holds it
// while its keeper is being replaced.
func keeperLives(pid int) bool {
	return pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// awaitRelease returns when nobody holds the run directory any more, or after
// limit; 0 is no limit. It sleeps in the kernel.
func awaitRelease(run string, limit time.Duration) bool {
	f, err := os.Open(filepath.Join(run, "lock"))
	if err != nil {
		return true
	}
	done := make(chan struct{})
	go func() {
		defer f.Close()
		defer close(done)
		for errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH), syscall.EINTR) {
		}
	}()
	var timeout <-chan time.Time
	if limit > 0 {
		timeout = time.After(limit)
	}
	select {
	case <-done:
		return true
	case <-timeout:
		return false
	}
}
