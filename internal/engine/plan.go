package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// step is one step of a plan and all that carrying it out needs.
type step struct {
	control.PlanStep
	def   *model.Service
	diags diag.List
	must  bool // a run must be replaced
}

// facts are what a plan must know of a service beside what was read.
type facts struct {
	def       *model.Service // in force; nil: there is no such service
	st        *core.State    // nil: that of a service that was never there
	broken    bool           // its newest definition was
	transient bool           // no file is to define it
	pinned    string         // to what, "" if it is not
	pin       *model.Service // what it is pinned to

	// Of what is not there yet:
	wish    state.Wish
	unasked bool // this abide runs other services only
}

// idle says why a service that comes to be does not start by itself, "" if it does.
func (f *facts) idle(def *model.Service) string {
	switch {
	case f.wish.Enabled == state.No, f.wish.Enabled == state.Unset && !def.Enabled:
		return "disabled"
	case f.wish.Stopped:
		return fmt.Sprintf("stopped by uid %d at %s", f.wish.By, f.wish.At.UTC().Format(time.RFC3339))
	case f.unasked:
		return "not among those that are to run"
	}
	return ""
}

// planOf says what becomes of each service when what was read comes into force. It
// touches nothing: what it returns is both what a plan shows and what an apply does.
// in are the names in force, in any order; only narrows the plan, nil: all. A name that was asked
// for and does not change has a step too when asked says so.
func planOf(read Loaded, in []string, of func(name string) facts, only, asked func(name string) bool, now core.Time) []step {
	wanted := func(name string) bool { return only == nil || only(name) }
	var steps []step
	for name, def := range read.Services {
		if !wanted(name) {
			continue
		}
		if s, differs := planDefined(name, def, of(name), now); differs || asked != nil && asked(name) {
			steps = append(steps, s)
		}
	}
	for name, diags := range read.Broken {
		if wanted(name) {
			steps = append(steps, planBroken(name, diags, of(name)))
		}
	}
	for _, name := range in {
		if f := of(name); wanted(name) && read.Services[name] == nil && read.Broken[name] == nil && f.def != nil && !f.transient {
			steps = append(steps, planGone(name, f, now))
		}
	}
	if only == nil {
		for _, d := range read.Diags {
			if d.Severity == diag.Error && !aboutBroken(read.Broken, d) {
				steps = append(steps, step{PlanStep: control.PlanStep{Definition: control.Broken, Action: control.WillNothing, Note: d.String(), Hint: d.Hint}})
			}
		}
	}
	for i := range steps {
		if steps[i].Keys == nil {
			steps[i].Keys = []control.PlanKey{}
		}
	}
	slices.SortStableFunc(steps, compareSteps)
	return steps
}

// planDefined is about a service with a definition that can be used. It reports
// false when that is the one in force.
func planDefined(name string, def *model.Service, f facts, now core.Time) (step, bool) {
	s := step{def: def, PlanStep: control.PlanStep{Name: name, Definition: control.Unchanged, Action: control.WillNothing}}
	switch {
	case f.pinned != "" && f.def != nil:
		s.Definition, s.Note = control.Pinned, f.pinned
		s.Hint = "abide apply --unpin " + name
		s.keys(model.Diff(f.def, def))
		return s, true
	case f.def == nil:
		if f.pin != nil {
			s.def = f.pin // a copy that was pinned and taken away
		}
		s.Definition, s.Note = control.Added, f.idle(s.def)
		if s.Note == "" {
			s.Note = f.pinned
			s.Action = foresee(s.def, &core.State{}, core.Event{Kind: core.EvNeed}, now)
		}
		return s, true
	}
	var changes []model.Change
	if f.def != def {
		changes = model.Diff(f.def, def)
	}
	if len(changes) == 0 {
		if f.broken {
			s.Note = "the file can be used again"
		}
		return s, f.broken
	}
	s.Definition = control.Changed
	s.keys(changes)
	s.must = model.Worst(changes) == model.Restarts || f.st.Phase == core.Failed && mayCure(changes)
	s.Action = foresee(def, f.st, core.Event{Kind: core.EvRedefined, Must: s.must}, now)
	return s, true
}

