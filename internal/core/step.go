package core

import (
	"math"
	"time"
)

// Step takes one event and returns what is next and what must be done. now must
// be above 0 and never fall. An event that means nothing in this state, such as
// news of an old run, returns s and no action.
func Step(cfg *Config, s State, ev Event, now Time) (next State, acts Actions) {
	next = s
	m := machine{cfg: cfg, s: &next, acts: &acts, now: now, rand: ev.Rand}
	if ev.Kind == EvTick {
		if next.Deadline != 0 && next.Deadline <= now {
			m.deadline()
		}
		return next, acts
	}
	m.event(&ev)
	return next, acts
}

// machine is one Step at work. Its methods are the only code that changes a
// State.
type machine struct {
	cfg  *Config
	s    *State
	acts *Actions
	now  Time
	rand uint32
}

func (m *machine) event(ev *Event) {
	s := m.s
	switch ev.Kind {
	case EvStart:
		m.start(false)
	case EvStartOnce:
		m.start(true)
	case EvNeed:
		m.need()
	case EvStop:
		m.stop()
	case EvRestart:
		m.restart()
	case EvClear:
		m.clear()
	case EvHurry:
		m.hurry()
	case EvPause:
		m.pause()
	case EvResume:
		m.resume()
	case EvRedefined:
		m.redefined(ev.Must)
	case EvAdopted:
		m.adopted(ev)
	case EvLost:
		m.lost(ev)
	case EvTaken:
		m.taken(ev)
	case EvReleased:
		if ev.Run == s.Run {
			m.released()
		}
	case EvSpawned:
		if s.Phase == Spawning && ev.Run == s.Run {
			m.spawned(m.moment(ev.At))
		}
	case EvSpawnFailed:
		if s.Phase == Spawning && ev.Run == s.Run {
			m.spawnFailed(ev)
		}
	case EvReady:
		if s.Phase == Starting && ev.Run == s.Run {
			m.ready()
		}
	case EvExited:
		if (s.Live() || s.Phase == Spawning) && ev.Run == s.Run {
			m.exited(ev.End, m.moment(ev.At))
		}
	case EvCleaned:
		if s.Phase == Cleaning && ev.Run == s.Run {
			m.settle()
		}
	}
}

// deadline acts on a Deadline that has passed.
func (m *machine) deadline() {
	s := m.s
	switch s.Phase {
	case Delaying:
		m.delayed()
	case Starting:
		if m.cfg.ReadyWait {
			m.beginStop(CauseReady)
		} else {
			m.ready()
		}
	case Stopping:
		m.nextStop()
	case Cleaning:
		m.kill()
	case Failed:
		s.Level, s.window = 0, window{}
		m.spawnAgain()
	default:
		s.Deadline = 0
	}
}

// spawn asks for the next run.
func (m *machine) spawn() {
	s := m.s
	*s = State{
		Phase: Spawning, Wanted: s.Wanted, Once: s.Once, Run: s.Run + 1,
		Level: s.Level, Restarts: s.Restarts, window: s.window,
	}
	m.do(Action{Kind: ActSpawn})
}

// spawnAgain is a start by itself, spawnAnew one that was asked for.
func (m *machine) spawnAgain() {
	m.s.Restarts++
	m.spawn()
}

func (m *machine) spawnAnew() {
	m.forgive()
	m.spawn()
}

// forgive forgets how badly the service did so far.
func (m *machine) forgive() {
	s := m.s
	s.Level, s.Restarts, s.window = 0, 0, window{}
}

// pend notes that the run under way is to be followed by a start that was asked
// for.
func (m *machine) pend(cause Cause) {
	m.forgive()
	m.s.PendingRestart = true
	if cause != CauseNone {
		m.s.Cause = cause
	}
}

func (m *machine) spawned(at Time) {
	s := m.s
	s.Began = at
	if !s.Wanted {
		m.beginStop(CauseOperator)
		return
	}
	if s.PendingRestart {
		s.Paused = false
		m.beginStop(s.Cause)
		return
	}
	if s.Paused {
		m.freeze()
	}
	m.awaitReady()
}

// awaitReady arms the wait for readiness that the configuration asks for. A
// frozen run cannot become ready, so its wait begins with the thaw.
func (m *machine) awaitReady() {
	s, cfg := m.s, m.cfg
	s.Phase, s.Deadline = Starting, 0
	switch {
	case cfg.readyAtOnce():
		m.ready()
	case s.Paused:
	case !cfg.ReadyWait:
		s.Deadline = m.after(cfg.ReadyAfter)
	case cfg.ReadyTimeout > 0:
		s.Deadline = m.after(cfg.ReadyTimeout)
	}
}

func (m *machine) ready() {
	s := m.s
	s.Phase, s.Deadline, s.WasReady = Running, 0, true
}

func (m *machine) freeze() {
	m.s.Paused, m.s.Froze = true, true
	m.do(Action{Kind: ActFreeze})
}

// rest ends all that is under way.
func (m *machine) rest(phase Phase, cause Cause) {
	s := m.s
	*s = State{
		Phase: phase, Cause: cause, End: s.End, Wanted: s.Wanted, Once: s.Once,
		Killed: s.Killed, Run: s.Run, Level: s.Level, Restarts: s.Restarts, window: s.window,
	}
}

// do adds an action on the present run.
func (m *machine) do(a Action) {
	a.Run = m.s.Run
	m.acts.add(a)
}

// after is the time d from now, now + 1 at the least.
func (m *machine) after(d time.Duration) Time { return later(m.now, max(d, 1)) }

// moment is when something happened that was told as at.
func (m *machine) moment(at Time) Time {
	if at <= 0 || at > m.now {
		return m.now
	}
	return at
}

// later adds without overflow.
func later(t Time, d time.Duration) Time {
	if d > 0 && t > math.MaxInt64-Time(d) {
		return math.MaxInt64
	}
	return t + Time(d)
}
