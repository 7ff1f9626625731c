package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// service is what all runs of one service share.
type service struct {
	name         string
	spec         model.Log
	files        []*sink // guarded by Manager.mu
	runs         int
	forgotten    bool
	spares       []spare
	consoleBytes atomic.Uint64 // dropped because the console was slow
	consoleLines atomic.Uint64
}

// run is one process lifetime whose output is taken.
type run struct {
	key       runKey
	svc       *service
	slot      uint32
	rec       *runRec
	uid, gid  int
	live      []*source // whose FIFO is open
	ended     bool      // its main process is gone
	swept     bool      // found by Sweep
	abandoned bool      // nobody waits for what others may still write
	done      []func()
}

// source is one stream of a run.
type source struct {
	id      uint64
	run     *run
	svc     *service
	name    string
	number  uint64
	stream  stream
	rec     *runRec
	path    string
	fd      int
	sinks   []*sink
	console bool
	safe    bool // all its records are in the journal
	placed  bool // sinks and console are those of the definition
	fromRec bool // its sinks are those in the record: no definition is known
	eof     bool // nobody has it open for writing
	turns   int  // taken since its run was abandoned
	queued  bool
	closed  bool

	blocks   atomic.Bool // one of its logs has when_full = "block"
	relieved relieved    // guarded by relief.mu
}

func (r *runRec) text() string { return string(r.name[:r.nameLen.Load()]) }

func (k *sinkRec) text() string { return string(k.path[:k.pathLen.Load()]) }

// fifo is where a stream's pipe is: RUN/services/web/7.out, and for an auxiliary
// command "web/reload" RUN/services/web/reload.7.out.
func (m *Manager) fifo(key runKey, s stream) string {
	service, aux, ok := strings.Cut(key.name, "/")
	base := strconv.FormatUint(key.number, 10) + "." + streamNames[s]
	if ok {
		base = aux + "." + base
	}
	return filepath.Join(m.opt.RunDir, "services", service, base)
}

// parseFIFO is fifo backwards.
func parseFIFO(service, base string) (key runKey, s stream, ok bool) {
	rest, name, ok := cutLast(base)
	if !ok || (name != "out" && name != "err") {
		return key, 0, false
	}
	if name == "err" {
		s = streamErr
	}
	aux, number, hasAux := cutLast(rest)
	key.name = service
	if hasAux {
		key.name += "/" + aux
	} else {
		number = rest
	}
	n, err := strconv.ParseUint(number, 10, 64)
	key.number = n
	return key, s, err == nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func pipeKind(targets []model.LogTarget) PipeKind {
	kind := PipeNull
	for _, t := range targets {
		switch t.Kind {
		case model.LogInherit:
			return PipeInherit
		case model.LogNull:
		default:
			kind = PipeFIFO
		}
	}
	return kind
}

func targetsOf(spec *model.Log, s stream) []model.LogTarget {
	if s == streamErr {
		return spec.Stderr
	}
	return spec.Stdout
}

// Begin makes the FIFOs of a new run, owned by its user, and takes what is
// written into them from then on. Name may be a service or, with a slash, an
// auxiliary command of one. It makes a few system calls and waits for nothing.
func (m *Manager) Begin(name string, number uint64, uid, gid int, spec *model.Log) (Pipes, error) {
	return m.attach(name, number, uid, gid, spec, true)
}

// Adopt takes up the FIFOs of a run that an earlier Manager began. A stream whose
// FIFO is gone has a Pipe without a descriptor.
func (m *Manager) Adopt(name string, number uint64, spec *model.Log) (Pipes, error) {
	return m.attach(name, number, -1, -1, spec, false)
}

func (m *Manager) attach(name string, number uint64, uid, gid int, spec *model.Log, fresh bool) (Pipes, error) {
	var pipes Pipes
	if err := checkName(name); err != nil {
		return pipes, err
	}
	if err := Check(spec); err != nil {
		return pipes, err
	}
	r, err := m.enter(runKey{name, number}, uid, gid, spec)
	if err != nil {
		return pipes, err
	}
	for s, pipe := range []*Pipe{&pipes.Out, &pipes.Err} {
		*pipe = Pipe{Kind: pipeKind(targetsOf(spec, stream(s))), ReadFD: -1, Flags: unix.O_RDWR}
		if spec.PipeWrite {
			pipe.Flags = unix.O_WRONLY
		}
		if pipe.Kind != PipeFIFO {
			continue
		}
		pipe.Path = m.fifo(r.key, stream(s))
		fd, err := m.openFIFO(r, pipe.Path, fresh)
		if err == unix.ENOENT && !fresh {
			continue
		}
		if err != nil {
			m.leave(r)
			return Pipes{}, fmt.Errorf("cannot make log pipe %s: %w", pipe.Path, err)
		}
		pipe.ReadFD = fd
		r.live = append(r.live, &source{
			id: uint64(r.slot)<<1 | uint64(s), run: r, svc: r.svc, name: name, number: number,
			stream: stream(s), rec: r.rec, path: pipe.Path, fd: fd, fromRec: false,
		})
	}
	if err := m.listen(r); err != nil {
		m.leave(r)
		return Pipes{}, fmt.Errorf("cannot watch the log pipes of %s: %w", name, err)
	}
	return pipes, nil
}

// enter makes the run known.
func (m *Manager) enter(key runKey, uid, gid int, spec *model.Log) (*run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if m.runs[key] != nil {
		return nil, fmt.Errorf("cannot log run %d of %s: it is known already", key.number, key.name)
	}
	r := &run{key: key, uid: uid, gid: gid}
	if slot, ok := m.left[key]; ok {
		delete(m.left, key)
		r.slot, r.rec = slot, m.journal.run(slot)
	} else {
		r.slot, r.rec = m.journal.newRun()
		r.rec.number.Store(key.number)
		r.rec.nameLen.Store(uint64(copy(r.rec.name[:], key.name)))
		r.rec.used.Store(1)
	}
	r.svc = m.service(serviceOf(key.name))
	r.svc.spec = *spec
	r.svc.runs++
	r.svc.forgotten = false
	m.runs[key] = r
	if m.console != nil {
		m.console.widen(key.name)
	}
	return r, nil
}

// service must be called with mu held.
func (m *Manager) service(name string) *service {
	svc := m.services[name]
	if svc == nil {
		svc = &service{name: name, spec: model.Log{Stdout: []model.LogTarget{{}}, Stderr: []model.LogTarget{{}}}}
		m.services[name] = svc
	}
	return svc
}

// leave takes back enter and what came after it.
func (m *Manager) leave(r *run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, src := range r.live {
		delete(m.sources, src.id)
		unix.EpollCtl(m.epoll, unix.EPOLL_CTL_DEL, src.fd, nil)
		unix.Close(src.fd)
		os.Remove(src.path)
	}
	delete(m.runs, r.key)
	r.svc.runs--
	m.journal.dropRun(r.slot)
}

// listen lets the thread see the run's sources.
func (m *Manager) listen(r *run) error {
	m.mu.Lock()
	for _, src := range r.live {
		m.sources[src.id] = src
	}
	m.mu.Unlock()
	for _, src := range r.live {
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(src.id), Pad: int32(src.id >> 32)}
		if err := unix.EpollCtl(m.epoll, unix.EPOLL_CTL_ADD, src.fd, &ev); err != nil {
			return err
		}
	}
	return nil
}

