package graph

import "slices"

// reached: the other end of a need is where it has to be.
func (w *world) reached(e Edge) bool {
	to := w.index(e.To)
	if to < 0 {
		return false
	}
	st := w.s[to].f.Status
	switch e.Until {
	case UntilStarted:
		return st == Started || st == Ready || st == Done
	case UntilReady:
		return st == Ready || st == Done
	}
	return st == Done
}

// about: a service that is up will not be for long.
func (w *world) about(i int) bool {
	return w.s[i].f.Status.up() && (w.s[i].f.End || w.s[i].f.Restart || w.mustEnd(i, map[int]bool{}))
}

// could: a service that is down could come up, were it wanted.
func (w *world) could(i int) bool {
	f := w.s[i].f
	if f.Stopped || f.End || f.Status == Failed {
		return false
	}
	for _, e := range w.edges[i] {
		if e.Kind == Requires && !w.stays(e) && (w.index(e.To) < 0 || !w.could(w.index(e.To))) {
			return false
		}
	}
	for _, set := range w.sets(i) {
		ok := len(set) == 0
		for _, e := range set {
			ok = ok || w.stays(e) || w.index(e.To) >= 0 && w.could(w.index(e.To))
		}
		if !ok {
			return false
		}
	}
	return true
}

// stays: the other end of a need is there and not about to end.
func (w *world) stays(e Edge) bool { return w.reached(e) && !w.about(w.index(e.To)) }

// sets are the sets of any_of by their numbers; a number that is left out is empty.
func (w *world) sets(i int) [][]Edge {
	var out [][]Edge
	for _, e := range w.edges[i] {
		if e.Kind == AnyOf {
			for len(out) <= e.Set {
				out = append(out, nil)
			}
			out[e.Set] = append(out[e.Set], e)
		}
	}
	return out
}

// coming: it is down and will come up with nobody's help.
func (w *world) coming(i int) bool {
	f := w.s[i].f
	return (f.Status == Coming || f.Status == Off) && f.Wanted && w.could(i)
}

// lacks says what keeps a service from starting, "" if nothing does.
func (w *world) lacks(i int, atRest bool) string {
	for _, e := range w.edges[i] {
		to := w.index(e.To)
		switch e.Kind {
		case Requires:
			if !w.reached(e) {
				return "requires " + e.To
			}
			if w.about(to) {
				return "requires " + e.To + ", which is to end"
			}
		case Wants, After, OptionalAll:
			if to < 0 {
				continue
			}
			st := w.s[to].f.Status
			switch {
			case w.reached(e):
				if w.about(to) {
					return e.Kind.String() + " " + e.To + ", which is to end"
				}
			case st.Lives(), w.coming(to) && (e.Kind == OptionalAll || !w.s[to].f.Erred):
				return e.Kind.String() + " " + e.To + ", which is on its way"
			}
		case PartOf:
			if to >= 0 {
				t := w.s[to].f
				if (!t.Wanted && (atRest || t.Stopped || !w.pulled(to)) || t.End) && !t.Status.up() && t.Status != Done && t.Ended > 0 && !t.Erred && t.Ended >= w.s[i].f.Since {
					return "part_of " + e.To + ", which was stopped"
				}
			}
		case ExcludeAll:
			if to >= 0 && w.s[to].f.Status.Lives() {
				return "exclude_all " + e.To
			}
			if to >= 0 && atRest && w.coming(to) {
				return "exclude_all " + e.To + ", which comes"
			}
		}
	}
	for _, set := range w.sets(i) {
		ok := len(set) == 0
		for _, e := range set {
			ok = ok || w.reached(e) && !w.about(w.index(e.To))
		}
		if !ok {
			return "any_of"
		}
	}
	for j := range w.s {
		if w.rivals(i, j) {
			if w.s[j].f.Status.Lives() {
				return "conflicts " + w.names[j]
			}
			if atRest && w.coming(j) {
				return "conflicts " + w.names[j] + ", which comes"
			}
		}
	}
	return ""
}

