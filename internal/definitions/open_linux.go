package definitions

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the symbolic links on the way to a file, as the kernel does.
const maxLinks = 40

// reader opens definitions and judges who could have written them. Every step of
// a path is opened relative to the descriptor of the one before, so that what was
// judged is what is read.
type reader struct {
	check bool
	euid  uint32
	egid  uint32
}

func newReader(check bool) *reader {
	return &reader{check: check, euid: uint32(os.Geteuid()), egid: uint32(os.Getegid())}
}

// dir is an opened folder.
type dir struct {
	r    *reader
	fd   int
	path string
	at   stamp
}

func (d *dir) close() { _ = unix.Close(d.fd) }

// openDir opens the folder at path.
func (r *reader) openDir(path string) (*dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	fd, st, err := r.walk(-1, "/", abs, new(int))
	if err != nil {
		return nil, err
	}
	return r.asDir(fd, &st, path)
}

// asDir turns the descriptor of a place into one that can be listed.
func (r *reader) asDir(place int, st *unix.Stat_t, path string) (*dir, error) {
	defer unix.Close(place)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, reason(path, unix.ENOTDIR)
	}
	fd, err := unix.Openat(place, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, reason(path, err)
	}
	return &dir{r, fd, path, stampOf(st)}, nil
}

// walk follows path from the folder at, whose path is shown, and returns a
// descriptor of the place it names: one that can be read if a regular file stands
// there, else one that touched nothing. links counts the symbolic links met.
func (r *reader) walk(at int, shown, path string, links *int) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	if strings.HasPrefix(path, "/") {
		shown = "/"
		root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, st, reason("/", err)
		}
		at = root
	} else {
		fd, err := unix.FcntlInt(uintptr(at), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return -1, st, reason(shown, err)
		}
		at = fd
	}
	if err := unix.Fstat(at, &st); err != nil {
		_ = unix.Close(at)
		return -1, st, reason(shown, err)
	}
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if err := r.judgeDir(&st, shown); err != nil {
			_ = unix.Close(at)
			return -1, st, err
		}
		full := filepath.Join(shown, name)
		fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err != nil {
			_ = unix.Close(at)
			if fd >= 0 {
				_ = unix.Close(fd)
			}
			return -1, st, reason(full, err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG && len(rest) == 0 {
			_ = unix.Close(fd)
			fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
			_ = unix.Close(at)
			if err != nil {
				return -1, st, reason(full, err)
			}
			return fd, st, nil
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			_ = unix.Close(at)
			at, shown = fd, full
			continue
		}
		target, err := r.readLink(fd, &st, full, links)
		_ = unix.Close(fd)
		if err != nil {
			_ = unix.Close(at)
			return -1, st, err
		}
		next, nextSt, err := r.walk(at, shown, target, links)
		_ = unix.Close(at)
		if err != nil {
			return -1, st, err
		}
		at, st, shown = next, nextSt, full
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := r.judgeDir(&st, shown); err != nil {
			_ = unix.Close(at)
			return -1, st, err
		}
	}
	return at, st, nil
}

// readLink returns where a symbolic link leads. One that someone else made is
// refused: in a folder such as /tmp it could be swapped.
func (r *reader) readLink(fd int, st *unix.Stat_t, path string, links *int) (string, error) {
	if *links++; *links > maxLinks {
		return "", reason(path, unix.ELOOP)
	}
	if r.check && !r.trusted(st.Uid) {
		return "", fmt.Errorf("cannot trust link %s: it belongs to uid %d, not to %s", path, st.Uid, r.owners())
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", reason(path, err)
	}
	return string(buf[:n]), nil
}

func (r *reader) trusted(uid uint32) bool { return uid == 0 || uid == r.euid }

func (r *reader) owners() string {
	if r.euid == 0 {
		return "root"
	}
	return fmt.Sprintf("uid %d or root", r.euid)
}

