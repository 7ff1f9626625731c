package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
)

func TestServiceStartsAtBootAndIsBackAfterACrash(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.expect("web", "running")
	w.now += int64(2 * time.Second)
	w.keeper.end("web", 11)
	w.run()
	w.expect("web", "running")
	if s := w.service("web"); s.st.Run != 2 || s.st.Restarts != 1 || s.info.Last.Run != 1 {
		t.Fatalf("run %d, restarts %d, last exit of run %d; want 2, 1, 1", s.st.Run, s.st.Restarts, s.info.Last.Run)
	}
}

func TestStoppedServiceStaysStoppedUntilStarted(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	if o := w.ask(control.Stop, "web"); len(o) != 1 || !o[0].Done {
		t.Fatalf("stop: %+v", o)
	}
	w.expect("web", "stopped")
	w.boot() // another engine keeps to it
	w.run()
	w.expect("web", "stopped")
	w.ask(control.Start, "web")
	w.expect("web", "running")
}

func TestStopSaysWhenKillWasNeeded(t *testing.T) {
	w := newWorld(t, 1)
	w.define("deaf", nil)
	w.ignores["deaf"] = true
	w.boot()
	w.run()
	if o := w.ask(control.Stop, "deaf"); len(o) != 0 {
		t.Fatalf("stop answered before the program had ended: %+v", o)
	}
	w.advance(11 * time.Second)
	w.expect("deaf", "stopped")
	if !w.service("deaf").st.Killed {
		t.Fatal("KILL was needed and is not known")
	}
}

func TestStopIsAskedForAgainAfterAKeeperThatDidNotReadIt(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.keeper.unread = true
	w.ask(control.Stop, "web")
	w.run()
	w.expect("web", "stopping")
	w.keeper.unread = false
	w.boot() // both were replaced
	w.run()
	w.expect("web", "stopped")
	if w.service("web").st.Killed {
		t.Error("it took KILL")
	}
}

func TestBrokenDefinitionKeepsTheRunningOne(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	run := w.service("web").st.Run
	w.broken["web"] = diag.List{{Severity: diag.Error, Pos: diag.Pos{File: "/etc/web.toml", Line: 3, Col: 1}, Code: "unknown-key", Message: `unknown key "comand"`}}
	o := w.ask(control.Apply)
	if len(o) != 1 || o[0].Code != control.Failed || !strings.Contains(o[0].Message, "/etc/web.toml:3:1") {
		t.Fatalf("apply: %+v", o)
	}
	w.expect("web", "running")
	if w.service("web").st.Run != run {
		t.Fatal("a broken definition restarted the service")
	}
}

func TestApplyRestartsOnlyWhatMustBeReplaced(t *testing.T) {
	w := newWorld(t, 1)
	w.define("log-only", nil)
	w.define("command", nil)
	w.define("gone", nil)
	w.boot()
	w.run()
	w.define("log-only", func(s *model.Service) { s.Log.Keep = 3 })
	w.define("command", func(s *model.Service) { s.Command = []string{"/bin/other"} })
	delete(w.defs, "gone")
	w.define("new", nil)
	w.ask(control.Apply)
	w.expect("log-only", "running")
	w.expect("command", "running")
	w.expect("new", "running")
	if got := w.service("log-only").st.Run; got != 1 {
		t.Errorf("a change of its log restarted the service: run %d", got)
	}
	if got := w.service("command").st.Run; got != 2 {
		t.Errorf("a change of its command did not restart the service: run %d", got)
	}
	if w.eng.services["gone"] != nil || w.keeper.slots["gone"] != nil {
		t.Errorf("a service without definition is still there")
	}
}

func TestExitWhileNoEngineLivesIsTakenOnce(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.now += int64(5 * time.Second)
	w.keeper.end("web", 3<<8)
	w.boot() // the engine died before it heard of it
	w.run()
	s := w.service("web")
	if s.st.Run != 2 || s.info.Last.Run != 1 || s.info.Last.Status != 3<<8 {
		t.Fatalf("run %d, last exit %+v; want run 2, code 3 of run 1", s.st.Run, s.info.Last)
	}
	if n := w.keeper.slots["web"].spawns; n != 2 {
		t.Fatalf("started %d times, want 2", n)
	}
}

