package svlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	await     *lineWatch // nil: nobody waits for a line
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
	path    string // of its FIFO, "" if that has no name
	fd      int
	sinks   []*sink
	console bool
	safe    bool // all its records are in the journal
	placed  bool // sinks and console are those of the definition
	fromRec bool // its sinks are those in the record: no definition is known
	// released: the pipe is another's to read once this source is closed.
	released bool
	eof      bool // nobody has it open for writing
	turns    int  // taken since its run was abandoned
	queued   bool
	closed   bool

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
	if err := m.listen(r.live...); err != nil {
		m.leave(r)
		return Pipes{}, fmt.Errorf("cannot watch the log pipes of %s: %w", name, err)
	}
	return pipes, nil
}

// Stream names one output of a run, for AdoptFD.
type Stream = stream

// Stdout and Stderr are the streams of a run.
const (
	Stdout = streamOut
	Stderr = streamErr
)

// AdoptFD takes up one stream of a run by the read end of its pipe: where the
// pipe has no name any more, or never had one. The run may be known, from Adopt or
// an AdoptFD of its other stream, or not. The descriptor is the Manager's from
// then on, whatever the outcome, and is set to O_NONBLOCK. It is an error if it is
// no pipe that can be read. A stream that is taken already stays as it is, and a
// pipe that is both streams of its run is taken once, as the one that came first.
func (m *Manager) AdoptFD(name string, number uint64, s Stream, fd int, spec *model.Log) error {
	r, st, err := m.enterFD(runKey{name, number}, fd, spec)
	if err == nil {
		if err = m.do(func() { m.attachFD(r, s&1, fd, st) }); err != nil {
			m.leave(r)
		}
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("cannot take up std%s of run %d of %s: %w", streamNames[s&1], number, name, err)
	}
	return nil
}

// enterFD makes the run of a pipe known, and the pipe fit to be taken up.
func (m *Manager) enterFD(key runKey, fd int, spec *model.Log) (*run, *unix.Stat_t, error) {
	if err := checkName(key.name); err != nil {
		return nil, nil, err
	}
	if err := Check(spec); err != nil {
		return nil, nil, err
	}
	st := new(unix.Stat_t)
	if err := unix.Fstat(fd, st); err != nil {
		return nil, nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, nil, errors.New("its descriptor is no pipe")
	}
	if how, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
		return nil, nil, err
	} else if how&unix.O_ACCMODE == unix.O_WRONLY {
		return nil, nil, errors.New("its descriptor is not open for reading")
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, nil, err
	}
	unix.CloseOnExec(fd)
	m.mu.Lock()
	r := m.runs[key]
	m.mu.Unlock()
	if r != nil {
		return r, st, nil
	}
	r, err := m.enter(key, int(st.Uid), int(st.Gid), spec)
	return r, st, err
}

// attachFD is the part of AdoptFD that the thread does.
func (m *Manager) attachFD(r *run, s stream, fd int, pipe *unix.Stat_t) {
	m.mu.Lock()
	known := m.runs[r.key] == r
	m.mu.Unlock()
	taken := slices.ContainsFunc(r.live, func(other *source) bool {
		var st unix.Stat_t
		return other.stream == s || unix.Fstat(other.fd, &st) == nil && st.Ino == pipe.Ino && st.Dev == pipe.Dev
	})
	if taken || !known {
		unix.Close(fd)
		return
	}
	src := &source{
		id: uint64(r.slot)<<1 | uint64(s), run: r, svc: r.svc, name: r.key.name, number: r.key.number,
		stream: s, rec: r.rec, fd: fd,
	}
	// A pipe that lies where this run's would be is removed with the run.
	var named unix.Stat_t
	if path := m.fifo(r.key, s); unix.Lstat(path, &named) == nil && named.Ino == pipe.Ino && named.Dev == pipe.Dev {
		src.path = path
	}
	if err := m.listen(src); err != nil {
		unix.Close(fd)
		m.report(r.svc.name, fmt.Sprintf("cannot watch a log pipe: %v; what is written there is not taken", err))
		return
	}
	r.live = append(r.live, src)
	m.queue(src)
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
		if src.path != "" {
			os.Remove(src.path)
		}
	}
	delete(m.runs, r.key)
	r.svc.runs--
	m.journal.dropRun(r.slot)
}

// listen lets the thread see sources. With an error it sees none of them.
func (m *Manager) listen(sources ...*source) error {
	m.mu.Lock()
	for _, src := range sources {
		m.sources[src.id] = src
	}
	m.mu.Unlock()
	for _, src := range sources {
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(src.id), Pad: int32(src.id >> 32)}
		if err := unix.EpollCtl(m.epoll, unix.EPOLL_CTL_ADD, src.fd, &ev); err != nil {
			m.mu.Lock()
			for _, src := range sources {
				delete(m.sources, src.id)
			}
			m.mu.Unlock()
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
