package core

func (m *machine) start(once bool) {
	s := m.s
	again := !s.Wanted
	s.Wanted, s.Once, s.Hurry = true, once, false
	switch s.Phase {
	case Down, Delaying, Finished, Failed:
		m.spawnAnew()
	case Stopping, Cleaning:
		m.pend(CauseNone)
	case Spawning:
		if again {
			m.forgive()
		}
	}
}

func (m *machine) need() {
	s := m.s
	if s.Wanted {
		return
	}
	s.Wanted, s.Once, s.Hurry = true, false, false
	switch s.Phase {
	case Down:
		m.spawn()
	case Stopping, Cleaning:
		s.PendingRestart = true
	}
}

func (m *machine) stop() {
	s := m.s
	s.Wanted, s.Once, s.Paused = false, false, s.Paused && s.Phase != Spawning
	switch s.Phase {
	case Delaying, Finished:
		m.rest(Down, CauseNone)
	case Failed:
		// A service that may still live is not down until somebody who knows
		// says so.
		if s.Cause != CauseUnsure {
			m.rest(Down, CauseNone)
		}
	case Starting, Running:
		m.beginStop(CauseOperator)
	case Stopping, Cleaning:
		s.PendingRestart = false
		s.Cause = CauseOperator
	}
}

func (m *machine) restart() {
	s := m.s
	s.Wanted, s.Once, s.Hurry = true, false, false
	switch s.Phase {
	case Down, Delaying, Finished, Failed:
		m.spawnAnew()
	case Spawning, Stopping, Cleaning:
		m.pend(CauseOperator)
	case Starting, Running:
		m.pend(CauseOperator)
		m.beginStop(CauseOperator)
	}
}

func (m *machine) clear() {
	s := m.s
	m.forgive()
	switch s.Phase {
	case Delaying:
		m.spawn()
	case Failed:
		if s.Wanted {
			m.spawn()
		} else {
			m.rest(Down, CauseNone)
		}
	}
}

func (m *machine) hurry() {
	s := m.s
	switch s.Phase {
	case Stopping, Cleaning:
		// Without a deadline KILL is out already.
		if s.Deadline != 0 {
			m.kill()
		}
	case Spawning:
		s.Hurry = !s.Wanted
	}
}

func (m *machine) pause() {
	s := m.s
	if s.Paused {
		return
	}
	switch s.Phase {
	case Spawning:
		s.Paused = s.Wanted && !s.PendingRestart
	case Starting:
		m.freeze()
		m.awaitReady()
	case Running:
		m.freeze()
	}
}

func (m *machine) resume() {
	s := m.s
	if !s.Paused {
		return
	}
	s.Paused = false
	if s.Phase == Spawning {
		return
	}
	m.do(Action{Kind: ActThaw})
	if s.Phase == Starting {
		m.awaitReady()
	}
}

func (m *machine) redefined(must bool) {
	s := m.s
	if !must {
		// What is under way goes on by the new rules; only the wait for
		// readiness is armed anew, because it may not exist any more.
		if s.Phase == Starting {
			m.awaitReady()
		}
		return
	}
	switch s.Phase {
	case Spawning:
		m.pend(CauseRedefined)
	case Starting, Running:
		m.pend(CauseRedefined)
		m.beginStop(CauseRedefined)
	case Delaying:
		m.spawnAnew()
	case Failed:
		if s.Wanted && s.Cause != CauseUnsure {
			m.spawnAnew()
		}
	case Stopping:
		if s.Wanted {
			m.pend(CauseRedefined)
		}
	case Cleaning:
		if !s.Wanted {
			return
		}
		if phase, _ := m.verdict(); phase != Finished {
			m.pend(CauseRedefined)
		}
	}
}
