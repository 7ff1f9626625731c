package core

import (
	"fmt"
	"time"
)

// The walk's time goes in units of one millisecond around base, so that every
// moment of a normalised node fits into a byte.
const (
	unit = Time(time.Millisecond)
	base = 1000 * unit
	runs = 10 // the normalised run number; all lower ones are old
)

// world is what is true outside of Step, kept by the walk on its own account so
// that it can tell when Step is wrong.
type world struct {
	alive    bool // the main process of run 10 lives
	frozen   bool
	froze    bool  // it was frozen once
	killed   bool  // KILL was sent to it
	ready    bool  // it has told that it is ready
	spawnDue bool  // ActSpawn is out
	cleanDue bool  // ActClean is out
	findDue  bool  // ActFindMain is out
	main     bool  // forking: the process that lives is the main process
	signed   bool  // forking: it told that it is ready before that
	hookDue  uint8 // the kind of ActHook that is out, plus one
	unhooked bool  // and it was told to end
	prepared bool  // before_start succeeded, and the start goes on in this step
	owes     bool  // the run's after_stop has not been asked for
	arrived  bool  // its after_start succeeded

	held  bool
	armed bool  // the watchdog
	every uint8 // what the run told of how often it is alive, in units
	quiet uint8 // how long ago it was armed or fed, in units
	up    uint8 // how long the run has been Running, clamped
	fails uint8 // failed health checks in a row

	wanted  bool // the last wish
	once    bool
	paused  bool
	ordered bool // a start was asked for since the last ActSpawn
	stale   bool // the run, or the one in the making, must be replaced
	late    bool // the run is a failure, however it ends
	failed  bool // the last start came to nothing
	final   bool // and trying again cannot help

	lastEnd  End
	lastStep int8  // last stop signal sent to the run, -1 if none
	age      uint8 // how long the run lived, in units, clamped
	since    uint8 // how long ago it ended, clamped
	owe      uint8 // the least wait before the start by itself that is coming

	autos [maxAutos]uint8 // ages+1 of the newest starts by itself, newest first
	fresh uint8           // how many of them are not forgiven
}

const maxAutos = 4

// node is one place of the walk: a configuration, a State as Step left it and
// the world, with the time shifted so that now is base.
type node struct {
	cfg uint8
	s   State
	w   world
}

// key is a node in few bytes; unpack gives the node back.
type key [52]byte

func pack(n *node) key {
	var k key
	s, w := &n.s, &n.w
	k[0] = n.cfg
	k[1], k[2], k[3] = byte(s.Phase), byte(s.Cause), byte(s.End)
	k[4] = bits(s.Wanted, s.Once, s.Paused, s.PendingRestart, s.Killed, s.Hurry, s.Froze, s.WasReady)
	k[5], k[6] = s.Level, s.StopStep
	k[7], k[8], k[9], k[10] = clock(s.Deadline), clock(s.StopBy), clock(s.Began), clock(s.Ended)
	k[11], k[12], k[13] = s.window.next, byte(s.window.per), byte(s.window.fill)
	for i := range maxAutos {
		k[14+i] = clock(s.window.stamp[(int(s.window.next)+windowSize-1-i)%windowSize])
	}
	k[20] = bits(w.alive, w.frozen, w.killed, w.ready, w.spawnDue, w.cleanDue, w.wanted, w.once)
	k[21] = bits(w.ordered, w.stale, w.late, w.failed, w.paused, w.froze, w.final, w.signed)
	k[22], k[23], k[24], k[25] = byte(w.lastEnd), byte(w.lastStep+1), w.age, w.since
	copy(k[26:], w.autos[:])
	k[30] = w.fresh
	k[31], k[32] = byte(s.Run), w.owe
	k[33] = bits(s.Held, s.Degraded, s.Hooking, s.Unhooked, s.Void, s.Final, s.HasMain, s.Signed)
	k[34], k[35], k[36], k[37] = byte(s.Hook), s.Fails, s.InRow, s.Shorts
	k[38], k[39], k[40] = clock(s.Until), clock(s.AliveBy), byte(s.AliveIn/ms)
	k[41] = bits(w.findDue, w.main, w.unhooked, w.prepared, w.owes, w.arrived, w.held, w.armed)
	k[42], k[43], k[44], k[45], k[46] = w.hookDue, w.every, w.quiet, w.up, w.fails
	return k
}

