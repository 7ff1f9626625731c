package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// fakeAlarms are on record outside of engines. Calls of the webhook are answered at
// once, with the errors in fails first.
type fakeAlarms struct {
	w     *world
	kept  map[string][]byte
	files map[string][]string
	fails []error
	calls []notice
}

func newAlarms(w *world) *fakeAlarms {
	f := &fakeAlarms{w: w, kept: map[string][]byte{}, files: map[string][]string{}}
	w.alarms = f
	return f
}

func (f *fakeAlarms) Set(key string, value []byte) error {
	f.w.port()
	f.kept[key] = value
	f.w.port()
	return nil
}
func (f *fakeAlarms) All() map[string][]byte { return f.kept }
func (f *fakeAlarms) Write(id string, lines []string) (string, error) {
	f.w.port()
	f.files[id] = lines
	return "/run/abide/onfailure/" + id, nil
}
func (f *fakeAlarms) Remove(id string) { delete(f.files, id) }
func (f *fakeAlarms) Post(_ context.Context, _, id string, body []byte) (bool, error) {
	var n notice
	if err := json.Unmarshal(body, &n); err != nil || n.ID != id {
		return false, fmt.Errorf("%s is %s: %w", id, body, err)
	}
	f.calls = append(f.calls, n)
	if len(f.fails) > 0 {
		err := f.fails[0]
		f.fails = f.fails[1:]
		return true, err
	}
	return false, nil
}

// alarmed defines web, which fails for good at its first end, and helper.
func alarmed(w *world) {
	w.define("web", func(s *model.Service) {
		s.Restart.When = model.RestartNever
		s.OnFailure = model.OnFailure{
			Start: []string{"helper", "nobody"}, Webhook: "https://hooks.example.org/T0/secret",
			Command: &model.Hook{Command: []string{"/srv/tell"}},
		}
	})
	w.define("helper", func(s *model.Service) { s.Enabled = false })
	w.commands = func(slot string) { w.keeper.end(slot, w.fails[slot]) }
}

// rest lets the work of goroutines and the world go on for some time.
func (w *world) rest(d time.Duration) {
	w.t.Helper()
	for range 20 {
		w.advance(d / 20)
	}
}

func TestAFaultIsToldOnceInEachWay(t *testing.T) {
	w := newWorld(t, 1)
	f := newAlarms(w)
	alarmed(w)
	w.boot()
	w.rest(time.Minute)
	w.keeper.end("web", 3<<8)
	w.rest(time.Minute)
	w.expect("web", "failed")
	w.expect("helper", "running")
	if wrong := first(spawns(w, "web/on_failure", 1), spawns(w, "helper", 1)); wrong != "" || len(f.calls) != 1 {
		t.Fatalf("%s, %d calls\n%s", wrong, len(f.calls), w.story())
	}
	n := f.calls[0]
	if n.Service != "web" || n.State != "failed" || n.Exit == nil || *n.Exit.Code != 3 || n.Faults != 1 || !strings.Contains(n.Reason, "exited with code 3") || n.Run != 1 {
		t.Errorf("told %+v", n)
	}
	for _, ev := range w.history {
		if strings.Contains(ev.Text, "secret") {
			t.Errorf("the address is in the history: %s", ev.Text)
		}
	}
	w.boot()
	w.rest(time.Minute)
	if len(f.calls) != 1 || len(f.files) != 0 {
		t.Errorf("after another engine: %d calls, files %v", len(f.calls), f.files)
	}
}

// TestAFaultIsToldWhateverEnginesDie lets the engine die inside every single call on
// the way: the command runs once, the webhook is called at least once with one id.
func TestAFaultIsToldWhateverEnginesDie(t *testing.T) {
	for _, again := range []int{0, 1, 7} {
		for at := 1; ; at++ {
			w := newWorld(t, 1)
			f := newAlarms(w)
			alarmed(w)
			w.boot()
			w.rest(time.Minute)
			w.crashIn, w.crashNext = at, again
			w.keeper.end("web", 3<<8)
			w.rest(30 * time.Second)
			died := w.crashIn == 0
			w.crashIn, w.crashNext = 0, 0
			w.rest(30 * time.Second)
			wrong := first(spawns(w, "web/on_failure", 1), spawns(w, "helper", 1))
			ids := map[string]bool{}
			for _, n := range f.calls {
				ids[n.ID] = true
			}
			if wrong != "" || len(ids) != 1 || w.eng.alarming() {
				t.Fatalf("death at call %d, then %d: %s, calls %+v\n%s", at, again, wrong, f.calls, w.story())
			}
			if !died {
				break
			}
		}
	}
}

