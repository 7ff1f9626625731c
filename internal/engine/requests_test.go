package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// client asks until it has an answer: with the same id of each engine that comes
// after one that died. patience is how long it lets the world go on.
func (w *world) client(req control.Request, patience time.Duration) ([]control.Outcome, error) {
	w.t.Helper()
	if req.ID == "" {
		req.ID = "0123456789"
	}
	for range 100 {
		var r *request
		asked := w.eng
		w.guard(func() { r = w.eng.ask(req) })
		for waited := time.Duration(0); w.eng == asked; {
			w.run()
			if w.eng != asked {
				break
			}
			select {
			case <-r.ready:
				return r.results(), r.err
			default:
			}
			if w.eng.done {
				w.t.Fatalf("abide ended and %s %v was not answered\n%s", req.Verb, req.Names, w.story())
			}
			if waited += 100 * time.Millisecond; waited > patience {
				w.t.Fatalf("%s %v was not answered\n%s", req.Verb, req.Names, w.story())
			}
			w.advance(100 * time.Millisecond)
		}
	}
	w.t.Fatalf("%s %v was never answered", req.Verb, req.Names)
	return nil, nil
}

// verbStory is what one request must come to, whatever engines die under it.
type verbStory struct {
	name    string
	prepare func(w *world)
	req     control.Request
	expect  func(w *world, out []control.Outcome) string // "" if it is right
}

func spawns(w *world, name string, n int) string {
	slot := w.keeper.slots[name]
	if slot == nil {
		return name + " was never started"
	}
	if got := slot.spawns; got != n {
		return fmt.Sprintf("%s was started %d times, want %d", name, got, n)
	}
	return ""
}

