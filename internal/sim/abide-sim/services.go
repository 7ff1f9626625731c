//go:build abide_sim && linux

package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/spawn/prog"
)

// service is what is true of one service, whatever abide believes.
type service struct {
	name   string
	runs   map[uint64]*run
	last   uint64
	temper temper
	expect expectation
	asked  int // requests so far: a later one makes the answer to an earlier one worthless
	// forgotten says that the engine has let go of it: its numbers begin anew.
	forgotten bool
}

// run is one process lifetime as it really was.
type run struct {
	key     runKey
	slot    string // of the keeper
	p       *kernel.Proc
	keepers int  // how many keepers there had been when it began
	holder  int  // the keeper that has its pipe and pidfd from the one before, or began it
	began   bool // no operation of its program fails
	ended   bool
	status  uint32
	terms   int // TERM sent by the keeper
	told    int
	leaves  bool // what it leaves behind is to live
}

// expectation is what operators have been told.
type expectation uint8

const (
	either expectation = iota
	up
	down
)

// temper is how the program of a service behaves.
type temper struct {
	lives    [2]time.Duration
	deaf     bool // TERM is ignored
	slow     time.Duration
	children int
	chatty   bool
	statuses []uint32
}

func (w *world) newTemper() temper {
	t := temper{
		lives: [][2]time.Duration{{0, 50 * time.Millisecond}, {time.Second, time.Minute}, {time.Minute, time.Hour}, {time.Hour, 100 * time.Hour}}[w.rand.IntN(4)],
		deaf:  w.chance(0.1), children: max(0, w.rand.IntN(5)-2), chatty: w.chance(0.7),
		statuses: [][]uint32{{0}, {1 << 8, 11}, {0, 1 << 8, 9, 3 << 8}}[w.rand.IntN(3)],
	}
	if w.chance(0.3) {
		t.slow = time.Duration(w.between(0, 15*time.Second))
	}
	return t
}

// define makes a definition. What concerns leftovers and its kind stays as it is.
func (w *world) define(name string) *model.Service {
	kind := model.Daemon
	switch {
	case strings.HasSuffix(name, "3"):
		kind = model.Task
	case w.traitsOf(name).target:
		kind = model.Target
	}
	d := model.Defaults(kind, false)
	d.Name, d.Files = name, []string{"/etc/" + name + ".toml"}
	d.Description = fmt.Sprint(w.rand.IntN(1000))
	d.Enabled = w.chance(0.9)
	if kind == model.Target {
		w.link(&d)
		return &d
	}
	d.Command = []string{"/bin/" + name}
	if kind == model.Daemon {
		d.Restart.When = []model.RestartWhen{model.RestartAlways, model.RestartAlways, model.RestartAlways, model.RestartOnFailure, model.RestartOnCrash, model.RestartNever}[w.rand.IntN(6)]
	}
	if w.chance(0.2) {
		d.Restart.Limit.Count = 1 + w.rand.IntN(20)
		d.Restart.Limit.RetryAfter = time.Duration(w.rand.IntN(2)) * 30 * time.Second
	}
	if w.chance(0.2) {
		d.Restart.Delay = time.Second
	}
	if w.chance(0.2) {
		d.Restart.GiveUpCodes.Codes = []int{3}
	}
	if w.chance(0.2) {
		d.Stop.Steps = []model.StopStep{{Signal: 15, Wait: time.Second}, {Signal: 2}}
	}
	d.Stop.Timeout = time.Duration(w.rand.IntN(12)) * time.Second
	if w.chance(0.1) {
		d.Stop.Command = []string{"/bin/stop"}
	}
	d.Stop.ToAll = w.chance(0.1)
	if w.chance(0.2) {
		d.Stop.CrashGrace = time.Second
	}
	d.Stop.LeaveChildren = strings.HasSuffix(name, "4")
	d.KillLeftovers = !strings.HasSuffix(name, "2")
	if w.chance(0.05) {
		d.EnvironmentFiles = []model.EnvFile{{Path: "/net/env"}}
	}
	if w.chance(0.5) {
		d.Environment = []model.EnvVar{{Name: "V", Value: fmt.Sprint(w.rand.IntN(5))}}
	}
	w.live(&d)
	w.link(&d)
	return &d
}

// link lets a service depend on another one, never on a later one, so that there is
// no cycle. It stays so: what runs is not ended by a need that it is given later.
func (w *world) link(d *model.Service) {
	needs, known := w.needs[d.Name]
	if known {
		d.Needs = needs
		return
	}
	defer func() { w.needs[d.Name] = d.Needs }()
	n := int(d.Name[1] - '0')
	if n == 0 || !w.chance(w.mood.linked) {
		return
	}
	on := func() model.Dependency {
		return model.Dependency{Service: fmt.Sprintf("s%d", w.rand.IntN(n)), Restart: model.RestartOn(w.rand.IntN(4))}
	}
	switch w.rand.IntN(6) {
	case 0, 1:
		d.Needs.Requires = []model.Dependency{on()}
	case 2:
		d.Needs.Wants = []model.Dependency{on()}
	case 3:
		d.Needs.After = []model.Dependency{on()}
	case 4:
		d.Needs.PartOf = []model.Dependency{on()}
	case 5:
		d.Needs.AnyOf = [][]model.Dependency{{on(), on()}}
	}
}

