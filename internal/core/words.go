package core

// StateName is the word that the command line, the API and files use for s. The
// word "disabled" and what a stopped service waits for are the caller's.
func StateName(cfg *Config, s State) string {
	switch s.Phase {
	case Delaying, Waiting:
		return "waiting"
	case Preparing, Spawning, Finding, Starting, Arriving:
		return "starting"
	case Running:
		if s.Degraded {
			return "degraded"
		}
		return "running"
	case Reached:
		return "running"
	case Leaving, Stopping, Cleaning, Closing:
		return "stopping"
	case Finished:
		return "finished"
	case Failed:
		return "failed"
	}
	return "stopped"
}

// Reason says in fixed words why ev led from old to s, without names, numbers
// and times: those are the caller's to add. It is empty if nothing changed that
// an operator would ask about.
func Reason(old State, ev Event, s State) string {
	switch {
	case old.Phase == s.Phase && (old.Run == s.Run || s.AtRest()):
		return within(old, ev, s)
	case s.Phase == Spawning && old.Phase == Preparing:
		return "its before_start commands are done"
	case s.Phase == Spawning, s.Phase == Preparing, s.Phase == Reached:
		return whySpawn(old, ev)
	case s.Phase == Leaving, s.Phase == Stopping:
		return whyStop(old, ev, s)
	case s.Phase == Cleaning:
		return whyClean(old, ev, s)
	case s.Phase == Closing:
		return whyClose(old, s)
	}
	switch s.Phase {
	case Down:
		switch {
		case ev.Kind == EvReleased:
			return "it was released and goes on without us"
		case ev.Kind == EvUnmet:
			return "it was stopped before it had started"
		case old.Live() || old.Phase == Cleaning || old.Phase == Closing || old.Phase == Spawning:
			return "it was stopped"
		}
		return "it is not wanted any more"
	case Waiting:
		if s.Cause == CauseCondition {
			return "a condition of its start does not hold"
		}
		return "it waits for what it needs"
	case Finding:
		return "its starter ended well and its main process is looked for"
	case Arriving:
		return "it is ready and its after_start commands run"
	case Starting:
		if old.Phase == Finding {
			return "its main process is known and not ready yet"
		}
		return "its program runs and is not ready yet"
	case Running:
		switch {
		case ev.Kind == EvTaken:
			return "a process that ran already was adopted"
		case ev.Kind == EvAdopted:
			return "its program was found running"
		case ev.Kind == EvHooked:
			return "its after_start commands are done"
		case ev.Kind == EvMain:
			return "its main process is known"
		case ev.Kind == EvReady:
			return "its program says it is ready"
		case ev.Kind == EvTick:
			return "its program has run long enough to count as ready"
		}
		return "its program runs"
	case Delaying:
		switch s.Cause {
		case CauseSpawn:
			return "it could not be started and is tried again after a delay"
		case CauseHook:
			return "before_start failed and it is tried again after a delay"
		case CauseBackoff:
			return "it keeps ending and is started again after a delay"
		}
		return "it is started again after restart.delay"
	case Finished:
		return "its program ended with success"
	case Failed:
		return s.Cause.Fault()
	}
	return ""
}

// within is Reason for an event that changed neither phase nor run.
func within(old State, ev Event, s State) string {
	switch {
	case s.Paused && !old.Paused:
		return "it is paused"
	case old.Paused && !s.Paused:
		return "it goes on"
	case s.Killed && !old.Killed && ev.Kind == EvHurry:
		return "its stop was hurried: KILL is sent"
	case s.Killed && !old.Killed:
		return "it did not end in time: KILL is sent"
	case s.StopStep > old.StopStep:
		return "it did not end in time: the next stop signal is sent"
	case s.Degraded && !old.Degraded:
		return "its health checks fail"
	case old.Degraded && !s.Degraded:
		return "its health checks succeed again"
	case s.PendingRestart && !old.PendingRestart && s.Cause == CauseNeed:
		return "it will be ended, since what it needs is gone"
	case s.PendingRestart && !old.PendingRestart:
		return "it will be started again as soon as this run has ended"
	case old.Wanted && !s.Wanted:
		return "it is not wanted any more"
	case s.Wanted && !old.Wanted:
		return "it is wanted again"
	}
	return ""
}

func whySpawn(old State, ev Event) string {
	switch ev.Kind {
	case EvStart, EvStartOnce, EvRestart, EvClear:
		return "it was asked to start"
	case EvNeed:
		return "boot or another service needs it"
	case EvAllow:
		return "what it needs is there"
	case EvRecheck:
		return "the conditions of its start are looked at again"
	case EvRedefined:
		return "its definition changed"
	case EvLost:
		if old.Phase == Spawning {
			return "the last start was not carried out"
		}
	case EvTick:
		if old.Phase == Failed {
			return "restart.limit.retry_after is over"
		}
		return "its delay is over"
	}
	switch {
	case old.Void && old.Cause == CauseNone:
		return "the last start was not carried out"
	case old.PendingRestart && old.Cause == CauseNeed:
		return "what it needs is there"
	case old.PendingRestart && old.Cause == CauseRedefined:
		return "its definition changed"
	case old.PendingRestart:
		return "it was asked to start again"
	}
	return "restart.when asks for it"
}

