package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
)

// apply reads definitions again and carries out the difference: of everything,
// or of the named services only. A broken file keeps what runs and is named.
func (e *Engine) apply(req control.Request) ([]control.Outcome, error) {
	if req.Unpin && len(req.Names) == 0 {
		return nil, &control.Error{Code: control.Usage, Message: "cannot unpin: no service is named", Hint: "abide apply --unpin NAME"}
	}
	var out []control.Outcome
	if req.Unpin {
		if out = e.unpin(req.Names); out != nil {
			return out, nil
		}
	}
	steps, read, strangers := e.planFor(req.Names)
	for _, name := range strangers {
		out = append(out, unknown(name))
	}
	e.take(read, req.Names)
	out = append(out, e.carryOutPlan(steps)...)
	if len(req.Names) == 0 {
		e.recheckConditions()
	}
	return out, nil
}

// Plan implements control.Supervisor.
func (e *Engine) Plan(ctx context.Context, who control.Who, names []string) (p control.Plan, err error) {
	err = e.inLoop(ctx, func() error {
		if !e.owner(who) {
			return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot plan: not permitted for uid %d", who.UID)}
		}
		steps, _, strangers := e.planFor(names)
		if len(strangers) > 0 {
			o := unknown(strangers[0])
			return &control.Error{Code: o.Code, Message: "cannot plan: " + o.Message, Hint: o.Hint}
		}
		p.Steps = make([]control.PlanStep, 0, len(steps))
		for _, s := range steps {
			p.Steps = append(p.Steps, s.PlanStep)
		}
		return nil
	})
	return p, err
}

// planFor reads the files and says what applying them would do: for all services, or
// for what the names mean. strangers are names that mean nothing.
func (e *Engine) planFor(names []string) (steps []step, read Loaded, strangers []string) {
	read = e.ports.Definitions.Read(e.definitions())
	in := slices.Collect(maps.Keys(e.services))
	if len(names) == 0 {
		steps = planOf(read, in, e.facts, nil, nil, e.now())
		return append(e.followers(steps), steps...), read, nil
	}
	found := map[string]bool{}
	only := func(name string) bool {
		means := meantBy(names, name)
		for _, asked := range means {
			found[asked] = true
		}
		return len(means) > 0
	}
	steps = planOf(read, in, e.facts, only, only, e.now())
	for _, s := range steps {
		only(s.Name)
	}
	for _, name := range names {
		if !found[name] || e.services[name] == nil && !slices.ContainsFunc(steps, func(s step) bool { return means(name, s.Name) }) {
			strangers = append(strangers, name)
		}
	}
	return append(e.followers(steps), steps...), read, strangers
}

// meantBy are those of the asked names that stand for a service, or for the template
// it is a copy of.
func meantBy(asked []string, name string) []string {
	var out []string
	for _, a := range asked {
		if means(a, name) || a+"@" == name {
			out = append(out, a)
		}
	}
	return out
}

// facts are what a plan must know of a service, whether it is there or not.
func (e *Engine) facts(name string) facts {
	s := e.services[name]
	f := facts{pinned: e.pinText(name), pin: e.pins[name].Def}
	if s != nil && !s.gone {
		f.def, f.st, f.transient, f.broken = s.def, &s.st, s.transient || s.builtIn, s.broken != nil
		return f
	}
	f.wish = e.ports.Wishes.Get(name)
	f.unasked = !e.askedFor(name)
	return f
}

// take makes what was read count: of all services, or of those that the names mean.
// Of what is pinned the file goes on to differ from what is in force.
func (e *Engine) take(read Loaded, names []string) {
	if len(names) == 0 {
		e.set = read
		if len(e.pins) == 0 {
			e.ports.Definitions.Take(nil)
			return
		}
	}
	e.ports.Definitions.Take(func(name string) bool {
		_, pinned := e.pins[name]
		return !pinned && (len(names) == 0 || len(meantBy(names, name)) > 0)
	})
}

// carryOutPlan does what a plan says, and returns what there is to tell of it.
func (e *Engine) carryOutPlan(steps []step) []control.Outcome {
	var kept []Version
	for i := range steps {
		if s := &steps[i]; s.Definition == control.Added || s.Definition == control.Changed {
			kept = append(kept, e.version(s.Name, s.def, s.keyNames()))
		}
	}
	e.archive(kept...)
	out := make([]control.Outcome, 0, len(steps))
	for i := range steps {
		if steps[i].Because == "" { // the others follow by themselves
			out = append(out, e.carryOutStep(&steps[i]))
		}
	}
	e.keepChanges()
	e.writeApplied()
	return out
}