// keepsChildren tells whether what a run of a service leaves behind may live.
func keepsChildren(name string) bool {
	return strings.HasSuffix(name, "4") || strings.HasSuffix(name, "2")
}

// service is what is true of a service, or of a command's slot.
func (w *world) service(name string) *service {
	name = serviceOf(name)
	if w.services[name] == nil {
		w.services[name] = &service{name: name, runs: map[uint64]*run{}}
	}
	return w.services[name]
}

func (w *world) runOf(key runKey) *run {
	if s := w.services[serviceOf(key.name)]; s != nil {
		return s.runs[key.run]
	}
	return nil
}

// spawning judges a birth and decides what becomes of it.
func (w *world) spawning(b *kernel.Birth) {
	fails := !w.calm && w.chance(w.mood.spawnFails)
	if fails {
		b.Op = w.rand.IntN(4) - 1
		b.Errno = []syscall.Errno{syscall.ENOENT, syscall.EAGAIN, syscall.ENOMEM, syscall.EACCES}[w.rand.IntN(4)]
	} else {
		b.Op = 0
	}
	if b.Engine {
		b.Child.Role = kernel.Engine
		b.Begin = func() { w.runEngine(b.Child) }
		return
	}
	p := b.Child
	p.Role, p.Name, p.Run = kernel.Main, serviceOf(b.Name), b.Run
	s := w.service(b.Name)
	if b.Run <= s.last && s.forgotten {
		w.forget(s)
	}
	s.forgotten = false
	if b.Run <= s.last {
		w.violation("%s: run %d is spawned after run %d", b.Name, b.Run, s.last)
	}
	s.last = b.Run
	for _, other := range w.k.Procs() {
		if other == p || !other.Alive() || other.Name != p.Name {
			continue
		}
		if r := s.runs[other.Run]; r != nil && r.slot != b.Name {
			continue // the service is rolled
		}
		if _, kind := commandOf(b.Name); kind != "" && w.mood.damage > 0 {
			continue // nobody looks for commands of which the records are gone
		}
		if other.Role == kernel.Main {
			w.violation("%s: run %d is spawned while run %d lives (pid %d)", b.Name, b.Run, other.Run, other.Pid)
		}
		if other.Role == kernel.Child && other.Run != b.Run && !keepsChildren(p.Name) {
			w.violation("%s: run %d is spawned while process %d of run %d lives", b.Name, b.Run, other.Pid, other.Run)
		}
	}
	if _, kind := commandOf(b.Name); kind == "" {
		w.checkBefore(b.Name, b.Run)
	}
	r := &run{key: runKey{p.Name, b.Run}, slot: b.Name, p: p, keepers: w.keepers, holder: w.keepers, began: !fails}
	s.runs[b.Run] = r
	delete(s.runs, b.Run-64)
	w.counts.Spawns++
	b.Begin = func() { w.begins(b, s, r) }
}

// forget begins the story of a service anew. What old runs were allowed to leave
// behind is nobody's any more.
func (w *world) forget(s *service) {
	s.last, s.runs = 0, map[uint64]*run{}
	for _, p := range w.k.Procs() {
		if p.Name == s.name && p.Role == kernel.Child {
			p.Role, p.Name = kernel.Stranger, ""
		}
	}
}

// begins is the first moment of a program.
func (w *world) begins(b *kernel.Birth, s *service, r *run) {
	w.note("%s[%d] begins, pid %d", r.key.name, r.key.run, r.p.Pid)
	if b.Slow && !w.calm && w.chance(w.mood.spawnFails) {
		report := prog.Report{Op: 1, Errno: uint32(syscall.ENOENT)}.Encode()
		b.Report(report[:])
		w.endsLater(r, w.between(0, 20*time.Millisecond), 127<<8)
		return
	}
	if service, kind := commandOf(b.Name); kind != "" {
		w.commandBegins(service, kind, r)
		return
	}
	if s.temper.statuses == nil || w.chance(0.05) {
		s.temper = w.newTemper()
	}
	t := &s.temper
	w.logs.opened(r)
	w.logs.write(r.key, 1)
	w.sign(r)
	for range t.children {
		c := w.k.Fork(r.p, nil)
		c.Role = kernel.Child
		if w.chance(0.5) {
			w.k.S.After(w.between(0, 10*time.Minute), func() { w.k.Exit(c, 0) })
		}
	}
	if t.chatty {
		w.chat(r)
	}
	switch {
	case w.calm && w.files[r.key.name] != nil && w.files[r.key.name].Kind == model.Task:
		w.endsLater(r, int64(time.Second), 0)
	case !w.calm:
		w.endsLater(r, w.between(t.lives[0], t.lives[1]), t.statuses[w.rand.IntN(len(t.statuses))])
	}
}

// chat lets a run write now and then.
func (w *world) chat(r *run) {
	w.s.After(w.between(time.Millisecond, 5*time.Minute), func() {
		if r.p.Alive() {
			w.logs.write(r.key, 1+w.rand.IntN(3))
			w.chat(r)
		}
	})
}

