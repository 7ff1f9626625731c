package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
)

// sight is what one can see of a service: its runs so far and its definition.
type sight struct {
	spawns int
	live   bool
	def    *model.Service
}

func (w *world) look() map[string]sight {
	out := map[string]sight{}
	for name, s := range w.eng.services {
		if s.gone && !s.busy() {
			continue
		}
		one := sight{def: s.def}
		if slot := w.keeper.slots[name]; slot != nil {
			one.spawns, one.live = slot.spawns, slot.live
		}
		out[name] = one
	}
	return out
}

// randomChange changes the files of the world.
func (w *world) randomChange() {
	name := fmt.Sprintf("s%d", w.rand.IntN(6))
	switch w.rand.IntN(10) {
	case 8:
		delete(w.broken, name)
		w.define(name, func(s *model.Service) {
			s.Kind, s.Restart.When = model.Task, model.RestartNever
			s.Command = []string{fmt.Sprint("/bin/task", w.rand.IntN(2))}
		})
	case 9:
		delete(w.broken, name)
		w.define(name, func(s *model.Service) {
			s.Command = []string{fmt.Sprint("/bin/", w.rand.IntN(2))}
			s.Hooks.BeforeStart = []model.Hook{{Command: []string{"/bin/hook"}, Timeout: time.Minute}}
		})
	case 0:
		delete(w.defs, name)
		delete(w.broken, name)
	case 1:
		if w.defs[name] != nil {
			w.broken[name] = diag.List{{Severity: diag.Error, Pos: diag.Pos{File: name}, Message: "broken"}}
		}
	case 2, 3:
		delete(w.broken, name)
		w.define(name, func(s *model.Service) { s.Command = []string{fmt.Sprint("/bin/", w.rand.IntN(3))} })
	case 4:
		delete(w.broken, name)
		w.define(name, func(s *model.Service) {
			s.Log.Keep, s.Restart.Delay = w.rand.IntN(3), time.Duration(w.rand.IntN(2))*time.Second
		})
	case 5:
		delete(w.broken, name)
		w.define(name, func(s *model.Service) { s.Enabled = false })
	case 6:
		w.template("t", w.rand.IntN(4), func(s *model.Service) { s.Log.Keep = w.rand.IntN(2) })
	case 7:
		w.template("t", 2, func(s *model.Service) { s.Command = []string{fmt.Sprint("/bin/", w.rand.IntN(3))} })
	}
}

// randomDeed is what operators and programs do between two applies.
func (w *world) randomDeed() {
	names := sortedKeys(w.eng.services)
	if len(names) == 0 {
		return
	}
	name := names[w.rand.IntN(len(names))]
	switch w.rand.IntN(7) {
	case 6:
		w.keeper.end(name, 0)
		w.run()
	case 0:
		w.ask(control.Stop, name)
	case 1:
		w.keeper.end(name, 1<<8)
		w.run()
	case 2:
		w.keeper.refuse = map[string]int{name: 2}
		w.keeper.end(name, 1<<8)
		w.run()
		w.keeper.refuse = nil
	case 3:
		if n := len(w.kept[name]); n > 0 && w.eng.services[name].def.Template == "" {
			w.settled(control.Request{Verb: control.Rollback, Names: []string{name}, Number: 1 + w.rand.IntN(n)})
		}
	case 4:
		w.settled(control.Request{Verb: control.Apply, Names: []string{name}, Unpin: true})
	case 5:
		w.eng.archiveWhenQuiet()
	}
	w.run()
}

// request asks for anything and lets the world go on until it is done.
func (w *world) settled(req control.Request) []control.Outcome {
	w.t.Helper()
	var r *request
	w.guard(func() { r = w.eng.ask(req) })
	w.advance(time.Minute)
	select {
	case <-r.ready:
	default:
		w.t.Fatalf("%s %v was not answered\n%s", req.Verb, req.Names, w.story())
	}
	if r.err != nil {
		return []control.Outcome{{Code: r.err.(*control.Error).Code, Message: r.err.Error(), Hint: r.err.(*control.Error).Hint}}
	}
	return r.results()
}

