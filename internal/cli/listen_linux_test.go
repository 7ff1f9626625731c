package cli

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
)

// listenAs listens as another user, on a thread that is that user and ends with
// the test's goroutine.
func listenAs(t *testing.T, uid int, path string) net.Listener {
	t.Helper()
	result := make(chan net.Listener)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must not serve others
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Error(err)
			close(result)
			return
		}
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Error(errno)
		}
		// The credentials of a listening socket are those of listen(2).
		raw, _ := l.(*net.UnixListener).SyscallConn()
		raw.Control(func(fd uintptr) {
			if err := syscall.Listen(int(fd), 8); err != nil {
				t.Error(os.NewSyscallError("listen", err))
			}
		})
		result <- l
	}()
	l := <-result
	if l == nil {
		t.FailNow()
	}
	return l
}
