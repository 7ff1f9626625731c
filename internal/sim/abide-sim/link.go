//go:build abide_sim && linux

package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/sim/sched"
	"github.com/abide-project/abide/internal/sys/raw"
)

// link is package keeper/link by what it promises, over simulated sockets: no
// request blocks, their order is kept, news comes after List, answers find their
// request by its number.
type link struct {
	w    *world
	p    *kernel.Proc
	eng  *engine.Engine
	mail raw.Messenger // the reader's; whoever sends has one of its own
	in   [wire.MaxMessage]byte
	seq  uint32
	asks map[uint32]ask
	wait []parcel // what did not fit

	early   [][]byte
	welcome wire.Welcome
	lost    bool
	exited  bool
	custody custody
}

type ask struct {
	what  string
	since int64
}

type parcel struct {
	data []byte
	fds  []int
}

const (
	linkFD    = 3
	debtLimit = 10 * int64(time.Second)
)

// openLink greets the keeper. It blocks.
func openLink(w *world, p *kernel.Proc) (*link, error) {
	l := &link{w: w, p: p, asks: map[uint32]ask{}, custody: custody{}}
	hello := wire.Hello{Version: wire.Version}
	seq := l.ask("greet", nil, func(b []byte, seq uint32) []byte { return hello.Append(b, seq) })
	body, err := l.expect(seq, wire.TypeWelcome)
	if err != nil {
		return l, err
	}
	if code := l.welcome.Decode(body); code != wire.CodeNone {
		return l, fmt.Errorf("bad welcome: %v", code)
	}
	return l, nil
}

// ask sends a request, or keeps it until there is room.
func (l *link) ask(what string, fds []int, encode func([]byte, uint32) []byte) uint32 {
	l.seq++
	l.asks[l.seq] = ask{what: what, since: l.w.s.Monotonic()}
	l.send(encode(nil, l.seq), fds)
	return l.seq
}

func (l *link) send(data []byte, fds []int) {
	if len(l.wait) == 0 {
		var mail raw.Messenger
		if e := mail.Send(linkFD, data, fds); e != syscall.EAGAIN {
			return // another failure: the keeper is gone, which the reader sees
		}
	}
	copies := make([]int, 0, len(fds))
	for _, fd := range fds {
		c, e := raw.DupAbove(fd, 3)
		if e == 0 {
			copies = append(copies, c)
		}
	}
	l.wait = append(l.wait, parcel{data, copies})
	if len(l.wait) == 1 {
		sched.Go(l.flush)
	}
}

// flush sends what has waited, in order.
func (l *link) flush() {
	var mail raw.Messenger
	for len(l.wait) > 0 {
		sched.Park(func() bool { return l.w.k.Writable(l.p, linkFD) }, 0)
		m := l.wait[0]
		if e := mail.Send(linkFD, m.data, m.fds); e == syscall.EAGAIN {
			continue
		}
		for _, fd := range m.fds {
			raw.Close(fd)
		}
		l.wait = l.wait[1:]
	}
}

// receive blocks until there is a message; nil at the end of the connection.
func (l *link) receive() []byte {
	for {
		sched.Park(func() bool { return l.w.k.Readable(l.p, linkFD) }, 0)
		n, fds, _, e := l.mail.Receive(linkFD, l.in[:])
		for _, fd := range fds {
			raw.Close(fd)
		}
		switch {
		case e == syscall.EAGAIN || e == syscall.ECONNRESET:
		case e != 0 || n == 0:
			return nil
		default:
			return l.in[:n]
		}
	}
}

// expect reads up to an answer and keeps the news that comes before it.
func (l *link) expect(seq uint32, want wire.Type) ([]byte, error) {
	for {
		msg := l.receive()
		if msg == nil {
			return nil, fmt.Errorf("the keeper is gone")
		}
		h, body, code := wire.Parse(msg)
		switch {
		case code != wire.CodeNone:
			l.w.violation("malformed message of the keeper: %v", code)
		case h.Seq != seq:
			l.early = append(l.early, append([]byte(nil), msg...))
		case h.Type != want:
			return nil, fmt.Errorf("answer %#x", h.Type)
		default:
			delete(l.asks, seq)
			return body, nil
		}
	}
}

