package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/notify/sockets"
	"github.com/abide-project/abide/internal/spawn"
	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/waitset"
)

// descriptors is the engine's port of that name.
type descriptors struct{}

func (descriptors) Same(a, b int) bool             { return sockets.Same(a, b) }
func (descriptors) Inode(fd int) (dev, ino uint64) { return sockets.Inode(fd) }
func (descriptors) HungUp(fd int) bool             { return sockets.HungUp(fd) }
func (descriptors) Close(fd int)                   { pidfd.Close(fd) }

// longestPidFile is far more than a number and the line end behind it.
const longestPidFile = 64

func (processes) PidIn(path string) (int, error) {
	if rest, ok := strings.CutPrefix(path, "/var/run/"); ok {
		path = "/run/" + rest // which it is a link to, and links are not followed
	}
	text, err := spawn.ReadPlain(path, longestPidFile, os.Geteuid() == 0)
	if err != nil {
		return 0, err
	}
	word := strings.TrimSpace(string(text))
	pid, err := strconv.Atoi(word)
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("cannot read %s: %.20q is not the number of a process", path, word)
	}
	return pid, nil
}

// PidOf reads what the kernel says of a pidfd.
func (processes) PidOf(fd int) int {
	info, err := os.ReadFile(fmt.Sprintf("%s/self/fdinfo/%d", proc, fd))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(value))
			return max(pid, 0)
		}
	}
	return 0
}

func (processes) IsPidfd(pid int, inode uint64) bool {
	fd, err := pidfd.Open(pid)
	if err != nil {
		return false
	}
	defer pidfd.Close(fd)
	_, ino := sockets.Inode(fd)
	return ino == inode
}

func (processes) AwaitAny(ctx context.Context, pids []int) bool {
	set, err := waitset.New()
	if err != nil {
		return false
	}
	defer set.Close()
	for _, pid := range pids {
		fd, err := pidfd.Open(pid)
		if err != nil {
			return true
		}
		defer pidfd.Close(fd)
		if set.Add(fd, waitset.Readable) != nil {
			return false
		}
	}
	ready, err := set.Wait(ctx, time.Time{})
	return err == nil && len(ready) > 0
}
