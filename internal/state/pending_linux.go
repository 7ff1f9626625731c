package state

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const pendingFile = "events"

// Pending is the events that are not in the history yet, in RUN/events: a buffer in
// shared memory, so that an engine killed between an event and the end of the turn
// in which the history is written loses none. It is used by one goroutine at a
// time.
type Pending struct {
	pendingStore
	mapped []byte
}

// OpenPending maps the buffer of the run directory and makes it when it is missing
// or of no use.
func OpenPending(run *Dir, bootID string) (*Pending, error) {
	f, err := run.root.OpenFile(pendingFile, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, run.failed("open", pendingFile, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, run.failed("open", pendingFile, errors.Join(err, errors.New("not a regular file")))
	}
	// Its space is taken now: a store into a hole of a full file system is SIGBUS.
	err = unix.Fallocate(int(f.Fd()), 0, 0, pendingBytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = writeZeros(f, pendingBytes)
	}
	if err != nil {
		return nil, run.failed("make", pendingFile, err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, pendingBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, run.failed("map", pendingFile, err)
	}
	p := &Pending{pendingStore{mapped}, mapped}
	if !p.usable(bootID) {
		p.begin(bootID)
	}
	return p, nil
}

// Close unmaps the buffer; its content stays.
func (p *Pending) Close() error { return unix.Munmap(p.mapped) }
