//go:build !linux

package sockets

import (
	"errors"

	"github.com/abide-project/abide/internal/notify"
)

// Sockets cannot be made here.
type Sockets struct{ dir string }

// New returns sockets that refuse.
func New(string, func(name string, run uint64)) *Sockets { return &Sockets{} }

func (s *Sockets) makeFolder() error { return errors.ErrUnsupported }

// Open refuses.
func (s *Sockets) Open(string, uint64, int, int, bool) (string, error) {
	return "", errors.ErrUnsupported
}

// Reopen refuses.
func (s *Sockets) Reopen(string, uint64, int, int, string) error { return errors.ErrUnsupported }

// Adopt refuses.
func (s *Sockets) Adopt(string, uint64, int) error { return errors.ErrUnsupported }

// FD knows none.
func (s *Sockets) FD(string, uint64) int { return -1 }

// Copy knows none.
func (s *Sockets) Copy(string, uint64) int { return -1 }

// Again refuses.
func (s *Sockets) Again(string, uint64) error { return errors.ErrUnsupported }

// Next knows none.
func (s *Sockets) Next(string, uint64) (notify.Datagram, bool) { return notify.Datagram{}, false }

// Done does nothing.
func (s *Sockets) Done(string, uint64) {}

// Close does nothing.
func (s *Sockets) Close(string, uint64) {}

// Sweep does nothing.
func (s *Sockets) Sweep(func(name string, run uint64) bool) {}

// Same knows nothing.
func Same(int, int) bool { return false }

// Inode knows nothing.
func Inode(int) (dev, ino uint64) { return 0, 0 }

// HungUp knows nothing.
func HungUp(int) bool { return false }
