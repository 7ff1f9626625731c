package graph

import "slices"

// Graph is a set of services, the edges between them and the facts about them. It
// is for one goroutine.
type Graph struct {
	nodes  []node
	free   []ID
	byName map[key]ID
	edges  []edge
	unused []int32 // of edges

	stale   bool // cycles are to be looked for again
	spread  queue
	act     queue
	closing bool // Settle is at work

	rules rules
}

type key struct {
	name string
	file bool
}

type node struct {
	key
	fact    Fact
	used    bool // the slot is in use
	defined bool // Define was called, or it is a file
	known   bool // Set was called since
	owned   []int32
	out, in []int32 // edges that stand here, and that point here
	sets    []anySet
	avoids  int // edges in out or in that keep apart
	parts   int // of in: part_of

	broken bool // on a cycle
	group  int32

	counts
	derived
	inSpread, inAct, touched bool

	said      OrderKind
	saidNeed  bool
	saidPlace bool
}

// counts sum up what the edges of a node say, so that one edge that changes costs
// the same whether its node has two or ten thousand.
type counts struct {
	pulls, cannot, unmet, excluded, again, down, holders, displacers int32
}

// derived is what follows for a node from its facts and counts, as its edges see it.
type derived struct {
	can     bool // would come up if it were wanted, as far as can be told
	desired bool // is wanted, or pulled by one that is
	hope    bool // is going to come up by itself
	able    bool // could start if it conflicted with nothing
	ending  Ending
}

// Ending is whether a service is to end.
type Ending uint8

// The endings, in order of strength.
const (
	Stays     Ending = iota
	ComesBack        // ends and starts again when it may
	GoesDown         // ends because it, or what it cannot be without, is brought down
)

type edge struct {
	from, to, owner      ID
	kind                 Kind
	until                Until
	level                Level
	set                  int32
	outAt, inAt, ownedAt int32
	loose                bool // part_of whose two ends also depend on each other the other way round
	says                 says
}

// anySet is one set of any_of.
type anySet struct {
	members []int32
	says    says
	pulled  int32 // the edge that is pulled, -1 if none
}

// New returns an empty graph.
func New() *Graph { return &Graph{byName: map[key]ID{}, rules: theRules} }

// Lookup finds a service that was defined or that an edge names.
func (g *Graph) Lookup(name string) (ID, bool) {
	id, ok := g.byName[key{name, false}]
	return id, ok
}

// LookupFile finds a file that an edge names.
func (g *Graph) LookupFile(path string) (ID, bool) {
	id, ok := g.byName[key{path, true}]
	return id, ok
}

// Files returns the files that edges name, in no order.
func (g *Graph) Files() []string {
	var out []string
	for i := range g.nodes {
		if g.nodes[i].used && g.nodes[i].file {
			out = append(out, g.nodes[i].name)
		}
	}
	return out
}

// Name returns the name of a service or the path of a file.
func (g *Graph) Name(id ID) string { return g.nodes[id].name }

// Fact returns what was last set.
func (g *Graph) Fact(id ID) Fact { return g.nodes[id].fact }

// Bound reports whether id has edges, or is named by one: what has none is always
// allowed to start, and needs no facts but those of its end.
func (g *Graph) Bound(id ID) bool { return len(g.nodes[id].out)+len(g.nodes[id].in) > 0 }

// Desired reports whether id is wanted or pulled by one that is.
func (g *Graph) Desired(id ID) bool { return g.nodes[id].desired }

// Ending returns what is decided of the end of id, which may have to wait for its turn.
func (g *Graph) Ending(id ID) Ending { return g.nodes[id].ending }

// Define enters a service or replaces the edges it owns. Edges that others have
// given with Reverse or Before stay.
func (g *Graph) Define(name string, edges []Edge) ID {
	id := g.need(key{name, false})
	old := slices.Clone(g.nodes[id].owned)
	g.nodes[id].defined = true
	for _, e := range edges {
		g.add(id, e)
	}
	// The old ones go last, so that what both name keeps its place and facts.
	for _, at := range old {
		g.drop(at)
	}
	g.touch(id)
	return id
}

// Remove takes a service and the edges it owns out. For others that name it, it is
// Absent from then on.
func (g *Graph) Remove(name string) {
	id, ok := g.Lookup(name)
	if !ok || !g.nodes[id].defined {
		return
	}
	for _, at := range slices.Clone(g.nodes[id].owned) {
		g.drop(at)
	}
	n := &g.nodes[id]
	n.defined, n.known, n.fact = false, false, Fact{}
	n.said, n.saidNeed, n.saidPlace = Allow, false, false
	g.touch(id)
	g.release(id)
}

