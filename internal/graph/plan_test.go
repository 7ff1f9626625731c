package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// build makes a graph of services that are off and enters their edges.
func build(t testing.TB, edges map[string][]Edge) *Graph {
	t.Helper()
	g := New()
	names := slices.Sorted(maps.Keys(edges))
	for _, name := range names {
		g.Define(name, edges[name])
	}
	for _, name := range names {
		id, _ := g.Lookup(name)
		g.Set(id, Fact{Status: Off})
	}
	return g
}

func requires(names ...string) []Edge {
	var out []Edge
	for _, n := range names {
		out = append(out, Edge{To: n, Kind: Requires, Until: UntilReady})
	}
	return out
}

func id(t testing.TB, g *Graph, name string) ID {
	t.Helper()
	id, ok := g.Lookup(name)
	if !ok {
		t.Fatalf("%s is not in the graph", name)
	}
	return id
}

// tell puts moves into one line: round, up or down, name.
func tell(g *Graph, moves []Move) string {
	var b strings.Builder
	for _, m := range moves {
		sign := "-"
		if m.Up {
			sign = "+"
		}
		fmt.Fprintf(&b, "%d%s%s ", m.Round, sign, g.Name(m.ID))
	}
	return strings.TrimSpace(b.String())
}

func TestPlanStartsNeedsFirst(t *testing.T) {
	g := build(t, map[string][]Edge{"web": requires("app"), "app": requires("db"), "db": nil, "other": nil})
	if got := tell(g, g.Plan(Change{Start: []ID{id(t, g, "web")}})); got != "0+db 1+app 2+web" {
		t.Errorf("plan: %s", got)
	}
}
