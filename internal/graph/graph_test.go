package graph

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// orders settles and tells what was ordered, one word each.
func orders(g *Graph) string {
	var out []string
	g.Settle(func(id ID, o Order) { out = append(out, o.Kind.String()+":"+g.Name(id)) })
	return strings.Join(out, " ")
}

func reasons(g *Graph, id ID) string {
	var out []string
	for _, w := range g.Waits(id) {
		out = append(out, w.String())
	}
	return strings.Join(out, "; ")
}

func TestWaitsNameWhatIsMissing(t *testing.T) {
	g := build(t, map[string][]Edge{
		"web": append(requires("db", "nobody"), Edge{To: "/run/key", File: true, Kind: Requires},
			Edge{To: "old", Kind: Conflicts}, Edge{To: "a", Kind: AnyOf, Until: UntilReady}, Edge{To: "b", Kind: AnyOf, Until: UntilReady}),
		"db": nil, "old": nil, "a": nil, "b": nil,
	})
	web := id(t, g, "web")
	g.Set(id(t, g, "db"), Fact{Status: Off, Stopped: true})
	g.Set(id(t, g, "old"), Fact{Status: Ready, Wanted: true, Began: 1})
	g.Set(id(t, g, "a"), Fact{Status: Failed, Wanted: true})
	g.Set(id(t, g, "b"), Fact{Status: Started, Wanted: true, Began: 1})
	g.Set(web, Fact{Status: Coming, Wanted: true})
	orders(g)
	want := "requires db, which is stopped; requires nobody, which is not defined; requires /run/key, which does not exist; " +
		"conflicts old, which runs; any_of a, which failed; any_of b, which is not ready yet"
	if got := reasons(g, web); got != want {
		t.Errorf("web waits:\n%s\nwant\n%s", got, want)
	}
	if got := g.Blocks(id(t, g, "db")); !reflect.DeepEqual(got, []ID{web}) {
		t.Errorf("db keeps %v down", got)
	}
}

func TestAFileThatAppearsLetsItsServiceStart(t *testing.T) {
	g := build(t, map[string][]Edge{"web": {{To: "/run/key", File: true, Kind: Requires}}})
	web := id(t, g, "web")
	g.Set(web, Fact{Status: Coming, Wanted: true})
	if got := orders(g); got != "hold:web" {
		t.Fatalf("without the file: %s", got)
	}
	key, ok := g.LookupFile("/run/key")
	if !ok || !reflect.DeepEqual(g.Files(), []string{"/run/key"}) {
		t.Fatalf("files %v", g.Files())
	}
	g.Set(key, Fact{Status: Ready})
	if got := orders(g); got != "allow:web" {
		t.Fatalf("with the file: %s", got)
	}
	// Another definition that names it too keeps what is known of it.
	g.Define("web", append(requires("db"), Edge{To: "/run/key", File: true, Kind: Requires}))
	if got := reasons(g, web); orders(g) != "hold:web" || strings.Contains(got, "key") {
		t.Fatalf("after a change web waits: %s", got)
	}
}

