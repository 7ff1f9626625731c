package main

import (
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// isProcess tells whether the process that was recorded still lives: what has its
// number is looked at while a descriptor is open, so it cannot change meanwhile.
func isProcess(p state.Process) bool {
	inode, ok := openedAs(p)
	return ok && (p.Inode == 0 || inode == 0 || inode == p.Inode)
}

// nameProcess adds the inode of the process's pidfd.
func nameProcess(p state.Process) state.Process {
	if inode, ok := openedAs(p); ok {
		p.Inode = inode
	}
	return p
}

// openedAs opens a process and returns the inode of its descriptor, 0 where that
// names nothing; ok says that it lives and began when it should have.
func openedAs(p state.Process) (inode uint64, ok bool) {
	if p.Pid <= 0 || p.Start == 0 {
		return 0, false
	}
	fd, err := pidfd.Open(p.Pid)
	if err != nil {
		return 0, false
	}
	defer pidfd.Close(fd)
	stat, err := proctree.ReadStat("/proc", p.Pid)
	if err != nil || stat.Start != p.Start || stat.Gone() || pidfd.Ended(fd) {
		return 0, false
	}
	const pidfs = 0x50494446 // PID_FS_MAGIC, since Linux 6.9
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(fd, &fs) != nil || int64(fs.Type) != pidfs || unix.Fstat(fd, &st) != nil {
		return 0, true
	}
	return st.Ino, true
}

// nameless finds the read end of a log pipe whose name somebody has removed. The
// keeper has it, unless it is a new one; then the program's own end does,
// which may be opened again by whoever may look into the program.
func (k *keeper) nameless(name string, run uint64, stream svlog.Stream, path string) int {
	tag := engine.HoldOut
	if stream == svlog.Stderr {
		tag = engine.HoldErr
	}
	if fd, err := k.link.Take(name, run, tag); err == nil {
		return fd
	}
	fd := openEnd(k.eng.MainPid(name), path)
	if fd >= 0 {
		_, _ = k.link.Keep(name, run, tag, fd) // without it only the next loss is worse
	}
	return fd
}

// openEnd opens for reading the pipe that had a path and that a process has open.
func openEnd(pid int, path string) int {
	fd := -1
	if pid <= 0 {
		return fd
	}
	_, _ = proctree.Descriptors("/proc", pid, func(link string, info fs.FileInfo) bool {
		if info.Mode()&fs.ModeNamedPipe == 0 {
			return false
		}
		target, err := os.Readlink(link)
		if err != nil || strings.TrimSuffix(target, " (deleted)") != path {
			return false
		}
		got, err := unix.Open(link, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			fd = got
		}
		return err == nil
	})
	return fd
}

// recordsName names the file of the keeper's records in a run directory, by what a
// file made later does not share with it: its inode and the time of its birth where
// the file system keeps that. 0: there is none.
func recordsName(run string) uint64 {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, filepath.Join(run, "keeper.state"), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintln(h, st.Dev_major, st.Dev_minor, st.Ino, st.Btime.Sec, st.Btime.Nsec)
	return max(h.Sum64(), 1)
}
