package svlog

import (
	"errors"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

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
	src.blocks.Store(slices.ContainsFunc(sinks, func(k *sink) bool { return k.rules.block }))
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
			gone := &source{
				id: src.id, run: src.run, svc: src.svc, name: src.name, number: src.number, stream: src.stream,
				rec: src.rec, fd: -1, sinks: []*sink{k}, safe: src.safe,
			}
			m.finish(gone)
			src.rec.mid[src.stream].Store(wasMid)
		}
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
