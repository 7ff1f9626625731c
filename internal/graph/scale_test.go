package graph

import (
	"fmt"
	"testing"
)

// shapes are graphs of n services in which a change at one end reaches far.
var shapes = map[string]func(n int) [][]Edge{
	"chain": func(n int) [][]Edge {
		edges := make([][]Edge, n)
		for i := 1; i < n; i++ {
			edges[i] = requires(fmt.Sprint("s", i-1))
		}
		return edges
	},
	"fan": func(n int) [][]Edge {
		edges := make([][]Edge, n)
		for i := 1; i < n; i++ {
			edges[i] = requires("s0")
		}
		return edges
	},
	"target": func(n int) [][]Edge {
		edges := make([][]Edge, n)
		for i := 1; i < n; i++ {
			edges[0] = append(edges[0], Edge{To: fmt.Sprint("s", i), Kind: Wants, Until: UntilReady})
		}
		return edges
	},
}

func large(edges [][]Edge) (*Graph, []ID) {
	g := New()
	ids := make([]ID, len(edges))
	for i := range edges {
		ids[i] = g.Define(fmt.Sprint("s", i), edges[i])
	}
	for _, id := range ids {
		g.Set(id, Fact{Status: Off})
	}
	g.Settle(func(ID, Order) {})
	return g, ids
}

// upAndDown starts what all need to be up, by itself, then brings it all down, and
// returns how many orders that took.
func upAndDown(g *Graph, ids []ID) (orders int) {
	now := int64(1)
	var act []ID
	settle := func() {
		g.Settle(func(id ID, o Order) {
			orders++
			f := g.Fact(id)
			switch o.Kind {
			case Need:
				f.Wanted, f.Status = true, Coming
				g.Set(id, f)
			case Allow, End:
				act = append(act, id)
			}
		})
	}
	for _, id := range ids {
		f := g.Fact(id)
		f.Wanted, f.Stopped, f.Status, f.Since = true, false, Coming, now
		g.Set(id, f)
	}
	settle()
	for _, id := range ids {
		if g.nodes[id].said == Allow {
			act = append(act, id)
		}
	}
	up := func(f *Fact, s Status) { f.Status, f.Began = s, now }
	for len(act) > 0 {
		id := act[0]
		act = act[1:]
		now++
		for _, s := range []Status{Starting, Started, Ready} {
			f := g.Fact(id)
			if f.Status == Ready {
				break
			}
			up(&f, s)
			g.Set(id, f)
			settle()
		}
	}
	act = act[:0]
	for _, id := range ids {
		f := g.Fact(id)
		f.End = true
		g.Set(id, f)
	}
	settle()
	for len(act) > 0 {
		id := act[0]
		act = act[1:]
		now++
		f := g.Fact(id)
		f.Status = Going
		g.Set(id, f)
		settle()
		f.Status, f.End, f.Wanted, f.Stopped, f.Ended, f.Began = Off, false, false, true, now, 0
		g.Set(id, f)
		settle()
	}
	return orders
}

func TestThousandsGoUpAndDown(t *testing.T) {
	for name, shape := range shapes {
		g, ids := large(shape(10000))
		for turn := range 2 {
			upAndDown(g, ids)
			for _, id := range ids {
				if f := g.Fact(id); f.Status != Off || f.Ended == 0 {
					t.Fatalf("%s, turn %d: %s is %s", name, turn, g.Name(id), f.Status)
				}
			}
		}
	}
}

func BenchmarkUpAndDown(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		for name, shape := range shapes {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				g, ids := large(shape(n))
				b.ReportAllocs()
				for b.Loop() {
					upAndDown(g, ids)
				}
			})
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	for name, shape := range shapes {
		g, ids := large(shape(1000))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if len(g.Plan(Change{Start: ids})) != len(ids) {
					b.Fatal("not all start")
				}
			}
		})
	}
}

// BenchmarkDefineOne is one changed definition among ten thousand.
func BenchmarkDefineOne(b *testing.B) {
	edges := shapes["target"](10000)
	g, _ := large(edges)
	for b.Loop() {
		g.Define("s5000", requires("s7000"))
		g.Settle(func(ID, Order) {})
		g.Define("s5000", nil)
		g.Settle(func(ID, Order) {})
	}
}
