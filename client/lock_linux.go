package client

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockHeld tells whether a process holds the lock of a run directory. It asks
// /proc/locks, proc(5), because trying the lock could keep a keeper from getting it.
func lockHeld(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false
	}
	return holds(string(locks), fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// holds looks for a whole-file lock on a device and inode; "->" marks those that
// wait for one.
func holds(locks, file string) bool {
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line)
		if len(fields) >= 6 && fields[1] == "FLOCK" && fields[5] == file {
			return true
		}
	}
	return false
}
