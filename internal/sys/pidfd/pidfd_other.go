//go:build !linux

// Package pidfd names processes by descriptors. This system has none: every
// function refuses.
package pidfd

import (
	"errors"
	"syscall"
	"time"
)

// Open refuses.
func Open(pid int) (int, error) { return -1, errors.ErrUnsupported }

// Send refuses.
func Send(fd int, sig syscall.Signal) error { return errors.ErrUnsupported }

// Ended knows nothing.
func Ended(fd int) bool { return false }

// Close does nothing.
func Close(fd int) {}

// Await knows nothing.
func Await(fd int, limit time.Duration) bool { return false }
