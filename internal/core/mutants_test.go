package core

import "testing"

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
	"a held service starts when its delay is over": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvTick {
			s.Held = false
		}
	}),
	"a held service is started again at once": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvCleaned {
			s.Held = false
		}
	}),
	"what is held after before_start is started": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvHooked {
			s.Held = false
		}
	}),
	"a hold is forgotten when the service comes to rest": after(func(_ *Config, _ State, _ Event, _ Time, s *State, _ *Actions) {
		if s.AtRest() {
			s.Held = false
		}
	}),
	"a hold that must end the run is not heard while spawning": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvHold && ev.Must && s.Phase == Spawning && s.Held
	}),
	"a hold that must end the run is not heard while a main process is looked for": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvHold && ev.Must && s.Phase == Finding
	}),
	"a hold lifted while stopping is forgotten": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvAllow && s.Phase == Stopping
	}),
	"what waits is not started when the hold is lifted": after(func(_ *Config, old State, ev Event, _ Time, s *State, a *Actions) {
		if ev.Kind == EvAllow && old.Phase == Waiting {
			*s, *a = old, Actions{}
			s.Held = false
		}
	}),
	"a held target counts as reached": after(func(_ *Config, _ State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvStart && s.Phase == Waiting {
			s.Phase, s.Cause = Reached, CauseNone
		}
	}),
	"a condition that does not hold is a failed start": before(func(_ *Config, _ *State, ev *Event) {
		if ev.Kind == EvUnmet {
			ev.Kind = EvSpawnFailed
		}
	}),
	"a run is running before after_start is done": after(func(_ *Config, _ State, _ Event, _ Time, s *State, a *Actions) {
		if s.Phase == Arriving {
			s.Phase = Running
		}
	}),
	"a failed after_start changes nothing": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvHooked && s.Phase == Arriving {
			ev.OK = true
		}
	}),
	"a failed before_start changes nothing": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvHooked && s.Phase == Preparing && s.Wanted && !s.PendingRestart {
			ev.OK = true
		}
	}),
	"a failed before_start is retried without a delay": after(func(cfg *Config, old State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvHooked && old.Void && s.Phase == Delaying && !s.Held {
			m := machine{cfg: cfg, s: s, acts: a, now: now}
			m.spawnAgain()
		}
	}),
	"a stop while before_start runs goes unheard until it is over": after(func(_ *Config, _ State, ev Event, _ Time, s *State, a *Actions) {
		if s.Phase == Preparing {
			*a = drop(*a, ActUnhook)
		}
	}),
	"hooks that were told to end are started again": after(func(_ *Config, old State, ev Event, _ Time, _ *State, a *Actions) {
		if ev.Kind == EvHurry && old.Phase == Closing {
			for i := range a.All() {
				a.List[i].Kind = ActHook
			}
		}
	}),
	"after_stop is left out after a crash": before(func(cfg *Config, s *State, ev *Event) {
		cfg.Hooks[AfterStop] = cfg.Hooks[AfterStop] && !(ev.Kind == EvCleaned && s.End == Crash)
	}),
	"after_stop is left out after a failed start": before(func(cfg *Config, _ *State, ev *Event) {
		cfg.Hooks[AfterStop] = cfg.Hooks[AfterStop] && ev.Kind != EvSpawnFailed
	}),
	"after_stop runs twice": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvHooked && s.Phase == Closing && s.Hook == AfterStop && s.Killed {
			s.Hook, ev.Hook = AfterStart, AfterStart
		}
	}),
	"after_stop does not wait for the clean-up": after(func(cfg *Config, _ State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvExited && s.Phase == Cleaning && cfg.Hooks[AfterStop] && !s.Hooking {
			m := machine{cfg: cfg, s: s, acts: a, now: now}
			m.close()
		}
	}),
	"before_stop runs for a run that was never ready": after(func(cfg *Config, old State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvHealth && s.Phase == Leaving {
			s.Phase = Stopping
		}
	}),
	"before_stop is not asked again of a new engine": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvAdopted && s.Phase == Leaving && ev.Run == s.Run
	}),
	"a stop waits for before_stop however hurried": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvHurry && s.Phase == Leaving
	}),
	"a starter that ended well is an end of the service": before(func(cfg *Config, s *State, ev *Event) {
		if ev.Kind == EvExited && s.Phase == Starting {
			cfg.Forking = false
		}
	}),
	"a starter that failed counts as one that did well": before(func(cfg *Config, s *State, ev *Event) {
		if ev.Kind == EvExited && cfg.Forking && s.Phase == Starting && !s.HasMain && ev.End == Failure {
			ev.End = Success
		}
	}),
	"a main process that is not found is looked for for ever": after(func(_ *Config, _ State, _ Event, _ Time, s *State, _ *Actions) {
		if s.Phase == Finding {
			s.Deadline = 0
		}
	}),
	"a main process that is not found counts as an end with success": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvCleaned && s.Cause == CauseNoMain {
			s.Cause, s.End, s.WasReady = CauseNone, Success, true
		}
	}),
	"a service is ready before its main process is known": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvReady && s.Phase == Starting {
			s.HasMain = true
		}
	}),
	"the search for a main process is lost with the engine": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvLost && s.Phase == Finding
	}),
	"a watchdog bites a frozen run": after(func(_ *Config, old State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvPause {
			s.AliveBy = old.AliveBy
		}
	}),
	"a watchdog never bites": after(func(_ *Config, old State, ev Event, now Time, s *State, a *Actions) {
		if ev.Kind == EvTick && old.Phase == Running {
			*s, *a = old, Actions{}
			s.AliveBy, s.Deadline = now+unit, now+unit
		}
	}),
	"a keep-alive does not put the watchdog off": after(func(_ *Config, old State, ev Event, _ Time, s *State, _ *Actions) {
		if ev.Kind == EvWatchdog && old.AliveBy != 0 {
			s.AliveBy, s.Deadline = old.AliveBy, old.Deadline
		}
	}),
	"a run that did not tell that it is alive lived well": before(func(_ *Config, s *State, ev *Event) {
		if s.Cause == CauseWatchdog && ev.Kind == EvExited {
			s.Cause = CauseOperator
		}
	}),
	"health checks count in the grace": hears(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvHealth {
			s.Until = 0
		}
	}),
	"a success between failed health checks changes nothing": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvHealth && ev.OK && !s.Degraded
	}),
	"a degraded service stays so": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvHealth && ev.OK && s.Degraded
	}),
	"a run that failed its health checks lived well": before(func(_ *Config, s *State, ev *Event) {
		if s.Cause == CauseHealth && (ev.Kind == EvExited || ev.Kind == EvCleaned) {
			s.Cause = CauseOperator
		}
	}),
	"an extension shortens a wait": after(func(_ *Config, _ State, ev Event, now Time, s *State, _ *Actions) {
		if ev.Kind == EvExtend && s.Deadline != 0 {
			s.Deadline, s.StopBy = now+unit, now+unit
		}
	}),
	"a stop is not extended": deaf(func(s *State, ev *Event) bool {
		return ev.Kind == EvExtend && s.Phase == Stopping
	}),
	"a spawn failure after a stop is retried": before(func(_ *Config, s *State, ev *Event) {
		if ev.Kind == EvSpawnFailed {
			s.Wanted = true
		}
	}),
}

