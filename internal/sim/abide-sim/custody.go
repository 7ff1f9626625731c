//go:build abide_sim && linux

package main

import (
	"sort"
	"strconv"
	"time"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/sim/sched"
	"github.com/abide-project/abide/internal/sys/raw"
)

// custody is what an engine keeps to be able to give it to another keeper, as
// package keeper/link does: a pidfd of each live run. The pipes are the log's.
type custody map[string]liveRun

type liveRun struct {
	run   uint64
	pid   int
	start uint64
	pidfd int
}

func (c custody) lives(name string, run uint64, pid int, start uint64) {
	fd, e := raw.PidfdOpen(pid)
	if e != 0 {
		return
	}
	c.ended(name, run)
	c[name] = liveRun{run, pid, start, fd}
}

func (c custody) ended(name string, run uint64) {
	if r, ok := c[name]; ok && r.run <= run {
		delete(c, name)
		raw.Close(r.pidfd)
	}
}

// handOver gives a new keeper through a socket what the dead one had. It reports
// whether that has taken it.
func (l *link) handOver(sock int) bool {
	var mail raw.Messenger
	var buf [wire.HeaderSize + 512]byte
	sent := true
	send := func(msg []byte, fds ...int) {
		for sent {
			e := mail.Send(sock, msg, fds)
			if e == 0 {
				return
			}
			sched.Park(func() bool { return l.w.k.Writable(l.p, sock) }, 0)
			if e == 32 { // EPIPE
				sent = false
			}
		}
	}
	send(wire.Bare(buf[:0], wire.TypeLock, 0), lockFD)
	send(wire.Bare(buf[:0], wire.TypeListener, 0), listenerFD)
	for _, name := range l.custody.names() {
		r := l.custody[name]
		m := wire.LiveRun{Name: []byte(name), Run: r.run, Pid: uint32(r.pid), Start: r.start}
		send(m.Append(buf[:0]), r.pidfd)
	}
	for _, f := range l.w.logs.inOrder() {
		if f.fd >= 0 && !f.swept {
			m := wire.Held{Name: []byte(f.slot.name), Run: f.slot.run, Tag: engine.HoldOut}
			send(m.Append(buf[:0], wire.TypeHeld, 0), f.fd)
		}
	}
	send(wire.Bare(buf[:0], wire.TypeDone, 0))
	if !sent || !sched.Park(func() bool { return l.w.k.Readable(l.p, sock) }, l.w.s.Monotonic()+int64(20*time.Second)) {
		return false
	}
	n, _, _, e := mail.Receive(sock, buf[:])
	head, _, code := wire.Parse(buf[:n])
	return e == 0 && code == wire.CodeNone && head.Type == wire.TypeOK
}

const (
	listenerFD = 4
	lockFD     = 5
)

func (c custody) names() []string {
	list := make([]string, 0, len(c))
	for name := range c {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}

// replace starts a keeper that is given everything, or, when it does not take it,
// ends that.
func (l *link) replace() bool {
	w := l.w
	ours, theirs := w.k.SocketPair(l.p)
	p := w.k.Fork(l.p.Parent, nil)
	w.k.Give(l.p, theirs, p, linkFD)
	w.note("engine %d hands over to keeper %d", l.p.Pid, p.Pid)
	w.beginKeeper(p, "--inherit-fd", strconv.Itoa(linkFD), "--nofile", "1024:4096")
	raw.Close(theirs)
	if l.handOver(ours) {
		w.note("keeper %d has taken over everything", p.Pid)
		w.counts.Handovers++
		w.handed(p)
		return true
	}
	w.note("keeper %d does not take over", p.Pid)
	w.k.Exit(p, 9)
	raw.Close(ours)
	return false
}

// handed notes that a new keeper has what the one before had.
func (w *world) handed(*kernel.Proc) {
	for _, s := range w.services {
		for _, r := range s.runs {
			if r.holder == w.keepers-1 {
				r.holder = w.keepers
			}
		}
	}
}
