// Package core decides what happens to one service: Step takes what is (State),
// what happened (Event) and the time, and says what is next (State) and what
// must be done (Actions). It is pure: no os, no clock, no goroutine, no
// allocation. An action is data and is always answered by an event.
package core

// Time is nanoseconds on a clock that runs through suspend and is never set
// (CLOCK_BOOTTIME). 0 means "none".
type Time int64

// Phase is what a service is doing.
type Phase uint8

// The phases. Every phase but Down, Running, Finished and Failed has a deadline
// or waits for the answer to an action.
const (
	Down     Phase = iota // no process, nothing due
	Delaying              // wanted; the next start waits for Deadline
	Spawning              // ActSpawn is out; answered by Spawned or SpawnFailed
	Starting              // the process lives and is not ready yet
	Running               // ready
	Stopping              // a stop sequence is under way, the main process lives
	Cleaning              // the main process has ended, the rest is being ended; answered by Cleaned
	Finished              // a task that succeeded
	Failed                // gave up, or refused; Cause says why
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
)

// EventKind names what happened.
type EventKind uint8

// The events. Those about a process carry Run; news of an old run changes
// nothing.
const (
	EvNone      EventKind = iota
	EvStart               // someone wants it up: operator, boot, trigger
	EvStartOnce           // up, without restart afterwards
	EvStop                // not wanted any more
	EvRestart             // stop if it lives, then start at once
	EvClear               // forget fault and back-off; a wanted service starts
	EvPause               // the processes are to be frozen
	EvResume
	EvSpawned     // Run, answer to ActSpawn
	EvSpawnFailed // Run; Permanent if trying again cannot help before the definition changes
	EvReady       // Run
	EvExited      // Run, End
	EvCleaned     // Run: nothing of the run is left (or it is named a stray)
	EvRedefined   // the configuration passed to Step is a new one; Must: the run must be replaced
	EvAdopted     // Run, End unset: a new engine found this run alive; Ready as the record says
	EvTick        // look at the time
)

// Event is one thing that happened to one service.
type Event struct {
	Kind      EventKind
	Run       uint64
	End       End
	Permanent bool   // EvSpawnFailed
	Must      bool   // EvRedefined
	Ready     bool   // EvAdopted
	At        Time   // EvAdopted: when the run began
	Rand      uint32 // a random number for the jitter of a delay that this event may begin
}

// ActionKind names what must be done.
type ActionKind uint8

// The actions. ActSignal sends stop step Step of the configuration; ActKill ends
// everything of the run with KILL; ActClean ends what is left of a run whose main
// process is gone: with TERM and CONT first when Grace is set, else KILL at once.
const (
	ActNone   ActionKind = iota
	ActSpawn             // Run
	ActSignal            // Run, Step
	ActKill              // Run
	ActClean             // Run, Grace
	ActFreeze            // Run
	ActThaw              // Run
)

// Action is one thing to do.
type Action struct {
	Kind  ActionKind
	Run   uint64
	Step  uint8
	Grace bool
}