// The keeper may be killed just when a new engine asks it what lives.
func TestNothingIsConcludedWithoutTheRecords(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	page := string(w.pages["web"])
	w.define("new", nil)
	w.keeper.listErr = errors.New("the keeper is gone")
	w.boot()
	w.run()
	if got := string(w.pages["web"]); got != page {
		t.Errorf("the page of web was written again")
	}
	if w.eng.Failure() == nil || !w.eng.done {
		t.Error("the engine goes on without a keeper")
	}
	if len(w.keeper.slots) != 1 || w.keeper.slots["web"].spawns != 1 {
		t.Errorf("something was started: %v", w.keeper.slots)
	}
	w.keeper.listErr = nil
	w.boot()
	w.run()
	w.expect("web", "running")
	if w.eng.services["new"] != nil {
		t.Error("a definition that nobody applied is in force because an engine died")
	}
	w.ask(control.Apply)
	w.expect("new", "running")
	if n := w.keeper.slots["web"].spawns; n != 1 {
		t.Errorf("web was started %d times, want once", n)
	}
}

func TestLeftoversAreEndedBeforeTheNextStart(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.groups["web.1"].leftovers.Store(3)
	w.now += int64(5 * time.Second)
	w.keeper.end("web", 9)
	for w.service("web").st.Run == 1 {
		// Cleaning up is another goroutine's work.
		if !w.step() {
			f := <-w.eng.inbox.wake
			_ = f
		}
	}
	w.run()
	w.expect("web", "running")
	if w.groups["web.1"].leftovers.Load() != 0 {
		t.Fatal("the next run started beside leftovers of the last")
	}
}

func TestEssentialServiceEndsAbideWithItsCode(t *testing.T) {
	for _, c := range []struct {
		status uint32
		code   int
	}{{7 << 8, 7}, {15, 143}, {0, 0}} {
		w := newWorld(t, 1)
		w.define("main", func(s *model.Service) {
			*s = model.Defaults(model.Daemon, true)
			s.Name, s.Command = "main", []string{"/bin/main"}
		})
		w.define("other", nil)
		w.boot()
		w.run()
		w.keeper.end("main", c.status)
		w.run()
		if !w.eng.done || w.eng.code != c.code {
			t.Errorf("status %#x: done %v, code %d; want code %d", c.status, w.eng.done, w.eng.code, c.code)
		}
		if w.keeper.slots["other"].live {
			t.Errorf("status %#x: abide ended and left a service behind", c.status)
		}
	}
}

func TestRefusedForOthersThanOperators(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) {
		s.Operators = model.Operators{"view": {"*"}, "restart": {"user:1234"}}
	})
	w.boot()
	w.run()
	w.eng.uid = 0
	for verb, want := range map[control.Verb]control.Code{control.Stop: control.NotPermitted, control.Restart: ""} {
		o, waits, err := w.eng.carryOut(control.Request{Verb: verb, Names: []string{"web"}, Who: control.Who{UID: 1234}})
		if err != nil || len(o)+len(waits) != 1 || len(o) == 1 && o[0].Code != want {
			t.Errorf("%s: %+v, %d waiting, %v; want %q", verb, o, len(waits), err, want)
		}
	}
	w.run()
}

// TestEngineMayDieAtAnyCall lets the engine die inside every single call it
// makes, in turn, while a service crashes, is restarted, stopped and started:
// the world's keeper fails the test at the first order for a second copy, and in
// the end everything must be as if nothing had happened.
func TestEngineMayDieAtAnyCall(t *testing.T) {
	for at := 1; at < 400; at++ {
		w := newWorld(t, uint64(at))
		w.define("web", nil)
		w.define("job", func(s *model.Service) {
			*s = model.Defaults(model.Task, false)
			s.Name, s.Command = "job", []string{"/bin/job"}
		})
		w.crashIn = at
		w.boot()
		w.run()
		w.now += int64(3 * time.Second)
		w.keeper.end("web", 11)
		w.keeper.end("job", 0)
		w.run()
		w.advance(time.Minute)
		if w.crashIn > 0 {
			w.crashIn = 0
			if at > 100 {
				return // the whole story takes fewer calls
			}
		}
		w.expect("web", "running")
		w.expect("job", "finished")
		if n := w.keeper.slots["job"].spawns; n != 1 {
			t.Fatalf("death at call %d: the task ran %d times\n%s", at, n, w.story())
		}
		if n := w.keeper.slots["web"].spawns; n != 2 {
			t.Fatalf("death at call %d: web was started %d times, want 2\n%s", at, n, w.story())
		}
		w.ask(control.Stop, "web")
		w.advance(time.Minute)
		w.expect("web", "stopped")
		if w.keeper.slots["web"].live {
			t.Fatalf("death at call %d: stopped, and its process lives", at)
		}
	}
}

