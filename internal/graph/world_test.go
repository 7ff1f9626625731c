package graph

import (
	"fmt"
	"slices"
	"strings"
)

// world is services that carry out the orders of a graph. It judges each order and
// each state by rules of its own, written from the manual, and knows nothing of
// how the graph comes to its verdicts.
type world struct {
	g     *Graph
	names []string
	edges [][]Edge // by service, pointing to names
	s     []svc
	now   int64
	err   error
	trace []string
	quiet bool // keeps no trace

	// What may still happen.
	operator, faults int
	shut             bool
}

type svc struct {
	f         Fact
	task      bool
	held      bool
	delay     bool // Coming: a delay has to pass first
	displaced bool
}

// newWorld defines services in the given order of indexes.
func newWorld(names []string, edges [][]Edge, tasks []bool, order []int, r rules) *world {
	w := &world{g: New(), names: names, edges: edges, s: make([]svc, len(names)), now: 1}
	w.g.rules = r
	for _, i := range order {
		w.g.Define(names[i], edges[i])
	}
	for _, i := range order {
		w.s[i].f.Status = Off
		w.s[i].task = tasks[i]
		w.set(i)
	}
	return w
}

func (w *world) copy() *world {
	c := *w
	c.g = w.g.clone()
	c.s = slices.Clone(w.s)
	c.trace = slices.Clip(w.trace)
	return &c
}

func (w *world) index(name string) int { return slices.Index(w.names, name) }

func (w *world) id(i int) ID {
	id, _ := w.g.Lookup(w.names[i])
	return id
}

func (w *world) set(i int) {
	f := w.s[i].f
	f.Held = w.s[i].held
	w.g.Set(w.id(i), f)
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.trace, "\n"))
	}
}

func (w *world) say(format string, args ...any) {
	if !w.quiet {
		w.trace = append(w.trace, fmt.Sprintf(format, args...))
	}
}

// happen does one thing and settles what follows.
func (w *world) happen(i int, what string) {
	w.now++
	if !w.quiet {
		w.say("%s: %s", w.names[i], what)
	}
	s := &w.s[i]
	f := &s.f
	switch what {
	case "start":
		w.start(i)
		for _, id := range w.g.StoppedNeeds(w.id(i)) {
			w.s[w.index(w.g.Name(id))].f.Stopped = false
			w.set(w.index(w.g.Name(id)))
		}
	case "want": // boot
		if f.Stopped || f.Wanted {
			return
		}
		f.Wanted, f.Since = true, w.now
		if f.Status == Off {
			f.Status = Coming
		}
	case "stop":
		if f.Status.Lives() || f.Status == Coming {
			f.End = true
		} else {
			f.Stopped, f.Wanted, f.Explicit, f.Status = true, false, false, Off
		}
	case "restart":
		if f.Restart = f.Status.Lives(); !f.Restart {
			w.start(i)
		}
	case "reload":
		f.Reloaded = w.now
	case "spawned":
		f.Status = Started
	case "ready":
		f.Status = Ready
		if s.task {
			f.Status, f.Ended, f.Erred = Done, w.now, false
		}
	case "crash":
		f.Status, f.Erred, f.Ended, f.Began = Coming, true, w.now, 0
		s.delay = true
	case "fail":
		f.Status, f.Erred, f.Ended, f.Began = Failed, true, w.now, 0
	case "delay over":
		s.delay = false
	case "gone":
		f.Ended, f.Began, f.Erred = w.now, 0, false
		w.down(i)
	}
	w.set(i)
	if what == "gone" || what == "delay over" {
		w.proceed(i) // a service goes on by itself, within one step of it
	}
	w.settle()
	w.proceed(i)
}

func (w *world) start(i int) {
	f := &w.s[i].f
	f.Stopped, f.Wanted, f.End = false, true, false
	w.s[i].displaced = false
	if !f.Status.Lives() {
		f.Explicit, f.Since, f.Status = true, w.now, Coming
		w.s[i].delay = false
	}
}

