package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/notify/sockets"
	"github.com/abide-project/abide/internal/svlog"
)

// keeper is link.Link as the engine's port. News that comes before the engine is
// there waits in the link, which begins to deliver after List.
type keeper struct {
	link *link.Link
	eng  *engine.Engine
	pid1 bool
	next *succession
	logs *svlog.Manager // nil: not there yet

	notices *sockets.Sockets

	watching atomic.Bool
	upgrader *upgrader
}

func (k *keeper) handler() link.Handler {
	post := func(f func()) { k.eng.Post(f) }
	return link.Handler{
		Spawned: func(s link.Spawned) {
			post(func() { k.eng.Spawned(s.Name, s.Run, s.Pid, s.Start) })
		},
		Refused: func(r link.Refused) {
			reason := ""
			if r.Code != wire.CodeSystem && r.Code != wire.CodeNone {
				reason = r.Code.String()
			}
			post(func() { k.eng.Refused(r.Name, r.Run, r.Op, r.Errno, reason) })
		},
		Exited: func(x link.Exited) { post(func() { k.eng.Exited(exit(x)) }) },
		Signaled: func(s link.Signaled) {
			post(func() {
				k.eng.Signaled(s.Signo, s.Count)
				// A shutdown is over when the keeper ends: until then the next
				// engine has to be told of it again.
				if !k.eng.Stopping() {
					_, _ = k.link.Handled(s.Signo, s.Count)
				}
			})
		},
		Alive: post,
		Finds: func(tag uint32) bool {
			return tag == engine.HoldOut || tag == engine.HoldErr || tag == engine.HoldNotify
		},
		Held: func(name string, run uint64, tag uint32) int {
			if tag == engine.HoldNotify {
				return k.notices.Copy(name, run)
			}
			if k.logs == nil {
				return -1
			}
			return k.logs.ReadEnd(name, run, tag == engine.HoldErr)
		},
		Lost: func(err error) { k.next.keeperLost(k.link, err) },
	}
}

// asked is for what the engine asks of the keeper. Once that is gone, the engine
// must not take the refusal for an answer: it stops here, as if it had been killed
// in the middle of this very step, and the next one takes it up again.
func (k *keeper) asked(err error) error {
	k.watch()
	// Who sends may see the end before who reads has.
	if err != nil && (k.link.Gone() || errors.Is(err, link.ErrLost)) {
		select {}
	}
	return err
}

func exit(x link.Exited) engine.Exit {
	out := engine.Exit{
		Name: x.Name, Run: x.Run, Pid: x.Pid, Known: x.Known, Status: x.Status, At: x.Real, Boot: x.Boot,
		CPU: x.User + x.System, MaxRSS: x.MaxRSS, ExecOp: -1,
	}
	if x.ExecFailed {
		out.ExecOp, out.ExecErr = x.Op, x.Errno
	}
	return out
}

func (k *keeper) Spawn(o engine.Order) error {
	args := link.SpawnArgs{
		Name: o.Name, Run: o.Run, AckRun: o.AckRun, Program: o.Program, Slow: o.Slow, CgroupFD: o.CgroupFD,
		Hold: make([]link.Hold, len(o.Hold)), Pass: o.Pass,
	}
	for i, h := range o.Hold {
		args.Hold[i] = link.Hold(h)
	}
	_, err := k.link.Spawn(&args)
	return k.asked(err)
}

// patience is how long the keeper may owe an answer. It does nothing that takes
// longer, unless a system call of a spawn program hangs.
const patience = 10 * time.Second

// watch makes sure that somebody looks at what the keeper owes while it owes
// something. Nothing owed, nothing armed.
func (k *keeper) watch() {
	if !k.watching.Swap(true) {
		time.AfterFunc(patience, k.lookAtDebts)
	}
}

func (k *keeper) lookAtDebts() {
	what, since, owed := k.link.Owed()
	age := time.Since(since)
	switch {
	case !owed:
		k.watching.Store(false)
		return
	case age < patience:
		time.AfterFunc(patience-age, k.lookAtDebts)
		return
	}
	out := console{}
	if k.pid1 {
		out.Say(fmt.Sprintf("The keeper is blocked in %q for %s; it is process 1 and cannot be replaced", what, age.Round(time.Second)))
		time.AfterFunc(time.Minute, k.lookAtDebts)
		return
	}
	out.Say(fmt.Sprintf("The keeper is blocked in %q for %s, replacing it", what, age.Round(time.Second)))
	k.next.killKeeper()
}

func (k *keeper) Signal(name string, run uint64, signo int, to engine.Scope) error {
	whom := wire.ToMain
	if to == engine.ToGroup {
		whom = wire.ToGroup
	}
	_, err := k.link.Signal(name, run, signo, whom)
	return k.asked(err)
}

func (k *keeper) Adopt(name string, run uint64, pid int, start uint64) error {
	_, err := k.link.Adopt(name, run, pid, start, -1)
	return k.asked(err)
}

func (k *keeper) Main(name string, run uint64, pid int, start uint64) error {
	_, err := k.link.Main(name, run, pid, start, -1)
	return k.asked(err)
}

func (k *keeper) Release(name string, run uint64) error {
	_, err := k.link.Release(name, run)
	return k.asked(err)
}

func (k *keeper) SignalOnce(name string, run uint64, signo int, to engine.Scope, once uint64) error {
	whom := wire.ToMain
	if to == engine.ToGroup {
		whom = wire.ToGroup
	}
	_, err := k.link.SignalOnce(name, run, signo, whom, once)
	return k.asked(err)
}

func (k *keeper) Ack(name string, run uint64) error {
	_, err := k.link.Ack(name, run)
	return k.asked(err)
}

func (k *keeper) Keep(name string, run uint64, tag uint32, fd int) error {
	_, err := k.link.Keep(name, run, tag, fd)
	return err
}

func (k *keeper) Drop(name string, run uint64) error {
	_, err := k.link.Drop(name, run, wire.AllTags)
	return k.asked(err)
}

func (k *keeper) DropOne(name string, run uint64, tag uint32) error {
	_, err := k.link.Drop(name, run, tag)
	return k.asked(err)
}

func (k *keeper) Take(name string, run uint64, tag uint32) (int, error) {
	fd, err := k.link.Take(name, run, tag)
	return fd, k.asked(err)
}

func (k *keeper) Forget(name string) error {
	_, err := k.link.Forget(name)
	return k.asked(err)
}

func (k *keeper) Exit(code int) error { return k.asked(k.link.Exit(uint8(code), 0)) }

func (k *keeper) List() ([]engine.Record, error) {
	list, err := k.link.List()
	if err != nil {
		// Nobody is told of the loss of a connection that has not listed yet.
		k.next.keeperLost(k.link, err)
	}
	out := make([]engine.Record, 0, len(list))
	for _, r := range list {
		var held []uint64
		var tags []engine.Tagged
		for _, h := range r.Held {
			held = append(held, h.Run)
			tags = append(tags, engine.Tagged(h))
		}
		out = append(out, engine.Record{
			Held: held, Tags: tags,
			Name: r.Name, Run: r.Run, Pid: r.Pid, StartTime: r.Start, Began: r.Began,
			Live: r.Phase == wire.Live || r.Phase == wire.Spawning, Exited: r.Phase == wire.Ended, Exit: exit(r.Exit),
		})
	}
	return out, err
}
