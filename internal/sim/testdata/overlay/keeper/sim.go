//go:build linux && (amd64 || arm64)

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// Sim is a keeper on the simulated kernel: Main without what concerns a real
// process, in pieces that the simulation runs as its threads.
type Sim struct {
	k *keeper
	p *parent
}

// SimPrepare is Main up to the first thread. A nil Sim comes with the exit code.
func SimPrepare(args, environ []string) (*Sim, int) {
	opts, wrong := parseOptions(args)
	if wrong != "" {
		panic(wrong)
	}
	opts.path, opts.environ = "/abide-keeper", environ
	left := receiveFirst(opts.inherit)
	k, code := prepare(opts, left)
	if k == nil {
		return nil, code
	}
	p, code := newParent(k)
	if p == nil {
		return nil, code
	}
	left.agree()
	return &Sim{k: k, p: p}, 0
}

// Loop is the loop's thread.
func (s *Sim) Loop() { s.k.run() }

// Parent is the main thread; it returns the exit code.
func (s *Sim) Parent() int {
	s.p.run()
	return s.k.leave()
}

// Signal is what the handler of a signal does.
func (s *Sim) Signal(signo syscall.Signal) {
	s.k.shared.received[signo].Add(1)
	s.k.shared.wakeLoop()
}

// Owned is how many descriptors it should have beside those it always has.
func (s *Sim) Owned() int {
	n := int(s.k.table.nheld)
	for i := range s.k.table.fresh {
		p := &s.k.table.private[i]
		if p.pidfd > 0 {
			n++
		}
		if p.report > 0 {
			n++
		}
	}
	if s.k.engine.sock >= 0 {
		n++
	}
	if s.k.engine.pidfd >= 0 {
		n++
	}
	return n
}

// Held is how many descriptors it holds for services.
func (s *Sim) Held() int { return int(s.k.table.nheld) }

// Watched calls f for each run that it watches, with its pidfd.
func (s *Sim) Watched(f func(name string, run uint64, pidfd int)) {
	for i := range s.k.table.fresh {
		p, r := &s.k.table.private[i], &s.k.records.slots[i]
		if p.pidfd > 0 && r.at() == wire.Live {
			f(string(r.name()), r.run.Load(), int(p.pidfd))
		}
	}
}
