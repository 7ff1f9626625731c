package core

import "fmt"

// judge holds one Step against what Step promises. n is the node before, with
// the event's own effect on the world already in it; next is what Step returned.
// It brings the world up to date with the actions.
func judge(cfg *Config, old *State, n *node, ev Event, next State, acts []Action, now Time) error {
	w := &n.w
	if ev.Kind == EvAdopted || ev.Kind == EvReady {
		w.ready = w.ready || next.Phase == Running
	}
	asked := false // a clean-up was asked for
	for _, a := range acts {
		if err := w.act(cfg, old, ev, next, a); err != nil {
			return err
		}
		asked = asked || a.Kind == ActClean
	}
	if next.Phase == Running {
		w.ready = true
	}
	ended := ev.Kind == EvExited || ev.Kind == EvLost && (old.Live() || old.Phase == Cleaning) && !ev.Unsure
	if ended && !asked && !cfg.LeaveChildren && !(cfg.KeepLeftovers && old.Phase != Stopping) {
		return fmt.Errorf("a run has ended and nobody is asked to clean up after it")
	}
	if ev.Kind == EvExited || ev.Kind == EvCleaned || ev.Kind == EvSpawnFailed {
		if err := w.decided(cfg, ev, next); err != nil {
			return err
		}
	}
	w.stop(old, ev, next)
	return w.check(cfg, old, ev, next, now)
}

// act judges one action and does it.
func (w *world) act(cfg *Config, old *State, ev Event, next State, a Action) error {
	if a.Kind == ActSpawn {
		return w.spawn(cfg, old, ev, a)
	}
	if a.Run != runs {
		return fmt.Errorf("%v for run %d, the present one is %d", a.Kind, a.Run, runs)
	}
	switch a.Kind {
	case ActClean:
		switch {
		case w.alive:
			return fmt.Errorf("clean-up while the main process lives")
		case w.cleanDue:
			return fmt.Errorf("clean-up asked for twice")
		case cfg.LeaveChildren:
			return fmt.Errorf("clean-up of children that are to be left")
		case a.Grace != (next.Deadline != 0):
			return fmt.Errorf("clean-up with grace=%v and deadline %d", a.Grace, next.Deadline)
		case old.Phase == Running && !a.Grace && cfg.CrashGrace > 0:
			return fmt.Errorf("crash_grace is not granted")
		case old.Phase == Stopping && !a.Grace && old.StopBy > base && ev.Kind == EvExited:
			return fmt.Errorf("the rest gets nothing of what is left of the stop timeout")
		}
		w.cleanDue = true
		return nil
	case ActKill:
		if w.cleanDue {
			if a.Main {
				return fmt.Errorf("KILL for a main process that has ended")
			}
			return nil
		}
		if a.Main != cfg.LeaveChildren {
			return fmt.Errorf("KILL with main=%v", a.Main)
		}
		slow := cfg.steps() > 0 && cfg.StopTimeout > 0 && !old.Hurry && !old.Killed
		if slow && ev.Kind != EvTick && ev.Kind != EvHurry {
			return fmt.Errorf("KILL without the stop sequence")
		}
		w.killed = true
	case ActSignal:
		if int8(a.Step) <= w.lastStep {
			return fmt.Errorf("stop step %d after step %d", a.Step, w.lastStep)
		}
		if next.Phase != Stopping {
			return fmt.Errorf("stop signal in phase %v", next.Phase)
		}
		w.lastStep = int8(a.Step)
	case ActFreeze:
		w.frozen, w.froze = true, true
	case ActThaw:
		w.frozen = false
	}
	if !w.alive {
		return fmt.Errorf("%v and no process lives", a.Kind)
	}
	return nil
}

