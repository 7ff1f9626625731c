//go:build abide_sim && linux

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/sim/sched"
	"github.com/abide-project/abide/internal/state"
)

// world is one run of the simulation: the machine, what lies on its disks, the
// processes of ours, the services, the operators, and what must be true of it all.
type world struct {
	seed uint64
	s    *sched.Schedule
	k    *kernel.Kernel
	rand *rand.Rand

	calm   bool // no faults, and services that live
	mood   mood
	needs  map[string]model.Needs // by service
	traits map[string]*traits
	steps  int
	failed string
	recent [50]string
	noted  int
	digest uint64
	say    func(string)

	// On disk: what outlives every process.
	files   map[string]*model.Service
	applied map[string]*model.Service
	pages   map[string][]byte
	wishes  map[string]state.Wish
	marks   map[string]uint64 // of files, 0: it is not there
	touches uint64

	keepers  int // how many there have been
	keeper   *kernel.Proc
	sim      *keeper.Sim
	engine   *kernel.Proc
	eng      *engine.Engine
	engines  int
	ready    bool // the engine has listed and serves
	hung     *kernel.Proc
	shutting bool
	paths    *paths // of the present engine
	unheard  int    // requests to it that have to be answered soon
	logs     *logs
	daemon   *sched.Timer // an operator who starts abide again
	groups   map[runKey]*group
	services map[string]*service
	orphans  int

	counts counters
}

// mood is how likely what is in one run of the world; every seed has another.
type mood struct {
	die        float64 // of our processes at any of their calls
	keeperDies float64 // part of those that hit the keeper
	preempt    float64
	spawnFails float64
	portFails  float64
	hang       float64
	damage     float64 // of the records, when all of ours die at once
	linked     float64 // a service depends on another one
	hooked     float64 // a service has hooks of a kind
	signs      float64 // a service says when it is ready
	rolls      float64 // a request is one for a roll
}

type counters struct {
	Spawns, Exits, EngineDeaths, KeeperDeaths, Hangs, Requests, Lines, Quiets int
	Unknown, Lost, Shutdowns, Refused, Handovers                              int
}

// violation notes the first thing that must not be.
func (w *world) violation(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf(format, args...)
	}
	w.note("VIOLATION "+format, args...)
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%12.6f %s", float64(w.s.Monotonic()-sched.Epoch)/1e9, fmt.Sprintf(format, args...))
	w.recent[w.noted%len(w.recent)] = line
	w.noted++
	for _, c := range []byte(line) {
		w.digest = (w.digest ^ uint64(c)) * 1099511628211
	}
	if w.say != nil {
		w.say(line)
	}
}

// tail is the end of the trace.
func (w *world) tail() string {
	var b strings.Builder
	for i := max(0, w.noted-len(w.recent)); i < w.noted; i++ {
		b.WriteString(w.recent[i%len(w.recent)] + "\n")
	}
	return b.String()
}

func (w *world) chance(p float64) bool { return p > 0 && w.rand.Float64() < p }

func (w *world) between(low, high time.Duration) int64 {
	if high <= low {
		return int64(low)
	}
	return int64(low) + w.rand.Int64N(int64(high-low))
}

func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, files: map[string]*model.Service{}, needs: map[string]model.Needs{}, traits: map[string]*traits{}, pages: map[string][]byte{}, wishes: map[string]state.Wish{}, marks: map[string]uint64{},
		groups: map[runKey]*group{}, services: map[string]*service{}, digest: 14695981039346656037,
	}
	w.s = sched.Begin(seed)
	w.rand = w.s.Rand
	w.k = kernel.New(w.s)
	w.s.OnPoint = w.point
	w.k.Spawning, w.k.Signalled, w.k.Died = w.spawning, w.signalled, w.died
	w.k.Said = func(p *kernel.Proc, line string) { w.note("pid %d says: %s", p.Pid, line) }
	w.k.Missing = func(what string, nr uintptr) { w.violation("the simulated kernel has no %s %d", what, nr) }
	w.k.PidfdInodes = w.chance(0.7)
	w.k.ExitInfo = w.k.PidfdInodes && w.chance(0.7)
	if w.chance(0.3) {
		w.k.SocketRoom = 1 + w.rand.IntN(4)
	}
	w.mood = mood{
		die:        []float64{0, 0.0003, 0.002, 0.01}[w.rand.IntN(4)],
		keeperDies: []float64{0, 0.2, 0.5}[w.rand.IntN(3)],
		preempt:    []float64{0, 0.05, 0.3}[w.rand.IntN(3)],
		spawnFails: []float64{0, 0.02, 0.2}[w.rand.IntN(3)],
		portFails:  []float64{0, 0.005, 0.05}[w.rand.IntN(3)],
		hang:       []float64{0, 0.00002}[w.rand.IntN(2)],
		damage:     []float64{0, 0.5}[w.rand.IntN(2)],
		linked:     []float64{0, 0.4, 0.9}[w.rand.IntN(3)],
		hooked:     []float64{0, 0.2, 0.6}[w.rand.IntN(3)],
		signs:      []float64{0, 0.5}[w.rand.IntN(2)],
		rolls:      []float64{0, 0.3}[w.rand.IntN(2)],
	}
	w.note("mood %+v inodes %v exitinfo %v room %d", w.mood, w.k.PidfdInodes, w.k.ExitInfo, w.k.SocketRoom)
	w.logs = newLogs(w)
	for i := range 2 + w.rand.IntN(4) {
		name := fmt.Sprintf("s%d", i)
		w.files[name] = w.define(name)
		w.services[name] = &service{name: name, runs: map[uint64]*run{}}
	}
	w.strangers()
	w.startDaemon()
	w.operate()
	w.weather()
	return w
}

