package graph

// says is what one edge, or one set of any_of, tells its two ends.
type says uint16

const (
	pulls     says = 1 << iota // to: you are needed
	cannot                     // from: what you need cannot come
	unmet                      // from: wait
	excluded                   // from: wait, to keeps you away
	excludes                   // to: wait, from keeps you away
	again                      // from: end, and come back
	down                       // from: end, what you need is brought down
	holds                      // to: wait with your end for mine
	displaces                  // to: give way
	displaced                  // from: give way
	reached                    // member of a set: there
	possible                   // member of a set: could come
	underway                   // member of a set: there or coming without our doing
	leaves                     // member of a set: is brought down
)

// rules are the three functions that decide everything, so that tests can put
// wrong ones in their place.
type rules struct {
	edge    func(e *edge, from, to *node) says
	set     func(from *node, members []says) says
	node    func(n *node) derived
	verdict func(n *node) OrderKind
}

var theRules = rules{edge: edgeRule, set: setRule, node: nodeRule, verdict: verdictRule}

// edgeRule is what an edge says, given its two ends.
func edgeRule(e *edge, from, to *node) says {
	if from.broken && to.broken && e.kind.Orders() && from.group == to.group {
		return 0
	}
	var s says
	met := e.met(to)
	switch e.kind {
	case Requires:
		s = s.with(pulls, from.desired).with(cannot, !to.can && (!met || to.leaving())).with(unmet, !met || to.leaving())
		s = s.with(down, from.lives() && to.ending == GoesDown)
	case AnyOf:
		s = s.with(reached, met && !to.leaving()).with(possible, to.can).with(underway, to.underway())
		s = s.with(leaves, from.lives() && to.ending == GoesDown)
		// One that starts thanks to another member would only be ended again.
		s = s.with(unmet, e.level >= LevelRestart && (to.leaving() || to.fact.Status == Going))
	case Wants, OptionalAll:
		s = s.with(pulls, e.kind == Wants && from.desired).with(unmet, e.unsettled(to, met))
		s = s.with(again, from.lives() && to.ending == GoesDown && to.lives() && e.level >= LevelRestart)
	case After:
		s = s.with(unmet, e.unsettled(to, met))
	case PartOf:
		s = s.with(unmet, from.stoppedAlong(to) || to.leaving() || to.fact.Status == Going)
		s = s.with(down, from.lives() && (to.fact.End || !e.loose && to.ending == GoesDown))
		s = s.with(again, from.lives() && (to.fact.Restart || !e.loose && to.ending == ComesBack || from.outlived(to)))
	case Conflicts:
		s = s.with(excluded, to.keepsAway(from)).with(excludes, from.keepsAway(to))
		s = s.with(displaces, from.displaces(to)).with(displaced, to.displaces(from))
	case ExcludeAll:
		s = s.with(excluded, to.lives() || to.file && met || to.onItsWay() && (to.avoids == 0 || to.precedes(from)))
	}
	if e.kind.Orders() {
		s = s.with(holds, from.lives() && (from.ending != Stays || from.fact.Status == Going))
	}
	if e.kind.Orders() && e.kind != After {
		s = s.with(again, s&again != 0 || from.lives() && (to.ending == ComesBack && e.level >= LevelRestart || e.violated(from, to)))
	}
	return s
}

func (s says) with(bit says, on bool) says {
	if on {
		return s | bit
	}
	return s &^ bit
}

// setRule is what a set of any_of says to its owner, given its members.
func setRule(_ *node, members []says) says {
	var all says
	for _, m := range members {
		all |= m
	}
	var s says
	s = s.with(unmet, all&reached == 0).with(cannot, all&(reached|possible) == 0)
	return s.with(down, all&leaves != 0 && all&reached == 0)
}

// choice is the member of a set that is pulled: none if one is there or under way
// without that, else the first that could come.
func choice(from *node, members []says) int {
	first := -1
	for i, m := range members {
		if m&underway != 0 || !from.desired {
			return -1
		}
		if first < 0 && m&possible != 0 {
			first = i
		}
	}
	return first
}

