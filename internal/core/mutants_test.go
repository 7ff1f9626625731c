package core

import (
	"slices"
	"strings"
	"testing"
)

// drop removes the actions of one kind.
func drop(a Actions, kind ActionKind) Actions {
	var left Actions
	for _, act := range a.All() {
		if act.Kind != kind {
			left.add(act)
		}
	}
	return left
}

// after makes a mutant that spoils what Step returned, where it did anything.
func after(spoil func(cfg *Config, old State, ev Event, now Time, s *State, a *Actions)) stepFunc {
	return func(cfg *Config, old State, ev Event, now Time) (State, Actions) {
		s, a := Step(cfg, old, ev, now)
		if s != old || a.N != 0 {
			spoil(cfg, old, ev, now, &s, &a)
		}
		return s, a
	}
}

// before makes a mutant that gives Step something else to see, where Step would
// do anything.
func before(spoil func(cfg *Config, s *State, ev *Event)) stepFunc {
	spoiled := hears(spoil)
	return func(cfg *Config, s State, ev Event, now Time) (State, Actions) {
		if next, a := Step(cfg, s, ev, now); next == s && a.N == 0 {
			return next, a
		}
		return spoiled(cfg, s, ev, now)
	}
}

// hears is before also for what should mean nothing.
func hears(spoil func(cfg *Config, s *State, ev *Event)) stepFunc {
	return func(cfg *Config, s State, ev Event, now Time) (State, Actions) {
		c := *cfg
		spoil(&c, &s, &ev)
		return Step(&c, s, ev, now)
	}
}

// deaf makes a mutant to which an event means nothing.
func deaf(to func(s *State, ev *Event) bool) stepFunc {
	return before(func(_ *Config, s *State, ev *Event) {
		if to(s, ev) {
			*ev = Event{}
		}
	})
}

