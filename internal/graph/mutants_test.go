package graph

import (
	"strings"
	"testing"
)

// spoiled makes rules whose edges say something else.
func spoiled(change func(e *edge, from, to *node, s says) says) rules {
	r := theRules
	r.edge = func(e *edge, from, to *node) says { return change(e, from, to, edgeRule(e, from, to)) }
	return r
}

// mute makes rules in which edges of a kind do not say something.
func mute(kind Kind, bits says) rules {
	return spoiled(func(e *edge, _, _ *node, s says) says {
		if e.kind == kind {
			s &^= bits
		}
		return s
	})
}

// as makes rules in which a service is seen otherwise.
func as(change func(n *node)) rules {
	r := theRules
	r.node = func(n *node) derived {
		c := *n
		change(&c)
		return nodeRule(&c)
	}
	return r
}

func spoiledSet(set func(members []says, s says) says) rules {
	r := theRules
	r.set = func(from *node, members []says) says { return set(members, setRule(from, members)) }
	return r
}

func spoiledVerdict(verdict func(n *node) OrderKind) rules {
	r := theRules
	r.verdict = verdict
	return r
}

// mutants are wrong rules. Each has a defect of a kind that somebody could have
// overlooked.
var mutants = map[string]rules{
	"requires is not waited for":            mute(Requires, unmet),
	"requires pulls nobody":                 mute(Requires, pulls),
	"a stop does not reach who requires":    mute(Requires, down),
	"levels of requires mean nothing":       mute(Requires, again),
	"who requires may end after":            mute(Requires, holds),
	"a need that cannot come is hoped for":  mute(Requires, cannot),
	"wants is not waited for":               mute(Wants, unmet),
	"wants pulls nobody":                    mute(Wants, pulls),
	"levels of wants mean nothing":          mute(Wants, again),
	"who wants may end after":               mute(Wants, holds),
	"after is not waited for":               mute(After, unmet),
	"who comes after may end after":         mute(After, holds),
	"a set is not waited for":               spoiledSet(func(_ []says, s says) says { return s &^ unmet }),
	"a stop does not reach who has a set":   spoiledSet(func(_ []says, s says) says { return s &^ down }),
	"a set that cannot come is hoped for":   spoiledSet(func(_ []says, s says) says { return s &^ cannot }),
	"a set wants all":                       spoiledSet(func(m []says, s says) says { return s.with(unmet, s&unmet != 0 || !each(m, reached)) }),
	"one of a set that stops ends its user": spoiledSet(func(m []says, s says) says { return s.with(down, s&down != 0 || some(m, leaves)) }),
	"a set pulls nobody": spoiled(func(e *edge, _, _ *node, s says) says {
		return s.with(underway, e.kind == AnyOf)
	}),
	"levels of a set mean nothing": mute(AnyOf, again),
	"conflicts are one-sided":      mute(Conflicts, excludes),
	"conflicts keep nobody away":   mute(Conflicts, excludes|excluded),
	"conflicts displace nobody":    mute(Conflicts, displaces|displaced),
	"conflicts displace one way":   mute(Conflicts, displaces),
	"any wish displaces": spoiled(func(e *edge, from, to *node, s says) says {
		return s.with(displaces, s&displaces != 0 || e.kind == Conflicts && from.onItsWay() && to.fact.Status.up())
	}),
	"exclude_all keeps nobody away": mute(ExcludeAll, excluded),
	"part_of does not follow":       mute(PartOf, down|again),
	"part_of does not follow a restart": spoiled(func(e *edge, from, to *node, s says) says {
		return s.with(again, s&again != 0 && e.kind != PartOf)
	}),
	"part_of comes back while the whole is stopped": mute(PartOf, unmet),
	"part_of follows a start": spoiled(func(e *edge, _, to *node, s says) says {
		return s.with(unmet, s&unmet != 0 || e.kind == PartOf && to.fact.Status == Off)
	}),
	"part_of follows a fault": spoiled(func(e *edge, from, to *node, s says) says {
		return s.with(again, s&again != 0 || e.kind == PartOf && from.lives() && to.fact.Ended > from.fact.Began)
	}),
	"optional_all is not waited for": mute(OptionalAll, unmet),
	"optional_all pulls": spoiled(func(e *edge, from, _ *node, s says) says {
		return s.with(pulls, s&pulls != 0 || e.kind == OptionalAll && from.desired)
	}),
	"after pulls": spoiled(func(e *edge, from, _ *node, s says) says {
		return s.with(pulls, s&pulls != 0 || e.kind == After && from.desired)
	}),
	"after waits for what does not come": spoiled(func(e *edge, _, to *node, s says) says {
		return s.with(unmet, s&unmet != 0 || e.kind == After && to.fact.Status == Off)
	}),
	"wants waits for what failed": spoiled(func(e *edge, _, to *node, s says) says {
		return s.with(unmet, s&unmet != 0 || e.kind == Wants && to.fact.Status == Failed)
	}),
	"level none ends": spoiled(func(e *edge, from, to *node, s says) says {
		return s.with(again, s&again != 0 || e.kind == Requires && from.lives() && from.fact.Began > 0 && to.fact.Ended > from.fact.Began)
	}),
	"level error ends at a restart": spoiled(func(e *edge, from, to *node, s says) says {
		return s.with(again, s&again != 0 || e.level == LevelError && from.lives() && to.ending == ComesBack)
	}),
	"level error looks past faults": spoiled(func(e *edge, _, _ *node, s says) says {
		return s.with(again, s&again != 0 && e.level != LevelError)
	}),
	"level reload looks past reloads": spoiled(func(e *edge, from, to *node, s says) says {
		return s.with(again, s&again != 0 && (e.level != LevelReload || to.fact.Reloaded <= from.fact.Began || to.fact.Ended > from.fact.Began))
	}),
	"who follows restarts is not ended first": spoiled(func(_ *edge, from, to *node, s says) says {
		return s.with(again, s&again != 0 && to.ending != ComesBack)
	}),
	"a need that is about to end will do": spoiled(func(e *edge, _, to *node, s says) says {
		return s.with(unmet, s&unmet != 0 && !(to.leaving() && e.met(to)))
	}),
	"who is held stopped is pulled":    as(func(n *node) { n.fact.Stopped = n.fact.Stopped && n.pulls == 0 }),
	"who is held stopped is hoped for": as(func(n *node) { n.fact.Stopped = false }),
	"who failed is hoped for": as(func(n *node) {
		if n.fact.Status == Failed {
			n.fact.Status = Coming
		}
	}),
	"who fails goes on holding": spoiled(func(e *edge, from, _ *node, s says) says {
		return s.with(holds, s&holds != 0 || e.kind.Orders() && from.fact.Status == Failed)
	}),
	"a stop spreads only one step": as(func(n *node) { n.down = 0 }),
	"ends wait for nobody": spoiledVerdict(func(n *node) OrderKind {
		c := *n
		c.holders = 0
		return verdictRule(&c)
	}),
	"ends by others wait for nobody": spoiledVerdict(func(n *node) OrderKind {
		c := *n
		if !n.fact.End && !n.fact.Restart {
			c.holders = 0
		}
		return verdictRule(&c)
	}),
	"what runs is never held": spoiledVerdict(func(n *node) OrderKind {
		if v := verdictRule(n); v != Hold || !n.fact.Status.up() {
			return v
		}
		return Allow
	}),
	"what is held stays held": spoiledVerdict(func(n *node) OrderKind {
		if v := verdictRule(n); v != Allow || n.said == Allow {
			return v
		}
		return n.said
	}),
	"a restart is not waited for by what needs it": spoiledVerdict(func(n *node) OrderKind {
		if n.fact.Restart && n.lives() {
			return End
		}
		return verdictRule(n)
	}),
}

