package core

import (
	"math"
	"time"
)

// State is everything that is remembered of one service between two events. It
// is comparable and of fixed size; Encode writes it as bytes. The zero State is
// a service that was never wanted.
type State struct {
	Phase Phase
	Cause Cause
	End   End // how the last run ended, EndNone while one lives or before the first

	Wanted bool
	Once   bool // no start by itself after this run
	Paused bool // the run is frozen, or will be as soon as it lives

	// PendingRestart: when the present run is gone the next one starts at once,
	// without back-off, delay or limit. While Spawning it means that the run in
	// the making must be replaced.
	PendingRestart bool

	Killed   bool  // stopping or cleaning up the last run took KILL
	Hurry    bool  // the run in the making is not wanted and is to get no grace
	Froze    bool  // this run was frozen once: an adopter thaws it unless Paused
	WasReady bool  // this run has been Running
	Level    uint8 // back-off delays in a row
	StopStep uint8 // the stop step last sent

	Run      uint64 // the number of the present or last run
	Restarts uint64 // starts by itself since the last one that was asked for

	Deadline Time // when EvTick matters, 0 if nothing is due by time
	StopBy   Time // while Stopping: when KILL follows
	Began    Time // when the run began, until what follows it is decided
	Ended    Time // while Cleaning and Closing: when the main process ended, or the start had failed

	Held     bool     // no start before EvAllow
	Degraded bool     // while Running: its health checks fail
	Fails    uint8    // failed health checks in a row
	Hook     HookKind // whose answer is due, if Hooking
	Hooking  bool     // an ActHook is out
	Unhooked bool     // and those hooks were told to end
	Void     bool     // this run never lived: its start failed, and its hooks are still to run
	Final    bool     // and trying again cannot help
	HasMain  bool     // forking: the main process is known
	Signed   bool     // forking: the sign of readiness came before that
	InRow    uint8    // failed runs and starts in a row
	Shorts   uint8    // short runs in a row, justSlept after a delay that counts as life

	// Until is when the wait for readiness is given up, while Starting or Finding,
	// and until when failed health checks do not count, while Running.
	Until   Time
	AliveBy Time          // when the watchdog bites, 0: it sleeps
	AliveIn time.Duration // what the run told of how often it is alive, in whole milliseconds, 0: nothing

	window window

	Skip uint16 // how many numbers behind Run are used up
}

// skip is how many numbers behind run are used up.
func (s *State) skip(run uint64) uint16 {
	if used := s.Run + uint64(s.Skip); used > run {
		return uint16(used - run)
	}
	return 0
}

// Live reports whether the main process of Run lives as far as is known. A run
// in the making (Spawning) may live already, and so may what is left of a starter
// (Finding).
func (s *State) Live() bool {
	switch s.Phase {
	case Starting, Arriving, Running, Leaving, Stopping:
		return true
	}
	return false
}

// Up reports whether the main process lives and is not being ended.
func (s *State) Up() bool {
	return s.Phase == Starting || s.Phase == Arriving || s.Phase == Running
}

// AtRest reports whether nothing is under way and no process of the service is
// expected to live.
func (s *State) AtRest() bool {
	return s.Phase == Down || s.Phase == Finished || s.Phase == Failed || s.Phase == Reached
}

// Ready reports whether what waits for this service to be ready need not wait
// longer: a daemon runs, a task has finished.
func (s *State) Ready(cfg *Config) bool {
	if cfg.Task {
		return s.Phase == Finished
	}
	return s.Phase == Running || s.Phase == Reached
}

// windowSize is how many starts a window counts exactly.
const windowSize = 16

// window remembers when a service was started by itself. Each stamp dates a
// group of per starts by its first; all groups but the newest are full.
type window struct {
	stamp [windowSize]Time // a ring, 0 is empty
	next  uint8            // where the next group goes
	per   uint32           // starts in a full group
	fill  uint32           // starts in the newest group
}

// spend counts one more start and reports whether the limit allows it. A start
// that it does not allow is not counted.
func (w *window) spend(limit *Limit, now Time) bool {
	if limit.Count == 0 {
		return true
	}
	if limit.FromFirst {
		return w.spendFromFirst(limit, now)
	}
	per := (limit.Count-1)/windowSize + 1
	if w.per != per {
		*w = window{per: per}
	}
	newest := (w.next + windowSize - 1) % windowSize
	open := false // the newest group has room and is not forgotten
	var spent uint64
	for i, t := range w.stamp {
		switch {
		case t == 0 || limit.Window > 0 && now-t >= Time(limit.Window):
		case uint8(i) == newest:
			spent += uint64(w.fill)
			open = w.fill < per
		default:
			spent += uint64(per)
		}
	}
	if spent >= uint64(limit.Count) {
		return false
	}
	if !open {
		w.stamp[w.next] = now
		w.next = (w.next + 1) % windowSize
		w.fill = 0
	}
	w.fill++
	return true
}

// fromFirst is the size of the one group of a window that begins with its first
// start.
const fromFirst = math.MaxUint32

func (w *window) spendFromFirst(limit *Limit, now Time) bool {
	over := limit.Window > 0 && now-w.stamp[0] >= Time(limit.Window)
	if w.per != fromFirst || w.stamp[0] == 0 || over {
		*w = window{per: fromFirst}
		w.stamp[0] = now
	}
	if w.fill >= limit.Count {
		return false
	}
	w.fill++
	return true
}