// List is the port's.
func (l *link) List() ([]engine.Record, error) {
	var out []engine.Record
	for from := uint32(0); ; {
		m := wire.List{From: from}
		seq := l.ask("list", nil, func(b []byte, seq uint32) []byte { return m.Append(b, seq) })
		body, err := l.expect(seq, wire.TypeInventory)
		if err != nil {
			return nil, err
		}
		var part wire.Inventory
		if code := part.Decode(body); code != wire.CodeNone {
			return nil, fmt.Errorf("inventory: %v", code)
		}
		var r wire.Record
		for part.Count > 0 {
			if code := part.Record(&r); code != wire.CodeNone {
				return nil, fmt.Errorf("record: %v", code)
			}
			var held []uint64
			for _, h := range r.Held[:r.NHeld] {
				held = append(held, h.Run)
			}
			out = append(out, engine.Record{
				Held: held,
				Name: string(r.Name), Run: r.Run, Pid: int(r.Pid), StartTime: r.Start, Began: int64(r.Began),
				Live: r.Phase == wire.Live || r.Phase == wire.Spawning, Exited: r.Phase == wire.Ended, Exit: exitOf(&r.Exit),
			})
		}
		if part.Next == 0 {
			break
		}
		from = part.Next
	}
	l.w.listed(out)
	for _, r := range out {
		if r.Live {
			l.custody.lives(r.Name, r.Run, r.Pid, r.StartTime)
		}
	}
	sched.Go(l.read)
	return out, nil
}

func exitOf(m *wire.Exited) engine.Exit {
	x := engine.Exit{
		Name: string(m.Name), Run: m.Run, Pid: int(m.Pid), Known: m.Flags&wire.StatusUnknown == 0, Status: m.Status,
		At: time.Unix(0, int64(m.Real)), Boot: int64(m.Boot), CPU: time.Duration(m.User + m.System), ExecOp: -1,
	}
	if m.Flags&wire.ExecFailed != 0 {
		x.ExecOp, x.ExecErr = int(m.Op), int(m.Errno)
	}
	return x
}

// read is the reader's task.
func (l *link) read() {
	for _, msg := range l.early {
		l.message(msg)
	}
	for {
		msg := l.receive()
		if msg == nil {
			break
		}
		l.message(msg)
	}
	if !l.exited {
		l.w.keeperLost(l)
	}
}

func (l *link) message(msg []byte) {
	h, body, code := wire.Parse(msg)
	if code != wire.CodeNone {
		l.w.violation("malformed message of the keeper: %v", code)
		return
	}
	delete(l.asks, h.Seq)
	post := l.eng.Post
	switch h.Type {
	case wire.TypeSpawned:
		var m wire.Spawned
		l.decoded(m.Decode(body))
		name, run, pid, start := string(m.Name), m.Run, int(m.Pid), m.Start
		l.custody.lives(name, run, pid, start)
		post(func() { l.eng.Spawned(name, run, pid, start) })
	case wire.TypeRefused:
		var m wire.Refused
		l.decoded(m.Decode(body))
		name := string(m.Name)
		l.w.refused(name, m.Run, m.Code)
		reason := ""
		if m.Code != wire.CodeSystem {
			reason = m.Code.String()
		}
		post(func() { l.eng.Refused(name, m.Run, int(m.Op), int(m.Errno), reason) })
	case wire.TypeExited:
		var m wire.Exited
		l.decoded(m.Decode(body))
		x := exitOf(&m)
		l.custody.ended(x.Name, x.Run)
		l.w.told(x)
		post(func() { l.eng.Exited(x) })
	case wire.TypeSignaled:
		var m wire.Signaled
		l.decoded(m.Decode(body))
		post(func() {
			l.eng.Signaled(int(m.Signo), m.Count)
			if !l.eng.Stopping() {
				l.ask("handled", nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeHandled, seq) })
			}
		})
	case wire.TypeIsAlive:
		post(func() { l.send(wire.Bare(nil, wire.TypePong, 0), nil) })
	case wire.TypeOK:
		if h.Seq == l.seq && l.exited {
			l.lost = true
		}
	}
}

func (l *link) decoded(code wire.Code) {
	if code != wire.CodeNone {
		l.w.violation("malformed message of the keeper: %v", code)
	}
}

