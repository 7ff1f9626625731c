//go:build amd64 || arm64

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/sys/raw"
)

// arenaSize holds the largest program there can be.
const arenaSize = prog.HeaderSize + prog.MaxOps*prog.OpSize + 4*prog.MaxRelocs + prog.MaxData

// arenaKept is how much of the arena stays in memory after a large program.
const arenaKept = 256 << 10

// spawn carries out SPAWN. Everything that can be refused is refused before the
// record says that a run begins; from then on its number is used up.
func (k *keeper) spawn(seq uint32, body []byte, fds []int, truncated bool) {
	var m wire.Spawn
	if code := m.Decode(body); code != wire.CodeNone {
		closeAll(fds)
		k.wrong(seq, code)
		return
	}
	var no wire.Refused
	s, known := k.find(m.Name)
	if known && m.AckRun != 0 {
		k.acknowledge(s, m.AckRun)
	}
	code, e := k.checkDescriptors(fds, truncated, m.Descriptors())
	if code == wire.CodeNone {
		s, code, e = k.admit(m.Name, m.Run)
	}
	if code == wire.CodeNone {
		code = k.roomFor(s, &m)
	}
	if code == wire.CodeNone {
		code, e = k.load(fds[0])
	}
	if code == wire.CodeNone {
		no = k.start(s, &m, fds)
	} else {
		no = wire.Refused{Code: code, Op: wire.NoOp, Errno: uint32(e)}
		closeAll(fds)
	}
	if no.Code != wire.CodeNone {
		k.stats.Refusals++
		no.Name, no.Run = m.Name, m.Run
		k.answer(no.Append(k.out[:0], seq), -1)
		return
	}
	r := &k.records.slots[s]
	yes := wire.Spawned{Name: m.Name, Run: m.Run, Pid: r.pid.Load(), Start: r.start, Began: r.began}
	k.answer(yes.Append(k.out[:0], seq), -1)
}

// admit finds the slot and says whether this run may be its next.
func (k *keeper) admit(name []byte, run uint64) (uint32, wire.Code, syscall.Errno) {
	if k.shared.ending.Load() != endNo {
		return 0, wire.CodeEnding, 0
	}
	s, code, e := k.obtain(name)
	if code != wire.CodeNone {
		return 0, code, e
	}
	r := &k.records.slots[s]
	switch r.at() {
	case wire.Idle:
	case wire.Ended:
		return s, wire.CodeUnacknowledged, 0
	default:
		return s, wire.CodeLives, 0
	}
	if run <= r.run.Load() {
		return s, wire.CodeOlder, 0
	}
	return s, wire.CodeNone, 0
}

// roomFor says whether what is to be held for a run can be.
func (k *keeper) roomFor(s uint32, m *wire.Spawn) wire.Code {
	if k.table.private[s].nheld+uint32(m.NTags) > wire.MaxHeld {
		return wire.CodeHeld
	}
	for i, tag := range m.Tags[:m.NTags] {
		for _, other := range m.Tags[:i] {
			if tag == other {
				return wire.CodeHeld
			}
		}
		if tag == wire.AllTags || k.held(s, m.Run, tag) != nil {
			return wire.CodeHeld
		}
	}
	return wire.CodeNone
}

// load reads a program out of its memory file into the arena. Only a sealed
// memory file is read: reading anything else could block.
func (k *keeper) load(fd int) (wire.Code, syscall.Errno) {
	seals, e := raw.Seals(fd)
	if e != 0 || seals&raw.SealWrite == 0 {
		return wire.CodeProgram, 0
	}
	n := 0
	for {
		got, e := raw.Pread(fd, k.arena[n:], int64(n))
		if e != 0 {
			return wire.CodeSystem, e
		}
		if got == 0 || n+got == len(k.arena) {
			n += got
			break
		}
		n += got
	}
	k.filled = n
	if err := k.loaded.Load(k.arena[:n:n]); err != nil {
		return wire.CodeProgram, 0
	}
	return wire.CodeNone, 0
}