func (w *world) rivals(i, j int) bool {
	for _, pair := range [][2]int{{i, j}, {j, i}} {
		for _, e := range w.edges[pair[0]] {
			if e.Kind == Conflicts && e.To == w.names[pair[1]] && i != j {
				return true
			}
		}
	}
	return false
}

func (w *world) hasRival(i int) bool {
	for j := range w.s {
		if w.rivals(i, j) && w.s[j].f.Explicit && w.s[j].f.Wanted && !w.s[j].f.Status.Lives() {
			return true
		}
	}
	return false
}

func (w *world) judgeStart(i int) {
	if w.s[i].f.Stopped {
		w.fail("%s starts, which is held stopped", w.names[i])
	}
	if why := w.lacks(i, false); why != "" {
		w.fail("%s starts against %s", w.names[i], why)
	}
}

// pulled: somebody who is wanted needs it.
func (w *world) pulled(i int) bool {
	for j := range w.s {
		f := w.s[j].f
		if f.Stopped || f.End {
			continue
		}
		for _, e := range w.edges[j] {
			if e.To == w.names[i] && (e.Kind == Requires || e.Kind == Wants || e.Kind == AnyOf) && (f.Wanted || w.pulled(j)) {
				return true
			}
		}
	}
	return false
}

// happened: what the level of an edge does not let pass.
func (w *world) happened(i int, e Edge) bool {
	to := w.index(e.To)
	if to < 0 || e.Level == LevelNone || e.Kind == After || e.Kind == PartOf || e.Kind == Conflicts || e.Kind == ExcludeAll {
		return false
	}
	t, began := w.s[to].f, w.s[i].f.Began
	ended := t.Ended > began && t.Status != Done || t.Status == Done && t.Began > began
	return ended && (e.Level != LevelError || t.Erred) ||
		e.Level == LevelReload && t.Reloaded > began ||
		e.Kind == OptionalAll && e.Level != LevelError && t.Status.up() && t.Began > began
}

// mustEnd: something says that the run of a service is over.
func (w *world) mustEnd(i int, seen map[int]bool) bool {
	s := w.s[i]
	if !s.f.Status.Lives() || seen[i] {
		return false
	}
	seen[i] = true
	defer delete(seen, i)
	for _, e := range w.edges[i] {
		to := w.index(e.To)
		if to < 0 {
			continue
		}
		t := w.s[to].f
		if w.happened(i, e) {
			return true
		}
		switch e.Kind {
		case Requires:
			if w.goesDown(to, seen) || w.comesBack(to, seen) && e.Level >= LevelRestart {
				return true
			}
		case AnyOf:
			if w.comesBack(to, seen) && e.Level >= LevelRestart {
				return true
			}
			if w.goesDown(to, seen) && !w.another(i, e.Set) {
				return true
			}
		case Wants, OptionalAll:
			if e.Level >= LevelRestart && t.Status.Lives() && (w.goesDown(to, seen) || w.comesBack(to, seen)) {
				return true
			}
		case PartOf:
			if t.Ended > s.f.Began && !t.Erred && t.Status != Done || t.End || t.Restart && t.Status.Lives() {
				return true
			}
			if !w.leads(to, i, nil) && (w.goesDown(to, seen) || w.comesBack(to, seen)) {
				return true
			}
		}
	}
	return false
}

// goesDown: it is brought down for good, or something it cannot be without is.
func (w *world) goesDown(i int, seen map[int]bool) bool {
	s := w.s[i].f
	if s.End {
		return true
	}
	if !s.Status.Lives() || seen[i] {
		return false
	}
	seen[i] = true
	defer delete(seen, i)
	for _, e := range w.edges[i] {
		to := w.index(e.To)
		if to < 0 {
			continue
		}
		switch e.Kind {
		case Requires:
			if w.goesDown(to, seen) {
				return true
			}
		case AnyOf:
			if w.goesDown(to, seen) && !w.another(i, e.Set) {
				return true
			}
		case PartOf:
			if w.s[to].f.End || !w.leads(to, i, nil) && w.goesDown(to, seen) {
				return true
			}
		}
	}
	return false
}

