//go:build !linux

package spawn

import (
	"errors"
	"os"
)

var errSystem = errors.New("this system is not supported")

func openPlain(string, bool) (*os.File, error) { return nil, errSystem }

func statIn(string, string) (uint32, error) { return 0, errSystem }

// SystemMounts refuses: mounts are read from Linux's /proc.
func SystemMounts() (*Mounts, error) { return nil, errSystem }

// Close does nothing.
func (m *Mounts) Close() error { return nil }
