package engine

import (
	"fmt"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/graph"
	"github.com/abide-project/abide/internal/state"
)

// The graph decides when a service may start and in which order services end; the
// core of each decides what it does about that. After every step the graph is told
// what became of the service. Before anything is started, and when nothing else is
// left to do, it is asked: what it orders are events like all others. So whoever is
// to start is wanted first, then all that this entails is settled, and only then it
// starts.
//
// Nothing of the graph is kept across our death: its verdicts follow from facts
// that are on the services' pages.

// dependencies is the graph and what the engine keeps about it.
type dependencies struct {
	graph  *graph.Graph
	byID   map[graph.ID]*service
	wiring wiring
	files  map[string]*neededFile

	dirty  bool // there is something that the graph has not been asked about
	known  bool // what lives is known: verdicts count
	orders []graphOrder
}

type graphOrder struct {
	to *service
	graph.Order
}

// node is the part of a service in the graph. Services without dependencies that
// nothing depends on have none, and cost nothing.
type node struct {
	id      graph.ID
	told    bool // the graph has been told fact
	fact    graph.Fact
	verdict graph.OrderKind // Hold, HoldAndEnd or Allow
}

// ending is what becomes of a service once all that depends on it is down.
type ending uint8

const (
	endNone     ending = iota
	endStop            // it is not wanted any more
	endRestart         // it starts again
	endRedefine        // it starts again, with another definition
)

func newDependencies() dependencies {
	return dependencies{
		graph: graph.New(), byID: map[graph.ID]*service{}, wiring: newWiring(), files: map[string]*neededFile{},
	}
}

// inform tells the graph what has become of a service.
func (e *Engine) inform(s *service) {
	n := s.node
	if n == nil || !e.deps.known {
		return
	}
	f := e.fact(s)
	if n.told && f == n.fact {
		return
	}
	n.fact = f
	if !n.told {
		n.told, n.verdict = true, graph.Allow
		if f.Held = s.st.Held; f.Held {
			n.verdict = graph.Hold
		}
	}
	e.deps.graph.Set(n.id, f)
	e.deps.dirty = true
}

func (e *Engine) fact(s *service) graph.Fact {
	return graph.Fact{
		Status:   factStatus(s),
		Wanted:   s.st.Wanted || s.coming > 0,
		Explicit: s.info.Named || s.named > 0,
		Stopped:  s.heldDown(),
		End:      s.info.Ending == endStop || e.stopping != nil,
		Restart:  s.info.Ending == endRestart || s.info.Ending == endRedefine,
		Erred:    s.info.Erred,
		Since:    s.info.WantedSince,
		Began:    s.info.BeganAt,
		Ended:    s.info.Ended,
		Reloaded: s.info.Reloaded,
	}
}

// heldDown tells whether an operator keeps a service from being pulled up by
// others. enabled = false in its definition does not: it keeps the service from
// being started at boot.
func (s *service) heldDown() bool {
	return s.wish.Stopped || s.wish.Enabled == state.No && !s.wish.Started || s.gone
}

func factStatus(s *service) graph.Status {
	switch s.st.Phase {
	case core.Delaying:
		return graph.Coming
	case core.Waiting:
		if s.waitsForCondition() {
			return graph.Failed // as far as others go: it is not coming by itself
		}
		return graph.Coming
	case core.Preparing, core.Spawning:
		return graph.Starting
	case core.Starting, core.Arriving, core.Finding:
		return graph.Started
	case core.Running:
		if s.cfg.Task {
			return graph.Started
		}
		return graph.Ready
	case core.Reached:
		return graph.Ready
	case core.Stopping, core.Leaving, core.Cleaning, core.Closing:
		return graph.Going
	case core.Finished:
		if s.cfg.Task {
			return graph.Done
		}
	case core.Failed:
		return graph.Failed
	}
	return graph.Off
}

// asksToStart tells whether an event may begin a run that nobody wanted before: the
// graph is asked before it is stepped.
func asksToStart(k core.EventKind) bool {
	switch k {
	case core.EvStart, core.EvStartOnce, core.EvRestart, core.EvNeed, core.EvTaken:
		return true
	}
	return false
}

