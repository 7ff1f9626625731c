//go:build amd64 || arm64

package keeper

import (
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// batonVariable names the descriptor of the baton in the environment of a program
// that takes over. Nobody copies a keeper's environment, as an engine copies its
// command line to start another.
const batonVariable = "ABIDE_KEEPER_BATON="

// upgrade is a change of programs under way. It is proved, then executed; then the
// new engine is on trial until it says that it is in charge.
type upgrade struct {
	seq      uint32 // of the request to answer
	asker    uint32 // pid of the engine that made it
	program  int    // the program file of that engine
	keeper   string // the program to become
	args     []string
	proof    int // pidfd of the new keeper that proves itself, -1: no upgrade is under way
	report   int // memory file where it says what it read
	expected proofReport
	due      int64 // CLOCK_MONOTONIC ns
}

// noUpgrade is the state between upgrades.
var noUpgrade = upgrade{proof: -1, report: -1, program: -1}

// trial is what follows the change of keepers: the next engine has to say that it
// is in charge. Its program is the engine's once shared.back says so.
type trial struct {
	on      bool
	old     uint32 // pid of the engine that is to make room
	due     int64  // CLOCK_MONOTONIC ns; 0: nobody hurries
	program int    // file of the engine before, -1: none
	path    string // where that file was
}

// upgradeRequest carries out UPGRADE: the engine's word that it is in charge is
// answered at once, a change of programs when the new keeper is there or has
// failed.
func (k *keeper) upgradeRequest(seq uint32, body []byte, fds []int, truncated bool) {
	var m wire.Upgrade
	if code := m.Decode(body); code != wire.CodeNone {
		closeAll(fds)
		k.wrong(seq, code)
		return
	}
	if m.Flags&wire.UpgradeInCharge != 0 {
		closeAll(fds)
		k.inCharge(seq)
		return
	}
	if truncated || len(fds) != 1 {
		closeAll(fds)
		k.wrong(seq, wire.CodeDescriptors)
		return
	}
	u := &k.upgrade
	refusal := wire.UpgradeDone
	switch {
	case k.shared.ending.Load() != endNo:
		refusal = wire.UpgradeEnding
	case u.proof >= 0 || k.trial.on:
		refusal = wire.UpgradeBusy
	}
	program := -1
	if refusal == wire.UpgradeDone {
		if program = above(fds[0]); program < ownDescriptors {
			refusal = wire.UpgradeUnprepared
		}
	}
	if refusal != wire.UpgradeDone {
		closeAll(fds)
		k.upgraded(seq, refusal, 0, syscall.EMFILE)
		return
	}
	*u = upgrade{seq: seq, asker: k.engine.pid, program: program, keeper: string(m.Keeper), proof: -1, report: -1}
	u.args = argsFor(k.opts.args, string(m.Engine), string(m.Exec))
	if result, e := k.prove(); result != wire.UpgradeDone {
		k.giveUp(result, 0, e)
	}
}

func (k *keeper) upgraded(seq uint32, result wire.UpgradeResult, status uint32, e syscall.Errno) {
	m := wire.Upgraded{Result: result, Status: status, Errno: uint32(e)}
	k.answer(m.Append(k.out[:0], seq), -1)
}

// argsFor is our command line with another engine and another abide-exec. What we
// were handed over once, to take another keeper's place, is ours by now.
func argsFor(args []string, engine, exec string) []string {
	out := make([]string, 0, len(args)+2)
	named := exec == ""
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--":
			if !named {
				out = append(out, "--exec", exec)
			}
			out = append(out, "--", engine)
			return append(out, args[i+2:]...)
		case "--exec":
			out = append(out, "--exec")
			if i++; exec != "" {
				out = append(out, exec)
				named = true
				continue
			}
		case "--inherit-fd":
			i++
			continue
		default:
			out = append(out, args[i])
			i++ // every option has a value
		}
		out = append(out, args[i])
	}
	return out
}

// giveUp ends an upgrade that came to nothing, and tells the engine that asked if
// it is still there.
func (k *keeper) giveUp(result wire.UpgradeResult, status uint32, e syscall.Errno) {
	u := &k.upgrade
	say("cannot become ").s(u.keeper).s(": ").s(upgradeTexts[result]).end()
	seq, asker := u.seq, u.asker
	raw.Close(u.program)
	*u = noUpgrade
	if k.engine.sock >= 0 && k.engine.pid == asker {
		k.upgraded(seq, result, status, e)
	}
}

