package state

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// mirrorLater is how long after the first change a mirror is written: of a burst
// of starts one file, and none of them waits for it.
const mirrorLater = 500 * time.Millisecond

// MirrorWriter keeps the mirror in the state directory up to date. It writes in
// the background, replaces the file as a whole and syncs nothing: after a power
// cut nothing that it names lives. While nothing changes it does nothing.
type MirrorWriter struct {
	dir    *Dir
	clock  func() int64 // CLOCK_BOOTTIME, nanoseconds
	name   func(Process) Process
	report func(error)

	mu    sync.Mutex
	head  Mirror // without runs
	runs  map[string]MirrorRun
	timer *time.Timer // nil: nothing is to be written
	begun bool
	said  bool // that it cannot be written

	writing sync.Mutex // held while the file is replaced
}

// NewMirrorWriter returns a writer for a state directory. head is what all its
// mirrors have in common; clock stamps them; name completes what is known of a
// process before it is written and may be slow; report is told when
// the mirror cannot be written, once until it can again.
func NewMirrorWriter(dir *Dir, head Mirror, clock func() int64, name func(Process) Process, report func(error)) *MirrorWriter {
	loose := *dir
	loose.durable = false
	head.Runs = nil
	return &MirrorWriter{dir: &loose, head: head, clock: clock, name: name, report: report, runs: make(map[string]MirrorRun)}
}

// Begin writes the first mirror soon, with what was set so far. Before it nothing
// is written: the old mirror must stay until all that lives is known.
func (w *MirrorWriter) Begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = true
	w.soon()
}

// Set says which process is the main process of a service now; pid 0 says that
// there is none. It costs a look into a map when nothing changed.
func (w *MirrorWriter) Set(name string, run uint64, pid int, start uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, known := w.runs[name]
	if pid == 0 {
		if known {
			delete(w.runs, name)
			w.soon()
		}
		return
	}
	if known && old.Run == run && old.Pid == pid && old.Start == start {
		return
	}
	w.runs[name] = MirrorRun{Name: name, Run: run, Process: Process{Pid: pid, Start: start}}
	w.soon()
}

// soon must be called with mu held.
func (w *MirrorWriter) soon() {
	if w.begun && w.timer == nil {
		w.timer = time.AfterFunc(mirrorLater, w.write)
	}
}

// Flush writes now what waits to be written.
func (w *MirrorWriter) Flush() {
	w.mu.Lock()
	waits := w.timer != nil && w.timer.Stop()
	w.mu.Unlock()
	if waits {
		w.write()
	}
}

func (w *MirrorWriter) write() {
	w.writing.Lock()
	defer w.writing.Unlock()
	at := w.clock() // what began later may be missing
	w.mu.Lock()
	w.timer = nil
	m := w.head
	m.Written = at
	m.Runs = slices.Collect(maps.Values(w.runs))
	w.mu.Unlock()
	for i, r := range m.Runs {
		if r.Inode == 0 {
			m.Runs[i].Process = w.name(r.Process)
			w.complete(m.Runs[i])
		}
	}
	err := w.dir.WriteFile(mirrorFile, m.Encode(), 0o600)
	if err != nil && !w.said {
		w.report(err)
	}
	w.said = err != nil
}

// complete remembers what was found out about a process, if it is still the one.
func (w *MirrorWriter) complete(r MirrorRun) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now, known := w.runs[r.Name]; known && now.Run == r.Run && now.Pid == r.Pid && now.Start == r.Start {
		w.runs[r.Name] = r
	}
}
