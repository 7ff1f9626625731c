package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/graph"
	"github.com/abide-project/abide/internal/model"
)

// waits are the reasons for which the graph keeps a service from starting, or from
// ending.
func (e *Engine) waits(s *service) []graph.Wait {
	if s.node == nil || !e.deps.known {
		return nil
	}
	return e.deps.graph.Waits(s.node.id)
}

// waitText says what is waited for, the name first: "postgres, stopped by uid 1000
// at 2026-01-02T15:04:05Z".
func (e *Engine) waitText(w graph.Wait) string {
	switch {
	case w.Reason == graph.OnCycle:
		return w.String()
	case w.File:
		return w.To + ", a file that " + map[bool]string{true: "is there", false: "is not there"}[w.Status == graph.Ready]
	case w.Reason == graph.EndsLast:
		return w.To + ", which has to end first"
	case w.Reason == graph.KeptAway:
		return w.To + ", which it must not run beside: it is " + e.stateOf(w.ID, w.To)
	}
	return w.To + ", " + e.missing(w)
}

// missing says why a needed service is not where it has to be.
func (e *Engine) missing(w graph.Wait) string {
	s := e.deps.byID[w.ID]
	switch {
	case s == nil:
		return "which is not defined"
	case s.gone:
		return "whose definition is gone"
	case s.wish.Stopped && !s.busy():
		return fmt.Sprintf("stopped by uid %d at %s", s.wish.By, s.wish.At.UTC().Format(time.RFC3339))
	case w.Leaves:
		return "which is about to end"
	}
	switch s.st.Phase {
	case core.Failed:
		return "which failed: " + s.faultText()
	case core.Down, core.Finished:
		if s.heldDown() {
			return "disabled"
		}
		if s.st.Phase == core.Finished && !s.cfg.Task {
			return "which has ended and is not started again"
		}
		return "which nothing starts"
	case core.Delaying:
		return "which is started again at " + e.dueAt(s)
	case core.Running, core.Reached:
		return "which has not " + w.Until.String()
	}
	return "which is " + s.stateName()
}

func (e *Engine) stateOf(id graph.ID, name string) string {
	if s := e.deps.byID[id]; s != nil {
		return s.stateName()
	}
	return "not defined"
}

// dueAt is the wall-clock time of a service's deadline.
func (e *Engine) dueAt(s *service) string {
	wait := max(time.Duration(s.st.Deadline-e.now()), 0)
	return e.wall().Add(wait).UTC().Format(time.RFC3339)
}

// explainWaiting says what a service waits for that is wanted and does not run.
func (e *Engine) explainWaiting(s *service) (list []string, why string) {
	for _, w := range e.waits(s) {
		list = append(list, e.waitText(w))
	}
	if len(list) > 0 {
		why = "waiting for " + strings.Join(list, "; ")
	}
	return list, why
}

// turnText says for whose end the stop of a service has to wait.
func (e *Engine) turnText(s *service) string {
	if s.info.Ending == endNone && (e.stopping == nil || !s.busy() || !s.st.Wanted) {
		return ""
	}
	var names []string
	for _, w := range e.waits(s) {
		if w.Reason == graph.EndsLast {
			names = append(names, w.To)
		}
	}
	if len(names) == 0 {
		return ""
	}
	what := "stopped"
	if s.info.Ending != endNone && s.info.Ending != endStop && e.stopping == nil {
		what = "restarted"
	}
	return "it is " + what + " when " + strings.Join(few(names), ", ") + " has ended"
}

// hopeless says why a service that waits is not going to start by itself, as the
// end of "cannot start NAME: ". It is empty while there is hope.
func (e *Engine) hopeless(s *service) string {
	return e.hopelessBut(s, map[*service]bool{})
}

func (e *Engine) hopelessBut(s *service, seen map[*service]bool) string {
	if seen[s] || s.st.Phase != core.Waiting {
		return ""
	}
	seen[s] = true
	if s.waitsForCondition() {
		return s.condition
	}
	sets := map[int][]string{} // of any_of: what became of the members so far
	hope := map[int]bool{}
	for _, w := range e.waits(s) {
		if w.Reason == graph.OnCycle {
			return w.String()
		}
		if w.Reason != graph.NotThere || w.File {
			continue
		}
		text := e.neverThere(w, seen)
		switch {
		case w.Kind == graph.AnyOf && text == "":
			hope[w.Set] = true
		case w.Kind == graph.AnyOf:
			sets[w.Set] = append(sets[w.Set], w.To+", "+text)
		case w.Kind == graph.Requires && text != "":
			return "it needs " + w.To + ", " + text
		}
	}
	for set, texts := range sets {
		if !hope[set] {
			return "it needs one of " + strings.Join(texts, " and ")
		}
	}
	return ""
}

// neverThere says why a need is not going to be met without somebody's help.
func (e *Engine) neverThere(w graph.Wait, seen map[*service]bool) string {
	s := e.deps.byID[w.ID]
	if s == nil || s.gone || s.heldDown() && !s.busy() {
		return e.missing(w)
	}
	switch s.st.Phase {
	case core.Failed:
		if s.st.Deadline == 0 {
			return e.missing(w)
		}
	case core.Finished:
		return e.missing(w)
	case core.Down:
		if !s.st.Wanted && s.coming == 0 && s.info.Ending == endNone {
			return e.missing(w)
		}
	case core.Waiting:
		if text := e.hopelessBut(s, seen); text != "" {
			return "which waits: " + text
		}
	}
	return ""
}

// lookAtWaiting answers requests about services that are not going to start: what
// decides about them may have happened to others only.
func (e *Engine) lookAtWaiting() {
	var waiting []*waiter
	for w := range e.waiters {
		if w.s.st.Phase == core.Waiting && w.s.node != nil {
			waiting = append(waiting, w)
		}
	}
	slices.SortFunc(waiting, func(a, b *waiter) int { return strings.Compare(a.s.name, b.s.name) })
	for _, w := range waiting {
		e.check(w)
	}
}

// rivalsText names what has to go because a service is started by name.
func rivalsText(rivals []*service) string {
	switch len(rivals) {
	case 0:
		return ""
	case 1:
		return rivals[0].name + " is stopped: they conflict"
	}
	names := make([]string, 0, len(rivals))
	for _, rival := range rivals {
		names = append(names, rival.name)
	}
	return strings.Join(names, ", ") + " are stopped: they conflict"
}

// rivals are the services that a start of one by name puts to an end: they conflict
// with it, by its own definition or by theirs.
func (e *Engine) rivals(s *service) []*service {
	if s.node == nil || s.busy() {
		return nil
	}
	var names []string
	for _, d := range s.def.Needs.Conflicts {
		names = append(names, e.resolve(d.Service)...)
	}
	base, _ := model.SplitName(s.name)
	for _, mentioned := range []string{s.name, base} {
		for user := range e.deps.wiring.mentions[mentioned] {
			other := e.services[user]
			if other != nil && slices.ContainsFunc(other.def.Needs.Conflicts, func(d model.Dependency) bool { return d.Service == mentioned }) {
				names = append(names, user)
			}
		}
	}
	slices.Sort(names)
	var rivals []*service
	for _, name := range slices.Compact(names) {
		if rival := e.services[name]; rival != nil && rival != s && rival.busy() {
			rivals = append(rivals, rival)
		}
	}
	return rivals
}
