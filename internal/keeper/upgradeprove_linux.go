//go:build amd64 || arm64

package keeper

import (
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/sys/raw"
)

// The descriptors of a keeper that is to prove itself.
const (
	proofBaton = prog.FirstSlot + iota
	proofRecords
	proofReportFD
	proofSlots = iota
)

// proofReport is what a keeper read: the counts of slots by phase, of runs and held
// descriptors, and a hash over names, numbers and processes.
type proofReport struct {
	magic  uint64
	phases [wire.Ended + 1]uint64
	runs   uint64
	holds  uint64
	hash   uint64
}

const proofMagic = 0x464f4f5250444941 // "AIDPROOF"

func (p *proofReport) bytes() []byte {
	return (*[unsafe.Sizeof(proofReport{})]byte)(unsafe.Pointer(p))[:]
}

func (p *proofReport) mix(v uint64) {
	for range 8 {
		p.hash = (p.hash ^ v&0xff) * 0x100000001b3
		v >>= 8
	}
}

// read goes through records and a baton as a keeper does that takes over.
func (p *proofReport) read(r *records, b *baton) bool {
	*p = proofReport{magic: proofMagic, hash: 0xcbf29ce484222325}
	h := r.head
	prepared := h.prepared.Load()
	if h.magic.Load() != recordsMagic || h.version != recordVersion || h.slotSize != slotSize || h.slots != maxSlots || prepared > maxSlots {
		return false
	}
	for i := range prepared {
		s := &r.slots[i]
		if s.at() != wire.Free && !s.sound() {
			return false
		}
		p.phases[s.at()]++
		if s.at() == wire.Free {
			continue
		}
		for _, c := range s.name() {
			p.mix(uint64(c))
		}
		p.mix(s.run.Load())
		p.mix(uint64(s.at()))
		if s.at() == wire.Live || s.at() == wire.Ended {
			p.mix(uint64(s.pid.Load()))
			p.mix(s.start)
		}
	}
	p.runs = uint64(b.sections[sectionRuns].count)
	for i := range b.sections[sectionRuns].count {
		run := b.run(i)
		if run.slot >= prepared || r.slots[run.slot].at() == wire.Free {
			return false
		}
		p.mix(uint64(run.slot)<<32 | uint64(uint32(run.pidfd)))
	}
	p.holds = uint64(b.sections[sectionHolds].count)
	for i := range b.sections[sectionHolds].count {
		hold := b.hold(i)
		if hold.slot >= prepared || r.slots[hold.slot].at() == wire.Free {
			return false
		}
		p.mix(uint64(hold.slot)<<32 | uint64(hold.tag))
		p.mix(hold.run)
		p.mix(uint64(hold.fd))
	}
	return true
}

// prove starts the new keeper as a child that reads copies of all we have. What it
// must find is computed here from the same copies.
func (k *keeper) prove() (wire.UpgradeResult, syscall.Errno) {
	u := &k.upgrade
	var fds [proofSlots]int
	made := fds[:0]
	fail := func(result wire.UpgradeResult, e syscall.Errno) (wire.UpgradeResult, syscall.Errno) {
		closeAll(made)
		return result, e
	}
	file, e := k.writeBaton(stageForward)
	if e != 0 {
		return fail(wire.UpgradeUnprepared, e)
	}
	made = append(made, file)
	copied, e := k.copyRecords()
	if e != 0 {
		return fail(wire.UpgradeUnprepared, e)
	}
	made = append(made, copied)
	report, e := memoryFile(nil)
	if e != 0 {
		return fail(wire.UpgradeUnprepared, e)
	}
	made = append(made, report)
	if !u.expected.of(file, copied) {
		return fail(wire.UpgradeUnprepared, syscall.EINVAL)
	}
	argv := append([]string{u.keeper, "--prove"}, u.args...)
	block, err := childProgram(u.keeper, argv, without(batonVariable, k.environ), proofSlots, proofSlots)
	var program prog.Loaded
	if err != nil || program.Load(block) != nil {
		return fail(wire.UpgradeUnprepared, syscall.E2BIG)
	}
	_, pidfd, _, e := k.spawner.Spawn(&vspawn.Request{Prog: &program, Rung: k.rung, CgroupFD: -1, Pass: made})
	if e != 0 {
		return fail(wire.UpgradeExec, e)
	}
	raw.Close(file)
	raw.Close(copied)
	u.proof, u.report = above(pidfd), report
	u.due = raw.Monotonic() + patience.proof
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(u.proof), Pad: fromProof}
	if e := raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_ADD, u.proof, &ev); e != 0 {
		raw.PidfdSignal(u.proof, int(syscall.SIGKILL), 0)
		k.reapProof()
		return wire.UpgradeUnprepared, e
	}
	return wire.UpgradeDone, 0
}

