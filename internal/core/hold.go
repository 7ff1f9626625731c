package core

// hold forbids starts. One that has got no further than its before_start hooks is
// given up when those are over, unless the hold is lifted by then.
func (m *machine) hold(must bool) {
	s := m.s
	s.Held = true
	if !must || !s.Wanted {
		return
	}
	switch s.Phase {
	case Preparing:
		m.replace(CauseNeed)
		m.unhook()
	case Spawning:
		if !s.PendingRestart {
			m.replace(CauseNeed)
		}
	case Starting, Arriving, Running:
		m.replace(CauseNeed)
		m.beginStop(CauseNeed)
	case Finding:
		m.replace(CauseNeed)
		m.endUnfound(CauseNeed)
	case Reached:
		m.rest(Waiting, CauseNeed)
	}
}

func (m *machine) allow() {
	s := m.s
	if !s.Held {
		return
	}
	s.Held = false
	if s.Phase == Waiting {
		m.spawn()
	}
}

// recheck starts what waits for a condition: the start finds out whether that holds
// now.
func (m *machine) recheck() {
	s := m.s
	if s.Phase == Waiting && s.Cause == CauseCondition && !s.Held {
		m.spawn()
	}
}

// unmet gives up a start of which nothing has been done yet.
func (m *machine) unmet() {
	s := m.s
	switch {
	case s.Phase != Preparing && !(s.Phase == Spawning && !m.cfg.Hooks[BeforeStart]):
	case !s.Wanted:
		m.rest(Down, CauseNone)
	case s.PendingRestart:
		m.spawn()
	default:
		m.rest(Waiting, CauseCondition)
	}
}
