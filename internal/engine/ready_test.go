package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

func readyBy(sign func(*model.Ready)) func(*model.Service) {
	return func(def *model.Service) {
		sign(&def.Ready)
		def.Ready.Timeout = 30 * time.Second
	}
}

// signsOfReadiness are those that are found here, each with how a program gives it.
var signsOfReadiness = map[string]struct {
	sign func(*model.Ready)
	give func(w *world)
}{
	"tcp":  {func(r *model.Ready) { r.TCP = "localhost:${port}" }, func(w *world) { w.sights.answers["localhost:80"] = nil }},
	"http": {func(r *model.Ready) { r.HTTP = "http://localhost/up" }, func(w *world) { w.sights.answers["http://localhost/up"] = nil }},
	"exec": {func(r *model.Ready) { r.Exec = []string{"isready"} }, func(w *world) { w.verdict = 0 }},
	"fd":   {func(r *model.Ready) { r.FD = 3 }, func(w *world) { w.sights.say("web", w.keeper.slots["web"].run, "on my way\n") }},
	"log":  {func(r *model.Ready) { r.Log = "^ready at [0-9]+$" }, func(w *world) { w.sights.write("web", w.keeper.slots["web"].run, "ready at 9") }},
	"file": {func(r *model.Ready) { r.File = "/run/web.ready" }, func(w *world) { w.sights.touch("/run/web.ready") }},
}

// answerCommands has commands that check end with w.verdict as soon as they run.
func (w *world) answerCommands() {
	w.verdict = 1 << 8
	w.commands = func(slot string) { w.keeper.end(slot, w.verdict) }
}

func TestAServiceIsReadyWhenItsSignComes(t *testing.T) {
	for name, c := range signsOfReadiness {
		w := newWorld(t, 1)
		w.answerCommands()
		w.define("web", readyBy(c.sign))
		w.boot()
		w.run()
		w.expect("web", "starting")
		if why := w.status("web").Why; !strings.HasPrefix(why, "not ready yet: ") {
			t.Errorf("%s: while it starts status says %q", name, why)
		}
		w.advance(5 * time.Second)
		w.expect("web", "starting")
		c.give(w)
		w.advance(lastPause)
		w.expect("web", "running")
		w.expectQuiet(t)
		if len(w.sights.open) != 0 {
			t.Errorf("%s: pipes %v are open", name, w.sights.open)
		}
		if tags := w.keeper.tags["web"]; len(tags) != 0 {
			t.Errorf("%s: the keeper still holds %v", name, tags)
		}
	}
}

func TestARunWithoutItsSignEndsInTime(t *testing.T) {
	for name, c := range signsOfReadiness {
		w := newWorld(t, 1)
		w.answerCommands()
		w.define("web", func(def *model.Service) {
			readyBy(c.sign)(def)
			def.Restart.When = model.RestartNever
		})
		w.boot()
		w.advance(29 * time.Second)
		w.expect("web", "starting")
		w.advance(2 * time.Second)
		w.expect("web", "failed")
		w.expectQuiet(t)
		if len(w.sights.open) != 0 {
			t.Errorf("%s: pipes %v are open", name, w.sights.open)
		}
	}
}

func TestASignInTheMiddleOfAStopChangesNothing(t *testing.T) {
	for name, c := range signsOfReadiness {
		w := newWorld(t, 1)
		w.answerCommands()
		w.ignores["web"] = true
		w.define("web", readyBy(c.sign))
		w.boot()
		w.run()
		w.ask(control.Stop, "web")
		w.expect("web", "stopping")
		w.expectQuiet(t)
		c.give(w)
		w.advance(time.Second)
		if got := w.service("web").stateName(); got != "stopping" {
			t.Errorf("%s: it is %s", name, got)
		}
		w.advance(time.Minute)
		w.expect("web", "stopped")
	}
}

// Whatever instruction the engine dies at, before the sign, between the sign and its
// reading, or after.
func TestASignIsNotLostWithTheEngine(t *testing.T) {
	for name, c := range signsOfReadiness {
		for crashAt := 1; ; crashAt++ {
			w := newWorld(t, uint64(crashAt))
			w.answerCommands()
			w.define("web", readyBy(c.sign))
			w.crashIn = crashAt
			w.boot()
			w.run()
			w.crashNext = 0
			if w.keeper.slots["web"] == nil || !w.keeper.slots["web"].live {
				t.Fatalf("%s: it does not run\n%s", name, w.story())
			}
			w.advance(time.Second)
			c.give(w)
			w.advance(2 * time.Second)
			died := w.crashIn == 0
			w.crashIn = 0
			w.advance(2 * time.Second)
			if got := w.service("web").stateName(); got != "running" {
				t.Fatalf("%s: killed at call %d it is %s\n%s", name, crashAt, got, w.story())
			}
			if n := w.keeper.slots["web"].spawns; n != 1 {
				t.Errorf("%s: killed at call %d it was started %d times", name, crashAt, n)
			}
			w.expectQuiet(t)
			if !died {
				break
			}
		}
	}
}

// The sign is given while nothing of the engine lives.
func TestASignIsSeenByTheNextEngine(t *testing.T) {
	for name, c := range signsOfReadiness {
		w := newWorld(t, 1)
		w.answerCommands()
		w.define("web", readyBy(c.sign))
		w.boot()
		w.run()
		w.sights.forget()
		c.give(w)
		w.boot()
		w.advance(lastPause)
		if got := w.service("web").stateName(); got != "running" {
			t.Errorf("%s: it is %s\n%s", name, got, w.story())
		}
		w.expectQuiet(t)
	}
}

