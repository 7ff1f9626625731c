package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/control"
)

// peerOf asks the kernel who is at the other end of c: SO_PEERCRED and
// SO_PEERGROUPS, unix(7). Both name the peer as it was when it connected.
func peerOf(c *net.UnixConn) (control.Who, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return control.Who{}, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	var who control.Who
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			failed = err
			return
		}
		who = control.Who{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}
		who.Groups, failed = peerGroups(int(fd))
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return control.Who{}, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	return who, nil
}

func peerGroups(fd int) ([]int, error) {
	buf := make([]byte, 32*4)
	for {
		size := uint32(len(buf))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			groups := make([]int, 0, size/4)
			for ; size >= 4; size -= 4 {
				groups = append(groups, int(binary.NativeEndian.Uint32(buf)))
				buf = buf[4:]
			}
			return groups, nil
		case errors.Is(errno, unix.ERANGE) && int(size) > len(buf):
			buf = make([]byte, size)
		case errors.Is(errno, unix.ENOPROTOOPT): // before Linux 4.13: the primary group is all there is
			return nil, nil
		default:
			return nil, errno
		}
	}
}
