//go:build abide_sim && linux

package main

import (
	"context"
	"sort"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/sim/sched"
	"github.com/abide-project/abide/internal/svlog"
)

// logs is svlog by its contract: what is in a FIFO that somebody has open stays
// there, what is taken out of it is in the log once. It outlives engines as the
// FIFOs and logs on disk do.
type logs struct {
	w     *world
	fifos map[runKey]*fifo
	p     *kernel.Proc // the engine that reads
}

// fifo is the output of one run. Lines are numbered from 1.
type fifo struct {
	key     runKey
	slot    runKey // under which the keeper holds it
	pipe    *kernel.Pipe
	written int
	logged  int
	fd      int // the engine's read end, -1: none
	done    func()
	swept   bool // found by Sweep: nobody has to say that it has ended
}

func newLogs(w *world) *logs { return &logs{w: w, fifos: map[runKey]*fifo{}} }

func (l *logs) attach(p *kernel.Proc) { l.p = p }

func (l *logs) engineDied() {
	for _, f := range l.fifos {
		f.fd, f.done, f.swept = -1, nil, false
	}
	l.p = nil
}

func (l *logs) Begin(name string, run uint64, _, _ int, _ *model.Log) (svlog.Pipes, error) {
	sched.Point()
	key := runKey{name, run}
	f := &fifo{key: key, slot: key, pipe: &kernel.Pipe{}, fd: -1}
	f.pipe.Emptied = func() { l.emptied(f) }
	l.fifos[key] = f
	l.open(f)
	none := svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}
	return svlog.Pipes{Out: svlog.Pipe{Kind: svlog.PipeFIFO, Path: name, ReadFD: f.fd}, Err: none}, nil
}

func (l *logs) open(f *fifo) { f.fd = l.w.k.OpenPipe(l.p, f.pipe) }

// held notes under which name the keeper holds a FIFO.
func (l *logs) held(fd int, slot string, run uint64) {
	for _, f := range l.fifos {
		if f.fd == fd {
			f.slot = runKey{slot, run}
		}
	}
}

// Adopt opens the FIFO of a run that another engine began.
func (l *logs) Adopt(name string, run uint64, _, _ int, _ *model.Log) error {
	sched.Point()
	if f := l.fifos[runKey{name, run}]; f != nil && f.fd < 0 {
		l.open(f)
	}
	return nil
}

// emptied is the moment at which nobody has the FIFO open: what is in it is gone.
func (l *logs) emptied(f *fifo) {
	delete(l.fifos, f.key)
	if f.written == f.logged {
		return
	}
	r := l.w.runOf(f.key)
	if r != nil && r.holder != l.w.keepers || l.w.keeper == nil || !l.w.keeper.Alive() {
		// An engine has not taken it up since the keeper that held it was killed.
		l.w.counts.Lost += f.written - f.logged
		l.w.note("%s[%d]: %d lines are lost with the keeper that held them", f.key.name, f.key.run, f.written-f.logged)
		return
	}
	l.w.violation("%s[%d]: %d lines that were in its pipe are lost", f.key.name, f.key.run, f.written-f.logged)
}

// read is the log's thread: it takes what is there, a FIFO at a time.
func (l *logs) read() {
	for {
		var next *fifo
		sched.Park(func() bool {
			next = l.due()
			return next != nil
		}, 0)
		if next.fd >= 0 && next.logged < next.written {
			taken := next.written
			sched.Sleep(l.w.between(0, 5*time.Millisecond))
			sched.Point()
			l.w.counts.Lines += taken - next.logged
			next.logged = taken
			continue
		}
		done := next.done
		next.done, next.swept = nil, false
		if next.fd >= 0 {
			fd := next.fd
			next.fd = -1
			l.w.k.CloseFD(l.p, fd)
		}
		if done != nil {
			done()
		}
	}
}

// due is a FIFO with something to do.
func (l *logs) due() *fifo {
	for _, f := range l.inOrder() {
		if f.fd >= 0 && f.logged < f.written {
			return f
		}
		if (f.done != nil || f.swept && f.fd >= 0) && f.logged == f.written && !l.w.writes(f.key) {
			return f
		}
	}
	return nil
}

func (l *logs) Ended(name string, run uint64, done func()) {
	sched.Point()
	f := l.fifos[runKey{name, run}]
	if f == nil {
		done()
		return
	}
	before := f.done
	f.done = func() {
		if before != nil {
			before()
		}
		done()
	}
}

func (l *logs) Configure(string, *model.Log) {}
func (l *logs) AwaitLine(string, uint64, *model.Log, time.Time, func([]byte) bool, func(string)) func() {
	return func() {}
}
func (l *logs) Note(string, uint64, string) {}
func (l *logs) Stats(string) svlog.Stats    { return svlog.Stats{} }
func (l *logs) Forget(string)               {}
func (l *logs) Query(context.Context, control.LogQuery, func(control.LogRecord) error) error {
	return nil
}

// Close takes what is left.
func (l *logs) Close() error {
	sched.Point()
	for _, f := range l.fifos {
		if f.fd >= 0 {
			f.logged = f.written
		}
	}
	return nil
}

// Sweep takes up what nobody adopted.
func (l *logs) Sweep() {
	sched.Point()
	for _, f := range l.inOrder() {
		if f.fd < 0 {
			l.open(f)
			f.swept = true
		}
	}
}

func (l *logs) inOrder() []*fifo {
	list := make([]*fifo, 0, len(l.fifos))
	for _, f := range l.fifos {
		list = append(list, f)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i].key, list[j].key
		return a.name < b.name || a.name == b.name && a.run < b.run
	})
	return list
}

// opened is a program that has its FIFO open.
func (l *logs) opened(r *run) {
	f := l.fifos[r.key]
	if f == nil {
		f = &fifo{key: r.key, slot: runKey{r.slot, r.key.run}, pipe: &kernel.Pipe{}, fd: -1}
		f.pipe.Emptied = func() { l.emptied(f) }
		l.fifos[r.key] = f
	}
	l.w.k.OpenPipe(r.p, f.pipe)
}

func (l *logs) write(key runKey, lines int) {
	if f := l.fifos[key]; f != nil {
		f.written += lines
	}
}

// writes reports whether a process of a run lives.
func (w *world) writes(key runKey) bool {
	r := w.runOf(key)
	return r != nil && r.p.Alive()
}
