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
	turns   int  // taken since its run was abandoned
	queued  bool
	closed  bool
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
	for _, src := range r.live {
		unix.EpollCtl(m.epoll, unix.EPOLL_CTL_DEL, src.fd, nil)
		unix.Close(src.fd)
		os.Remove(src.path)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, src := range r.live {
		delete(m.sources, src.id)
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

func (m *Manager) openFIFO(r *run, path string, fresh bool) (int, error) {
	if fresh {
		err := unix.Mkfifo(path, 0o600)
		if err == unix.ENOENT {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return -1, err
			}
			err = unix.Mkfifo(path, 0o600)
		}
		if err == unix.EEXIST {
			if err := os.Remove(path); err != nil {
				return -1, err
			}
			err = unix.Mkfifo(path, 0o600)
		}
		if err != nil {
			return -1, err
		}
	}
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, err
	}
	if fresh {
		if (r.uid >= 0 && r.uid != os.Geteuid()) || (r.gid >= 0 && r.gid != os.Getegid()) {
			err = unix.Fchown(fd, r.uid, r.gid)
		}
	} else {
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
			err = errors.New("it is not a FIFO")
		}
		r.uid, r.gid = int(st.Uid), int(st.Gid)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// place finds out where a source's bytes go, by its definition as it is now.
func (m *Manager) place(src *source) {
	src.placed = true
	m.mu.Lock()
	spec := src.svc.spec
	m.mu.Unlock()
	var sinks []*sink
	console := false
	if src.fromRec {
		sinks = m.recordedSinks(src)
	}
	if len(sinks) == 0 {
		for _, t := range targetsOf(&spec, src.stream) {
			switch t.Kind {
			case model.LogConsole:
				console = true
			case model.LogFile:
				sinks = addSink(sinks, m.sinkFor(DefaultPath(m.opt.LogDir, src.svc.name), true, src))
			case model.LogPath:
				sinks = addSink(sinks, m.sinkFor(t.Path, false, src))
			}
		}
		for _, k := range sinks {
			k.setRules(rulesOf(&spec))
		}
	}
	for _, k := range src.sinks {
		k.refs--
	}
	src.sinks, src.console = sinks, console
	src.safe = src.id>>1 < runSlots
	for i := range maxSinks {
		slot := uint32(0)
		if i < len(sinks) {
			sinks[i].refs++
			src.safe = src.safe && sinks[i].slot != noSlot
			slot = sinks[i].slot + 1
		}
		src.rec.sinks[src.stream][i].Store(slot)
	}
	if !src.safe {
		m.unsafe(errors.New("the journal has no room"))
	}
}

func addSink(sinks []*sink, k *sink) []*sink {
	if slices.Contains(sinks, k) {
		return sinks
	}
	return append(sinks, k)
}

// recordedSinks are those that the journal names for a source.
func (m *Manager) recordedSinks(src *source) []*sink {
	var sinks []*sink
	for i := range maxSinks {
		if slot := src.rec.sinks[src.stream][i].Load(); slot != 0 && m.bySlot[slot-1] != nil {
			sinks = append(sinks, m.bySlot[slot-1])
		}
	}
	return sinks
}

// sinkFor is the log at path, made known if it is not.
func (m *Manager) sinkFor(path string, own bool, src *source) *sink {
	k := m.sinks[path]
	m.mu.Lock()
	defer m.mu.Unlock()
	if k == nil {
		k = &sink{fd: -1, path: path, service: src.svc.name, uid: -1, gid: -1}
		k.slot, k.rec = m.journal.newSink()
		k.rec.pathLen.Store(uint64(copy(k.rec.path[:], path)))
		k.own, k.hostile = own, !own && m.hostile
		k.rec.used.Store(1)
		m.sinks[path] = k
		if k.slot != noSlot {
			m.bySlot[k.slot] = k
		}
	}
	k.own, k.hostile = own, !own && m.hostile
	if !own && src.run != nil {
		k.uid, k.gid = src.run.uid, src.run.gid
	}
	if !slices.Contains(src.svc.files, k) {
		src.svc.files = append(src.svc.files, k)
	}
	return k
}

func (m *Manager) recoverSink(slot uint32, rec *sinkRec) {
	flags := rec.flags.Load()
	k := &sink{
		slot: slot, rec: rec, fd: -1, path: rec.text(), uid: -1, gid: -1,
		hostile: flags&flagHostile != 0, own: flags&flagOwn != 0,
	}
	k.service = filepath.Base(filepath.Dir(k.path))
	k.rules.stamp = model.Stamp(flags & flagStamp)
	k.rules.json = flags&flagJSON != 0
	k.rules.block = flags&flagBlock != 0
	k.rules.size = int64(rec.limit.Load())
	m.sinks[k.path] = k
	m.bySlot[slot] = k
}

func (m *Manager) recoverRun(slot uint32, rec *runRec) {
	m.left[runKey{rec.text(), rec.number.Load()}] = slot
}

// serve takes a turn at one source.
func (m *Manager) serve(src *source) {
	src.queued = false
	if src.closed {
		return
	}
	if !src.placed {
		m.place(src)
	}
	if k := src.stuckAt(); k != nil {
		k.waiting = append(k.waiting, src)
		return
	}
	n, eof := m.takeFrom(src)
	if n > 0 {
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
	unix.EpollCtl(m.epoll, unix.EPOLL_CTL_DEL, src.fd, nil)
	unix.Close(src.fd)
	unix.Unlink(src.path)
	r := src.run
	for i, s := range r.live {
		if s == src {
			r.live = append(r.live[:i], r.live[i+1:]...)
			break
		}
	}
	m.mu.Lock()
	delete(m.sources, src.id)
	m.mu.Unlock()
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

// Ended tells that a run's main process is gone. Done is called from the
// Manager's thread, and must not block, when all the run wrote is in its logs and
// its FIFOs are removed: at once, unless other processes still have them open.
// Done is called, too, for a run that is not known.
func (m *Manager) Ended(name string, number uint64, done func()) error {
	return m.endRun(runKey{name, number}, done, false)
}

// Abandon is Ended for a run whose FIFOs others may hold open: what is in them is
// taken, what comes later is not.
func (m *Manager) Abandon(name string, number uint64) error {
	return m.endRun(runKey{name, number}, nil, true)
}

func (m *Manager) endRun(key runKey, done func(), abandon bool) error {
	return m.do(func() {
		m.mu.Lock()
		r := m.runs[key]
		m.mu.Unlock()
		if r == nil {
			if done != nil {
				done()
			}
			return
		}
		r.ended = true
		r.abandoned = r.abandoned || abandon
		if done != nil {
			r.done = append(r.done, done)
		}
		if len(r.live) == 0 {
			m.runDone(r)
			return
		}
		for _, src := range r.live {
			m.queue(src)
		}
	})
}

// Configure makes a changed [log] table hold from the next take on.
func (m *Manager) Configure(name string, spec *model.Log) error {
	if err := Check(spec); err != nil {
		return err
	}
	m.mu.Lock()
	svc := m.service(name)
	svc.spec = *spec
	m.mu.Unlock()
	return m.do(func() {
		m.mu.Lock()
		svc.files = nil
		var moved []*source
		for _, src := range m.sources {
			if src.svc == svc && src.placed {
				moved = append(moved, src)
			}
		}
		m.mu.Unlock()
		for _, src := range moved {
			m.move(src)
		}
	})
}

// move gives a source its place anew, and leaves no line unfinished where it
// writes no more.
func (m *Manager) move(src *source) {
	if k := src.stuckAt(); k != nil {
		// The parked take goes where it was going; the source moves after it.
		src.placed = false
		return
	}
	old := src.sinks
	wasMid := src.rec.mid[src.stream].Load()
	src.fromRec = false
	m.place(src)
	for _, k := range old {
		if !slices.Contains(src.sinks, k) && k.rec.place.open.Load() == src.id {
			gone := *src
			gone.sinks = []*sink{k}
			m.finish(&gone)
			src.rec.mid[src.stream].Store(wasMid)
		}
	}
}

// Note writes a line of abide's own into the logs of a service.
func (m *Manager) Note(name string, number uint64, text string) error {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, text)
	text = text[:min(len(text), 4096)]
	return m.do(func() {
		m.mu.Lock()
		svc := m.service(serviceOf(name))
		spec := svc.spec
		m.mu.Unlock()
		var sinks []*sink
		console := false
		probe := &source{svc: svc, rec: m.own.rec}
		for _, t := range targetsOf(&spec, streamOut) {
			switch t.Kind {
			case model.LogFile:
				sinks = addSink(sinks, m.sinkFor(DefaultPath(m.opt.LogDir, svc.name), true, probe))
			case model.LogPath:
				sinks = addSink(sinks, m.sinkFor(t.Path, false, probe))
			case model.LogConsole:
				console = true
			}
		}
		for _, k := range sinks {
			k.setRules(rulesOf(&spec))
			m.noteTo(k, number, text)
		}
		if console && m.console != nil {
			m.console.put(svc.name, goneID, []byte("abide: "+text+"\n"), svc)
		}
	})
}

// Rotate begins a new log file of a service now.
func (m *Manager) Rotate(name string) error {
	return m.do(func() {
		m.mu.Lock()
		files := m.service(name).files
		m.mu.Unlock()
		now := m.now()
		for _, k := range files {
			if k.parked == nil {
				k.rotateAt = 0
				m.rotate(k, now, m.mono(now))
			}
		}
	})
}

// Forget tells that a service is gone from the definitions. What its last runs
// still write is taken.
func (m *Manager) Forget(name string) error {
	return m.do(func() {
		m.mu.Lock()
		svc := m.services[name]
		if svc == nil {
			m.mu.Unlock()
			return
		}
		svc.forgotten = true
		busy := svc.runs > 0
		m.mu.Unlock()
		if !busy {
			m.forget(svc)
		}
	})
}

func (m *Manager) forget(svc *service) {
	m.mu.Lock()
	files := svc.files
	svc.files = nil
	delete(m.services, svc.name)
	m.mu.Unlock()
	for _, k := range files {
		m.dropSink(k)
	}
}

// dropSink closes a log that no source and no service writes to.
func (m *Manager) dropSink(k *sink) {
	if k.refs > 0 || k.parked != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, svc := range m.services {
		if slices.Contains(svc.files, k) {
			return
		}
	}
	if k.fd >= 0 {
		unix.Close(k.fd)
		k.fd = -1
	}
	delete(m.sinks, k.path)
	delete(m.bySlot, k.slot)
	m.journal.dropSink(k.slot, k.rec)
}

// Stats tells what became of a service's output.
func (m *Manager) Stats(name string) Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	svc := m.services[name]
	if svc == nil {
		return Stats{}
	}
	s := Stats{DroppedBytes: svc.consoleBytes.Load(), DroppedLines: svc.consoleLines.Load()}
	for _, t := range append(svc.spec.Stdout[:len(svc.spec.Stdout):len(svc.spec.Stdout)], svc.spec.Stderr...) {
		if t.Kind == model.LogFile {
			s.Path = DefaultPath(m.opt.LogDir, name)
		} else if t.Kind == model.LogPath {
			s.Path = t.Path
		}
		if s.Path != "" {
			break
		}
	}
	for _, k := range svc.files {
		s.Bytes += k.rec.place.written.Load()
		s.DroppedBytes += k.rec.place.allBytes.Load()
		s.DroppedLines += k.rec.place.allLines.Load()
		if text := k.troubleText.Load(); text != nil && s.Trouble == "" {
			s.Trouble = *text
		}
	}
	return s
}

// Sweep looks after what earlier runs left and nobody adopted: FIFOs are emptied
// into the logs they belonged to and removed as soon as nobody has them open for
// writing, unfinished lines are ended. It is called once all runs are adopted.
func (m *Manager) Sweep() error {
	return m.do(func() {
		root := filepath.Join(m.opt.RunDir, "services")
		folders, err := os.ReadDir(root)
		if err != nil {
			m.report("", "cannot look for log pipes that were left: "+err.Error())
		}
		for _, folder := range folders {
			files, err := os.ReadDir(filepath.Join(root, folder.Name()))
			if err != nil {
				continue
			}
			for _, file := range files {
				if file.Type()&os.ModeNamedPipe == 0 {
					continue
				}
				if key, s, ok := parseFIFO(folder.Name(), file.Name()); ok {
					m.sweepFIFO(key, s)
				}
			}
		}
		m.mu.Lock()
		left := m.left
		m.left = map[runKey]uint32{}
		m.mu.Unlock()
		for key, slot := range left {
			m.sweepRun(key, slot)
		}
		m.mu.Lock()
		var unplaced []*source
		for _, src := range m.sources {
			if !src.placed {
				unplaced = append(unplaced, src)
			}
		}
		m.mu.Unlock()
		for _, src := range unplaced {
			m.place(src)
		}
		for _, k := range m.sinks {
			m.dropSink(k)
		}
	})
}

// sweepFIFO takes up a FIFO that belongs to no known run.
func (m *Manager) sweepFIFO(key runKey, s stream) {
	if checkName(key.name) != nil {
		return
	}
	m.mu.Lock()
	r := m.runs[key]
	svc := m.service(serviceOf(key.name))
	spec := svc.spec
	m.mu.Unlock()
	if r == nil {
		var err error
		if r, err = m.enter(key, -1, -1, &spec); err != nil {
			return
		}
		r.ended, r.swept = true, true
	} else if !r.swept {
		return
	}
	path := m.fifo(key, s)
	fd, err := m.openFIFO(r, path, false)
	if err != nil {
		m.report(svc.name, fmt.Sprintf("cannot empty log pipe %s: %v", path, err))
		return
	}
	src := &source{
		id: uint64(r.slot)<<1 | uint64(s), run: r, svc: r.svc, name: key.name, number: key.number,
		stream: s, rec: r.rec, path: path, fd: fd, fromRec: true,
	}
	r.live = append(r.live, src)
	if err := m.listen(&run{live: []*source{src}}); err != nil {
		r.abandoned = true
	}
	m.queue(src)
}

// sweepRun ends the lines of a run that has no FIFO left.
func (m *Manager) sweepRun(key runKey, slot uint32) {
	rec := m.journal.run(slot)
	for s := range rec.mid {
		src := &source{
			id: uint64(slot)<<1 | uint64(s), name: key.name, number: key.number, stream: stream(s), rec: rec, safe: true, fd: -1,
		}
		src.sinks = m.recordedSinks(src)
		if rec.mid[s].Load() != 0 && src.stuckAt() == nil {
			m.finish(src)
		}
	}
	m.mu.Lock()
	m.journal.dropRun(slot)
	m.mu.Unlock()
}
