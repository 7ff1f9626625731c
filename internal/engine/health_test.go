package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

func checkedBy(check func(*model.Health)) func(*model.Service) {
	return func(def *model.Service) {
		def.Health.Interval, def.Health.Timeout, def.Health.Failures, def.Health.Restart = 10*time.Second, 5*time.Second, 3, false
		check(&def.Health)
	}
}

const page = "http://localhost/up"

func byPage(h *model.Health) { h.HTTP = page }

// upAndWell is a world with one service that is checked and well.
func upAndWell(t *testing.T, change func(*model.Service)) *world {
	w := newWorld(t, 1)
	w.answerCommands()
	w.verdict = 0
	w.sights.answers[page] = nil
	w.define("web", change)
	w.boot()
	w.run()
	w.expect("web", "running")
	return w
}

var errSick = errors.New("status 503")

func TestAServiceThatIsWellIsAskedOncePerInterval(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	if n := w.tries(); n != 0 {
		t.Errorf("asked %d times when it had just become ready", n)
	}
	w.advance(100 * time.Second)
	if n := w.tries(); n < 9 || n > 10 {
		t.Errorf("asked %d times in 100 s, want every 10 s", n)
	}
	if strings.Contains(w.story(), "health") {
		t.Errorf("a service that is well is talked about:\n%s", w.story())
	}
}

func TestAServiceThatTurnsSickIsDegradedUntilItIsWellAgain(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	w.sights.answers[page] = errSick
	w.advance(22 * time.Second)
	w.expect("web", "running")
	if got, want := w.status("web").Why, page+": status 503 (2 in a row)"; got != want {
		t.Errorf("status says %q, want %q", got, want)
	}
	w.advance(10 * time.Second)
	w.expect("web", "degraded")
	st := w.status("web")
	if want := page + ": status 503 (3 in a row)"; st.Why != want || !st.Ready {
		t.Errorf("status says %q and ready %t, want %q and ready all the same", st.Why, st.Ready, want)
	}
	w.advance(time.Hour)
	if n := strings.Count(w.story(), "status 503"); n != 3 {
		t.Errorf("said %d times that it is sick, want each time until it counted:\n%s", n, w.story())
	}
	if n := w.keeper.slots["web"].spawns; n != 1 {
		t.Errorf("started %d times", n)
	}
	w.sights.answers[page] = nil
	w.advance(11 * time.Second)
	w.expect("web", "running")
	if why := w.status("web").Why; why != "" || !strings.Contains(w.story(), page+": it is well again") {
		t.Errorf("well again, status says %q\n%s", why, w.story())
	}
}

func TestAServiceThatTurnsSickIsStartedAnew(t *testing.T) {
	w := upAndWell(t, func(def *model.Service) {
		checkedBy(byPage)(def)
		def.Health.Restart = true
	})
	w.sights.answers[page] = errSick
	w.advance(35 * time.Second)
	w.sights.answers[page] = nil
	w.advance(time.Second)
	w.expect("web", "running")
	if n := w.keeper.slots["web"].spawns; n != 2 {
		t.Errorf("started %d times, want twice\n%s", n, w.story())
	}
	w.advance(25 * time.Second)
	if w.service("web").st.Fails != 0 {
		t.Error("the next run begins sick")
	}
}

func TestAFailureInBetweenDoesNotCount(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	for range 10 {
		w.sights.answers[page] = errSick
		w.advance(21 * time.Second)
		w.sights.answers[page] = nil
		w.advance(11 * time.Second)
	}
	w.expect("web", "running")
}

func TestTheGraceIsWaitedFor(t *testing.T) {
	w := upAndWell(t, func(def *model.Service) {
		checkedBy(byPage)(def)
		def.Health.Grace = time.Minute
	})
	w.sights.answers[page] = errSick
	w.advance(59 * time.Second)
	if n := w.tries(); n != 0 {
		t.Errorf("asked %d times in its grace", n)
	}
	w.advance(25 * time.Second)
	w.expect("web", "degraded")
}

func TestAServiceThatIsNotRunningIsNotAsked(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	w.ask(control.Pause, "web")
	w.expectQuiet(t)
	w.advance(time.Hour)
	if n := w.tries(); n != 0 {
		t.Errorf("asked %d times while it is frozen", n)
	}
	w.ask(control.Resume, "web")
	w.advance(11 * time.Second)
	if n := w.tries(); n != 1 {
		t.Errorf("asked %d times after that, want once", n)
	}
	w.ask(control.Stop, "web")
	w.expectQuiet(t)
}

func TestAnAnswerThatComesAfterTheStopChangesNothing(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	w.sights.silent[page] = true
	w.ignores["web"] = true
	w.advance(11 * time.Second)
	if w.sights.asking != 1 {
		t.Fatalf("%d questions are open", w.sights.asking)
	}
	w.ask(control.Stop, "web")
	w.expect("web", "stopping")
	if w.sights.asking != 0 {
		t.Error("the question is still open")
	}
	w.advance(time.Minute)
	w.expect("web", "stopped")
}

func TestACheckThatHangsIsOneFailureAndNeverOverlaps(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	w.sights.silent[page] = true
	w.advance(10*time.Second + 3*15*time.Second + 2*time.Second)
	w.expect("web", "degraded")
	if w.sights.most != 1 {
		t.Errorf("asked %d times at once", w.sights.most)
	}
	if got, want := w.status("web").Why, page+": no answer within 5s (3 in a row)"; got != want {
		t.Errorf("status says %q, want %q", got, want)
	}
}

