package core

import "fmt"

// move is something that can happen in the world. It changes the world as far
// as that is its own doing and names the event that Step is told of.
type move struct {
	label string
	ok    func(*node) bool
	make  func(*node) Event
	cfg   int // the configuration from now on, -1: the same
	time  bool
}

// Moves that the cooperative and the stubborn world choose, by their place in
// the list.
type moveIndex struct {
	pass, tick, spawned, ready, success, cleaned, resume int
	hooked, unhooked, found, allow, recheck              int
}

func always(*node) bool { return true }

// moves lists all that can happen when configurations cfgs may replace each
// other.
func moves(cfgs []Config, with facet) ([]move, moveIndex) {
	var list []move
	var at moveIndex
	add := func(label string, ok func(*node) bool, make func(*node) Event) int {
		list = append(list, move{label: label, ok: ok, make: make, cfg: -1})
		return len(list) - 1
	}
	at.tick = add("tick", always, func(*node) Event { return Event{Kind: EvTick} })
	at.pass = add("1ms passes", always, func(n *node) Event { n.w.pass(); return Event{} })
	list[at.pass].time = true

	// Wishes.
	wish := func(kind EventKind, wanted, once bool) {
		add(kind.String(), always, func(n *node) Event {
			w := &n.w
			// What is up or being started already is not started by a wish,
			// unless that run has to go.
			making := n.s.Phase == Spawning || n.s.Phase == Preparing
			starts := !n.s.Up() && n.s.Phase != Finding && n.s.Phase != Reached && (!making || w.stale)
			switch kind {
			case EvNeed:
				if w.wanted {
					return Event{Kind: kind}
				}
			case EvRestart:
				starts, w.fresh = true, 0
			default:
				if starts || making && !w.wanted {
					w.fresh = 0
				}
			}
			w.once = once
			w.ordered = w.ordered || starts
			if kind == EvRestart {
				w.stale = w.stale || w.begun()
			}
			w.wanted = wanted
			return Event{Kind: kind}
		})
	}
	wish(EvStart, true, false)
	wish(EvStartOnce, true, true)
	wish(EvNeed, true, false)
	wish(EvRestart, true, false)
	add("stop", always, func(n *node) Event {
		n.w.wanted, n.w.once, n.w.ordered, n.w.paused = false, false, false, false
		n.w.stale = n.w.stale || n.s.Phase == Preparing // its hooks are told to end
		return Event{Kind: EvStop}
	})
	add("clear", always, func(n *node) Event {
		n.w.fresh = 0
		n.w.ordered = n.w.ordered || n.s.Phase == Failed || n.s.Phase == Delaying
		return Event{Kind: EvClear}
	})
	add("pause", always, func(n *node) Event {
		making := n.s.Phase == Preparing || n.s.Phase == Spawning || n.s.Phase == Finding
		n.w.paused = n.w.paused || making && n.w.wanted && !n.w.stale || n.s.Up()
		n.w.armed = n.w.armed && !n.s.Up()
		return Event{Kind: EvPause}
	})
	at.resume = add("resume", always, func(n *node) Event {
		if n.w.paused && (n.s.Phase == Arriving || n.s.Phase == Running) {
			n.w.arm(&cfgs[n.cfg])
		}
		n.w.paused = false
		return Event{Kind: EvResume}
	})
	add("hurry", always, func(*node) Event { return Event{Kind: EvHurry} })
	for i := range cfgs {
		for _, must := range []bool{false, true} {
			add(fmt.Sprintf("redefined to %d must=%v", i, must), always, func(n *node) Event {
				if must {
					n.w.renewed(&cfgs[i], &n.s)
					n.w.stale = n.w.stale || n.w.begun()
				}
				n.w.review(&cfgs[i], &n.s)
				return Event{Kind: EvRedefined, Must: must}
			})
			list[len(list)-1].cfg = i
		}
	}

	// Answers and news of the present run.
	due := func(n *node) bool { return n.w.spawnDue }
	at.spawned = add("spawned", due, func(n *node) Event {
		n.w.spawnDue, n.w.alive, n.w.age = false, true, 0
		return Event{Kind: EvSpawned, Run: runs}
	})
	for _, ev := range []Event{
		{Kind: EvSpawnFailed, Run: runs},
		{Kind: EvSpawnFailed, Run: runs, Permanent: true},
		{Kind: EvSpawnFailed, Run: runs, Unsure: true},
	} {
		add(fmt.Sprintf("spawn-failed permanent=%v unsure=%v", ev.Permanent, ev.Unsure), due, func(n *node) Event {
			n.w.spawnDue, n.w.failed, n.w.final, n.w.since = false, true, ev.Permanent, 0
			n.w.owes = n.w.owes && !ev.Unsure
			return ev
		})
	}
	alive := func(n *node) bool { return n.w.alive }
	at.ready = add("ready", func(n *node) bool { return n.w.alive || n.w.findDue }, func(n *node) Event {
		n.w.signed = n.w.signed || n.s.Phase == Starting || n.s.Phase == Finding
		return Event{Kind: EvReady, Run: runs}
	})
	for end := Success; end < ends; end++ {
		i := add("exited: "+end.String(), alive, func(n *node) Event {
			n.w.exit(end)
			return Event{Kind: EvExited, Run: runs, End: end}
		})
		if end == Success {
			at.success = i
		}
	}
	at.cleaned = add("cleaned", func(n *node) bool { return n.w.cleanDue }, func(n *node) Event {
		n.w.cleanDue = false
		return Event{Kind: EvCleaned, Run: runs}
	})

	addHooks(add, &at)
	addMain(add, &at)
	if with&holds != 0 {
		addHolds(add, &at)
	}
	if with&conditions != 0 {
		addConditions(add, &at, cfgs)
	}
	if with&signs != 0 {
		addSigns(add, cfgs)
	}

	// A process comes from outside, or leaves.
	add("taken", func(n *node) bool { return !n.w.busy() && n.s.Phase != Reached && !cfgs[n.cfg].Target }, func(n *node) Event {
		n.w = world{alive: true, wanted: true, held: n.w.held, main: true, owes: true, lastStep: -1}
		return Event{Kind: EvTaken, Run: runs + 1}
	})
	add("released", func(n *node) bool { return n.w.alive && !n.w.paused && (n.s.Phase == Starting || n.s.Phase == Running) },
		func(n *node) Event {
			n.w = world{lastStep: -1, held: n.w.held, autos: n.w.autos, fresh: n.w.fresh}
			return Event{Kind: EvReleased, Run: runs}
		})

	// A new caller. What the last one was told to do may not have been done.
	for _, done := range []bool{false, true} {
		for _, ready := range []bool{false, true} {
			add(fmt.Sprintf("new engine: adopted ready=%v, last actions done=%v", ready, done), alive, func(n *node) Event {
				if !done {
					n.w.forgetActions(n.s.Paused)
				}
				n.w.signed = n.w.signed || ready && n.s.Phase == Starting
				return Event{Kind: EvAdopted, Run: runs, Ready: ready}
			})
		}
	}
	add("new engine: adopted from spawning", due, func(n *node) Event {
		n.w.spawnDue, n.w.alive, n.w.age = false, true, 0
		return Event{Kind: EvAdopted, Run: runs}
	})
	for _, end := range []End{Success, Failure, Unknown} {
		add("new engine: spawned and "+end.String(), due, func(n *node) Event {
			n.w.spawnDue, n.w.age = false, 0
			n.w.exit(end)
			return Event{Kind: EvExited, Run: runs, End: end}
		})
	}
	add("new engine: the spawn was not done", due, func(n *node) Event {
		n.w.spawnDue = false
		n.w.ordered = n.w.ordered || n.w.wanted
		n.w.failed = true
		return Event{Kind: EvLost, Run: runs}
	})
	add("new engine: ended, nobody saw it", alive, func(n *node) Event {
		n.w.exit(Unknown)
		return Event{Kind: EvLost, Run: runs}
	})
	add("new engine: cannot tell whether it lives", func(n *node) bool { return n.w.alive || n.w.spawnDue }, func(n *node) Event {
		n.w.spawnDue, n.w.owes, n.w.hookDue, n.w.unhooked = false, false, 0, false
		n.w.exit(Unknown)
		return Event{Kind: EvLost, Run: runs, Unsure: true}
	})
	add("new engine: no run", func(n *node) bool { return !n.w.alive && !n.w.spawnDue }, func(n *node) Event {
		n.w.cleanDue, n.w.findDue = false, false
		return Event{Kind: EvLost, Run: runs}
	})
	add("new engine without state: adopted", alive, func(n *node) Event {
		w := world{alive: true, frozen: n.w.frozen, froze: n.w.froze, wanted: true, owes: true, lastStep: -1}
		n.s, n.w = State{}, w
		return Event{Kind: EvAdopted, Run: runs}
	})
	add("new engine without state: no run", func(n *node) bool { return !n.w.alive }, func(n *node) Event {
		n.s, n.w = State{}, world{lastStep: -1}
		return Event{Kind: EvLost, Run: runs}
	})
	return list, at
}

