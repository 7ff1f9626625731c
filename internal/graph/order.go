package graph

import "slices"

// StartOrder returns all services in layers: each has everything that it starts
// after in layers before its own. What is on a cycle is left out.
func (g *Graph) StartOrder() [][]ID {
	if g.stale {
		g.findCycles()
	}
	var layers [][]ID
	left := make([]int, len(g.nodes)) // others that come before
	var now []ID
	for i := range g.nodes {
		n := &g.nodes[i]
		if !g.placed(ID(i)) {
			continue
		}
		for _, at := range n.out {
			if e := &g.edges[at]; e.kind.Orders() && g.placed(e.to) {
				left[i]++
			}
		}
		if left[i] == 0 {
			now = append(now, ID(i))
		}
	}
	for len(now) > 0 {
		slices.SortFunc(now, g.byNames)
		layers = append(layers, now)
		var next []ID
		for _, id := range now {
			for _, at := range g.nodes[id].in {
				e := &g.edges[at]
				if !e.kind.Orders() || !g.placed(e.from) {
					continue
				}
				if left[e.from]--; left[e.from] == 0 {
					next = append(next, e.from)
				}
			}
		}
		now = next
	}
	return layers
}

// StopOrder is StartOrder from the other end.
func (g *Graph) StopOrder() [][]ID {
	layers := g.StartOrder()
	slices.Reverse(layers)
	return layers
}

func (g *Graph) placed(id ID) bool {
	n := &g.nodes[id]
	return n.used && n.defined && !n.file && !n.broken
}

// Closure returns the named services and all that can be reached from them over
// edges of these kinds, of all that pull if none is given, needs before those that
// have them. Of a set of any_of without a member that is up or on its way the first
// that could come counts, else those that are.
func (g *Graph) Closure(names []string, follow ...Kind) []ID {
	if len(follow) == 0 {
		follow = []Kind{Requires, Wants, AnyOf}
	}
	g.derive()
	type frame struct {
		id   ID
		next int
	}
	var out []ID
	var frames []frame
	seen := map[ID]bool{}
	enter := func(id ID) {
		if n := &g.nodes[id]; !seen[id] && n.defined && !n.file {
			seen[id] = true
			frames = append(frames, frame{id: id})
		}
	}
	for _, name := range names {
		if id, ok := g.Lookup(name); ok {
			enter(id)
		}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			id := f.id
			if f.next == len(g.nodes[id].out) {
				out = append(out, id)
				frames = frames[:len(frames)-1]
				continue
			}
			e := &g.edges[g.nodes[id].out[f.next]]
			f.next++
			if slices.Contains(follow, e.kind) && (e.kind != AnyOf || g.taken(e)) {
				enter(e.to)
			}
		}
	}
	return out
}

// taken reports whether a member of a set is one that its owner would come up with.
func (g *Graph) taken(e *edge) bool {
	n := &g.nodes[e.from]
	first := int32(-1)
	for _, at := range n.sets[e.set].members {
		m := &g.edges[at]
		if m.says&underway != 0 {
			return e.says&underway != 0
		}
		if first < 0 && m.says&possible != 0 {
			first = at
		}
	}
	return first >= 0 && &g.edges[first] == e
}

// StoppedNeeds returns what has to be let up again for id to start: what it
// requires, directly or not, and is held stopped, and of a set of any_of that can
// have nobody else the first such. It is what a start by name starts too, needs
// before those that have them.
func (g *Graph) StoppedNeeds(id ID) []ID {
	g.derive()
	var out []ID
	type frame struct {
		id   ID
		next int
	}
	frames := []frame{{id: id}}
	seen := map[ID]bool{id: true}
	for len(frames) > 0 {
		f := &frames[len(frames)-1]
		n := &g.nodes[f.id]
		if f.next == len(n.out) {
			if f.id != id && n.fact.Stopped && !n.fact.Status.up() {
				out = append(out, f.id)
			}
			frames = frames[:len(frames)-1]
			continue
		}
		e := &g.edges[n.out[f.next]]
		f.next++
		hard := e.kind == Requires || e.kind == AnyOf && g.onlyStopped(e)
		if to := &g.nodes[e.to]; hard && !seen[e.to] && to.defined && !to.file && !to.fact.Status.up() {
			seen[e.to] = true
			frames = append(frames, frame{id: e.to})
		}
	}
	return out
}

// onlyStopped reports whether e is the first stopped member of a set of which
// nobody is there or could come.
func (g *Graph) onlyStopped(e *edge) bool {
	first := None
	for _, at := range g.nodes[e.from].sets[e.set].members {
		m := &g.edges[at]
		if m.says&(reached|possible|underway) != 0 {
			return false
		}
		if first == None && g.nodes[m.to].fact.Stopped {
			first = m.to
		}
	}
	return first == e.to
}
