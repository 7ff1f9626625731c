package core

import "time"

// begun reports whether a run lives or is in the making.
func (w *world) begun() bool {
	return w.alive || w.spawnDue || w.findDue || w.hookDue == uint8(BeforeStart)+1
}

// busy reports whether anything of a run is under way.
func (w *world) busy() bool {
	return w.alive || w.spawnDue || w.cleanDue || w.findDue || w.hookDue != 0
}

// arm begins the watchdog's time anew, if the run is watched.
func (w *world) arm(cfg *Config) {
	w.armed, w.quiet = w.interval(cfg) > 0, 0
}

func (w *world) interval(cfg *Config) uint8 {
	if w.every > 0 {
		return w.every
	}
	return uint8(cfg.Watchdog / ms)
}

// review is about a configuration that comes into force.
func (w *world) review(cfg *Config, s *State) {
	if cfg.HealthFailures == 0 {
		w.fails = 0
	}
	if w.interval(cfg) == 0 {
		w.armed = false
	} else if s.Phase == Running && !w.armed && !w.paused {
		w.arm(cfg)
	}
	w.ordered = w.ordered || s.Phase == Reached && !cfg.Target
}

type adder func(label string, ok func(*node) bool, make func(*node) Event) int

func addHooks(add adder, at *moveIndex) {
	due := func(n *node) bool { return n.w.hookDue != 0 }
	answer := func(label string, success bool) int {
		return add(label, due, func(n *node) Event {
			w := &n.w
			kind := HookKind(w.hookDue - 1)
			given := w.unhooked || !w.wanted || w.stale
			w.hookDue, w.unhooked = 0, false
			switch {
			case kind == BeforeStart && (given || success && w.held):
				w.failed, w.since = true, 0
				w.ordered = w.ordered || w.wanted
			case kind == BeforeStart && success:
				w.prepared = true
			case kind == BeforeStart:
				w.failed, w.since = true, 0
			case kind == AfterStart && n.s.Phase == Arriving:
				w.arrived, w.late = success, !success
			}
			return Event{Kind: EvHooked, Run: runs, Hook: kind, OK: success}
		})
	}
	at.hooked = answer("the hooks succeeded", true)
	at.unhooked = answer("a hook failed", false)
}

func addMain(add adder, at *moveIndex) {
	due := func(n *node) bool { return n.w.findDue }
	found := func(kind EventKind) func(n *node) Event {
		return func(n *node) Event {
			n.w.findDue, n.w.alive, n.w.main = false, true, true
			return Event{Kind: kind, Run: runs, OK: true}
		}
	}
	at.found = add("the main process is found", due, found(EvMain))
	add("new engine: the main process was taken", due, found(EvAdopted))
	add("the main process is not found", due, func(n *node) Event {
		n.w.findDue, n.w.late, n.w.since = false, true, 0
		return Event{Kind: EvMain, Run: runs}
	})
	add("the starter tells its main process", func(n *node) bool { return n.w.alive && n.s.Phase == Starting }, func(n *node) Event {
		n.w.main = true
		return Event{Kind: EvMain, Run: runs, OK: true}
	})
}

func addHolds(add adder, at *moveIndex) {
	add("hold", always, func(n *node) Event {
		n.w.held = true
		return Event{Kind: EvHold}
	})
	add("hold, and end it", always, func(n *node) Event {
		w := &n.w
		w.held = true
		up := n.s.Up() || n.s.Phase == Finding || n.s.Phase == Spawning || n.s.Phase == Preparing || n.s.Phase == Reached
		if w.wanted && up {
			w.stale = w.stale || w.begun()
			w.ordered = true
		}
		return Event{Kind: EvHold, Must: true}
	})
	at.allow = add("allow", always, func(n *node) Event {
		n.w.held = false
		return Event{Kind: EvAllow}
	})
}

func addConditions(add adder, at *moveIndex, cfgs []Config) {
	first := func(n *node) bool {
		return n.w.hookDue == uint8(BeforeStart)+1 || n.w.spawnDue && !cfgs[n.cfg].Hooks[BeforeStart]
	}
	add("a condition does not hold", first, func(n *node) Event {
		w := &n.w
		w.spawnDue, w.hookDue, w.unhooked, w.owes = false, 0, false, false
		w.ordered = w.wanted
		return Event{Kind: EvUnmet, Run: runs}
	})
	at.recheck = add("look at the conditions again", always, func(*node) Event { return Event{Kind: EvRecheck} })
}

func addSigns(add adder, cfgs []Config) {
	alive := func(n *node) bool { return n.w.alive }
	for _, ok := range []bool{true, false} {
		label := "a health check fails"
		if ok {
			label = "a health check succeeds"
		}
		add(label, alive, func(n *node) Event {
			w, cfg := &n.w, &cfgs[n.cfg]
			switch {
			case n.s.Phase != Running || w.paused || cfg.HealthFailures == 0:
			case ok:
				w.fails = 0
			case w.up >= uint8(cfg.HealthGrace/ms):
				w.fails = min(w.fails+1, cfg.HealthFailures)
				w.late = w.late || w.fails >= cfg.HealthFailures && cfg.HealthRestart
			}
			return Event{Kind: EvHealth, Run: runs, OK: ok}
		})
	}
	for _, every := range []uint8{0, 3} {
		label := "it is alive"
		if every > 0 {
			label = "it will tell every 3ms that it is alive"
		}
		add(label, alive, func(n *node) Event {
			w := &n.w
			if n.s.Up() && !w.paused {
				if every > 0 {
					w.every = every
				}
				w.arm(&cfgs[n.cfg])
			}
			return Event{Kind: EvWatchdog, Run: runs, For: time.Duration(every) * ms}
		})
	}
	add("it asks for 2ms more", func(n *node) bool { return n.w.alive || n.w.findDue }, func(*node) Event {
		return Event{Kind: EvExtend, Run: runs, For: 2 * ms}
	})
}

// idleSigns is idle for hooks, holds and signs of life.
func idleSigns(list []Event, n *node, cfg *Config) []Event {
	w := &n.w
	for kind := range HookKinds {
		if w.hookDue != uint8(kind)+1 {
			list = append(list, Event{Kind: EvHooked, Run: runs, Hook: kind, OK: true})
		}
	}
	if !w.findDue {
		list = append(list, Event{Kind: EvMain, Run: runs})
		if !w.alive || w.main || !cfg.Forking || n.s.Phase != Starting {
			list = append(list, Event{Kind: EvMain, Run: runs, OK: true})
		}
	}
	if !n.s.Up() || w.paused {
		list = append(list, Event{Kind: EvWatchdog, Run: runs, For: ms})
	}
	if n.s.Phase != Running || w.paused || cfg.HealthFailures == 0 {
		list = append(list, Event{Kind: EvHealth, Run: runs}, Event{Kind: EvHealth, Run: runs, OK: true})
	}
	if !w.alive && !w.findDue {
		list = append(list, Event{Kind: EvExtend, Run: runs, For: ms})
	}
	if !w.held {
		list = append(list, Event{Kind: EvAllow})
	}
	if n.s.Phase != Waiting || n.s.Cause != CauseCondition {
		list = append(list, Event{Kind: EvRecheck})
	}
	if n.s.Phase != Preparing && n.s.Phase != Spawning {
		list = append(list, Event{Kind: EvUnmet, Run: runs})
	}
	return append(list, Event{Kind: EvUsed, Run: runs})
}
