//go:build linux

package e2e

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// The only test that is not alone with itself: the machine's clock goes back a
// day for as long as two restarts take. It runs before all parallel tests, and
// ABIDE_KEEP_CLOCK=1 leaves it out where somebody else's clock is at stake.
func TestTheClockIsSetBackADay(t *testing.T) {
	if os.Getenv("ABIDE_KEEP_CLOCK") != "" {
		t.Skip("ABIDE_KEEP_CLOCK is set")
	}
	a := harness.New(t)
	check := a.Healthy()
	a.Define("web", sleeper)
	a.Define("dies", "command = [\"/bin/false\"]\n[restart.backoff]\nfirst = \"20ms\"\nmax = \"50ms\"\n")
	a.Start()
	web := a.Await("web", "running")
	a.AwaitStatus("dies", "has died twice", func(s client.Status) bool { return s.Restarts >= 2 })

	restore := setClockBack(t, 24*time.Hour)
	defer restore()
	harness.Check(t, unix.Kill(web.Pid, unix.SIGKILL))
	next := a.AwaitNext(web)
	dies, err := a.Peek("dies")
	harness.Check(t, err)
	// A wait that was counted from the wall clock would now last a day.
	a.AwaitStatus("dies", "is still being restarted", func(s client.Status) bool { return s.Restarts >= dies.Restarts+2 })
	restore()

	if next.Run != web.Run+1 {
		t.Errorf("it is in run %d, was in %d", next.Run, web.Run)
	}
	a.OK("stop", "web")
	a.NothingOf("web")
	check()
}

// setClockBack turns the wall clock back and returns what puts it right by the
// monotonic one.
func setClockBack(t *testing.T, by time.Duration) (restore func()) {
	t.Helper()
	read := func(clock int32) int64 {
		var now unix.Timespec
		harness.Check(t, unix.ClockGettime(clock, &now))
		return now.Nano()
	}
	set := func(nanoseconds int64) {
		now := unix.NsecToTimespec(nanoseconds)
		harness.Check(t, unix.ClockSettime(unix.CLOCK_REALTIME, &now))
	}
	offset := read(unix.CLOCK_REALTIME) - read(unix.CLOCK_BOOTTIME)
	set(read(unix.CLOCK_REALTIME) - int64(by))
	done := false
	return func() {
		if !done {
			done = true
			set(read(unix.CLOCK_BOOTTIME) + offset)
		}
	}
}