// TestApplyDoesWhatPlanShowsAndNothingElse changes files at random, looks at the plan,
// applies it and compares what happened.
func TestApplyDoesWhatPlanShowsAndNothingElse(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t, seed)
		w.after = time.Second
		w.commands = func(slot string) { w.keeper.end(slot, 0) }
		w.rand = rand.New(rand.NewPCG(seed, 9))
		for range 6 {
			w.randomChange()
		}
		w.boot()
		w.advance(time.Minute)
		for round := range 12 {
			for range 1 + w.rand.IntN(3) {
				w.randomChange()
			}
			if w.rand.IntN(2) == 0 {
				w.randomDeed()
			}
			var names []string
			if w.rand.IntN(4) == 0 {
				names = []string{[]string{"s0", "s1", "t", "none"}[w.rand.IntN(4)]}
			}
			before := w.look()
			steps, _, strangers := w.eng.planFor(names)
			again, _, _ := w.eng.planFor(names)
			if fmt.Sprint(plain(steps)) != fmt.Sprint(plain(again)) {
				t.Fatalf("seed %d, round %d: a plan changes things: %v, then %v", seed, round, plain(steps), plain(again))
			}
			if now := w.look(); !maps.Equal(before, now) {
				t.Fatalf("seed %d, round %d: a plan changes things\n%s", seed, round, w.story())
			}
			out := w.ask(control.Apply, names...)
			if len(out) != len(steps)+len(strangers) {
				t.Fatalf("seed %d, round %d: %d outcomes, planned are %d steps: %+v, %+v", seed, round, len(out), len(steps), out, plain(steps))
			}
			if wrong := asPlanned(before, w.look(), steps); wrong != "" {
				t.Fatalf("seed %d, round %d, apply %v: %s\nplanned: %+v\n%s", seed, round, names, wrong, plain(steps), w.story())
			}
			if steps, _, _ := w.eng.planFor(names); slices.ContainsFunc(steps, func(s step) bool {
				return s.Action != control.WillNothing || s.Definition == control.Changed || s.Definition == control.Added
			}) {
				t.Fatalf("seed %d, round %d: after an apply there is something to do: %+v", seed, round, plain(steps))
			}
		}
	}
}

func plain(steps []step) []control.PlanStep {
	var out []control.PlanStep
	for _, s := range steps {
		out = append(out, s.PlanStep)
	}
	return out
}

// asPlanned says what happened that was not planned, or the other way round.
func asPlanned(before, after map[string]sight, steps []step) string {
	planned := map[string]*step{}
	for i := range steps {
		planned[steps[i].Name] = &steps[i]
	}
	for name := range mergedKeys(before, after) {
		old, wasThere := before[name]
		now, isThere := after[name]
		did := control.WillNothing
		switch {
		case now.spawns > old.spawns && old.live:
			did = control.WillRestart
		case now.spawns > old.spawns:
			did = control.WillStart
		case old.live && !now.live:
			did = control.WillStop
		}
		became := control.Unchanged
		switch {
		case !wasThere:
			became = control.Added
		case !isThere:
			became = control.Removed
		case old.def != now.def && len(model.Diff(old.def, now.def)) > 0:
			became = control.Changed
		}
		action, definition := control.WillNothing, control.Unchanged
		if p := planned[name]; p != nil {
			action, definition = p.Action, p.Definition
			if definition == control.Pinned || definition == control.Broken {
				definition = control.Unchanged
			}
		}
		if did != action || became != definition {
			return fmt.Sprintf("%s: %s and %s, planned are %s and %s", name, became, did, definition, action)
		}
	}
	return ""
}

func mergedKeys(a, b map[string]sight) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

func TestAPlanBeginsWithWhatMakesRoom(t *testing.T) {
	w := newWorld(t, 1)
	w.after = time.Second
	w.define("stays", nil)
	w.define("goes", nil)
	w.define("changes", nil)
	w.template("web", 12, nil)
	w.boot()
	w.advance(time.Minute)
	delete(w.defs, "goes")
	w.define("comes", nil)
	w.define("changes", func(s *model.Service) { s.Command, s.Log.Keep = []string{"/bin/other"}, 3 })
	w.template("web", 9, nil)
	steps, _, _ := w.eng.planFor(nil)
	var got []string
	for _, s := range steps {
		got = append(got, fmt.Sprint(s.Action, " ", s.Name, " ", s.keyNames()))
	}
	want := []string{"stop web@12 []", "stop web@11 []", "stop web@10 []", "stop goes []", "restart changes [command log.keep]", "start comes []"}
	if !slices.Equal(got, want) {
		t.Errorf("the plan is %q, want %q", got, want)
	}
	if !steps[4].Keys[0].Restarts || steps[4].Keys[1].Restarts {
		t.Errorf("keys %+v", steps[4].Keys)
	}
}

func TestARollbackToWhatIsNotThereStopsNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.after = time.Second
	w.define("web", nil)
	w.boot()
	w.advance(time.Minute)
	w.define("web", func(s *model.Service) { s.Command = []string{"/bin/new"} })
	w.ask(control.Apply)
	for _, c := range []struct {
		number int
		before func()
		want   string
	}{
		{9, func() {}, "there is none of that number"},
		{1, func() { w.missing["/bin/web"] = true }, "cannot find program /bin/web"},
		{1, func() { w.missing, w.full = map[string]bool{}, true }, "no space left on device"},
	} {
		c.before()
		out := w.settled(control.Request{Verb: control.Rollback, Names: []string{"web"}, Number: c.number})
		if len(out) != 1 || out[0].Done || !strings.Contains(out[0].Message, c.want) || !strings.HasPrefix(out[0].Message, "cannot roll back web to snapshot") {
			t.Errorf("rollback to %d: %+v, want %q", c.number, out, c.want)
		}
		if s := w.service("web"); s.def.Command[0] != "/bin/new" || len(w.pins) != 0 || w.keeper.slots["web"].spawns != 2 || w.status("web").Pinned {
			t.Errorf("rollback to %d changed something\n%s", c.number, w.story())
		}
	}
	if out := w.settled(control.Request{Verb: control.Rollback, Names: []string{"nobody"}, Number: 1}); out[0].Code != control.Unknown {
		t.Errorf("rollback of what is not there: %+v", out)
	}
}

func TestAPinHoldsAgainstEverythingButUnpin(t *testing.T) {
	w := newWorld(t, 1)
	w.after = time.Second
	w.define("web", nil)
	w.boot()
	w.advance(time.Minute)
	w.define("web", func(s *model.Service) { s.Command = []string{"/bin/new"} })
	w.ask(control.Apply)
	out := w.settled(control.Request{Verb: control.Rollback, Names: []string{"web"}, Number: 1})
	if wrong := first(message(out, "running, pid "), spawns(w, "web", 3)); wrong != "" {
		t.Fatalf("%s\n%s", wrong, w.story())
	}
	pinned := func(after string) {
		t.Helper()
		st := w.status("web")
		if s := w.service("web"); s.def.Command[0] != "/bin/web" || !st.Pinned || !st.Definition.Changed || !strings.Contains(st.Why, "pinned to snapshot 1") {
			t.Fatalf("after %s: %v, %+v", after, s.def.Command, st)
		}
	}
	pinned("rollback")
	w.ask(control.Restart, "web")
	w.advance(time.Minute)
	pinned("restart")
	if out := w.ask(control.Apply); len(out) != 1 || !out[0].Done || !strings.Contains(out[0].Message, "passed over") || out[0].Hint != "abide apply --unpin web" {
		t.Errorf("apply of everything: %+v", out)
	}
	pinned("apply")
	if out := w.ask(control.Apply, "web"); len(out) != 1 || !strings.Contains(out[0].Message, "passed over") {
		t.Errorf("apply of it: %+v", out)
	}
	pinned("apply web")
	w.boot()
	w.run()
	pinned("another engine")
	// A reboot: nothing of this boot is left.
	w.reboot()
	pinned("a reboot")
	saved := w.defs["web"]
	delete(w.defs, "web")
	w.reboot()
	if s := w.service("web"); s.def.Command[0] != "/bin/web" {
		t.Fatalf("a pin without a file: %v", s.def.Command)
	}
	w.ask(control.Apply)
	w.service("web")
	w.defs["web"] = saved
	runs := w.keeper.slots["web"].spawns
	out = w.settled(control.Request{Verb: control.Apply, Names: []string{"web"}, Unpin: true})
	if s := w.service("web"); len(out) != 1 || !out[0].Done || s.def.Command[0] != "/bin/new" || w.status("web").Pinned || len(w.pins) != 0 || w.keeper.slots["web"].spawns != runs+1 {
		t.Fatalf("unpinned: %+v, %v\n%s", out, s.def.Command, w.story())
	}
}

// reboot ends everything that does not outlive a boot.
func (w *world) reboot() {
	w.keeper.slots, w.keeper.outbox, w.pages, w.applied, w.asked = map[string]*slot{}, nil, map[string][]byte{}, nil, nil
	w.keeper.held, w.groups, w.boots = map[string][]uint64{}, map[string]*fakeGroup{}, 0
	w.boot()
	w.advance(time.Minute)
}

