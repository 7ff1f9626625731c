//go:build !linux

// Package linepipe is the pipe on which a program says that it serves. Without
// tee(2) it cannot be listened to: every function refuses.
package linepipe

import (
	"errors"
	"syscall"
)

// Remove does nothing.
func Remove(dir, run string) {}

// Make refuses.
func Make(dir, run string) (path string, fd int, err error) { return "", -1, errors.ErrUnsupported }

// Open refuses.
func Open(dir, run string) (fd int, err error) { return -1, errors.ErrUnsupported }

// Await refuses.
func Await(fd int, told func(line bool)) (cancel func(), err error) {
	syscall.Close(fd)
	return nil, errors.ErrUnsupported
}