func TestACommandChecksAsAPageDoes(t *testing.T) {
	w := upAndWell(t, checkedBy(func(h *model.Health) { h.Exec = []string{"check", "it"} }))
	w.advance(25 * time.Second)
	if n := w.keeper.slots["web/health"].spawns; n != 2 {
		t.Errorf("ran %d times", n)
	}
	w.verdict = 2 << 8
	w.advance(35 * time.Second)
	w.expect("web", "degraded")
	if got, want := w.status("web").Why, "check it: exited with code 2 (3 in a row)"; got != want {
		t.Errorf("status says %q, want %q", got, want)
	}
	w.verdict = 0
	w.advance(11 * time.Second)
	w.expect("web", "running")
}

func TestACommandThatStillChecksIsEndedWithTheService(t *testing.T) {
	w := upAndWell(t, checkedBy(func(h *model.Health) { h.Exec = []string{"check"} }))
	w.commands = nil // it does not end
	w.advance(11 * time.Second)
	if !w.keeper.slots["web/health"].live {
		t.Fatal("no check runs")
	}
	w.ask(control.Stop, "web")
	w.run()
	if w.keeper.slots["web/health"].live {
		t.Error("the check goes on")
	}
}

// A check that the engine before began and that has not ended is the next one.
func TestACheckThatOutlivesItsEngineIsNotRunTwice(t *testing.T) {
	w := upAndWell(t, checkedBy(func(h *model.Health) { h.Exec = []string{"check"} }))
	w.commands = nil
	w.advance(11 * time.Second)
	w.boot()
	w.advance(11 * time.Second)
	if n := w.keeper.slots["web/health"].spawns; n != 1 {
		t.Errorf("it runs %d times", n)
	}
	w.keeper.end("web/health", 0)
	w.answerCommands()
	w.verdict = 0
	w.advance(11 * time.Second)
	if n := w.keeper.slots["web/health"].spawns; n != 2 {
		t.Errorf("it ran %d times after that, want twice", n)
	}
	w.expect("web", "running")
}

func TestFailuresAreCountedAcrossEngines(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	w.sights.answers[page] = errSick
	w.advance(22 * time.Second)
	w.boot()
	w.run()
	if got, want := w.status("web").Why, page+": failed 2 times in a row"; !strings.HasSuffix(got, want) {
		t.Errorf("status of the next engine says %q, want %q", got, want)
	}
	w.advance(11 * time.Second)
	w.expect("web", "degraded")
	w.boot()
	w.run()
	w.expect("web", "degraded")
	w.sights.answers[page] = nil
	w.advance(11 * time.Second)
	w.expect("web", "running")
}

func TestChecksSurviveTheEngineAtEveryCall(t *testing.T) {
	for crashAt := 1; ; crashAt++ {
		w := upAndWell(t, checkedBy(func(h *model.Health) { h.Exec = []string{"check"} }))
		w.verdict = 1 << 8
		w.crashIn = crashAt
		w.advance(40 * time.Second)
		died := w.crashIn == 0
		w.crashIn = 0
		w.advance(15 * time.Second)
		if got := w.service("web").stateName(); got != "degraded" {
			t.Fatalf("killed at call %d it is %s\n%s", crashAt, got, w.story())
		}
		if n := w.keeper.slots["web"].spawns; n != 1 {
			t.Errorf("killed at call %d it was started %d times", crashAt, n)
		}
		if !died {
			break
		}
	}
}

func TestChecksThatAreDueAtAboutTheSameTimeAreOneWakeUp(t *testing.T) {
	const services = 100
	w := newWorld(t, 1)
	for i := range services {
		w.define(fmt.Sprintf("web%d", i), checkedBy(func(h *model.Health) { h.TCP = fmt.Sprintf("host:%d", i) }))
		w.sights.answers[fmt.Sprintf("host:%d", i)] = nil
	}
	w.boot()
	w.run()
	// As if they had become ready one after the other, within the twentieth part of an
	// interval.
	for i := range services {
		s := w.service(fmt.Sprintf("web%d", i))
		w.guard(func() {
			w.eng.unwake(s.health.next)
			w.eng.checkIn(s, s.health, 10*time.Second+time.Duration(i)*4*time.Millisecond)
		})
	}
	times := map[int64]int{}
	w.clock = func() { times[w.now]++ }
	w.advance(60 * time.Second)
	if len(times) > 6 || w.tries() < 5*services {
		t.Errorf("%d checks of %d services woke us %d times in a minute, want once per interval", w.tries(), services, len(times))
	}
}

func TestAServiceWithoutChecksCostsNoTimer(t *testing.T) {
	w := newWorld(t, 1)
	for i := range 50 {
		w.define(fmt.Sprintf("web%d", i), nil)
	}
	w.define("slow", readyBy(func(r *model.Ready) { r.File = "/run/slow" }))
	w.boot()
	w.advance(time.Second)
	w.sights.touch("/run/slow")
	w.run()
	w.expectQuiet(t)
	if at := w.eng.nextTime(); at != 0 {
		t.Errorf("the timer is set for %d", at)
	}
}

func TestAnIntervalThatChangesHoldsFromThenOn(t *testing.T) {
	w := upAndWell(t, checkedBy(byPage))
	w.advance(5 * time.Second)
	def := *w.defs["web"]
	def.Health.Interval = time.Second
	s := w.service("web")
	w.guard(func() {
		s.define(&def)
		w.eng.feed(s, core.Event{Kind: core.EvRedefined})
	})
	w.run()
	w.advance(10 * time.Second)
	if n := w.tries(); n < 9 {
		t.Errorf("asked %d times in 10 s", n)
	}
}