func TestFaultsThatComeTooSoonAreCountedIntoOne(t *testing.T) {
	w := newWorld(t, 1)
	f := newAlarms(w)
	alarmed(w)
	w.defs["web"].OnFailure = model.OnFailure{Webhook: "https://hooks.example.org/"}
	w.boot()
	w.rest(time.Minute)
	for range 4 {
		w.keeper.end("web", 3<<8)
		w.rest(500 * time.Millisecond)
		w.ask(control.Start, "web")
		w.rest(500 * time.Millisecond)
	}
	if len(f.calls) != 1 {
		t.Fatalf("%d calls", len(f.calls))
	}
	a := w.eng.alarms.now["web"]
	if a.over() || a.Notice.Faults != 3 {
		t.Fatalf("it waits with %d faults", a.Notice.Faults)
	}
	w.rest(time.Minute)
	w.eng.tell("web", a) // its timer is of the real clock
	w.rest(time.Second)
	if len(f.calls) != 2 || f.calls[1].Faults != 3 {
		t.Errorf("told %+v", f.calls)
	}
}

func TestAWebhookThatFailsIsTriedThreeTimes(t *testing.T) {
	w := newWorld(t, 1)
	f := newAlarms(w)
	alarmed(w)
	webhookPausesFor(t, 0)
	w.defs["web"].OnFailure = model.OnFailure{Webhook: "https://hooks.example.org/"}
	f.fails = []error{errors.New("connection refused"), errors.New("it answers 503"), errors.New("it answers 503")}
	w.boot()
	w.rest(time.Minute)
	w.keeper.end("web", 3<<8)
	deadline := time.Now().Add(10 * time.Second)
	for w.rest(time.Second); w.eng.alarming() && time.Now().Before(deadline); {
		w.rest(time.Millisecond)
	}
	if len(f.calls) != 3 || w.eng.alarming() {
		t.Errorf("%d calls", len(f.calls))
	}
	if !strings.Contains(w.story(), "cannot tell https://hooks.example.org: it answers 503; given up") {
		t.Errorf("the history has\n%s", w.story())
	}
}

func webhookPausesFor(t *testing.T, d time.Duration) {
	old := webhookPauses
	t.Cleanup(func() { webhookPauses = old })
	webhookPauses = [webhookTries - 1]time.Duration{d, d}
}

func TestWhatOnFailureHasStartedStartsNothing(t *testing.T) {
	w := newWorld(t, 1)
	newAlarms(w)
	fails := func(other string) func(*model.Service) {
		return func(s *model.Service) {
			s.Restart.When = model.RestartNever
			s.Enabled = other == "b"
			s.OnFailure.Start = []string{other}
		}
	}
	w.define("a", fails("b"))
	w.define("b", fails("a"))
	w.boot()
	w.rest(time.Minute)
	w.keeper.end("a", 1<<8)
	w.rest(time.Minute)
	w.expect("b", "running")
	w.keeper.end("b", 1<<8)
	w.rest(time.Minute)
	w.expect("b", "failed")
	if wrong := spawns(w, "a", 1); wrong != "" {
		t.Error(wrong)
	}
}

func TestAFailedCommandIsSaidAndHasNoConsequence(t *testing.T) {
	w := newWorld(t, 1)
	newAlarms(w)
	alarmed(w)
	w.fails["web/on_failure"] = 1 << 8
	w.boot()
	w.rest(time.Minute)
	w.keeper.end("web", 3<<8)
	w.rest(time.Minute)
	if wrong := spawns(w, "web/on_failure", 1); wrong != "" || !strings.Contains(w.story(), "the command failed: the command exited with code 1") {
		t.Errorf("%s\n%s", wrong, w.story())
	}
}

func TestAbideEndsWhenEverybodyWasTold(t *testing.T) {
	w := newWorld(t, 1)
	f := newAlarms(w)
	alarmed(w)
	w.defs["web"].Essential = true
	w.boot()
	w.rest(time.Minute)
	w.keeper.end("web", 3<<8)
	deadline := time.Now().Add(10 * time.Second)
	for w.rest(time.Minute); !w.eng.done && time.Now().Before(deadline); {
		w.rest(time.Millisecond)
	}
	if !w.eng.done || w.eng.code != 3 || len(f.calls) != 1 || w.keeper.slots["web/on_failure"] == nil {
		t.Errorf("done %t with code %d, %d calls\n%s", w.eng.done, w.eng.code, len(f.calls), w.story())
	}
}