func unpack(k *key) node {
	var n node
	s, w := &n.s, &n.w
	n.cfg = k[0]
	s.Phase, s.Cause, s.End = Phase(k[1]), Cause(k[2]), End(k[3])
	f := k[4]
	s.Wanted, s.Once, s.Paused, s.PendingRestart = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	s.Killed, s.Hurry, s.Froze, s.WasReady = f&16 != 0, f&32 != 0, f&64 != 0, f&128 != 0
	s.Level, s.StopStep = k[5], k[6]
	s.Deadline, s.StopBy, s.Began, s.Ended = moment(k[7]), moment(k[8]), moment(k[9]), moment(k[10])
	s.window.next, s.window.per, s.window.fill = k[11], uint32(k[12]), uint32(k[13])
	for i := range maxAutos {
		s.window.stamp[(int(s.window.next)+windowSize-1-i)%windowSize] = moment(k[14+i])
	}
	f = k[20]
	w.alive, w.frozen, w.killed, w.ready = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	w.spawnDue, w.cleanDue, w.wanted, w.once = f&16 != 0, f&32 != 0, f&64 != 0, f&128 != 0
	f = k[21]
	w.ordered, w.stale, w.late, w.failed, w.paused, w.froze = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0, f&16 != 0, f&32 != 0
	w.final, w.signed = f&64 != 0, f&128 != 0
	w.lastEnd, w.lastStep, w.age, w.since = End(k[22]), int8(k[23])-1, k[24], k[25]
	copy(w.autos[:], k[26:])
	w.fresh = k[30]
	s.Run, w.owe = uint64(k[31]), k[32]
	f = k[33]
	s.Held, s.Degraded, s.Hooking, s.Unhooked = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	s.Void, s.Final, s.HasMain, s.Signed = f&16 != 0, f&32 != 0, f&64 != 0, f&128 != 0
	s.Hook, s.Fails, s.InRow, s.Shorts = HookKind(k[34]), k[35], k[36], k[37]
	s.Until, s.AliveBy, s.AliveIn = moment(k[38]), moment(k[39]), time.Duration(k[40])*ms
	f = k[41]
	w.findDue, w.main, w.unhooked, w.prepared = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	w.owes, w.arrived, w.held, w.armed = f&16 != 0, f&32 != 0, f&64 != 0, f&128 != 0
	w.hookDue, w.every, w.quiet, w.up, w.fails = k[42], k[43], k[44], k[45], k[46]
	return n
}

// clock and moment turn a time into a byte and back; 0 stays "none".
func clock(t Time) byte {
	if t == 0 {
		return 0
	}
	u := (t-base)/unit + 128
	if (t-base)%unit != 0 || u <= 0 || u > 255 {
		panic(fmt.Sprintf("the walk cannot hold the time %d", t))
	}
	return byte(u)
}

func moment(b byte) Time {
	if b == 0 {
		return 0
	}
	return base + (Time(b)-128)*unit
}

func bits(bs ...bool) byte {
	var f byte
	for i, b := range bs {
		if b {
			f |= 1 << i
		}
	}
	return f
}