// of reads a baton and records by their descriptors.
func (p *proofReport) of(batonFD, recordsFD int) bool {
	file, e := readMemoryFile(batonFD)
	if e != 0 {
		return false
	}
	defer raw.Unmap(unsafe.Pointer(&file[0]), len(file))
	copied, e := readMemoryFile(recordsFD)
	if e != 0 || len(copied) != recordsSize {
		return false
	}
	defer raw.Unmap(unsafe.Pointer(&copied[0]), len(copied))
	var b baton
	var r records
	r.place(unsafe.Pointer(&copied[0]))
	return b.parse(file) && p.read(&r, &b)
}

// copyRecords makes a memory file like keeper.state, as sparse as that.
func (k *keeper) copyRecords() (int, syscall.Errno) {
	used := headerSize + int(k.records.head.prepared.Load())*slotSize
	fd, e := memoryFile(unsafe.Slice((*byte)(unsafe.Pointer(k.records.head)), used))
	if e != 0 {
		return -1, e
	}
	if err := syscall.Ftruncate(fd, recordsSize); err != nil {
		raw.Close(fd)
		return -1, errnoOf(err)
	}
	return fd, 0
}

// proofEnded judges what the new keeper showed, and becomes it.
func (k *keeper) proofEnded() {
	u := &k.upgrade
	var got proofReport
	n, _ := raw.Pread(u.report, got.bytes(), 0)
	var info raw.Siginfo
	if raw.WaitID(raw.PPidfd, u.proof, &info, raw.WExited|raw.WNoWait|raw.WNoHang|raw.WAll, nil) == 0 && info.Pid == 0 {
		return
	}
	switch {
	case info.WaitStatus() != 0:
		k.endProof(wire.UpgradeUnproven, info.WaitStatus(), 0)
	case n != len(got.bytes()) || got != u.expected:
		k.endProof(wire.UpgradeDiffers, 0, 0)
	case k.engine.sock < 0 || k.engine.pid != u.asker || k.shared.mailbox.full.Load():
		k.endProof(wire.UpgradeNone, 0, 0)
	default:
		k.reapProof()
		k.takeReaped()
		result, e := k.become()
		k.giveUp(result, 0, e)
	}
}

// endProof gives up an upgrade that is being proved.
func (k *keeper) endProof(result wire.UpgradeResult, status uint32, e syscall.Errno) {
	raw.PidfdSignal(k.upgrade.proof, int(syscall.SIGKILL), 0)
	k.reapProof()
	k.giveUp(result, status, e)
}

// reapProof takes the child that proved itself, or was just killed, away.
func (k *keeper) reapProof() {
	u := &k.upgrade
	var info raw.Siginfo
	for raw.AwaitID(raw.PPidfd, u.proof, &info, raw.WExited|raw.WAll, nil) == syscall.EINTR {
	}
	raw.Close(u.proof)
	raw.Close(u.report)
	u.proof, u.report, u.due = -1, -1, 0
}

// proveSelf is the life of a new keeper that proves itself: it reads what it would
// take over, makes what it would need, and says what it found.
func proveSelf(args, environ []string) int {
	opts, wrong := parseOptions(args)
	if wrong != "" {
		say(wrong).end()
		return exitUsage
	}
	opts.worst = worstRung(environ)
	var report proofReport
	if !report.of(proofBaton, proofRecords) {
		say("cannot prove to understand the state of the keeper before").end()
		return exitFailed
	}
	k := &keeper{opts: opts, outFD: -1}
	if e := k.build(); e != 0 {
		say("cannot prepare to run services").errno(e).end()
		return exitSystem
	}
	if k.rung == vspawn.RungNone {
		say("cannot start programs").end()
		return exitSystem
	}
	if _, err := syscall.Pwrite(proofReportFD, report.bytes(), 0); err != nil {
		return exitSystem
	}
	return 0
}
