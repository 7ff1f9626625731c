package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// endings are the ways in which an instance comes to its end.
var endings = []struct {
	name  string
	begin func(w *world)
	code  int
}{
	{"asked for", func(w *world) {
		req := control.Request{ID: "stop it", Verb: control.Shutdown}
		for asked := (*Engine)(nil); asked != w.eng && !w.eng.done; {
			asked = w.eng
			w.guard(func() { w.eng.ask(req) })
		}
	}, 0},
	{"by TERM", func(w *world) {
		w.terms = 1
		w.guard(func() { w.eng.Signaled(sigTERM, 1) })
	}, 0},
	{"by the end of an essential service", func(w *world) { w.keeper.end("main", 7<<8) }, 7},
}

// TestAShutdownIsCarriedOnByTheNextEngine lets the engine die inside every single
// call of a shutdown.
func TestAShutdownIsCarriedOnByTheNextEngine(t *testing.T) {
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			for at := 1; ; at++ {
				w := newWorld(t, uint64(at))
				w.keeperPid = 1
				w.define("main", func(s *model.Service) {
					*s = model.Defaults(model.Daemon, true)
					s.Name, s.Command, s.Files = "main", []string{"/bin/main"}, []string{"/etc/main.toml"}
				})
				w.define("quick", nil)
				w.define("deaf", nil)
				w.ignores["deaf"] = true
				w.boot()
				w.advance(time.Minute)
				w.crashIn, w.crashNext = at, at%7
				ending.begin(w)
				w.run()
				w.advance(5 * time.Second)
				if w.eng.done || !w.keeper.slots["deaf"].live {
					t.Fatalf("death at call %d: what ignores TERM was not given its time\n%s", at, w.story())
				}
				w.advance(20 * time.Second)
				died := w.crashIn == 0
				w.crashIn, w.crashNext = 0, 0
				for range 3 { // the last engine may have died after its last word
					if !w.eng.done || w.eng.code != ending.code {
						t.Fatalf("death at call %d: over %v with code %d, want %d\n%s", at, w.eng.done, w.eng.code, ending.code, w.story())
					}
					w.boot()
					w.run()
				}
				for name, s := range w.keeper.slots {
					if s.live || s.spawns != 1 {
						t.Fatalf("death at call %d: %s lives: %v, was started %d times\n%s", at, name, s.live, s.spawns, w.story())
					}
				}
				if got := w.keeper.slots["quick"].signals; !slices.Equal(got, []int{sigTERM}) {
					t.Fatalf("death at call %d: quick got %v, want one TERM\n%s", at, got, w.story())
				}
				// Who starts abide anew gets a running one.
				w.keeperPid, w.terms = 2, 0
				w.boot()
				w.run()
				w.expect("quick", "running")
				if t.Failed() {
					t.Fatalf("death at call %d\n%s", at, w.story())
				}
				if !died {
					return
				}
			}
		})
	}
}

func TestASecondTERMHurriesWhicheverEngineGetsIt(t *testing.T) {
	w := newWorld(t, 1)
	w.keeperPid = 1
	w.define("deaf", nil)
	w.ignores["deaf"] = true
	w.boot()
	w.run()
	w.terms = 1
	w.guard(func() { w.eng.Signaled(sigTERM, 1) })
	w.boot()
	w.run()
	w.expect("deaf", "stopping")
	w.terms = 2
	w.boot()
	w.run()
	if !w.eng.done {
		t.Fatalf("a second TERM did not hurry the shutdown\n%s", w.story())
	}
}

// A new keeper counts from the start: its first TERM is not the first keeper's.
func TestAShutdownGoesOnUnderAnotherKeeper(t *testing.T) {
	w := newWorld(t, 1)
	w.keeperPid = 1
	w.define("deaf", nil)
	w.ignores["deaf"] = true
	w.boot()
	w.run()
	w.guard(func() { w.eng.Signaled(sigTERM, 1) })
	w.keeperPid = 2
	w.boot()
	w.run()
	w.expect("deaf", "stopping")
	if w.eng.stopping == nil || w.eng.stopping.hurried {
		t.Fatal("the shutdown was forgotten, or hurried")
	}
	w.guard(func() { w.eng.Signaled(sigTERM, 1) })
	w.run()
	if !w.eng.done {
		t.Error("TERM to the new keeper did not hurry")
	}
}

// The keeper's records are new at the first start, whatever the engines do.
func TestASpawnThatWasNotCarriedOutIsRepeatedThoughTheRecordsAreNew(t *testing.T) {
	for at := 1; at < 60; at++ {
		w := newWorld(t, uint64(at))
		w.keeperPid, w.lost = 1, true
		w.define("web", nil)
		w.crashIn = at
		w.boot()
		w.run()
		w.expect("web", "running")
	}
}

func FuzzDecodeShutdown(f *testing.F) {
	sd := shutdown{code: 7, why: "asked", hurried: true, began: 5, request: 6, keeper: 7, signals: [len(shutdownSignals)]uint32{1, 2, 3, 4, 5}}
	f.Add(ownPage(sd.encode(true)))
	f.Add(ownPage(nil))
	f.Add([]byte("/shutdown"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sd, over := decodeShutdown(data)
		if sd == nil {
			return
		}
		again, overAgain := decodeShutdown(ownPage(sd.encode(over)))
		if len(sd.why) > longestWhy {
			sd.why = sd.why[:longestWhy]
		}
		if again == nil || *again != *sd || overAgain != over {
			t.Errorf("%+v comes back as %+v", sd, again)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	r := &request{seq: 5, key: requestKey{7, "id"}, req: control.Request{Verb: control.Stop}}
	r.add("web", 3)
	f.Add(r.askedRecord())
	f.Add(r.outcomeRecord())
	f.Add([]byte{recordAsked})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, _, _, err := parseRecord(data); err != nil {
			return
		}
		if r, err := readAsked(data); err == nil {
			again, err := readAsked(r.askedRecord())
			if err != nil || len(again.items) != len(r.items) || again.key != r.key {
				t.Errorf("%+v comes back as %+v: %v", r, again, err)
			}
		}
		if r, err := readOutcome(data); err == nil {
			if _, err := readOutcome(r.outcomeRecord()); err != nil {
				t.Errorf("%+v does not come back: %v", r, err)
			}
		}
	})
}
