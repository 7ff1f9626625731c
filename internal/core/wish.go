package core

func (m *machine) start(once bool) {
	s := m.s
	again := !s.Wanted
	s.Wanted, s.Once, s.Hurry = true, once, false
	switch s.Phase {
	case Down, Delaying, Finished, Failed, Waiting:
		m.spawnAnew()
	case Leaving, Stopping, Cleaning, Closing:
		m.pend(CauseNone)
	case Preparing:
		if again {
			m.pend(CauseNone) // its hooks were told to end
		}
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
		m.spawnAsked()
	case Preparing, Leaving, Stopping, Cleaning, Closing:
		s.PendingRestart = true
	}
}

func (m *machine) stop() {
	s := m.s
	s.Wanted, s.Once, s.Paused = false, false, s.Paused && s.Up()
	switch s.Phase {
	case Preparing:
		s.PendingRestart = false
		m.unhook()
	case Delaying, Finished, Waiting, Reached:
		m.rest(Down, CauseNone)
	case Failed:
		// A service that may still live is not down until somebody who knows
		// says so.
		if s.Cause != CauseUnsure {
			m.rest(Down, CauseNone)
		}
	case Starting, Arriving, Running:
		m.beginStop(CauseOperator)
	case Finding:
		m.endUnfound(CauseOperator)
	case Leaving, Stopping, Cleaning, Closing:
		s.PendingRestart = false
		s.Cause = CauseOperator
	}
}

func (m *machine) restart() {
	s := m.s
	s.Wanted, s.Once, s.Hurry = true, false, false
	switch s.Phase {
	case Down, Delaying, Finished, Failed, Waiting:
		m.spawnAnew()
	case Preparing:
		m.pend(CauseOperator)
		m.unhook()
	case Spawning, Leaving, Stopping, Cleaning, Closing:
		m.pend(CauseOperator)
	case Starting, Arriving, Running:
		m.pend(CauseOperator)
		m.beginStop(CauseOperator)
	case Finding:
		m.pend(CauseOperator)
		m.endUnfound(CauseOperator)
	}
}

func (m *machine) clear() {
	s := m.s
	m.forget()
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
		m.unhook()
		if s.Deadline != 0 {
			m.kill()
		}
	case Leaving:
		m.unhook()
		s.Phase = Stopping
		m.kill()
	case Closing:
		m.unhook()
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
	case Preparing, Spawning, Finding:
		s.Paused = s.Wanted && !s.PendingRestart
	case Starting:
		m.freeze()
		s.AliveBy = 0
		m.awaitReady()
	case Arriving, Running:
		m.freeze()
		m.watch()
	}
}

func (m *machine) resume() {
	s := m.s
	if !s.Paused {
		return
	}
	s.Paused = false
	if !s.Up() {
		return
	}
	m.do(Action{Kind: ActThaw})
	if s.Phase == Starting {
		m.awaitReady()
	} else {
		m.watch()
	}
}

func (m *machine) redefined(must bool) {
	s := m.s
	if !must {
		m.reviewed()
		return
	}
	s.window = window{}
	switch s.Phase {
	case Preparing:
		if s.Wanted {
			m.pend(CauseRedefined)
			m.unhook()
		}
	case Spawning:
		m.pend(CauseRedefined)
	case Starting, Arriving, Running:
		m.pend(CauseRedefined)
		m.beginStop(CauseRedefined)
	case Finding:
		m.pend(CauseRedefined)
		m.endUnfound(CauseRedefined)
	case Delaying, Waiting:
		m.spawnAnew()
	case Reached:
		m.reviewed()
	case Failed:
		if s.Wanted && s.Cause != CauseUnsure {
			m.spawnAnew()
		}
	case Leaving, Stopping:
		if s.Wanted {
			m.pend(CauseRedefined)
		}
	case Closing:
		if s.Wanted && s.Void {
			m.pend(CauseRedefined)
			return
		}
		fallthrough
	case Cleaning:
		if !s.Wanted {
			return
		}
		if phase, _ := m.verdict(); phase != Finished {
			m.pend(CauseRedefined)
		}
	}
}

// reviewed looks at what is under way by rules that have changed. Only what may not
// exist any more is armed anew.
func (m *machine) reviewed() {
	s := m.s
	if m.cfg.HealthFailures == 0 {
		s.Fails, s.Degraded = 0, false
	}
	if s.AliveIn == 0 && m.cfg.Watchdog <= 0 {
		s.AliveBy = 0
	}
	switch {
	case s.Phase == Starting:
		m.awaitReady()
	case s.Phase == Running && s.AliveBy == 0:
		m.watch()
	case s.Up():
		m.arm()
	case s.Phase == Reached && !m.cfg.Target:
		m.spawn()
	}
}