// judgeDir refuses a folder in which someone else could put another file of the
// same name. A sticky one such as /tmp lets nobody replace what belongs to others.
func (r *reader) judgeDir(st *unix.Stat_t, path string) error {
	if !r.check || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if !r.trusted(st.Uid) {
		return fmt.Errorf("cannot trust folder %s: it belongs to uid %d, not to %s (mode %04o)", path, st.Uid, r.owners(), st.Mode&0o7777)
	}
	if st.Mode&unix.S_ISVTX == 0 {
		return r.judgeMode(st, "folder", path)
	}
	return nil
}

func (r *reader) judgeMode(st *unix.Stat_t, what, path string) error {
	groupMay := st.Mode&0o020 != 0 && (r.euid == 0 || st.Gid != r.egid)
	if st.Mode&0o002 != 0 || groupMay {
		return fmt.Errorf("cannot trust %s %s: others may write to it (mode %04o)", what, path, st.Mode&0o7777)
	}
	return nil
}

func (r *reader) judgeFile(st *unix.Stat_t, path string) error {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return fmt.Errorf("cannot read %s: it is a folder", path)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("cannot read %s: it is no regular file", path)
	case st.Size > maxFile:
		return fmt.Errorf("cannot read %s: it has %d bytes, at most %d are allowed", path, st.Size, maxFile)
	case !r.check:
		return nil
	case !r.trusted(st.Uid):
		return fmt.Errorf("cannot trust %s: it belongs to uid %d, not to %s (mode %04o)", path, st.Uid, r.owners(), st.Mode&0o7777)
	case st.Nlink > 1:
		return fmt.Errorf("cannot trust %s: it has %d names, so it may be someone else's file", path, st.Nlink)
	}
	return r.judgeMode(st, "file", path)
}

// stampOf is the stamp of a regular file in the folder, 0 for anything else.
func (d *dir) stampOf(name string) stamp {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0
	}
	return stampOf(&st)
}

// names lists the folder, sorted.
func (d *dir) names() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, reason(d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, reason(d.path, err)
	}
	slices.Sort(names)
	return names, nil
}

// sub opens a folder inside this one.
func (d *dir) sub(name string) (*dir, error) {
	fd, st, err := d.r.walk(d.fd, d.path, name, new(int))
	if err != nil {
		return nil, err
	}
	return d.r.asDir(fd, &st, filepath.Join(d.path, name))
}

// read returns the contents of a file in the folder, which may be a symbolic
// link. Nothing but a regular file is opened for reading, so that no FIFO blocks
// and no device notices.
func (d *dir) read(name string) ([]byte, stamp, error) {
	path := filepath.Join(d.path, name)
	fd, st, err := d.r.walk(d.fd, d.path, name, new(int))
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(fd)
	if err := d.r.judgeFile(&st, path); err != nil {
		return nil, 0, err
	}
	return d.r.readAll(fd, path)
}

func (r *reader) readAll(fd int, path string) ([]byte, stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, reason(path, err)
	}
	if err := r.judgeFile(&st, path); err != nil {
		return nil, 0, err
	}
	data := make([]byte, st.Size+1)
	n := 0
	for n < len(data) {
		m, err := unix.Read(fd, data[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, 0, reason(path, err)
		case m == 0:
			return data[:n], stampOf(&st), nil
		}
		n += m
	}
	return nil, 0, reason(path, io.ErrShortBuffer)
}

// reason words an error of the system.
func reason(path string, err error) error {
	if errors.Is(err, io.ErrShortBuffer) {
		return fmt.Errorf("cannot read %s: it grew while it was read", path)
	}
	return fmt.Errorf("cannot read %s: %w", path, err)
}

// stampOf sums up what changes when a file is changed or replaced.
func stampOf(st *unix.Stat_t) stamp {
	return mix(uint64(st.Dev), st.Ino, uint64(st.Size), uint64(st.Mode)<<32|uint64(st.Uid), uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano()))
}

// stampAt is the stamp of what stands at path now, 0 if nothing does.
func stampAt(path string) stamp {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0
	}
	return stampOf(&st)
}
