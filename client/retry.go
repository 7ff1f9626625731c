package client

import (
	"context"
	"time"
)

// A call goes on across the death of the engine: the keeper holds the socket, so a
// new connection waits by itself. When the keeper is being replaced as well, it goes
// on for a while, and for longer as long as some abide holds the run directory.
const (
	pause     = 10 * time.Millisecond
	longPause = 500 * time.Millisecond
	patience  = 2500 * time.Millisecond // with nobody in charge
	trust     = time.Minute             // while the run directory's lock is held
)

// retry is how long one call has gone on without an answer.
type retry struct {
	dir    string
	failed time.Time // the first of the failures that follow each other
	last   time.Time
	wait   time.Duration
}

// again waits a little before the next try, and reports false when the call is to
// be given up.
func (r *retry) again(ctx context.Context) bool {
	// A call may wait for hours and outlive many engines: what counts is how long it
	// could not be made at all.
	now := time.Now()
	if now.Sub(r.last) > patience {
		r.failed, r.wait = now, pause
	}
	r.last = now
	gone := now.Sub(r.failed)
	if ctx.Err() != nil || gone > trust || gone > patience && !lockHeld(r.dir) {
		return false
	}
	select {
	case <-time.After(r.wait):
	case <-ctx.Done():
		return false
	}
	r.wait = min(2*r.wait, longPause)
	return true
}
