//go:build amd64 || arm64

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/sys/raw"
)

const (
	// youngAge is the life below which an engine counts as one that cannot live.
	youngAge = second
	// hopelessStreak is the number of them after which the keeper believes it.
	hopelessStreak = 3
	firstDelay     = second / 100
	longestDelay   = second
	// drainTime is how long a new engine waits for the loop to have read the last
	// words of the old one.
	drainTime = second
	// engineTable is the descriptor table an engine is born with: growing it later
	// costs 10-20 ms each time.
	engineTable = 8191
)

// parent runs on the main thread, the leader of the process, which is the parent
// of the engine and of every orphan, and of no service.
type parent struct {
	shared  *shared
	spawner *vspawn.Spawner
	rung    vspawn.Rung
	program prog.Loaded
	fixed   [5]int // what the engine gets as 3 and up; the first is its socket
	nfixed  int
	before  prog.Loaded // the engine before an upgrade, from its file: the descriptor behind the fixed ones
	path    string
	// canLeave lets a first engine that cannot be run, or gives up before its
	// first word, end the keeper: there is nothing to keep yet.
	canLeave bool
	// inherited is an engine that ran when this program took over, 0: none.
	inherited int
	deaths    int // of engines on trial
}

// run keeps an engine alive until the keeper is to end.
func (p *parent) run() {
	for p.shared.ending.Load() == endNo {
		gone := p.shared.gone.Load()
		began := raw.Monotonic()
		pid, e := p.inherited, syscall.Errno(0)
		if pid == 0 {
			pid, e = p.startEngine()
		} else {
			gone = 0 // it may have gone while we took over
		}
		if e == 0 {
			status := p.waitFor(pid)
			p.drained(gone)
			if p.shared.ending.Load() != endNo {
				break
			}
			if p.inherited != 0 {
				p.inherited = 0
				continue // its end was asked for, or is followed by its like
			}
			p.sayEnd(pid, status, raw.Monotonic()-began)
			p.diedOnTrial(status)
			if code := status >> 8 & 0xff; p.canLeave && !p.shared.met.Load() && status&0x7f == 0 && code != 0 {
				p.shared.end(code, wire.ActionExit)
				break
			}
		} else if p.canLeave {
			p.shared.end(exitSystem, wire.ActionExit)
			break
		} else if p.shared.back.trial.Load() {
			p.shared.goBack(wire.UpgradeEngineExec, 0, e)
		}
		p.canLeave = false
		p.pause(raw.Monotonic() - began)
	}
	p.reapNow()
}

// diedOnTrial counts the deaths of a new engine; after some the one before comes
// back.
func (p *parent) diedOnTrial(status uint32) {
	if !p.shared.back.trial.Load() {
		return
	}
	if p.deaths++; p.deaths >= trialDeaths {
		p.shared.goBack(wire.UpgradeEngineDied, status, 0)
	}
}

// pause waits before the next engine if this one did not live.
func (p *parent) pause(lived int64) {
	if lived >= youngAge {
		p.shared.streak.Store(0)
		return
	}
	n := p.shared.streak.Add(1)
	p.shared.wakeLoop()
	if n < 2 {
		return
	}
	left := int64(longestDelay)
	if n-2 < 7 {
		left = min(int64(firstDelay)<<(n-2), longestDelay)
	}
	for ; left > 0 && p.shared.ending.Load() == endNo; left -= firstDelay {
		raw.Sleep(min(left, firstDelay))
		p.reapNow()
	}
}

// startEngine makes the socket, the child, and hands both to the loop.
func (p *parent) startEngine() (pid int, errno syscall.Errno) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		e := err.(syscall.Errno)
		say("cannot make the engine's socket").errno(e).end()
		return 0, e
	}
	ours, e := raw.DupAbove(pair[0], ownDescriptors)
	raw.Close(pair[0])
	if e != 0 {
		raw.Close(pair[1])
		say("cannot keep the engine's socket").errno(e).end()
		return 0, e
	}
	widen(ours)
	widen(pair[1])
	p.fixed[0] = pair[1]
	high, he := raw.DupAbove(0, engineTable)
	req := vspawn.Request{Prog: &p.program, Rung: p.rung, CgroupFD: -1, Pass: p.fixed[:p.nfixed]}
	if p.shared.back.result.Load() != uint32(wire.UpgradeDone) {
		req.Prog, req.Pass = &p.before, p.fixed[:p.nfixed+1]
	}
	pid, pidfd, failed, e := p.spawner.Spawn(&req)
	if he == 0 {
		raw.Close(high)
	}
	raw.Close(pair[1])
	if e != 0 {
		raw.Close(ours)
		say("cannot run the engine ").s(p.path).s(" (operation ").n(int64(failed)).s(")").errno(e).end()
		return 0, e
	}
	p.shared.engines.Add(1)
	box := &p.shared.mailbox
	for box.full.Load() {
		raw.Sleep(second / 10000)
	}
	box.sock, box.pidfd, box.pid = ours, pidfd, uint32(pid)
	box.full.Store(true)
	p.shared.wakeLoop()
	return pid, 0
}

