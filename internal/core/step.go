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
	case EvUsed:
		if ev.Run > s.Run {
			s.Skip = max(s.Skip, uint16(min(ev.Run-s.Run, math.MaxUint16)))
		}
	case EvReleased:
		if ev.Run == s.Run {
			m.released()
		}
	case EvHold:
		m.hold(ev.Must)
	case EvAllow:
		m.allow()
	case EvRecheck:
		m.recheck()
	case EvUnmet:
		if ev.Run == s.Run {
			m.unmet()
		}
	case EvHooked:
		if s.Hooking && ev.Hook == s.Hook && ev.Run == s.Run {
			m.hooked(ev.OK)
		}
	case EvHealth:
		if s.Phase == Running && !s.Paused && ev.Run == s.Run {
			m.health(ev.OK)
		}
	case EvWatchdog:
		if s.Up() && !s.Paused && ev.Run == s.Run {
			m.alive(ev.For)
		}
	case EvExtend:
		if ev.Run == s.Run {
			m.extend(ev.For)
		}
	case EvMain:
		if ev.Run == s.Run {
			m.main(ev.OK)
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
		if ev.Run == s.Run {
			m.signed()
		}
	case EvExited:
		if (s.Live() || s.Phase == Spawning) && ev.Run == s.Run {
			m.exited(ev.End, m.moment(ev.At))
		}
	case EvCleaned:
		if s.Phase == Cleaning && ev.Run == s.Run {
			m.close()
		}
	}
}

// deadline acts on a Deadline that has passed.
func (m *machine) deadline() {
	s := m.s
	switch s.Phase {
	case Delaying:
		m.delayed()
	case Starting, Arriving, Running:
		switch {
		case s.AliveBy != 0 && s.AliveBy <= m.now:
			m.abort()
		case m.cfg.ReadyWait || !m.mainKnown():
			m.beginStop(CauseReady)
		default:
			m.ready()
		}
	case Finding:
		m.endUnfound(CauseNoMain)
	case Stopping:
		m.nextStop()
	case Cleaning:
		m.kill()
	case Failed:
		s.Level, s.InRow, s.Shorts, s.window = 0, 0, 0, window{}
		m.spawnAgain()
	default:
		s.Deadline = 0
	}
}

// spawn begins the next run, as soon as it may. A target has none.
func (m *machine) spawn() {
	s, cfg := m.s, m.cfg
	switch {
	case s.Held:
		m.rest(Waiting, CauseNeed)
		return
	case cfg.Target:
		m.rest(Reached, CauseNone)
		return
	}
	m.renew(s.Run+uint64(s.Skip)+1, Spawning)
	s.Began = m.now
	if cfg.Hooks[BeforeStart] {
		s.Phase = Preparing
		m.hook(BeforeStart)
		return
	}
	m.do(Action{Kind: ActSpawn})
}

// renew forgets everything of the last run.
func (m *machine) renew(run uint64, phase Phase) {
	s := m.s
	*s = State{
		Phase: phase, Wanted: s.Wanted, Once: s.Once, Held: s.Held, Run: run, Skip: s.skip(run),
		Level: s.Level, Restarts: s.Restarts, InRow: s.InRow, Shorts: s.Shorts, window: s.window,
	}
}

// spawnAgain is a start by itself, whose count was spent when it was decided;
// spawnAsked one that somebody asked for; spawnAnew also lifts what stood against
// it.
func (m *machine) spawnAgain() {
	m.s.Restarts++
	m.spawn()
}

func (m *machine) spawnAsked() {
	if m.cfg.Limit.Starts && !m.s.window.spend(&m.cfg.Limit, m.now) {
		m.giveUp()
		return
	}
	m.spawn()
}

func (m *machine) spawnAnew() {
	m.forgive()
	m.spawnAsked()
}

// forgive forgets how badly the service did so far, but for a count of starts:
// only forget does that.
func (m *machine) forgive() {
	s := m.s
	s.Level, s.Restarts, s.InRow, s.Shorts = 0, 0, 0, 0
	if !m.cfg.Limit.Starts {
		s.window = window{}
	}
}

func (m *machine) forget() {
	m.forgive()
	m.s.window = window{}
}

// pend notes that the run under way is to be followed by a start that was asked
// for.
func (m *machine) pend(cause Cause) {
	m.forgive()
	m.replace(cause)
}

// replace notes that the run under way is to be followed by a start at once.
func (m *machine) replace(cause Cause) {
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

// mainKnown reports whether the process that lives is the main process.
func (m *machine) mainKnown() bool { return !m.cfg.Forking || m.s.HasMain }

// awaitReady arms the wait for readiness that the configuration asks for. A
// frozen run cannot become ready, so its wait begins with the thaw.
func (m *machine) awaitReady() {
	s, cfg := m.s, m.cfg
	s.Phase, s.Until = Starting, 0
	switch known := m.mainKnown(); {
	case known && (cfg.readyAtOnce() || cfg.ReadyWait && s.Signed):
		m.ready()
		return
	case s.Paused:
	case known && !cfg.ReadyWait:
		s.Until = m.after(cfg.ReadyAfter)
	case cfg.ReadyTimeout > 0:
		s.Until = m.after(cfg.ReadyTimeout)
	}
	m.arm()
}

// signed takes the sign of readiness.
func (m *machine) signed() {
	s := m.s
	switch {
	case s.Phase != Starting && s.Phase != Finding:
	case s.Phase == Starting && m.mainKnown():
		m.ready()
	default:
		s.Signed = true
	}
}

// ready runs the after_start hooks; they are part of becoming ready.
func (m *machine) ready() {
	s := m.s
	s.Phase, s.Until = Arriving, 0
	if m.cfg.Hooks[AfterStart] {
		m.hook(AfterStart)
		m.arm()
		return
	}
	m.arrive()
}

func (m *machine) arrive() {
	s, cfg := m.s, m.cfg
	s.Phase, s.WasReady, s.Until = Running, true, 0
	if cfg.HealthFailures > 0 && cfg.HealthGrace > 0 {
		s.Until = m.after(cfg.HealthGrace)
	}
	m.watch()
}

func (m *machine) freeze() {
	m.s.Paused, m.s.Froze = true, true
	m.do(Action{Kind: ActFreeze})
}

// arm sets the deadline of a run that is up.
func (m *machine) arm() {
	s := m.s
	s.Deadline = 0
	if s.Phase == Starting {
		s.Deadline = s.Until
	}
	if s.AliveBy != 0 && (s.Deadline == 0 || s.AliveBy < s.Deadline) {
		s.Deadline = s.AliveBy
	}
}

// rest ends all that is under way.
func (m *machine) rest(phase Phase, cause Cause) {
	end, killed := m.s.End, m.s.Killed
	m.renew(m.s.Run, phase)
	m.s.Cause, m.s.End, m.s.Killed = cause, end, killed
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