// another: a member of a set is there and stays.
func (w *world) another(i, set int) bool {
	for _, o := range w.sets(i)[set] {
		if w.reached(o) && !w.about(w.index(o.To)) {
			return true
		}
	}
	return false
}

// leads: the needs of i lead to j. A service that is part of one that needs it
// follows that one's end, not the reasons for it.
func (w *world) leads(i, j int, seen []int) bool {
	for _, e := range w.edges[i] {
		to := w.index(e.To)
		if to < 0 || !e.Kind.Orders() && e.Kind != PartOf || slices.Contains(seen, to) {
			continue
		}
		if to == j || w.leads(to, j, append(seen, to)) {
			return true
		}
	}
	return false
}

func (w *world) comesBack(i int, seen map[int]bool) bool {
	return !w.s[i].f.End && w.s[i].f.Status.Lives() && (w.s[i].f.Restart || w.mustEnd(i, seen))
}

// inTurn: whoever was started after a service and must end too is down.
func (w *world) inTurn(i int) {
	for j := range w.s {
		for _, e := range w.edges[j] {
			f := w.s[j].f
			if e.To == w.names[i] && e.Kind.Orders() && (f.Status == Going || f.Status.up() && (f.End || f.Restart || w.mustEnd(j, map[int]bool{}))) {
				w.fail("%s ends before %s, which %s it", w.names[i], w.names[j], e.Kind)
			}
		}
	}
}

// judgeRest looks at a world in which nothing is under way.
func (w *world) judgeRest() {
	for i := range w.s {
		f := w.s[i].f
		name := w.names[i]
		if f.End && !w.shut || f.Restart {
			w.fail("%s was never brought down", name)
		}
		if f.Status.up() && w.mustEnd(i, map[int]bool{}) {
			w.fail("%s still runs and must not", name)
		}
		if f.Status == Coming {
			if w.lacks(i, true) == "" {
				w.fail("%s waits and lacks nothing", name)
			}
			if len(w.g.Waits(w.id(i))) == 0 {
				w.fail("%s waits and cannot say why", name)
			}
		}
		if f.Wanted && !f.Stopped && !f.End {
			w.judgePulls(i)
		}
		for j := range w.s {
			if w.rivals(i, j) {
				w.judgeRivals(i, j)
			}
		}
	}
}

func (w *world) judgePulls(i int) {
	for _, e := range w.edges[i] {
		to := w.index(e.To)
		if to >= 0 && (e.Kind == Requires || e.Kind == Wants) && !w.s[to].f.Wanted && !w.s[to].f.Stopped {
			w.fail("%s needs %s, which was not pulled up", w.names[i], e.To)
		}
	}
	for _, set := range w.sets(i) {
		can, wanted := false, 0
		for _, e := range set {
			if to := w.index(e.To); to >= 0 {
				can = can || w.could(to)
				if w.s[to].f.Wanted && (w.could(to) || w.s[to].f.Status.up() || w.s[to].f.Status == Done) {
					wanted++
				}
			}
		}
		if can && wanted == 0 {
			w.fail("%s has nobody of a set", w.names[i])
		}
	}
}

func (w *world) judgeRivals(i, j int) {
	a, b := w.s[i].f, w.s[j].f
	if a.Status.Lives() && b.Status.Lives() {
		w.fail("%s and %s run together", w.names[i], w.names[j])
	}
	if a.Status == Coming && a.Explicit && b.Status.up() && (!b.Explicit || b.Since < a.Since) && w.lacks(i, true) == "conflicts "+w.names[j] {
		w.fail("%s was asked for by name and %s does not go", w.names[i], w.names[j])
	}
}
