package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// suffixNew ends the names of files that are being made.
const suffixNew = ".new"

// Rebuild makes the files of the run directory again that somebody has removed:
// the folder of the pipes, the stage with what is in it, and the journal. It is
// done between two takes, so that a crash at any moment of it loses no more than
// one without it would. Pipes of runs that live stay as they are, without a name:
// their programs go on, and a later Manager is given them by AdoptFD. It waits for
// the Manager's thread. Nothing is touched that is where it should be.
func (m *Manager) Rebuild() error {
	result := make(chan error, 1)
	if err := m.do(func() { result <- m.rebuild() }); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-m.done:
		return ErrClosed
	}
}

func (m *Manager) rebuild() error {
	if err := os.MkdirAll(filepath.Join(m.opt.RunDir, "services"), 0o700); err != nil {
		return fmt.Errorf("cannot make the log pipes' folder again: %w", err)
	}
	// The stages come first: a journal without them would point at nothing,
	// while bytes without a journal are merely not looked at.
	for _, st := range m.allStages() {
		if err := st.rebuild(); err != nil {
			return fmt.Errorf("cannot make the log stage again: %w", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.journal.rebuild(m.opt.RunDir); err != nil {
		return fmt.Errorf("cannot make the log journal again: %w", err)
	}
	m.stageFull = false
	return nil
}

// allStages are those in use, those that parked takes have, and the spare ones.
func (m *Manager) allStages() []*stage {
	all := append([]*stage(nil), m.spare...)
	if m.stage != nil {
		all = append(all, m.stage)
	}
	for _, k := range m.sinks {
		if k.parked != nil && k.parked.st != nil {
			all = append(all, k.parked.st)
		}
	}
	return all
}

// inPlace tells whether the file open as fd is the one that has the name.
func inPlace(fd int, path string) bool {
	var open, named unix.Stat_t
	return unix.Fstat(fd, &open) == nil && unix.Lstat(path, &named) == nil && open.Ino == named.Ino && open.Dev == named.Dev
}

// rebuild gives the stage a file again. Its bytes keep their address.
func (st *stage) rebuild() error {
	if inPlace(st.fd, st.path) {
		return nil
	}
	fd, err := copyOf(st.path, st.mem[:st.size], []extent{{0, int(st.size)}}, st.size)
	if err != nil {
		return err
	}
	if err := remap(fd, st.mem, unix.PROT_READ); err != nil {
		unix.Close(fd)
		unix.Unlink(st.path + suffixNew)
		return err
	}
	unix.Close(st.fd)
	st.fd = fd
	return unix.Rename(st.path+suffixNew, st.path)
}

// rebuild gives the journal a file again. Its records keep their addresses. It
// must be called on the Manager's thread with Manager.mu held: nobody else stores
// anything there.
func (j *journal) rebuild(dir string) error {
	path := filepath.Join(dir, journalFile)
	if j.mem == nil || inPlace(int(j.file.Fd()), path) {
		return nil
	}
	var parts []extent
	for i, allocated := range j.allocated {
		if allocated {
			parts = append(parts, extent{i * journalStep, min((i+1)*journalStep, journalSize)})
		}
	}
	fd, err := copyOf(path, j.mem, parts, journalSize)
	if err != nil {
		return err
	}
	if err := remap(fd, j.mem, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		unix.Close(fd)
		unix.Unlink(path + suffixNew)
		return err
	}
	j.file.Close()
	j.file = os.NewFile(uintptr(fd), path)
	return unix.Rename(path+suffixNew, path)
}

// extent is a part of a file that has blocks.
type extent struct{ from, to int }

// copyOf makes the file path+".new" of the given size with the given parts of b,
// which have blocks afterwards: a store into a hole of a full file system would
// be a SIGBUS.
func copyOf(path string, b []byte, parts []extent, size int64) (int, error) {
	fresh := path + suffixNew
	unix.Unlink(fresh)
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(fresh, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: fresh, Err: err}
	}
	for _, p := range parts {
		if err == nil {
			_, err = writeAll(unix.Pwrite, fd, b[p.from:p.to], int64(p.from))
		}
	}
	if err == nil {
		err = unix.Ftruncate(fd, size)
	}
	if err != nil {
		unix.Close(fd)
		unix.Unlink(fresh)
		return -1, &os.PathError{Op: "write", Path: fresh, Err: err}
	}
	return fd, nil
}

// remap puts the file fd at the addresses of mem, in place of what is there.
func remap(fd int, mem []byte, prot int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(&mem[0]), uintptr(len(mem)), prot, unix.MAP_SHARED|unix.MAP_FIXED)
	return err
}
