package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// rolling is a world with one service that takes a second to be ready.
func rolling(t *testing.T) *world {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) { s.Ready.After = time.Second })
	w.boot()
	w.run()
	w.advance(2 * time.Second)
	w.expect("web", "running")
	return w
}

// living are the runs of web that live, as the keeper knows them.
func (w *world) living() string {
	var runs []string
	for _, slot := range []string{"web", "web/roll"} {
		if s := w.keeper.slots[slot]; s != nil && s.live {
			runs = append(runs, fmt.Sprintf("%s:%d", slot, s.run))
		}
	}
	return fmt.Sprint(runs)
}

func (w *world) expectRuns(want string) {
	w.t.Helper()
	if got := w.living(); got != want {
		w.t.Fatalf("%s live, want %s\n%s", got, want, w.story())
	}
}

func TestRollKeepsTheOldRunUntilTheNextIsReady(t *testing.T) {
	w := rolling(t)
	if o := w.ask(control.Roll, "web"); len(o) != 0 {
		t.Fatalf("answered before anything was ready: %+v", o)
	}
	w.expectRuns("[web:1 web/roll:2]")
	w.expect("web", "running")
	w.advance(time.Second)
	w.expectRuns("[web/roll:2]")
	w.expect("web", "running")
	if s := w.service("web"); s.st.Run != 2 || s.info.Last.Run != 1 {
		t.Errorf("run %d, last exit of run %d, want 2 and 1", s.st.Run, s.info.Last.Run)
	}
	// And back again, with a crash in between.
	w.keeper.end("web/roll", 11)
	w.advance(time.Minute)
	w.expectRuns("[web/roll:3]")
	w.ask(control.Roll, "web")
	w.expectRuns("[web:4 web/roll:3]")
	w.advance(time.Second)
	w.expectRuns("[web:4]")
	w.boot()
	w.run()
	w.expectRuns("[web:4]")
	w.ask(control.Stop, "web")
	w.expectRuns("[]")
	w.expect("web", "stopped")
}

func TestRollFailsAndTheOldRunStays(t *testing.T) {
	w := rolling(t)
	w.ask(control.Roll, "web")
	w.keeper.end("web/roll", 1<<8)
	w.run()
	w.expectRuns("[web:1]")
	w.expect("web", "running")
	w.advance(time.Minute)
	w.expectRuns("[web:1]")
	// Its number is not given out again: logs, groups and the history go by it.
	w.boot()
	w.run()
	w.keeper.end("web", 11)
	w.advance(time.Minute)
	w.expectRuns("[web:3]")
	if w.eng.hidden["web/roll"] != nil || len(w.pages) != 3 {
		t.Errorf("something of the roll is left: %v, %d pages", w.eng.hidden, len(w.pages))
	}
}

func TestRollsThatFailUseUpTheirNumbers(t *testing.T) {
	w := rolling(t)
	for roll := 2; roll <= 4; roll++ {
		w.ask(control.Roll, "web")
		if got, want := w.living(), fmt.Sprintf("[web:1 web/roll:%d]", roll); got != want {
			t.Fatalf("%s live, want %s", got, want)
		}
		w.keeper.end("web/roll", 11)
		w.run()
		w.expectRuns("[web:1]")
		w.boot()
		w.run()
	}
}

func TestRunsThatEndTogetherDuringARollAreFollowedByAThird(t *testing.T) {
	w := rolling(t)
	w.ask(control.Roll, "web")
	w.keeper.end("web/roll", 11)
	w.keeper.end("web", 11)
	w.run()
	w.advance(time.Minute)
	w.expect("web", "running")
	if s := w.service("web"); s.st.Run < 3 {
		t.Errorf("run %d follows, and 2 was given out", s.st.Run)
	}
}

func TestARunThatEndsDuringItsRollIsFollowedByTheNext(t *testing.T) {
	w := rolling(t)
	w.ask(control.Roll, "web")
	w.keeper.end("web", 11)
	w.run()
	w.expectRuns("[web/roll:2]")
	w.advance(time.Second)
	w.expect("web", "running")
	w.expectRuns("[web/roll:2]")
}

func TestStopDuringARollEndsBoth(t *testing.T) {
	for name, stop := range map[string]func(w *world){
		"stop":     func(w *world) { w.ask(control.Stop, "web") },
		"shutdown": func(w *world) { w.ask(control.Shutdown) },
		"removal":  func(w *world) { delete(w.defs, "web"); w.ask(control.Apply) },
	} {
		w := rolling(t)
		w.ask(control.Roll, "web")
		stop(w)
		w.run()
		if got := w.living(); got != "[]" {
			t.Errorf("%s: %s live", name, got)
		}
	}
}

func TestARollSurvivesTheEngineWhereverItDies(t *testing.T) {
	for fails := range 2 {
		for at := 1; ; at++ {
			w := rolling(t)
			w.crashIn = at
			for range 2 { // a client that got no answer asks again
				w.guard(func() {
					w.eng.ask(control.Request{ID: "roll", Verb: control.Roll, Names: []string{"web"}, Who: control.Who{PID: 1}})
				})
				w.run()
			}
			if fails == 1 && w.keeper.slots["web/roll"] != nil && w.keeper.slots["web/roll"].live {
				w.keeper.end("web/roll", 1<<8)
				w.run()
			}
			w.advance(time.Second)
			w.run()
			w.advance(time.Minute)
			w.run()
			// A start that was not carried out has used up its number.
			if got := w.living(); !slices.Contains([2][]string{{"[web/roll:2]", "[web/roll:3]"}, {"[web:1]"}}[fails], got) {
				t.Fatalf("killed in call %d: %s live, and the roll failed %d times\n%s", at, got, fails, w.story())
			}
			w.expect("web", "running")
			if len(w.eng.hidden) != 0 {
				t.Fatalf("killed in call %d: a half of the roll is left", at)
			}
			if len(w.eng.asked.open) != 0 {
				t.Fatalf("killed in call %d: the request is still open", at)
			}
			if w.crashIn > 0 {
				break
			}
		}
	}
}
