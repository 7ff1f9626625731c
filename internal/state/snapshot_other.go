//go:build !linux

package state

import "errors"

// Snapshot is what each service is doing. This system lacks what it needs.
type Snapshot struct{ snapshotStore }

// OpenSnapshot refuses: only Linux is supported.
func OpenSnapshot(run *Dir, bootID string) (s *Snapshot, note string, err error) {
	return nil, "", run.failed("open", "engine.state", errors.ErrUnsupported)
}

// Close does nothing.
func (s *Snapshot) Close() error { return nil }

func (s *Snapshot) grow() error { return errors.ErrUnsupported }

// Rebuild refuses.
func (s *Snapshot) Rebuild(run *Dir, bootID string) error { return errors.ErrUnsupported }
