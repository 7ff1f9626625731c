package engine

import (
	"fmt"
	"sort"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
)

// apply reads definitions again and carries out the difference: of everything,
// or of the named services only. A broken file keeps what runs and is named.
func (e *Engine) apply(names []string) []control.Outcome {
	if len(names) > 0 {
		out := make([]control.Outcome, 0, len(names))
		for _, name := range names {
			out = append(out, e.applyOne(name)...)
		}
		e.keepChanges()
		e.writeApplied()
		return out
	}
	set := e.ports.Definitions.Load(e.definitions())
	e.set = set
	var out []control.Outcome
	for _, name := range sortedKeys(set.Services) {
		if o, changed := e.applyDefinition(name, set.Services[name]); changed {
			out = append(out, o)
		}
	}
	for _, name := range sortedKeys(set.Broken) {
		out = append(out, e.keepBroken(name, set.Broken[name]))
	}
	for _, name := range sortedKeys(e.services) {
		s := e.services[name]
		if set.Services[name] == nil && set.Broken[name] == nil && !s.transient && !s.builtIn && !s.gone {
			out = append(out, e.remove(s))
		}
	}
	for _, d := range set.Diags {
		if d.Severity == diag.Error && !aboutBroken(set.Broken, d) {
			out = append(out, control.Outcome{Code: control.Failed, Message: d.String(), Hint: d.Hint})
		}
	}
	e.recheckConditions()
	e.keepChanges()
	e.writeApplied()
	return out
}

func (e *Engine) applyOne(name string) []control.Outcome {
	def, diags := e.ports.Definitions.Reread(name)
	switch {
	case diags.HasErrors():
		return []control.Outcome{e.keepBroken(name, diags)}
	case def == nil:
		s := e.services[name]
		if s == nil {
			return []control.Outcome{unknown(name)}
		}
		return []control.Outcome{e.remove(s)}
	}
	o, changed := e.applyDefinition(name, def)
	if !changed {
		o = control.Outcome{Name: name, Done: true, Message: "unchanged"}
	}
	return []control.Outcome{o}
}

// applyDefinition gives a service its new definition and does what the
// difference asks for. It reports false when there is none.
func (e *Engine) applyDefinition(name string, def *model.Service) (control.Outcome, bool) {
	o := control.Outcome{Name: name, Done: true}
	s := e.services[name]
	if s == nil || s.gone {
		s = e.add(name, def)
		o.Message = "added"
		if e.stopping == nil && e.wantedAtBoot(s) {
			e.change(s, core.Event{Kind: core.EvNeed})
			o.Message = "added and started"
		}
		e.record(name, 0, "definition", o.Message, nil)
		return o, true
	}
	s.broken = nil
	must, changes := compare(s.def, def)
	if len(changes) == 0 {
		return o, false
	}
	e.claim(s)
	s.define(def)
	e.rewire(name)
	e.ports.Logs.Configure(name, &def.Log)
	o.Message = "changed: " + strings.Join(changes, ", ")
	if must && s.lives() {
		o.Message += "; restarted"
	}
	e.record(name, s.st.Run, "definition", o.Message, nil)
	e.change(s, core.Event{Kind: core.EvRedefined, Must: must})
	return o, true
}

// compare lists what differs, and whether a run must be replaced to see it.
func compare(old, def *model.Service) (must bool, changes []string) {
	for _, c := range model.Diff(old, def) {
		must = must || c.Class == model.Restarts
		changes = append(changes, c.Key)
	}
	return must, changes
}

// keepBroken names a definition that cannot be used; what runs keeps running.
func (e *Engine) keepBroken(name string, diags diag.List) control.Outcome {
	o := control.Outcome{Name: name, Code: control.Failed}
	if s := e.services[name]; s != nil {
		s.broken = diags
	}
	for _, d := range diags {
		if d.Severity == diag.Error {
			o.Message, o.Hint = d.String(), d.Hint
			break
		}
	}
	if s := e.services[name]; s != nil && s.def != nil {
		o.Message += "; the definition applied before stays in force"
	}
	e.record(name, 0, "definition", o.Message, nil)
	return o
}

// remove stops a service whose definition is gone and forgets it when nothing
// of it lives.
func (e *Engine) remove(s *service) control.Outcome {
	s.gone, s.info.Gone = true, true
	e.record(s.name, s.st.Run, "definition", "its definition is gone: stopping it", nil)
	e.change(s, core.Event{Kind: core.EvStop})
	return control.Outcome{Name: s.name, Done: true, Message: "removed"}
}

