package raw

import (
	"syscall"
	"unsafe"
)

// MaxFDs bounds the descriptors of one message; what a peer sends beyond is
// closed by the kernel and reported as truncated.
const MaxFDs = 40

const cmsgSpace = 16 + MaxFDs*4

// Messenger sends and receives whole messages with descriptors on one socket,
// without an allocation. It is for one thread.
type Messenger struct {
	header  syscall.Msghdr
	vec     syscall.Iovec
	control [cmsgSpace]byte
	fds     [MaxFDs]int
}

// Send sends one message. It never blocks: a full socket is EAGAIN.
func (m *Messenger) Send(sock int, data []byte, fds []int) syscall.Errno {
	m.vec.Base = &data[0]
	m.vec.SetLen(len(data))
	m.header = syscall.Msghdr{Iov: &m.vec, Iovlen: 1}
	if len(fds) > 0 {
		n := putRights(m.control[:], fds)
		m.header.Control = &m.control[0]
		m.header.SetControllen(n)
	}
	for {
		_, _, e := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(sock), uintptr(unsafe.Pointer(&m.header)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		if e != syscall.EINTR {
			return e
		}
	}
}

// Receive takes one message. n is its length, len(data)+1 if it was longer than
// data, 0 at the end of the connection. The descriptors belong to the caller; they are
// valid until the next call. truncated says that some could not be installed.
func (m *Messenger) Receive(sock int, data []byte) (n int, fds []int, truncated bool, errno syscall.Errno) {
	const cmsgCloexec = 0x40000000
	m.vec.Base = &data[0]
	m.vec.SetLen(len(data))
	m.header = syscall.Msghdr{Iov: &m.vec, Iovlen: 1, Control: &m.control[0]}
	m.header.SetControllen(len(m.control))
	for {
		r, _, e := syscall.RawSyscall(syscall.SYS_RECVMSG, uintptr(sock), uintptr(unsafe.Pointer(&m.header)),
			syscall.MSG_DONTWAIT|cmsgCloexec)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, nil, false, e
		}
		n = int(r)
		break
	}
	if m.header.Flags&syscall.MSG_TRUNC != 0 {
		n = len(data) + 1
	}
	count := takeRights(m.control[:m.header.Controllen], &m.fds)
	return n, m.fds[:count], m.header.Flags&syscall.MSG_CTRUNC != 0, 0
}

// A control message is its length (with the header of 16 bytes), level, type and
// the descriptors as 32-bit words; the next begins at a multiple of 8.
func putRights(b []byte, fds []int) int {
	n := 16 + 4*len(fds)
	*(*uint64)(unsafe.Pointer(&b[0])) = uint64(n)
	*(*int32)(unsafe.Pointer(&b[8])) = syscall.SOL_SOCKET
	*(*int32)(unsafe.Pointer(&b[12])) = syscall.SCM_RIGHTS
	for i, fd := range fds {
		*(*int32)(unsafe.Pointer(&b[16+4*i])) = int32(fd)
	}
	return (n + 7) &^ 7
}

func takeRights(b []byte, out *[MaxFDs]int) int {
	count := 0
	for len(b) >= 16 {
		n := *(*uint64)(unsafe.Pointer(&b[0]))
		if n < 16 || n > uint64(len(b)) {
			break
		}
		level, kind := *(*int32)(unsafe.Pointer(&b[8])), *(*int32)(unsafe.Pointer(&b[12]))
		if level == syscall.SOL_SOCKET && kind == syscall.SCM_RIGHTS {
			for at := uint64(16); at+4 <= n && count < MaxFDs; at += 4 {
				out[count] = int(*(*int32)(unsafe.Pointer(&b[at])))
				count++
			}
		}
		next := (n + 7) &^ 7
		if next > uint64(len(b)) {
			break
		}
		b = b[next:]
	}
	return count
}
