//go:build amd64 || arm64

package keeper

import (
	"runtime"
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
	"github.com/abide-project/abide/internal/version"
)

// request carries out one message of the engine and answers it. Whatever it is
// given, every descriptor in fds is either kept or closed.
func (k *keeper) request(msg []byte, fds []int, truncated bool) {
	h, body, code := wire.Parse(msg)
	if code == wire.CodeNone && !h.Type.Request() {
		code = wire.CodeType
	}
	if code == wire.CodeNone && !k.engine.hello && h.Type != wire.TypeHello {
		code = wire.CodeOrder
	}
	if code == wire.CodeNone && h.Type != wire.TypeHello && h.Type.Since() > k.engine.version {
		code = wire.CodeVersion
	}
	if code != wire.CodeNone {
		closeAll(fds)
		k.wrong(h.Seq, code)
		return
	}
	if h.Type == wire.TypeSpawn {
		k.spawn(h.Seq, body, fds, truncated)
		return
	}
	if h.Type == wire.TypeKeep {
		k.keepRequest(h.Seq, body, fds, truncated)
		return
	}
	if h.Type == wire.TypeUpgrade {
		k.upgradeRequest(h.Seq, body, fds, truncated)
		return
	}
	if h.Type == wire.TypeAdopt {
		k.adoptRequest(h.Seq, body, fds, truncated)
		return
	}
	if h.Type == wire.TypeMain {
		k.mainRequest(h.Seq, body, fds, truncated)
		return
	}
	if len(fds) > 0 || truncated {
		closeAll(fds)
		k.wrong(h.Seq, wire.CodeDescriptors)
		return
	}
	switch h.Type {
	case wire.TypeHello:
		k.hello(h.Seq, body)
	case wire.TypeList:
		k.list(h.Seq, body)
	case wire.TypeAck:
		k.ack(h.Seq, body)
	case wire.TypeSignal:
		k.signal(h.Seq, body)
	case wire.TypeTake:
		k.take(h.Seq, body)
	case wire.TypeDrop:
		k.drop(h.Seq, body)
	case wire.TypeForget:
		k.forget(h.Seq, body)
	case wire.TypePing:
		k.answer(wire.Bare(k.out[:0], wire.TypePonged, h.Seq), -1)
	case wire.TypePong:
	case wire.TypeExit:
		k.exit(h.Seq, body)
	case wire.TypeHandled:
		k.handled(h.Seq, body)
	case wire.TypeCount:
		k.count(h.Seq)
	case wire.TypeRebuild:
		k.rebuildRequest(h.Seq, body)
	case wire.TypeSignalOnce:
		k.signalOnce(h.Seq, body)
	case wire.TypeRelease:
		k.releaseRequest(h.Seq, body)
	default:
		k.wrong(h.Seq, wire.CodeType)
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		raw.Close(fd)
	}
}

func (k *keeper) ok(seq uint32) { k.answer(wire.Bare(k.out[:0], wire.TypeOK, seq), -1) }

// fail answers a request that cannot be carried out.
func (k *keeper) fail(seq uint32, code wire.Code, errno syscall.Errno) {
	m := wire.Failure{Code: code, Errno: uint32(errno)}
	k.answer(m.Append(k.out[:0], seq), -1)
}

// wrong answers a message that no engine should have sent.
func (k *keeper) wrong(seq uint32, code wire.Code) {
	k.stats.Wrong++
	k.fail(seq, code, 0)
}

func (k *keeper) hello(seq uint32, body []byte) {
	var m wire.Hello
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	if m.Version < wire.MinVersion {
		k.wrong(seq, wire.CodeVersion)
		return
	}
	k.engine.hello, k.engine.version = true, min(m.Version, wire.Version)
	k.engine.begins = true
	k.engine.knocked = k.flags&wire.Unrecorded == 0
	k.stillKnocking()
	k.shared.met.Store(true)
	w := wire.Welcome{
		Version: k.engine.version, KeeperPid: uint32(raw.Pid()), ID: k.id, Rung: uint32(k.rung), Flags: k.flags,
		NofileSoft: k.birth[0], NofileHard: k.birth[1], Slots: maxSlots, Used: k.table.used,
		Engines: k.shared.engines.Load(), EnginePid: k.engine.pid,
	}
	w.Boot = k.records.head.boot
	copy(w.Build[:], version.Version)
	k.answer(w.Append(k.out[:0], seq), -1)
}

