package graph

// queue is a first-in first-out list of nodes that keeps its memory.
type queue struct {
	list []ID
	head int
}

func (q *queue) push(id ID) { q.list = append(q.list, id) }

func (q *queue) pop() (ID, bool) {
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
		return None, false
	}
	id := q.list[q.head]
	q.head++
	return id, true
}

// Settle tells what follows from what was set: each order that is not the one said
// last. Facts may be set from within order, which must not call Settle.
func (g *Graph) Settle(order func(id ID, o Order)) {
	if g.closing {
		panic("graph: Settle within Settle")
	}
	g.closing = true
	defer func() { g.closing = false }()
	for {
		g.derive()
		id, ok := g.act.pop()
		if !ok {
			return
		}
		n := &g.nodes[id]
		n.inAct = false
		g.judge(id, order)
	}
}

// judge says what has changed about one node.
func (g *Graph) judge(id ID, order func(ID, Order)) {
	n := &g.nodes[id]
	if !n.used || !n.defined || n.file || !n.known {
		return
	}
	f := &n.fact
	need := n.pulls > 0 && !f.Wanted && !f.Stopped && !f.End && f.Status != Absent
	place := n.displacers > 0 && !f.End
	verdict := g.rules.verdict(n)
	if !n.desired && f.Status == Off && !f.End {
		verdict = n.said // nobody asks: it is told when somebody does
	}
	first := func(kind OrderKind) {
		order(id, Order{kind, g.cause(id, kind)})
	}
	// What the caller does about one order may make the next one stale: each is
	// said by itself, and the node looked at again. What is held is told so before
	// it is needed, or it would start.
	switch {
	case verdict != n.said && (verdict == Hold || verdict == HoldAndEnd):
		n.said = verdict
		g.again(id)
		first(verdict)
	case place != n.saidPlace:
		if n.saidPlace = place; place {
			g.again(id)
			first(Displace)
			return
		}
		g.again(id)
	case need != n.saidNeed:
		n.saidNeed = need
		g.again(id)
		if need {
			first(Need)
		}
	case verdict == End && !f.End && n.parts > 0 && n.said == Allow:
		// Its parts end after it, and it may need them to come back.
		n.said = Hold
		g.again(id)
		order(id, Order{Hold, None})
	case verdict != n.said:
		n.said = verdict
		first(verdict)
	}
}

func (g *Graph) again(id ID) {
	if n := &g.nodes[id]; !n.inAct {
		n.inAct = true
		g.act.push(id)
	}
}

// touch has a node and its edges looked at.
func (g *Graph) touch(id ID) {
	n := &g.nodes[id]
	n.touched = true
	g.enqueue(id)
}

func (g *Graph) enqueue(id ID) {
	if n := &g.nodes[id]; !n.inSpread {
		n.inSpread = true
		g.spread.push(id)
	}
}

// derive spreads what was set until nothing changes any more. It ends because the
// edges that it follows have no cycles.
func (g *Graph) derive() {
	if g.stale {
		g.findCycles()
	}
	for {
		id, ok := g.spread.pop()
		if !ok {
			return
		}
		n := &g.nodes[id]
		n.inSpread = false
		d := g.rules.node(n)
		was := n.derived
		n.derived = d
		if n.avoids == 0 {
			was.able = d.able // of no interest to any edge
		}
		if d != was || n.touched {
			n.touched = false
			for _, e := range n.out {
				g.refresh(e)
			}
			for _, e := range n.in {
				g.refresh(e)
			}
		}
		g.again(id)
	}
}

// refresh asks an edge again and carries what changed to its ends.
func (g *Graph) refresh(at int32) {
	e := &g.edges[at]
	s := g.rules.edge(e, &g.nodes[e.from], &g.nodes[e.to])
	if e.kind == AnyOf {
		// Even where the edge says the same, the set may choose another member.
		defer g.refreshSet(e.from, e.set)
		s |= e.says & pulls
	}
	if s != e.says {
		g.count(e, e.says, s)
		e.says = s
	}
}

func (g *Graph) refreshSet(from ID, set int32) {
	n := &g.nodes[from]
	s := &n.sets[set]
	var room [16]says
	members := room[:0]
	for _, m := range s.members {
		members = append(members, g.edges[m].says)
	}
	pulled := int32(-1)
	if i := choice(n, members); i >= 0 {
		pulled = s.members[i]
	}
	g.countSet(from, s, g.rules.set(n, members), pulled)
}

// countSet carries what a set says, and whom it pulls, to the nodes.
func (g *Graph) countSet(from ID, s *anySet, now says, pulled int32) {
	if now != s.says {
		n := &g.nodes[from]
		add(&n.unmet, s.says, now, unmet)
		add(&n.cannot, s.says, now, cannot)
		add(&n.down, s.says, now, down)
		s.says = now
		g.enqueue(from)
	}
	if pulled != s.pulled {
		for _, at := range []int32{s.pulled, pulled} {
			if at >= 0 {
				e := &g.edges[at]
				g.count(e, e.says, e.says^pulls)
				e.says ^= pulls
			}
		}
		s.pulled = pulled
	}
}

// count adds to the ends of an edge what it says now and takes away what it said.
func (g *Graph) count(e *edge, was, now says) {
	if was == now {
		return
	}
	f, t := &g.nodes[e.from], &g.nodes[e.to]
	fc, tc := f.counts, t.counts
	add(&f.cannot, was, now, cannot)
	add(&f.unmet, was, now, unmet)
	add(&f.excluded, was, now, excluded)
	add(&f.again, was, now, again)
	add(&f.down, was, now, down)
	add(&f.displacers, was, now, displaced)
	add(&t.pulls, was, now, pulls)
	add(&t.excluded, was, now, excludes)
	add(&t.holders, was, now, holds)
	add(&t.displacers, was, now, displaces)
	if f.counts != fc {
		g.enqueue(e.from)
	}
	if t.counts != tc {
		g.enqueue(e.to)
	}
}

func add(n *int32, was, now, bit says) {
	switch {
	case was&bit == 0 && now&bit != 0:
		*n++
	case was&bit != 0 && now&bit == 0:
		*n--
	}
}

// cause finds whom an order is due to.
func (g *Graph) cause(id ID, kind OrderKind) ID {
	var in, out says
	switch kind {
	case Need:
		in = pulls
	case Displace:
		in, out = displaces, displaced
	case Hold:
		in, out = excludes, unmet|excluded|again|down
	case HoldAndEnd:
		out = again | down
	default:
		return None
	}
	n := &g.nodes[id]
	if out != 0 {
		for _, at := range n.out {
			e := &g.edges[at]
			s := e.says
			if e.kind == AnyOf {
				set := n.sets[e.set].says
				if s&leaves == 0 {
					set &^= down
				}
				s = s&^leaves | set
			}
			if s&out != 0 {
				return e.to
			}
		}
	}
	if in != 0 {
		for _, at := range n.in {
			if g.edges[at].says&in != 0 {
				return g.edges[at].from
			}
		}
	}
	return None
}
