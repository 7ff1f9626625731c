//go:build linux

package vspawn

import (
	"syscall"

	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/spawn/prog"
)

// Spawner makes children of the simulated kernel.
type Spawner struct{}

// New has nothing to prepare.
func New() (*Spawner, error) { return &Spawner{}, nil }

// Close has nothing to give back.
func (*Spawner) Close() error { return nil }

// Spawn makes a child. Its program is valid or it would not be here; which of
// its operations fails is up to the simulation.
func (*Spawner) Spawn(r *Request) (pid, pidfd, failedOp int, errno syscall.Errno) {
	if r.Prog == nil || len(r.Pass) < r.Prog.Slots() {
		return 0, -1, FailPass, badRequest
	}
	return kernel.Vfork(r.Record, r.Pass)
}

// Exec is not simulated.
func (*Spawner) Exec(*prog.Loaded) (failedOp int, errno syscall.Errno) { return 0, badRequest }

// Probe finds the best rung.
func Probe() Rung { return RungClone3 }