func (k *keeper) list(seq uint32, body []byte) {
	var m wire.List
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	out := wire.BeginInventory(k.out[:0], seq)
	next, count := uint32(0), uint32(0)
	var r wire.Record
	s := min(m.From, k.table.fresh)
	for ; s < k.table.fresh; s++ {
		if !wire.Room(out) {
			next = s
			break
		}
		if k.records.slots[s].at() == wire.Free {
			continue
		}
		k.recordOf(s, &r)
		out = wire.AppendRecord(out, &r)
		count++
	}
	// From here on the exits of these slots are news. After the last part that
	// is so for slots to come as well.
	if next == 0 {
		s = maxSlots
	}
	k.engine.listed = max(k.engine.listed, s)
	k.answer(wire.FinishInventory(out, next, count), -1)
}

func (k *keeper) recordOf(s uint32, m *wire.Record) {
	r, p := &k.records.slots[s], &k.table.private[s]
	*m = wire.Record{Name: r.name(), Run: r.run.Load(), Phase: r.at(), Began: r.began}
	switch m.Phase {
	case wire.Live, wire.Ended:
		m.Pid, m.Start = r.pid.Load(), r.start
	}
	if m.Phase == wire.Ended {
		k.exitOf(s, &m.Exit)
	}
	for i := p.holds; i != none && m.NHeld < wire.MaxHeld; i = k.table.holds[i-1].next {
		h := &k.table.holds[i-1]
		m.Held[m.NHeld] = wire.HeldTag{Run: h.run, Tag: h.tag}
		m.NHeld++
	}
}

// slotOf finds the slot that a request names, or answers it.
func (k *keeper) slotOf(seq uint32, name []byte) (uint32, bool) {
	s, ok := k.find(name)
	if !ok {
		k.fail(seq, wire.CodeUnknown, 0)
	}
	return s, ok
}

func (k *keeper) ack(seq uint32, body []byte) {
	var m wire.ServiceRun
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	s, ok := k.slotOf(seq, m.Name)
	if !ok {
		return
	}
	if !k.acknowledge(s, m.Run) {
		k.fail(seq, wire.CodeNotLive, 0)
		return
	}
	k.ok(seq)
}

// acknowledge reports whether this very exit was waiting to be.
func (k *keeper) acknowledge(s uint32, run uint64) bool {
	r := &k.records.slots[s]
	if r.at() != wire.Ended || r.run.Load() != run {
		return false
	}
	r.setPhase(wire.Idle)
	return true
}

func (k *keeper) signal(seq uint32, body []byte) {
	var m wire.Signal
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	if s, ok := k.slotOf(seq, m.Name); ok && k.send(seq, s, &m) {
		k.ok(seq)
	}
}

// signalOnce is signal for an engine that may ask again because the one before it
// died. The name is stored behind the signal: killed in between we would rather
// see it sent twice than not at all. Names with the highest bit set, an engine's own,
// and the others, those of requests, do not displace each other: a stop that waits
// must not be forgotten for a signal that an operator sends meanwhile.
func (k *keeper) signalOnce(seq uint32, body []byte) {
	var m wire.SignalOnce
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	s, ok := k.slotOf(seq, m.Name)
	if !ok {
		return
	}
	last := &k.records.slots[s].once[m.Once>>63]
	if *last != m.Once {
		if !k.send(seq, s, &m.Signal) {
			return
		}
		*last = m.Once
	}
	k.ok(seq)
}

// send signals the run of a slot, or answers the request with why it cannot.
func (k *keeper) send(seq, s uint32, m *wire.Signal) bool {
	r, p := &k.records.slots[s], &k.table.private[s]
	if r.at() != wire.Live || r.run.Load() != m.Run || p.pidfd < 0 {
		k.fail(seq, wire.CodeNotLive, 0)
		return false
	}
	var e syscall.Errno
	if m.To == wire.ToMain {
		e = raw.PidfdSignal(int(p.pidfd), int(m.Signo), 0)
	} else {
		group, code := k.groupOf(s, m.To)
		if code != wire.CodeNone {
			k.fail(seq, code, 0)
			return false
		}
		e = raw.Kill(-group, int(m.Signo))
	}
	switch e {
	case 0:
		return true
	case syscall.ESRCH:
		k.fail(seq, wire.CodeNotLive, 0)
	default:
		k.fail(seq, wire.CodeSystem, e)
	}
	return false
}

// groupOf finds the process group to signal. The main process is ours and not
// reaped, or its pidfd and start time are looked at again, so its id cannot have
// passed to another; a group that is ours or everybody's is never signalled.
func (k *keeper) groupOf(s uint32, to uint32) (int, wire.Code) {
	r, p := &k.records.slots[s], &k.table.private[s]
	pid := int(r.pid.Load())
	var group int
	var e syscall.Errno
	if to == wire.ToSession {
		group, e = raw.Getsid(pid)
	} else {
		group, e = raw.Getpgid(pid)
	}
	if e != 0 {
		return 0, wire.CodeNotLive
	}
	if p.state&stAdopted != 0 {
		st, e := raw.ReadStat(pid)
		if e != 0 || (r.start != 0 && st.Start != r.start) || raw.PidfdSignal(int(p.pidfd), 0, 0) != 0 {
			return 0, wire.CodeNotLive
		}
	}
	own, e := raw.Getpgid(0)
	if group <= 1 || group == own || e != 0 {
		return 0, wire.CodeSignal
	}
	return group, wire.CodeNone
}

