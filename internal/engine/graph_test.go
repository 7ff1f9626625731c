package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

func deps(names ...string) []model.Dependency {
	var out []model.Dependency
	for _, name := range names {
		out = append(out, model.Dependency{Service: name})
	}
	return out
}

// following is a dependency on a service whose restarts are followed.
func following(name string) []model.Dependency {
	return []model.Dependency{{Service: name, Restart: model.RestartOnRestart}}
}

// link defines a service that is ready a second after its start.
func (w *world) link(name string, change func(*model.Service)) {
	w.define(name, func(s *model.Service) {
		s.Ready.After = time.Second
		if change != nil {
			change(s)
		}
	})
}

// chain defines web on app on db.
func (w *world) chain() {
	w.link("db", nil)
	w.link("app", func(s *model.Service) { s.Needs.Requires = deps("db") })
	w.link("web", func(s *model.Service) { s.Needs.Requires = deps("app") })
}

// order lists what was started ("+name") and what ended ("-name"), as the keeper saw
// it.
func (w *world) order() string { return strings.Join(w.keeper.journal, " ") }

func (w *world) expectOrder(want string) {
	w.t.Helper()
	if got := w.order(); got != want {
		w.t.Fatalf("the keeper saw %q, want %q\n%s", got, want, w.story())
	}
}

func (w *world) live(names ...string) string {
	for name, s := range w.keeper.slots {
		if s.live != slices.Contains(names, name) {
			return fmt.Sprintf("%s lives: %v, want only %v", name, s.live, names)
		}
	}
	for _, name := range names {
		if w.keeper.slots[name] == nil {
			return name + " was never started"
		}
	}
	return ""
}

func (w *world) expectLive(names ...string) {
	w.t.Helper()
	if text := w.live(names...); text != "" {
		w.t.Fatalf("%s\n%s", text, w.story())
	}
}

func TestAChainStartsInOrderAndEndsInReverse(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.boot()
	w.run()
	w.expectOrder("+db")
	w.expect("web", "waiting")
	if got := w.status("web").WaitingFor; len(got) != 1 || !strings.HasPrefix(got[0], "app, ") {
		t.Errorf("web waits for %q", got)
	}
	w.advance(time.Second)
	w.expectOrder("+db +app")
	w.advance(time.Minute)
	w.expectOrder("+db +app +web")
	w.keeper.journal = nil
	w.guard(func() { w.eng.Shutdown(0, "asked") })
	w.run()
	w.expectOrder("-web -app -db")
	if !w.eng.done {
		t.Error("the shutdown has not ended")
	}
}

func TestStopEndsDependentsFirstAndTheyComeBack(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.boot()
	w.advance(time.Minute)
	w.keeper.journal = nil
	if o := w.ask(control.Stop, "db"); len(o) != 1 || o[0].Message != "stopped; app, web wait for it" {
		t.Fatalf("stop: %+v", o)
	}
	w.expectOrder("-web -app -db")
	w.expect("db", "stopped")
	w.expect("app", "waiting")
	st := w.status("app")
	if !st.Wanted || len(st.WaitingFor) != 1 || !strings.HasPrefix(st.WaitingFor[0], "db, stopped by uid 0 at 20") {
		t.Errorf("app: %+v", st)
	}
	// Neither time nor a new engine changes that.
	w.advance(time.Hour)
	w.boot()
	w.advance(time.Hour)
	w.expect("app", "waiting")
	w.keeper.journal = nil
	w.ask(control.Start, "db")
	w.advance(time.Minute)
	w.expectOrder("+db +app +web")
	w.expect("web", "running")
}