func (w *world) endsLater(r *run, after int64, status uint32) {
	w.s.After(after, func() {
		if r.p.Alive() {
			w.k.Exit(r.p, status)
		}
	})
}

// stopCommand is what a service's stop command does to it.
func (w *world) stopCommand(name string, run uint64) {
	s := w.services[name]
	if s == nil {
		return
	}
	if r := s.runs[run]; r != nil && r.began && r.p.Alive() && !s.temper.deaf {
		w.endsLater(r, w.between(0, 2*time.Second), 0)
	}
}

// mainEnded notes the truth about an end.
func (w *world) mainEnded(p *kernel.Proc) {
	r := w.runOf(runKey{p.Name, p.Run})
	if r == nil || !r.began || r.p != p {
		return
	}
	r.ended, r.status = true, p.Status
	w.counts.Exits++
	w.note("%s[%d] ends with %#x", p.Name, p.Run, p.Status)
}

// signalled judges a signal and lets it have its effect.
func (w *world) signalled(from, to *kernel.Proc, signo int) int64 {
	w.note("signal %d from the %s to the %s %d (%s[%d])", signo, roleName(from), roleName(to), to.Pid, to.Name, to.Run)
	if from.Role != kernel.Keeper && from.Role != kernel.Engine {
		return 0
	}
	switch to.Role {
	case kernel.Stranger, kernel.Init, kernel.Keeper:
		w.violation("signal %d is sent to the %s %d", signo, roleName(to), to.Pid)
		return 0
	case kernel.Engine:
		if from.Role == kernel.Engine || signo != 9 {
			w.violation("signal %d is sent to the engine by the %s", signo, roleName(from))
		}
		return 0
	}
	s := w.services[to.Name]
	if s == nil {
		return 0
	}
	r := s.runs[to.Run]
	if r != nil && to == r.p && from.Role == kernel.Keeper && signo == 15 {
		if r.terms++; r.terms > 1 && r.keepers == w.keepers {
			w.violation("%s[%d]: TERM is sent %d times", to.Name, to.Run, r.terms)
		}
	}
	if signo == 9 {
		if !w.calm && w.chance(0.05) {
			return w.between(0, 3*time.Second) // in an uninterruptible call
		}
		return 0
	}
	if signo != 15 && signo != 2 || s.temper.deaf && !w.calm {
		return 0
	}
	status := uint32(signo)
	if w.chance(0.5) {
		status = 0
	}
	w.k.S.After(w.between(0, s.temper.slow), func() { w.k.Exit(to, status) })
	return 0
}

// listed judges the inventory that an engine begins with.
func (w *world) listed(records []engine.Record) {
	w.checkWatched()
	for _, r := range records {
		if r.Exited {
			w.told(r.Exit)
		}
		if !r.Live {
			continue
		}
		truth := w.runOf(runKey{r.Name, r.Run})
		switch {
		case truth == nil:
			w.violation("%s[%d] is listed as living and never was", r.Name, r.Run)
		case truth.p.Pid != r.Pid:
			w.violation("%s[%d] is listed with pid %d, it had %d", r.Name, r.Run, r.Pid, truth.p.Pid)
		}
	}
}

// checkWatched looks whether the keeper knows its runs by the right processes.
func (w *world) checkWatched() {
	if w.sim == nil {
		return
	}
	w.sim.Watched(func(name string, run uint64, pidfd int) {
		r, p := w.runOf(runKey{name, run}), w.k.Behind(w.keeper, pidfd)
		if r != nil && p != r.p {
			w.violation("%s[%d]: the keeper watches process %d, which is the %s %s[%d]", name, run, p.Pid, roleName(p), p.Name, p.Run)
		}
	})
}

// told judges what the keeper says of an end.
func (w *world) told(x engine.Exit) {
	r := w.runOf(runKey{x.Name, x.Run})
	if r == nil {
		if x.Known {
			w.violation("%s[%d]: the end of a run that never was is told", x.Name, x.Run)
		}
		return
	}
	r.told++
	switch {
	case r.p.Alive():
		w.violation("%s[%d]: its end is told and it lives", x.Name, x.Run)
	case !r.began:
	case x.Known && x.Status != r.status:
		w.violation("%s[%d] (pid %d): it ended with %#x, told is %#x of pid %d", x.Name, x.Run, r.p.Pid, r.status, x.Status, x.Pid)
	case !x.Known && (r.keepers == w.keepers || w.k.ExitInfo && r.holder == w.keepers):
		w.violation("%s[%d]: the keeper that began it says that its status is unknown", x.Name, x.Run)
	case !x.Known:
		w.counts.Unknown++
	}
}

// refused judges a refusal: an engine that knows its business is refused nothing
// but what the system cannot do.
func (w *world) refused(name string, run uint64, code wire.Code) {
	w.counts.Refused++
	switch code {
	case wire.CodeSystem, wire.CodeEnding, wire.CodeGone, wire.CodeTaken:
	default:
		w.violation("%s[%d]: the keeper refuses it: %v", name, run, code)
	}
}