func (e *Engine) carryOutStep(p *step) control.Outcome {
	o := control.Outcome{Name: p.Name, Done: true, Hint: p.Hint}
	s := e.services[p.Name]
	switch p.Definition {
	case control.Added:
		s = e.add(p.Name, p.def)
		o.Message = "added"
		if p.Action == control.WillStart && e.stopping == nil {
			e.change(s, core.Event{Kind: core.EvNeed})
			o.Message = "added and started"
		}
		o.Message = join(o.Message, p.Note)
		e.record(p.Name, 0, "definition", o.Message, nil)
	case control.Changed:
		o.Message = "changed: " + listed(p.keyNames())
		if p.Action == control.WillRestart {
			o.Message += "; restarted"
		}
		e.redefine(s, p.def)
		e.record(p.Name, s.st.Run, "definition", o.Message, nil)
		e.change(s, core.Event{Kind: core.EvRedefined, Must: p.must})
	case control.Removed:
		o = e.remove(s)
	case control.Pinned:
		o.Message = p.Note + ": passed over"
	case control.Broken:
		if p.Name != "" {
			return e.keepBroken(p.Name, p.diags)
		}
		o = control.Outcome{Code: control.Failed, Message: p.Note, Hint: p.Hint}
	default:
		s.broken = nil
		o.Message = join("unchanged", p.Note)
	}
	return o
}

// redefine gives a service another definition. What it asks for is fed by the caller.
func (e *Engine) redefine(s *service, def *model.Service) {
	e.claim(s)
	s.define(def)
	e.rewire(s.name)
	e.ports.Logs.Configure(s.name, &def.Log)
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
	var f facts
	if s := e.services[name]; s != nil {
		f.def = s.def
	}
	p := planBroken(name, diags, f)
	o.Message, o.Hint = p.Note, p.Hint
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
func (e *Engine) change(s *service, ev core.Event) { e.changeTo(s, ev, false) }

// changeTo is change of what is to run afterwards, if starts.
func (e *Engine) changeTo(s *service, ev core.Event, starts bool) {
	if r := e.asked.open[e.request]; r != nil {
		r.changes = append(r.changes, changeJSON{Name: s.name, Event: ev.Kind, Must: ev.Must, Starts: starts})
	}
	e.carryChange(s, ev)
}

// carryChange feeds it. What is to be gone goes in its turn.
func (e *Engine) carryChange(s *service, ev core.Event) {
	switch {
	case e.request != 0 && s.info.Request >= e.request:
		e.feed(s, ev)
	case ev.Kind == core.EvStop:
		e.bringDown(s, endStop)
	case ev.Kind == core.EvRedefined && ev.Must && s.st.Up():
		e.bringDown(s, endRedefine)
	default:
		e.feed(s, ev)
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

// willStart tells whether the present request is on record to end with a start of the
// service: an engine before this one may have begun it.
func (e *Engine) willStart(name string) bool {
	r := e.asked.open[e.request]
	return r != nil && slices.ContainsFunc(r.changes, func(c changeJSON) bool { return c.Name == name && c.Starts })
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
	if _, pinned := e.pins[name]; pinned && s != nil && !s.gone {
		return s, e.pinText(name), nil
	}
	if s != nil && !s.gone && s.broken == nil && !e.ports.Definitions.Changed(name) {
		return s, "", nil
	}
	def, diags := e.ports.Definitions.Reread(name)
	if diags.HasErrors() {
		o := e.keepBroken(name, diags)
		return s, "", &o
	}
	if pin, pinned := e.pins[name]; pinned && def != nil {
		def = pin.Def // it was taken away meanwhile
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
		e.archive(e.version(name, def, nil))
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
		return s, fmt.Sprintf("definition changed (%s), not applied: `abide restart %s` does", listed(changes), name), nil
	}
	e.archive(e.version(name, def, changes))
	e.redefine(s, def)
	// What the operator asked for follows: only that is the request's own.
	e.feedPart(s, core.Event{Kind: core.EvRedefined}, 0)
	e.record(name, s.st.Run, "definition", "definition changed: "+listed(changes), nil)
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

func listed(keys []string) string { return strings.Join(keys, ", ") }

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
