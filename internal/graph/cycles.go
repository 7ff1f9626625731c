package graph

import "slices"

// Cycles returns each cycle of the edges that order, and of part_of alone, from a
// service back to itself: a, b, a. Every service that is on one is in at least one
// of them.
func (g *Graph) Cycles() [][]string {
	if g.stale {
		g.findCycles()
	}
	var ids []ID
	for i := range g.nodes {
		if g.nodes[i].broken {
			ids = append(ids, ID(i))
		}
	}
	slices.SortFunc(ids, g.byNames)
	var out [][]string
	covered := map[ID]bool{}
	for _, id := range ids {
		if covered[id] {
			continue
		}
		var names []string
		for _, on := range g.around(id) {
			covered[on] = true
			names = append(names, g.nodes[on].name)
		}
		out = append(out, names)
	}
	return out
}

func (g *Graph) byNames(a, b ID) int {
	switch x, y := g.nodes[a].name, g.nodes[b].name; {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// around is a shortest way from id back to itself.
func (g *Graph) around(id ID) []ID {
	if path := g.back(id, func(e *edge) bool { return e.kind.Orders() && g.nodes[e.to].group == g.nodes[id].group }); path != nil {
		return path
	}
	return g.back(id, func(e *edge) bool { return e.kind == PartOf })
}

func (g *Graph) back(id ID, follow func(*edge) bool) []ID {
	from := map[ID]ID{}
	for list := []ID{id}; len(list) > 0; list = list[1:] {
		var next []ID
		for _, at := range g.nodes[list[0]].out {
			if e := &g.edges[at]; follow(e) {
				next = append(next, e.to)
			}
		}
		slices.SortFunc(next, g.byNames)
		for _, to := range next {
			if _, seen := from[to]; seen {
				continue
			}
			from[to] = list[0]
			if to != id {
				list = append(list, to)
				continue
			}
			path := []ID{id}
			for at := from[id]; at != id; at = from[at] {
				path = append(path, at)
			}
			path = append(path, id)
			slices.Reverse(path)
			return path
		}
	}
	return nil
}

// findCycles marks what is on a cycle, and the part_of edges that close one.
func (g *Graph) findCycles() {
	g.stale = false
	broken := make([]bool, len(g.nodes))
	groups := g.circle(broken, Kind.Orders)
	g.circle(broken, func(k Kind) bool { return k == PartOf })
	for id := range g.nodes {
		n := &g.nodes[id]
		n.group = groups[id]
		if broken[id] || n.broken {
			n.broken = broken[id]
			g.touch(ID(id))
		}
	}
	groups = g.components(func(k Kind) bool { return k.Orders() || k == PartOf })
	for i := range g.nodes {
		for _, at := range g.nodes[i].out {
			e := &g.edges[at]
			if loose := e.kind == PartOf && groups[e.from] == groups[e.to]; loose != e.loose {
				e.loose = loose
				g.touch(e.from)
			}
		}
	}
}

// circle marks what is on a cycle of the kinds that follow chooses.
func (g *Graph) circle(broken []bool, follow func(Kind) bool) []int32 {
	groups := g.components(follow)
	size := make([]int32, len(g.nodes))
	for id := range g.nodes {
		size[groups[id]]++
	}
	for id := range g.nodes {
		broken[id] = broken[id] || size[groups[id]] > 1
		for _, at := range g.nodes[id].out {
			e := &g.edges[at]
			broken[id] = broken[id] || e.to == e.from && follow(e.kind)
		}
	}
	return groups
}

// components numbers the strongly connected components of the edges that follow
// chooses (Tarjan's algorithm, with a stack of its own instead of recursion).
func (g *Graph) components(follow func(Kind) bool) []int32 {
	type frame struct {
		id   ID
		next int
	}
	count := len(g.nodes)
	group := make([]int32, count)
	index := make([]int32, count) // 0: not seen
	low := make([]int32, count)
	var stack []ID
	var frames []frame
	var seen, number int32
	for i := range group {
		group[i] = -1
	}
	for root := range g.nodes {
		if index[root] != 0 {
			continue
		}
		frames = append(frames[:0], frame{id: ID(root)})
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			id := f.id
			if f.next == 0 {
				seen++
				index[id], low[id] = seen, seen
				stack = append(stack, id)
			}
			deeper := false
			for out := g.nodes[id].out; f.next < len(out); {
				e := &g.edges[out[f.next]]
				f.next++
				if !follow(e.kind) || group[e.to] >= 0 {
					continue
				}
				if index[e.to] == 0 {
					frames = append(frames, frame{id: e.to})
					deeper = true
					break
				}
				low[id] = min(low[id], index[e.to])
			}
			if deeper {
				continue
			}
			if low[id] == index[id] {
				for {
					top := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					group[top] = number
					if top == id {
						break
					}
				}
				number++
			}
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				above := frames[len(frames)-1].id
				low[above] = min(low[above], low[id])
			}
		}
	}
	return group
}