var upgradeTexts = [...]string{
	wire.UpgradeUnprepared:   "the state cannot be handed over",
	wire.UpgradeUnproven:     "it did not prove itself",
	wire.UpgradeSlow:         "it did not prove itself in time",
	wire.UpgradeDiffers:      "it reads other records than there are",
	wire.UpgradeExec:         "it cannot be executed",
	wire.UpgradeResume:       "it could not take over",
	wire.UpgradeEngineDied:   "its engine dies before it is in charge",
	wire.UpgradeEngineSilent: "its engine is not in charge in time",
	wire.UpgradeEngineExec:   "its engine cannot be executed",
	wire.UpgradeNone:         "the engine that asked is gone",
}

// writeBaton puts what we know into a memory file.
func (k *keeper) writeBaton(stage uint64) (fd int, errno syscall.Errno) {
	t := k.table
	size := 4096 + 65*12 + int(t.fresh)*(16+4) + int(t.nheld)*24
	for _, arg := range k.opts.args {
		size += len(arg) + 1
	}
	size += len(k.opts.engine[0]) + len(k.opts.path)
	p, e := raw.MapAnonymous(size)
	if e != 0 {
		return -1, e
	}
	defer raw.Unmap(p, size)
	w := newBatonWriter(unsafe.Slice((*byte)(p), size))
	k.putWords(w, stage)
	w.begin(sectionSignals)
	for signo := range k.signals {
		w.u32(k.shared.received[signo].Load())
		w.u32(k.signals[signo].told)
		w.u32(k.signals[signo].handled)
	}
	w.end()
	w.begin(sectionRuns)
	for s := range t.fresh {
		if r := &t.private[s]; k.records.slots[s].at() != wire.Free && (r.pidfd >= 0 || r.report >= 0) {
			k.putRun(w, s, r)
		}
	}
	w.end()
	w.begin(sectionHolds)
	for s := range t.fresh {
		for i := t.private[s].holds; i != none; i = t.holds[i-1].next {
			h := &t.holds[i-1]
			w.u32(s)
			w.u32(h.tag)
			w.u64(h.run)
			w.u32(uint32(h.fd))
			w.u32(0)
		}
	}
	w.end()
	w.begin(sectionUnsent)
	for s := k.unsent; s != none; s = t.private[s-1].next {
		w.u32(s - 1)
	}
	w.end()
	w.begin(sectionTexts)
	w.text(string(k.id[:]))
	w.text(k.opts.engine[0])
	w.text(k.opts.path)
	for _, arg := range k.opts.args {
		w.text(arg)
	}
	w.end()
	return memoryFile(w.b)
}

func (k *keeper) putWords(w *batonWriter, stage uint64) {
	fd := func(fd int) uint64 { return uint64(max(fd, 0)) }
	version := uint64(0)
	if k.engine.hello {
		version = uint64(k.engine.version)
	}
	met := uint64(0)
	if k.shared.met.Load() {
		met = 1
	}
	words := [nWords]uint64{
		wordPid: uint64(raw.Pid()), wordStage: stage, wordSeq: uint64(k.upgrade.seq), wordFlags: uint64(k.flags &^ wire.OnTrial),
		wordLock: fd(k.lock), wordListener: fd(k.listener), wordRecords: fd(k.records.fd), wordLease: fd(k.opts.lease),
		wordOldKeeper: fd(k.program), wordOldEngine: fd(k.upgrade.program),
		wordNofileSoft: k.birth[0], wordNofileHard: k.birth[1],
		wordEngineSock: fd(k.engine.sock), wordEnginePidfd: fd(k.engine.pidfd), wordEnginePid: uint64(k.engine.pid),
		wordEngineVersion: version, wordEngineListed: uint64(k.engine.listed),
		wordEngines: uint64(k.shared.engines.Load()), wordOrphans: k.shared.orphans.Load(), wordMet: met,
		wordSpawns: k.stats.Spawns, wordRefusals: k.stats.Refusals, wordExits: k.stats.Exits, wordWrong: k.stats.Wrong,
	}
	w.begin(sectionWords)
	for _, v := range words {
		w.u64(v)
	}
	w.end()
}

