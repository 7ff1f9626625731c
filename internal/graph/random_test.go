package graph

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// randomEdges makes edges between n services, none of which lead in a circle: what
// orders points to a smaller place in a random order, part_of to a greater one half
// of the time.
func randomEdges(rnd *rand.Rand, n int) (names []string, edges [][]Edge) {
	place := rnd.Perm(n)
	for i := range n {
		names = append(names, fmt.Sprintf("s%02d", i))
	}
	edges = make([][]Edge, n)
	for i := range n {
		for range rnd.IntN(4) {
			to := rnd.IntN(n)
			if to == i {
				continue
			}
			e := Edge{To: names[to], Kind: []Kind{Requires, Requires, Wants, Wants, After, AnyOf, AnyOf, OptionalAll, PartOf, Conflicts, ExcludeAll}[rnd.IntN(11)],
				Until: []Until{UntilReady, UntilReady, UntilStarted}[rnd.IntN(3)], Level: Level(rnd.IntN(4))}
			if place[to] > place[i] && e.Kind.Orders() || e.Kind == PartOf && place[to] < place[i] {
				continue
			}
			// Who needs another and keeps it away can never be content.
			if (e.Kind == Conflicts || e.Kind == ExcludeAll) && rnd.IntN(3) > 0 {
				continue
			}
			if e.Kind == AnyOf {
				e.Set = rnd.IntN(2)
			}
			edges[i] = append(edges[i], e)
		}
	}
	return names, edges
}

// life makes random things happen in a world, each chosen from what is possible.
func life(rnd *rand.Rand, w *world, steps int) {
	for range steps {
		var at []int
		var what []string
		for i := range w.s {
			for _, p := range w.possible(i, w.faults > 0) {
				at, what = append(at, i), append(what, p)
			}
		}
		if len(at) == 0 || w.operator > 0 && rnd.IntN(4) == 0 {
			if w.operator == 0 {
				break
			}
			w.operator--
			at, what = []int{rnd.IntN(len(w.s))}, []string{[]string{"start", "stop", "restart", "want", "reload"}[rnd.IntN(5)]}
		}
		n := rnd.IntN(len(at))
		if what[n] == "crash" || what[n] == "fail" {
			w.faults--
		}
		w.happen(at[n], what[n])
		if w.err != nil {
			return
		}
	}
	w.rest()
}

func TestRandomWorldsKeepTheRules(t *testing.T) {
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		n := 2 + rnd.IntN(10)
		names, edges := randomEdges(rnd, n)
		tasks := make([]bool, n)
		for i := range tasks {
			tasks[i] = rnd.IntN(5) == 0
		}
		w := newWorld(names, edges, tasks, rnd.Perm(n), theRules)
		w.settle()
		for i := range w.s {
			if rnd.IntN(2) == 0 {
				w.happen(i, "want")
			}
		}
		w.operator, w.faults = 6, 4
		life(rnd, w, 200)
		w.rebuilt()
		w.shutdown()
		if w.err != nil {
			t.Fatalf("seed %d: %s%v", seed, tellEdges(names, edges), w.err)
		}
	}
}

func tellEdges(names []string, edges [][]Edge) string {
	s := "\n"
	for i, list := range edges {
		for _, e := range list {
			s += fmt.Sprintf("%s %s %s (set %d, %s, %s)\n", names[i], e.Kind, e.To, e.Set, e.Until, e.Level)
		}
	}
	return s
}

func TestOrderOfInputIsIrrelevant(t *testing.T) {
	for seed := range uint64(200) {
		var last []svc
		for turn := range uint64(3) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			n := 2 + rnd.IntN(8)
			names, edges := randomEdges(rnd, n)
			order := rand.New(rand.NewPCG(seed, turn)).Perm(n)
			w := newWorld(names, edges, make([]bool, n), order, theRules)
			w.settle()
			for i := range w.s {
				if rnd.IntN(2) == 0 {
					w.happen(i, "want")
				}
			}
			w.operator, w.faults = 4, 3
			life(rnd, w, 100)
			if turn > 0 && !reflect.DeepEqual(last, w.s) {
				t.Fatalf("seed %d: %sentered in the order %v it comes to\n%+v\nand before to\n%+v", seed, tellEdges(names, edges), order, w.s, last)
			}
			last = w.s
		}
	}
}

// Where nothing fails, all end in the reverse of the order in which they started.
// Of a set of any_of one is enough to start, so sets are left out.
func TestStopOrderIsReverseStartOrder(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		n := 2 + rnd.IntN(10)
		names, edges := randomEdges(rnd, n)
		for i := range edges {
			edges[i] = slices.DeleteFunc(edges[i], func(e Edge) bool { return !e.Kind.Orders() || e.Kind == AnyOf })
		}
		g := New()
		var all []ID
		for i := range names {
			all = append(all, g.Define(names[i], edges[i]))
		}
		for _, id := range all {
			g.Set(id, Fact{Status: Off})
		}
		at := map[ID]int{}
		for _, m := range g.Plan(Change{Start: all}) {
			at[m.ID] = m.Round
		}
		if len(at) != n {
			t.Fatalf("seed %d: %s%d of %d start", seed, tellEdges(names, edges), len(at), n)
		}
		for _, id := range all {
			g.Set(id, Fact{Status: Ready, Wanted: true, Began: 1, Since: 1})
		}
		end := map[ID]int{}
		for _, m := range g.Plan(Change{Stop: all}) {
			end[m.ID] = m.Round
		}
		for i, list := range edges {
			for _, e := range list {
				a, b := id(t, g, names[i]), id(t, g, e.To)
				if at[a] <= at[b] || end[a] >= end[b] {
					t.Fatalf("seed %d: %s%s starts in round %d and ends in %d, %s in %d and %d", seed, tellEdges(names, edges), names[i], at[a], end[a], e.To, at[b], end[b])
				}
			}
		}
		layers := g.StartOrder()
		in := map[ID]int{}
		for l, ids := range layers {
			for _, id := range ids {
				in[id] = l
			}
		}
		if !reflect.DeepEqual(in, at) {
			t.Fatalf("seed %d: the layers are %v, the rounds %v", seed, in, at)
		}
	}
}
