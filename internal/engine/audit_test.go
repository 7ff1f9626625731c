package engine

import (
	"fmt"
	"testing"

	"github.com/abide-project/abide/internal/control"
)

// audits are the records of attempts, "name verb uid result" each.
func (w *world) audits() []string {
	var out []string
	for _, ev := range w.history {
		if ev.Kind == "operator" || ev.Kind == "outcome" {
			out = append(out, fmt.Sprintf("%s %s %s %s", ev.Service, ev.Fields["verb"], ev.Fields["uid"], ev.Fields["result"]))
		}
	}
	return out
}

func TestEveryAttemptIsOnRecordWithItsOutcome(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	for _, req := range []control.Request{
		{Verb: control.Stop, Names: []string{"web"}, Who: control.Who{UID: 0, PID: 5}},
		{Verb: control.Start, Names: []string{"web"}, Who: control.Who{UID: 4000, PID: 6}},
		{Verb: control.Signal, Names: []string{"web"}, Signal: 1, Who: control.Who{UID: 0, PID: 7}},
		{Verb: control.Shutdown, Who: control.Who{UID: 4000, PID: 8}},
		{Verb: control.Apply, Who: control.Who{UID: 0, PID: 9}},
	} {
		w.guard(func() { w.eng.ask(req) })
		w.run()
	}
	want := []string{
		"web stop 0 accepted", "web stop 0 done",
		"web start 4000 not-permitted",
		"web signal 0 accepted", "web signal 0 not-running",
		" shutdown 4000 not-permitted",
		" apply 0 accepted",
	}
	if got := w.audits(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("on record is\n%q, want\n%q", got, want)
	}
}

func TestWhoMayNothingCannotFillTheHistory(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	before := len(w.history)
	for i := range 1000 {
		w.guard(func() {
			w.eng.ask(control.Request{Verb: control.Stop, Names: []string{"web"}, Who: control.Who{UID: 4000, PID: i}})
		})
	}
	if n := len(w.history) - before; n < refusalsTold || n > refusalsTold+20 {
		t.Errorf("1000 refused attempts left %d events", n)
	}
}