func (k *keeper) putRun(w *batonWriter, s uint32, r *private) {
	bits := uint32(0)
	if r.state&stAdopted != 0 {
		bits |= bitAdopted
	}
	if r.state&stFading != 0 {
		bits |= bitFading
	}
	w.u32(s)
	w.u32(uint32(r.pidfd))
	w.u32(uint32(r.report))
	w.u32(bits)
}

// become executes the new keeper in our place. It returns only when that fails.
// What the other thread does meanwhile is harmless: an engine that it is about to
// start finds its socket closed and ends, and it reaps no run that is not stored.
func (k *keeper) become() (wire.UpgradeResult, syscall.Errno) {
	// Signals wait in the kernel until the new program can take them; the one that
	// Go uses for itself is left.
	mask := raw.SetSignalMask(^(uint64(1) << (syscall.SIGURG - 1)))
	defer raw.SetSignalMask(mask)
	fd, e := k.writeBaton(stageForward)
	if e != 0 {
		return wire.UpgradeUnprepared, e
	}
	defer raw.Close(fd)
	e = pass(fd, k.upgrade.keeper, append([]string{k.upgrade.keeper}, k.upgrade.args...), k.environ)
	k.nofile = raiseNofile() // execve was to put it back
	return wire.UpgradeExec, e
}

// pass executes a program that gets a baton and all descriptors in it.
func pass(fd int, path string, argv, environ []string) syscall.Errno {
	file, e := readMemoryFile(fd)
	if e != 0 {
		return e
	}
	defer raw.Unmap(unsafe.Pointer(&file[0]), len(file))
	var b baton
	if !b.parse(file) {
		return syscall.EINVAL
	}
	inherit := func(flags int) {
		b.each(func(fd int) { raw.SetDescriptorFlags(fd, flags) })
		raw.SetDescriptorFlags(fd, flags)
	}
	var digits [21]byte
	number := string(raw.AppendNumber(digits[:0], int64(fd)))
	env := append(without(batonVariable, environ), batonVariable+number)
	inherit(0)
	err := syscall.Exec(path, argv, env)
	inherit(syscall.FD_CLOEXEC)
	return errnoOf(err)
}

// without leaves a variable, named with its equals sign, out of an environment.
func without(name string, environ []string) []string {
	out := make([]string, 0, len(environ)+1)
	for _, v := range environ {
		if len(v) < len(name) || v[:len(name)] != name {
			out = append(out, v)
		}
	}
	return out
}

// upgradeDeadline is when upgradeDue must look, 0 for never.
func (k *keeper) upgradeDeadline() int64 {
	if k.upgrade.proof >= 0 {
		return k.upgrade.due
	}
	return k.trial.due
}

// upgradeDue looks at an upgrade whose time is over.
func (k *keeper) upgradeDue() {
	if k.upgrade.proof >= 0 {
		k.endProof(wire.UpgradeSlow, 0, 0)
		return
	}
	t := &k.trial
	t.due = 0
	if k.engine.pid == t.old {
		if raw.PidfdSignal(k.engine.pidfd, 0, 0) == 0 {
			say("the engine (pid ").n(int64(t.old)).s(") does not make room for the new one: ending it").end()
			raw.PidfdSignal(k.engine.pidfd, int(syscall.SIGKILL), 0)
		}
		return
	}
	k.shared.goBack(wire.UpgradeEngineSilent, 0, 0)
	raw.PidfdSignal(k.engine.pidfd, int(syscall.SIGKILL), 0)
}

// onTrial starts the clock for a new engine.
func (k *keeper) onTrial() {
	if k.trial.on && k.shared.back.result.Load() == uint32(wire.UpgradeDone) {
		k.trial.due = raw.Monotonic() + patience.trial
	} else {
		k.trial.due = 0
	}
}

// inCharge ends a trial and says how it went.
func (k *keeper) inCharge(seq uint32) {
	t, back := &k.trial, &k.shared.back
	if !t.on || k.engine.pid == t.old {
		k.upgraded(seq, wire.UpgradeNone, 0, 0)
		return
	}
	t.on, t.due = false, 0
	k.flags &^= wire.OnTrial
	back.trial.Store(false)
	result := wire.UpgradeResult(back.result.Load())
	if result == wire.UpgradeDone {
		raw.Close(t.program)
		t.program = -1
	}
	k.upgraded(seq, result, back.status.Load(), syscall.Errno(back.errno.Load()))
}