// point is every call of our processes: where they die, hang, or lose the
// processor.
func (w *world) point(t *sched.Task) {
	p := t.Owner.(*kernel.Proc)
	if p == w.hung {
		sched.Park(nil, 0)
	}
	if !w.calm {
		switch {
		case p.Role == kernel.Engine && w.chance(w.mood.die*(1-w.mood.keeperDies)),
			p.Role == kernel.Keeper && w.chance(w.mood.die*w.mood.keeperDies):
			w.note("the %s %d is killed in %s", roleName(p), p.Pid, t.Name)
			w.k.Exit(p, 9)
			return
		case p.Role == kernel.Engine && w.chance(w.mood.hang):
			w.note("the engine %d hangs", p.Pid)
			w.counts.Hangs++
			w.hung = p
			sched.Park(nil, 0)
		}
	}
	if w.chance(w.mood.preempt) {
		sched.Yield()
	}
}

func roleName(p *kernel.Proc) string {
	return [...]string{"stranger", "init", "keeper", "engine", "main process", "child"}[p.Role]
}

// startDaemon is `abide daemon`.
func (w *world) startDaemon() {
	w.daemon = nil
	w.beginKeeper(w.k.Fork(w.k.Init, nil))
}

// beginKeeper makes a process a keeper.
func (w *world) beginKeeper(p *kernel.Proc, more ...string) {
	p.Role, p.Name, p.Run = kernel.Keeper, "", 0
	p.Setsid()
	for fd := range 3 {
		w.k.Standard(p, fd)
	}
	p.Leader = w.s.Start("parent", p, func() {
		args := append([]string{"--run", "/run/abide", "--exec", "/abide-exec"}, append(more, "--", "/abide-engine")...)
		sim, code := keeper.SimPrepare(args, nil)
		if sim == nil {
			w.note("the keeper %d cannot begin: code %d", p.Pid, code)
			w.k.Exit(p, uint32(code)<<8)
			return
		}
		w.keepers++
		w.keeper, w.sim = p, sim
		w.note("keeper %d is in charge", p.Pid)
		w.s.Start("loop", p, sim.Loop)
		code = sim.Parent()
		w.note("the keeper %d ends with code %d", p.Pid, code)
		w.k.Exit(p, uint32(code)<<8)
	})
}

// keeperLost is what an engine does whose keeper is gone: it starts another as its
// sibling, gives that what it has, and ends.
func (w *world) keeperLost(l *link) {
	sched.Point()
	if l.eng != nil && l.replace() {
		w.k.Exit(l.p, 0)
	}
	sched.Point()
	if w.calm || w.chance(0.8) {
		w.note("engine %d starts another keeper", l.p.Pid)
		w.beginKeeper(w.k.Fork(l.p.Parent, nil))
	}
	sched.Point()
	w.k.Exit(l.p, 1<<8)
}

// died looks after what follows from the death of any process.
func (w *world) died(p *kernel.Proc) {
	switch p.Role {
	case kernel.Keeper:
		if p == w.keeper {
			w.counts.KeeperDeaths++
			w.keeper, w.sim = nil, nil
			w.shutting = false
		}
		w.someoneStarts()
	case kernel.Engine:
		w.note("engine %d has ended with %#x", p.Pid, p.Status)
		w.counts.EngineDeaths++
		if p == w.engine {
			w.engine, w.eng, w.paths, w.ready = nil, nil, nil, false
			w.logs.engineDied()
		}
		w.someoneStarts()
	case kernel.Main:
		w.mainEnded(p)
	}
}

// someoneStarts abide again if nothing of it is left after a while.
func (w *world) someoneStarts() {
	if w.daemon != nil {
		return
	}
	delay := w.between(10*time.Millisecond, time.Minute)
	if w.calm {
		delay = w.between(10*time.Millisecond, time.Second)
	}
	w.daemon = w.s.After(delay, func() {
		w.daemon = nil
		for _, p := range w.k.Procs() {
			if p.Role == kernel.Keeper && p.Alive() {
				return
			}
		}
		w.note("an operator starts abide")
		w.startDaemon()
	})
}

// runEngine is the engine's main.
func (w *world) runEngine(p *kernel.Proc) {
	w.engines++
	w.engine, w.eng, w.ready, w.unheard = p, nil, false, 0
	p.Role, p.Name, p.Run = kernel.Engine, "", 0
	w.s.Start("engine", p, func() {
		l, err := openLink(w, p)
		if err != nil {
			w.note("engine %d: %v", p.Pid, err)
			w.keeperLost(l)
			return
		}
		eng := engine.New(w.options(l), w.ports(l))
		l.eng = eng
		w.eng = eng
		w.logs.attach(p)
		sched.Go(w.logs.read)
		sched.Go(func() { w.watchDebts(l) })
		code := eng.Run()
		if err := eng.Failure(); err != nil {
			w.note("engine %d: %v", p.Pid, err)
			w.keeperLost(l)
			return
		}
		w.note("engine %d is done with code %d", p.Pid, code)
		l.Exit(code)
		w.k.Exit(p, uint32(code)<<8)
	})
}

// watchDebts judges a keeper that owes an answer for too long.
func (w *world) watchDebts(l *link) {
	for {
		sched.Park(func() bool { return len(l.asks) > 0 }, 0)
		sched.Sleep(debtLimit / 2)
		sched.Point()
		if what, late := l.owes(); late {
			w.violation("the keeper owes an answer to %q", what)
		}
	}
}
