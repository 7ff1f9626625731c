//go:build !linux

package svlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/abide-project/abide/internal/model"
)

var errSystem = errors.New("not possible on " + runtime.GOOS + ": it needs splice(2)")

// Manager exists only on Linux so far.
type Manager struct{}

// Open refuses.
func Open(Options) (*Manager, error) {
	return nil, fmt.Errorf("cannot take logs: %w", errSystem)
}

// Begin refuses.
func (*Manager) Begin(string, uint64, int, int, *model.Log) (Pipes, error) {
	return Pipes{}, errSystem
}

// Adopt refuses.
func (*Manager) Adopt(string, uint64, *model.Log) (Pipes, error) { return Pipes{}, errSystem }

// Stream names one output of a run.
type Stream = stream

// Stdout and Stderr are the streams of a run.
const (
	Stdout = streamOut
	Stderr = streamErr
)

// AdoptFD refuses.
func (*Manager) AdoptFD(string, uint64, Stream, int, *model.Log) error { return errSystem }

// Nameless is what Detach calls a pipe without a name.
const Nameless = "-"

// Detach refuses.
func (*Manager) Detach(string, uint64, func(out, err string)) error { return errSystem }

// Reclaim refuses.
func (*Manager) Reclaim(string, string, uint64, Stream) error { return errSystem }

// DrainPlan is what Drain is to do.
type DrainPlan struct {
	Dir    string
	LogDir string
	Name   string
	Run    uint64
	Pipes  [2]string
	Log    model.Log
}

// Drain refuses.
func Drain(context.Context, DrainPlan) error { return errSystem }

// Rebuild refuses.
func (*Manager) Rebuild() error { return errSystem }

// Ended refuses.
func (*Manager) Ended(string, uint64, func()) error { return errSystem }

// Abandon refuses.
func (*Manager) Abandon(string, uint64) error { return errSystem }

// AwaitLine waits for ever.
func (*Manager) AwaitLine(string, uint64, func([]byte) bool, func(string)) func() { return func() {} }

// Configure refuses.
func (*Manager) Configure(string, *model.Log) error { return errSystem }

// Note refuses.
func (*Manager) Note(string, uint64, string) error { return errSystem }

// Rotate refuses.
func (*Manager) Rotate(string) error { return errSystem }

// Forget refuses.
func (*Manager) Forget(string) error { return errSystem }

// Sweep refuses.
func (*Manager) Sweep() error { return errSystem }

// Close refuses.
func (*Manager) Close() error { return errSystem }

// Stats knows nothing.
func (*Manager) Stats(string) Stats { return Stats{} }

// Subscribe returns a channel that never has an element.
func (*Manager) Subscribe(...string) (<-chan struct{}, func()) { return nil, func() {} }

// CompressFile refuses.
func CompressFile(path string) error { return fmt.Errorf("cannot compress %s: %w", path, errSystem) }