// normalise shifts a node from now to base and makes alike what Step cannot tell
// apart: run numbers, ages beyond every threshold, forgotten starts.
func normalise(n *node, cfg *Config, now Time) {
	s := &n.s
	s.Restarts = 0
	if s.Run != 0 {
		s.Run = runs
	}
	shift := base - now
	for _, t := range []*Time{&s.Deadline, &s.StopBy, &s.Began, &s.Ended, &s.Until, &s.AliveBy} {
		if *t != 0 {
			*t += shift
		}
	}
	for _, t := range []*Time{&s.Deadline, &s.StopBy, &s.Until, &s.AliveBy} {
		if *t != 0 {
			*t = max(*t, base)
		}
	}
	s.InRow = min(s.InRow, cfg.Limit.InRow)
	oldest := Time(max(cfg.Backoff.Healthy, cfg.Backoff.ResetAfter))
	if s.Ended != 0 {
		lived := min(s.Ended-s.Began, oldest)
		s.Ended = max(s.Ended, base-Time(cfg.Delay+cfg.Backoff.cap()))
		s.Began = s.Ended - lived
	} else if s.Began != 0 {
		s.Began = max(s.Began, base-oldest)
	}
	n.w.age = min(n.w.age, uint8(oldest/unit))
	n.w.rest(s)

	any := false
	for i, t := range s.window.stamp {
		if t == 0 {
			continue
		}
		if t += shift; cfg.Limit.Window > 0 && base-t >= Time(cfg.Limit.Window) {
			t = 0
		} else if cfg.Limit.Window == 0 {
			t = base - unit
		}
		s.window.stamp[i] = t
		any = any || t != 0
	}
	if !any || cfg.Limit.Count == 0 {
		s.window = window{}
	} else if s.window.next != 0 {
		var turned [windowSize]Time
		for i := range turned {
			turned[i] = s.window.stamp[(int(s.window.next)+i)%windowSize]
		}
		s.window.stamp, s.window.next = turned, 0
	}
	n.w.forget(cfg)
}

// rest forgets what no later judgement asks for.
func (w *world) rest(s *State) {
	switch s.Phase {
	case Delaying:
		w.age, w.since, w.owes = 0, min(w.since, w.owe), false
	case Cleaning, Closing:
		w.since = min(w.since, 4)
	case Down, Finished, Failed, Waiting, Reached:
		w.age, w.since, w.owe, w.ready, w.killed, w.lastStep = 0, 0, 0, false, false, -1
		w.owes = false
	default:
		w.since = 0
	}
	if s.Phase == Down || s.Phase == Failed || s.Phase == Waiting || s.Phase == Reached {
		w.lastEnd, w.late, w.failed, w.final = EndNone, false, false, false
	}
	if s.Phase != Running {
		w.up, w.fails = 0, 0
	}
	if !w.armed {
		w.quiet = 0
	}
	if !s.Up() {
		w.armed, w.quiet, w.arrived = false, 0, false
	}
	if !s.Up() && s.Phase != Finding {
		w.every = 0
	}
	if !s.Live() && s.Phase != Finding {
		w.main, w.signed = false, false
	}
}

// forget drops the starts by itself that lie outside the limit's window.
func (w *world) forget(cfg *Config) {
	for i, a := range w.autos {
		switch {
		case a == 0:
		case cfg.Limit.Count == 0 || cfg.Limit.Window > 0 && Time(a-1)*unit >= Time(cfg.Limit.Window):
			w.autos[i] = 0
		case cfg.Limit.Window == 0:
			w.autos[i] = 1
		}
	}
	w.fresh = min(w.fresh, w.spent())
}

// pass lets time go by.
func (w *world) pass() {
	if w.alive || w.findDue {
		w.age++
	} else {
		w.since++
	}
	w.up = min(w.up+1, 4)
	w.quiet = min(w.quiet+1, 8)
	for i, a := range w.autos {
		if a != 0 {
			w.autos[i]++
		}
	}
}

// spent counts the starts by itself within the window, forgiven ones included.
func (w *world) spent() uint8 {
	var n uint8
	for _, a := range w.autos {
		if a != 0 {
			n++
		}
	}
	return n
}

func (w *world) countAuto(cfg *Config) {
	if cfg.Limit.Count == 0 {
		return
	}
	copy(w.autos[1:], w.autos[:maxAutos-1])
	w.autos[0] = 1
	w.fresh = min(w.fresh+1, maxAutos)
}
