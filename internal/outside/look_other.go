//go:build !linux

package outside

import (
	"errors"
	"fmt"
	"runtime"
)

var errSystem = errors.New("not possible on " + runtime.GOOS)

// Look refuses.
func Look(_ string, pid int) (Process, error) {
	return Process{}, fmt.Errorf("cannot look at process %d: %w", pid, errSystem)
}

// Start refuses.
func Start(_ string, pid int) (uint64, error) {
	return 0, fmt.Errorf("cannot look at process %d: %w", pid, errSystem)
}

// Ancestors knows of none.
func Ancestors(string, int) []int { return nil }

// SameNamespace is true: there is but one.
func SameNamespace(string, int) bool { return true }

// OutputOf sees nothing.
func OutputOf(string, int, int) Output { return Output{Kind: Hidden} }

// Readers refuses.
func Readers(string, Output, func(int) bool) ([]Reader, error) { return nil, errSystem }

// OpenOutput refuses.
func OpenOutput(_ string, pid, _ int, _ Output) (int, error) {
	return -1, fmt.Errorf("cannot open the output of process %d: %w", pid, errSystem)
}
