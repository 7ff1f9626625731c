package state

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Rebuild gives the snapshot a file again after somebody has removed its file. All
// entries are in the new one before it has its name. Nothing happens while the
// file is in its place.
func (s *Snapshot) Rebuild(run *Dir, bootID string) error {
	if named, err := run.root.Lstat(snapshotFile); err == nil {
		if opened, err := s.file.Stat(); err == nil && os.SameFile(named, opened) {
			return nil
		}
	}
	const fresh = "." + snapshotFile + ".again"
	data := append(snapshotHeader(bootID), s.slots...)
	if err := run.WriteFile(fresh, data, 0o600); err != nil {
		return err
	}
	f, err := run.root.OpenFile(fresh, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return run.failed("open", snapshotFile, err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, mappedBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		if err = run.root.Rename(fresh, snapshotFile); err != nil {
			err = errors.Join(err, unix.Munmap(mapped))
		}
	}
	if err != nil {
		f.Close()
		return run.failed("make", snapshotFile, err)
	}
	old, oldFile := s.mapped, s.file
	s.file, s.mapped = f, mapped
	s.slots = mapped[headerBytes : headerBytes+len(s.slots)]
	return errors.Join(unix.Munmap(old), oldFile.Close())
}