// announce tells the graph that a service is about to be wanted, announced that the
// event which says so is stepped.
func (e *Engine) announce(p *pending) {
	if !asksToStart(p.ev.Kind) {
		return
	}
	s := p.s
	s.coming++
	if p.named {
		s.named++
	}
	if s.info.WantedSince == 0 || p.named && !s.st.Live() {
		s.info.WantedSince = int64(e.now())
	}
	e.inform(s)
}

func (e *Engine) announced(p *pending) {
	if !asksToStart(p.ev.Kind) {
		return
	}
	p.s.coming--
	if p.named {
		p.s.named--
		p.s.info.Named = true
	}
}

// remember keeps what the graph must know of a service's past.
func (s *service) remember(old core.State, ev core.Event, now core.Time) {
	i := &s.info
	switch {
	case !s.st.Wanted && s.coming == 0:
		i.WantedSince, i.Named = 0, false
	case i.WantedSince == 0:
		i.WantedSince = int64(now)
	}
	at := now
	if ev.Kind == core.EvExited && ev.At != 0 {
		at = ev.At
	}
	switch {
	case ev.Kind == core.EvSpawnFailed && old.Phase != s.st.Phase:
		i.Erred = true
	case runs(&old) && !runs(&s.st):
		i.Ended = int64(at)
		i.Erred = ev.Kind != core.EvReleased && !orderly(&old) && ev.End != core.Success
	case old.Phase == core.Reached && s.st.Phase != core.Reached:
		i.Ended, i.Erred = int64(now), false
	}
	switch {
	case s.st.Began != 0:
		i.BeganAt = s.upheld()
	case s.st.Phase == core.Reached && old.Phase != core.Reached:
		i.BeganAt = int64(now)
	}
	if s.up(&s.st) && !s.up(&old) {
		i.ReadyAt = int64(now)
	}
}

// runs tells whether a run has begun and its main process is not known to have
// ended.
func runs(st *core.State) bool { return st.Live() || st.Phase == core.Finding }

// up tells whether others have in a state what they need of the service: a task is
// there when it is done.
func (s *service) up(st *core.State) bool {
	switch st.Phase {
	case core.Running:
		return !s.cfg.Task
	case core.Finished:
		return s.cfg.Task
	}
	return st.Phase == core.Reached
}

// orderly tells whether a run was being ended for a reason that is no fault of its
// own.
func orderly(st *core.State) bool {
	if st.Phase != core.Stopping && st.Phase != core.Leaving {
		return false
	}
	switch st.Cause {
	case core.CauseReady, core.CauseHook, core.CauseHealth, core.CauseWatchdog, core.CauseNoMain:
		return false
	}
	return true
}

// next takes the event to be stepped. What the graph orders comes before what it
// was asked about.
func (e *Engine) next() (pending, bool) {
	for {
		if p, any := e.orders.take(); any {
			return p, true
		}
		first := e.queue.first()
		if e.deps.dirty && e.deps.known && (first == nil || asksToStart(first.ev.Kind)) {
			e.consult()
			continue
		}
		return e.queue.take()
	}
}

// consult asks the graph what follows from all that it has been told.
func (e *Engine) consult() {
	d := &e.deps
	d.orders = d.orders[:0]
	// Desire spreads to its end before anything else is done.
	for d.dirty {
		d.dirty = false
		e.wire()
		d.graph.Settle(func(id graph.ID, o graph.Order) {
			s := d.byID[id]
			switch {
			case s == nil:
			case o.Kind == graph.Need:
				e.because = e.chainOf(o.By)
				e.feedPart(s, core.Event{Kind: core.EvNeed}, 0)
			default:
				switch o.Kind {
				case graph.Allow, graph.Hold, graph.HoldAndEnd:
					s.node.verdict = o.Kind // the last one counts
				}
				d.orders = append(d.orders, graphOrder{s, o})
			}
		})
	}
	for _, o := range d.orders {
		s := o.to
		if s.node == nil {
			continue
		}
		e.because = e.chainOf(o.By)
		if e.because != 0 && s.lives() && d.graph.Ending(s.node.id) != graph.Stays {
			// Others may have to end before it, and because of it: theirs is this chain.
			s.info.Chain = e.because
		}
		switch o.Kind {
		case graph.Allow, graph.Hold, graph.HoldAndEnd:
			if o.Kind == s.node.verdict {
				e.obey(s)
			}
		case graph.End:
			e.end(s)
		case graph.Displace:
			e.record(s.name, s.st.Run, "state", fmt.Sprintf("it conflicts with %s, which is to run", d.graph.Name(o.By)), nil)
			e.bringDown(s, endStop)
		}
	}
	e.because = 0
}

