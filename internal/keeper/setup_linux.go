//go:build amd64 || arm64

package keeper

import (
	"slices"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/sys/raw"
)

// lockTime is how long a new keeper waits for what a dead one left behind, an
// engine on its way out, to let go of the run directory.
const lockTime = 10 * second

// fixStdio makes sure that 0, 1 and 2 are open, so that nothing of ours gets one
// of these numbers.
func fixStdio() {
	for {
		fd, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		if fd > 2 {
			raw.Close(fd)
			return
		}
		// Standard descriptors are inherited.
		_, _, _ = syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, 0)
	}
}

// closeInherited closes what we were given without knowing it: a lock or a pipe
// held by accident would be held for as long as services run. What is marked
// close-on-exec is the Go runtime's own.
func closeInherited(keep ...int) {
	soft, _ := raw.Nofile()
	top := int(min(soft, 65536))
	for fd := 3; fd < top; fd++ {
		if slices.Contains(keep, fd) {
			continue
		}
		if flags, e := raw.DescriptorFlags(fd); e == 0 && flags&syscall.FD_CLOEXEC == 0 {
			raw.Close(fd)
		}
	}
}

// raiseNofile raises our limit of open descriptors to what maxSlots services
// need, or as far as it goes.
func raiseNofile() uint64 {
	const want = 8 * maxSlots
	_, hard := raw.Nofile()
	if hard < want && raw.SetNofile(want, want) == 0 {
		return want
	}
	raw.SetNofile(hard, hard)
	soft, _ := raw.Nofile()
	return soft
}

// sizeTable grows our descriptor table once, now, instead of in the middle of a
// mass start: each doubling of a threaded process's table waits for the kernel.
func sizeTable() {
	if fd, e := raw.DupAbove(0, engineTable); e == 0 {
		raw.Close(fd)
	}
}

// openRun opens the run directory, which must be one and no symbolic link.
func openRun(path string) (int, syscall.Errno) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, err.(syscall.Errno)
	}
	high, e := raw.DupAbove(fd, ownDescriptors)
	raw.Close(fd)
	return high, e
}

// lockRun takes RUN/lock for us alone. Its text is "PID START\n" of the keeper
// that holds it; with its keeper dead, the lock is about to be free. holder is
// the pid of a live keeper, if that is the reason.
func lockRun(dir int) (fd, holder int, errno syscall.Errno) {
	low, err := syscall.Openat(dir, "lock", syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return -1, 0, err.(syscall.Errno)
	}
	fd, e := raw.DupAbove(low, ownDescriptors)
	raw.Close(low)
	if e != 0 {
		return -1, 0, e
	}
	for waited := int64(0); ; waited += second / 100 {
		e := lockFile(fd, 0)
		if e == 0 {
			break
		}
		if e != syscall.EBUSY {
			raw.Close(fd)
			return -1, 0, e
		}
		pid := lockHolder(fd)
		if pid != 0 || waited >= lockTime {
			raw.Close(fd)
			return -1, pid, syscall.EBUSY
		}
		raw.Sleep(second / 100)
	}
	signLock(fd)
	return fd, 0, 0
}

// lockFile locks a whole file for us alone (flock(2)). It tries again for a time in
// nanoseconds; EBUSY says that others kept it.
func lockFile(fd int, within int64) syscall.Errno {
	const pause = second / 10000
	for waited := int64(0); ; waited += pause {
		err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return 0
		case err != syscall.EWOULDBLOCK && err != syscall.EINTR:
			return errnoOf(err)
		case waited >= within:
			return syscall.EBUSY
		}
		raw.Sleep(pause)
	}
}

// signLock says in the lock that it is ours.
func signLock(fd int) {
	var text [48]byte
	b := raw.AppendNumber(text[:0], int64(raw.Pid()))
	if st, e := raw.ReadStat(raw.Pid()); e == 0 {
		b = raw.AppendNumber(append(b, ' '), int64(st.Start))
	}
	b = append(b, '\n')
	_ = syscall.Ftruncate(fd, 0)
	_, _ = syscall.Pwrite(fd, b, 0)
}

// inheritLock takes over the lock of a run directory that an engine held for a
// dead keeper: the same open file, so that nobody else can get it in between. A
// descriptor that is not that lock is closed.
func inheritLock(dir, fd int) bool {
	if fd < 0 {
		return false
	}
	if !sameFile(dir, "lock", fd) || lockFile(fd, 0) != 0 {
		raw.Close(fd)
		return false
	}
	signLock(fd)
	return true
}