// exit ends the main process.
func (w *world) exit(end End) {
	w.alive, w.frozen, w.froze, w.killed = false, false, false, false
	w.lastEnd, w.since = end, 0
}

// renewed notes that what a start does is another thing now: whatever is wanted
// is started by that, but for what has finished already and what may live still.
func (w *world) renewed(cfg *Config, s *State) {
	w.fresh = 0
	over := s.Phase == Cleaning || s.Phase == Closing || s.Phase == Finished
	finished := over && !w.failed && !w.ordered && w.lastEnd == Success && !w.late && !w.restarts(cfg)
	unsure := s.Phase == Failed && s.Cause == CauseUnsure
	w.ordered = w.ordered || w.wanted && !finished && !unsure
}

// forgetActions undoes what a caller may not have lived to do.
func (w *world) forgetActions(paused bool) {
	w.killed = false
	if w.froze {
		w.frozen = !paused
	}
}

// idle adds to list the news that mean nothing at n: of an old run, or told twice.
func idle(list []Event, n *node) []Event {
	for _, kind := range []EventKind{EvSpawned, EvSpawnFailed, EvReady, EvExited, EvCleaned, EvAdopted, EvReleased, EvTaken, EvHooked, EvUnmet, EvHealth, EvWatchdog, EvExtend, EvMain} {
		list = append(list, Event{Kind: kind, Run: runs - 1, End: Crash, Ready: true, OK: true, For: ms, Hook: n.s.Hook})
	}
	list = append(list, Event{Kind: EvTaken, Run: runs})
	w := &n.w
	if w.busy() {
		list = append(list, Event{Kind: EvTaken, Run: runs + 1})
	}
	if !w.spawnDue {
		list = append(list, Event{Kind: EvSpawned, Run: runs}, Event{Kind: EvSpawnFailed, Run: runs, Permanent: true})
	}
	if !w.alive && !w.spawnDue {
		list = append(list, Event{Kind: EvExited, Run: runs, End: Failure})
		if !w.findDue {
			list = append(list, Event{Kind: EvReady, Run: runs})
		}
	}
	if !w.cleanDue {
		list = append(list, Event{Kind: EvCleaned, Run: runs})
	}
	return list
}
