package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// scaled is what a request to scale means.
type scaled struct {
	base     string // "web"
	template string // "web@"
	copies   int
}

// scaledBy reads such a request, given the templates there are.
func (e *Engine) scaledBy(req control.Request, templates map[string]Template) (scaled, error) {
	cannot := func(code control.Code, hint, format string, args ...any) (scaled, error) {
		return scaled{}, &control.Error{Code: code, Hint: hint, Message: fmt.Sprintf("cannot scale %s: ", strings.Join(req.Names, " ")) + fmt.Sprintf(format, args...)}
	}
	if len(req.Names) != 1 {
		return cannot(control.Usage, "abide scale NAME N", "one template must be named")
	}
	base := strings.TrimSuffix(req.Names[0], "@")
	t, known := templates[base+"@"]
	switch {
	case known && len(t.Named) > 0:
		return cannot(control.Failed, "add an instance there, then abide apply", "its instances have names (%s), by %s", strings.Join(t.Named, ", "), t.File)
	case known:
	case e.services[base] != nil:
		hint := "a template is a file NAME@.toml"
		if def := e.services[base].def; def != nil && len(def.Files) > 0 && strings.HasSuffix(def.Files[0], "/"+base+".toml") {
			hint = fmt.Sprintf("mv %s %s@.toml, then abide scale %s N", def.Files[0], strings.TrimSuffix(def.Files[0], ".toml"), base)
		}
		return cannot(control.Failed, hint, "it is one service, not a template")
	default:
		o := unknown(base)
		return cannot(control.Unknown, o.Hint, "%s", o.Message)
	}
	out := scaled{base: base, template: base + "@", copies: req.Number}
	if req.Reset {
		out.copies = t.Scale
	}
	if out.copies < 0 || out.copies > model.MaxScale {
		return cannot(control.Usage, "", "%d is not between 0 and %d", out.copies, model.MaxScale)
	}
	return out, nil
}

// has tells whether a name is that of a copy that is to be there.
func (w *scaled) has(name string) bool {
	base, instance := model.SplitName(name)
	n, err := strconv.Atoi(instance)
	return base == w.base && err == nil && strconv.Itoa(n) == instance && n >= 1 && n <= w.copies
}

// planScale notes which copies will come and go, while everything is as it was.
func (e *Engine) planScale(r *request) {
	read := e.ports.Definitions.Read(e.definitions())
	want, err := e.scaledBy(r.req, read.Templates)
	if err != nil {
		return // said when it is carried out
	}
	present := e.instancesOf(want.base)
	slices.Reverse(present) // the last copy goes first
	for _, name := range present {
		if !want.has(name) {
			r.add(name, e.services[name].st.Run)
		}
	}
	for n := 1; n <= want.copies; n++ {
		name := want.template + strconv.Itoa(n)
		if s := e.services[name]; s == nil {
			r.add(name, 0)
		} else if s.gone {
			r.add(name, s.st.Run)
		}
	}
}

// scale changes how many copies of a template there are. It touches no other copy,
// even when the template was changed meanwhile.
func (e *Engine) scale(req control.Request) ([]control.Outcome, []*waiter, error) {
	read := e.ports.Definitions.Read(e.definitions())
	want, err := e.scaledBy(req, read.Templates)
	if err != nil {
		return nil, nil, err
	}
	layer := &state.Scale{Copies: want.copies, By: req.Who.UID, At: e.wall()}
	text := fmt.Sprintf("scaled to %d", want.copies)
	if req.Reset {
		layer, text = nil, fmt.Sprintf("scaled to %d, as its file says", want.copies)
	}
	if err := e.ports.Layers.SetScale(want.template, layer); err != nil {
		return nil, nil, &control.Error{Code: control.Failed, Message: fmt.Sprintf("cannot scale %s: %v", want.base, err)}
	}
	e.record(want.base, 0, "definition", fmt.Sprintf("%s by %s", text, whoText(req.Who)), nil)
	moved := e.movedBy(req, want)
	read = e.ports.Definitions.Read(e.definitions())
	only := func(name string) bool { return slices.Contains(moved, name) }
	steps := planOf(read, slices.Collect(maps.Keys(e.services)), e.facts, only, nil, e.now())
	e.ports.Definitions.Take(only)
	told := map[string]control.Outcome{}
	for _, o := range e.carryOutPlan(steps) {
		told[o.Name] = o
	}
	outcomes := []control.Outcome{{Name: want.base, Done: true, Message: text}}
	var waits []*waiter
	for _, name := range moved {
		if r := e.asked.open[e.request]; r != nil && r.named[name] != nil && r.named[name].outcome != nil {
			continue // an engine before us has told
		}
		o, w := e.movedOutcome(name, want.has(name), told[name])
		if w != nil {
			waits = append(waits, w)
			continue
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, waits, nil
}

// movedBy are the copies that a request adds and takes away, as it was when it was
// asked for.
func (e *Engine) movedBy(req control.Request, want scaled) []string {
	r := e.asked.open[e.request]
	if r == nil {
		r = &request{req: req}
		e.planScale(r)
	}
	var names []string
	for _, it := range r.items {
		names = append(names, it.name)
	}
	return names
}

// movedOutcome is what there is to tell of one copy, or who waits for it.
func (e *Engine) movedOutcome(name string, there bool, told control.Outcome) (control.Outcome, *waiter) {
	s := e.services[name]
	run := uint64(0)
	if r := e.asked.open[e.request]; r != nil && r.named[name] != nil {
		run = r.named[name].run
	}
	switch {
	case told.Code != "":
		return told, nil
	case !there && s == nil:
		return control.Outcome{Name: name, Done: true, Message: "removed"}, nil
	case s == nil:
		return control.Outcome{Name: name, Code: control.Failed, Message: fmt.Sprintf("cannot start %s: %v", name, errors.New("the template does not make it")), Hint: "abide plan"}, nil
	case there && !e.wantedAtBoot(s):
		if told.Message == "" {
			told.Message = "added" // by an engine before us
		}
		return done(s, told.Message), nil
	}
	kind := waitDown
	if there {
		kind = waitUp
	}
	w := e.waitFor(s, kind, run, "")
	// It may be so already: then nothing else would look.
	e.feedPart(s, core.Event{}, e.request)
	return control.Outcome{}, w
}
