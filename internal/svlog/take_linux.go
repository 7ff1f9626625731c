package svlog

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// take is one portion of bytes on its way from a source to its sinks. There is
// one at a time, beside those that are parked until a full disk has room.
type take struct {
	st    *stage   // nil: the bytes are in memory, and a crash loses them
	rec   *takeRec // in the journal, or private
	kind  takeKind
	src   *source
	sinks []*sink
	bytes []byte // all of the take; bytes[0] is stage byte base
	base  uint64
	run   uint64 // of a note
	stamp int64
	now   time.Time
	mono  time.Duration
	mid   bool
	again bool // it was under way before a crash, or was parked
}

// runNumber is the run that a note about the take is said of.
func (t *take) runNumber() uint64 {
	if t.run != 0 {
		return t.run
	}
	run, _ := shown(t.src.name, t.src.number, t.src.stream)
	return run
}

// begin puts a take into the journal, before its first byte is taken. Once it is
// there, whatever stands behind the recorded end of a log counts as a part of the
// take, so the record must know what others have written before.
func (t *take) begin(pos uint64, only *sink) {
	for _, k := range t.sinks {
		k.expect(t)
	}
	r := t.rec
	r.kind.Store(uint64(t.kind))
	r.source.Store(t.src.id)
	r.stamp.Store(uint64(t.stamp))
	r.run.Store(t.run)
	r.sink.Store(0)
	if only != nil {
		r.sink.Store(uint64(only.slot) + 1)
	}
	r.pos.Store(pos)
	r.end.Store(0)
	t.base = pos
	r.word.Store(uint64(phaseWrite))
}

// carry brings a take to its sinks, part by part, from wherever it stands. If it
// has to wait for one of them, it returns that one.
func (m *Manager) carry(t *take) (stuck *sink) {
	r := t.rec
	size := t.base + uint64(len(t.bytes))
	for {
		index := int(r.word.Load() >> 8)
		pos, end := r.pos.Load(), r.end.Load()
		if end <= pos {
			end = pos + uint64(m.part(t, t.bytes[pos-t.base:]))
			r.end.Store(end)
		}
		src := t.bytes[pos-t.base : end-t.base]
		t.mid = t.src.rec.mid[t.src.stream&1].Load() != 0
		for i := index; i < len(t.sinks); i++ {
			k := t.sinks[i]
			after, ok := m.write(t, k, src)
			if !ok {
				return k
			}
			at("written")
			m.commit(t, i, k, &after)
		}
		m.end(t, src, end)
		for _, k := range t.sinks {
			m.rotateIfDue(k, t.now, t.mono)
		}
		if end == size {
			return nil
		}
	}
}

// part decides how much of the rest of a take may be written before a log must be
// rotated: up to the end of the line that reaches the log's limit.
func (m *Manager) part(t *take, src []byte) int {
	n := len(src)
	if t.kind != takeData {
		return n
	}
	for _, k := range t.sinks {
		perLine := rfcLen + 8 // about what stands before a line
		if k.rules.json {
			perLine = 100
		}
		limit, offset := k.rec.limit.Load(), k.rec.place.offset.Load()
		if limit == 0 || offset+uint64(n*(1+perLine)) < limit {
			continue
		}
		room := int64(limit) - int64(offset)
		used, made := 0, int64(0)
		for used < n && (used == 0 || made < room) {
			end := bytes.IndexByte(src[used:n], '\n') + 1
			if end == 0 {
				used = n
				break
			}
			used += end
			made += int64(end + perLine)
		}
		n = used
	}
	return n
}

// commit makes the record of sink number i follow what was written.
func (m *Manager) commit(t *take, i int, k *sink, after *state) {
	r := t.rec
	if k.slot == noSlot || t.st == nil {
		k.rec.place.store(after)
		r.word.Store(uint64(phaseWrite) | uint64(i+1)<<8)
	} else {
		r.after.store(after)
		r.afterSlot.Store(uint64(k.slot))
		at("commit prepared")
		r.word.Store(uint64(phaseCommit) | uint64(i)<<8)
		at("commit")
		k.rec.place.copyFrom(&r.after)
		at("committed")
		r.word.Store(uint64(phaseWrite) | uint64(i+1)<<8)
		at("next sink")
	}
	m.wrote(t, k)
}

// end makes the run's record and the take's position follow a part that has
// reached all its sinks.
func (m *Manager) end(t *take, src []byte, end uint64) {
	r := t.rec
	mid := uint64(0)
	switch {
	case t.kind == takeNote:
		mid = t.src.rec.mid[t.src.stream&1].Load()
	case len(src) > 0 && src[len(src)-1] != '\n':
		mid = 1
	}
	r.mid.Store(mid)
	r.word.Store(uint64(phaseEnd))
	at("part done")
	m.endAgain(r, t.src.rec, t.src.stream, end == t.base+uint64(len(t.bytes)))
}

// endAgain is the part of end that may be done twice.
func (m *Manager) endAgain(r *takeRec, run *runRec, s stream, last bool) {
	if takeKind(r.kind.Load()) != takeNote && run != nil {
		run.mid[s&1].Store(r.mid.Load())
	}
	r.pos.Store(r.end.Load())
	at("position moved")
	if last {
		r.word.Store(uint64(phaseIdle))
	} else {
		r.word.Store(uint64(phaseWrite))
	}
	at("part ended")
}

