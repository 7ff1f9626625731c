//go:build abide_sim && linux

package main

import (
	"math"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/sim/kernel"
)

// pause is a time between milliseconds and half an hour, every magnitude alike.
func (w *world) pause() int64 {
	low, high := math.Log(float64(time.Millisecond)), math.Log(float64(30*time.Minute))
	return int64(math.Exp(low + w.rand.Float64()*(high-low)))
}

// operate lets operators ask for something now and then.
func (w *world) operate() {
	w.s.After(w.pause(), func() {
		if !w.calm {
			w.request()
		}
		w.operate()
	})
}

func (w *world) name() string {
	return []string{"s0", "s1", "s2", "s3", "s4"}[w.rand.IntN(5)]
}

// request asks the engine for a verb, if there is one.
func (w *world) request() {
	name := w.name()
	if w.chance(0.3) {
		w.edit(name)
	}
	if w.eng == nil || w.shutting {
		return
	}
	verbs := []control.Verb{
		control.Start, control.Start, control.Stop, control.Stop, control.Restart, control.Restart, control.Clear, control.Enable,
		control.Disable, control.Signal, control.Pause, control.Resume, control.Apply, control.Reload,
	}
	req := control.Request{Verb: verbs[w.rand.IntN(len(verbs))], Names: []string{name}, Who: control.Who{PID: 1}, Signal: int(syscall.SIGHUP)}
	if w.chance(w.mood.rolls) {
		req.Verb = control.Roll
	}
	if req.Verb == control.Apply && w.chance(0.5) {
		req.Names = nil
	}
	req.Once = req.Verb == control.Start && w.chance(0.1)
	req.Now = w.chance(0.3)
	w.counts.Requests++
	w.note("an operator asks for %s %v", req.Verb, req.Names)
	s := w.service(name)
	s.asked++
	asked := s.asked
	s.expect = either
	if req.Verb == control.Apply || w.mood.linked > 0 {
		for _, other := range w.services {
			other.expect = either
			other.asked++
		}
		asked = s.asked
	}
	engine, ends := w.engine, req.Verb == control.Stop || req.Verb == control.Roll
	if ends {
		w.unheard++
	}
	w.eng.SimAsk(req, func(outcomes []control.Outcome, err error) {
		if ends && w.engine == engine {
			w.unheard--
		}
		if err != nil || len(outcomes) == 0 || !outcomes[0].Done || s.asked != asked {
			return
		}
		switch req.Verb {
		case control.Start, control.Restart:
			s.expect = up
		case control.Stop:
			s.expect = down
		}
	})
}

// edit changes, removes or brings back a definition on disk.
func (w *world) edit(name string) {
	if w.chance(0.15) {
		delete(w.files, name)
		return
	}
	w.files[name] = w.define(name)
}

// weather is what happens to the machine.
func (w *world) weather() {
	w.s.After(w.pause(), func() {
		if !w.calm {
			w.strike()
		}
		w.weather()
	})
}

func (w *world) strike() {
	switch w.rand.IntN(14) {
	case 0, 1:
		if w.engine != nil {
			w.note("somebody kills the engine")
			w.k.Exit(w.engine, uint32([]int{9, 11, 6 + 128, 2 << 8}[w.rand.IntN(4)]))
		}
	case 2:
		if w.keeper != nil && w.chance(w.mood.keeperDies) {
			w.note("somebody kills the keeper")
			w.k.Exit(w.keeper, 9)
		}
	case 3:
		w.killAll()
	case 4, 5:
		by := w.between(0, 10*time.Hour)
		w.note("the machine sleeps for %v", time.Duration(by))
		w.s.Suspend(by)
	case 6, 7:
		by := w.between(-time3days, time3days)
		w.note("the clock is set by %v", time.Duration(by))
		w.s.SetWall(by)
	case 8:
		w.k.FullDisk = !w.k.FullDisk
		w.note("the disk is full: %v", w.k.FullDisk)
	case 9, 10:
		w.killMain()
	case 11:
		if w.chance(0.3) {
			w.shutdown()
		}
	case 12:
		w.s.After(0, func() { w.strangers() })
	}
}

const time3days = 72 * time.Hour

// killAll ends all that is ours at once.
func (w *world) killAll() {
	if !w.chance(w.mood.keeperDies) {
		return
	}
	w.note("somebody kills keeper and engine")
	for _, p := range w.k.Procs() {
		if p.Role == kernel.Keeper || p.Role == kernel.Engine {
			w.k.Exit(p, 9)
		}
	}
	if w.chance(0.5) {
		w.usurp()
	}
	if w.chance(w.mood.damage) {
		w.damage()
	}
}

// usurp lets strangers have the pids of services that end while nobody looks.
func (w *world) usurp() {
	for _, p := range w.k.Procs() {
		if p.Role != kernel.Main || !p.Alive() || w.chance(0.5) {
			continue
		}
		w.k.Exit(p, 9)
		pid := p.Pid
		w.s.After(w.between(9*time.Second, 20*time.Second), func() {
			if q := w.k.ForkAs(w.k.Init, pid); q != nil {
				q.Setsid()
				w.s.After(w.between(time.Second, time.Hour), func() { w.k.Exit(q, 0) })
			}
		})
	}
}

// killMain ends a service from outside.
func (w *world) killMain() {
	for _, p := range w.k.Procs() {
		if p.Role == kernel.Main && p.Alive() && w.chance(0.5) {
			w.logs.write(runKey{p.Name, p.Run}, 1)
			w.k.Exit(p, uint32([]int{9, 11, 15}[w.rand.IntN(3)]))
		}
	}
}

// shutdown is TERM to the keeper.
func (w *world) shutdown() {
	if w.keeper == nil || w.eng == nil || !w.ready {
		return
	}
	w.note("an operator ends abide")
	w.counts.Shutdowns++
	w.shutting = true
	for _, s := range w.services {
		s.expect = either
		s.asked++
	}
	sim := w.sim
	w.s.Start("signal", w.keeper, func() { sim.Signal(syscall.SIGTERM) })
}

// strangers are processes that are no business of abide's; they take pids.
func (w *world) strangers() {
	for range 1 + w.rand.IntN(20) {
		p := w.k.Fork(w.k.Init, nil)
		p.Setsid()
		w.s.After(w.pause(), func() { w.k.Exit(p, 0) })
	}
}
