//go:build !linux || !(amd64 || arm64)

package vspawn

import (
	"errors"
	"syscall"

	"github.com/abide-project/abide/internal/spawn/prog"
)

// Spawner makes children; there is none on this system.
type Spawner struct{}

// New refuses: programs are run by Linux on amd64 and arm64 only.
func New() (*Spawner, error) {
	return nil, errors.New("cannot run spawn programs: this system is not Linux on amd64 or arm64")
}

// Close does nothing.
func (*Spawner) Close() error { return nil }

// Spawn refuses every request.
func (*Spawner) Spawn(*Request) (pid, pidfd, failedOp int, errno syscall.Errno) {
	return 0, -1, FailClone, badRequest
}

// Exec refuses every program.
func (*Spawner) Exec(*prog.Loaded) (failedOp int, errno syscall.Errno) { return 0, badRequest }

// Probe finds no rung.
func Probe() Rung { return RungNone }
