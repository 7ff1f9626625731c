package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

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
	svc.removeSpares()
	delete(m.services, svc.name)
	m.mu.Unlock()
	for _, k := range files {
		m.dropSink(k)
	}
}

// Stats tells what became of a service's output.
func (m *Manager) Stats(name string) Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	svc := m.services[name]
	if svc == nil {
		return Stats{}
	}
	s := Stats{
		Path:         Path(m.opt.LogDir, name, &svc.spec),
		DroppedBytes: svc.consoleBytes.Load(), DroppedLines: svc.consoleLines.Load(),
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
				if isSpare(file.Name()) {
					m.sweepSpare(folder.Name(), filepath.Join(root, folder.Name(), file.Name()))
				} else if key, s, ok := parseFIFO(folder.Name(), file.Name()); ok {
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

// sweepSpare removes a spare FIFO that an earlier Manager kept.
func (m *Manager) sweepSpare(service, path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	svc := m.services[service]
	if svc == nil || !slices.ContainsFunc(svc.spares, func(s spare) bool { return s.path == path }) {
		unix.Unlink(path)
	}
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
	if err := m.listen(src); err != nil {
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
