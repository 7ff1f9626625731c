package core

func (m *machine) adopted(ev *Event) {
	s := m.s
	began := m.moment(ev.At)
	switch {
	case ev.Run < s.Run:
		return
	case ev.Run > s.Run:
		// The state is older than the run. Whoever started it wanted it; nobody
		// knows whether it is frozen.
		*s = State{
			Wanted: s.Wanted || s.Phase == Down, Once: s.Once, Run: ev.Run,
			Level: s.Level, Restarts: s.Restarts, window: s.window,
		}
		m.spawned(began)
		s.Froze = true
		m.do(Action{Kind: ActThaw})
	case s.Phase == Spawning:
		m.spawned(began)
	case s.Live():
		m.askAgain()
	}
	if ev.Ready && s.Phase == Starting {
		m.ready()
	}
}

// askAgain repeats the actions on a living run that may have died with the last
// caller and that no deadline makes up for.
func (m *machine) askAgain() {
	s := m.s
	if s.Phase == Stopping && s.Killed {
		m.kill()
	}
	switch {
	case s.Paused:
		m.freeze()
	case s.Froze:
		m.do(Action{Kind: ActThaw})
	}
}

func (m *machine) lost(ev *Event) {
	s := m.s
	s.Run = max(s.Run, ev.Run)
	switch {
	case s.Phase == Cleaning && m.cfg.LeaveChildren:
		m.settle()
	case s.Phase == Cleaning:
		m.do(Action{Kind: ActClean, Grace: s.Deadline != 0})
	case !s.Live() && s.Phase != Spawning:
	case ev.Unsure:
		m.rest(Failed, CauseUnsure)
	case s.Live():
		m.exited(Unknown, m.now)
	case s.Wanted:
		m.spawn()
	default:
		m.rest(Down, CauseNone)
	}
}

// taken begins a run with a process that was there already. Where one of the
// service lives, or may, there is no room for another.
func (m *machine) taken(ev *Event) {
	s := m.s
	if s.Live() || s.Phase == Spawning || s.Phase == Cleaning || ev.Run <= s.Run {
		return
	}
	*s = State{Wanted: true, Run: ev.Run}
	m.spawned(m.moment(ev.At))
}

// released ends a run whose process does not end. A frozen one would stay frozen
// with nobody to thaw it, and one that is being stopped has its signal.
func (m *machine) released() {
	s := m.s
	if s.Paused || s.Phase != Starting && s.Phase != Running {
		return
	}
	s.Wanted, s.Once = false, false
	m.rest(Down, CauseNone)
}
