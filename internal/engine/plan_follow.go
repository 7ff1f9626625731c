package engine

import (
	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/graph"
)

// followers are the steps that others' needs entail: who goes down before what it
// requires, who starts again with what it follows, who was waiting for what now comes.
// The graph sees to them; the plan only tells. Edges that come with the plan itself
// have no say yet.
func (e *Engine) followers(steps []step) []step {
	var change graph.Change
	planned := make(map[string]bool, len(steps))
	for i := range steps {
		p := &steps[i]
		planned[p.Name] = true
		id, known := e.deps.graph.Lookup(p.Name)
		if !known {
			continue
		}
		switch p.Action {
		case control.WillStop:
			change.Stop = append(change.Stop, id)
		case control.WillRestart:
			change.Restart = append(change.Restart, id)
		case control.WillStart:
			change.Start = append(change.Start, id)
		}
	}
	if len(change.Stop)+len(change.Restart)+len(change.Start) == 0 {
		return nil
	}
	var order []*service
	did := map[*service]*step{}
	for _, m := range e.deps.graph.Plan(change) {
		s := e.deps.byID[m.ID]
		if s == nil || planned[s.name] || s.builtIn {
			continue
		}
		f := did[s]
		if f == nil {
			f = &step{PlanStep: control.PlanStep{Name: s.name, Definition: control.Unchanged, Keys: []control.PlanKey{}}}
			did[s], order = f, append(order, s)
		}
		switch {
		case !m.Up:
			f.Action = control.WillStop
		case f.Action == control.WillStop:
			f.Action = control.WillRestart
		default:
			f.Action = control.WillStart
		}
		if by := e.deps.byID[m.By]; f.Because == "" && m.By != graph.None && by != nil {
			f.Because = by.name
		}
	}
	out := make([]step, 0, len(order))
	for _, s := range order {
		f := did[s]
		if f.Because == "" {
			f.Because = "what it needs"
		}
		out = append(out, *f)
	}
	return out
}