// start runs the loaded program as a run of slot s. fds are the descriptors of
// the request, all taken over.
func (k *keeper) start(s uint32, m *wire.Spawn, fds []int) wire.Refused {
	var pass [prog.MaxSlots + 2]int
	req := vspawn.Request{Prog: &k.loaded, Rung: k.rung, CgroupFD: -1}
	rest := fds[1:]
	if m.Flags&wire.SpawnCgroup != 0 {
		req.CgroupFD = rest[0]
		rest = rest[1:]
	}
	holds := rest[:m.NTags]
	n := copy(pass[:], rest[m.NTags:])
	report := -1
	refuse := func(code wire.Code, op int, e syscall.Errno) wire.Refused {
		closeAll(fds)
		if report >= 0 {
			raw.Close(report)
		}
		return wire.Refused{Code: code, Op: int32(op), Errno: uint32(e)}
	}
	if n != k.loaded.Slots() {
		return refuse(wire.CodeDescriptors, wire.NoOp, 0)
	}
	if m.Flags&wire.SpawnSlow != 0 || k.loaded.Slow() {
		var code wire.Code
		var e syscall.Errno
		if req.Prog, code = k.wrapper(n); code != wire.CodeNone {
			return refuse(code, wire.NoOp, syscall.ENOENT)
		}
		if report, e = raw.MemfdCreate(&reportName[0]); e != 0 {
			return refuse(wire.CodeSystem, wire.NoOp, e)
		}
		pass[n], pass[n+1] = fds[0], report
		n += 2
	}
	req.Pass = pass[:n]

	r, p := &k.records.slots[s], &k.table.private[s]
	r.pid.Store(0)
	r.start, r.pidfd, r.flags = 0, 0, 0
	r.began = uint64(raw.Boottime())
	r.run.Store(m.Run)
	r.setPhase(wire.Spawning)
	req.Record = &r.pid
	pid, pidfd, failed, e := k.spawner.Spawn(&req)
	if k.filled > arenaKept {
		_ = syscall.Madvise(k.arena[arenaKept:], syscall.MADV_DONTNEED)
	}
	if e != 0 {
		r.pid.Store(0)
		r.setPhase(wire.Idle)
		if req.Prog != &k.loaded && failed >= 0 {
			// It was an op of the program that becomes abide-exec, not of the service's.
			failed = prog.ReportNoExec
		}
		no := refuse(wire.CodeSystem, failed, e)
		no.Burned = 1
		return no
	}
	r.pid.Store(uint32(pid))
	if st, e := raw.ReadStat(pid); e == 0 {
		r.start = st.Start
	}
	if k.flags&wire.PidfdNamed != 0 {
		r.pidfd, _ = raw.Inode(pidfd)
	}
	r.setPhase(wire.Live)
	p.report = int32(report)
	k.stats.Spawns++
	k.table.live++
	for i, fd := range holds {
		k.keep(s, m.Run, m.Tags[i], fd)
	}
	raw.Close(fds[0])
	if req.CgroupFD >= 0 {
		raw.Close(req.CgroupFD)
	}
	closeAll(rest[m.NTags:])
	k.watch(s, pidfd)
	return wire.Refused{}
}

var reportName = [...]byte{'a', 'b', 'i', 'd', 'e', ' ', 'r', 'e', 'p', 'o', 'r', 't', 0}

// wrapper is the program that runs abide-exec for one with n slots.
func (k *keeper) wrapper(n int) (*prog.Loaded, wire.Code) {
	if k.opts.exec == "" || n >= len(k.slow) {
		return nil, wire.CodeSystem
	}
	if k.slow[n] == nil {
		block, err := prog.ExecProgram(k.opts.exec, n)
		if err != nil {
			return nil, wire.CodeProgram
		}
		l := new(prog.Loaded)
		if l.Load(block) != nil {
			return nil, wire.CodeProgram
		}
		k.slow[n] = l
	}
	return k.slow[n], wire.CodeNone
}
