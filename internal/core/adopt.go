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
		wanted := s.Wanted || s.Phase == Down
		m.renew(ev.Run, Spawning)
		s.Wanted, s.HasMain = wanted, ev.OK
		m.spawned(began)
		s.Froze = true
		m.do(Action{Kind: ActThaw})
	case s.Phase == Spawning:
		m.spawned(began)
	case s.Phase == Finding:
		m.main(true)
	case s.Live():
		m.askAgain()
	}
	if ev.Ready {
		m.signed()
	}
}

// askAgain repeats the actions on a living run that may have died with the last
// caller and that no deadline makes up for.
func (m *machine) askAgain() {
	s := m.s
	m.askHooksAgain()
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
	if ev.Run > s.Run {
		s.Run, s.Skip = ev.Run, s.skip(ev.Run)
	}
	switch {
	case s.Phase == Cleaning && m.cfg.LeaveChildren:
		m.askHooksAgain()
		m.close()
	case s.Phase == Cleaning:
		m.askHooksAgain()
		m.do(Action{Kind: ActClean, Grace: s.Deadline != 0})
	case s.Phase == Preparing || s.Phase == Closing:
		m.askHooksAgain()
	case s.Phase == Finding:
		m.do(Action{Kind: ActFindMain})
	case !s.Live() && s.Phase != Spawning:
	case ev.Unsure:
		m.rest(Failed, CauseUnsure)
	case s.Live():
		m.exited(Unknown, m.now)
	default:
		m.failStart(CauseNone, false)
	}
}

// taken begins a run with a process that was there already. Where one of the
// service lives, or may, there is no room for another.
func (m *machine) taken(ev *Event) {
	s := m.s
	switch s.Phase {
	case Down, Delaying, Finished, Failed, Waiting:
	default:
		return
	}
	if ev.Run <= s.Run || m.cfg.Target {
		return
	}
	*s = State{Wanted: true, Held: s.Held, HasMain: true, Run: ev.Run, Skip: s.skip(ev.Run)}
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
