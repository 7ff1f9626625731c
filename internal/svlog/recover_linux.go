package svlog

import (
	"os"
	"time"
)

// recover does again what an earlier Manager was killed at.
func (m *Manager) recover() {
	now := m.now()
	m.journal.recover(m.recoverRun, m.recoverSink)
	for _, k := range m.sinks {
		if k.rec.rotating.Load() != 0 {
			if err := m.rotateAgain(k, now); err != nil {
				k.rec.rotating.Store(0)
				k.rec.ino.Store(0)
			}
		}
	}
	for i := range takeSlots {
		rec := m.journal.take(i)
		if rec == nil {
			break
		}
		if _, err := os.Stat(stagePath(m.opt.RunDir, i)); err != nil && i > 0 {
			continue
		}
		m.stages = i + 1
		st, err := openStage(m.opt.RunDir, i, rec)
		if err != nil {
			m.report("", "cannot open the log stage: "+err.Error()+"; log lines may be lost if abide is killed")
			continue
		}
		if m.takeAgain(st, now) {
			m.releaseStage(st)
		}
	}
}

// takeAgain brings to an end the take that stands in the stage's record. It
// reports false if that has to wait for a full disk.
func (m *Manager) takeAgain(st *stage, now time.Time) bool {
	r := st.rec
	word := r.word.Load()
	if phase(word&0xff) == phaseIdle {
		return true
	}
	if takeKind(r.kind.Load()) > takeFinish || r.end.Load() > uint64(st.size) {
		r.word.Store(uint64(phaseIdle))
		return true
	}
	src := m.sourceOf(r)
	switch phase(word & 0xff) {
	case phaseCommit:
		if k := m.bySlot[uint32(r.afterSlot.Load())]; k != nil {
			k.rec.place.copyFrom(&r.after)
		}
		r.word.Store(uint64(phaseWrite) | (word>>8+1)<<8)
	case phaseEnd:
		var rec *runRec
		if src != nil {
			rec = src.rec
		}
		m.endAgain(r, rec, stream(r.source.Load()&1), r.end.Load() >= uint64(st.size))
	}
	pos := r.pos.Load()
	if phase(r.word.Load()&0xff) == phaseIdle || src == nil || pos > uint64(st.size) ||
		(pos == uint64(st.size) && takeKind(r.kind.Load()) != takeFinish) {
		r.word.Store(uint64(phaseIdle))
		return true
	}
	t := &take{
		st: st, rec: r, kind: takeKind(r.kind.Load()), src: src, sinks: src.sinks, base: pos, bytes: st.mem[pos:st.size],
		run: r.run.Load(), stamp: int64(r.stamp.Load()), now: now, mono: m.mono(now), again: true,
	}
	if slot := r.sink.Load(); slot != 0 {
		k := m.bySlot[uint32(slot-1)]
		if k == nil {
			r.word.Store(uint64(phaseIdle))
			return true
		}
		t.sinks = []*sink{k}
	}
	if k := m.carry(t); k != nil {
		k.parked = t
		m.deadline(k.retryAt)
		return false
	}
	return true
}

// sourceOf is the source a take in the journal came from, as far as its record
// tells; nil if that is gone.
func (m *Manager) sourceOf(r *takeRec) *source {
	id := r.source.Load()
	if id == goneID {
		return m.own
	}
	slot := uint32(id >> 1)
	if slot == 0 || slot >= runSlots || m.journal.run(slot).used.Load() == 0 {
		return nil
	}
	rec := m.journal.run(slot)
	src := &source{id: id, stream: stream(id & 1), rec: rec, number: rec.number.Load(), name: rec.text(), safe: true, fd: -1}
	src.sinks = m.recordedSinks(src)
	return src
}

// spareStage is a stage for the takes to come while another one is parked.
func (m *Manager) spareStage() *stage {
	if n := len(m.spare); n > 0 {
		st := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return st
	}
	if m.stages >= takeSlots || m.journal.take(m.stages) == nil {
		return nil
	}
	st, err := openStage(m.opt.RunDir, m.stages, m.journal.take(m.stages))
	if err != nil {
		return nil
	}
	st.rec.word.Store(uint64(phaseIdle))
	m.stages++
	return st
}

func (m *Manager) releaseStage(st *stage) {
	if m.stage == nil {
		m.stage = st
		return
	}
	m.spare = append(m.spare, st)
}
