//go:build !linux

// Package waitset waits for any of many descriptors. This system lacks epoll:
// every function refuses.
package waitset

import (
	"context"
	"errors"
	"time"
)

// Set cannot be made here.
type Set struct{}

// Events to wait for.
const (
	Readable = 1
	Changed  = 2
	Once     = 4
)

// New refuses.
func New() (*Set, error) { return nil, errors.ErrUnsupported }

// Add refuses.
func (s *Set) Add(fd int, events uint32) error { return errors.ErrUnsupported }

// Again refuses.
func (s *Set) Again(fd int, events uint32) error { return errors.ErrUnsupported }

// Remove does nothing.
func (s *Set) Remove(fd int) {}

// Wait refuses.
func (s *Set) Wait(ctx context.Context, deadline time.Time) ([]int, error) {
	return nil, errors.ErrUnsupported
}

// Close does nothing.
func (s *Set) Close() {}