// change feeds what a new definition asks of a service.
func (e *Engine) change(s *service, ev core.Event) {
	if r := e.asked.open[e.request]; r != nil {
		r.changes = append(r.changes, changeJSON{Name: s.name, Event: ev.Kind, Must: ev.Must})
	}
	e.carryChange(s, ev)
}

// carryChange feeds it. What is to be gone goes in its turn.
func (e *Engine) carryChange(s *service, ev core.Event) {
	switch {
	case ev.Kind != core.EvStop:
		e.feed(s, ev)
	case e.request == 0 || s.info.Request < e.request:
		e.bringDown(s, endStop)
	}
}

// keepChanges puts on record what follows from new definitions before they are in
// force: an engine that finds them in force sees no difference any more.
func (e *Engine) keepChanges() {
	if r := e.asked.open[e.request]; r != nil && len(r.changes) > 0 {
		e.keepOutcomes(r.changesRecord())
	}
}

// repeatChanges carries out what is on record of a request's changes.
func (e *Engine) repeatChanges(r *request) {
	e.request = r.seq
	for _, c := range r.changes {
		if s := e.services[c.Name]; s != nil {
			if c.Event == core.EvStop {
				s.gone, s.info.Gone = true, true
			}
			e.carryChange(s, core.Event{Kind: c.Event, Must: c.Must})
		}
	}
	e.request = 0
}

// writeApplied keeps what is applied for the engine after this one.
func (e *Engine) writeApplied() {
	e.judgePatterns()
	if err := e.ports.Definitions.KeepApplied(e.definitions()); err != nil {
		e.complainOnce("applied", fmt.Sprintf("Cannot keep what is applied: %v", err))
	}
}

// definitions are those in force, by service.
func (e *Engine) definitions() map[string]*model.Service {
	defs := make(map[string]*model.Service, len(e.services))
	for name, s := range e.services {
		if s.def != nil && !s.builtIn {
			defs[name] = s.def
		}
	}
	return defs
}

// freshen reads one service's definition before an operator's start, restart or
// enable. A living run keeps its definition unless it is about to be replaced.
func (e *Engine) freshen(name string, replace bool) (*service, string, *control.Outcome) {
	s := e.services[name]
	if s != nil && s.transient {
		return s, "", nil
	}
	if s != nil && !s.gone && s.broken == nil && !e.ports.Definitions.Changed(name) {
		return s, "", nil
	}
	def, diags := e.ports.Definitions.Reread(name)
	if diags.HasErrors() {
		o := e.keepBroken(name, diags)
		return s, "", &o
	}
	if def == nil {
		if s == nil || s.gone {
			o := unknown(name)
			return nil, "", &o
		}
		o := control.Outcome{Name: name, Code: control.Failed, Message: fmt.Sprintf("cannot start %s: its definition is gone", name), Hint: "abide apply"}
		return s, "", &o
	}
	if s == nil || s.gone {
		s = e.add(name, def)
		e.writeApplied()
		return s, "definition added", nil
	}
	_, changes := compare(s.def, def)
	if len(changes) == 0 {
		s.broken = nil
		return s, "", nil
	}
	if s.lives() && !replace {
		return s, fmt.Sprintf("definition changed (%s), not applied: `abide restart %s` does", strings.Join(changes, ", "), name), nil
	}
	e.claim(s)
	s.define(def)
	e.rewire(name)
	e.ports.Logs.Configure(name, &def.Log)
	// What the operator asked for follows: only that is the request's own.
	e.feedPart(s, core.Event{Kind: core.EvRedefined}, 0)
	e.record(name, s.st.Run, "definition", "definition changed: "+strings.Join(changes, ", "), nil)
	e.writeApplied()
	return s, "definition changed", nil
}

func unknown(name string) control.Outcome {
	return control.Outcome{
		Name: name, Code: control.Unknown,
		Message: fmt.Sprintf("unknown service %q", name),
		Hint:    fmt.Sprintf("abide status, or: abide new %s -- COMMAND", name),
	}
}

func aboutBroken(broken map[string]diag.List, d diag.Diagnostic) bool {
	for _, list := range broken {
		for _, b := range list {
			if b == d {
				return true
			}
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