func TestALostNeedEndsThoseThatFollowIt(t *testing.T) {
	for _, c := range []struct {
		level model.RestartOn
		end   uint32
		runs  uint64
	}{
		{model.RestartOnNone, 11, 1},
		{model.RestartOnError, 11, 2},
		{model.RestartOnError, 0, 1},
		{model.RestartOnRestart, 0, 2},
		{model.RestartOnReload, 0, 2},
	} {
		t.Run(fmt.Sprintf("%s after %d", c.level, c.end), func(t *testing.T) {
			w := newWorld(t, 1)
			w.link("db", nil)
			w.link("web", func(s *model.Service) {
				s.Needs.Requires = []model.Dependency{{Service: "db", Restart: c.level}}
			})
			w.boot()
			w.advance(time.Minute)
			w.keeper.end("db", c.end)
			w.advance(time.Minute)
			w.expect("web", "running")
			w.expect("db", "running")
			if got := w.service("web").st.Run; got != c.runs {
				t.Errorf("web is in run %d, want %d\n%s", got, c.runs, w.story())
			}
		})
	}
}

func TestRestartTakesThoseAlongThatFollowRestarts(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", nil)
	w.link("app", func(s *model.Service) { s.Needs.Requires = following("db") })
	w.link("web", func(s *model.Service) { s.Needs.Requires = following("app") })
	w.link("calm", func(s *model.Service) { s.Needs.Requires = deps("db") })
	w.boot()
	w.advance(time.Minute)
	w.keeper.journal = nil
	w.ask(control.Restart, "db")
	w.advance(time.Minute)
	w.expectOrder("-web -app -db +db +app +web")
	w.expect("calm", "running")
	if w.service("calm").st.Run != 1 {
		t.Error("what does not follow was restarted")
	}
}

func TestANewDefinitionTakesThoseAlongThatFollowRestarts(t *testing.T) {
	for crash := range 40 {
		w := newWorld(t, 1)
		w.link("db", nil)
		w.link("app", func(s *model.Service) { s.Needs.Requires = following("db") })
		w.link("web", func(s *model.Service) { s.Needs.Requires = following("app") })
		w.boot()
		w.advance(time.Minute)
		w.keeper.journal = nil
		w.link("db", func(s *model.Service) { s.Command = []string{"/bin/other"} })
		w.crashIn = crash
		for range 2 {
			w.guard(func() { w.eng.ask(control.Request{ID: "apply", Verb: control.Apply, Who: control.Who{PID: 1}}) })
			w.run()
		}
		w.crashIn = 0
		w.advance(time.Minute)
		w.expectOrder("-web -app -db +db +app +web")
	}
}

