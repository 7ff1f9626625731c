package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// stamp is what a child says of itself: when its first instruction ran, on the
// monotonic clock in nanoseconds, and who it is.
type stamp struct {
	at        int64
	pid, slot int
}

// stampPipe is the FIFO through which the children of one supervisor report.
// A child writes after it has taken its time, so a reader that is slow, or that
// competes for a processor, does not change what it reads.
type stampPipe struct {
	path string
	file *os.File
	rest []byte
	read [16 * 1024]byte
}

func newStampPipe(dir string) (*stampPipe, error) {
	path := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(path, 0o666); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", path, err)
	}
	// Read-write, so that the pipe never comes to an end between two children.
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &stampPipe{path: path, file: file}, nil
}

func (p *stampPipe) close() { p.file.Close() }

// next waits for one stamp until the deadline.
func (p *stampPipe) next(deadline time.Time) (stamp, error) {
	const size = 16
	for len(p.rest) < size {
		if err := p.file.SetReadDeadline(deadline); err != nil {
			return stamp{}, err
		}
		n, err := p.file.Read(p.read[:])
		if err != nil {
			return stamp{}, fmt.Errorf("no stamp came: %w", err)
		}
		// A write below PIPE_BUF is whole, and the buffer holds a multiple of it.
		p.rest = append(p.rest[:0], p.read[:n]...)
	}
	s := stamp{
		at:   int64(binary.NativeEndian.Uint64(p.rest)),
		pid:  int(int32(binary.NativeEndian.Uint32(p.rest[8:]))),
		slot: int(int32(binary.NativeEndian.Uint32(p.rest[12:]))),
	}
	p.rest = p.rest[size:]
	return s, nil
}

// now reads the clock that the children stamp with.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every Linux has this clock
	}
	return t.Nano()
}
