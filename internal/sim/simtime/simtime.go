// Package simtime stands in for package time in code that is simulated: the same
// names, over the clock of package sched. Durations and points in time are the
// real ones; timers and the present are not.
package simtime

import (
	"time"

	"github.com/abide-project/abide/internal/sim/sched"
)

// What needs no clock is what it always is.
type (
	Duration = time.Duration
	Time     = time.Time
	Month    = time.Month
)

// The constants that simulated code uses.
const (
	Nanosecond  = time.Nanosecond
	Microsecond = time.Microsecond
	Millisecond = time.Millisecond
	Second      = time.Second
	Minute      = time.Minute
	Hour        = time.Hour
	RFC3339     = time.RFC3339
	RFC3339Nano = time.RFC3339Nano
)

// UTC is time.UTC.
var UTC = time.UTC

// Unix is time.Unix.
func Unix(sec, nsec int64) Time { return time.Unix(sec, nsec) }

// UnixMilli is time.UnixMilli.
func UnixMilli(ms int64) Time { return time.UnixMilli(ms) }

// ParseDuration is time.ParseDuration.
func ParseDuration(s string) (Duration, error) { return time.ParseDuration(s) }

// Now is the settable clock.
func Now() Time { return time.Unix(0, sched.Present().Walltime()) }

// Since is the time from t to Now.
func Since(t Time) Duration { return Now().Sub(t) }

// Until is the time from Now to t.
func Until(t Time) Duration { return t.Sub(Now()) }

// Sleep blocks the running task.
func Sleep(d Duration) { sched.Sleep(int64(d)) }

// Timer is time.Timer over the simulated monotonic clock. It dies with the
// process that made it.
type Timer struct {
	C     <-chan Time
	c     chan Time
	f     func()
	owner sched.Owner
	entry *sched.Timer
}

// NewTimer is time.NewTimer.
func NewTimer(d Duration) *Timer {
	t := &Timer{c: make(chan Time, 1), owner: sched.Current().Owner}
	t.C = t.c
	t.arm(d)
	return t
}

// AfterFunc is time.AfterFunc: f runs in a task of its own.
func AfterFunc(d Duration, f func()) *Timer {
	t := &Timer{f: f, owner: sched.Current().Owner}
	t.arm(d)
	return t
}

// After is time.After.
func After(d Duration) <-chan Time { return NewTimer(d).C }

func (t *Timer) arm(d Duration) {
	s := sched.Present()
	t.entry = s.After(max(int64(d), 0), func() {
		switch {
		case !t.owner.Alive():
		case t.f != nil:
			s.Start("timer", t.owner, t.f)
		default:
			select {
			case t.c <- Now():
			default:
			}
		}
	})
}

// Stop is Timer.Stop as of Go 1.23: nothing is received after it.
func (t *Timer) Stop() bool {
	t.drain()
	return sched.Present().Cancel(t.entry)
}

// Reset is Timer.Reset.
func (t *Timer) Reset(d Duration) bool {
	was := t.Stop()
	t.arm(d)
	return was
}

func (t *Timer) drain() {
	if t.c == nil {
		return
	}
	select {
	case <-t.c:
	default:
	}
}
