package svlog

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// appendTo writes b at the end of the file, wherever that is by now: an admin may
// have truncated the log a moment ago, and a write at the old end would leave a
// hole of zeros before it.
func appendTo(fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(len(b))
	n, _, errno := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, 0, 0, unix.RWF_APPEND)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// writeLog writes b at the end of a log, which is off as far as is known. What was
// begun before a crash, or was parked, is written at off again; all else goes to
// wherever the end is. It returns the offset behind what was written.
func (m *Manager) writeLog(fd int, b []byte, off int64, again bool) (n int, end int64, err error) {
	if !again && m.append != nil {
		n, err = writeAll(func(fd int, b []byte, _ int64) (int, error) { return m.append(fd, b) }, fd, b, off)
		if n > 0 || err != unix.EOPNOTSUPP && err != unix.ENOSYS && err != unix.EINVAL {
			if err == nil {
				off, err = m.settle(fd, b, off)
			}
			return n, off + int64(n), err
		}
		m.append = nil // a kernel before 4.16, or a file system without
	}
	n, err = m.pwriteAll(fd, b, off)
	return n, off + int64(n), err
}

// settle tells where b, which was just appended to a log that ended at off, is. If
// the log was truncated in between, in the middle of a line, b is given a line of
// its own.
func (m *Manager) settle(fd int, b []byte, off int64) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size >= off+int64(len(b)) {
		return off, nil
	}
	at := max(st.Size-int64(len(b)), 0)
	var before [1]byte
	if at == 0 || b[0] == '\n' {
		return at, nil
	}
	if n, err := unix.Pread(fd, before[:], at-1); n == 1 && err == nil && before[0] != '\n' {
		if _, err := m.pwriteAll(fd, append([]byte{'\n'}, b...), at); err != nil {
			return at, err
		}
		at++
	}
	return at, nil
}