// chainOf is the event of the history that an order on behalf of a service follows
// from.
func (e *Engine) chainOf(id graph.ID) uint64 {
	if s := e.deps.byID[id]; s != nil {
		return s.info.Chain
	}
	return 0
}

// obey holds a service or lets it go as the graph says. One that is about to be
// brought down is held as well: should it end by itself meanwhile, it must not start
// again.
func (e *Engine) obey(s *service) {
	ends := s.node != nil && s.node.verdict == graph.HoldAndEnd
	switch {
	case s.taking: // what became of its run comes first
	case ends && (s.info.Ending == endStop || e.stopping != nil):
		e.end(s)
	case ends:
		e.orderEvent(s, core.Event{Kind: core.EvHold, Must: true})
	case s.info.Ending == endRestart && !s.busy() && s.node != nil && s.node.verdict == graph.Allow:
		e.end(s) // it has ended by itself meanwhile
	default:
		e.hold(s)
	}
}

// hold holds a service or lets it go. It is done again when that was stepped: the
// graph may have changed its mind meanwhile.
func (e *Engine) hold(s *service) {
	if !e.deps.known || s.taking {
		return
	}
	held := s.node != nil && s.node.verdict != graph.Allow || s.info.Ending != endNone || e.stopping != nil
	switch {
	case held && !s.st.Held:
		e.orderEvent(s, core.Event{Kind: core.EvHold})
	case !held && s.st.Held:
		e.orderEvent(s, core.Event{Kind: core.EvAllow})
	}
}

// bringDown ends a service in the order that the graph keeps: at once, or when all
// that must be down before it is. What is to become of it is on its page until then.
func (e *Engine) bringDown(s *service, how ending) {
	e.wire()
	switch {
	case !s.busy() && how == endRestart:
		e.feedNamed(s, core.Event{Kind: core.EvRestart})
		return
	case s.node == nil || !s.busy() && (how != endStop || !s.st.Wanted):
		e.feed(s, how.event())
		return
	}
	s.info.Ending = how
	e.mark(s)
	e.obey(s)
	e.inform(s)
}

// event carries an ending out.
func (how ending) event() core.Event {
	switch how {
	case endRestart:
		return core.Event{Kind: core.EvRestart}
	case endRedefine:
		return core.Event{Kind: core.EvRedefined, Must: true}
	}
	return core.Event{Kind: core.EvStop}
}

// keepUp calls off what was to become of a service.
func (e *Engine) keepUp(s *service) {
	if s.info.Ending == endNone {
		return
	}
	s.info.Ending = endNone
	e.persist(s)
	e.obey(s)
	e.inform(s)
}

// end does what bringDown or a shutdown announced: nothing is in the way any more.
func (e *Engine) end(s *service) {
	switch {
	case e.stopping != nil:
		e.orderEvent(s, core.Event{Kind: core.EvStop})
		if e.stopping.hurried {
			e.orderEvent(s, core.Event{Kind: core.EvHurry})
		}
	case s.info.Ending != endNone:
		p := e.pend(s, s.info.Ending.event(), 0)
		p.ends = true
		e.orders.put(p)
	}
}

// orderEvent queues an event before all that others have fed.
func (e *Engine) orderEvent(s *service, ev core.Event) { e.orders.put(e.pend(s, ev, 0)) }

// eventQueue is first in, first out, and keeps its memory.
type eventQueue struct {
	list []pending
	at   int
}

func (q *eventQueue) put(p pending) { q.list = append(q.list, p) }

func (q *eventQueue) first() *pending {
	if q.at == len(q.list) {
		return nil
	}
	return &q.list[q.at]
}

func (q *eventQueue) take() (pending, bool) {
	if q.at == len(q.list) {
		q.list, q.at = q.list[:0], 0
		return pending{}, false
	}
	p := q.list[q.at]
	q.list[q.at] = pending{}
	q.at++
	return p, true
}

func (q *eventQueue) empty() bool { return q.at == len(q.list) }