// down is what becomes of a service of which nothing lives any more.
func (w *world) down(i int) {
	s := &w.s[i]
	if s.f.End || !s.f.Wanted {
		s.f.Status, s.f.Wanted, s.f.End, s.f.Restart, s.f.Explicit = Off, false, w.shut, false, false
		s.f.Stopped = !s.displaced
		s.displaced, s.delay = false, false
		return
	}
	s.f.Status, s.f.Restart = Coming, false
}

func (w *world) settle() {
	w.g.Settle(w.obey)
	var again []string
	w.g.Settle(func(id ID, o Order) { again = append(again, w.g.Name(id)+" "+o.Kind.String()) })
	if again != nil {
		w.fail("settling again says %v", again)
	}
}

// obey carries out an order, after judging it.
func (w *world) obey(id ID, o Order) {
	i := w.index(w.g.Name(id))
	s := &w.s[i]
	if !w.quiet {
		by := "-"
		if o.By != None {
			by = w.g.Name(o.By)
		}
		w.say("  %s %s (%s)", o.Kind, w.names[i], by)
	}
	switch o.Kind {
	case Allow:
		s.held = false
	case Hold:
		s.held = true
	case HoldAndEnd:
		if !w.mustEnd(i, map[int]bool{}) {
			w.fail("%s is ended and nothing asks for that", w.names[i])
		}
		w.inTurn(i)
		s.held = true
		if s.f.Status.up() {
			s.f.Status = Going
		}
	case End:
		if !s.f.End && !s.f.Restart {
			w.fail("%s may end and was not to", w.names[i])
		}
		w.inTurn(i)
		switch {
		case s.f.Status.up():
			s.f.Status = Going
		case s.f.Status != Going:
			w.down(i)
		}
	case Need:
		if !w.pulled(i) {
			w.fail("%s is pulled and nobody needs it", w.names[i])
		}
		s.f.Wanted, s.f.Since = true, w.now
		if s.f.Status == Off {
			s.f.Status = Coming
		}
	case Displace:
		if !w.hasRival(i) {
			w.fail("%s has to go for nobody", w.names[i])
		}
		s.f.End, s.displaced = true, true
	}
	w.set(i)
	w.proceed(i)
}

// proceed starts what may start.
func (w *world) proceed(i int) {
	s := &w.s[i]
	if s.f.Status != Coming || s.held || s.delay || s.f.End {
		return
	}
	if !w.quiet {
		w.say("  %s starts", w.names[i])
	}
	w.judgeStart(i)
	s.f.Status, s.f.Began = Starting, w.now
	w.set(i)
}

// possible are the things that may happen by themselves to a service, faults last.
func (w *world) possible(i int, faults bool) []string {
	s := &w.s[i]
	var out []string
	switch s.f.Status {
	case Starting:
		out = append(out, "spawned")
		if faults {
			out = append(out, "crash", "fail")
		}
	case Started:
		out = append(out, "ready")
		if faults {
			out = append(out, "crash", "fail")
		}
	case Ready:
		if faults {
			out = append(out, "crash", "fail")
		}
	case Going:
		out = append(out, "gone")
	case Coming:
		if s.delay && !s.held {
			out = append(out, "delay over")
		}
	}
	return out
}

// rest lets everything that is under way arrive, lowest first, and judges the end.
func (w *world) rest() {
	for range 1000 {
		moved := false
		for i := range w.s {
			if what := w.possible(i, false); len(what) > 0 {
				w.happen(i, what[0])
				moved = true
			}
		}
		if !moved {
			w.judgeRest()
			return
		}
	}
	w.fail("it never comes to rest")
}

// shutdown ends everything and looks at the order.
func (w *world) shutdown() {
	w.say("shutdown")
	w.shut = true
	for i := range w.s {
		w.s[i].f.End = true
		w.set(i)
	}
	w.settle()
	w.rest()
	for i := range w.s {
		if w.s[i].f.Status.Lives() || w.s[i].f.Status == Coming {
			w.fail("%s is %s after a shutdown", w.names[i], w.s[i].f.Status)
		}
	}
}
