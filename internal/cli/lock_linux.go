package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/sys/proctree"
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
	pid, _ = namedInLock(string(buf[:n]))
	return pid, true
}

// keeperLives tells a keeper that holds its lock from one that is dead while
// another process, an engine that replaces it or is about to end, still holds the
// lock.
func keeperLives(run string) bool {
	text, err := os.ReadFile(filepath.Join(run, "lock"))
	if err != nil {
		return true
	}
	pid, start := namedInLock(string(text))
	return pid == 0 || lives(pid, start)
}

// namedInLock reads what a keeper writes into its lock, "PID START\n". What is
// not that is 0.
func namedInLock(text string) (pid int, start uint64) {
	line, _, _ := strings.Cut(text, "\n")
	first, second, _ := strings.Cut(line, " ")
	n, err := strconv.ParseUint(first, 10, 31)
	if err != nil {
		return 0, 0
	}
	if start, err = strconv.ParseUint(second, 10, 64); err != nil {
		start = 0
	}
	return int(n), start
}

// lives tells whether a process that began then still runs: neither its remains,
// which its parent has not taken yet, nor another with its pid count.
func lives(pid int, start uint64) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := proctree.ReadStat("/proc", pid)
	return err != nil || !stat.Gone() && (start == 0 || stat.Start == start)
}

// livesOrComes tells whether a keeper holds the run directory, once that is
// certain: while an engine replaces its keeper, which takes milliseconds, the lock
// names one that is dead.
func livesOrComes(run string) bool {
	for range 500 {
		_, held := holder(run)
		if !held {
			return false
		}
		if keeperLives(run) {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
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