func each(members []says, bit says) bool {
	for _, m := range members {
		if m&bit == 0 {
			return false
		}
	}
	return true
}

func some(members []says, bit says) bool {
	for _, m := range members {
		if m&bit != 0 {
			return true
		}
	}
	return false
}

// setGraphs are graphs in which two alternatives stand in one set.
var setGraphs = [][][]Edge{
	{{{To: "b", Kind: AnyOf, Until: UntilReady}, {To: "c", Kind: AnyOf, Until: UntilReady}}, nil, nil},
	{{{To: "b", Kind: AnyOf, Until: UntilReady}, {To: "c", Kind: AnyOf, Until: UntilReady}}, {{To: "c", Kind: After, Until: UntilReady}}, nil},
	{{{To: "b", Kind: AnyOf, Until: UntilReady}, {To: "c", Kind: AnyOf, Until: UntilReady, Set: 1}}, {{To: "c", Kind: Requires, Until: UntilReady}}, nil},
}

// The walk is worth something only if wrong rules do not pass it.
func TestEveryMutantIsFound(t *testing.T) {
	for name, r := range mutants {
		var found error
		try := func(edges [][]Edge) bool {
			found = storiesOf(edges, r)
			return found == nil
		}
		for _, edges := range setGraphs {
			if found == nil {
				try(edges)
			}
		}
		if found == nil {
			everyGraph(2, variants(), try)
		}
		if found == nil {
			t.Errorf("nobody finds that %s", name)
			continue
		}
		t.Logf("%s: %s", name, strings.SplitN(found.Error(), "\n", 3)[1])
	}
}
