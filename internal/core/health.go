package core

import (
	"math"
	"time"
)

// health counts failed checks in a row.
func (m *machine) health(ok bool) {
	s, cfg := m.s, m.cfg
	switch {
	case cfg.HealthFailures == 0:
	case ok:
		s.Fails, s.Degraded = 0, false
	case s.Until > m.now:
	default:
		s.Fails = min(s.Fails+1, cfg.HealthFailures)
		if s.Fails < cfg.HealthFailures {
			return
		}
		if cfg.HealthRestart {
			m.beginStop(CauseHealth)
		} else {
			s.Degraded = true
		}
	}
}

// alive puts the watchdog off. A run may tell how often it will do so; a program
// that never was asked to is watched from then on.
func (m *machine) alive(every time.Duration) {
	s := m.s
	if every > 0 {
		const most = math.MaxUint32 * time.Millisecond
		s.AliveIn = max(min(every, most).Truncate(time.Millisecond), time.Millisecond)
	}
	m.watch()
}

// watch arms the watchdog anew. A frozen run cannot tell that it is alive.
func (m *machine) watch() {
	s := m.s
	every := s.AliveIn
	if every == 0 {
		every = m.cfg.Watchdog
	}
	s.AliveBy = 0
	if every > 0 && !s.Paused {
		s.AliveBy = m.after(every)
	}
	m.arm()
}

// abort ends a run that does not tell that it is alive: ABRT leaves a core that
// shows why. It is no use to ask it to stop, so KILL is next.
func (m *machine) abort() {
	s := m.s
	m.leave(CauseWatchdog)
	if s.StopBy = m.stopTime(); s.StopBy == 0 {
		m.kill()
		return
	}
	s.Deadline, s.StopStep = s.StopBy, m.cfg.steps()-1
	m.do(Action{Kind: ActAbort})
}

// extend lengthens a wait that ends in a failure or in KILL. It never shortens one.
func (m *machine) extend(least time.Duration) {
	s := m.s
	if least <= 0 {
		return
	}
	switch {
	case s.Phase == Starting && s.Until != 0 && (m.cfg.ReadyWait || !m.mainKnown()):
		s.Until = max(s.Until, m.after(least))
		m.arm()
	case s.Phase == Finding:
		s.Deadline = max(s.Deadline, m.after(least))
		s.Until = s.Deadline
	case s.Phase == Stopping && !s.Killed:
		last := s.Deadline == s.StopBy
		s.StopBy = max(s.StopBy, m.after(least))
		if last {
			s.Deadline = s.StopBy
		}
	}
}