// serve takes a turn at one source.
func (m *Manager) serve(src *source) {
	src.queued = false
	if src.closed {
		return
	}
	m.progress()
	if !src.placed {
		m.place(src)
	}
	if k := src.stuckAt(); k != nil {
		k.waiting = append(k.waiting, src)
		return
	}
	n, eof := m.takeFrom(src)
	if src.eof = eof; n > 0 {
		m.takes++
		m.taken += n
	}
	if src.run.abandoned {
		src.turns++
	}
	switch {
	case n > 0 && src.turns < closeTurns:
		m.queue(src)
	case eof && src.run.ended, src.run.abandoned:
		m.closeSource(src)
	}
}

// stuckAt is the log that a source has to wait for, nil if there is none.
func (src *source) stuckAt() *sink {
	for _, k := range src.sinks {
		if k.parked != nil {
			return k
		}
	}
	return nil
}

// closeSource ends a source that nobody will write to any more.
func (m *Manager) closeSource(src *source) {
	m.finish(src)
	if k := src.stuckAt(); k != nil {
		// Its last line has to wait for a disk; so does everything else.
		k.waiting = append(k.waiting, src)
		return
	}
	if m.console != nil {
		m.console.finish(src.id)
	}
	src.closed = true
	for _, k := range src.sinks {
		k.refs--
	}
	m.retire(src)
	m.relief.mu.Lock()
	m.mu.Lock()
	delete(m.sources, src.id)
	m.mu.Unlock()
	unix.EpollCtl(m.epoll, unix.EPOLL_CTL_DEL, src.fd, nil)
	unix.Close(src.fd)
	m.relief.mu.Unlock()
	r := src.run
	for i, s := range r.live {
		if s == src {
			r.live = append(r.live[:i], r.live[i+1:]...)
			break
		}
	}
	m.runDone(r)
}

// runDone forgets a run that has nothing open any more, and says so.
func (m *Manager) runDone(r *run) {
	if len(r.live) > 0 {
		return
	}
	m.mu.Lock()
	delete(m.runs, r.key)
	m.journal.dropRun(r.slot)
	r.svc.runs--
	forget := r.svc.forgotten && r.svc.runs == 0
	m.mu.Unlock()
	if forget {
		m.forget(r.svc)
	}
	for _, f := range r.done {
		f()
	}
	r.done = nil
}
