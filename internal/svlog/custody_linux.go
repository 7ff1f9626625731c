package svlog

import "golang.org/x/sys/unix"

// ReadEnd returns a copy of the descriptor from which a run's standard output, or
// its standard error, is read, which is the caller's to close; -1 if nothing is
// read from it any more.
func (m *Manager) ReadEnd(name string, number uint64, stderr bool) int {
	s := streamOut
	if stderr {
		s = streamErr
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.runs[runKey{name, number}]
	if r == nil {
		return -1
	}
	src := m.sources[uint64(r.slot)<<1|uint64(s)]
	if src == nil {
		return -1
	}
	// A source leaves the map before its descriptor is closed.
	fd, err := unix.FcntlInt(uintptr(src.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1
	}
	return fd
}