// mutants are wrong versions of Step. Each has a defect of a kind that real
// supervisors had.
var mutants = map[string]stepFunc{
	"a failed start leaves no timer": after(func(_ *Config, _ State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvSpawnFailed && s.Phase == Delaying {
			s.Deadline = 0
		}
	}),
	"a stop while spawning is lost": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvStop && s.Phase == Spawning
	}),
	"a stop while spawning is not carried out": after(func(_ *Config, old State, ev Event, _ Time, s *State, a *Actions) {
		if ev.Kind == EvSpawned && !old.Wanted {
			s.Phase, s.Deadline, s.StopBy, *a = Running, 0, 0, Actions{}
		}
	}),
	"a start while stopping is forgotten": after(func(_ *Config, old State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvStart && old.Phase == Stopping && !old.PendingRestart {
			s.Wanted, s.PendingRestart = old.Wanted, false
		}
	}),
	"a start while cleaning up meets the old verdict": after(func(_ *Config, old State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvStart && old.Phase == Cleaning {
			s.PendingRestart = false
		}
	}),
	"news of an old run is believed": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvExited {
			ev.Run = s.Run
		}
	}),
	"an end told twice is believed": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvExited && s.Phase == Cleaning && ev.Run == s.Run {
			s.Phase = Running
		}
	}),
	"run numbers are used again": after(func(_ *Config, old State, _ Event, _ Time, s *State, a *Actions) {
		for i := range a.All() {
			if a.List[i].Kind == ActSpawn {
				a.List[i].Run, s.Run = old.Run, old.Run
			}
		}
	}),
	"the next run does not wait for the clean-up": after(func(cfg *Config, _ State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvExited && s.Phase == Cleaning && s.PendingRestart {
			m := machine{cfg: cfg, s: s, acts: a, now: now}
			m.spawn()
		}
	}),
	"a crash is not cleaned up": after(func(cfg *Config, old State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvExited && s.Phase == Cleaning && old.Phase == Running {
			*a = Actions{}
			m := machine{cfg: cfg, s: s, acts: a, now: now}
			m.settle()
		}
	}),
	"crash_grace is not granted": after(func(_ *Config, old State, ev Event, _ Time, s *State, a *Actions) {
		if ev.Kind == EvExited && old.Phase != Stopping && a.N == 1 && a.List[0].Kind == ActClean {
			a.List[0].Grace, s.Deadline = false, 0
		}
	}),
	"the rest gets no TERM after a stop": after(func(_ *Config, old State, ev Event, _ Time, s *State, a *Actions) {
		if ev.Kind == EvExited && old.Phase == Stopping && a.N == 1 && a.List[0].Kind == ActClean {
			a.List[0].Grace, s.Deadline = false, 0
		}
	}),
	"KILL never follows": after(func(_ *Config, old State, ev Event, _ Time, s *State, a *Actions) {
		if ev.Kind == EvTick && old.Phase == Stopping && s.Killed {
			*a = drop(*a, ActKill)
		}
	}),
	"the stop timeout is never over": after(func(_ *Config, old State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvTick && old.Phase == Stopping && s.Killed {
			*s, *a = old, Actions{}
			s.Deadline, s.StopBy = now+unit, now+unit
		}
	}),
	"the clean-up never gets to KILL": after(func(_ *Config, old State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvTick && old.Phase == Cleaning && s.Killed {
			*s, *a = old, Actions{}
			s.Deadline = now + unit
		}
	}),
	"KILL comes first": after(func(_ *Config, _ State, _ Event, _ Time, _ *State, a *Actions) {
		for i := range a.All() {
			if a.List[i].Kind == ActSignal {
				a.List[i].Kind = ActKill
			}
		}
	}),
	"the first signal is sent again and again": after(func(_ *Config, _ State, _ Event, _ Time, _ *State, a *Actions) {
		for i := range a.All() {
			a.List[i].Step = 0
		}
	}),
	"a run that is late to be ready is healthy": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvCleaned && s.Cause == CauseReady {
			s.Cause, s.WasReady, s.Began = CauseNone, true, s.Ended-10*unit
		}
	}),
	"every run is healthy": before(func(cfg *Config, _ *State, _ *Event) { cfg.Backoff.Healthy = 0 }),
	"no run is healthy":    before(func(cfg *Config, _ *State, _ *Event) { cfg.Backoff.Healthy = 100 * ms }),
	"a paused service is asked to stop and sleeps on": after(func(_ *Config, _ State, ev Event, _ Time, _ *State, a *Actions) {
		if ev.Kind == EvStop {
			*a = drop(*a, ActThaw)
		}
	}),
	"a pause while spawning is lost": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvSpawned {
			s.Paused = false
		}
	}),
	"the readiness of a frozen run is timed": after(func(cfg *Config, old State, ev Event, now Time, s *State, _ *Actions) {
		if ev.Kind == EvPause && s.Phase == Starting {
			s.Deadline = old.Deadline
		}
	}),
	"a task that ended unseen runs again": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvCleaned && s.End == Unknown {
			s.End = Failure
		}
	}),
	"an end that was not seen counts as success": before(func(_ *Config, _ *State, ev *Event) {
		if ev.Kind == EvExited && ev.End == Unknown {
			ev.End = Success
		}
	}),
	"give_up_codes are ignored": before(func(_ *Config, _ *State, ev *Event) {
		if ev.End == GiveUp {
			ev.End = Failure
		}
	}),
	"once is forgotten": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvCleaned {
			s.Once = false
		}
	}),
	"the limit allows one more": before(func(cfg *Config, _ *State, _ *Event) {
		if cfg.Limit.Count != 0 {
			cfg.Limit.Count++
		}
	}),
	"the limit allows one less": before(func(cfg *Config, _ *State, _ *Event) {
		if cfg.Limit.Count > 1 {
			cfg.Limit.Count--
		}
	}),
	"a stop leaves the timer of a fault": after(func(_ *Config, old State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvStop && old.Phase == Failed {
			s.Deadline = old.Deadline
		}
	}),
	"a fault outlives a new definition": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvRedefined && s.Phase == Cleaning && s.End == GiveUp
	}),
	"a definition changed while spawning is not applied": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvRedefined && s.Phase == Spawning
	}),
	"a restart while spawning is lost": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvRestart && s.Phase == Spawning && s.Wanted && !s.Once
	}),
	"a change of the rules restarts": before(func(_ *Config, _ *State, ev *Event) {
		if ev.Kind == EvRedefined {
			ev.Must = true
		}
	}),
	"a finished task runs again when it is needed": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvNeed && s.Phase == Finished {
			ev.Kind = EvStart
		}
	}),
	"a need lifts a fault": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvNeed && s.Phase == Failed {
			ev.Kind = EvStart
		}
	}),
	"a need ends a back-off": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvNeed && s.Phase == Delaying {
			ev.Kind = EvStart
		}
	}),
	"a KILL lost with the engine is not sent again": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvAdopted && s.Killed
	}),
	"a freeze lost with the engine is not done again": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvAdopted && s.Phase == Running && s.Paused
	}),
	"a clean-up lost with the engine is not asked again": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvLost && s.Phase == Cleaning
	}),
	"a start lost with the engine is not asked again": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvLost && s.Phase == Spawning
	}),
	"a run found alive is started once more": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvAdopted && s.Phase == Spawning {
			ev.Kind = EvLost
		}
	}),
	"doubt is taken for an end": before(func(_ *Config, _ *State, ev *Event) { ev.Unsure = false }),
	"a tick leaves its deadline": after(func(_ *Config, old State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvTick && old.Phase == Cleaning && s.Killed {
			s.Deadline = old.Deadline
		}
	}),
	"a tick before its time counts": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvTick && s.Deadline != 0 {
			s.Deadline = 1
		}
	}),
	"a late tick starts twice": func(cfg *Config, s State, ev Event, now Time) (State, Actions) {
		next, a := Step(cfg, s, ev, now)
		if ev.Kind == EvTick && s.Phase == Spawning {
			a.add(Action{Kind: ActSpawn, Run: s.Run})
		}
		return next, a
	},
	"a process is taken in beside one that lives": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvTaken && s.Phase == Running {
			s.Phase = Down
		}
	}),
	"what was released is still wanted": after(func(_ *Config, _ State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvReleased {
			s.Wanted = true
		}
	}),
	"a spawn failure after a stop is retried": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvSpawnFailed {
			s.Wanted = true
		}
	}),
}

// best names the walk to begin with for mutants that show nowhere else.
var best = map[string][][]string{
	"the limit allows one more":                 {{"limit"}},
	"the limit allows one less":                 {{"limit"}},
	"a stop leaves the timer of a fault":        {{"limit"}},
	"crash_grace is not granted":                {{"crash grace"}},
	"a run that is late to be ready is healthy": {{"crash grace"}},
	"the readiness of a frozen run is timed":    {{"crash grace"}},
	"the first signal is sent again and again":  {{"many signals"}},
}

func TestTheWalkCatchesEveryMutant(t *testing.T) {
	for name, step := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, names := range slices.Concat(best[name], walks) {
				if err := newWalk(step, names).run(); err != nil {
					t.Logf("in %s: %v", strings.Join(names, " and "), err)
					return
				}
			}
			t.Error("the walk sees nothing wrong with it")
		})
	}
}
