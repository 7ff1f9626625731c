package spawn

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	errNotPlain = errors.New("it is not a regular file")
	errLinks    = errors.New("it has more than one name (hard links)")
	errSymlink  = errors.New("a part of the path is a symbolic link")
)

// openPlain opens a regular file for reading and never blocks on anything else.
// For a privileged reader the path is hostile: no part of it may be a symbolic
// link, which could name a secret, and the file must have one name only.
func openPlain(path string, privileged bool) (*os.File, error) {
	fd, err := openNoLinks(path, privileged)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errNotPlain
	case privileged && st.Nlink != 1:
		err = errLinks
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

const readPlain = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

func openNoLinks(path string, privileged bool) (int, error) {
	if !privileged {
		return unix.Open(path, readPlain, 0)
	}
	how := unix.OpenHow{Flags: readPlain | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		fd, err = walkNoLinks(path)
	}
	if errors.Is(err, unix.ELOOP) {
		return -1, errSymlink
	}
	return fd, err
}

// walkNoLinks does what openat2 does, step by step, for kernels and sandboxes
// without it.
func walkNoLinks(path string) (int, error) {
	const folder = unix.O_PATH | unix.O_NOFOLLOW | unix.O_DIRECTORY | unix.O_CLOEXEC
	start := "."
	if strings.HasPrefix(path, "/") {
		start = "/"
	}
	at, err := unix.Open(start, folder, 0)
	if err != nil {
		return -1, err
	}
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	for i, part := range parts {
		flags := folder
		if i == len(parts)-1 {
			flags = readPlain | unix.O_NOFOLLOW
		}
		next, err := unix.Openat(at, part, flags, 0)
		if errors.Is(err, unix.ENOTDIR) && isLink(at, part) {
			err = unix.ELOOP
		}
		unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	if len(parts) == 0 {
		unix.Close(at)
		return -1, unix.EISDIR
	}
	return at, nil
}

func isLink(dir int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

// statIn returns the mode of path as a process with the given root would see it.
func statIn(root, path string) (mode uint32, err error) {
	var st unix.Stat_t
	if root == "" || root == "/" {
		if err := unix.Stat(path, &st); err != nil {
			return 0, err
		}
		return st.Mode, nil
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(dir, path, &how)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		err = unix.Stat(root+"/"+path, &st)
		return st.Mode, err
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	err = unix.Fstat(fd, &st)
	return st.Mode, err
}
