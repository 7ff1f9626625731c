package sockets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// longestKept bounds what is kept for a service.
const longestKept = 64 << 10

// Keep stores what is to be known of a service after our death, until the run
// directory goes; nil removes it. A reader finds it as it was or as it is now.
func (s *Sockets) Keep(name string, blob []byte) error {
	if blob == nil {
		_ = os.Remove(filepath.Join(s.dir, fileOf(name)+keptName))
		return nil
	}
	if err := s.makeFolder(); err != nil {
		return fmt.Errorf("cannot keep what %s says: %w", name, err)
	}
	path := filepath.Join(s.dir, fileOf(name)+keptName)
	fresh := path + "~"
	if err := os.WriteFile(fresh, blob, 0o600); err != nil {
		return fmt.Errorf("cannot keep what %s says: %w", name, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("cannot keep what %s says: %w", name, err)
	}
	return nil
}

// Kept returns what Keep stored, nil if nothing.
func (s *Sockets) Kept(name string) ([]byte, error) {
	file, err := os.Open(filepath.Join(s.dir, fileOf(name)+keptName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what %s said: %w", name, err)
	}
	defer file.Close()
	blob, err := io.ReadAll(io.LimitReader(file, longestKept))
	if err != nil {
		return nil, fmt.Errorf("cannot read what %s said: %w", name, err)
	}
	return blob, nil
}
