package client

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSunPath is the room for a path in sockaddr_un with its NUL, unix(7).
const maxSunPath = 108

// dialUnix connects to the socket at path, however long path is: one that does
// not fit an address is reached through a descriptor of its folder.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	if len(path) < maxSunPath {
		return d.DialContext(ctx, "unix", path)
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(dir)
	defer dir.Close()
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// checkServer makes sure that who listens is root, ourselves or the owner of the
// run directory: nobody else's socket is told anything.
func checkServer(conn net.Conn, dir string) error {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot read the server's credentials: %w", err)
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("cannot read the server's credentials: %w", err)
	}
	uid := int(cred.Uid)
	if uid == 0 || uid == os.Geteuid() {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("cannot look at the run directory: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == uid {
		return nil
	}
	return &Error{Code: NotPermitted,
		Message: fmt.Sprintf("cannot trust the server in %s: it runs as uid %d, who does not own that folder", dir, uid)}
}
