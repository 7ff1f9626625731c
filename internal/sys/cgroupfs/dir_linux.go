package cgroupfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/proctree"
)

// Dir is an open directory of a hierarchy. Its methods may be called from any
// goroutine until Close.
type Dir struct {
	Path string
	FD   int // close on exec; good for CLONE_INTO_CGROUP in the unified hierarchy
}

const openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW

// IsV2 reports whether path is in the unified hierarchy.
func IsV2(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// Open opens the directory at path.
func Open(path string) (*Dir, error) {
	fd, err := unix.Open(path, openDir, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return &Dir{Path: path, FD: fd}, nil
}

// Make makes the group name in d.
func (d *Dir) Make(name string) error {
	if err := unix.Mkdirat(d.FD, name, 0o755); err != nil {
		return fmt.Errorf("cannot make %s: %w", filepath.Join(d.Path, name), err)
	}
	return nil
}

// Sub opens the group name in d.
func (d *Dir) Sub(name string) (*Dir, error) {
	fd, err := unix.Openat(d.FD, name, openDir, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", filepath.Join(d.Path, name), err)
	}
	return &Dir{Path: filepath.Join(d.Path, name), FD: fd}, nil
}

// Close gives the descriptor back.
func (d *Dir) Close() { unix.Close(d.FD) }

// Writable says why the file name in d cannot be written to; nil if it can.
func (d *Dir) Writable(name string) error {
	if err := unix.Faccessat(d.FD, name, unix.W_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("cannot write to %s: %w", filepath.Join(d.Path, name), err)
	}
	return nil
}

// Read returns the content of the file name in d, which may contain slashes.
func (d *Dir) Read(name string) ([]byte, error) {
	fd, err := unix.Openat(d.FD, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", filepath.Join(d.Path, name), err)
	}
	defer unix.Close(fd)
	data, err := ReadFD(fd, make([]byte, 0, 512))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", filepath.Join(d.Path, name), err)
	}
	return data, nil
}

// ReadFD reads a whole file from its beginning into buf, which grows as needed.
func ReadFD(fd int, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Pread(fd, buf[len(buf):cap(buf)], int64(len(buf)))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

// Write writes value to the file name in d.
func (d *Dir) Write(name, value string) error {
	fd, err := unix.Openat(d.FD, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("cannot write %q to %s: %w", value, filepath.Join(d.Path, name), err)
	}
	return nil
}

// Field returns a number of a file of "name value" lines such as cgroup.events.
func (d *Dir) Field(file, name string) (uint64, error) {
	data, err := d.Read(file)
	if err != nil {
		return 0, err
	}
	value, ok := Field(data, name)
	if !ok {
		return 0, fmt.Errorf("cannot find %s in %s", name, filepath.Join(d.Path, file))
	}
	return value, nil
}

// Field returns a number of the content of a file of "name value" lines.
func Field(data []byte, name string) (uint64, bool) {
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if key == name {
			n, err := strconv.ParseUint(value, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// Procs returns the processes of the group and of all groups in it. One that
// ends meanwhile may be missing, and one that is moved may appear twice.
func (d *Dir) Procs() ([]int, error) {
	var all []int
	err := d.walk(func(sub *Dir) error {
		data, err := sub.Read("cgroup.procs")
		if err != nil {
			// A threaded group has no list of its own: its processes are in that of the
			// group above. A group that was removed has none at all.
			if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
				return nil
			}
			return err
		}
		pids, err := proctree.ParsePids(data)
		all = append(all, pids...)
		return err
	})
	return all, err
}

// maxDepth bounds the walk into groups that a service made below its own.
const maxDepth = 64

// walk calls fn with d and with every group below it, children after parents.
func (d *Dir) walk(fn func(*Dir) error) error { return d.descend(fn, 0) }

func (d *Dir) descend(fn func(*Dir) error, depth int) error {
	if err := fn(d); err != nil || depth >= maxDepth {
		return err
	}
	names, err := d.subs()
	if err != nil {
		return err
	}
	for _, name := range names {
		sub, err := d.Sub(name)
		if err != nil {
			continue // removed meanwhile
		}
		err = sub.descend(fn, depth+1)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// subs returns the names of the groups in d. Without any, which a link count of 2
// says, nothing is listed.
func (d *Dir) subs() ([]string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.FD, &st); err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", d.Path, err)
	}
	if st.Nlink == 2 {
		return nil, nil
	}
	fd, err := unix.Openat(d.FD, ".", openDir, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", d.Path, err)
	}
	f := os.NewFile(uintptr(fd), d.Path)
	defer f.Close()
	var names []string
	for {
		entries, err := f.ReadDir(256)
		for _, entry := range entries {
			if entry.IsDir() {
				names = append(names, entry.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return names, fmt.Errorf("cannot list %s: %w", d.Path, err)
		}
	}
}

// Groups returns the names of the groups directly in d.
func (d *Dir) Groups() ([]string, error) { return d.subs() }

// Remove removes the group name in d and the groups in it. It fails with EBUSY
// while a process is in one of them.
func (d *Dir) Remove(name string) error {
	err := unix.Unlinkat(d.FD, name, unix.AT_REMOVEDIR)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if sub, serr := d.Sub(name); serr == nil {
		names, _ := sub.subs()
		for _, inner := range names {
			_ = sub.Remove(inner)
		}
		sub.Close()
		err = unix.Unlinkat(d.FD, name, unix.AT_REMOVEDIR)
	}
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("cannot remove %s: %w", filepath.Join(d.Path, name), err)
	}
	return nil
}

// Lock takes the lock of the directory for as long as d is open: shared by those
// who use it, exclusive by who wants to remove it. It does not wait.
func (d *Dir) Lock(exclusive bool) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	if err := unix.Flock(d.FD, how|unix.LOCK_NB); err != nil {
		return fmt.Errorf("cannot lock %s: %w", d.Path, err)
	}
	return nil
}