func whyStop(old State, ev Event, s State) string {
	switch {
	case old.Phase == Leaving && ev.Kind == EvHooked:
		return "its before_stop commands are done"
	case old.Phase == Leaving:
		return "its stop was hurried: KILL is sent"
	case s.Cause == CauseNeed:
		return "what it needs is gone"
	case s.Cause == CauseHook:
		return "after_start failed"
	case s.Cause == CauseHealth:
		return "its health checks failed"
	case s.Cause == CauseWatchdog:
		return "it did not tell in time that it is alive: ABRT is sent"
	case s.Cause == CauseRedefined:
		return "its definition changed"
	case s.Cause == CauseReady:
		return "it was not ready in time"
	case s.PendingRestart:
		return "it was asked to start again"
	case ev.Kind == EvSpawned || ev.Kind == EvAdopted:
		return "it was stopped before it had started"
	}
	return "it is not wanted any more"
}

func whyClean(old State, ev Event, s State) string {
	switch {
	case ev.Kind == EvLost:
		return "nobody saw how its program ended"
	case old.Phase == Finding && s.Cause == CauseNoMain:
		return "its main process was not found"
	case old.Phase == Finding && s.Cause == CauseNeed:
		return "what it needs is gone"
	case old.Phase == Finding && s.Cause == CauseRedefined:
		return "its definition changed"
	case old.Phase == Finding && s.PendingRestart:
		return "it was asked to start again"
	case old.Phase == Finding:
		return "it is not wanted any more"
	}
	return "its program " + s.End.String()
}

func whyClose(old, s State) string {
	switch {
	case s.Void && s.Cause == CauseHook:
		return "before_start failed"
	case s.Void && s.Cause == CauseSpawn:
		return "it could not be started"
	case s.Void:
		return "its start was given up"
	case old.Phase == Cleaning:
		return "nothing of its run is left but its commands"
	}
	return "its program " + s.End.String()
}

// Fault says what a Failed service with this cause has met.
func (c Cause) Fault() string {
	switch c {
	case CauseLimit:
		return "restart.limit was reached"
	case CauseGiveUpCode:
		return "its program ended with one of restart.give_up_codes"
	case CauseSpawn:
		return "it cannot be started"
	case CauseTask:
		return "the task failed, or its end could not be seen"
	case CauseEnded:
		return "its program failed and restart.when does not start it again"
	case CauseReady:
		return "it was not ready in time and restart.when does not start it again"
	case CauseHook:
		return "before_start or after_start failed and restart.when does not start it again"
	case CauseHealth:
		return "its health checks failed and restart.when does not start it again"
	case CauseWatchdog:
		return "it did not tell in time that it is alive and restart.when does not start it again"
	case CauseNoMain:
		return "its main process was not found and restart.when does not start it again"
	case CauseNeed:
		return "what it needs is not there"
	case CauseCondition:
		return "a condition of its start does not hold"
	case CauseUnsure:
		return "whether an older run still lives cannot be told, and a second copy must not be"
	}
	return c.String()
}

var phaseWords = [...]string{
	"down", "delaying", "spawning", "starting", "running", "stopping", "cleaning", "finished", "failed",
	"waiting", "preparing", "arriving", "leaving", "closing", "reached", "finding",
}

// String is the phase in one lower-case word.
func (p Phase) String() string { return word(phaseWords[:], uint8(p)) }

var causeWords = [...]string{
	"none", "backoff", "restart-wait", "limit", "give-up-code", "spawn", "task", "ended",
	"operator", "ready", "redefined", "unsure", "need", "condition", "hook", "health", "watchdog", "no-main",
}

// String is the cause as a short stable word.
func (c Cause) String() string { return word(causeWords[:], uint8(c)) }

var endWords = [...]string{"runs", "succeeded", "failed", "crashed", "gave up", "ended unseen"}

// String is the end as a verb in the past.
func (e End) String() string { return word(endWords[:], uint8(e)) }

var eventWords = [...]string{
	"none", "start", "start-once", "stop", "restart", "clear", "pause", "resume",
	"spawned", "spawn-failed", "ready", "exited", "cleaned", "redefined", "adopted", "tick",
	"need", "hurry", "lost", "taken", "released",
	"hold", "allow", "hooked", "unmet", "recheck", "health", "watchdog", "extend", "main", "used",
}

// String is the kind as a short stable word.
func (k EventKind) String() string { return word(eventWords[:], uint8(k)) }

var actionWords = [...]string{"none", "spawn", "signal", "kill", "clean", "freeze", "thaw", "hook", "unhook", "find-main", "abort"}

// String is the kind in one lower-case word.
func (k ActionKind) String() string { return word(actionWords[:], uint8(k)) }

var hookWords = [...]string{"before_start", "after_start", "before_stop", "after_stop"}

// String is the kind as a definition writes it.
func (h HookKind) String() string { return word(hookWords[:], uint8(h)) }

var whenWords = [...]string{"always", "never", "on-failure", "on-crash"}

// String is the rule as a definition writes it.
func (w When) String() string { return word(whenWords[:], uint8(w)) }

func word(words []string, i uint8) string {
	if int(i) < len(words) {
		return words[i]
	}
	return "unknown"
}
