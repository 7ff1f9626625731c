package core

import "fmt"

// judge holds one Step against what Step promises. n is the node before, with
// the event's own effect on the world already in it; next is what Step returned.
// It brings the world up to date with the actions.
func judge(cfg *Config, old *State, n *node, ev Event, next State, acts []Action, now Time) error {
	w := &n.w
	if ev.Kind == EvTick && old.Up() && w.expired(cfg) {
		w.late = true
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
		if old.Phase != Running {
			if cfg.Hooks[AfterStart] && !w.arrived {
				return fmt.Errorf("it is running before its after_start hooks are done")
			}
			if !next.Paused {
				w.arm(cfg)
			}
		}
	}
	if old.Phase == Finding && next.Phase == Cleaning && ev.Kind == EvTick {
		w.findDue, w.late, w.since = false, true, 0
	}
	if next.Phase == Cleaning {
		w.findDue = false
	}
	ended := ev.Kind == EvExited && next.Phase != Finding || ev.Kind == EvLost && (old.Live() || old.Phase == Cleaning) && !ev.Unsure
	if ended && !asked && !cfg.LeaveChildren && !(cfg.KeepLeftovers && old.Phase != Stopping) {
		return fmt.Errorf("a run has ended and nobody is asked to clean up after it")
	}
	if next.Phase == Waiting && old.Phase != Waiting && next.Cause == CauseNeed {
		if err := w.entitled(cfg, old, ev); err != nil {
			return fmt.Errorf("waits to start: %w", err)
		}
		w.ordered = true
	}
	if ev.Kind == EvUnmet && w.wanted && !old.PendingRestart && (next.Phase != Waiting || next.Cause != CauseCondition) {
		return fmt.Errorf("%v (%v) when a condition does not hold", next.Phase, next.Cause)
	}
	switch ev.Kind {
	case EvExited, EvCleaned, EvSpawnFailed, EvHooked:
		if err := w.decided(cfg, ev, next); err != nil {
			return err
		}
	}
	w.stop(old, ev, next)
	return w.check(cfg, old, ev, next, now)
}

