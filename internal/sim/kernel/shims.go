//go:build linux

package kernel

import (
	"strings"
	"syscall"

	"github.com/abide-project/abide/internal/sim/sched"
)

// The functions below have the names and types of those of package syscall that
// the keeper calls.

// bootID is the contents of the boot id file.
const bootID = "00000000-0000-4000-8000-000000000001\n"

// Open opens a folder, /dev/null or a file of /proc.
func Open(path string, flags int, _ uint32) (int, error) {
	sched.Point()
	p := current()
	f := &File{plain: true}
	if strings.HasPrefix(path, "/proc/") {
		if !strings.HasSuffix(path, "boot_id") {
			return -1, syscall.ENOENT
		}
		f = &File{ino: present.newInode()}
		f.ino.write([]byte(bootID), 0)
	}
	return present.install(p, f, 3, flags&syscall.O_CLOEXEC != 0), nil
}

// Openat opens a file of the run directory, whatever directory is given.
func Openat(_ int, path string, flags int, _ uint32) (int, error) {
	sched.Point()
	k := present
	i := k.dir[path]
	switch {
	case i == nil && flags&syscall.O_CREAT == 0:
		return -1, syscall.ENOENT
	case i != nil && flags&syscall.O_EXCL != 0:
		return -1, syscall.EEXIST
	case i == nil:
		i = k.newInode()
		k.dir[path] = i
	}
	if flags&syscall.O_TRUNC != 0 {
		i.size, i.data = 0, nil
	}
	return k.install(current(), &File{ino: i}, 3, flags&syscall.O_CLOEXEC != 0), nil
}

// Renameat moves a file of the run directory.
func Renameat(_ int, from string, _ int, to string) error {
	sched.Point()
	i := present.dir[from]
	if i == nil {
		return syscall.ENOENT
	}
	delete(present.dir, from)
	present.dir[to] = i
	return nil
}

// Unlinkat removes a file of the run directory.
func Unlinkat(_ int, path string) error {
	sched.Point()
	if present.dir[path] == nil {
		return syscall.ENOENT
	}
	delete(present.dir, path)
	return nil
}

// Unlink is Unlinkat with the run directory as the working directory.
func Unlink(path string) error { return Unlinkat(0, path) }

func fileOf(fd int) (*File, error) {
	sched.Point()
	f := present.file(current(), fd)
	if f == nil {
		return nil, syscall.EBADF
	}
	return f, nil
}

// Fstat is fstat(2).
func Fstat(fd int, st *syscall.Stat_t) error {
	f, err := fileOf(fd)
	if err == nil {
		*st = syscall.Stat_t{}
		f.stat(present, st)
	}
	return err
}

// Stat knows the pid namespace.
func Stat(path string, st *syscall.Stat_t) error {
	sched.Point()
	if path != "/proc/self/ns/pid" {
		return syscall.ENOENT
	}
	*st = syscall.Stat_t{Ino: 4026531999}
	return nil
}

// Ftruncate is ftruncate(2).
func Ftruncate(fd int, size int64) error {
	f, err := fileOf(fd)
	if err != nil {
		return err
	}
	if f.ino == nil {
		return syscall.EINVAL
	}
	if size < f.ino.size && f.ino.shared == nil {
		f.ino.data = f.ino.data[:min(size, int64(len(f.ino.data)))]
	}
	f.ino.size = size
	return nil
}

// Fallocate gives space to a file, if there is any.
func Fallocate(fd int, _ uint32, _, _ int64) error {
	_, err := fileOf(fd)
	if err == nil && present.FullDisk {
		return syscall.ENOSPC
	}
	return err
}

// Pwrite is pwrite(2).
func Pwrite(fd int, b []byte, off int64) (int, error) {
	f, err := fileOf(fd)
	if err != nil {
		return -1, err
	}
	n, e := present.write(f, b, off)
	return int(n), errorOf(e)
}

// Write is write(2).
func Write(fd int, b []byte) (int, error) {
	f, err := fileOf(fd)
	if err != nil {
		return -1, err
	}
	n, e := present.write(f, b, -1)
	return int(n), errorOf(e)
}

// Read reads a file from its beginning.
func Read(fd int, b []byte) (int, error) {
	f, err := fileOf(fd)
	if err != nil {
		return -1, err
	}
	n, e := present.read(f, b, 0)
	return int(n), errorOf(e)
}

// Pread is pread(2).
func Pread(fd int, b []byte, off int64) (int, error) {
	f, err := fileOf(fd)
	if err != nil {
		return -1, err
	}
	n, e := present.read(f, b, off)
	return int(n), errorOf(e)
}

func errorOf(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// Flock is flock(2): the lock belongs to the open file, whoever has it.
func Flock(fd, how int) error {
	f, err := fileOf(fd)
	if err != nil {
		return err
	}
	switch {
	case f.ino == nil:
		return syscall.EINVAL
	case how&syscall.LOCK_UN != 0:
		if f.ino.lock == f {
			f.ino.lock = nil
		}
	case f.ino.lock != nil && f.ino.lock != f:
		return syscall.EWOULDBLOCK
	default:
		f.ino.lock = f
	}
	return nil
}

// Close is close(2).
func Close(fd int) error {
	sched.Point()
	return errorOf(present.closeFD(current(), fd))
}

// Socket makes a socket that nobody can reach.
func Socket(_, kind, _ int) (int, error) {
	sched.Point()
	return present.install(current(), &File{quiet: true}, 3, kind&syscall.SOCK_CLOEXEC != 0), nil
}

// Socketpair connects two descriptors.
func Socketpair(_, _, _ int) ([2]int, error) {
	sched.Point()
	a, b := present.SocketPair(current())
	return [2]int{a, b}, nil
}

// Bind gives a socket a name in the run directory.
func Bind(_ int, sa syscall.Sockaddr) error {
	sched.Point()
	if u, ok := sa.(*syscall.SockaddrUnix); ok {
		present.dir[u.Name] = present.newInode()
	}
	return nil
}

// Listen does nothing: nobody connects.
func Listen(int, int) error { sched.Point(); return nil }

// GetsockoptUcred says who made the other end.
func GetsockoptUcred(fd, _, _ int) (*syscall.Ucred, error) {
	f, err := fileOf(fd)
	if err != nil {
		return nil, err
	}
	if f.sock == nil {
		return nil, syscall.ENOTSOCK
	}
	return &syscall.Ucred{Pid: int32(f.sock.maker)}, nil
}

// SetsockoptInt does nothing.
func SetsockoptInt(int, int, int, int) error { return nil }

// Fchdir does nothing: there is one directory.
func Fchdir(int) error { return nil }

// Umask does nothing.
func Umask(mask int) int { return mask }

// Madvise does nothing.
func Madvise([]byte, int) error { return nil }

// Sync does nothing.
func Sync() {}

// Reboot is refused.
func Reboot(int) error { return syscall.EPERM }