// Exit asks for the keeper's end and waits for its word.
func (l *link) Exit(code int) {
	l.exited = true
	m := wire.Exit{Code: uint32(code)}
	l.ask("exit", nil, m.Append)
	sched.Park(func() bool { return l.lost }, l.w.s.Monotonic()+debtLimit)
}

func (l *link) Spawn(o engine.Order) error {
	m := wire.Spawn{Name: []byte(o.Name), Run: o.Run, AckRun: o.AckRun, NTags: len(o.Hold)}
	memfd, e := raw.MemfdCreate(&memfdName[0])
	if e != 0 {
		return e
	}
	defer raw.Close(memfd)
	if _, e := raw.Write(memfd, o.Program); e != 0 {
		return e
	}
	raw.AddSeals(memfd, raw.SealWrite|raw.SealSeal|raw.SealGrow|raw.SealShrink)
	fds := []int{memfd}
	if o.Slow {
		m.Flags |= wire.SpawnSlow
	}
	for i, h := range o.Hold {
		m.Tags[i] = h.Tag
		l.w.logs.held(h.FD, o.Name, o.Run)
		fds = append(fds, h.FD)
	}
	l.ask(fmt.Sprintf("spawn %s %d", o.Name, o.Run), fds, m.Append)
	return nil
}

var memfdName = [...]byte{'p', 0}

func (l *link) Signal(name string, run uint64, signo int, to engine.Scope) error {
	whom := wire.ToMain
	if to == engine.ToGroup {
		whom = wire.ToGroup
	}
	m := wire.Signal{Name: []byte(name), Run: run, Signo: uint32(signo), To: whom}
	l.ask("signal", nil, m.Append)
	return nil
}

func (l *link) SignalOnce(name string, run uint64, signo int, to engine.Scope, once uint64) error {
	whom := wire.ToMain
	if to == engine.ToGroup {
		whom = wire.ToGroup
	}
	m := wire.SignalOnce{Signal: wire.Signal{Name: []byte(name), Run: run, Signo: uint32(signo), To: whom}, Once: once}
	l.ask("signal once", nil, m.Append)
	return nil
}

func (l *link) Adopt(name string, run uint64, pid int, start uint64) error {
	m := wire.Adopt{Name: []byte(name), Run: run, Pid: uint32(pid), Start: start}
	l.ask("adopt", nil, m.Append)
	return nil
}

func (l *link) Main(name string, run uint64, pid int, start uint64) error {
	m := wire.Main{Name: []byte(name), Run: run, Pid: uint32(pid), Start: start}
	l.ask("main", nil, m.Append)
	return nil
}

func (l *link) Release(name string, run uint64) error {
	m := wire.ServiceRun{Name: []byte(name), Run: run}
	l.ask("release", nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeRelease, seq) })
	return nil
}

func (l *link) Ack(name string, run uint64) error {
	m := wire.ServiceRun{Name: []byte(name), Run: run}
	l.ask("ack", nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeAck, seq) })
	return nil
}

func (l *link) Drop(name string, run uint64) error {
	m := wire.Held{Name: []byte(name), Run: run, Tag: wire.AllTags}
	l.ask("drop", nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeDrop, seq) })
	return nil
}

func (l *link) DropOne(name string, run uint64, tag uint32) error {
	m := wire.Held{Name: []byte(name), Run: run, Tag: tag}
	l.ask("drop", nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeDrop, seq) })
	return nil
}

// Take finds nothing: what the simulated services have is only their pipes.
func (l *link) Take(string, uint64, uint32) (int, error) { return -1, syscall.ENOENT }

func (l *link) Forget(name string) error {
	if slot := l.eng.SimSlot(serviceOf(name)); slot == "" || slot == name {
		l.w.service(name).forgotten = true // else it lives in its other slot
	}
	m := wire.ServiceRun{Name: []byte(name)}
	l.ask("forget", nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeForget, seq) })
	return nil
}

// owes is the oldest request without an answer, if it has waited longer than it
// may.
func (l *link) owes() (string, bool) {
	oldest := uint32(0)
	for seq := range l.asks {
		if oldest == 0 || seq < oldest {
			oldest = seq
		}
	}
	a := l.asks[oldest]
	return a.what, oldest != 0 && l.w.s.Monotonic()-a.since > debtLimit
}