// nodeRule is what follows from facts and counts.
func nodeRule(n *node) derived {
	f := &n.fact
	var d derived
	if n.file {
		d.can = f.Status == Ready
		return d
	}
	d.can = n.defined && !n.broken && !f.Stopped && !f.End && f.Status != Absent && f.Status != Failed && n.cannot == 0
	d.desired = n.defined && !f.Stopped && !f.End && (f.Wanted || n.pulls > 0)
	d.hope = d.desired && d.can
	switch lives := n.lives(); {
	case f.End || lives && n.down > 0:
		d.ending = GoesDown
	case lives && (f.Restart || n.again > 0):
		d.ending = ComesBack
	}
	d.able = n.unmet == 0 && d.ending == Stays && !n.broken
	return d
}

// verdictRule is what is ordered of a node.
func verdictRule(n *node) OrderKind {
	switch {
	case n.fact.End || n.fact.Restart && n.lives():
		if n.holders == 0 {
			return End
		}
		return Hold
	case n.ending != Stays && n.lives() && n.holders == 0:
		return HoldAndEnd
	case !n.able || n.excluded > 0 || n.parts > 0 && n.fact.Status == Going:
		return Hold
	}
	return Allow
}

func (n *node) lives() bool { return !n.file && n.fact.Status.Lives() }

// leaving reports whether n is up but will not be for long.
func (n *node) leaving() bool { return n.lives() && n.ending != Stays }

// underway reports whether n is there, or comes though nobody pulls it.
func (n *node) underway() bool {
	f := &n.fact
	return f.Status == Done || f.Status.up() && n.ending != GoesDown || f.Wanted && n.can
}

// onItsWay reports whether n is down and going to come up by itself.
func (n *node) onItsWay() bool { return n.hope && !n.lives() && n.fact.Status != Done }

// met reports whether to is where the edge wants it.
func (e *edge) met(to *node) bool {
	if to.file {
		return to.fact.Status == Ready
	}
	return to.defined && to.fact.Status.Reaches(e.until)
}

// unsettled reports whether something soft has to be waited for: it is on its way.
// One whose last try ended in a fault has had its chance, for SMF's groups not.
func (e *edge) unsettled(to *node, met bool) bool {
	switch {
	case to.file:
		return e.kind == OptionalAll && !met
	case met:
		return to.leaving()
	case to.lives():
		return true
	case to.fact.Status == Done:
		return false
	}
	return to.hope && (e.kind == OptionalAll || !to.fact.Erred)
}

// violated reports whether something happened to the other since the run began
// that the edge's level does not let pass. A task that finished has lost nothing;
// it has if it began again.
func (e *edge) violated(from, to *node) bool {
	began, f := from.fact.Began, &to.fact
	if to.file || began == 0 || e.level == LevelNone {
		return false
	}
	ended := f.Ended > began
	if f.Status == Done {
		ended = f.Began > began
	}
	switch {
	case ended && (e.level >= LevelRestart || f.Erred):
		return true
	case e.level >= LevelReload && f.Reloaded > began:
		return true
	}
	// SMF since 2016: an optional service that comes up late restarts those that
	// follow its restarts.
	return e.kind == OptionalAll && e.level >= LevelRestart && f.Status.up() && f.Began > began
}

// outlived reports whether to came to an orderly end while n ran.
func (n *node) outlived(to *node) bool {
	f := &to.fact
	return n.fact.Began > 0 && f.Ended > n.fact.Began && !f.Erred && f.Status != Done
}

// stoppedAlong reports whether n was wanted when to, which it is part of, was
// brought down for good.
func (n *node) stoppedAlong(to *node) bool {
	f := &to.fact
	return !to.desired && !f.Status.up() && f.Status != Done && f.Ended > 0 && !f.Erred && n.fact.Since <= f.Ended
}

// keepsAway reports whether n, which conflicts with o, makes it wait.
func (n *node) keepsAway(o *node) bool { return n.lives() || n.onItsWay() && n.precedes(o) }

// displaces reports whether n was asked for by name and o has to go for it. That
// waits until n has all it needs, and nothing that was asked for later has to go.
func (n *node) displaces(o *node) bool {
	if !n.fact.Explicit || !n.fact.Wanted || !n.onItsWay() || !n.able {
		return false
	}
	return o.fact.Status.up() || o.fact.Explicit && o.onItsWay() && n.precedes(o)
}

// precedes is the order in which those that keep each other away are let up: the
// one an operator asked for before others, of two such the later one; else the one
// that was wanted first.
func (n *node) precedes(o *node) bool {
	a, b := &n.fact, &o.fact
	switch {
	case a.Explicit != b.Explicit:
		return a.Explicit
	case a.Since != b.Since:
		return (a.Since < b.Since) != a.Explicit
	}
	return n.name < o.name
}