// Set says what is known of a service or file.
func (g *Graph) Set(id ID, f Fact) {
	n := &g.nodes[id]
	if !n.known {
		n.known = true
		if f.Held {
			n.said = Hold
		}
	} else if n.fact == f {
		return
	}
	n.fact = f
	g.touch(id)
}

func (g *Graph) need(k key) ID {
	if id, ok := g.byName[k]; ok {
		return id
	}
	var id ID
	if last := len(g.free) - 1; last >= 0 {
		id, g.free = g.free[last], g.free[:last]
	} else {
		id = ID(len(g.nodes))
		g.nodes = append(g.nodes, node{})
	}
	old := &g.nodes[id]
	*old = node{key: k, used: true, defined: k.file, group: -1, owned: old.owned[:0], out: old.out[:0], in: old.in[:0], inSpread: old.inSpread, inAct: old.inAct}
	g.byName[k] = id
	g.touch(id)
	return id
}

// release gives the slot of a node free that nothing speaks of any more.
func (g *Graph) release(id ID) {
	n := &g.nodes[id]
	if !n.used || n.defined && !n.file || len(n.out)+len(n.in) > 0 {
		return
	}
	delete(g.byName, n.key)
	n.used, n.key, n.fact = false, key{}, Fact{}
	g.free = append(g.free, id)
}

func (g *Graph) add(owner ID, e Edge) {
	other := g.need(key{e.To, e.File})
	from, to, kind := owner, other, e.Kind
	if kind == Before {
		kind, e.Reverse = After, true
	}
	if e.Reverse {
		from, to = other, owner
	}
	var at int32
	if last := len(g.unused) - 1; last >= 0 {
		at, g.unused = g.unused[last], g.unused[:last]
	} else {
		at = int32(len(g.edges))
		g.edges = append(g.edges, edge{})
	}
	f, t, o := &g.nodes[from], &g.nodes[to], &g.nodes[owner]
	g.edges[at] = edge{from: from, to: to, owner: owner, kind: kind, until: e.Until, level: e.Level, set: -1,
		outAt: int32(len(f.out)), inAt: int32(len(t.in)), ownedAt: int32(len(o.owned))}
	o.owned = append(o.owned, at)
	f.out = append(f.out, at)
	t.in = append(t.in, at)
	switch kind {
	case AnyOf:
		for len(f.sets) <= e.Set {
			f.sets = append(f.sets, anySet{pulled: -1})
		}
		g.edges[at].set = int32(e.Set)
		f.sets[e.Set].members = append(f.sets[e.Set].members, at)
	case Conflicts:
		f.avoids++
		t.avoids++
	case ExcludeAll:
		f.avoids++
	case PartOf:
		t.parts++
	}
	g.stale = true
	g.touch(from)
	g.touch(to)
}

func (g *Graph) drop(at int32) {
	e := &g.edges[at]
	f, t := &g.nodes[e.from], &g.nodes[e.to]
	switch e.kind {
	case AnyOf:
		s := &f.sets[e.set]
		g.countSet(e.from, s, 0, -1)
		for i, m := range s.members {
			if m == at {
				s.members = append(s.members[:i], s.members[i+1:]...)
				break
			}
		}
		for len(f.sets) > 0 && len(f.sets[len(f.sets)-1].members) == 0 {
			f.sets = f.sets[:len(f.sets)-1]
		}
	case Conflicts:
		f.avoids--
		t.avoids--
	case ExcludeAll:
		f.avoids--
	case PartOf:
		t.parts--
	}
	g.count(e, e.says, 0)
	g.cut(&f.out, e.outAt, func(e *edge, i int32) { e.outAt = i })
	g.cut(&t.in, e.inAt, func(e *edge, i int32) { e.inAt = i })
	g.cut(&g.nodes[e.owner].owned, e.ownedAt, func(e *edge, i int32) { e.ownedAt = i })
	from, to, owner := e.from, e.to, e.owner
	g.unused = append(g.unused, at)
	g.stale = true
	g.touch(from)
	g.touch(to)
	for _, id := range []ID{from, to} {
		if id != owner {
			g.release(id)
		}
	}
}

// cut takes the entry at i out of list by putting the last one there.
func (g *Graph) cut(list *[]int32, i int32, moved func(*edge, int32)) {
	l := *list
	last := int32(len(l) - 1)
	l[i] = l[last]
	moved(&g.edges[l[i]], i)
	*list = l[:last]
}

// Edges returns the edges that stand at id, wherever they were given.
func (g *Graph) Edges(id ID) []Edge {
	n := &g.nodes[id]
	out := make([]Edge, 0, len(n.out))
	for _, at := range n.out {
		e := &g.edges[at]
		to := &g.nodes[e.to]
		out = append(out, Edge{To: to.name, File: to.file, Kind: e.kind, Until: e.until, Level: e.level, Set: max(int(e.set), 0)})
	}
	return out
}
