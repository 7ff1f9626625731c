//go:build amd64 || arm64

package keeper

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// fallback is what the loop and the parent thread tell each other of an engine on
// trial. Once result is set, the program before is the engine from then on.
type fallback struct {
	trial  atomic.Bool
	result atomic.Uint32 // wire.UpgradeResult
	status atomic.Uint32
	errno  atomic.Uint32
}

// trialDeaths is how many times an engine on trial may die.
const trialDeaths = 3

// goBack makes the parent thread start the engine before.
func (s *shared) goBack(result wire.UpgradeResult, status uint32, e syscall.Errno) {
	if s.back.result.Load() != uint32(wire.UpgradeDone) {
		return
	}
	say("going back to the engine before: ").s(upgradeTexts[result]).end()
	s.back.status.Store(status)
	s.back.errno.Store(uint32(e))
	s.back.result.Store(uint32(result))
}

// givenBaton returns the baton that the environment names, if it is one for us.
func givenBaton(environ []string) (fd int, file []byte, given bool) {
	for _, v := range environ {
		if len(v) <= len(batonVariable) || v[:len(batonVariable)] != batonVariable {
			continue
		}
		n, ok := raw.Number([]byte(v[len(batonVariable):]))
		if !ok || n < ownDescriptors || n > 1<<30 {
			return -1, nil, false
		}
		file, e := readMemoryFile(int(n))
		if e != 0 || len(file) < batonHeader || get64(file) != batonMagic {
			return -1, nil, false
		}
		return int(n), file, true
	}
	return -1, nil, false
}

// resume takes over from the program that ran in this process before, and returns
// the pid of the engine that runs, 0 if none does. A keeper that cannot goes back to
// that program, whose file is still open.
func resume(opts options, fd int, file []byte) (k *keeper, pid, code int) {
	var b baton
	if !b.parse(file) {
		say("cannot understand the state of the keeper before").end()
		return nil, 0, exitFailed
	}
	k, e := resumed(opts, &b)
	if e != 0 {
		say("cannot take over from the keeper before").errno(e).end()
		if b.words[wordStage] == stageForward {
			e = returnBaton(fd, &b, opts.environ, e)
			say("cannot go back to it").errno(e).end()
		}
		return nil, 0, exitSystem
	}
	raw.Close(fd)
	raw.Unmap(unsafe.Pointer(&file[0]), len(file))
	if k.engine.pidfd < 0 || raw.PidfdSignal(k.engine.pidfd, 0, 0) == syscall.ESRCH {
		return k, 0, 0 // it was reaped already: nobody would tell us of it
	}
	return k, int(k.engine.pid), 0
}

// returnBaton executes the program before this one.
func returnBaton(fd int, b *baton, environ []string, cause syscall.Errno) syscall.Errno {
	program := b.fd(wordOldKeeper)
	if program < 0 {
		return syscall.ENOENT
	}
	var words [16]byte
	put32(words[0:], stageBack)
	put32(words[8:], uint32(cause))
	if _, err := syscall.Pwrite(fd, words[:], batonHeader+sectionHead+8*wordStage); err != nil {
		return errnoOf(err)
	}
	_, _, argv, _ := b.texts()
	var digits [21]byte
	path := "/proc/self/fd/" + string(raw.AppendNumber(digits[:0], int64(program)))
	return pass(fd, path, argv, environ)
}

// resumed builds a keeper from a baton.
func resumed(opts options, b *baton) (*keeper, syscall.Errno) {
	if b.words[wordPid] != uint64(raw.Pid()) {
		return nil, syscall.ESRCH
	}
	k := &keeper{opts: opts, outFD: -1, lock: b.fd(wordLock), listener: b.fd(wordListener)}
	b.each(func(fd int) { raw.SetDescriptorFlags(fd, syscall.FD_CLOEXEC) })
	k.opts.lease = b.fd(wordLease)
	k.environ, k.upgrade = opts.environ, noUpgrade
	k.birth = [2]uint64{b.words[wordNofileSoft], b.words[wordNofileHard]}
	k.flags = uint32(b.words[wordFlags])
	k.nofile = raiseNofile()
	id, _, _, _ := b.texts()
	copy(k.id[:], id)
	var e syscall.Errno
	if k.records, e = openedRecords(b.fd(wordRecords)); e != 0 {
		return nil, e
	}
	if e := k.build(); e != 0 {
		return nil, e
	}
	k.program = openSelf()
	if !k.takeTable(b) {
		return nil, syscall.EINVAL
	}
	k.takeCounters(b)
	k.takeConnection(b)
	k.judge(b)
	return k, 0
}

