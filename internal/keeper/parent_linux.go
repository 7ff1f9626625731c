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
	fixed   [4]int // what the engine gets as 3 and up; the first is its socket
	nfixed  int
	path    string
	// canLeave lets a first engine that cannot be run, or gives up before its
	// first word, end the keeper: there is nothing to keep yet.
	canLeave bool
}

// run keeps an engine alive until the keeper is to end.
func (p *parent) run() {
	for p.shared.ending.Load() == endNo {
		gone := p.shared.gone.Load()
		began := raw.Monotonic()
		pid, e := p.startEngine()
		if e == 0 {
			status := p.waitFor(pid)
			p.drained(gone)
			if p.shared.ending.Load() != endNo {
				break
			}
			p.sayEnd(pid, status, raw.Monotonic()-began)
			if code := status >> 8 & 0xff; p.canLeave && !p.shared.met.Load() && status&0x7f == 0 && code != 0 {
				p.shared.end(code, wire.ActionExit)
				break
			}
		} else if p.canLeave {
			p.shared.end(exitSystem, wire.ActionExit)
			break
		}
		p.canLeave = false
		p.pause(raw.Monotonic() - began)
	}
	p.reapNow()
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
// services, which are children of the loop's thread.
func (p *parent) waitFor(engine int) (status uint32) {
	for {
		var usage syscall.Rusage
		pid, e := raw.Wait4(-1, &status, raw.WAll|raw.WNoThread, &usage)
		switch {
		case e == syscall.EINTR:
		case e != 0:
			// Nobody is left, so the engine is gone as well.
			return 0
		case pid == engine:
			return status
		default:
			p.orphan(uint32(pid), status, &usage)
		}
	}
}

// reapNow takes what has ended, without waiting.
func (p *parent) reapNow() {
	for {
		var status uint32
		var usage syscall.Rusage
		pid, e := raw.Wait4(-1, &status, raw.WAll|raw.WNoThread|raw.WNoHang, &usage)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 || pid == 0 {
			return
		}
		p.orphan(uint32(pid), status, &usage)
	}
}

func (p *parent) orphan(pid, status uint32, usage *syscall.Rusage) {
	p.shared.orphans.Add(1)
	if p.shared.adopted.has(pid) {
		p.shared.reaped.put(pid, status, usage, p.shared.wakeLoop)
	}
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

// engineProgram is the spawn program of the engine: default signals, its fixed
// descriptors kept open, nothing else changed.
func engineProgram(argv, environ []string, slots int) ([]byte, error) {
	const setMask = 2
	b := prog.NewBuilder(prog.NativeArch)
	b.SetSlots(slots)
	b.Pseudo(prog.OpDefSig)
	b.Call(prog.Sigprocmask, prog.Int(setMask), prog.At(b.Block(make([]byte, 8))), prog.Int(0), prog.Int(8))
	for i := range slots {
		b.Call(prog.Fcntl, prog.Int(prog.FirstSlot+i), prog.Int(prog.FSetFD), prog.Int(0))
	}
	args, env := b.Texts(argv), b.Texts(environ)
	b.Call(prog.Execve, prog.At(b.Text(argv[0])), prog.At(args), prog.At(env))
	return b.Bytes()
}