// spawn judges a start.
func (w *world) spawn(cfg *Config, old *State, ev Event, a Action) error {
	switch {
	case w.alive:
		return fmt.Errorf("start while the main process lives: a second copy")
	case w.spawnDue:
		return fmt.Errorf("start while a start is not answered: a second copy")
	case w.cleanDue:
		return fmt.Errorf("start before the last run is cleaned up")
	case a.Run != runs+1:
		return fmt.Errorf("start of run %d, the last number was %d", a.Run, runs)
	case !w.wanted:
		return fmt.Errorf("start of an unwanted service")
	}
	if !w.ordered {
		lift := old.Phase == Failed && old.Cause == CauseLimit && ev.Kind == EvTick
		if lift {
			w.fresh = 0
		}
		if !lift && !w.failed && !w.restarts(cfg) {
			return fmt.Errorf("start by itself after a run that %v", w.lastEnd)
		}
		if old.Phase != Delaying && !lift {
			w.owe = w.owed(cfg)
		}
		if w.since < w.owe {
			return fmt.Errorf("start by itself after %d ms, it owes a wait of %d", w.since, w.owe)
		}
		if old.Phase != Delaying && !lift {
			w.countAuto(cfg)
		}
	}
	w.spawnDue = true
	w.alive, w.frozen, w.froze, w.killed, w.ready = false, false, false, false, false
	w.ordered, w.stale, w.late, w.failed = false, false, false, false
	w.paused = false
	w.lastEnd, w.lastStep, w.age, w.since, w.owe = EndNone, -1, 0, 0, 0
	return nil
}

// owed is the wait that a start by itself needs before it, in units: at least
// the first delay unless the last run lived well.
func (w *world) owed(cfg *Config) uint8 {
	wait := cfg.Delay
	if w.failed || !w.healthy(cfg) {
		wait += max(cfg.Backoff.First, shortWait)
	}
	return uint8(Time(wait) / unit)
}

// healthy reports whether the last run earned a start without back-off.
func (w *world) healthy(cfg *Config) bool {
	return w.ready && !w.late && Time(w.age)*unit >= Time(cfg.Backoff.Healthy)
}

// restarts is restart.when as the definition's manual words it, written a second
// time.
func (w *world) restarts(cfg *Config) bool {
	end := w.lastEnd
	if w.late && end != GiveUp {
		end = Failure
	}
	if w.once || end == GiveUp || end == EndNone || cfg.Task && (end == Unknown || end == Success) {
		return false
	}
	return [...]map[End]bool{
		Always:    {Success: true, Failure: true, Crash: true, Unknown: true},
		Never:     {},
		OnFailure: {Failure: true, Crash: true, Unknown: true},
		OnCrash:   {Crash: true, Unknown: true},
	}[cfg.When][end]
}

// decided judges what follows the end of a run or a failed start, and counts a
// start by itself that is on its way.
func (w *world) decided(cfg *Config, ev Event, next State) error {
	retry := w.failed && ev.Kind == EvSpawnFailed && !ev.Permanent && !ev.Unsure && !w.once && cfg.When != Never
	again := retry || !w.failed && w.restarts(cfg)
	switch next.Phase {
	case Delaying:
		if w.ordered {
			return fmt.Errorf("a start that was asked for meets a delay")
		}
		if !again {
			return fmt.Errorf("waits to start after a run that %v", w.lastEnd)
		}
		if w.owe = w.owed(cfg); w.owe == 0 {
			return fmt.Errorf("a run that lived well is not followed at once")
		}
		w.countAuto(cfg)
	case Finished, Failed:
		switch {
		case next.Cause == CauseUnsure:
		case w.ordered:
			return fmt.Errorf("%v (%v) though a start was asked for", next.Phase, next.Cause)
		case next.Cause == CauseLimit:
			if cfg.Limit.Count == 0 || uint32(w.spent()) < cfg.Limit.Count {
				return fmt.Errorf("gave up after %d starts by itself, the limit is %d", w.spent(), cfg.Limit.Count)
			}
		case again:
			return fmt.Errorf("%v (%v) though it is to be started again", next.Phase, next.Cause)
		case next.Phase == Finished && (w.lastEnd != Success || w.late):
			return fmt.Errorf("finished after a run that %v", w.lastEnd)
		}
	}
	return nil
}

// stop notes why a stop began, and that a pause ends with its run.
func (w *world) stop(old *State, ev Event, next State) {
	if next.Phase != Spawning && next.Phase != Starting && next.Phase != Running {
		w.paused = false
	}
	if next.Phase != Stopping {
		return
	}
	if old.Phase == Starting && ev.Kind == EvTick {
		w.late = true
	}
}

