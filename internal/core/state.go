package core

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
	WasReady bool  // this run has been ready
	Level    uint8 // back-off delays in a row
	StopStep uint8 // the stop step last sent

	Run      uint64 // the number of the present or last run
	Restarts uint64 // starts by itself since the last one that was asked for

	Deadline Time // when EvTick matters, 0 if nothing is due by time
	StopBy   Time // while Stopping: when KILL follows
	Began    Time // when the run began, until what follows it is decided
	Ended    Time // while Cleaning: when the main process ended

	window window
}

// Live reports whether the main process of Run lives as far as is known. A run
// in the making (Spawning) may live already.
func (s *State) Live() bool {
	return s.Phase == Starting || s.Phase == Running || s.Phase == Stopping
}

// AtRest reports whether nothing is under way and no process of the service is
// expected to live.
func (s *State) AtRest() bool {
	return s.Phase == Down || s.Phase == Finished || s.Phase == Failed
}

// Ready reports whether what waits for this service to be ready need not wait
// longer: a daemon runs, a task has finished.
func (s *State) Ready(cfg *Config) bool {
	if cfg.Task {
		return s.Phase == Finished
	}
	return s.Phase == Running
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