// TestRandomLivesKeepTheirPromises plays random events against random deaths of
// the engine and looks at what must hold at rest.
func TestRandomLivesKeepTheirPromises(t *testing.T) {
	verbs := []control.Verb{control.Start, control.Stop, control.Restart, control.Pause, control.Resume, control.Clear, control.Reload}
	for seed := uint64(1); seed <= 60; seed++ {
		w := newWorld(t, seed)
		names := []string{"a", "b", "c"}
		for i, name := range names {
			w.define(name, func(s *model.Service) {
				s.Restart.When = model.RestartWhen(i)
			})
		}
		w.boot()
		for range 150 {
			name := names[w.rand.IntN(len(names))]
			switch w.rand.IntN(6) {
			case 0:
				w.keeper.end(name, []uint32{0, 1 << 8, 11, 9}[w.rand.IntN(4)])
			case 1:
				w.crashIn = 1 + w.rand.IntN(40)
			case 2:
				w.ask(verbs[w.rand.IntN(len(verbs))], name)
			case 3:
				w.ignores[name] = !w.ignores[name]
			case 4:
				w.step()
			case 5:
				w.advance(time.Duration(w.rand.IntN(20)) * time.Second)
			}
		}
		w.crashIn = 0
		w.advance(10 * time.Minute)
		for _, name := range names {
			s, live := w.service(name), w.keeper.slots[name].live
			wantLive := s.st.Phase == core.Running
			if live != wantLive || !s.st.AtRest() && !wantLive {
				t.Fatalf("seed %d: %s is %s and its process lives: %v\n%s", seed, name, s.stateName(), live, w.story())
			}
			if s.st.Wanted && s.st.Phase == core.Down {
				t.Fatalf("seed %d: %s is wanted and down for no reason\n%s", seed, name, w.story())
			}
			if !s.st.Wanted && live {
				t.Fatalf("seed %d: %s is not wanted and lives\n%s", seed, name, w.story())
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestBackoffOfAProgramThatKeepsDying(t *testing.T) {
	w := newWorld(t, 1)
	w.define("bad", nil)
	w.boot()
	w.run()
	w.keeper.end("bad", 1<<8)
	w.run()
	w.expect("bad", "waiting")
	st := w.status("bad")
	if len(st.WaitingFor) != 1 || !strings.HasPrefix(st.Why, "next start in 100ms: exited with code 1") {
		t.Fatalf("status does not say what it waits for: %+v", st)
	}
	w.advance(100 * time.Millisecond)
	w.expect("bad", "running")
}

func TestSpawnFailureIsExplainedAndTriedAgain(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.keeper.refuse = map[string]int{"web": 11}
	w.boot()
	w.run()
	w.expect("web", "waiting")
	if st := w.status("web"); !strings.Contains(st.Why, "resource temporarily unavailable") {
		t.Fatalf("why: %q", st.Why)
	}
	delete(w.keeper.refuse, "web")
	w.advance(time.Second)
	w.expect("web", "running")
}

// Who starts something that ends at once reads its last lines next.
func TestFailedStartIsAnsweredOnceItsOutputIsLogged(t *testing.T) {
	synctest.Test(t, failedStartIsAnsweredOnceItsOutputIsLogged)
}

func failedStartIsAnsweredOnceItsOutputIsLogged(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(def *model.Service) { def.Enabled = false })
	w.boot()
	w.run()
	w.holdLogs = true
	var waits []*waiter
	w.guard(func() {
		_, waits, _ = w.eng.carryOut(control.Request{Verb: control.Start, Names: []string{"web"}})
	})
	w.run()
	w.keeper.end("web", 9<<8)
	w.run()
	if len(waits) != 1 || waits[0].answer == nil || len(waits[0].out) != 0 {
		t.Fatalf("the answer did not wait for the log: %+v", waits)
	}
	w.releaseLogs()
	w.run()
	select {
	case o := <-waits[0].out:
		if o.Code != control.Failed || !strings.Contains(o.Message, "exited with code 9") {
			t.Fatalf("answer: %+v", o)
		}
	default:
		t.Fatal("no answer though the log is complete")
	}
}

func TestEssentialServiceThatCannotStartEndsAbideAsAShellWould(t *testing.T) {
	for op, want := range map[int]int{0: 126, -1: 125} {
		w := newWorld(t, 1)
		w.define("main", func(def *model.Service) { def.Essential, def.Restart.When = true, model.RestartNever })
		w.keeper.refuse, w.keeper.refuseOp = map[string]int{"main": 13}, op
		w.boot()
		w.run()
		if w.eng.stopping == nil || w.eng.stopping.code != want {
			t.Errorf("failure of op %d: shutdown %+v, want code %d", op, w.eng.stopping, want)
		}
	}
}

func TestThousandServicesArmOneTimer(t *testing.T) {
	w := newWorld(t, 1)
	for i := range 1000 {
		w.define(fmt.Sprintf("s%d", i), nil)
	}
	w.boot()
	w.run()
	if len(w.eng.due) != 0 {
		t.Fatalf("%d deadlines while all services just run", len(w.eng.due))
	}
}

func TestAServiceThatIsDefinedAgainGoesOnWhereItWas(t *testing.T) {
	for _, lives := range []bool{true, false} {
		w := newWorld(t, 1)
		w.define("web", nil)
		w.boot()
		w.run()
		w.keeper.end("web", 0)
		w.run()
		w.advance(time.Minute)
		def := w.defs["web"]
		w.defs, w.applied = map[string]*model.Service{}, nil
		w.boot()
		w.run()
		if !lives {
			w.keeper.end("web", 0)
			w.run()
		}
		w.defs["web"] = def
		w.ask(control.Start, "web")
		w.expect("web", "running")
		want := 3
		if lives {
			want = 2
		}
		if last := w.service("web").info.Last; !lives && (last.Run != 2 || !last.Known) {
			t.Errorf("its end meanwhile is kept as %+v", last)
		}
		if slot := w.keeper.slots["web"]; slot.spawns != want || int(slot.run) != want || w.service("web").st.Run != slot.run {
			t.Errorf("lives %v: %d runs were started, the last is %d", lives, slot.spawns, slot.run)
		}
	}
}

func TestWhatTheKeeperHoldsForEndedRunsIsLetGo(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	// An engine that was killed between the end of a run and that of its log.
	w.keeper.held = map[string][]uint64{"web": {1, 2}}
	w.keeper.end("web", 0)
	w.run()
	w.advance(time.Minute)
	if run := w.service("web").st.Run; run != 2 {
		t.Fatalf("run %d", run)
	}
	w.boot()
	w.run()
	if got := w.keeper.held["web"]; len(got) != 1 || got[0] != 2 {
		t.Errorf("still held for runs %v, run 2 lives", got)
	}
}

func TestAProgramThatAbideExecCannotRunIsNotRunning(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(def *model.Service) { def.Restart.When = model.RestartNever })
	w.boot()
	w.run()
	w.expect("web", "running")
	slot := w.keeper.slots["web"]
	slot.live = false
	w.guard(func() {
		w.eng.Exited(Exit{Name: "web", Run: 1, Pid: slot.pid, Known: true, Status: 127 << 8, At: w.Wall(), Boot: w.now, ExecOp: 3, ExecErr: 2})
	})
	w.run()
	w.expect("web", "failed")
	if why := w.status("web").Why; !strings.Contains(why, "no such file or directory") {
		t.Errorf("why: %s", why)
	}
	if slot.acked != 1 {
		t.Error("its end is not acknowledged")
	}
}

func TestLeftoversOfARunWithoutARecordAreEnded(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	group := w.groups[fakeGroups{w}.key("web", 1)]
	group.leftovers.Store(2)
	delete(w.keeper.slots, "web")
	w.boot()
	for w.service("web").st.Phase == core.Cleaning {
		// Cleaning up is another goroutine's work.
		if !w.step() {
			<-w.eng.inbox.wake
		}
	}
	if n := group.leftovers.Load(); n != 0 {
		t.Errorf("%d processes of run 1 are left, the service is %s in run %d", n, w.service("web").stateName(), w.service("web").st.Run)
	}
}
