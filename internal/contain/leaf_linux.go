package contain

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/cgroupfs"
	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/proctree"
)

var errNoLeaf = errors.New("the run has no control group")

func (g *group) openLeaf() (*cgroupfs.Dir, error) {
	if g.leaf.base == nil {
		return nil, errNoLeaf
	}
	return g.leaf.base.Sub(g.leaf.name)
}

// populated reports whether a process is in the control group or below it.
func (g *group) populated() (bool, error) {
	if g.m.v1 == "" {
		n, err := g.leaf.base.Field(g.leaf.name+"/cgroup.events", "populated")
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		return n != 0, err
	}
	dir, err := g.openLeaf()
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	pids, err := dir.Procs()
	return len(pids) > 0, err
}

// spareFDs is how many descriptors are needed besides those of the processes.
const spareFDs = 4

// descriptors returns how many descriptors this process may have.
func descriptors() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 1024
	}
	return int(min(files.Cur, 1<<30))
}

// findListed calls visit with every process of the control group. All pidfds are
// opened first and the list is read again: what is listed then, while its pidfd
// says that it lives, is the process the pidfd was opened for.
func (g *group) findListed(visit func(*held) bool, skip func(int) bool) (seen sight, failed error) {
	dir, err := g.openLeaf()
	if errors.Is(err, unix.ENOENT) {
		return seen, nil
	}
	if err != nil {
		return seen, err
	}
	defer dir.Close()
	pids, err := dir.Procs()
	if err != nil {
		return seen, err
	}
	opened := make(map[int]*held, len(pids))
	defer func() {
		for _, h := range opened {
			pidfd.Close(h.fd)
		}
	}()
	limit := descriptors() - spareFDs
	for _, pid := range pids {
		if opened[pid] != nil || g.m.own(pid) || skip != nil && skip(pid) {
			continue
		}
		fd, err := pidfd.Open(pid)
		if err == nil && fd >= limit {
			pidfd.Close(fd)
			err = unix.EMFILE
		}
		if noRoom(err) {
			failed = fmt.Errorf("cannot look at all processes of %s: %w", g.name, err)
			break
		}
		if err == nil && pidfd.Ended(fd) {
			pidfd.Close(fd)
			err = unix.ESRCH
		}
		if err != nil {
			seen.vanished = append(seen.vanished, pid)
			continue
		}
		opened[pid] = &held{proc: proc{pid: pid}, fd: fd}
	}
	if len(opened) == 0 {
		return seen, failed
	}
	again, err := dir.Procs()
	if err != nil {
		return seen, err
	}
	for _, pid := range again {
		h := opened[pid]
		if h == nil {
			continue
		}
		delete(opened, pid)
		if g.m.proc != "" {
			if stat, err := proctree.ReadStat(g.m.proc, pid); err == nil {
				h.start, h.comm = stat.Start, stat.Comm
			}
		}
		if pidfd.Ended(h.fd) {
			seen.vanished = append(seen.vanished, pid)
			pidfd.Close(h.fd)
		} else if !visit(h) {
			pidfd.Close(h.fd)
		}
	}
	for pid := range opened {
		seen.vanished = append(seen.vanished, pid)
	}
	return seen, failed
}

// freezer stops all processes of the control group at once, or lets them go on.
func (g *group) freezer(on bool) error {
	dir, err := g.openLeaf()
	if err != nil {
		return fmt.Errorf("cannot freeze: %w", err)
	}
	defer dir.Close()
	switch {
	case g.m.v1 == "":
		value := "0"
		if on {
			value = "1"
		}
		return dir.Write("cgroup.freeze", value)
	case g.m.v1 == "freezer":
		value := "THAWED"
		if on {
			value = "FROZEN"
		}
		return dir.Write("freezer.state", value)
	case on:
		return g.stopAll()
	}
	return g.SignalAll(int(syscall.SIGCONT))
}

// killLeaf has the kernel kill everything in the control group. It fails with
// ENOENT where the kernel cannot do that (before Linux 5.14, and version 1).
func (g *group) killLeaf() error {
	if g.leaf.base == nil || g.m.v1 != "" {
		return unix.ENOENT
	}
	return g.leaf.base.Write(g.leaf.name+"/cgroup.kill", "1")
}

// halt keeps everything in the control group from forking while it is killed
// process by process; resume undoes what would keep it from dying, and needs no
// further descriptor for that.
func (g *group) halt() (resume func(), halted bool) {
	file, value := "cgroup.freeze", "1"
	switch g.m.v1 {
	case "freezer":
		file, value = "freezer.state", "FROZEN"
	case "pids":
		file, value = "pids.max", "0"
	case "":
	default:
		return func() {}, false
	}
	fd, err := unix.Openat(g.leaf.base.FD, g.leaf.name+"/"+file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return func() {}, false
	}
	_, err = unix.Write(fd, []byte(value))
	return func() {
		if g.m.v1 == "freezer" {
			_, _ = unix.Write(fd, []byte("THAWED"))
		}
		unix.Close(fd)
	}, err == nil
}