// takeFrom takes what a source has. It reports how many bytes came, and whether
// the source has ended (nobody has it open for writing).
func (m *Manager) takeFrom(src *source) (n int, ended bool) {
	t := &m.current
	*t = take{kind: takeData, src: src, sinks: src.sinks, now: m.now(), bytes: nil}
	t.stamp, t.mono = t.now.UnixNano(), m.mono(t.now)

	st := m.stage
	if st == nil || !src.safe {
		return m.takeIntoMemory(t)
	}
	if err := st.trim(); err != nil {
		m.unsafe(err)
		return m.takeIntoMemory(t)
	}
	m.relief.mu.Lock()
	m.account(src)
	t.st, t.rec = st, st.rec
	t.begin(uint64(st.size), nil)
	at("take begun")
	n, err := st.splice(src.fd)
	m.relief.mu.Unlock()
	at("taken")
	if n > 0 {
		t.bytes = st.mem[st.size-int64(n) : st.size]
		m.deliver(t)
		return n, false
	}
	t.rec.word.Store(uint64(phaseIdle))
	switch err {
	case nil:
		return 0, true
	case unix.EAGAIN:
		return 0, false
	case unix.ENOSPC, unix.EDQUOT, unix.EIO:
		m.unsafe(err)
	}
	return m.takeIntoMemory(t)
}

// unsafe says once that the run directory cannot hold what a crash needs.
func (m *Manager) unsafe(err error) {
	if !m.stageFull {
		m.stageFull = true
		m.report("", "cannot stage log lines in "+m.opt.RunDir+": "+err.Error()+"; lines may be lost if abide is killed now")
	}
}

// takeIntoMemory is takeFrom where the run directory is full or gone.
func (m *Manager) takeIntoMemory(t *take) (int, bool) {
	if m.in == nil {
		m.in = make([]byte, 64<<10)
	}
	m.relief.mu.Lock()
	m.account(t.src)
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(t.src.fd, m.in) })
	m.relief.mu.Unlock()
	if n <= 0 {
		return 0, err == nil
	}
	t.st, t.rec, t.bytes = nil, m.private, m.in[:n]
	t.begin(0, nil)
	m.deliver(t)
	return n, false
}

// deliver carries a take, parks it if it must wait, and then serves the console.
func (m *Manager) deliver(t *take) {
	if r := t.src.run; r != nil && r.await != nil && t.kind == takeData && r.await.look(t.src.stream&1, t.bytes) {
		r.await = nil
	}
	if k := m.carry(t); k != nil {
		m.park(t, k)
	}
	if t.src.console && m.console != nil && t.kind == takeData {
		m.console.take(t, t.bytes)
	}
}

// park puts a take aside until k can be written, and gives the Manager another
// stage to go on with.
func (m *Manager) park(t *take, k *sink) {
	parked := new(take)
	*parked = *t
	parked.again = true
	if t.st != nil {
		m.stage = m.spareStage()
	} else {
		parked.bytes = bytes.Clone(t.bytes)
		m.private = new(takeRec)
	}
	k.parked = parked
}

// retry brings the take that waits for k further, if it can.
func (m *Manager) retry(k *sink, now time.Time, mono time.Duration) {
	t := k.parked
	t.now, t.mono = now, mono
	stuck := m.carry(t)
	if stuck == k {
		return
	}
	k.parked = nil
	if stuck != nil {
		stuck.parked = t
	} else if t.st != nil {
		m.releaseStage(t.st)
	}
	for _, src := range k.waiting {
		m.queue(src)
	}
	k.waiting = nil
	for _, n := range k.notes {
		m.noteTo(k, n.run, n.text)
	}
	k.notes = nil
}

// note writes a line of abide's own into one log.
func (m *Manager) noteTo(k *sink, run uint64, text string) {
	if k.parked != nil {
		if len(k.notes) < 16 {
			k.notes = append(k.notes, pendingNote{run, text})
		}
		return
	}
	m.small(takeNote, m.own, []*sink{k}, k, run, []byte(text))
}

// finish ends the line a source has left unfinished in its logs.
func (m *Manager) finish(src *source) {
	for _, k := range src.sinks {
		if k.rec.place.open.Load() == src.id {
			m.small(takeFinish, src, src.sinks, nil, 0, nil)
			return
		}
	}
}

// small makes a take of bytes that come from abide itself.
func (m *Manager) small(kind takeKind, src *source, sinks []*sink, only *sink, run uint64, text []byte) {
	now := m.now()
	t := &take{
		kind: kind, src: src, sinks: sinks, run: run, bytes: text,
		now: now, mono: m.mono(now), stamp: now.UnixNano(), rec: m.private,
	}
	if st := m.stage; st != nil && src.safe && (only == nil || only.slot != noSlot) && st.trim() == nil {
		t.st, t.rec = st, st.rec
		t.begin(uint64(st.size), only)
		at("small take begun")
		if err := st.put(text); err != nil {
			st.rec.word.Store(uint64(phaseIdle))
			t.st, t.rec = nil, m.private
		}
		at("small take staged")
	}
	if t.st == nil {
		t.begin(0, only)
	}
	m.deliver(t)
}
