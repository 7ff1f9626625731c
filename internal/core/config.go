package core

import "time"

// When is the rule that decides whether an end is followed by a start
// (restart.when).
type When uint8

// The rules. An Unknown end counts as a failure and as a crash, but a task with
// an unknown end is never run again by itself.
const (
	Always When = iota
	Never
	OnFailure
	OnCrash
)

// MaxStopSteps is how many signals a stop sequence may have.
const MaxStopSteps = 8

// Config is what Step must know of a definition. It is comparable plain data;
// Step never changes it. Durations below zero count as zero.
type Config struct {
	When  When
	Task  bool // runs once: success is Finished whatever When says
	Delay time.Duration

	// Target has no program. A Forking run begins with a starter that ends with
	// success when it has left the main process behind.
	Target  bool
	Forking bool

	// Spacing is the least time from the start of a run to the next start by itself.
	Spacing time.Duration
	Short   Short

	Backoff Backoff
	Limit   Limit

	// A run is ready when EvReady tells so (ReadyWait), else ReadyAfter its
	// start; with neither, at once. ReadyTimeout bounds the wait for EvReady, 0
	// waits as long as it takes. A task does not become ready: it finishes.
	ReadyWait    bool
	ReadyAfter   time.Duration
	ReadyTimeout time.Duration

	Hooks [HookKinds]bool // which of them there are

	// HealthFailures failed checks in a row, outside HealthGrace after readiness,
	// are a failure of the run (HealthRestart) or make it Degraded. Watchdog is how
	// often a run has to tell that it is alive, 0: never.
	HealthFailures uint8
	HealthRestart  bool
	HealthGrace    time.Duration
	Watchdog       time.Duration

	// StopWait[i] is how long step i has before the next one; 0 in the last step
	// means what is left of StopTimeout. When the steps or StopTimeout are used
	// up, KILL follows; it comes at once when either is 0.
	StopSteps   uint8
	StopWait    [MaxStopSteps]time.Duration
	StopTimeout time.Duration

	CrashGrace    time.Duration // what a crashed run left behind gets TERM and this long before KILL
	LeaveChildren bool          // nothing but the main process is ever ended
	KeepLeftovers bool          // kill_leftovers = false: what a run that ended by itself left behind is let be
}

// Backoff paces the starts of a service that keeps dying. The n-th delay in a
// row is First * Factor^n, at most Max, spread by Jitter (0.2: 20 % either way)
// but never beyond Max. A run that was ready and lived Healthy is followed by a
// start without such a delay; after ResetAfter of life the next delay is First
// again. A delay is never shorter than one millisecond.
type Backoff struct {
	First      time.Duration
	Factor     float64 // below 1 counts as 1
	Max        time.Duration
	Jitter     float64 // 0 to 1
	Healthy    time.Duration
	ResetAfter time.Duration
}

// Limit makes Step give up (Failed, CauseLimit) instead of starting by itself
// for the Count+1st time within Window. Count 0 never gives up, Window 0 never
// forgets. RetryAfter, if not 0, lifts the fault by itself.
//
// Up to 16 starts are counted exactly. Above that they are remembered in groups
// of Count/16, rounded up, dated by their first, so that giving up may come late
// by less than a group and never early. A change of Count that changes the size
// of the groups begins to count anew.
type Limit struct {
	Count      uint32
	Window     time.Duration
	RetryAfter time.Duration

	// InRow gives up after so many failed runs and starts without one between them
	// that was ready, or a task that succeeded; 0 never does.
	InRow uint8
	// Starts counts every start, also one that was asked for: it is refused, too,
	// until EvClear or a new definition.
	Starts bool
	// FromFirst makes Window begin with the first start that is counted. The first
	// one after its end begins the next.
	FromFirst bool
}

// Short replaces the back-off, if Under is not 0: a run that ended sooner than
// Under after its start is followed by Delay, any other by none. The first After
// short runs in a row are let be. With Counted the delay counts as life of the run
// that follows it.
type Short struct {
	Under   time.Duration
	Delay   time.Duration
	After   uint8
	Counted bool
}

// steps is the number of usable stop steps.
func (c *Config) steps() uint8 { return min(c.StopSteps, MaxStopSteps) }

// readyAtOnce reports whether a run counts as ready as soon as its main process
// lives.
func (c *Config) readyAtOnce() bool {
	return c.Task || !c.ReadyWait && c.ReadyAfter <= 0
}

// restarts reports whether When follows this end with a start.
func (w When) restarts(e End) bool {
	switch w {
	case Always:
		return true
	case OnFailure:
		return e == Failure || e == Crash || e == Unknown
	case OnCrash:
		return e == Crash || e == Unknown
	}
	return false
}
