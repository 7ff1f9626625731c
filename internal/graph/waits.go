package graph

import "slices"

// Reason is why one service waits for another.
type Reason uint8

// The reasons.
const (
	NotThere Reason = iota // the other is not where it has to be
	KeptAway               // the two must not run together
	EndsLast               // the other was started after it, and has to be down first
	OnCycle                // its needs lead back to itself
)

// Wait is one thing that a service waits for.
type Wait struct {
	Reason Reason
	Kind   Kind
	ID     ID
	To     string
	File   bool
	Set    int // AnyOf: one of the waits with the same number is enough
	Until  Until
	Status Status // of To
	Held   bool   // To is held stopped, or disabled
	Leaves bool   // To is there but about to end
}

// String says it as the end of "it waits: ".
func (w Wait) String() string {
	switch w.Reason {
	case KeptAway:
		return w.Kind.String() + " " + w.To + ", which " + w.state()
	case EndsLast:
		return w.To + " has to end first"
	case OnCycle:
		return "its needs lead back to itself: " + w.To
	}
	return w.Kind.String() + " " + w.To + ", which " + w.state()
}

func (w Wait) state() string {
	switch {
	case w.File && w.Status == Ready:
		return "exists"
	case w.File:
		return "does not exist"
	case w.Leaves:
		return "is about to end"
	}
	switch w.Status {
	case Absent:
		return "is not defined"
	case Off:
		if w.Held {
			return "is stopped"
		}
		return "is not up"
	case Coming:
		return "has not started yet"
	case Starting:
		return "is being started"
	case Started:
		if w.Reason == NotThere {
			return "is not ready yet"
		}
	case Done:
		return "has finished"
	case Failed:
		return "failed"
	case Going:
		return "is ending"
	}
	if w.Reason == NotThere {
		return "has not finished yet"
	}
	return "runs"
}

// Waits returns why a service may not start, or if it is to end, why that has to
// wait: nothing if neither is held up. It is of use after Settle.
func (g *Graph) Waits(id ID) []Wait {
	n := &g.nodes[id]
	var out []Wait
	if n.broken {
		for _, on := range g.around(id)[1:] {
			if on != id {
				out = append(out, g.wait(OnCycle, Requires, on))
			}
		}
		if len(out) == 0 {
			out = append(out, g.wait(OnCycle, Requires, id))
		}
		return out
	}
	if n.ending != Stays {
		for _, at := range n.in {
			if e := &g.edges[at]; e.says&holds != 0 {
				out = append(out, g.wait(EndsLast, e.kind, e.from))
			}
		}
		return out
	}
	if n.lives() {
		return nil
	}
	for _, at := range n.out {
		e := &g.edges[at]
		s := e.says
		if e.kind == AnyOf {
			s = s&unmet | n.sets[e.set].says&unmet
		}
		switch {
		case s&unmet != 0:
			w := g.wait(NotThere, e.kind, e.to)
			w.Until, w.Set = e.until, int(e.set)
			out = append(out, w)
		case s&excluded != 0:
			out = append(out, g.wait(KeptAway, e.kind, e.to))
		}
	}
	for _, at := range n.in {
		if e := &g.edges[at]; e.says&excludes != 0 {
			out = append(out, g.wait(KeptAway, e.kind, e.from))
		}
	}
	return out
}

func (g *Graph) wait(why Reason, kind Kind, on ID) Wait {
	n := &g.nodes[on]
	return Wait{Reason: why, Kind: kind, ID: on, To: n.name, File: n.file, Set: -1, Until: UntilReady, Status: n.status(), Held: n.fact.Stopped, Leaves: n.leaving() && n.fact.Status != Going}
}

func (n *node) status() Status {
	if !n.defined {
		return Absent
	}
	return n.fact.Status
}

// Blocks returns who is wanted and not up because id is not where they need it,
// directly or through others, in the order of their names.
func (g *Graph) Blocks(id ID) []ID {
	var out []ID
	seen := map[ID]bool{id: true}
	for list := []ID{id}; len(list) > 0; list = list[1:] {
		stuck := func(on ID, s, bit says) {
			if n := &g.nodes[on]; s&bit != 0 && !seen[on] && n.desired && !n.lives() && n.fact.Status != Done {
				seen[on] = true
				out = append(out, on)
				list = append(list, on)
			}
		}
		n := &g.nodes[list[0]]
		for _, at := range n.in {
			e := &g.edges[at]
			s := e.says
			if e.kind == AnyOf {
				s = s&unmet | g.nodes[e.from].sets[e.set].says&unmet
			}
			stuck(e.from, s, unmet|excluded)
		}
		for _, at := range n.out {
			stuck(g.edges[at].to, g.edges[at].says, excludes)
		}
	}
	slices.SortFunc(out, g.byNames)
	return out
}
