//go:build !linux

package state

import "errors"

// Pending is not available on this system.
type Pending struct{ pendingStore }

// OpenPending refuses.
func OpenPending(*Dir, string) (*Pending, error) {
	return nil, errors.New("cannot keep pending events: this system is not Linux")
}

// Close does nothing.
func (*Pending) Close() error { return nil }