func TestAProgramIsAskedAtOnceAndThenMoreAndMoreSeldom(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", readyBy(func(r *model.Ready) { r.TCP = "localhost:80" }))
	w.boot()
	w.run()
	if n := w.tries(); n != 1 {
		t.Fatalf("asked %d times when it has just begun", n)
	}
	w.advance(10 * time.Millisecond)
	if n := w.tries(); n != 2 {
		t.Errorf("asked %d times in 10 ms", n)
	}
	w.advance(time.Second)
	early := w.tries()
	w.advance(10 * time.Second)
	if n := w.tries() - early; n != 20 {
		t.Errorf("asked %d times in 10 s, want every 500 ms", n)
	}
	if got, want := w.status("web").Why, "not ready yet: tcp localhost:80: connection refused"; got != want {
		t.Errorf("status says %q, want %q", got, want)
	}
	if w.sights.most != 1 {
		t.Errorf("asked %d times at once", w.sights.most)
	}
}

func TestAFrozenProgramIsNotAsked(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", readyBy(func(r *model.Ready) { r.TCP = "localhost:80" }))
	w.boot()
	w.run()
	w.ask(control.Pause, "web")
	before := w.tries()
	w.advance(time.Hour)
	if n := w.tries() - before; n != 0 || len(w.eng.wakes) != 0 {
		t.Errorf("asked %d times, %d timers while it is frozen", n, len(w.eng.wakes))
	}
	w.sights.answers["localhost:80"] = nil
	w.ask(control.Resume, "web")
	w.expect("web", "running")
}

func TestAnEndOfThePipeWithoutANewlineIsSaidOnce(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", readyBy(func(r *model.Ready) { r.FD = 3 }))
	w.boot()
	w.run()
	w.sights.say("web", 1, "")
	w.advance(time.Second)
	w.expect("web", "starting")
	const want = "descriptor 3 was closed without a newline"
	if n := strings.Count(w.story(), want); n != 1 || !strings.Contains(w.status("web").Why, want) {
		t.Errorf("said %d times; status: %s", n, w.status("web").Why)
	}
	w.advance(time.Minute)
	if !strings.Contains(w.story(), "not ready: "+want) {
		t.Errorf("the end is not explained:\n%s", w.story())
	}
}

func TestAFileThatWasThereBeforeTheRunMustBeTouched(t *testing.T) {
	w := newWorld(t, 1)
	w.sights.touch("/run/web.ready")
	w.define("web", readyBy(func(r *model.Ready) { r.File = "/run/web.ready" }))
	w.boot()
	w.advance(5 * time.Second)
	w.expect("web", "starting")
	w.boot() // the next engine knows how the file was
	w.advance(5 * time.Second)
	w.expect("web", "starting")
	w.sights.touch("/run/web.ready")
	w.run()
	w.expect("web", "running")
}

func TestASignThatCannotBeWaitedForRefusesTheStart(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", readyBy(func(r *model.Ready) { r.Log = "(" }))
	w.boot()
	w.run()
	if text := w.service("web").fault; !strings.HasPrefix(text, "cannot start web: cannot use ready.log: ") {
		t.Errorf("the fault is %q", text)
	}
	if w.keeper.slots["web"] != nil {
		t.Error("it was started")
	}
}

func TestALineThatNeverComesByIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(def *model.Service) {
		readyBy(func(r *model.Ready) { r.Log = "ready" })(def)
		def.Log.Stdout, def.Log.Stderr = []model.LogTarget{{Kind: model.LogNull}}, []model.LogTarget{{Kind: model.LogInherit}}
	})
	w.boot()
	w.run()
	if got, want := w.service("web").fault, "cannot start web: ready.log waits for a line, and log sends all output past abide"; got != want {
		t.Errorf("the fault is %q, want %q", got, want)
	}
}

func TestAChangedSignIsWaitedForInThePlaceOfTheOld(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", readyBy(func(r *model.Ready) { r.TCP = "localhost:80" }))
	w.boot()
	w.run()
	def := *w.defs["web"]
	def.Ready.TCP = "localhost:81"
	w.sights.answers["localhost:81"] = nil
	s := w.service("web")
	w.guard(func() {
		s.define(&def)
		w.eng.feed(s, core.Event{Kind: core.EvRedefined})
	})
	w.run()
	w.expect("web", "running")
	w.expectQuiet(t)
}

func TestAProgramThatDiesWhileItIsAskedIsAskedNoMore(t *testing.T) {
	w := newWorld(t, 1)
	w.sights.silent["localhost:80"] = true
	w.define("web", readyBy(func(r *model.Ready) { r.TCP = "localhost:80" }))
	w.boot()
	w.run()
	w.keeper.end("web", 1<<8)
	w.run()
	w.expect("web", "waiting")
	if len(w.eng.wakes) != 1 { // the silence of the fake itself
		t.Errorf("%d timers", len(w.eng.wakes))
	}
	w.advance(100 * time.Millisecond)
	if n := w.tries(); n != 2 {
		t.Errorf("asked %d times, want once for each run", n)
	}
}

func TestEverySignHasAName(t *testing.T) {
	for name, c := range signsOfReadiness {
		var r model.Ready
		c.sign(&r)
		if text := readyText(&r); text == "" || strings.HasSuffix(text, " ") {
			t.Errorf("%s is called %q", name, text)
		}
	}
	if got := fmt.Sprint(readyText(&model.Ready{Notify: true})); got != "READY=1" {
		t.Errorf("sd_notify is called %q", got)
	}
}
