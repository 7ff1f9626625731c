package graph

import "slices"

// Change is what Plan is asked about. The services named in Start are started as
// by an operator; those of StoppedNeeds are the caller's to add.
type Change struct {
	Start, Stop, Restart []ID
}

// Move is one service that starts or ends.
type Move struct {
	ID    ID
	Up    bool
	Round int       // moves of one round wait for nothing but those of rounds before
	Why   OrderKind // Allow: it was asked for; Need; HoldAndEnd; End: it was asked for; Displace
	By    ID        // whom it follows, None if it was named
}

// Plan returns what would follow from a change if every start and end succeeded,
// in the order in which it would happen, by names within a round. The graph is left as it is. What is on
// its way at the moment counts as arrived.
func (g *Graph) Plan(c Change) []Move {
	p := planner{g: g.clone(), why: map[ID]Order{}}
	for i := range p.g.nodes {
		n := &p.g.nodes[i]
		p.now = max(p.now, n.fact.Since, n.fact.Began, n.fact.Ended, n.fact.Reloaded)
		if n.used && n.known && !n.file {
			p.look = append(p.look, ID(i))
		}
	}
	p.rest()
	p.run()
	p.record = true
	p.round = 0
	for _, id := range c.Stop {
		p.change(id, func(f *Fact) { f.End = true })
		p.why[id] = Order{End, None}
	}
	for _, id := range c.Restart {
		p.change(id, func(f *Fact) { f.Restart = true })
		p.why[id] = Order{End, None}
	}
	p.now++
	for _, id := range c.Start {
		p.change(id, func(f *Fact) {
			f.Stopped, f.Wanted, f.Explicit = false, true, !f.Status.Lives()
			if !f.Status.Lives() {
				f.Status, f.Since = Coming, p.now
			}
		})
		p.why[id] = Order{Allow, None}
	}
	p.run()
	slices.SortStableFunc(p.moves, func(a, b Move) int {
		if a.Round != b.Round {
			return a.Round - b.Round
		}
		return g.byNames(a.ID, b.ID)
	})
	return p.moves
}

// clone copies what Settle and Set change.
func (g *Graph) clone() *Graph {
	c := &Graph{nodes: slices.Clone(g.nodes), edges: slices.Clone(g.edges), byName: g.byName, rules: g.rules, stale: g.stale}
	c.spread.list = slices.Clone(g.spread.list[g.spread.head:])
	c.act.list = slices.Clone(g.act.list[g.act.head:])
	for i := range c.nodes {
		if n := &c.nodes[i]; len(n.sets) > 0 {
			n.sets = slices.Clone(n.sets)
		}
	}
	return c
}

// planner is a world in which everything succeeds at once.
type planner struct {
	g      *Graph
	now    int64
	round  int
	record bool
	moves  []Move
	why    map[ID]Order
	look   []ID // what may start in this round
	ends   []ID
}

func (p *planner) change(id ID, with func(*Fact)) {
	f := p.g.nodes[id].fact
	with(&f)
	p.g.Set(id, f)
	p.look = append(p.look, id)
}

// rest lets what is under way arrive.
func (p *planner) rest() {
	for _, id := range p.look {
		f := p.g.nodes[id].fact
		switch f.Status {
		case Starting, Started:
			f.Status = Ready
		case Going:
			f.Status = Off
			if f.Wanted {
				f.Status = Coming
			}
		case Off:
			if f.Wanted && !f.Stopped {
				f.Status = Coming
			}
		default:
			continue
		}
		p.g.Set(id, f)
	}
}

// run goes on until nothing moves any more.
func (p *planner) run() {
	for {
		p.now++
		p.g.Settle(p.hear)
		look, ends := p.look, p.ends
		p.look, p.ends = nil, nil
		moved := false
		for _, id := range look {
			if n := &p.g.nodes[id]; n.fact.Status == Coming && n.said == Allow {
				moved = true
				p.start(id)
			}
		}
		for _, id := range ends {
			moved = p.end(id) || moved
		}
		if !moved && len(p.look) == 0 {
			return
		}
		p.round++
	}
}

// hear takes an order. What only spreads a wish is done at once.
func (p *planner) hear(id ID, o Order) {
	f := p.g.nodes[id].fact
	switch o.Kind {
	case Allow:
		p.look = append(p.look, id)
		return
	case Hold:
		return
	case Need:
		f.Wanted, f.Since = true, p.now
		if f.Status == Off {
			f.Status = Coming
		}
		p.look = append(p.look, id)
	case Displace:
		f.End = true
	case HoldAndEnd, End:
		p.ends = append(p.ends, id)
		if _, ok := p.why[id]; !ok {
			p.why[id] = o
		}
		return
	}
	p.why[id] = o
	p.g.Set(id, f)
}

func (p *planner) start(id ID) {
	n := &p.g.nodes[id]
	f := n.fact
	f.Status, f.Began = Ready, p.now
	for _, at := range n.in {
		if p.g.edges[at].until == UntilFinished {
			f.Status = Done
		}
	}
	p.g.Set(id, f)
	p.move(id, true)
}

func (p *planner) end(id ID) bool {
	f := p.g.nodes[id].fact
	lived := f.Status.Lives()
	if lived {
		f.Ended, f.Began, f.Erred = p.now, 0, false
	}
	switch {
	case f.End:
		f.Status, f.Wanted, f.End, f.Restart, f.Explicit = Off, false, false, false, false
		f.Stopped = true
	case !lived:
		return false
	default:
		f.Status, f.Restart = Coming, false
		p.look = append(p.look, id)
	}
	p.g.Set(id, f)
	if lived {
		p.move(id, false)
	}
	return true
}

func (p *planner) move(id ID, up bool) {
	if !p.record {
		return
	}
	o, ok := p.why[id]
	if !ok {
		o = Order{Allow, None}
	}
	if up {
		delete(p.why, id)
	}
	p.moves = append(p.moves, Move{ID: id, Up: up, Round: p.round, Why: o.Kind, By: o.By})
}
