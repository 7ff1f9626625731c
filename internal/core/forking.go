package core

import "time"

// findTimeout bounds the search for a main process where no timeout of readiness
// does.
const findTimeout = 30 * time.Second

// LeavesMain reports whether an end of the run would be that of a forking program's
// starter, which leaves the main process behind, and not the end of the run.
func (s *State) LeavesMain(cfg *Config, end End) bool {
	begun := s.Phase == Starting || s.Phase == Spawning && s.Wanted && !s.PendingRestart
	return begun && cfg.Forking && !s.HasMain && end == Success
}

// find looks for the main process that a starter has left behind.
func (m *machine) find() {
	s := m.s
	wait := findTimeout
	if m.cfg.ReadyTimeout > 0 {
		wait = m.cfg.ReadyTimeout
	}
	if s.Phase == Spawning {
		s.Began = m.now
	}
	s.Phase, s.AliveBy, s.Froze = Finding, 0, false
	if s.Until <= m.now {
		s.Until = m.after(wait)
	}
	s.Deadline = s.Until
	m.do(Action{Kind: ActFindMain})
}

// main takes the answer to ActFindMain, or what a starter that still lives told of
// its main process.
func (m *machine) main(ok bool) {
	s := m.s
	switch {
	case s.Phase == Finding && !ok:
		m.endUnfound(CauseNoMain)
	case s.Phase == Finding, s.Phase == Starting && ok && !m.mainKnown():
		m.found()
	}
}

// found goes on with a main process that is known now; its wait for readiness is
// what is left of it.
func (m *machine) found() {
	s := m.s
	searching, until := s.Phase == Finding, s.Until
	s.HasMain = true
	if searching && s.Paused {
		m.freeze()
	}
	m.awaitReady()
	if s.Phase == Starting && m.cfg.ReadyWait && s.Until > until && until > m.now {
		s.Until = until
		m.arm()
	}
}

// endUnfound ends a run whose starter is gone and whose main process is not known.
func (m *machine) endUnfound(cause Cause) {
	s := m.s
	s.Cause = cause
	if !s.Wanted {
		s.PendingRestart = false
	}
	m.clean(Success, m.now, true, m.stopTime())
}