func message(out []control.Outcome, wants ...string) string {
	if len(out) != len(wants) {
		return fmt.Sprintf("%d outcomes, want %d: %+v", len(out), len(wants), out)
	}
	for i, o := range out {
		if !o.Done || !strings.HasPrefix(o.Message, wants[i]) {
			return fmt.Sprintf("outcome %+v, want %q", o, wants[i])
		}
	}
	return ""
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func stopWeb(w *world) {
	w.ask(control.Stop, "web")
	w.expect("web", "stopped")
}

func applyOther(w *world) {
	w.define("web", func(s *model.Service) { s.Command, s.Ready.After = []string{"/bin/other"}, time.Second })
	w.ask(control.Apply)
	w.advance(time.Minute)
}

func signalsOf(w *world, name string, want ...int) string {
	if got := w.keeper.slots[name].signals; !slices.Equal(got, want) {
		return fmt.Sprintf("%s got the signals %v, want %v", name, got, want)
	}
	return ""
}

var verbStories = []verbStory{
	{"start", stopWeb, control.Request{Verb: control.Start, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "running, pid "), spawns(w, "web", 2))
	}},
	{"start what runs", nil, control.Request{Verb: control.Start, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "already running"), spawns(w, "web", 1))
	}},
	{"start what cannot start", func(w *world) {
		stopWeb(w)
		w.service("web").cfg.When = 1
		w.defs["web"].Restart.When = model.RestartNever
		w.keeper.refuse = map[string]int{"web": 13}
	}, control.Request{Verb: control.Start, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		if len(out) != 1 || out[0].Code != control.Failed || !strings.Contains(out[0].Message, "cannot start web") {
			return fmt.Sprintf("outcome %+v", out)
		}
		return spawns(w, "web", 1)
	}},
	{"stop", nil, control.Request{Verb: control.Stop, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "stopped"), spawns(w, "web", 1), signalsOf(w, "web", 15))
	}},
	{"stop in steps", func(w *world) { w.ignores["web"] = true }, control.Request{Verb: control.Stop, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "stopped; KILL was needed"), spawns(w, "web", 1))
	}},
	{"restart", nil, control.Request{Verb: control.Restart, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "running, pid "), spawns(w, "web", 2), signalsOf(w, "web", 15))
	}},
	{"restart what does not answer", func(w *world) { w.ignores["web"] = true }, control.Request{Verb: control.Restart, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "running, pid "), spawns(w, "web", 2))
	}},
	{"restart several", nil, control.Request{Verb: control.Restart, Names: []string{"web", "other"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "running, pid ", "running, pid "), spawns(w, "web", 2), spawns(w, "other", 2))
	}},
	{"start again what restarts", nil, control.Request{Verb: control.Restart, Names: []string{"web"}, NoWait: true}, func(w *world, out []control.Outcome) string {
		return first(message(out, "restart: under way"), spawns(w, "web", 2))
	}},
	{"signal", nil, control.Request{Verb: control.Signal, Names: []string{"web"}, Signal: 10}, func(w *world, out []control.Outcome) string {
		return first(message(out, "sent USR1"), spawns(w, "web", 1), signalsOf(w, "web", 10))
	}},
	{"reload", nil, control.Request{Verb: control.Reload, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "sent HUP"), spawns(w, "web", 1), signalsOf(w, "web", 1))
	}},
	{"reload by command", nil, control.Request{Verb: control.Reload, Names: []string{"commands"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "reloaded"), spawns(w, "commands", 1), spawns(w, "commands/reload", 1))
	}},
	{"stop by command", nil, control.Request{Verb: control.Stop, Names: []string{"commands"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "stopped"), spawns(w, "commands", 1), spawns(w, "commands/stop", 1))
	}},
	{"enable", nil, control.Request{Verb: control.Enable, Names: []string{"off"}}, func(w *world, out []control.Outcome) string {
		if w.wishes["off"].Enabled != state.Yes || w.keeper.slots["off"] != nil {
			return fmt.Sprintf("wish %+v", w.wishes["off"])
		}
		return message(out, "enabled")
	}},
	{"enable now", nil, control.Request{Verb: control.Enable, Names: []string{"off"}, Now: true}, func(w *world, out []control.Outcome) string {
		if w.wishes["off"].Enabled != state.Yes {
			return fmt.Sprintf("wish %+v", w.wishes["off"])
		}
		return first(message(out, "running, pid "), spawns(w, "off", 1))
	}},
	{"disable now", nil, control.Request{Verb: control.Disable, Names: []string{"web"}, Now: true}, func(w *world, out []control.Outcome) string {
		if w.wishes["web"].Enabled != state.No || w.keeper.slots["web"].live {
			return fmt.Sprintf("wish %+v", w.wishes["web"])
		}
		return first(message(out, "stopped"), spawns(w, "web", 1))
	}},
	{"clear", func(w *world) {
		w.keeper.end("once", 1<<8)
		w.run()
		w.expect("once", "failed")
	}, control.Request{Verb: control.Clear, Names: []string{"once"}}, func(w *world, out []control.Outcome) string {
		return first(message(out, "cleared"), spawns(w, "once", 2))
	}},
	{"pause", nil, control.Request{Verb: control.Pause, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		if !w.service("web").st.Paused {
			return "it is not paused"
		}
		return message(out, "paused")
	}},
	{"resume", func(w *world) { w.ask(control.Pause, "web") }, control.Request{Verb: control.Resume, Names: []string{"web"}}, func(w *world, out []control.Outcome) string {
		if w.service("web").st.Paused {
			return "it is paused"
		}
		return message(out, "resumed")
	}},
	{"apply", func(w *world) {
		w.define("web", func(s *model.Service) { s.Command, s.Ready.After = []string{"/bin/other"}, time.Second })
		w.define("new", nil)
		delete(w.defs, "other")
	}, control.Request{Verb: control.Apply}, func(w *world, out []control.Outcome) string {
		if w.eng.services["other"] != nil {
			return "the service whose definition is gone is there"
		}
		return first(spawns(w, "web", 2), spawns(w, "new", 1))
	}},
	{"rollback", applyOther, control.Request{Verb: control.Rollback, Names: []string{"web"}, Number: 1}, func(w *world, out []control.Outcome) string {
		if s := w.service("web"); s.def.Command[0] != "/bin/web" || w.pins["web"].Number != 1 {
			return fmt.Sprintf("it runs by %v, pinned to %+v", s.def.Command, w.pins["web"])
		}
		return first(message(out, "running, pid "), spawns(w, "web", 3))
	}},
	{"rollback of what is stopped", func(w *world) {
		applyOther(w)
		stopWeb(w)
	}, control.Request{Verb: control.Rollback, Names: []string{"web"}, Number: 1}, func(w *world, out []control.Outcome) string {
		if s := w.service("web"); s.def.Command[0] != "/bin/web" || w.pins["web"].Number != 1 {
			return fmt.Sprintf("it is defined by %v, pinned to %+v", s.def.Command, w.pins["web"])
		}
		return first(message(out, "pinned to snapshot 1"), spawns(w, "web", 2))
	}},
	{"apply of what was pinned", func(w *world) {
		applyOther(w)
		w.eng.rollback(control.Request{Number: 1}, w.service("web"))
		w.eng.settle()
		w.advance(time.Minute)
	}, control.Request{Verb: control.Apply, Names: []string{"web"}, Unpin: true}, func(w *world, out []control.Outcome) string {
		if s := w.service("web"); s.def.Command[0] != "/bin/other" || len(w.pins) != 0 {
			return fmt.Sprintf("it runs by %v, pins %+v", s.def.Command, w.pins)
		}
		return spawns(w, "web", 4)
	}},
	{"scale up", nil, control.Request{Verb: control.Scale, Names: []string{"copy"}, Number: 4}, func(w *world, out []control.Outcome) string {
		if w.scales["copy@"] == nil || w.scales["copy@"].Copies != 4 {
			return fmt.Sprintf("kept is %+v", w.scales)
		}
		return first(message(out, "scaled to 4", "running, pid ", "running, pid "), spawns(w, "copy@1", 1), spawns(w, "copy@3", 1), spawns(w, "copy@4", 1))
	}},
	{"scale down", func(w *world) { w.ignores["copy@2"] = true }, control.Request{Verb: control.Scale, Names: []string{"copy"}, Number: 0}, func(w *world, out []control.Outcome) string {
		if left := w.eng.instancesOf("copy"); len(left) > 0 || w.keeper.slots["copy@1"] != nil || w.keeper.slots["copy@2"] != nil {
			return fmt.Sprintf("%v are left", left)
		}
		if len(out) != 3 || !out[1].Done || !out[2].Done {
			return fmt.Sprintf("outcomes %+v", out)
		}
		return ""
	}},
	{"run", nil, control.Request{Verb: control.Run, Run: &control.RunSpec{Command: []string{"/bin/x"}}}, func(w *world, out []control.Outcome) string {
		if w.keeper.slots["run-2"] != nil {
			return "it runs twice"
		}
		return first(message(out, "started, pid "), spawns(w, "run-1", 1))
	}},
}