func sameFile(dir int, name string, fd int) bool {
	other, err := syscall.Openat(dir, name, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	var a, b syscall.Stat_t
	err = syscall.Fstat(other, &a)
	raw.Close(other)
	return err == nil && syscall.Fstat(fd, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// lockHolder returns the pid in the lock file if that process lives and is the
// one that wrote it; 0 otherwise.
func lockHolder(fd int) int {
	var text [48]byte
	n, _ := raw.Pread(fd, text[:], 0)
	pid, start := splitNumbers(text[:n])
	if pid <= 0 || raw.Kill(pid, 0) == syscall.ESRCH {
		return 0
	}
	st, e := raw.ReadStat(pid)
	if e == 0 && start != 0 && (st.Start != start || st.State == 'Z') {
		return 0
	}
	return pid
}

// splitNumbers reads "PID[ START]\n"; what is not that is 0.
func splitNumbers(text []byte) (pid int, start uint64) {
	end := 0
	for end < len(text) && text[end] != '\n' {
		end++
	}
	if end == len(text) {
		return 0, 0
	}
	text = text[:end]
	space := 0
	for space < len(text) && text[space] != ' ' {
		space++
	}
	n, ok := raw.Number(text[:space])
	if !ok || n > 1<<30 {
		return 0, 0
	}
	if space < len(text) {
		start, _ = raw.Number(text[space+1:])
	}
	return int(n), start
}

// readID returns the 16 hex digits of RUN/id and writes them if they are not
// there yet.
func readID(dir int) (id [16]byte, errno syscall.Errno) {
	fd, err := syscall.Openat(dir, "id", syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err == nil {
		var b [17]byte
		n, _ := raw.Pread(fd, b[:], 0)
		raw.Close(fd)
		if n >= len(id) && hexDigits(b[:len(id)]) {
			copy(id[:], b[:])
			return id, 0
		}
	}
	randomHex(&id)
	return id, writeID(dir, id[:])
}

func writeID(dir int, id []byte) syscall.Errno {
	fd, err := syscall.Openat(dir, "id.new", syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return err.(syscall.Errno)
	}
	_, e := raw.Write(fd, append(id[:len(id):len(id)], '\n'))
	raw.Close(fd)
	if e != 0 {
		return e
	}
	return rename(dir, "id.new", "id")
}

func hexDigits(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func randomHex(id *[16]byte) {
	const digits = "0123456789abcdef"
	var r [8]byte
	syscall.RawSyscall(sysGetrandom, uintptr(unsafe.Pointer(&r)), uintptr(len(r)), 0)
	for i, b := range r {
		id[2*i], id[2*i+1] = digits[b>>4], digits[b&15]
	}
}

// readIdentity says which boot and pid namespace this is.
func readIdentity() (id identity) {
	if fd, err := syscall.Open("/proc/sys/kernel/random/boot_id", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err == nil {
		var b [37]byte
		n, _ := syscall.Read(fd, b[:])
		raw.Close(fd)
		copy(id.boot[:], b[:min(max(n, 0), len(id.boot))])
	}
	var st syscall.Stat_t
	if syscall.Stat("/proc/self/ns/pid", &st) == nil {
		id.pidns = st.Ino
	}
	return id
}

// machineNamespace is the inode of the pid namespace the machine begins with.
const machineNamespace = 0xeffffffc

// listenControl binds RUN/control.sock. Everybody may connect; the engine judges
// by credentials. The path is bound from inside the directory, so that its length
// does not matter; the working directory is put back.
func listenControl(dir int) (int, syscall.Errno) {
	back, err := syscall.Open(".", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err == nil {
		defer raw.Close(back)
		defer func() { _ = syscall.Fchdir(back) }()
	}
	if err := syscall.Fchdir(dir); err != nil {
		return -1, err.(syscall.Errno)
	}
	low, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err.(syscall.Errno)
	}
	fd, e := raw.DupAbove(low, ownDescriptors)
	raw.Close(low)
	if e != 0 {
		return -1, e
	}
	_ = syscall.Unlink("control.sock")
	old := syscall.Umask(0o111)
	err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: "control.sock"})
	syscall.Umask(old)
	if err == nil {
		err = syscall.Listen(fd, 4096)
	}
	if err != nil {
		raw.Close(fd)
		return -1, err.(syscall.Errno)
	}
	return fd, 0
}

// listenNowhere is a listener nobody can reach, for a run directory in which no
// socket can be made.
func listenNowhere() (int, syscall.Errno) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err.(syscall.Errno)
	}
	high, e := raw.DupAbove(fd, ownDescriptors)
	raw.Close(fd)
	return high, e
}

func rename(dir int, from, to string) syscall.Errno {
	if err := syscall.Renameat(dir, from, dir, to); err != nil {
		return err.(syscall.Errno)
	}
	return 0
}

// above moves a descriptor out of the way of those that children get.
func above(fd int) int {
	if fd < 0 {
		return -1
	}
	high, e := raw.DupAbove(fd, ownDescriptors)
	if e != 0 {
		return fd
	}
	raw.Close(fd)
	return high
}
