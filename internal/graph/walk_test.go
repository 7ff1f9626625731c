package graph

import (
	"flag"
	"fmt"
	"testing"
)

// variants are the edges that two services may have between them.
func variants() []Edge {
	return []Edge{
		{Kind: Requires, Until: UntilReady},
		{Kind: Requires, Until: UntilReady, Level: LevelError},
		{Kind: Requires, Until: UntilStarted, Level: LevelRestart},
		{Kind: Requires, Until: UntilReady, Level: LevelReload},
		{Kind: Wants, Until: UntilReady},
		{Kind: Wants, Until: UntilReady, Level: LevelRestart},
		{Kind: After, Until: UntilReady},
		{Kind: AnyOf, Until: UntilReady},
		{Kind: AnyOf, Until: UntilReady, Level: LevelRestart},
		{Kind: OptionalAll, Until: UntilReady},
		{Kind: OptionalAll, Until: UntilReady, Level: LevelRestart},
		{Kind: PartOf, Until: UntilReady},
		{Kind: Conflicts},
		{Kind: ExcludeAll},
	}
}

// basic are those of variants that stand for their kind.
func basic() []Edge {
	var out []Edge
	for _, e := range variants() {
		if e.Level == LevelNone || e.Level == LevelRestart && e.Kind == OptionalAll {
			out = append(out, e)
		}
	}
	return out
}

var three = []string{"a", "b", "c"}

var pairs = [][2]int{{0, 1}, {0, 2}, {1, 0}, {1, 2}, {2, 0}, {2, 1}}

// everyGraph calls fn with each graph of three services that has at most one edge
// from one to another, at most most of them, and no cycle. Of
// graphs that differ only in names it calls with one.
func everyGraph(most int, list []Edge, fn func(edges [][]Edge) bool) (graphs int) {
	choice := make([]int, len(pairs))
	var rec func(at, used int) bool
	rec = func(at, used int) bool {
		if at == len(pairs) {
			if !first(choice) {
				return true
			}
			edges := make([][]Edge, 3)
			for p, c := range choice {
				if c > 0 {
					e := list[c-1]
					e.To = three[pairs[p][1]]
					edges[pairs[p][0]] = append(edges[pairs[p][0]], e)
				}
			}
			if cyclic(edges) {
				return true
			}
			graphs++
			return fn(edges)
		}
		for c := 0; c <= len(list); c++ {
			if c > 0 && used == most {
				break
			}
			choice[at] = c
			more := used
			if c > 0 {
				more++
			}
			if !rec(at+1, more) {
				return false
			}
		}
		choice[at] = 0
		return true
	}
	rec(0, 0)
	return graphs
}

var turns = [][3]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// first reports whether no renaming of the three makes choice smaller.
func first(choice []int) bool {
	for _, t := range turns {
		for p, c := range choice {
			at := 0
			for q, pair := range pairs {
				if pair == [2]int{t[pairs[p][0]], t[pairs[p][1]]} {
					at = q
				}
			}
			if choice[at] != c {
				if choice[at] < c {
					return false
				}
				break
			}
		}
	}
	return true
}

func cyclic(edges [][]Edge) bool {
	return circles(edges, Kind.Orders) || circles(edges, func(k Kind) bool { return k == PartOf })
}

func circles(edges [][]Edge, follow func(Kind) bool) bool {
	var on, done [3]bool
	var visit func(i int) bool
	visit = func(i int) bool {
		if on[i] || done[i] {
			return on[i]
		}
		on[i] = true
		for _, e := range edges[i] {
			if follow(e.Kind) && visit(int(e.To[0]-'a')) {
				return true
			}
		}
		on[i], done[i] = false, true
		return false
	}
	return visit(0) || visit(1) || visit(2)
}

func show(edges [][]Edge) string {
	s := ""
	for i, list := range edges {
		for _, e := range list {
			s += fmt.Sprintf("%s %s %s (%s, %s)\n", three[i], e.Kind, e.To, e.Until, e.Level)
		}
	}
	return s
}

// stories are played in every graph: who is wanted at boot, and what happens then.
func stories() [][]string {
	var out [][]string
	for _, boot := range []string{"a b c", "a", "b", "c"} {
		out = append(out, []string{boot})
	}
	for i, n := range three {
		next := three[(i+1)%3]
		for _, what := range []string{"stop", "restart", "crash", "fail", "reload"} {
			out = append(out, []string{"a b c", n + " " + what, n + " start"})
		}
		out = append(out,
			[]string{"", n + " start", next + " start", n + " stop", n + " start"},
			[]string{n, next + " start", n + " restart"},
			[]string{"a b c", n + " crash", next + " stop", next + " start"},
			[]string{"a b c", n + " fail", next + " stop"},
			[]string{"a b c", next + " fail", n + " stop"})
	}
	return out
}

var allStories = stories()

// tell plays a story; hurry has each next thing happen before the world is at rest.
func (w *world) tell(story []string, hurry bool) error {
	for _, c := range story[0] {
		if c != ' ' {
			w.happen(int(c-'a'), "want")
		}
	}
	for _, line := range story[1:] {
		if hurry {
			for i := range w.s {
				if what := w.possible(i, false); len(what) > 0 {
					w.happen(i, what[0])
					break
				}
			}
		} else {
			w.rest()
		}
		i, what := int(line[0]-'a'), line[2:]
		if st := w.s[i].f.Status; (what == "crash" || what == "fail") && st != Ready && st != Started {
			continue
		}
		w.happen(i, what)
	}
	w.rest()
	if hurry {
		w.rebuilt()
	}
	w.shutdown()
	return w.err
}

// rebuilt asks a graph that knows nothing but the facts: it must have nothing to
// say that the old one has not.
func (w *world) rebuilt() {
	g := New()
	g.rules = w.g.rules
	for i := len(w.names) - 1; i >= 0; i-- {
		g.Define(w.names[i], w.edges[i])
	}
	for i := len(w.names) - 1; i >= 0; i-- {
		id, _ := g.Lookup(w.names[i])
		f := w.s[i].f
		f.Held = w.s[i].held
		g.Set(id, f)
	}
	g.Settle(func(id ID, o Order) {
		if o.Kind != HoldAndEnd || w.s[w.index(g.Name(id))].f.Status != Going {
			w.fail("a new graph says %s to %s", o.Kind, g.Name(id))
		}
	})
}

// storiesOf plays every story in a graph.
func storiesOf(edges [][]Edge, r rules) error {
	begin := newWorld(three, edges, []bool{false, false, false}, []int{0, 1, 2}, r)
	begin.settle()
	for _, story := range allStories {
		for _, hurry := range []bool{false, true} {
			for _, quiet := range []bool{true, false} {
				w := begin.copy()
				w.quiet = quiet
				err := w.tell(story, hurry)
				if err == nil {
					break
				}
				if !quiet {
					return fmt.Errorf("%v, hurry %v:\n%w", story, hurry, err)
				}
			}
		}
	}
	return nil
}

var everyEdge = flag.Bool("all", false, "walk graphs of three services with edges between all of them, not only with three edges")

func TestEveryGraphOfThree(t *testing.T) {
	most := 3
	if *everyEdge {
		most = len(pairs)
	}
	for _, all := range []struct {
		most int
		list []Edge
	}{{2, variants()}, {most, basic()}} {
		graphs := everyGraph(all.most, all.list, func(edges [][]Edge) bool {
			if err := storiesOf(edges, theRules); err != nil {
				t.Errorf("%s%v", show(edges), err)
			}
			return !t.Failed()
		})
		t.Logf("%d graphs of up to %d edges of %d kinds", graphs, all.most, len(all.list))
	}
}
