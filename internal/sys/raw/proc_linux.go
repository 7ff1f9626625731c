package raw

import (
	"syscall"
	"unsafe"
)

// ReadStat reads /proc/PID/stat. ESRCH or ENOENT: there is no such process;
// EINVAL: the file is not what it should be.
func ReadStat(pid int) (Stat, syscall.Errno) {
	var path [32]byte
	p := append(path[:0], "/proc/"...)
	p = AppendNumber(p, int64(pid))
	p = append(p, "/stat\x00"...)
	var buf [1024]byte
	n, e := readFile(&p[0], buf[:])
	if e != 0 {
		return Stat{}, e
	}
	st, ok := ParseStat(buf[:n])
	if !ok {
		return Stat{}, syscall.EINVAL
	}
	return st, 0
}

// readFile reads the start of a file that never blocks.
func readFile(path *byte, b []byte) (int, syscall.Errno) {
	const atFdcwd = -100
	at := atFdcwd
	fd, _, e := syscall.RawSyscall6(syscall.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(path)),
		syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	return int(n), e
}
