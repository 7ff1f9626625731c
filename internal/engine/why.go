package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/control"
)

// chainLength bounds how much of a chain is told: what led here, not all that ever
// happened.
const chainLength = 32

// Why implements control.Supervisor. The chain is read from the history outside
// the loop.
func (e *Engine) Why(ctx context.Context, who control.Who, name string) (w control.Why, err error) {
	var last uint64
	mine := map[string]bool{}
	err = e.inLoop(ctx, func() error {
		if err := e.mayExplain(who, name, "explain"); err != nil {
			return err
		}
		s := e.services[name]
		st := e.status(s, e.ports.Definitions.Changed)
		w = control.Why{Name: name, State: st.State, Since: st.Since, Text: st.Why, Unmet: e.unmet(s), Impact: e.impact(s)}
		last = s.info.Chain
		for n, other := range e.services {
			mine[n] = e.may(who, other.def, "view", "")
		}
		return nil
	})
	if err != nil {
		return w, err
	}
	owner := e.owner(who)
	w.Chain, err = e.chain(ctx, last, func(ev *control.Event) bool { return owner || mine[ev.Service] })
	return w, err
}

// chain follows the events that led to the one with cursor last, the first cause
// first. What the asker may not see is left out, and the chain goes on behind it.
func (e *Engine) chain(ctx context.Context, last uint64, may func(*control.Event) bool) ([]control.Event, error) {
	if last == 0 {
		return nil, nil
	}
	// Causes are older than what follows from them and mostly near, so events are
	// read from some way back first.
	const near = 4096
	all := map[uint64]control.Event{}
	read := func(after uint64) error {
		return e.ports.History.Read(ctx, after, false, func(ev control.Event) error {
			if ev.Cursor <= last {
				all[ev.Cursor] = ev
			}
			return nil
		})
	}
	from := last - min(last, near)
	if err := read(from); err != nil {
		return nil, err
	}
	var chain []control.Event
	for cursor := last; cursor != 0 && len(chain) < chainLength; {
		ev, ok := all[cursor]
		if !ok && cursor <= from && from > 0 {
			from = 0
			if err := read(0); err != nil {
				return nil, err
			}
			ev, ok = all[cursor]
		}
		if !ok {
			break // older than what is kept
		}
		if may(&ev) {
			chain = append(chain, ev)
		}
		before, err := strconv.ParseUint(ev.Fields[becauseField], 10, 64)
		if err != nil || before >= cursor {
			break
		}
		cursor = before
	}
	slices.Reverse(chain)
	return chain, nil
}

// unmet is what keeps a service from running, and what keeps that in turn.
func (e *Engine) unmet(s *service) []control.Unmet {
	return e.unmetBut(s, map[*service]bool{})
}

func (e *Engine) unmetBut(s *service, seen map[*service]bool) []control.Unmet {
	seen[s] = true
	out := []control.Unmet{}
	said := map[string]bool{}
	for _, w := range e.waits(s) {
		u := control.Unmet{Kind: w.Kind.String(), Name: w.To, Text: e.waitText(w), Unmet: []control.Unmet{}}
		said[u.Text] = true
		u.Text = strings.TrimPrefix(u.Text, w.To+", ")
		if n := e.deps.byID[w.ID]; n != nil {
			u.State = n.stateName()
			if !seen[n] {
				u.Unmet = e.unmetBut(n, seen)
			}
		}
		out = append(out, u)
	}
	for _, text := range e.status(s, e.ports.Definitions.Changed).WaitingFor {
		if !said[text] {
			out = append(out, control.Unmet{Kind: "wait", State: s.stateName(), Text: text, Unmet: []control.Unmet{}})
		}
	}
	return out
}

// impact names the services that are down because of this one.
func (e *Engine) impact(s *service) []string {
	if s.node == nil {
		return nil
	}
	var names []string
	for _, id := range e.deps.graph.Blocks(s.node.id) {
		names = append(names, e.deps.graph.Name(id))
	}
	slices.Sort(names)
	return names
}
