//go:build !linux

package contain

import "errors"

// Manager makes the groups of one instance. On this system there are none.
type Manager struct{}

// Detect returns a manager that refuses: only Linux is supported.
func Detect(id string, c Config) *Manager { return &Manager{} }

// Kind is None.
func (m *Manager) Kind() string { return None }

// Describe says that nothing holds runs together here.
func (m *Manager) Describe() string { return "none: not supported on this system" }

// SetKeeper does nothing.
func (m *Manager) SetKeeper(pid int) {}

// Prepare refuses.
func (m *Manager) Prepare(name string, run uint64) (Group, error) {
	return nil, errors.ErrUnsupported
}

// Adopt refuses.
func (m *Manager) Adopt(name string, run uint64, pid int, start uint64) (Group, error) {
	return nil, errors.ErrUnsupported
}

// Take refuses.
func (m *Manager) Take(name string, run uint64, pid int, start uint64) (taken Group, why error, failed error) {
	return nil, nil, errors.ErrUnsupported
}

// Owner knows of none.
func (m *Manager) Owner(pid int) (name string, run uint64, mark string) { return "", 0, "" }

// Stranger knows of none.
func (m *Manager) Stranger(pid int) string { return "" }

// Sweep does nothing.
func (m *Manager) Sweep() {}

// Survey sees nothing.
func (m *Manager) Survey(names []string) Survey { return Survey{Err: errors.ErrUnsupported} }

// Traces knows of none.
func (m *Manager) Traces(strangers bool) bool { return false }

// FormerID knows none.
func (m *Manager) FormerID() string { return "" }
