package svlog

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the thread may be stuck in one turn, in a disk that does
// not answer, before the programs are relieved of what they write meanwhile.
const (
	patience   = 2 * time.Second
	reliefNap  = 5 * time.Millisecond
	slowErrno  = 1 << 16 // in a record's errno: the disk did not answer
	slowReason = "the disk did not answer"
)

// relief keeps programs from waiting for a disk that hangs: while the thread is
// stuck, it empties pipes that are about to be full, and counts what it drops.
// It costs a timer every two seconds while logs are written, and nothing else.
type relief struct {
	patience time.Duration
	timer    *time.Timer
	armed    atomic.Bool
	idle     atomic.Bool   // the thread sleeps because there is nothing to do
	turn     atomic.Uint64 // counts what the thread does
	mu       sync.Mutex    // held by whoever takes from a pipe, or closes one
	seen     uint64        // the turn when the timer was set
}

// relieved is what was dropped from a source while the thread was stuck.
type relieved struct {
	bytes, lines uint64
	mid          bool
}

// watch begins a time of activity of the thread.
func (m *Manager) watch() {
	m.relief.idle.Store(false)
	if !m.relief.armed.Swap(true) {
		m.relief.timer.Reset(m.relief.patience)
	}
}

// progress tells that the thread is about to do something new.
func (m *Manager) progress() { m.relief.turn.Add(1) }

// check is called by the timer.
func (m *Manager) check() {
	r := &m.relief
	turn := r.turn.Load()
	switch {
	case r.idle.Load():
		r.armed.Store(false)
		if !r.idle.Load() && !r.armed.Swap(true) {
			r.timer.Reset(r.patience)
		}
		return
	case turn == r.seen:
		m.relieve(turn)
	}
	r.seen = r.turn.Load()
	r.timer.Reset(r.patience)
}

// relieve empties pipes until the thread's turn is over.
func (m *Manager) relieve(turn uint64) {
	buf := make([]byte, 64<<10)
	for m.relieveOnce(turn, buf) {
		time.Sleep(reliefNap)
	}
}

func (m *Manager) relieveOnce(turn uint64, buf []byte) bool {
	m.relief.mu.Lock()
	defer m.relief.mu.Unlock()
	if m.relief.turn.Load() != turn {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, src := range m.sources {
		if src.blocks.Load() {
			continue
		}
		full, err := unix.IoctlGetInt(src.fd, unix.TIOCINQ)
		size, err2 := unix.FcntlInt(uintptr(src.fd), unix.F_GETPIPE_SZ, 0)
		// A pipe holds pages, not bytes: it may be full when it is half full.
		if err != nil || err2 != nil || full < size*3/8 {
			continue
		}
		n, _ := unix.Read(src.fd, buf)
		if n > 0 {
			src.relieved.bytes += uint64(n)
			src.relieved.lines += uint64(bytes.Count(buf[:n], newline))
			src.relieved.mid = buf[n-1] != '\n'
		}
	}
	return true
}

// account brings what was dropped from a source into the records of its logs. It
// is called between takes, with relief.mu held.
func (m *Manager) account(src *source) {
	lost := src.relieved
	if lost.bytes == 0 {
		return
	}
	src.relieved = relieved{}
	for _, k := range src.sinks {
		p := k.rec.place.load()
		p.lostBytes += lost.bytes
		p.lostLines += lost.lines
		p.allBytes += lost.bytes
		p.allLines += lost.lines
		p.errno = slowErrno
		k.rec.place.store(&p)
	}
	mid := uint64(0)
	if lost.mid {
		mid = 1
	}
	src.rec.mid[src.stream].Store(mid)
	m.report(src.svc.name, "its log was not written for a while: "+slowReason+"; what it wrote meanwhile is dropped and counted")
}
