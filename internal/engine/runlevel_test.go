package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// levels defines two runlevels: 2 has net, 3 has net and shop, which needs db. What
// else is enabled belongs to none.
func (w *world) levels() {
	off := func(s *model.Service) { s.Enabled = false }
	for _, name := range []string{"net", "db"} {
		w.link(name, off)
	}
	w.link("shop", func(s *model.Service) { s.Enabled, s.Needs.Requires = false, deps("db") })
	w.link("always", nil)
	level := func(wants ...string) func(*model.Service) {
		return func(s *model.Service) {
			s.Kind, s.Command, s.Enabled, s.Needs.Wants = model.Target, nil, false, deps(wants...)
		}
	}
	w.define("runlevel-2", level("net"))
	w.define("3", level("net", "shop"))
}

func TestRunlevelStartsItsOwnAndStopsWhatBelongsToOthersOnly(t *testing.T) {
	w := newWorld(t, 1)
	w.levels()
	w.boot()
	w.advance(time.Minute)
	w.expectLive("always")
	if got := w.eng.runlevel.String(); got != "" {
		t.Errorf("before the first runlevel it is %q", got)
	}
	w.ask(control.Runlevel, "3")
	w.advance(time.Minute)
	w.expectLive("always", "net", "db", "shop")
	w.keeper.journal = nil
	w.ask(control.Runlevel, "2")
	w.advance(time.Minute)
	w.expectOrder("-shop -db")
	w.expect("3", "disabled")
	if got := w.eng.runlevel.String(); got != "3 2" {
		t.Errorf("the runlevel is %q, want 3 2", got)
	}
	// What something else needs stays, and a new engine knows where it is.
	w.boot()
	w.ask(control.Runlevel, "3")
	w.advance(time.Minute)
	w.link("always", func(s *model.Service) { s.Needs.Requires = deps("db") })
	w.ask(control.Apply)
	w.ask(control.Runlevel, "2")
	w.advance(time.Minute)
	w.expectLive("always", "net", "db")
	if got := w.eng.runlevel.String(); got != "3 2" {
		t.Errorf("the runlevel is %q, want 3 2", got)
	}
}

func TestOnlyTheOwnerGoesToARunlevelAndOnlyToOneThatIsThere(t *testing.T) {
	w := newWorld(t, 1)
	w.levels()
	w.boot()
	w.run()
	for _, c := range []struct {
		uid  int
		name string
		code control.Code
	}{{1000, "3", control.NotPermitted}, {0, "4", control.Unknown}, {0, "none", control.Usage}} {
		_, _, err := w.eng.carryOut(control.Request{Verb: control.Runlevel, Names: []string{c.name}, Who: control.Who{UID: c.uid}})
		if e, ok := err.(*control.Error); !ok || e.Code != c.code {
			t.Errorf("uid %d, runlevel %s: %v, want %s", c.uid, c.name, err, c.code)
		}
	}
}

func TestARunlevelIsReachedWhateverEnginesDie(t *testing.T) {
	for _, again := range []int{0, 7} {
		for at := 1; ; at++ {
			w := newWorld(t, 1)
			w.levels()
			w.boot()
			w.ask(control.Runlevel, "3")
			w.advance(time.Minute)
			w.keeper.journal = nil
			w.crashIn, w.crashNext = at, again
			out, err := w.client(control.Request{Verb: control.Runlevel, Names: []string{"2"}}, time.Minute)
			died := w.crashIn == 0
			w.crashIn, w.crashNext = 0, 0
			w.advance(time.Minute)
			if err != nil || strings.Contains(strings.Join(texts(out), " "), "cannot") {
				t.Fatalf("death at call %d, then %d: %+v, %v\n%s", at, again, out, err, w.story())
			}
			w.expectOrder("-shop -db")
			w.expectLive("always", "net")
			if got := w.eng.runlevel.String(); got != "3 2" || t.Failed() {
				t.Fatalf("death at call %d, then %d: the runlevel is %q\n%s", at, again, got, w.story())
			}
			if !died {
				break
			}
		}
	}
}

func FuzzDecodeRunlevel(f *testing.F) {
	f.Add(ownPage(runlevel{previous: '3', current: '2', request: 7}.encode()))
	f.Add(ownPage(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := decodeRunlevel(data)
		if again := decodeRunlevel(ownPage(r.encode())); r.current != 0 && again != r {
			t.Errorf("%+v comes back as %+v", r, again)
		}
	})
}