// mayCure tells whether a service that failed is tried anew because of what was
// changed: anything but what only concerns those who look at it.
func mayCure(changes []model.Change) bool {
	return slices.ContainsFunc(changes, func(c model.Change) bool {
		table, _, _ := strings.Cut(c.Key, ".")
		return !slices.Contains([]string{"description", "enabled", "essential", "log", "operators", "on_failure"}, table)
	})
}

func (s *step) keys(changes []model.Change) {
	for _, c := range changes {
		s.Keys = append(s.Keys, control.PlanKey{Key: c.Key, Restarts: c.Class == model.Restarts})
	}
}

func planBroken(name string, diags diag.List, f facts) step {
	s := step{diags: diags, PlanStep: control.PlanStep{Name: name, Definition: control.Broken, Action: control.WillNothing}}
	for _, d := range diags {
		if d.Severity == diag.Error {
			s.Note, s.Hint = d.String(), d.Hint
			break
		}
	}
	if f.def != nil {
		s.Note += "; the definition applied before stays in force"
	}
	return s
}

// planGone is about a service that no file defines any more. A pin holds it, unless
// it is a copy of a template: of those there are as many as there are to be.
func planGone(name string, f facts, now core.Time) step {
	s := step{PlanStep: control.PlanStep{Name: name, Definition: control.Removed}}
	if f.pinned != "" && f.def.Template == "" {
		s.Definition, s.Action = control.Pinned, control.WillNothing
		s.Note, s.Hint = f.pinned+"; its definition is gone", "abide apply --unpin "+name
		return s
	}
	s.Action = foresee(f.def, f.st, core.Event{Kind: core.EvStop}, now)
	return s
}

// foresee says what an event would do to the processes of a service, by doing it to
// a copy of its state.
func foresee(def *model.Service, st *core.State, ev core.Event, now core.Time) string {
	cfg := configure(def)
	next, acts := core.Step(&cfg, *st, ev, max(now, 1))
	for _, a := range acts.All() {
		if a.Kind == core.ActSpawn || a.Kind == core.ActHook && a.Hook == core.BeforeStart {
			return control.WillStart
		}
	}
	switch {
	case next.Phase == core.Waiting && st.Phase != core.Waiting, next.Phase == core.Reached && st.Phase != core.Reached:
		return control.WillStart // once the graph lets it; a target has no process
	case next.PendingRestart && !st.PendingRestart:
		return control.WillRestart
	case st.Wanted && !next.Wanted && !idle(st.Phase):
		return control.WillStop
	}
	return control.WillNothing
}

// idle tells whether nothing of a service in this phase runs.
func idle(p core.Phase) bool {
	switch p {
	case core.Down, core.Finished, core.Failed, core.Delaying, core.Waiting:
		return true
	}
	return false
}

// rank orders the steps of a plan: what makes room comes first.
var rank = map[string]int{control.Removed: 1, control.Changed: 2, control.Added: 3, control.Unchanged: 4, control.Pinned: 5, control.Broken: 6}

func compareSteps(a, b step) int {
	if c := cmp.Compare(rank[a.Definition], rank[b.Definition]); c != 0 {
		return c
	}
	if a.Definition == control.Removed {
		a, b = b, a // the last copy of a template goes first
	}
	return compareNames(a.Name, b.Name)
}

// compareNames orders names, and the numbered copies of a template by number.
func compareNames(a, b string) int {
	base, one := model.SplitName(a)
	other, two := model.SplitName(b)
	if c := strings.Compare(base, other); c != 0 {
		return c
	}
	m, err := strconv.Atoi(one)
	n, err2 := strconv.Atoi(two)
	if err == nil && err2 == nil {
		return cmp.Compare(m, n)
	}
	return strings.Compare(one, two)
}

func (s *step) keyNames() []string {
	var names []string
	for _, k := range s.Keys {
		names = append(names, k.Key)
	}
	return names
}
