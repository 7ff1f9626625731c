package engine

import (
	"fmt"

	"github.com/abide-project/abide/internal/core"
)

// unmetBy answers the first action of a start: a condition does not hold.
func (e *Engine) unmetBy(s *service, run uint64, text string) {
	s.condition = text
	e.record(s.name, run, "condition", "not started: "+text, nil)
	e.feed(s, core.Event{Kind: core.EvUnmet, Run: run})
}

// waitsForCondition tells whether only [conditions] keep a service down.
func (s *service) waitsForCondition() bool {
	return s.st.Phase == core.Waiting && s.st.Cause == core.CauseCondition
}

// watchConditions looks after a service that waits for a condition, or does not any
// more: changes of its paths start it.
func (e *Engine) watchConditions(s *service) {
	if !s.waitsForCondition() {
		s.unwatch()
		s.condition = ""
		return
	}
	if s.watched == s.def || e.ports.Setting == nil {
		return
	}
	s.unwatch()
	s.watched = s.def
	changed := func() { e.conditionChanged(s) }
	for _, path := range append(s.def.Conditions.PathExists, s.def.Conditions.PathMissing...) {
		cancel, err := e.ports.Paths.WatchGlob(path, changed)
		if err != nil {
			e.record(s.name, s.st.Run, "condition", fmt.Sprintf("cannot watch %s: %v; start %s when it has changed", path, err, s.name), nil)
			continue
		}
		s.watches = append(s.watches, cancel)
	}
	// It may have changed before it was watched.
	e.Post(changed)
}

func (s *service) unwatch() {
	for _, cancel := range s.watches {
		cancel()
	}
	s.watches, s.watched = nil, nil
}

// conditionChanged looks again at the conditions of a service that waits for one.
func (e *Engine) conditionChanged(s *service) {
	if !s.waitsForCondition() || s.def == nil {
		return
	}
	text, def := "", s.def
	look := func() { text = e.ports.Setting.Unmet(def) }
	then := func() {
		switch {
		case !s.waitsForCondition():
		case text == "":
			e.feed(s, core.Event{Kind: core.EvRecheck})
		default:
			s.condition = text
		}
	}
	if !e.ports.Compiler.MayBlock(def) {
		look()
		then()
		return
	}
	e.aside(func() {
		look()
		e.Post(then)
	})
}

// recheckConditions has everything that waits for a condition try again.
func (e *Engine) recheckConditions() {
	for _, s := range e.services {
		if s.waitsForCondition() {
			e.feed(s, core.Event{Kind: core.EvRecheck})
		}
	}
}
