package graph

// Link is one service of a critical chain.
type Link struct {
	ID    ID
	Began int64 // start of its run
	Ready int64 // when it was ready
}

// CriticalChain returns what id waited for last when it came up, what that waited
// for, and so on, id first. times gives the start and readiness of a service's run
// in nanoseconds of one clock, 0 where there was none. Only what was ready before
// the one above began is followed.
func (g *Graph) CriticalChain(id ID, times func(ID) (began, ready int64)) []Link {
	began, ready := times(id)
	chain := []Link{{id, began, ready}}
	seen := map[ID]bool{id: true}
	for {
		top := chain[len(chain)-1]
		next := Link{ID: None}
		for _, at := range g.nodes[top.ID].out {
			e := &g.edges[at]
			if !e.kind.Orders() || seen[e.to] {
				continue
			}
			began, ready := times(e.to)
			if ready > 0 && (top.Began == 0 || ready <= top.Began) && (next.ID == None || ready > next.Ready) {
				next = Link{e.to, began, ready}
			}
		}
		if next.ID == None {
			return chain
		}
		seen[next.ID] = true
		chain = append(chain, next)
	}
}