func verbWorld(t *testing.T, story verbStory) *world {
	w := newWorld(t, 1)
	for _, name := range []string{"web", "other"} {
		w.define(name, nil)
	}
	w.define("off", func(s *model.Service) { s.Enabled = false })
	w.define("once", func(s *model.Service) { s.Restart.When = model.RestartNever })
	w.define("commands", func(s *model.Service) {
		s.Reload.Command, s.Stop.Command = []string{"/bin/reload"}, []string{"/bin/stop"}
	})
	w.template("copy", 2, nil)
	w.copies["copy@"].Ready.After = time.Second
	w.commands = func(slot string) {
		// A stop command makes its service end; all commands end.
		if slot == "commands/stop" {
			w.keeper.end("commands", 0)
		}
		w.keeper.end(slot, 0)
	}
	for _, def := range w.defs {
		def.Ready.After = time.Second // on the world's clock, not on ours
	}
	w.boot()
	w.advance(time.Minute)
	if story.prepare != nil {
		story.prepare(w)
	}
	return w
}

// TestARequestIsCarriedOutOnceWhateverEnginesDie lets the engine die inside every
// single call that a request makes it do, and the next one in the calls after, and
// has the client ask again each time.
func TestARequestIsCarriedOutOnceWhateverEnginesDie(t *testing.T) {
	for _, story := range verbStories {
		t.Run(story.name, func(t *testing.T) {
			for _, again := range []int{0, 1, 7, 20} {
				for at := 1; ; at++ {
					w := verbWorld(t, story)
					w.crashIn, w.crashNext = at, again
					out, err := w.client(story.req, time.Minute)
					died := w.crashIn == 0
					w.crashIn, w.crashNext = 0, 0
					if err != nil {
						t.Fatalf("death at call %d, then %d: %v\n%s", at, again, err, w.story())
					}
					w.advance(time.Minute)
					wrong := story.expect(w, out)
					// A client that lost the answer asks once more.
					w.boot()
					w.run()
					repeated, err := w.client(story.req, time.Minute)
					w.advance(time.Minute)
					if wrong = first(wrong, story.expect(w, out)); wrong == "" && (err != nil || fmt.Sprint(texts(repeated)) != fmt.Sprint(texts(out))) {
						wrong = fmt.Sprintf("asked again it is %+v, %v; was %+v", repeated, err, out)
					}
					if len(w.history) != w.everNoted {
						wrong = first(wrong, fmt.Sprintf("%d events were noted, %d are in the history", w.everNoted, len(w.history)))
					}
					if wrong != "" || t.Failed() {
						t.Fatalf("death at call %d, then %d: %s\n%s", at, again, wrong, w.story())
					}
					if !died {
						break
					}
				}
			}
		})
	}
}

func texts(out []control.Outcome) []string {
	var all []string
	for _, o := range out {
		all = append(all, o.Name+": "+o.Message+string(o.Code))
	}
	return all
}

// Without a sign of readiness a start is looked at a little longer; an engine that
// follows does not begin that anew.
func TestAStartThatIsKnownToBeGoodIsAnsweredAtOnce(t *testing.T) {
	w := newWorld(t, 1)
	w.define("signed", func(s *model.Service) { s.Enabled, s.Ready.Notify, s.Ready.Timeout = false, true, time.Minute })
	w.define("plain", func(s *model.Service) { s.Enabled = false })
	w.boot()
	w.run()
	for _, name := range []string{"signed", "plain"} {
		w.guard(func() { w.eng.ask(control.Request{ID: "start-" + name, Verb: control.Start, Names: []string{name}}) })
		w.run()
		if len(w.eng.waiters) != 1 {
			t.Fatalf("%s: %d are waiting, want one\n%s", name, len(w.eng.waiters), w.story())
		}
		if name == "signed" {
			w.send(name, "READY=1")
		} else {
			w.now += int64(aLook)
			w.boot()
		}
		w.run()
		if len(w.eng.waiters) != 0 {
			t.Errorf("%s: %d are still waiting\n%s", name, len(w.eng.waiters), w.story())
		}
	}
}
