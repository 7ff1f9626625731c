package core

import "time"

// Time is nanoseconds on a clock that runs through suspend and is never set
// (CLOCK_BOOTTIME). 0 means "none".
type Time int64

// Phase is what a service is doing.
type Phase uint8

// The phases. Every phase but Down, Running, Finished, Failed, Waiting and Reached
// has a deadline or waits for the answer to an action.
const (
	Down      Phase = iota // no process, nothing due
	Delaying               // wanted; the next start waits for Deadline
	Spawning               // ActSpawn is out; answered by Spawned or SpawnFailed
	Starting               // the process lives and is not ready yet
	Running                // ready
	Stopping               // a stop sequence is under way, the main process lives
	Cleaning               // the main process has ended, the rest is being ended; answered by Cleaned
	Finished               // it ended with success and is not to be started again: a task, a run once, restart.when
	Failed                 // gave up, or refused; Cause says why
	Waiting                // wanted, and held by the caller or by a condition; it starts when that is over
	Preparing              // the before_start hooks run; answered by Hooked
	Arriving               // ready, and the after_start hooks run; answered by Hooked
	Leaving                // the before_stop hooks run, the main process lives and has no signal yet; answered by Hooked
	Closing                // nothing of the run lives, its hooks still do: after_stop, or one that is being ended
	Reached                // a target that is up
	Finding                // forking: the starter has ended well, ActFindMain is out; answered by Main

	phases
)

// Cause says why a service is in Failed or Delaying, or why a run is stopped.
type Cause uint8

// The causes.
const (
	CauseNone        Cause = iota
	CauseBackoff           // it keeps dying: capped, jittered delay
	CauseRestartWait       // restart.delay
	CauseLimit             // the give-up limit was reached
	CauseGiveUpCode        // it ended with one of give_up_codes
	CauseSpawn             // it could not be started
	CauseTask              // a task failed, or its end could not be seen
	CauseEnded             // restart.when does not restart this end and it was a failure
	CauseOperator          // an operator's wish
	CauseReady             // it was not ready in time
	CauseRedefined         // its definition changed
	CauseUnsure            // whether an older run still lives cannot be told: starting would risk a second copy
	CauseNeed              // held: what it needs is not there
	CauseCondition         // a condition does not hold
	CauseHook              // before_start or after_start failed
	CauseHealth            // too many health checks in a row failed
	CauseWatchdog          // it did not tell in time that it is alive
	CauseNoMain            // forking: its main process was not found

	causes
)

// HookKind is a moment in the life of a run at which commands may run.
type HookKind uint8

// The kinds of hooks.
const (
	BeforeStart HookKind = iota
	AfterStart
	BeforeStop
	AfterStop

	HookKinds
)

// End classifies how a run ended; the engine maps wait status and success_codes
// to it.
type End uint8

// Success covers success_codes, and an end by the signal that abide itself sent
// while stopping. Unknown: nobody saw the status.
const (
	EndNone End = iota
	Success
	Failure // exit code that is not a success
	Crash   // a signal that abide did not send
	GiveUp  // one of give_up_codes
	Unknown

	ends
)

// EventKind names what happened.
type EventKind uint8