// openedRecords maps the records that the keeper before had open.
func openedRecords(fd int) (*records, syscall.Errno) {
	r := &records{fd: fd}
	p, e := raw.MapShared(fd, recordsSize)
	if e != 0 {
		return nil, e
	}
	r.place(p)
	h := r.head
	if h.magic.Load() != recordsMagic || h.version != recordVersion || h.slotSize != slotSize || h.slots != maxSlots || h.prepared.Load() > maxSlots {
		return nil, syscall.EINVAL
	}
	return r, 0
}

// takeTable fills the table from the records and the baton. The runs that were
// children of the loop's thread are those of the main thread now.
func (k *keeper) takeTable(b *baton) bool {
	t := k.table
	t.fresh = k.records.head.prepared.Load()
	for s := t.fresh; s > 0; s-- {
		r := &k.records.slots[s-1]
		if r.at() == wire.Free {
			t.free[t.nfree] = s - 1
			t.nfree++
			continue
		}
		if !r.sound() || k.twin(r) {
			return false
		}
		k.index(s - 1)
	}
	for i := range b.sections[sectionRuns].count {
		run := b.run(i)
		if run.slot >= t.fresh || k.records.slots[run.slot].at() == wire.Free {
			return false
		}
		p, r := &t.private[run.slot], &k.records.slots[run.slot]
		p.report = run.report
		if run.pidfd < 0 || r.at() != wire.Live {
			continue
		}
		t.live++
		p.state |= stLeaders
		if run.bits&bitAdopted != 0 {
			p.state = p.state&^stLeaders | stAdopted
		}
		k.shared.adopted.add(r.pid.Load())
		k.watch(run.slot, int(run.pidfd))
		if run.bits&bitFading != 0 {
			p.state |= stFading
			k.dueIn(run.slot, fadeTime)
		}
	}
	for i := range b.sections[sectionHolds].count {
		h := b.hold(i)
		if h.slot >= t.fresh || k.records.slots[h.slot].at() == wire.Free || !k.keep(h.slot, h.run, h.tag, int(h.fd)) {
			return false
		}
	}
	return true
}

func (k *keeper) takeCounters(b *baton) {
	for i := range b.sections[sectionSignals].count {
		s := b.signal(i)
		k.shared.received[i].Add(s.received)
		k.signals[i] = signalCount{told: s.told, handled: s.handled}
	}
	w := &b.words
	k.stats = wire.Stats{Spawns: w[wordSpawns], Refusals: w[wordRefusals], Exits: w[wordExits], Wrong: w[wordWrong]}
	k.shared.engines.Store(uint32(w[wordEngines]))
	k.shared.orphans.Store(w[wordOrphans])
	k.shared.met.Store(w[wordMet] != 0)
}

// takeConnection goes on with the engine that was there. One that has ended
// meanwhile is noticed as ever.
func (k *keeper) takeConnection(b *baton) {
	w := &b.words
	k.engine = connection{
		sock: b.fd(wordEngineSock), pidfd: b.fd(wordEnginePidfd), pid: uint32(w[wordEnginePid]),
		hello: w[wordEngineVersion] != 0, version: uint32(w[wordEngineVersion]), listed: uint32(w[wordEngineListed]),
	}
	if k.engine.sock < 0 {
		return
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(k.engine.sock), Pad: fromEngine}
	k.wanted = ev.Events
	raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_ADD, k.engine.sock, &ev)
	for i := range b.sections[sectionUnsent].count {
		if s := b.unsent(i); s < k.table.fresh {
			k.queueExit(s)
		}
	}
}

// judge says what became of the upgrade, and puts the next engine on trial.
func (k *keeper) judge(b *baton) {
	w := &b.words
	_, path, _, _ := b.texts()
	k.trial = trial{program: b.fd(wordOldEngine), path: path, old: k.engine.pid}
	seq := uint32(w[wordSeq])
	result, e := wire.UpgradeDone, syscall.Errno(0)
	if w[wordStage] == stageBack {
		result, e = wire.UpgradeResume, syscall.Errno(w[wordErrno])
		k.shared.goBack(result, 0, e) // what stands at its path may be the new one
	} else {
		k.trial.on, k.trial.due = true, raw.Monotonic()+patience.trial
		k.flags |= wire.OnTrial
		k.shared.back.trial.Store(true)
	}
	if old := b.fd(wordOldKeeper); old >= 0 {
		raw.Close(old)
	}
	if k.engine.sock >= 0 {
		k.upgraded(seq, result, 0, e)
	}
}

// openSelf opens our own program file, to go back to it from a program that cannot
// take over. Without /proc there is no way back.
func openSelf() int {
	fd, err := syscall.Open("/proc/self/exe", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return above(fd)
}

var keeperName = [...]byte{'a', 'b', 'i', 'd', 'e', '-', 'k', 'e', 'e', 'p', 'e', 'r', 0}
