package core

import "time"

// shortWait stands for a wait of nothing where there has to be one: between two
// stop steps, and before a start by itself that has earned a delay.
const shortWait = time.Millisecond

// beginStop starts the stop sequence of the living run: with the before_stop hooks
// if it has been ready, else with the first signal.
func (m *machine) beginStop(cause Cause) {
	s := m.s
	asked := s.Phase == Running && m.cfg.Hooks[BeforeStop]
	frozen := m.leave(cause)
	if !asked {
		m.beginSignals(frozen)
		return
	}
	s.Phase = Leaving
	if frozen {
		m.do(Action{Kind: ActThaw})
	}
	m.hook(BeforeStop)
}

// leave ends what is watched of a run that is up, and reports whether it is frozen.
func (m *machine) leave(cause Cause) (frozen bool) {
	s := m.s
	frozen = s.Paused
	s.Phase, s.Cause, s.Paused, s.StopStep = Stopping, cause, false, 0
	s.Deadline, s.Until, s.AliveBy, s.Degraded, s.Fails = 0, 0, 0, false, 0
	if !s.Wanted {
		s.PendingRestart = false
	}
	m.unhook()
	return frozen
}

// beginSignals sends the first stop signal. A frozen run is thawed after that is
// out, so that it wakes up to it.
func (m *machine) beginSignals(frozen bool) {
	s := m.s
	s.Phase = Stopping
	if s.StopBy = m.stopTime(); s.StopBy == 0 {
		m.kill()
	} else {
		m.signal()
	}
	if frozen {
		m.do(Action{Kind: ActThaw})
	}
}

// nextStop goes on with the stop sequence when the wait of a step is over. A
// wait counts from when its signal was sent, so a late tick shortens none.
func (m *machine) nextStop() {
	s := m.s
	if m.now >= s.StopBy || s.StopStep+1 >= m.cfg.steps() {
		m.kill()
		return
	}
	s.StopStep++
	m.signal()
}

// signal sends the present stop step.
func (m *machine) signal() {
	s, cfg := m.s, m.cfg
	m.do(Action{Kind: ActSignal, Step: s.StopStep})
	wait := cfg.StopWait[s.StopStep]
	if wait <= 0 && s.StopStep+1 >= cfg.steps() {
		s.Deadline = s.StopBy
		return
	}
	s.Deadline = min(m.after(max(wait, shortWait)), s.StopBy)
}

// kill ends the run, or what is left of it. Nothing is due by time from here:
// the answer is.
func (m *machine) kill() {
	s := m.s
	s.Deadline, s.StopBy, s.Killed, s.Hurry = 0, 0, true, false
	m.do(Action{Kind: ActKill, Main: m.cfg.LeaveChildren && s.Phase != Cleaning})
}

// exited takes the end of the main process and sees to the rest of the run.
func (m *machine) exited(end End, at Time) {
	s := m.s
	if end == EndNone || end >= ends {
		end = Unknown
	}
	if s.LeavesMain(m.cfg, end) {
		m.find()
		return
	}
	if s.Phase == Leaving {
		// No signal was sent: what is left has the whole stop timeout.
		m.endHooks()
		m.clean(end, at, true, m.stopTime())
		return
	}
	m.endHooks()
	m.clean(end, at, s.Phase == Stopping, s.StopBy)
}

// stopTime is until when a stop that begins now may take, 0 if it is KILL at once.
func (m *machine) stopTime() Time {
	if m.s.Hurry || m.cfg.steps() == 0 || m.cfg.StopTimeout <= 0 {
		return 0
	}
	return m.after(m.cfg.StopTimeout)
}

// clean ends what the main process left behind.
func (m *machine) clean(end End, at Time, stopping bool, stopBy Time) {
	s, cfg := m.s, m.cfg
	if stopping && s.Cause.isFailure() && end != GiveUp {
		end = Failure
	}
	s.Phase, s.End, s.Ended = Cleaning, end, max(at, s.Began)
	s.Paused, s.Froze, s.StopStep, s.Deadline, s.StopBy = false, false, 0, 0, 0
	s.Until, s.AliveBy, s.Degraded, s.Fails = 0, 0, false, 0

	switch {
	case cfg.LeaveChildren || cfg.KeepLeftovers && !stopping:
		m.close()
		return
	case stopping && stopBy > m.now:
		s.Deadline = stopBy
	case !stopping && cfg.CrashGrace > 0 && !s.Hurry:
		s.Deadline = m.after(cfg.CrashGrace)
	}
	m.do(Action{Kind: ActClean, Grace: s.Deadline != 0})
}
