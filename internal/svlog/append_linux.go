package svlog

import (
	"bytes"
	"errors"
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

// errDisturbed tells that somebody truncated, removed or wrote to the log between
// two writes. What was just written is not there any more.
var errDisturbed = errors.New("others write to the log")

// writeLog writes b at the end of a log, which is off as far as is known. What was
// begun before a crash, or was parked, is written at off again; all else goes to
// wherever the end is. It returns the offset behind what was written.
func (m *Manager) writeLog(fd int, b []byte, off int64, again bool) (n int, end int64, err error) {
	if !again && m.append != nil {
		n, err = writeAll(func(fd int, b []byte, _ int64) (int, error) { return m.append(fd, b) }, fd, b, off)
		if n > 0 || err != unix.EOPNOTSUPP && err != unix.ENOSYS && err != unix.EINVAL {
			if err == nil {
				err = settle(fd, b, off)
			}
			return n, off + int64(n), err
		}
		m.append = nil // a kernel before 4.16, or a file system without
	}
	n, err = m.pwriteAll(fd, b, off)
	return n, off + int64(n), err
}

// settle finds out whether b, which was just appended to a log, came to stand at
// off. If it does not, because others truncated the log or wrote to it, it is taken
// back: it may be the rest of a line whose beginning is gone, or stand behind a
// line that is not finished.
func settle(fd int, b []byte, off int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink > 0 && st.Size == off+int64(len(b)) {
		return nil
	}
	if st.Nlink == 0 {
		return errDisturbed
	}
	at := max(st.Size-int64(len(b)), 0)
	if at > off && !endsWith(fd, b, st.Size) {
		return nil // what others wrote is behind it
	}
	if err := shrink(fd, at); err != nil {
		return err
	}
	return errDisturbed
}

// shrink cuts a log off at an offset. Who truncates it further at this very moment
// makes the cut a growth: the zeros that it adds are cut off again. What abide writes
// ends with a byte that is none.
func shrink(fd int, at int64) error {
	const tries = 100
	for range tries {
		if err := unix.Ftruncate(fd, at); err != nil {
			return err
		}
		end, err := endOfData(fd, at)
		if err != nil || end == at {
			return err
		}
		at = end
	}
	return errDisturbed
}

// endOfData is the offset behind the last byte before at that is not zero.
func endOfData(fd int, at int64) (int64, error) {
	var buf [4096]byte
	for at > 0 {
		from := max(at-int64(len(buf)), 0)
		n, err := unix.Pread(fd, buf[:at-from], from)
		if err != nil {
			return 0, err
		}
		if kept := bytes.TrimRight(buf[:n], "\x00"); len(kept) > 0 {
			return from + int64(len(kept)), nil
		}
		at = from
	}
	return 0, nil
}

// endsWith tells whether a file of the given size ends as b does.
func endsWith(fd int, b []byte, size int64) bool {
	var have [256]byte
	end := b[max(len(b)-len(have), 0):]
	n, err := unix.Pread(fd, have[:len(end)], size-int64(len(end)))
	return err == nil && bytes.Equal(have[:max(n, 0)], end)
}
