package spawn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const openFolder = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// makeFolder makes parts below base step by step, so that no symbolic link is ever
// followed below it.
func makeFolder(base string, parts []string, mode uint32, who owner) error {
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	at, err := unix.Open(base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { unix.Close(at) }()
	for len(parts) > 1 {
		if err := unix.Mkdirat(at, parts[0], 0o755); err != nil && err != unix.EEXIST {
			return err
		}
		next, err := unix.Openat(at, parts[0], openFolder, 0)
		if err != nil {
			return folderError(at, parts[0], err)
		}
		unix.Close(at)
		at, parts = next, parts[1:]
	}
	return makeLast(at, parts[0], mode, who)
}

// removeFolder removes a folder of a user's and what is in it.
func removeFolder(dir string, uid int) error {
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat(filepath.Base(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != uid {
		return nil
	}
	return root.RemoveAll(filepath.Base(dir))
}

func makeLast(at int, name string, mode uint32, who owner) error {
	err := unix.Mkdirat(at, name, 0o700)
	if err != nil && err != unix.EEXIST {
		return err
	}
	fd, err := unix.Openat(at, name, openFolder, 0)
	if err != nil {
		return folderError(at, name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if int(st.Uid) != who.uid {
		// An engine that was killed here may have left one that is not given away yet.
		if int(st.Uid) != who.maker || !isEmpty(fd) {
			return fmt.Errorf("it belongs to uid %d, not to uid %d", st.Uid, who.uid)
		}
	}
	if int(st.Uid) != who.uid || int(st.Gid) != who.gid {
		if err := unix.Fchown(fd, who.uid, who.gid); err != nil && (err != unix.EPERM || int(st.Uid) != who.uid) {
			return err
		}
	}
	if st.Mode&0o7777 != mode {
		return unix.Fchmod(fd, mode)
	}
	return nil
}

func folderError(at int, name string, err error) error {
	switch {
	case isLink(at, name):
		return errFolderLink
	case errors.Is(err, unix.ENOTDIR):
		return errNoFolder
	}
	return err
}

// isEmpty reads the folder by a descriptor of its own: the position is shared with
// copies.
func isEmpty(fd int) bool {
	own, err := unix.Openat(fd, ".", openFolder, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(own), ".")
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}