// act judges one action and does it.
func (w *world) act(cfg *Config, old *State, ev Event, next State, a Action) error {
	switch {
	case a.Kind == ActSpawn:
		return w.spawn(cfg, old, ev, a)
	case a.Kind == ActHook && a.Hook == BeforeStart && w.hookDue == 0:
		w.hookDue = uint8(BeforeStart) + 1
		return w.begin(cfg, old, ev, a)
	}
	present := uint64(runs)
	if ev.Kind == EvTaken {
		present = ev.Run
	}
	if a.Run != present {
		return fmt.Errorf("%v for run %d, the present one is %d", a.Kind, a.Run, present)
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
		case (old.Phase == Running || old.Phase == Arriving) && !a.Grace && cfg.CrashGrace > 0:
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
	case ActHook, ActUnhook:
		return w.hook(cfg, ev, next, a)
	case ActFindMain:
		if w.alive || w.findDue || next.Phase != Finding || ev.Kind == EvExited && ev.End != Success {
			return fmt.Errorf("a main process is looked for while %v", next.Phase)
		}
		w.findDue = true
		return nil
	case ActAbort:
		if !w.expired(cfg) || next.Phase != Stopping {
			return fmt.Errorf("ABRT for a run that told in time that it is alive")
		}
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

// expired reports whether a watched run has not told in time that it is alive.
func (w *world) expired(cfg *Config) bool { return w.armed && w.quiet >= w.interval(cfg) }

// hook judges ActHook and ActUnhook.
func (w *world) hook(cfg *Config, ev Event, next State, a Action) error {
	due := w.hookDue == uint8(a.Hook)+1
	again := ev.Kind == EvAdopted || ev.Kind == EvLost || ev.Kind == EvExited
	if a.Kind == ActUnhook {
		if !due || w.unhooked && !again {
			return fmt.Errorf("%v is ended and does not run", a.Hook)
		}
		w.unhooked = true
		return nil
	}
	switch {
	case due && again:
		return nil
	case w.hookDue != 0:
		return fmt.Errorf("%v while other hooks are out", a.Hook)
	case a.Hook == AfterStart && (!w.alive || next.Phase != Arriving):
		return fmt.Errorf("after_start while %v", next.Phase)
	case a.Hook == BeforeStop && (!w.alive || next.Phase != Leaving):
		return fmt.Errorf("before_stop on a run that is %v", next.Phase)
	case a.Hook == BeforeStop && w.frozen:
		return fmt.Errorf("before_stop on a frozen run")
	case a.Hook == AfterStop && !w.owes:
		return fmt.Errorf("after_stop runs twice")
	case a.Hook == AfterStop && (w.alive || w.cleanDue || w.spawnDue):
		return fmt.Errorf("after_stop while something of the run lives")
	}
	w.owes = w.owes && a.Hook != AfterStop
	w.hookDue, w.unhooked = uint8(a.Hook)+1, false
	return nil
}

// spawn judges ActSpawn.
func (w *world) spawn(cfg *Config, old *State, ev Event, a Action) error {
	w.spawnDue = true
	if !w.prepared {
		return w.begin(cfg, old, ev, a)
	}
	w.prepared = false
	switch {
	case w.held:
		return fmt.Errorf("start while it is held")
	case !w.wanted || w.stale:
		return fmt.Errorf("start that is not wanted any more")
	case a.Run != runs:
		return fmt.Errorf("start of run %d, %d was prepared", a.Run, runs)
	}
	return nil
}

// begin judges the first action of a start.
func (w *world) begin(cfg *Config, old *State, ev Event, a Action) error {
	hook := a.Kind == ActHook
	switch {
	case w.held:
		return fmt.Errorf("start while it is held")
	case cfg.Target:
		return fmt.Errorf("a target has no program to start")
	case cfg.Hooks[BeforeStart] != hook:
		return fmt.Errorf("start without before_start")
	case w.owes && cfg.Hooks[AfterStop]:
		return fmt.Errorf("start before after_stop of the last run")
	case w.hookDue != 0 && !hook:
		return fmt.Errorf("start while hooks are out")
	case w.alive:
		return fmt.Errorf("start while the main process lives: a second copy")
	case w.findDue:
		return fmt.Errorf("start while the main process is looked for")
	case old.Phase == Spawning && ev.Kind != EvSpawnFailed && ev.Kind != EvUnmet && ev.Kind != EvLost && ev.Kind != EvExited:
		return fmt.Errorf("start while a start is not answered: a second copy")
	case w.cleanDue:
		return fmt.Errorf("start before the last run is cleaned up")
	case a.Run != runs+1:
		return fmt.Errorf("start of run %d, the last number was %d", a.Run, runs)
	case !w.wanted:
		return fmt.Errorf("start of an unwanted service")
	}
	if err := w.entitled(cfg, old, ev); err != nil {
		return err
	}
	*w = world{
		wanted: w.wanted, once: w.once, held: w.held, autos: w.autos, fresh: w.fresh, lastStep: -1,
		owes: true, spawnDue: w.spawnDue, hookDue: w.hookDue,
	}
	return nil
}

// entitled judges whether a start by itself may follow what was before.
func (w *world) entitled(cfg *Config, old *State, ev Event) error {
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
	return followed[cfg.When][end]
}

// followed tells which ends each rule follows with a start.
var followed = [...][ends]bool{
	Always:    {Success: true, Failure: true, Crash: true, Unknown: true},
	Never:     {},
	OnFailure: {Failure: true, Crash: true, Unknown: true},
	OnCrash:   {Crash: true, Unknown: true},
}

// decided judges what follows the end of a run or a failed start, and counts a
// start by itself that is on its way.
func (w *world) decided(cfg *Config, ev Event, next State) error {
	retry := w.failed && !w.final && !w.once && cfg.When != Never
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
	switch next.Phase {
	case Preparing, Spawning, Finding, Starting, Arriving, Running:
	case Stopping:
		w.late = w.late || old.Phase == Starting && ev.Kind == EvTick
		fallthrough
	default:
		w.paused = false
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
	case !s.Wanted && !ending(s.Phase) && s.Phase != Down && !unsure:
		return fmt.Errorf("not wanted and %v", s.Phase)
	case w.alive != s.Live():
		return fmt.Errorf("phase %v and the main process lives: %v", s.Phase, w.alive)
	case w.spawnDue != (s.Phase == Spawning):
		return fmt.Errorf("phase %v and a start is not answered: %v", s.Phase, w.spawnDue)
	case w.cleanDue != (s.Phase == Cleaning):
		return fmt.Errorf("phase %v and a clean-up is not answered: %v", s.Phase, w.cleanDue)
	case w.stale && (s.Up() || s.Phase == Finding):
		return fmt.Errorf("a run that must be replaced is %v", s.Phase)
	case s.Phase == Failed && s.Cause == CauseNone:
		return fmt.Errorf("failed without a cause")
	case cfg.Limit.Count != 0 && uint32(w.fresh) > cfg.Limit.Count && (ev.Kind == EvExited || ev.Kind == EvCleaned || ev.Kind == EvSpawnFailed):
		return fmt.Errorf("%d starts by itself, the limit is %d", w.fresh, cfg.Limit.Count)
	case (s.Phase == Stopping || s.Phase == Leaving) && !s.Wanted && (s.PendingRestart || s.Cause != CauseOperator):
		return fmt.Errorf("not wanted, and stops for %v with pending=%v", s.Cause, s.PendingRestart)
	case s.Killed && s.Phase == Stopping && !w.killed:
		return fmt.Errorf("believes that KILL is out and it is not")
	}
	if err := w.checkFrozen(s); err != nil {
		return err
	}
	if err := w.checkHooks(cfg, old, ev, s); err != nil {
		return err
	}
	if err := w.checkSigns(cfg, old, ev, s); err != nil {
		return err
	}
	return w.checkDeadline(cfg, old, ev, s, now)
}

// ending lists the phases in which an unwanted service is on its way down.
func ending(p Phase) bool {
	switch p {
	case Preparing, Spawning, Leaving, Stopping, Cleaning, Closing:
		return true
	}
	return false
}

// checkHooks judges what waits for hooks, for a main process and for a hold.
func (w *world) checkHooks(cfg *Config, old *State, ev Event, s State) error {
	own, has := BeforeStart, true
	switch s.Phase {
	case Preparing:
	case Arriving:
		own = AfterStart
	case Leaving:
		own = BeforeStop
	default:
		has = false
	}
	over := s.AtRest() || s.Phase == Delaying || s.Phase == Waiting
	switch {
	case s.Hooking != (w.hookDue != 0) || s.Hooking && s.Hook != HookKind(w.hookDue-1):
		return fmt.Errorf("hooks out: %v (%v), really %d", s.Hooking, s.Hook, w.hookDue)
	case s.Hooking && s.Unhooked != w.unhooked:
		return fmt.Errorf("hooks were told to end: %v, really %v", s.Unhooked, w.unhooked)
	case has && (!s.Hooking || s.Hook != own), s.Phase == Closing && !s.Hooking:
		return fmt.Errorf("%v and its hooks are not out", s.Phase)
	case s.Hooking && over:
		return fmt.Errorf("%v while hooks are out", s.Phase)
	case over && w.owes && cfg.Hooks[AfterStop] && s.Cause != CauseUnsure:
		return fmt.Errorf("%v and after_stop was not run", s.Phase)
	case s.Hooking && !s.Unhooked && ev.Kind == EvHurry && s.Phase != Preparing && ending(s.Phase):
		return fmt.Errorf("a stop is hurried and waits for hooks")
	case w.findDue != (s.Phase == Finding):
		return fmt.Errorf("phase %v and a main process is looked for: %v", s.Phase, w.findDue)
	case w.prepared:
		return fmt.Errorf("the start does not go on after before_start")
	case s.Held != w.held:
		return fmt.Errorf("held is %v, the last word was %v", s.Held, w.held)
	case s.Phase == Waiting && !s.Held && s.Cause != CauseCondition:
		return fmt.Errorf("waits and nobody holds it")
	case s.Phase == Reached && (!cfg.Target || s.Held && old.Phase != Reached):
		return fmt.Errorf("reached, held=%v", s.Held)
	case cfg.Forking && !w.main && (s.Phase == Running || s.Phase == Arriving) && old.Phase == Starting && ev.Kind != EvRedefined:
		return fmt.Errorf("%v and its main process is not known", s.Phase)
	}
	return nil
}

// checkSigns judges health, watchdog and the extension of waits.
func (w *world) checkSigns(cfg *Config, old *State, ev Event, s State) error {
	wakes := Time(0)
	if w.armed && s.Up() {
		wakes = max(base+(Time(w.interval(cfg))-Time(w.quiet))*unit, base)
	}
	ill := cfg.HealthFailures > 0 && w.fails >= cfg.HealthFailures
	switch {
	case s.Up() && s.AliveBy != wakes:
		return fmt.Errorf("the watchdog bites at %d, not %d", s.AliveBy, wakes)
	case !s.Up() && (s.AliveBy != 0 || s.Degraded || s.Fails != 0):
		return fmt.Errorf("its health is looked after while %v", s.Phase)
	case s.Phase == Running && cfg.HealthRestart && ill:
		return fmt.Errorf("%d failed health checks end nothing", w.fails)
	case s.Phase == Running && s.Degraded != (ill && !cfg.HealthRestart):
		return fmt.Errorf("degraded is %v after %d failed health checks", s.Degraded, w.fails)
	case old.Phase == Running && s.Phase != Running && ev.Kind == EvHealth && !w.late:
		return fmt.Errorf("%d failed health checks end it", w.fails)
	case ev.Kind != EvExtend || s.Phase != old.Phase:
	case old.Deadline != 0 && s.Deadline < old.Deadline, s.StopBy < old.StopBy:
		return fmt.Errorf("an extension shortens")
	case s.Phase == Stopping && !s.Killed && s.StopBy < base+Time(ev.For):
		return fmt.Errorf("a stop is not extended")
	case s.Phase == Starting && old.Until != 0 && cfg.ReadyWait && s.Until < base+Time(ev.For):
		return fmt.Errorf("a wait for readiness is not extended")
	case s.Phase == Starting && old.Until == 0 && s.Until != 0:
		return fmt.Errorf("an extension makes a wait end that did not")
	}
	return nil
}

func (w *world) checkFrozen(s State) error {
	live := s.Up()
	switch {
	case live && s.Paused != w.paused:
		return fmt.Errorf("paused is %v, the last wish was %v", s.Paused, w.paused)
	case live && s.Paused != w.frozen:
		return fmt.Errorf("paused is %v and the processes are frozen: %v", s.Paused, w.frozen)
	case (s.Phase == Stopping || s.Phase == Leaving) && w.frozen && !w.killed:
		return fmt.Errorf("frozen processes are asked to stop")
	case s.Paused && !live && s.Phase != Spawning && s.Phase != Preparing && s.Phase != Finding:
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
		wants = may && (!cfg.ReadyWait && (!cfg.Forking || w.main) || cfg.ReadyTimeout > 0)
	case Arriving, Running:
		may = w.armed
		wants = w.armed
	case Finding:
		wants, may = true, true
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
