package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const snapshotFile = "engine.state"

// Snapshot is what each service is doing, in RUN/engine.state: a file in shared
// memory that the death of this process does not change.
type Snapshot struct {
	snapshotStore
	file   *os.File
	mapped []byte // address space for all entries; only what is allocated is touched
}

// OpenSnapshot maps the snapshot of the run directory and makes it when it is
// missing. One of another boot or version, or a damaged one, is replaced by an
// empty one and note says so.
func OpenSnapshot(run *Dir, bootID string) (s *Snapshot, note string, err error) {
	fail := func(err error) (*Snapshot, string, error) {
		return nil, "", run.failed("open", snapshotFile, err)
	}
	f, err := run.root.OpenFile(snapshotFile, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		f, err = newSnapshotFile(run, bootID)
	} else if err == nil {
		if why := unusable(f, bootID); why != "" {
			f.Close()
			note = fmt.Sprintf("%s is not used: %s", filepath.Join(run.path, snapshotFile), why)
			f, err = newSnapshotFile(run, bootID)
		}
	}
	if err != nil {
		return fail(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fail(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, mappedBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		f.Close()
		return fail(err)
	}
	s = &Snapshot{file: f, mapped: mapped}
	slots := min((info.Size()-headerBytes)/slotBytes, MaxSnapshotEntries)
	s.slots = mapped[headerBytes : headerBytes+slots*slotBytes]
	// A file with holes would end this process when memory is short.
	if err := s.allocate(int(slots)); err != nil {
		s.Close()
		return fail(err)
	}
	s.load()
	return s, note, nil
}

// Close unmaps the snapshot; its content stays.
func (s *Snapshot) Close() error {
	return errors.Join(unix.Munmap(s.mapped), s.file.Close())
}

// grow makes room for more entries. The pages are allocated before they are
// touched: a full file system is an error here, not a SIGBUS later.
func (s *Snapshot) grow() error {
	old := len(s.names)
	if old >= MaxSnapshotEntries {
		return ErrSnapshotFull
	}
	slots := min(old+chunkSlots, MaxSnapshotEntries)
	if err := s.allocate(slots); err != nil {
		return err
	}
	s.slots = s.mapped[headerBytes : headerBytes+slots*slotBytes]
	s.addSlots(slots)
	return nil
}

func (s *Snapshot) allocate(slots int) error {
	size := int64(headerBytes + slots*slotBytes)
	err := unix.Fallocate(int(s.file.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = writeZeros(s.file, size)
	}
	return err
}

// writeZeros allocates what lies between the end of f and size on a file system
// that has no fallocate.
func writeZeros(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if missing := size - info.Size(); missing > 0 {
		_, err = f.WriteAt(make([]byte, missing), info.Size())
	}
	return err
}

func newSnapshotFile(run *Dir, bootID string) (*os.File, error) {
	if err := run.WriteFile(snapshotFile, snapshotHeader(bootID), 0o600); err != nil {
		return nil, err
	}
	return run.root.OpenFile(snapshotFile, os.O_RDWR|syscall.O_NOFOLLOW, 0)
}

func unusable(f *os.File, bootID string) string {
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	if !info.Mode().IsRegular() {
		return "it is not a regular file"
	}
	header := make([]byte, headerBytes)
	if n, err := f.ReadAt(header, 0); n < headerBytes {
		return checkHeader(header[:n], bootID)
	} else if err != nil {
		return err.Error()
	}
	return checkHeader(header, bootID)
}
