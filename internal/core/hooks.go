package core

// hook asks for the hooks of a kind. One kind at a time is out.
func (m *machine) hook(kind HookKind) {
	m.s.Hook, m.s.Hooking, m.s.Unhooked = kind, true, false
	m.do(Action{Kind: ActHook, Hook: kind})
}

// unhook ends the hooks that are out, if they have not been told yet.
func (m *machine) unhook() {
	if m.s.Hooking && !m.s.Unhooked {
		m.s.Unhooked = true
		m.do(Action{Kind: ActUnhook, Hook: m.s.Hook})
	}
}

// endHooks is about hooks that are out when the main process ends. What they talk
// to is gone, unless it is a task that did what it was to do. The caller may be
// new and hear of the end first, so that it is told of the hooks in any case.
func (m *machine) endHooks() {
	s := m.s
	switch {
	case !s.Hooking:
	case m.cfg.Task && s.Phase == Arriving:
		m.do(Action{Kind: ActHook, Hook: s.Hook})
	default:
		s.Unhooked = true
		m.do(Action{Kind: ActUnhook, Hook: s.Hook})
	}
}

// askHooksAgain tells a new caller of the hooks that are out.
func (m *machine) askHooksAgain() {
	s := m.s
	if !s.Hooking {
		return
	}
	m.do(Action{Kind: ActHook, Hook: s.Hook})
	if s.Unhooked {
		m.do(Action{Kind: ActUnhook, Hook: s.Hook})
	}
}

// hooked takes the end of the hooks that were out.
func (m *machine) hooked(ok bool) {
	s := m.s
	kind := s.Hook
	s.Hook, s.Hooking, s.Unhooked = 0, false, false
	switch s.Phase {
	case Preparing:
		switch {
		case !s.Wanted || s.PendingRestart:
			m.failStart(CauseNone, false)
		case !ok:
			m.failStart(CauseHook, false)
		case s.Held:
			m.failStart(CauseNone, false)
		default:
			s.Phase = Spawning
			m.do(Action{Kind: ActSpawn})
		}
	case Arriving:
		if ok {
			m.arrive()
		} else {
			m.beginStop(CauseHook)
		}
	case Leaving:
		m.beginSignals(false)
	case Closing:
		if kind == AfterStop {
			m.settle()
		} else {
			m.close()
		}
	}
}

// failStart takes a start that came to nothing. With CauseNone nothing is wrong with
// it: it was given up, or not carried out.
func (m *machine) failStart(cause Cause, final bool) {
	s := m.s
	s.Void, s.Final, s.Ended, s.Paused, s.Hurry = true, final, m.now, false, false
	if !s.PendingRestart {
		s.Cause = cause
	}
	m.close()
}

// close runs the after_stop hooks of a run of which nothing lives, when those that
// are still out are over.
func (m *machine) close() {
	s := m.s
	s.Phase, s.Deadline = Closing, 0
	switch {
	case s.Hooking:
	case m.cfg.Hooks[AfterStop]:
		m.hook(AfterStop)
	default:
		m.settle()
	}
}
