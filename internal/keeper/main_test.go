//go:build linux

package keeper

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary plays every process of a test: the keeper, the engine, which
// hands its socket to the test and waits to be killed, and some services.
const (
	roleVar = "ABIDE_TEST_ROLE"
	deskVar = "ABIDE_TEST_DESK" // the socket at which engines hand over theirs
)

func init() {
	if _, _, given := givenBaton(os.Environ()); given || os.Getenv(roleVar) == "keeper" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleVar)
	if fd, file, given := givenBaton(os.Environ()); given {
		role = "keeper" // also when it goes back to the program before, which has no script
		spoilBaton(fd, file)
	}
	switch role {
	case "keeper":
		if ms, err := strconv.Atoi(os.Getenv("ABIDE_TEST_PATIENCE")); err == nil {
			patience.quiet, patience.answer, patience.farewell = int64(ms)*1_000_000, int64(ms)*1_000_000, int64(ms)*1_000_000
			patience.hello = min(patience.hello, 20*patience.quiet)
		}
		for name, limit := range map[string]*int64{"ABIDE_TEST_PROOF": &patience.proof, "ABIDE_TEST_TRIAL": &patience.trial} {
			if ms, err := strconv.Atoi(os.Getenv(name)); err == nil {
				*limit = int64(ms) * 1_000_000
			}
		}
		os.Setenv(roleVar, "engine")
		os.Exit(Main(os.Args[1:], os.Environ()))
	case "engine":
		engineRole()
	case "":
		if len(os.Args) == 3 && os.Args[1] == "orphans" {
			orphansRole(os.Args[2])
		}
		os.Exit(m.Run())
	}
}

// engineRole gives the keeper's socket to the test and does nothing more.
func engineRole() {
	if len(os.Args) > 1 && os.Args[1] == "die" {
		os.Exit(3)
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: os.Getenv(deskVar), Net: "unix"})
	if err != nil {
		time.Sleep(20 * time.Millisecond) // the test is over
		os.Exit(1)
	}
	pid := strconv.Itoa(os.Getpid())
	if _, _, err := conn.WriteMsgUnix([]byte(pid), unix.UnixRights(3, 4, 5), nil); err != nil {
		os.Exit(1)
	}
	for fd := 3; fd <= 5; fd++ {
		unix.Close(fd)
	}
	// The test closes its end of the desk to let the engine end by itself.
	var b [1]byte
	_, _ = conn.Read(b[:])
	os.Exit(0)
}

// orphansRole leaves n dead children behind that it never waited for.
func orphansRole(n string) {
	count, _ := strconv.Atoi(n)
	for range count {
		pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if pid == 0 && e == 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		if e != 0 {
			os.Exit(1)
		}
	}
	os.Exit(0)
}