// check judges where Step left the service.
func (w *world) check(cfg *Config, old *State, ev Event, s State, now Time) error {
	unsure := s.Phase == Failed && s.Cause == CauseUnsure
	switch {
	case s.Wanted != w.wanted:
		return fmt.Errorf("wanted is %v, the last wish was %v", s.Wanted, w.wanted)
	case s.Wanted && s.Once != w.once:
		return fmt.Errorf("once is %v, the last wish was %v", s.Once, w.once)
	case s.Wanted && s.Phase == Down:
		return fmt.Errorf("wanted and down")
	case !s.Wanted && s.Phase != Down && s.Phase != Spawning && s.Phase != Stopping && s.Phase != Cleaning && !unsure:
		return fmt.Errorf("not wanted and %v", s.Phase)
	case w.alive != s.Live():
		return fmt.Errorf("phase %v and the main process lives: %v", s.Phase, w.alive)
	case w.spawnDue != (s.Phase == Spawning):
		return fmt.Errorf("phase %v and a start is not answered: %v", s.Phase, w.spawnDue)
	case w.cleanDue != (s.Phase == Cleaning):
		return fmt.Errorf("phase %v and a clean-up is not answered: %v", s.Phase, w.cleanDue)
	case w.stale && (s.Phase == Starting || s.Phase == Running):
		return fmt.Errorf("a run that must be replaced is %v", s.Phase)
	case s.Phase == Failed && s.Cause == CauseNone:
		return fmt.Errorf("failed without a cause")
	case cfg.Limit.Count != 0 && uint32(w.fresh) > cfg.Limit.Count && (ev.Kind == EvExited || ev.Kind == EvCleaned || ev.Kind == EvSpawnFailed):
		return fmt.Errorf("%d starts by itself, the limit is %d", w.fresh, cfg.Limit.Count)
	case s.Phase == Stopping && !s.Wanted && (s.PendingRestart || s.Cause != CauseOperator):
		return fmt.Errorf("not wanted, and stops for %v with pending=%v", s.Cause, s.PendingRestart)
	case s.Killed && s.Phase == Stopping && !w.killed:
		return fmt.Errorf("believes that KILL is out and it is not")
	}
	if err := w.checkFrozen(s); err != nil {
		return err
	}
	return w.checkDeadline(cfg, old, ev, s, now)
}

func (w *world) checkFrozen(s State) error {
	live := s.Phase == Starting || s.Phase == Running
	switch {
	case live && s.Paused != w.paused:
		return fmt.Errorf("paused is %v, the last wish was %v", s.Paused, w.paused)
	case live && s.Paused != w.frozen:
		return fmt.Errorf("paused is %v and the processes are frozen: %v", s.Paused, w.frozen)
	case s.Phase == Stopping && w.frozen && !w.killed:
		return fmt.Errorf("frozen processes are asked to stop")
	case s.Paused && !live && s.Phase != Spawning:
		return fmt.Errorf("paused while %v", s.Phase)
	}
	return nil
}

// checkDeadline: every phase that waits has a deadline or an answer due, and no
// deadline is left behind.
func (w *world) checkDeadline(cfg *Config, old *State, ev Event, s State, now Time) error {
	wants, may := false, false
	switch s.Phase {
	case Delaying:
		wants, may = true, true
	case Starting:
		may = !s.Paused
		wants = may && (!cfg.ReadyWait || cfg.ReadyTimeout > 0)
	case Stopping:
		may, wants = true, !w.killed
	case Cleaning:
		may = true
	case Failed:
		may = s.Cause == CauseLimit
	}
	switch {
	case wants && s.Deadline == 0:
		return fmt.Errorf("%v and nothing is due", s.Phase)
	case !may && s.Deadline != 0:
		return fmt.Errorf("a deadline is left in phase %v", s.Phase)
	case ev.Kind == EvTick && s.Deadline != 0 && s.Deadline <= now:
		return fmt.Errorf("a tick leaves the deadline in the past: it would tick for ever")
	case s.Deadline != 0 && s.Deadline <= now && s.Deadline != old.Deadline:
		return fmt.Errorf("a deadline is set in the past")
	case s.StopStep != 0 && s.StopStep >= MaxStopSteps:
		return fmt.Errorf("stop step %d", s.StopStep)
	}
	return nil
}
