package svlog

// AwaitLine has done called, once and from the Manager's thread, with the first
// line of a run that match says is the one: of its stdout or its stderr, without its
// newline, of long ones the beginning. Lines that were taken before AwaitLine are
// not looked at. done must not block. A run that is not known, or whose output goes
// nowhere, never writes such a line. cancel may be called at any time; done may be
// called once more meanwhile.
func (m *Manager) AwaitLine(name string, number uint64, match func(line []byte) bool, done func(line string)) (cancel func()) {
	w := &lineWatch{match: match, done: done}
	key := runKey{name, number}
	set := func(w, old *lineWatch) {
		m.mu.Lock()
		r := m.runs[key]
		m.mu.Unlock()
		if r != nil && (old == nil || r.await == old) {
			r.await = w
		}
	}
	if m.do(func() { set(w, nil) }) != nil {
		return func() {}
	}
	return func() { _ = m.do(func() { set(nil, w) }) }
}