func TestAStopOfWhatWaitsForItsNextStartStopsWhatDependsOnIt(t *testing.T) {
	for name, dies := range map[string]func(*model.Service){
		"in a delay": func(s *model.Service) { s.Restart.Delay = time.Hour },
		"failed":     func(s *model.Service) { s.Restart.When = model.RestartNever },
	} {
		w := newWorld(t, 1)
		w.link("db", dies)
		w.link("app", func(s *model.Service) { s.Needs.Requires = deps("db") })
		w.boot()
		w.advance(time.Minute)
		w.keeper.end("db", 1<<8)
		w.advance(time.Minute)
		w.expect("app", "running")
		w.ask(control.Stop, "db")
		w.advance(time.Minute)
		w.expect("app", "waiting")
		w.expect("db", "stopped")
		w.ask(control.Start, "db")
		w.advance(time.Minute)
		if w.expect("app", "running"); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestWhatIsPartOfAServiceFollowsItsStopAndItsRestart(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", nil)
	w.link("web", func(s *model.Service) { s.Needs.Requires = following("db") })
	w.link("exporter", func(s *model.Service) { s.Needs.PartOf = deps("db") })
	w.ignores["web"] = true
	w.boot()
	w.advance(time.Minute)
	w.keeper.journal = nil
	w.ask(control.Restart, "db")
	w.advance(time.Minute)
	w.expectLive("db", "web", "exporter")
	if runs := []uint64{w.service("db").st.Run, w.service("web").st.Run, w.service("exporter").st.Run}; !slices.Equal(runs, []uint64{2, 2, 2}) {
		t.Errorf("runs of db, web and exporter: %v\n%s", runs, w.story())
	}
	w.ask(control.Stop, "db")
	w.advance(time.Minute)
	w.expectLive()
	w.ask(control.Start, "exporter") // a start does not follow
	w.advance(time.Minute)
	w.expectLive("exporter")
	w.ask(control.Start, "db")
	w.advance(time.Minute)
	w.expectLive("db", "web", "exporter")
}

func TestAFileIsWaitedFor(t *testing.T) {
	w := newWorld(t, 1)
	path := filepath.Join(t.TempDir(), "there")
	w.link("web", func(s *model.Service) { s.Needs.Requires = []model.Dependency{{File: path}} })
	w.boot()
	w.advance(time.Minute)
	w.expect("web", "waiting")
	if got := w.status("web").WaitingFor; len(got) != 1 || got[0] != path+", a file that is not there" {
		t.Errorf("web waits for %q", got)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.changed(path)
	w.advance(time.Minute)
	w.expectLive("web")
	// The next engine looks by itself.
	w.ask(control.Stop, "web")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.boot()
	w.ask(control.Start, "web")
	w.expect("web", "waiting")
}

// Nobody waits for ever for what is not going to happen.
func TestUpEndsWhenAllThatIsLeftWaitsInVain(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", func(s *model.Service) { s.Restart.When = model.RestartNever })
	w.link("web", func(s *model.Service) { s.Needs.Requires = deps("db") })
	w.boot()
	w.eng.opts.Mode = ModeUp
	w.run()
	w.keeper.end("db", 3<<8)
	w.run()
	if !w.eng.done || w.eng.code != 1 {
		t.Errorf("over %v with code %d, want 1", w.eng.done, w.eng.code)
	}
}

func TestReloadReachesThoseThatFollowReloads(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", nil)
	w.link("web", func(s *model.Service) {
		s.Needs.Requires = []model.Dependency{{Service: "db", Restart: model.RestartOnReload}}
	})
	w.link("calm", func(s *model.Service) { s.Needs.Requires = following("db") })
	w.boot()
	w.advance(time.Minute)
	w.ask(control.Reload, "db")
	w.advance(time.Minute)
	if runs := []uint64{w.service("db").st.Run, w.service("web").st.Run, w.service("calm").st.Run}; !slices.Equal(runs, []uint64{1, 2, 1}) {
		t.Errorf("runs of db, web and calm: %v\n%s", runs, w.story())
	}
	w.expect("web", "running")
}

func TestStartLetsGoWhatItNeedsAndSaysSo(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.boot()
	w.advance(time.Minute)
	w.ask(control.Stop, "db")
	w.ask(control.Stop, "web")
	out, err := w.client(control.Request{Verb: control.Start, Names: []string{"web"}}, time.Minute)
	if err != nil || len(out) != 1 || !out[0].Done || !strings.Contains(out[0].Message, "db was stopped and is started, too") {
		t.Errorf("start: %+v, %v", out, err)
	}
	w.expectLive("db", "app", "web")
	if w.wishes["db"].Stopped {
		t.Error("db is still held")
	}
}

func TestDisableHoldsAgainstThoseWhoNeedIt(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.wishes["db"] = state.Wish{Enabled: state.No}
	w.boot()
	w.advance(time.Minute)
	w.expect("db", "disabled")
	w.expect("app", "waiting")
	if got := w.status("app").WaitingFor; len(got) != 1 || got[0] != "db, disabled" {
		t.Errorf("app waits for %q", got)
	}
	w.ask(control.Enable, "db")
	w.advance(time.Minute)
	w.expectLive("db", "app", "web")
}

func TestWhatIsNotEnabledComesWhenItIsNeeded(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", func(s *model.Service) { s.Enabled = false })
	w.link("cache", func(s *model.Service) { s.Enabled = false })
	w.link("other", func(s *model.Service) { s.Enabled = false })
	w.link("web", func(s *model.Service) {
		s.Needs.Requires, s.Needs.Wants = deps("db"), deps("cache")
	})
	w.boot()
	w.advance(time.Minute)
	w.expectLive("db", "cache", "web")
}

func TestStartSaysWhyItCannotBe(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", func(s *model.Service) { s.Restart.When = model.RestartNever })
	w.link("app", func(s *model.Service) { s.Needs.Requires = deps("db") })
	w.link("web", func(s *model.Service) { s.Enabled, s.Needs.Requires = false, deps("app") })
	w.boot()
	w.run()
	w.keeper.end("db", 3<<8)
	w.run()
	w.expect("db", "failed")
	out, err := w.client(control.Request{Verb: control.Start, Names: []string{"web"}}, time.Minute)
	want := "cannot start web: it needs app, which waits: it needs db, which failed: "
	if err != nil || len(out) != 1 || out[0].Code != control.Failed || !strings.HasPrefix(out[0].Message, want) {
		t.Errorf("start: %+v, %v, want %q", out, err, want)
	}
	// With db all come up, and nobody asks for them again.
	w.ask(control.Clear, "db")
	w.advance(time.Minute)
	w.expectLive("db", "app", "web")
}

func TestAnExplicitStartDisplacesWhatConflicts(t *testing.T) {
	w := newWorld(t, 1)
	w.link("exim", nil)
	w.link("filter", func(s *model.Service) { s.Needs.Requires = deps("exim") })
	w.link("postfix", func(s *model.Service) { s.Enabled, s.Needs.Conflicts = false, deps("exim") })
	w.boot()
	w.advance(time.Minute)
	w.keeper.journal = nil
	out, err := w.client(control.Request{Verb: control.Start, Names: []string{"postfix"}}, time.Minute)
	if err != nil || len(out) != 1 || !out[0].Done {
		t.Fatalf("start: %+v, %v\n%s", out, err, w.story())
	}
	if !strings.Contains(out[0].Message, "exim") {
		t.Errorf("it does not say what was displaced: %q", out[0].Message)
	}
	w.advance(time.Minute)
	w.expectOrder("-filter -exim +postfix")
	w.ask(control.Start, "exim")
	w.advance(time.Minute)
	w.expectLive("exim", "filter")
}

func TestARestartOfWhatIsDownDisplacesAsAStartDoes(t *testing.T) {
	w := newWorld(t, 1)
	w.link("exim", nil)
	w.link("postfix", func(s *model.Service) { s.Enabled, s.Needs.Conflicts = false, deps("exim") })
	w.boot()
	w.advance(time.Minute)
	w.ask(control.Restart, "postfix")
	w.advance(time.Minute)
	w.expectLive("postfix")
}

func TestAStartByNameTakesTheRightToWhatItEntails(t *testing.T) {
	mine := model.Operators{"operate": {"user:4000"}}
	w := newWorld(t, 1)
	w.link("exim", nil)
	w.link("postfix", func(s *model.Service) {
		s.Enabled, s.Needs.Conflicts, s.Operators = false, deps("exim"), mine
	})
	w.link("db", nil)
	w.link("web", func(s *model.Service) { s.Enabled, s.Needs.Requires, s.Operators = false, deps("db"), mine })
	w.boot()
	w.advance(time.Minute)
	w.ask(control.Stop, "db")
	for name, want := range map[string]string{
		"postfix": "cannot start postfix: it conflicts with exim, which runs, and uid 4000 may not stop that",
		"web":     "cannot start web: it needs db, which is stopped, and uid 4000 may not start that",
	} {
		out, err := w.client(control.Request{Verb: control.Start, Names: []string{name}, Who: control.Who{UID: 4000}, ID: name}, time.Minute)
		if err != nil || len(out) != 1 || out[0].Code != control.NotPermitted || out[0].Message != want {
			t.Errorf("%+v, %v, want %q", out, err, want)
		}
	}
	w.advance(time.Minute)
	w.expectLive("exim")
}

func TestATargetIsUpWhenItsMembersAre(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", func(s *model.Service) { s.Enabled = false })
	w.link("web", func(s *model.Service) { s.Enabled, s.Needs.PartOf = false, deps("shop") })
	w.define("shop", func(s *model.Service) {
		s.Kind, s.Command, s.Enabled = model.Target, nil, false
		s.Needs.Requires, s.Needs.Wants = deps("db"), deps("web")
	})
	w.boot()
	w.advance(time.Minute)
	w.expectLive()
	w.ask(control.Start, "shop")
	w.run()
	w.expect("shop", "waiting")
	w.advance(time.Minute)
	w.expect("shop", "running")
	w.expectLive("db", "web")
	w.ask(control.Stop, "shop")
	w.run()
	w.expect("shop", "disabled")
	w.expectLive("db") // web is part of it, db is not
}

func TestTargetsOfOursExistOnlyWhereTheyAreNamed(t *testing.T) {
	w := newWorld(t, 1)
	w.link("dhcp", func(s *model.Service) { s.Enabled, s.Needs.WantedBy = false, deps("network") })
	w.link("web", func(s *model.Service) { s.Needs.Requires = deps("network") })
	w.link("late", func(s *model.Service) { s.Enabled, s.Needs.WantedBy = false, deps("boot") })
	w.boot()
	w.run()
	if w.eng.services["time-sync"] != nil {
		t.Error("a target that nothing names is there")
	}
	w.expect("web", "waiting")
	w.advance(time.Minute)
	w.expectLive("dhcp", "web", "late")
	w.expect("network", "running")
	w.boot()
	w.advance(time.Minute)
	w.expectLive("dhcp", "web", "late")
	delete(w.defs, "dhcp")
	w.define("web", nil)
	w.ask(control.Apply)
	w.advance(time.Minute)
	if w.eng.services["network"] != nil {
		t.Error("the target outlives those who named it")
	}
}

func TestADependencyOnATemplateMeansAllItsInstances(t *testing.T) {
	w := newWorld(t, 1)
	for _, name := range []string{"worker@1", "worker@2"} {
		w.link(name, nil)
	}
	w.link("web", func(s *model.Service) { s.Needs.Requires = deps("worker") })
	w.boot()
	w.advance(time.Minute)
	w.expectLive("worker@1", "worker@2", "web")
	w.keeper.journal = nil
	w.link("worker@3", func(s *model.Service) { s.Enabled = false })
	w.ask(control.Apply)
	w.advance(time.Minute)
	w.expectOrder("+worker@3")
	w.ask(control.Stop, "worker@2")
	w.expect("web", "waiting")
}

func TestARunningServiceGoesOnWhenANeedIsAdded(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", func(s *model.Service) { s.Enabled = false })
	w.link("web", nil)
	w.boot()
	w.advance(time.Minute)
	w.link("web", func(s *model.Service) { s.Needs.Requires = deps("db") })
	w.ask(control.Apply)
	w.advance(time.Minute)
	w.expectLive("db", "web")
	if w.service("web").st.Run != 1 {
		t.Error("web was restarted")
	}
}

func TestRemovingANeedEndsDependentsFirst(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.boot()
	w.advance(time.Minute)
	w.keeper.journal = nil
	delete(w.defs, "db")
	w.ask(control.Apply)
	w.advance(time.Minute)
	w.expectOrder("-web -app -db")
	if w.eng.services["db"] != nil {
		t.Error("db is still known")
	}
	w.expect("app", "waiting")
	if got := w.status("app").WaitingFor; len(got) != 1 || got[0] != "db, which is not defined" {
		t.Errorf("app waits for %q", got)
	}
	w.link("db", nil)
	w.ask(control.Apply)
	w.advance(time.Minute)
	w.expectLive("db", "app", "web")
}

func TestASecondSignalHurriesAShutdownWithoutBreakingItsOrder(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.keeperPid = 1
	for _, name := range []string{"web", "app", "db"} {
		w.ignores[name] = true
	}
	w.boot()
	w.advance(time.Minute)
	w.keeper.journal = nil
	w.guard(func() { w.eng.Signaled(sigTERM, 1) })
	w.advance(time.Second)
	if got, want := w.eng.stoppingText(), "Waiting for web to stop (1s of 10s); then app, db"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	w.expectOrder("")
	w.guard(func() { w.eng.Signaled(sigTERM, 2) })
	w.run()
	w.expectOrder("-web -app -db")
	if !w.eng.done {
		t.Error("the shutdown has not ended")
	}
}

func TestWhatEndsWhileItsTurnHasNotComeStaysDown(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.ignores["web"] = true
	w.boot()
	w.advance(time.Minute)
	w.ask(control.Stop, "db")
	w.expect("web", "stopping")
	w.keeper.end("app", 11)
	w.keeper.end("db", 11)
	w.advance(time.Second)
	w.expectLive("web")
	w.advance(time.Minute)
	w.expectLive()
	w.expect("db", "stopped")
	w.expect("app", "waiting")
}

func TestATaskIsWaitedForUntilItHasFinished(t *testing.T) {
	w := newWorld(t, 1)
	w.define("migrate", func(s *model.Service) {
		*s = model.Defaults(model.Task, false)
		s.Name, s.Command = "migrate", []string{"/bin/migrate"}
	})
	w.link("web", func(s *model.Service) { s.Needs.Requires = deps("migrate") })
	w.boot()
	w.advance(time.Minute)
	w.expectLive("migrate")
	w.keeper.end("migrate", 0)
	w.advance(time.Minute)
	w.expect("migrate", "finished")
	w.expectLive("web")
}

func TestOneOfASetIsEnough(t *testing.T) {
	w := newWorld(t, 1)
	w.link("pg", func(s *model.Service) { s.Enabled = false })
	w.link("my", func(s *model.Service) { s.Enabled = false })
	w.link("web", func(s *model.Service) { s.Needs.AnyOf = [][]model.Dependency{deps("pg", "my")} })
	w.boot()
	w.advance(time.Minute)
	w.expectLive("pg", "web")
	w.ask(control.Start, "my")
	w.advance(time.Minute)
	w.ask(control.Stop, "pg")
	w.advance(time.Minute)
	w.expectLive("my", "web")
	if w.service("web").st.Run != 1 {
		t.Error("web was restarted though the other one is there")
	}
}

func TestARollIsNoRestartForDependents(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", nil)
	w.link("web", func(s *model.Service) { s.Needs.Requires = following("db") })
	w.boot()
	w.advance(time.Minute)
	w.ask(control.Roll, "db")
	w.advance(time.Minute)
	if runs := []uint64{w.service("db").st.Run, w.service("web").st.Run}; !slices.Equal(runs, []uint64{2, 1}) {
		t.Fatalf("runs of db and web: %v\n%s", runs, w.story())
	}
	// The run that took its place is the one that is needed.
	w.keeper.journal = nil
	w.ask(control.Stop, "db")
	w.advance(time.Minute)
	w.expectOrder("-web -db/roll")
	w.ask(control.Start, "db")
	w.advance(time.Minute)
	w.expect("web", "running")
}

func TestAShutdownDuringARestartEndsInOrder(t *testing.T) {
	w := newWorld(t, 1)
	w.link("db", nil)
	w.link("app", func(s *model.Service) { s.Needs.Requires = following("db") })
	w.link("web", func(s *model.Service) { s.Needs.Requires = following("app") })
	w.ignores["web"] = true
	w.boot()
	w.advance(time.Minute)
	w.keeper.journal = nil
	w.ask(control.Restart, "db")
	w.expect("web", "stopping")
	w.guard(func() { w.eng.Shutdown(0, "asked") })
	w.advance(time.Minute)
	w.expectOrder("-web -app -db")
	if !w.eng.done {
		t.Error("the shutdown has not ended")
	}
}

func TestAStartCallsOffAStopWhoseTurnHasNotCome(t *testing.T) {
	w := newWorld(t, 1)
	w.chain()
	w.ignores["web"] = true
	w.boot()
	w.advance(time.Minute)
	w.ask(control.Stop, "db")
	w.expect("web", "stopping")
	if got, want := w.status("db").Why, "it is stopped when app has ended"; got != want {
		t.Errorf("db: %q, want %q", got, want)
	}
	w.ask(control.Start, "db")
	w.advance(time.Minute)
	w.expectLive("db", "app", "web")
	if runs := []uint64{w.service("db").st.Run, w.service("app").st.Run, w.service("web").st.Run}; !slices.Equal(runs, []uint64{1, 1, 2}) {
		t.Errorf("runs of db, app and web: %v\n%s", runs, w.story())
	}
}

// A chain must not cost the square of its length, nor depth of a stack.
func TestALongChainStartsAndEnds(t *testing.T) {
	const length = 1000
	w := newWorld(t, 1)
	name := func(i int) string { return fmt.Sprintf("s%04d", i) }
	for i := range length {
		w.define(name(i), func(s *model.Service) {
			if i > 0 {
				s.Needs.Requires = deps(name(i - 1))
			}
		})
	}
	w.boot()
	w.run()
	w.guard(func() { w.eng.Shutdown(0, "asked") })
	w.run()
	if got := len(w.keeper.journal); got != 2*length {
		t.Fatalf("%d starts and ends, want %d", got, 2*length)
	}
	for i := range length {
		if up, down := w.keeper.journal[i], w.keeper.journal[2*length-1-i]; up != "+"+name(i) || down != "-"+name(i) {
			t.Fatalf("start %d is %s, end %d from the last is %s", i, up, i, down)
		}
	}
}

// dependencyStory is what happens to services that depend on each other, and what it
// must come to whatever engines die in between.
type dependencyStory struct {
	name   string
	begin  func(w *world)
	expect func(w *world) string
}

// waitsFor asks until the request was carried out, by whichever engine.
func (w *world) carriedOut(verb control.Verb, names ...string) {
	if _, err := w.client(control.Request{Verb: verb, Names: names}, 5*time.Minute); err != nil {
		w.t.Fatalf("%s %v: %v\n%s", verb, names, err, w.story())
	}
}

func seen(w *world, want string) string {
	if got := w.order(); got != want {
		return fmt.Sprintf("the keeper saw %q, want %q", got, want)
	}
	return ""
}

var dependencyStories = []dependencyStory{
	{"stop with dependents", func(w *world) { w.carriedOut(control.Stop, "db") }, func(w *world) string {
		return first(seen(w, "-web -app -db"), w.live("calm"))
	}},
	{"restart with levels", func(w *world) { w.carriedOut(control.Restart, "db") }, func(w *world) string {
		return first(seen(w, "-web -app -db +db +app +web"), w.live("db", "app", "web", "calm"))
	}},
	{"a need that crashes", func(w *world) { w.keeper.end("db", 11) }, func(w *world) string {
		got := strings.Fields(w.order())
		if len(got) != 6 || slices.Index(got, "-web") > slices.Index(got, "-app") || got[4] != "+app" || got[5] != "+web" {
			return "the keeper saw " + w.order()
		}
		return w.live("db", "app", "web", "calm")
	}},
	{"removal", func(w *world) {
		delete(w.defs, "db")
		w.carriedOut(control.Apply)
	}, func(w *world) string {
		if w.eng.services["db"] != nil {
			return "db is still there"
		}
		return first(seen(w, "-web -app -db"), w.live("calm"))
	}},
	{"start with needs", func(w *world) {
		w.carriedOut(control.Start, "late")
	}, func(w *world) string {
		return first(seen(w, "+base +late"), w.live("db", "app", "web", "calm", "base", "late"))
	}},
}

// TestDependenciesOutliveEngines lets the engine die inside every single call of a
// story, and the next one in a call after.
func TestDependenciesOutliveEngines(t *testing.T) {
	for _, story := range dependencyStories {
		t.Run(story.name, func(t *testing.T) {
			for _, again := range []int{0, 3, 11} {
				for at := 1; ; at++ {
					w := newWorld(t, 1)
					w.link("db", nil)
					w.link("app", func(s *model.Service) { s.Needs.Requires = following("db") })
					w.link("web", func(s *model.Service) { s.Needs.Requires = following("app") })
					w.link("calm", nil)
					w.link("base", func(s *model.Service) { s.Enabled = false })
					w.link("late", func(s *model.Service) { s.Enabled, s.Needs.Requires = false, deps("base") })
					w.boot()
					w.advance(time.Minute)
					w.keeper.journal = nil
					w.crashIn, w.crashNext = at, again
					story.begin(w)
					w.advance(time.Minute)
					died := w.crashIn == 0
					w.crashIn, w.crashNext = 0, 0
					w.advance(time.Minute)
					if wrong := story.expect(w); wrong != "" || t.Failed() {
						t.Fatalf("death at call %d, then %d: %s\n%s", at, again, wrong, w.story())
					}
					// One more engine finds nothing to do.
					w.boot()
					w.advance(time.Minute)
					if wrong := story.expect(w); wrong != "" || t.Failed() {
						t.Fatalf("death at call %d, then %d, and a new engine: %s\n%s", at, again, wrong, w.story())
					}
					if !died {
						break
					}
				}
			}
		})
	}
}

func TestBootAndShutdownKeepTheirOrderOverEngines(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t, 1)
		w.chain()
		w.keeperPid = 1
		w.crashIn = at
		w.boot()
		w.advance(time.Minute)
		booted := w.crashIn == 0
		w.crashIn = 0
		w.expectOrder("+db +app +web")
		w.keeper.journal = nil
		w.crashIn, w.crashNext = at, at%5
		w.terms = 1
		w.guard(func() { w.eng.Signaled(sigTERM, 1) })
		w.advance(time.Minute)
		died := w.crashIn == 0
		w.crashIn, w.crashNext = 0, 0
		w.advance(time.Minute)
		w.expectOrder("-web -app -db")
		if !w.eng.done || t.Failed() {
			t.Fatalf("death at call %d: over %v\n%s", at, w.eng.done, w.story())
		}
		if !booted && !died {
			return
		}
	}
}

func TestAServiceWithoutDependenciesIsNoPartOfTheGraph(t *testing.T) {
	w := newWorld(t, 1)
	w.link("alone", nil)
	w.boot()
	w.advance(time.Minute)
	s := w.service("alone")
	if s.node != nil {
		t.Error("it is in the graph")
	}
	if s.st.Phase != core.Running {
		t.Errorf("it is %s", s.st.Phase)
	}
}

// Who waits for a task waits for its end: that is when it is there.
func TestATaskIsReadyWhenItIsDone(t *testing.T) {
	w := newWorld(t, 1)
	w.define("prep", func(s *model.Service) { s.Kind, s.Restart.When = model.Task, model.RestartNever })
	w.define("web", func(s *model.Service) { s.Needs.Requires = []model.Dependency{{Service: "prep"}} })
	w.boot()
	w.run()
	w.expect("prep", "running")
	if at := w.service("prep").info.ReadyAt; at != 0 {
		t.Errorf("while it runs it is ready since %d", at)
	}
	w.advance(time.Second)
	w.keeper.end("prep", 0)
	w.run()
	w.expect("web", "running")
	prep, web := w.service("prep").info, w.service("web").info
	if prep.ReadyAt < prep.BeganAt+int64(time.Second) || prep.ReadyAt > web.BeganAt {
		t.Errorf("it began at %d and was ready at %d, web began at %d", prep.BeganAt, prep.ReadyAt, web.BeganAt)
	}
}
