package svlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// CompressFile turns a rotated log, "X.log", into "X.log.zst" with the same owner
// and mode. At any moment the log is there whole in at least one of the forms. It
// refuses what is no regular file with one link, and follows no symbolic link
// when run as root. A log that is being compressed already, or that is gone, is
// no error.
func CompressFile(path string) error {
	if err := compressFile(path); err != nil {
		return fmt.Errorf("cannot compress %s: %w", path, err)
	}
	return nil
}

func compressFile(path string) (err error) {
	if !strings.HasSuffix(path, suffixLog) {
		return errors.New("it is not named like a rotated log")
	}
	dirPath, base := splitPath(path)
	dir, err := openDir(dirPath, os.Geteuid() == 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	in, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(in), path)
	defer source.Close()
	at("compress: found")
	var st unix.Stat_t
	if err := unix.Fstat(in, &st); err != nil {
		return err
	}
	if st.Nlink == 0 {
		return nil // another compression has just ended
	}
	if err := checkPlain(in); err != nil {
		return err
	}

	final := strings.TrimSuffix(base, suffixLog) + suffixZst
	tmp := final + suffixTmp
	out, err := unix.Openat(dir, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	target := os.NewFile(uintptr(out), tmp)
	defer target.Close()
	at("compress: opened")
	// The lock tells a compression at work from what a dead one left.
	if err := unix.Flock(out, unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		return nil
	} else if err != nil {
		return err
	}
	// One that ended between our open and our lock has given this very file its
	// final name: it is finished, and must not be written again.
	if mine, err := stillNamed(dir, tmp, out); err != nil || !mine {
		return err
	}
	defer func() {
		if err != nil {
			unix.Unlinkat(dir, tmp, 0)
		}
	}()
	if err := checkPlain(out); err != nil {
		return err
	}
	if err := unix.Ftruncate(out, 0); err != nil {
		return err
	}
	at("compress: begun")
	if err := pack(target, source); err != nil {
		return err
	}
	if _, err := target.Write(appendOrigin(nil, st.Ino)); err != nil {
		return err
	}
	if err := unix.Fchown(out, int(st.Uid), int(st.Gid)); err != nil && os.Geteuid() == 0 {
		return err
	}
	if err := unix.Fchmod(out, st.Mode&0o777); err != nil {
		return err
	}
	if err := target.Sync(); err != nil {
		return err
	}
	at("compress: on disk")
	if err := unix.Renameat(dir, tmp, dir, final); err != nil {
		return err
	}
	at("compress: named")
	if err := unix.Fsync(dir); err != nil && err != unix.EINVAL {
		return err
	}
	if err := unix.Unlinkat(dir, base, 0); err != nil && err != unix.ENOENT {
		return err
	}
	at("compress: plain one removed")
	return nil
}

// stillNamed tells whether a name in dir means the file that fd is open on.
func stillNamed(dir int, name string, fd int) (bool, error) {
	var named, opened unix.Stat_t
	if err := unix.Fstat(fd, &opened); err != nil {
		return false, err
	}
	switch err := unix.Fstatat(dir, name, &named, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
		return named.Dev == opened.Dev && named.Ino == opened.Ino, nil
	case unix.ENOENT:
		return false, nil
	default:
		return false, err
	}
}

func pack(to io.Writer, from io.Reader) error {
	enc, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	if _, err := io.Copy(enc, from); err != nil {
		enc.Close()
		return err
	}
	return enc.Close()
}
