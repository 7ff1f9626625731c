package proctree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// maxEnviron bounds what is read of an environment; the kernel's own bound for
// all arguments together is a quarter of the stack limit, usually 2 MiB.
const maxEnviron = 4 << 20

// ReadStat reads root/PID/stat. A process that has gone is fs.ErrNotExist.
func ReadStat(root string, pid int) (Stat, error) {
	var buf [1024]byte
	f, err := os.Open(root + "/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, gone(err)
	}
	defer f.Close()
	n, err := f.Read(buf[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return Stat{}, gone(err)
	}
	s, err := ParseStat(buf[:n])
	if err != nil {
		return Stat{}, fmt.Errorf("cannot read %s/%d/stat: %w", root, pid, err)
	}
	return s, nil
}

// gone turns what the kernel says of a process that ended while it was looked at
// into fs.ErrNotExist.
func gone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return fs.ErrNotExist
	}
	return err
}

// Threads returns the thread numbers of a process.
func Threads(root string, pid int) ([]int, error) {
	return numbers(root + "/" + strconv.Itoa(pid) + "/task")
}

// Pids returns the numbers of all processes.
func Pids(root string) ([]int, error) { return numbers(root) }

func numbers(dir string) ([]int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, gone(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, gone(err)
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// ThreadChildren returns the living and the unreaped children of one thread. The
// kernel may leave one out when another child ends during the read; a caller that
// must not miss any reads until nothing new appears.
func ThreadChildren(root string, pid, tid int) ([]int, error) {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/task/%d/children", root, pid, tid))
	if err != nil {
		return nil, gone(err)
	}
	return ParsePids(data)
}

// Children returns the children of all threads of a process.
func Children(root string, pid int) ([]int, error) {
	threads, err := Threads(root, pid)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, tid := range threads {
		children, err := ThreadChildren(root, pid, tid)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) && tid != pid {
				continue
			}
			return all, err
		}
		all = append(all, children...)
	}
	return all, nil
}

// Environ returns the environment a process was started with, as a block. It may
// be read by root and by the same user only.
func Environ(root string, pid int) ([]byte, error) {
	f, err := os.Open(root + "/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil, gone(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	return data, gone(err)
}

// Descriptors calls fn with the file behind every open descriptor of a process
// until fn returns true, and reports whether it did. It opens none of them.
func Descriptors(root string, pid int, fn func(path string, info fs.FileInfo) bool) (bool, error) {
	dir := root + "/" + strconv.Itoa(pid) + "/fd"
	f, err := os.Open(dir)
	if err != nil {
		return false, gone(err)
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(512)
		for _, name := range names {
			// Following the link asks the open file, not the path it once had.
			info, err := os.Stat(dir + "/" + name)
			if err == nil && fn(dir+"/"+name, info) {
				return true, nil
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, gone(err)
		}
	}
}