func TestCyclesAreNamedWholeAndTheRestGoesOn(t *testing.T) {
	g := build(t, map[string][]Edge{
		"a": requires("b"), "b": {{To: "c", Kind: After, Until: UntilReady}}, "c": {{To: "a", Kind: Wants, Until: UntilReady}},
		"self": requires("self"), "free": {{To: "a", Kind: After, Until: UntilReady}},
		"p": {{To: "q", Kind: PartOf}}, "q": {{To: "p", Kind: PartOf}},
		"x": {{To: "y", Kind: Conflicts}}, "y": {{To: "x", Kind: Conflicts}, {To: "x", Kind: ExcludeAll}},
		"main": requires("part"), "part": {{To: "main", Kind: PartOf}},
	})
	if got, want := fmt.Sprint(g.Cycles()), "[[a b c a] [p q p] [self self]]"; got != want {
		t.Errorf("cycles %s, want %s", got, want)
	}
	for _, name := range []string{"a", "free", "main"} {
		g.Set(id(t, g, name), Fact{Status: Coming, Wanted: true})
	}
	orders(g)
	for name, want := range map[string]OrderKind{"a": Hold, "free": Allow, "main": Hold} {
		if got := g.nodes[id(t, g, name)].said; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := reasons(g, id(t, g, "a")); !strings.Contains(got, "lead back to itself: b") {
		t.Errorf("a waits: %s", got)
	}
	g.Define("c", nil)
	if len(g.Cycles()) != 2 {
		t.Errorf("cycles %v after one was taken apart", g.Cycles())
	}
}

func TestReversedEdgesBelongToWhoGivesThem(t *testing.T) {
	g := build(t, map[string][]Edge{
		"boot": nil,
		"web":  {{To: "boot", Kind: Wants, Until: UntilReady, Reverse: true}, {To: "late", Kind: Before, Until: UntilReady}},
		"late": nil,
	})
	boot, web := id(t, g, "boot"), id(t, g, "web")
	g.Set(boot, Fact{Status: Coming, Wanted: true})
	if got := orders(g); got != "hold:boot need:web" {
		t.Errorf("boot is wanted: %s", got)
	}
	if got := g.Edges(id(t, g, "late")); len(got) != 1 || got[0].To != "web" || got[0].Kind != After {
		t.Errorf("late has the edges %v", got)
	}
	g.Remove("web")
	if got := orders(g); got != "allow:boot" {
		t.Errorf("web is removed: %s", got)
	}
	if len(g.Edges(boot)) != 0 {
		t.Errorf("boot still has %v", g.Edges(boot))
	}
	if g.Define("other", nil) != web {
		t.Error("the place of what was removed is not used again")
	}
}

func TestStoppedNeedsAreThoseAStartByNameStartsToo(t *testing.T) {
	g := build(t, map[string][]Edge{"web": append(requires("app"), Edge{To: "cache", Kind: Wants, Until: UntilReady}), "app": append(requires("db"), Edge{To: "p", Kind: AnyOf}, Edge{To: "q", Kind: AnyOf}), "db": nil, "cache": nil, "p": nil, "q": nil})
	for _, name := range []string{"db", "cache", "p", "q"} {
		g.Set(id(t, g, name), Fact{Status: Off, Stopped: true})
	}
	var got []string
	for _, need := range g.StoppedNeeds(id(t, g, "web")) {
		got = append(got, g.Name(need))
	}
	if fmt.Sprint(got) != "[db p]" {
		t.Errorf("stopped needs %v", got)
	}
	got = nil
	for _, on := range g.Closure([]string{"web"}) {
		got = append(got, g.Name(on))
	}
	if fmt.Sprint(got) != "[db app cache web]" {
		t.Errorf("closure %v", got)
	}
}

func TestCriticalChainFollowsWhatWasReadyLast(t *testing.T) {
	g := build(t, map[string][]Edge{"web": requires("app", "cache"), "app": requires("db"), "cache": nil, "db": nil})
	times := map[string][2]int64{"web": {90, 100}, "app": {50, 90}, "cache": {10, 70}, "db": {10, 50}}
	chain := g.CriticalChain(id(t, g, "web"), func(id ID) (int64, int64) { t := times[g.Name(id)]; return t[0], t[1] })
	var got []string
	for _, l := range chain {
		got = append(got, fmt.Sprintf("%s@%d+%d", g.Name(l.ID), l.Ready, l.Ready-l.Began))
	}
	if fmt.Sprint(got) != "[web@100+10 app@90+40 db@50+40]" {
		t.Errorf("chain %v", got)
	}
}

func TestPlanEndsInTurnAndLeavesTheGraphAlone(t *testing.T) {
	edges := map[string][]Edge{
		"web": {{To: "app", Kind: Requires, Until: UntilReady, Level: LevelRestart}},
		"app": {{To: "db", Kind: Requires, Until: UntilReady, Level: LevelRestart}},
		"db":  nil, "job": {{To: "db", Kind: Requires, Until: UntilReady}}, "rival": {{To: "db", Kind: Conflicts}},
	}
	g := build(t, edges)
	for _, name := range []string{"web", "app", "db", "job"} {
		g.Set(id(t, g, name), Fact{Status: Ready, Wanted: true, Since: 1, Began: 1})
	}
	orders(g)
	for _, c := range []struct {
		change Change
		want   string
	}{
		{Change{Restart: []ID{id(t, g, "db")}}, "0-web 1-app 2-db 3+db 4+app 5+web"},
		{Change{Stop: []ID{id(t, g, "db")}}, "0-job 0-web 1-app 2-db"},
		{Change{Start: []ID{id(t, g, "rival")}}, "0-job 0-web 1-app 2-db 3+rival"},
	} {
		if got := tell(g, g.Plan(c.change)); got != c.want {
			t.Errorf("plan of %+v: %s, want %s", c.change, got, c.want)
		}
	}
	if got := orders(g); got != "" {
		t.Errorf("planning left %s to say", got)
	}
}
