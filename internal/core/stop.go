package core

import "time"

// shortWait stands for a wait of nothing where there has to be one: between two
// stop steps, and before a start by itself that has earned a delay.
const shortWait = time.Millisecond

// beginStop starts the stop sequence of the living run. A frozen one is thawed
// after the first signal is out, so that it wakes up to it.
func (m *machine) beginStop(cause Cause) {
	s, cfg := m.s, m.cfg
	frozen := s.Paused
	s.Phase, s.Cause, s.Paused, s.StopStep = Stopping, cause, false, 0
	if !s.Wanted {
		s.PendingRestart = false
	}
	if s.Hurry || cfg.steps() == 0 || cfg.StopTimeout <= 0 {
		m.kill()
	} else {
		s.StopBy = m.after(cfg.StopTimeout)
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
	s, cfg := m.s, m.cfg
	stopping := s.Phase == Stopping
	if end == EndNone || end >= ends {
		end = Unknown
	}
	if stopping && s.Cause == CauseReady && end != GiveUp {
		end = Failure
	}
	stopBy := s.StopBy
	s.Phase, s.End, s.Ended = Cleaning, end, max(at, s.Began)
	s.Paused, s.Froze, s.StopStep, s.Deadline, s.StopBy = false, false, 0, 0, 0

	switch {
	case cfg.LeaveChildren || cfg.KeepLeftovers && !stopping:
		m.settle()
		return
	case stopping && stopBy > m.now:
		s.Deadline = stopBy
	case !stopping && cfg.CrashGrace > 0 && !s.Hurry:
		s.Deadline = m.after(cfg.CrashGrace)
	}
	m.do(Action{Kind: ActClean, Grace: s.Deadline != 0})
}
