package svlog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// errNotPlain refuses what is no ordinary file of its own.
var errNotPlain = errors.New("not a regular file with one link")

// openDir opens the folder of a log. Where the path is a definition's and abide
// is root (hostile), no component may be a symbolic link: the folders may belong
// to the service's user.
func openDir(path string, hostile bool) (int, error) {
	return openPath(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, hostile)
}

// noOpenat2 remembers that the kernel, or a filter, does not know openat2(2).
var noOpenat2 atomic.Bool

func openPath(path string, flags int, hostile bool) (int, error) {
	if !hostile {
		return ignoringEINTR(func() (int, error) { return unix.Open(path, flags, 0) })
	}
	if !noOpenat2.Load() {
		how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
		fd, err := ignoringEINTR(func() (int, error) { return unix.Openat2(unix.AT_FDCWD, path, &how) })
		if err != unix.ENOSYS && err != unix.EPERM {
			return fd, err
		}
		noOpenat2.Store(true)
	}
	return walkPath(path, flags)
}

// walkPath is openat2's RESOLVE_NO_SYMLINKS one component at a time.
func walkPath(path string, flags int) (int, error) {
	dir, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	parts := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	for i, part := range parts {
		how := unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
		if i == len(parts)-1 {
			how = flags
		}
		next, err := ignoringEINTR(func() (int, error) { return unix.Openat(dir, part, how|unix.O_NOFOLLOW, 0) })
		unix.Close(dir)
		if err != nil {
			return -1, err
		}
		dir = next
	}
	return dir, nil
}

// openLog opens or makes the file base in the folder dir, and makes
// it its owner's when it is new.
func openLog(dir int, base string, mode uint32, uid, gid int) (fd int, made bool, err error) {
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	for range 8 {
		fd, err = ignoringEINTR(func() (int, error) { return unix.Openat(dir, base, flags, 0) })
		if err == nil {
			if err = checkPlain(fd); err != nil {
				unix.Close(fd)
				return -1, false, err
			}
			return fd, false, nil
		}
		if err != unix.ENOENT {
			return -1, false, err
		}
		fd, err = ignoringEINTR(func() (int, error) {
			return unix.Openat(dir, base, flags|unix.O_CREAT|unix.O_EXCL, mode)
		})
		if err == nil {
			if uid >= 0 && uid != os.Geteuid() {
				if err := unix.Fchown(fd, uid, gid); err != nil {
					unix.Close(fd)
					return -1, false, err
				}
			}
			return fd, true, nil
		}
		if err != unix.EEXIST {
			return -1, false, err
		}
	}
	return -1, false, err
}

func checkPlain(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return errNotPlain
	}
	return nil
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