// best names the walk that shows a mutant soonest.
var best = map[string]plan{
	"a task that ended unseen runs again":                                          {names: []string{"task retried"}},
	"the stop timeout is never over":                                               {names: []string{"hooks"}},
	"the clean-up never gets to KILL":                                              {names: []string{"hooks"}},
	"a held service starts when its delay is over":                                 {names: []string{"brisk"}, with: holds},
	"a held service is started again at once":                                      {names: []string{"brisk"}, with: holds},
	"what is held after before_start is started":                                   {names: []string{"hooks"}, with: holds | conditions},
	"a hold is forgotten when the service comes to rest":                           {names: []string{"brisk"}, with: holds},
	"a hold that must end the run is not heard while spawning":                     {names: []string{"brisk"}, with: holds},
	"a hold lifted while stopping is forgotten":                                    {names: []string{"brisk"}, with: holds},
	"what waits is not started when the hold is lifted":                            {names: []string{"brisk"}, with: holds},
	"a condition that does not hold is a failed start":                             {names: []string{"brisk"}, with: holds | conditions},
	"a run is running before after_start is done":                                  {names: []string{"hooks"}},
	"a failed after_start changes nothing":                                         {names: []string{"hooks"}},
	"a failed before_start changes nothing":                                        {names: []string{"hooks"}},
	"a failed before_start is retried without a delay":                             {names: []string{"hooks"}},
	"a stop while before_start runs goes unheard until it is over":                 {names: []string{"hooks"}},
	"hooks that were told to end are started again":                                {names: []string{"hooks"}},
	"after_stop is left out after a crash":                                         {names: []string{"hooks"}},
	"after_stop is left out after a failed start":                                  {names: []string{"hooks"}},
	"after_stop runs twice":                                                        {names: []string{"hooks"}},
	"after_stop does not wait for the clean-up":                                    {names: []string{"hooks"}},
	"before_stop is not asked again of a new engine":                               {names: []string{"hooks"}},
	"a stop waits for before_stop however hurried":                                 {names: []string{"hooks"}},
	"a starter that ended well is an end of the service":                           {names: []string{"forking"}},
	"a starter that failed counts as one that did well":                            {names: []string{"forking"}},
	"a main process that is not found is looked for for ever":                      {names: []string{"forking"}},
	"a main process that is not found counts as an end with success":               {names: []string{"forking"}},
	"the search for a main process is lost with the engine":                        {names: []string{"forking"}},
	"a service is ready before its main process is known":                          {names: []string{"forking, tells"}},
	"a watchdog bites a frozen run":                                                {names: []string{"watched"}, with: signs},
	"a watchdog never bites":                                                       {names: []string{"watched"}, with: signs},
	"a keep-alive does not put the watchdog off":                                   {names: []string{"watched"}, with: signs},
	"a run that did not tell that it is alive lived well":                          {names: []string{"watched"}, with: signs},
	"an extension shortens a wait":                                                 {names: []string{"watched"}, with: signs},
	"a stop is not extended":                                                       {names: []string{"watched"}, with: signs},
	"health checks count in the grace":                                             {names: []string{"restarted when ill"}, with: signs},
	"a success between failed health checks changes nothing":                       {names: []string{"restarted when ill"}, with: signs},
	"a run that failed its health checks lived well":                               {names: []string{"restarted when ill"}, with: signs},
	"before_stop runs for a run that was never ready":                              {names: []string{"restarted when ill"}, with: signs},
	"a degraded service stays so":                                                  {names: []string{"degraded when ill"}, with: signs},
	"the limit allows one more":                                                    {names: []string{"limit"}},
	"the limit allows one less":                                                    {names: []string{"limit"}},
	"a stop leaves the timer of a fault":                                           {names: []string{"limit"}},
	"a held target counts as reached":                                              {names: []string{"target", "brisk"}, with: holds},
	"a hold that must end the run is not heard while a main process is looked for": {names: []string{"forking"}, with: holds},
	"crash_grace is not granted":                                                   {names: []string{"crash grace"}},
	"a run that is late to be ready is healthy":                                    {names: []string{"daemon", "crash grace"}},
	"the readiness of a frozen run is timed":                                       {names: []string{"crash grace"}},
	"the first signal is sent again and again":                                     {names: []string{"many signals"}},
}

func TestTheWalkCatchesEveryMutant(t *testing.T) {
	for name, step := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			order := walks
			if p, named := best[name]; named {
				order = []plan{p}
			}
			for _, p := range order {
				if err := newWalk(step, p).run(); err != nil {
					t.Logf("in %s: %v", p, err)
					return
				}
			}
			t.Error("the walk sees nothing wrong with it")
		})
	}
}