func TestScaleRunsSoManyCopiesUntilItIsReset(t *testing.T) {
	w := newWorld(t, 1)
	w.after = time.Second
	w.template("web", 2, nil)
	w.define("single", nil)
	w.boot()
	w.advance(time.Minute)
	scale := func(req control.Request) []control.Outcome {
		t.Helper()
		req.Verb = control.Scale
		if req.Names == nil {
			req.Names = []string{"web"}
		}
		return w.settled(req)
	}
	copies := func(want ...string) {
		t.Helper()
		var got []string
		for _, name := range w.eng.instancesOf("web") {
			if w.keeper.slots[name] != nil && w.keeper.slots[name].live {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("there are %v, want %v\n%s", got, want, w.story())
		}
	}
	copies("web@1", "web@2")
	if out := scale(control.Request{Number: 4}); first(message(out, "scaled to 4", "running, pid ", "running, pid ")) != "" {
		t.Errorf("scaled up: %+v", out)
	}
	copies("web@1", "web@2", "web@3", "web@4")
	// Neither a changed file nor an apply, another engine or a reboot takes it back.
	w.template("web", 2, func(s *model.Service) { s.Log.Keep = 7 })
	w.ask(control.Apply)
	copies("web@1", "web@2", "web@3", "web@4")
	w.reboot()
	copies("web@1", "web@2", "web@3", "web@4")
	if text := w.eng.layersText(w.service("web@2")); !strings.HasPrefix(text, "# scale = 4  # state folder: abide scale web, by uid 0 at ") {
		t.Errorf("show says %q", text)
	}
	mark := len(w.history)
	if out := scale(control.Request{Number: 1}); first(message(out, "scaled to 1", "stopped", "stopped", "stopped")) != "" || out[1].Name != "web@4" {
		t.Errorf("scaled down: %+v", out)
	}
	copies("web@1")
	var stopped []string
	for _, ev := range w.history[mark:] {
		if ev.Kind == "definition" && strings.HasPrefix(ev.Text, "its definition is gone") {
			stopped = append(stopped, ev.Service)
		}
	}
	if want := []string{"web@4", "web@3", "web@2"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped in the order %v, want %v", stopped, want)
	}
	if out := scale(control.Request{Number: 0}); first(message(out, "scaled to 0", "stopped")) != "" {
		t.Errorf("scaled to nothing: %+v", out)
	}
	copies()
	if out := scale(control.Request{Reset: true}); first(message(out, "scaled to 2, as its file says", "running, pid ", "running, pid ")) != "" {
		t.Errorf("reset: %+v", out)
	}
	copies("web@1", "web@2")
	if len(w.scales) > 0 && w.scales["web@"] != nil {
		t.Errorf("kept is %+v", w.scales)
	}
	// A copy that is pinned comes back as it was pinned.
	w.template("web", 2, func(s *model.Service) { s.Command = []string{"/bin/new"} })
	w.ask(control.Apply)
	w.advance(time.Minute)
	w.settled(control.Request{Verb: control.Rollback, Names: []string{"web@2"}, Number: 1})
	scale(control.Request{Number: 1})
	scale(control.Request{Number: 2})
	if s := w.service("web@2"); s.def.Command[0] != "/bin/web" || !w.status("web@2").Pinned || w.service("web@1").def.Command[0] != "/bin/new" {
		t.Errorf("the pinned copy runs by %v, %+v", s.def.Command, w.kept["web@2"])
	}
	scale(control.Request{Reset: true})
	// What cannot be done changes nothing.
	w.templates["named@"] = Template{File: "/etc/named@.toml", Named: []string{"a", "b"}}
	for _, c := range []struct {
		req  control.Request
		code control.Code
		want string
		hint string
	}{
		{control.Request{Names: []string{"single"}, Number: 2}, control.Failed, "one service, not a template", "mv /etc/single.toml /etc/single@.toml"},
		{control.Request{Names: []string{"nobody"}, Number: 2}, control.Unknown, "unknown service", ""},
		{control.Request{Names: []string{"named"}, Number: 2}, control.Failed, "its instances have names (a, b)", ""},
		{control.Request{Number: model.MaxScale + 1}, control.Usage, "is not between 0 and", ""},
		{control.Request{Names: []string{"web", "single"}, Number: 1}, control.Usage, "one template must be named", ""},
	} {
		out := scale(c.req)
		if len(out) != 1 || out[0].Code != c.code || !strings.Contains(out[0].Message, c.want) || !strings.Contains(out[0].Hint, c.hint) {
			t.Errorf("scale %+v: %+v", c.req, out)
		}
	}
	w.full = true
	if out := scale(control.Request{Number: 4}); out[0].Code != control.Failed || !strings.Contains(out[0].Message, "no space left") {
		t.Errorf("with a full disk: %+v", out)
	}
	copies("web@1", "web@2")
}

func TestWhatWasInForceIsKeptForARollback(t *testing.T) {
	w := newWorld(t, 1)
	w.after = time.Second
	w.define("web", nil)
	w.boot()
	w.advance(time.Minute)
	w.define("web", func(s *model.Service) { s.Command = []string{"/bin/2"} })
	w.settled(control.Request{Verb: control.Apply})
	w.define("web", func(s *model.Service) { s.Command = []string{"/bin/3"} })
	w.settled(control.Request{Verb: control.Restart, Names: []string{"web"}})
	var got []string
	for _, v := range w.kept["web"] {
		got = append(got, fmt.Sprint(v.Number, v.Def.Command, v.Verb, v.By, v.Keys))
	}
	want := []string{"1 [/bin/web]boot-1 []", "2 [/bin/2]apply0 [command]", "3 [/bin/3]restart0 [command]"}
	if !slices.Equal(got, want) {
		t.Errorf("kept is %q, want %q", got, want)
	}
	// An archive that cannot be written keeps nobody from applying.
	w.full = true
	w.define("web", func(s *model.Service) { s.Command = []string{"/bin/4"} })
	w.ask(control.Apply)
	if s := w.service("web"); s.def.Command[0] != "/bin/4" || !slices.ContainsFunc(w.said, func(line string) bool { return strings.Contains(line, "for a rollback") }) {
		t.Errorf("%v, said %q", s.def.Command, w.said)
	}
}

// related defines services of which some follow others.
func (w *world) related(name string, command int) {
	w.define(name, func(s *model.Service) {
		s.Command = []string{fmt.Sprint("/bin/", command)}
		switch name {
		case "web":
			s.Needs.Requires = []model.Dependency{{Service: "db", Restart: model.RestartOnRestart}}
		case "calm":
			s.Needs.Requires = []model.Dependency{{Service: "db"}}
		case "part":
			s.Needs.PartOf = []model.Dependency{{Service: "web"}}
		case "front":
			s.Needs.Wants = []model.Dependency{{Service: "web", Restart: model.RestartOnRestart}}
		}
	})
}

func TestAPlanNamesWhoFollows(t *testing.T) {
	all := []string{"db", "web", "calm", "part", "front"}
	for _, c := range []struct {
		what   string
		change func(w *world)
		want   []string
	}{
		{"a need is restarted", func(w *world) { w.related("db", 2) }, []string{
			"restart front for web", "restart part for web", "restart web for db", "restart db for "}},
		{"one that follows is restarted", func(w *world) { w.related("web", 2) }, []string{
			"restart front for web", "restart part for web", "restart web for "}},
		{"nobody follows", func(w *world) { w.related("calm", 2) }, []string{"restart calm for "}},
		{"a need goes", func(w *world) { delete(w.defs, "db") }, []string{
			"restart front for web", "restart part for web", "stop calm for db", "stop web for db", "stop db for "}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, 1)
			w.after = time.Second
			for _, name := range all {
				w.related(name, 1)
			}
			w.boot()
			w.advance(time.Minute)
			c.change(w)
			steps, _, _ := w.eng.planFor(nil)
			var got []string
			for _, s := range steps {
				got = append(got, fmt.Sprint(s.Action, " ", s.Name, " for ", s.Because))
			}
			slices.Sort(got[:len(got)-1])
			if !slices.Equal(got, c.want) {
				t.Errorf("planned is %q, want %q", got, c.want)
			}
			before := w.look()
			out := w.ask(control.Apply)
			w.advance(time.Minute)
			if len(out) != 1 {
				t.Errorf("outcomes %+v", out)
			}
			if wrong := asPlanned(before, w.look(), steps); wrong != "" {
				t.Errorf("%s\n%s", wrong, w.story())
			}
		})
	}
}
