package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

const code3 = 3 << 8 // a wait status

// faultyWorld has a service that gives up with code 3, and a state folder.
func faultyWorld(t *testing.T, change func(*model.Service)) *world {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) {
		s.Restart.GiveUpCodes.Codes = []int{3}
		if change != nil {
			change(s)
		}
	})
	dir, err := state.OpenState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	w.bootAnew(dir, "first")
	return w
}

// bootAnew starts the machine anew: nothing but the state folder is left.
func (w *world) bootAnew(dir *state.Dir, boot string) {
	w.t.Helper()
	if dir != nil {
		w.stateDir = dir
	}
	w.loadFaults(boot)
	w.pages, w.applied, w.boots = map[string][]byte{}, nil, 0
	w.keeper.slots = map[string]*slot{}
	w.boot()
	w.run()
}

func (w *world) loadFaults(boot string) {
	w.t.Helper()
	faults, err := state.LoadFaults(w.stateDir, boot)
	if err != nil {
		w.t.Fatal(err)
	}
	w.faults = faults
}

func (w *world) fail(name string) {
	w.t.Helper()
	w.expect(name, "running")
	w.keeper.end(name, code3)
	w.run()
	w.expect(name, "failed")
}

func TestWhatGaveUpIsNotStartedAtBootUntilItIsCleared(t *testing.T) {
	w := faultyWorld(t, nil)
	w.fail("web")
	before := w.status("web")
	w.bootAnew(nil, "second")
	w.expect("web", "failed")
	after := w.status("web")
	if after.Fault != before.Fault || !strings.Contains(after.Fault, "exited with code 3") || !after.Since.Equal(before.Since) {
		t.Errorf("after the boot it is %q since %v, before it was %q since %v", after.Fault, after.Since, before.Fault, before.Since)
	}
	if x := after.LastExit; x == nil || x.Code == nil || *x.Code != 3 || !x.At.Equal(before.LastExit.At) {
		t.Errorf("after the boot its last exit is %+v", x)
	}
	if !slices.ContainsFunc(w.said, func(line string) bool { return strings.Contains(line, "abide clear web") }) {
		t.Errorf("nobody is told: %q", w.said)
	}
	w.boot() // another engine keeps to it
	w.run()
	w.expect("web", "failed")
	if o := w.ask(control.Clear, "web"); len(o) != 1 || !o[0].Done {
		t.Fatalf("clear: %+v", o)
	}
	w.run()
	w.expect("web", "running")
	w.fail("web") // the end of a run after the boot is heard
	w.ask(control.Clear, "web")
	w.run()
	w.bootAnew(nil, "third")
	w.expect("web", "running")
}

func TestAFaultIsOverWithAnotherDefinition(t *testing.T) {
	w := faultyWorld(t, nil)
	w.fail("web")
	w.defs["web"].Files = []string{"/elsewhere/web.toml"}
	w.bootAnew(nil, "second")
	w.expect("web", "failed") // where it is defined is no change
	w.defs["web"].Command = []string{"/bin/mended"}
	w.bootAnew(nil, "third")
	w.expect("web", "running")
	w.bootAnew(nil, "fourth")
	w.expect("web", "running")
}

func TestAFaultThatMayHaveHealedIsTriedAtBoot(t *testing.T) {
	for name, change := range map[string]func(*model.Service){
		"a limit with retry_after": func(s *model.Service) {
			s.Restart.GiveUpCodes.Codes = nil
			s.Restart.Limit = model.Limit{Count: 1, InRow: 1, RetryAfter: time.Hour, Starts: true}
			s.Restart.Backoff.First = time.Millisecond
		},
		"restart.when = never": func(s *model.Service) { s.Restart.When, s.Restart.GiveUpCodes.Codes = model.RestartNever, nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := faultyWorld(t, change)
			w.fail("web")
			w.bootAnew(nil, "second")
			w.expect("web", "running")
		})
	}
}

func TestALimitWithoutRetryAfterOutlivesABoot(t *testing.T) {
	w := faultyWorld(t, func(s *model.Service) {
		s.Restart.GiveUpCodes.Codes = nil
		s.Restart.Limit = model.Limit{Count: 1, Starts: true}
	})
	w.fail("web")
	w.bootAnew(nil, "second")
	w.expect("web", "failed")
	if o := w.ask(control.Start, "web"); len(o) == 1 && o[0].Done == false {
		t.Errorf("an operator's start is refused: %+v", o)
	}
	w.bootAnew(nil, "third")
	w.expect("web", "running")
}

func TestAShutdownEndsNoFault(t *testing.T) {
	w := faultyWorld(t, nil)
	w.fail("web")
	w.ask(control.Shutdown)
	w.run()
	w.bootAnew(nil, "second")
	w.expect("web", "failed")
}

func TestAStopEndsAFault(t *testing.T) {
	w := faultyWorld(t, nil)
	w.fail("web")
	w.ask(control.Stop, "web")
	w.run()
	if fault, _, ok := w.faults.Get("web"); ok {
		t.Errorf("it is still there: %+v", fault)
	}
}

func TestAFaultHoldsTheLastLinesOfItsRun(t *testing.T) {
	w := faultyWorld(t, nil)
	for i := range 30 {
		w.lines = append(w.lines, control.LogRecord{Run: 1, Stream: "out", Text: fmt.Sprint("line ", i)})
	}
	w.lines = append(w.lines,
		control.LogRecord{Run: 1, Stream: "abide", Text: "a note"},
		control.LogRecord{Run: 2, Stream: "out", Text: "of another run"},
		control.LogRecord{Run: 1, Stream: "err", Text: strings.Repeat("x", 5000)})
	w.fail("web")
	w.run()
	check := func() {
		t.Helper()
		got := w.status("web").LastOutput
		if len(got) != faultLines || got[0] != "line 21" || len(got[9]) != longestLine {
			t.Errorf("%d lines: %.200q", len(got), got)
		}
	}
	check()
	w.boot()
	w.run()
	check()
	w.bootAnew(nil, "second")
	check()
	if s := w.eng.seenBy(control.Who{UID: 4711}, w.service("web"), func(string) bool { return false }); len(s.LastOutput) != 0 || s.LastOutput == nil {
		t.Errorf("a stranger reads %q", s.LastOutput)
	}
	w.ask(control.Clear, "web")
	w.run()
	if got := w.status("web").LastOutput; len(got) != 0 {
		t.Errorf("a service that runs again shows %q", got)
	}
}

// An engine may be killed in any call it makes while a service fails: the fault is
// stored all the same.
func TestAFaultIsStoredWhateverEngineDies(t *testing.T) {
	for at := 1; ; at++ {
		w := faultyWorld(t, nil)
		w.expect("web", "running")
		w.keeper.end("web", code3)
		w.crashIn = at
		w.run()
		died := w.crashIn == 0
		w.crashIn = 0
		if died {
			w.loadFaults("first")
			w.boot()
			w.run()
		}
		w.expect("web", "failed")
		w.bootAnew(nil, "second")
		w.expect("web", "failed")
		if !died {
			if at < 5 {
				t.Errorf("the engine makes %d calls only", at)
			}
			return
		}
	}
}

type unsaved struct{ Faults }

func (unsaved) Save() error { return context.DeadlineExceeded }

func TestThatFaultsCannotBeStoredIsSaidOnce(t *testing.T) {
	w := faultyWorld(t, nil)
	w.eng.ports.Faults = unsaved{w.faults}
	w.fail("web")
	w.run()
	var told int
	for _, line := range w.said {
		if strings.Contains(line, "which services have failed") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times: %q", told, w.said)
	}
}