// widen gives a socket room for a burst; without the right to, as much as it may.
func widen(sock int) {
	const forced = 32 // SO_SNDBUFFORCE
	if syscall.SetsockoptInt(sock, syscall.SOL_SOCKET, forced, 4<<20) != nil {
		_ = syscall.SetsockoptInt(sock, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4<<20)
	}
}

// waitFor reaps orphans until the engine itself ends. __WNOTHREAD hides the
// services, which are children of the loop's thread, but for those that became
// ours by an upgrade.
func (p *parent) waitFor(engine int) (status uint32) {
	for {
		pid, status, e := p.reapOne(engine, 0)
		if e != syscall.EINTR && (e != 0 || pid == engine) {
			// An error says that nobody is left, so the engine is gone as well.
			return status
		}
	}
}

// reapNow takes what has ended, without waiting.
func (p *parent) reapNow() {
	for {
		pid, _, e := p.reapOne(0, raw.WNoHang)
		if e != syscall.EINTR && (e != 0 || pid == 0) {
			return
		}
	}
}

// reapOne looks who has ended, lets the loop store it when it is a run, and only
// then reaps it: an end that was reaped and not stored would be lost with us.
func (p *parent) reapOne(engine int, flags uintptr) (pid int, status uint32, errno syscall.Errno) {
	var info raw.Siginfo
	var usage syscall.Rusage
	e := raw.AwaitID(raw.PAll, 0, &info, raw.WExited|raw.WNoWait|raw.WAll|raw.WNoThread|flags, &usage)
	if e != 0 || info.Pid == 0 {
		return 0, 0, e
	}
	pid, status = int(info.Pid), info.WaitStatus()
	if pid != engine {
		p.shared.orphans.Add(1)
		if p.shared.adopted.has(uint32(pid)) {
			p.shared.reaped.put(uint32(pid), status, &usage, p.shared.wakeLoop)
		}
	}
	var again uint32
	_, _ = raw.Wait4(pid, &again, raw.WAll|raw.WNoThread|raw.WNoHang, nil)
	return pid, status, 0
}

// drained waits until the loop has read what the dead engine said last.
func (p *parent) drained(before uint32) {
	for waited := int64(0); p.shared.gone.Load() == before && waited < drainTime; waited += second / 10000 {
		raw.Sleep(second / 10000)
	}
}

func (p *parent) sayEnd(pid int, status uint32, lived int64) {
	l := say("the engine (pid ").n(int64(pid)).s(") ended ")
	if signo := status & 0x7f; signo != 0 {
		l.s("by signal ").n(int64(signo))
	} else {
		l.s("with code ").n(int64(status >> 8 & 0xff))
	}
	l.s(" after ").n(lived / 1_000_000).s(" ms").end()
}

// loadBefore makes the program that runs the engine before an upgrade. Its file may
// have no name any more.
func (p *parent) loadBefore(path string, argv, environ []string) error {
	var digits [21]byte
	file := "/proc/self/fd/" + string(raw.AppendNumber(digits[:0], int64(prog.FirstSlot+p.nfixed)))
	block, err := childProgram(file, append([]string{path}, argv[1:]...), environ, p.nfixed+1, p.nfixed)
	if err != nil {
		return err
	}
	return p.before.Load(block)
}

// childProgram is the spawn program of an engine, or of a keeper that proves
// itself: default signals, the first descriptors of its slots kept open, nothing
// else changed.
func childProgram(path string, argv, environ []string, slots, kept int) ([]byte, error) {
	const setMask = 2
	b := prog.NewBuilder(prog.NativeArch)
	b.SetSlots(slots)
	b.Pseudo(prog.OpDefSig)
	b.Call(prog.Sigprocmask, prog.Int(setMask), prog.At(b.Block(make([]byte, 8))), prog.Int(0), prog.Int(8))
	for i := range kept {
		b.Call(prog.Fcntl, prog.Int(prog.FirstSlot+i), prog.Int(prog.FSetFD), prog.Int(0))
	}
	args, env := b.Texts(argv), b.Texts(environ)
	b.Call(prog.Execve, prog.At(b.Text(path)), prog.At(args), prog.At(env))
	return b.Bytes()
}
