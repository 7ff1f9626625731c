package main

import (
	"time"

	"golang.org/x/sys/unix"
)

func (clock) Yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// boottime is CLOCK_BOOTTIME in nanoseconds: it runs through suspend and nobody
// sets it.
func boottime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(started).Nanoseconds()
	}
	return ts.Nano()
}