// The events. Those about a process carry Run; news of an old run changes
// nothing.
const (
	EvNone      EventKind = iota
	EvStart               // up now, whatever stands against it: lifts a fault, ends a back-off, runs a finished task again
	EvStartOnce           // as EvStart, without restart afterwards
	EvStop                // not wanted any more
	EvRestart             // stop if it lives, then start at once
	EvClear               // forget fault and back-off; a wanted service starts
	EvPause               // the processes are to be frozen; ends with the run
	EvResume
	EvSpawned     // Run, answer to ActSpawn; At
	EvSpawnFailed // Run; Permanent if trying again cannot help before the definition changes; Unsure
	EvReady       // Run
	EvExited      // Run, End; At
	EvCleaned     // Run: nothing of the run is left (or it is named a stray)
	EvRedefined   // the configuration passed to Step is a new one; Must: what a start does has changed, a run must be replaced
	EvAdopted     // Run, End unset: a new engine found this run alive; Ready as the record says; At
	EvTick        // look at the time
	EvNeed        // boot or another service wants it up: as EvStart for what is not wanted yet, nothing else
	EvHurry       // a stop or a clean-up under way skips its waits: KILL now
	EvLost        // Run, the highest number ever given out: a new engine found no run alive and no end unreported; Unsure
	EvTaken       // Run, above all before: a process that nobody spawned is the run from now on; At
	EvReleased    // Run: its process goes on without us
	EvHold        // no start from now on; Must: a run that lives or is in the making is ended, too, and the next one waits
	EvAllow       // lifts EvHold
	EvHooked      // Run, Hook, OK: answer to ActHook, all hooks of the kind are over
	EvUnmet       // Run: a condition does not hold; answer to the first action of a start
	EvRecheck     // what waits for a condition tries again
	EvHealth      // Run, OK: a health check is over
	EvWatchdog    // Run: it is alive; For, if above 0, is how often it tells that from now on
	EvExtend      // Run, For: the wait under way for readiness or for the end lasts at least that long from now
	EvMain        // Run, OK: the main process of a forking run is known, or cannot be found
	EvUsed        // Run: all numbers up to this one were given out, by a roll that came to nothing

	eventKinds
)

// Event is one thing that happened to one service.
type Event struct {
	Kind      EventKind
	End       End
	Permanent bool // EvSpawnFailed: nothing but a new definition can help
	Unsure    bool // EvSpawnFailed, EvLost: whether an older run lives cannot be told
	Must      bool // EvRedefined
	Ready     bool // EvAdopted
	OK        bool // EvHooked, EvHealth, EvMain; EvAdopted of a forking run that the State does not know: its main process is known
	Hook      HookKind
	Rand      uint32 // a random number for the jitter of a delay that this event may begin
	Run       uint64
	For       time.Duration
	At        Time // EvAdopted, EvSpawned, EvTaken: when the run began; EvExited: when it ended. 0 means now
}

// ActionKind names what must be done.
type ActionKind uint8

// The actions. ActSignal sends stop step Step of the configuration; ActKill ends
// everything of the run with KILL; ActClean ends what is left of a run whose main
// process is gone: with TERM and CONT first when Grace is set, else KILL at once.
//
// ActSpawn is answered by EvSpawned or EvSpawnFailed, ActClean (with or without
// a later ActKill) by EvCleaned, and ActKill on a living run by EvExited. Those
// that need no answer are signals, which meet their deadline if they change
// nothing, and freezing, which is repeated when a run is adopted.
//
// ActHook runs the hooks of a kind, one after the other, and bounds their time. It
// is answered once by EvHooked. A second ActHook for the same hooks of a run asks
// for the same answer, not for a second run of them: it comes when the caller may
// be a new one. ActUnhook ends them now; they are answered all the same, also if
// the caller has no memory of ActHook.
const (
	ActNone     ActionKind = iota
	ActSpawn               // Run
	ActSignal              // Run, Step
	ActKill                // Run, Main
	ActClean               // Run, Grace
	ActFreeze              // Run
	ActThaw                // Run
	ActHook                // Run, Hook
	ActUnhook              // Run, Hook
	ActFindMain            // Run; answered by EvMain
	ActAbort               // Run: ABRT to the main process

	actionKinds
)

// Action is one thing to do.
type Action struct {
	Run   uint64
	Kind  ActionKind
	Step  uint8
	Hook  HookKind
	Grace bool
	Main  bool // ActKill: the main process alone, its children are left
}

// MaxActions bounds what one event can ask for.
const MaxActions = 4

// Actions is what one Step asks for, to be done in order.
type Actions struct {
	List [MaxActions]Action
	N    int
}

// All returns the actions in order. The slice shares a's memory.
func (a *Actions) All() []Action { return a.List[:a.N] }

func (a *Actions) add(act Action) {
	a.List[a.N] = act
	a.N++
}