func (k *keeper) keepRequest(seq uint32, body []byte, fds []int, truncated bool) {
	var m wire.Held
	if code := m.Decode(body); code != wire.CodeNone {
		closeAll(fds)
		k.wrong(seq, code)
		return
	}
	if code, e := k.checkDescriptors(fds, truncated, 1); code != wire.CodeNone {
		closeAll(fds)
		k.fail(seq, code, e)
		return
	}
	s, code, e := k.obtain(m.Name)
	if code != wire.CodeNone {
		closeAll(fds)
		k.fail(seq, code, e)
		return
	}
	if !k.keep(s, m.Run, m.Tag, fds[0]) {
		k.fail(seq, wire.CodeHeld, 0)
		return
	}
	k.ok(seq)
}

// checkDescriptors says whether a message came with what it must, and whether
// enough descriptors are left for the keeper's own needs.
func (k *keeper) checkDescriptors(fds []int, truncated bool, want int) (wire.Code, syscall.Errno) {
	if truncated {
		return wire.CodeSystem, syscall.EMFILE
	}
	if len(fds) != want {
		return wire.CodeDescriptors, 0
	}
	for _, fd := range fds {
		if uint64(fd)+spareDescriptors >= k.nofile {
			return wire.CodeSystem, syscall.EMFILE
		}
	}
	return wire.CodeNone, 0
}

func (k *keeper) take(seq uint32, body []byte) {
	var m wire.Held
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	s, ok := k.slotOf(seq, m.Name)
	if !ok {
		return
	}
	h := k.held(s, m.Run, m.Tag)
	if h == nil {
		k.fail(seq, wire.CodeNotHeld, 0)
		return
	}
	// A copy travels: the answer may have to wait, and the engine may drop the
	// descriptor meanwhile.
	fd, e := raw.DupAbove(int(h.fd), ownDescriptors)
	if e != 0 {
		k.fail(seq, wire.CodeSystem, e)
		return
	}
	k.answer(m.Append(k.out[:0], wire.TypeFD, seq), fd)
}

func (k *keeper) drop(seq uint32, body []byte) {
	var m wire.Held
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	s, ok := k.slotOf(seq, m.Name)
	if !ok {
		return
	}
	n := k.dropHolds(s, func(h *hold) bool {
		return h.run == m.Run && (m.Tag == wire.AllTags || h.tag == m.Tag)
	})
	if n == 0 && m.Tag != wire.AllTags {
		k.fail(seq, wire.CodeNotHeld, 0)
		return
	}
	k.ok(seq)
}

func (k *keeper) forget(seq uint32, body []byte) {
	var m wire.ServiceRun
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	s, ok := k.slotOf(seq, m.Name)
	if !ok {
		return
	}
	switch k.records.slots[s].at() {
	case wire.Idle:
		k.release(s)
		k.ok(seq)
	case wire.Ended:
		k.fail(seq, wire.CodeUnacknowledged, 0)
	default:
		k.fail(seq, wire.CodeLives, 0)
	}
}

func (k *keeper) handled(seq uint32, body []byte) {
	var m wire.Signaled
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	c := &k.signals[m.Signo]
	if received := k.shared.received[m.Signo].Load(); m.Count-c.handled <= received-c.handled {
		c.handled = m.Count
	}
	k.ok(seq)
}

func (k *keeper) count(seq uint32) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m := k.stats
	m.Orphans = k.shared.orphans.Load()
	m.Engines = uint64(k.shared.engines.Load())
	m.Held, m.Live = uint64(k.table.nheld), uint64(k.table.live)
	m.Mallocs, m.Collections = mem.Mallocs, uint64(mem.NumGC)
	m.Dropped = said.dropped.Load()
	k.answer(m.Append(k.out[:0], seq), -1)
}

func (k *keeper) exit(seq uint32, body []byte) {
	var m wire.Exit
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	if m.Action != wire.ActionExit && k.flags&wire.Machine == 0 {
		k.fail(seq, wire.CodeMachine, 0)
		return
	}
	if m.Action == wire.ActionExit && k.flags&wire.Machine != 0 {
		// The kernel panics when process 1 of the machine ends.
		k.fail(seq, wire.CodeMachine, 0)
		return
	}
	k.shared.end(m.Code, m.Action)
	k.engine.owed = raw.Monotonic()
	k.ok(seq)
}
