package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

// setting is a Setting that a test decides about.
type setting struct {
	w       *world
	unmet   string
	failure error
	made    map[string]int
	removed []string
}

func (f *setting) Unmet(*model.Service) string { f.w.port(); return f.unmet }
func (f *setting) Make(svc *model.Service, run uint64) error {
	f.w.port()
	if f.failure == nil {
		f.made[fmt.Sprintf("%s-%d", svc.Name, run)]++
	}
	return f.failure
}

func (f *setting) Clear(name string, run uint64) {
	f.w.port()
	delete(f.made, fmt.Sprintf("%s-%d", name, run))
}

func (f *setting) ClearOthers(keep func(string, uint64) bool) {
	for key := range f.made {
		name, number, _ := strings.Cut(key, "-")
		var run uint64
		fmt.Sscan(number, &run)
		if !keep(name, run) {
			delete(f.made, key)
		}
	}
}

func (f *setting) RunDirectory(svc *model.Service) string {
	if svc.Directories.Run == 0 {
		return ""
	}
	return "/run/" + svc.Name
}
func (f *setting) Remove(svc *model.Service) error {
	f.removed = append(f.removed, f.RunDirectory(svc))
	return nil
}

func hook(words ...string) model.Hook { return model.Hook{Command: words} }

// hooked defines web with two commands before its start and one at each other moment.
// All commands end with success but those that fails names.
func hooked(w *world, change func(*model.Service)) {
	w.define("web", func(s *model.Service) {
		s.Ready.After = time.Second
		s.Hooks = model.Hooks{
			BeforeStart: []model.Hook{hook("/srv/first"), hook("/srv/migrate")}, AfterStart: []model.Hook{hook("/srv/tell")},
			BeforeStop: []model.Hook{hook("/srv/drain")}, AfterStop: []model.Hook{hook("/srv/tidy")},
		}
		if change != nil {
			change(s)
		}
	})
	w.commands = func(slot string) {
		if w.hold[slot] {
			return
		}
		w.keeper.end(slot, w.fails[slot])
	}
}

func commandsOf(w *world) string {
	var list []string
	for _, o := range w.keeper.orders {
		list = append(list, fmt.Sprintf("%s.%d", o.Name, o.Run))
	}
	return strings.Join(list, " ")
}

func number(run, n uint64) string { return fmt.Sprint(svlog.AuxNumber(run, n)) }

func TestHooksRunInOrderAroundARun(t *testing.T) {
	w := newWorld(t, 1)
	hooked(w, nil)
	w.boot()
	w.run()
	w.expect("web", "starting")
	w.advance(time.Minute)
	w.expect("web", "running")
	w.ask(control.Stop, "web")
	w.expect("web", "stopped")
	want := strings.Join([]string{
		"web/before_start." + number(1, 1), "web/before_start." + number(1, 2), "web.1", "web/after_start." + number(1, 1),
		"web/before_stop." + number(1, 1), "web/after_stop." + number(1, 1),
	}, " ")
	if got := commandsOf(w); got != want {
		t.Errorf("ran %s\nwant %s", got, want)
	}
}

// TestEachHookRunsOnceWhateverEnginesDie lets the engine die inside every single call
// on the way through start, restart and stop.
func TestEachHookRunsOnceWhateverEnginesDie(t *testing.T) {
	for _, again := range []int{0, 1, 7} {
		for at := 1; ; at++ {
			w := newWorld(t, 1)
			places := &setting{w: w, made: map[string]int{}}
			w.setting = places
			hooked(w, func(s *model.Service) { s.Credentials = []model.Credential{{Name: "db", Path: "/x"}} })
			w.crashIn, w.crashNext = at, again
			w.guard(w.boot)
			w.advance(time.Minute)
			if _, err := w.client(control.Request{Verb: control.Restart, Names: []string{"web"}}, time.Minute); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Minute)
			w.expect("web", "running")
			if _, err := w.client(control.Request{Verb: control.Stop, Names: []string{"web"}, ID: "stop"}, time.Minute); err != nil {
				t.Fatal(err)
			}
			died := w.crashIn == 0
			w.crashIn, w.crashNext = 0, 0
			w.advance(time.Minute)
			w.expect("web", "stopped")
			wrong := first(wrongHooks(w), spawns(w, "web", 2))
			if wrong != "" || len(places.made) != 0 {
				t.Fatalf("death at call %d, then %d: %s\nran %v\ncredentials left: %v\n%s", at, again, wrong, commandsOf(w), places.made, w.story())
			}
			if !died {
				break
			}
		}
	}
}

// wrongHooks says what is wrong with the commands of the runs there were: each runs in
// order and once. A start that was lost with an engine ends after some of the first.
func wrongHooks(w *world) string {
	of := map[uint64][]string{}
	var runs []uint64
	for _, o := range w.keeper.orders {
		run, what := o.Run, o.Name
		if isAux(o.Name) {
			run = o.Run >> 16
			what = fmt.Sprintf("%s %d", o.Name[len("web/"):], o.Run&0xffff)
		}
		if of[run] == nil {
			runs = append(runs, run)
		}
		of[run] = append(of[run], what)
	}
	if !slices.IsSorted(runs) {
		return fmt.Sprintf("the runs began as %v", runs)
	}
	for run, list := range of {
		switch strings.Join(list, ", ") {
		case "before_start 1, before_start 2, web, after_start 1, before_stop 1, after_stop 1":
		case "before_start 1, before_start 2, after_stop 1", "before_start 1, after_stop 1", "after_stop 1":
		default:
			return fmt.Sprintf("run %d had %v", run, list)
		}
	}
	return ""
}

func TestAFailedHookBeforeTheStartIsAFailedStart(t *testing.T) {
	w := newWorld(t, 1)
	hooked(w, func(s *model.Service) { s.Restart.When = model.RestartNever })
	w.fails["web/before_start"] = 3 << 8
	w.boot()
	w.advance(time.Minute)
	w.expect("web", "failed")
	if why := w.status("web").Why; !strings.Contains(why, "cannot start web: before_start command 1 (/srv/first) exited with code 3") {
		t.Errorf("why is %q", why)
	}
	if got, want := commandsOf(w), "web/before_start."+number(1, 1)+" web/after_stop."+number(1, 1); got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
}

func TestAFailureThatIsToBeIgnoredChangesNothing(t *testing.T) {
	w := newWorld(t, 1)
	hooked(w, func(s *model.Service) { s.Hooks.BeforeStart[0].IgnoreFailure = true })
	w.fails["web/before_start"] = 3 << 8
	w.boot()
	w.fails["web/before_start"] = 0
	w.advance(time.Minute)
	w.expect("web", "running")
}

func TestAStopEndsTheHookThatRunsAndNoneFollows(t *testing.T) {
	w := newWorld(t, 1)
	hooked(w, nil)
	w.hold["web/before_start"] = true
	w.boot()
	w.advance(time.Minute)
	w.expect("web", "starting")
	if why := w.status("web").Why; why != "before_start command 1 (/srv/first) runs" {
		t.Errorf("why is %q", why)
	}
	w.ask(control.Stop, "web")
	w.advance(time.Second)
	w.expect("web", "stopped")
	if got, want := commandsOf(w), "web/before_start."+number(1, 1)+" web/after_stop."+number(1, 1); got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	if !slices.Contains(w.keeper.slots["web/before_start"].signals, sigKILL) {
		t.Error("the hook was not ended")
	}
}

func TestAStopEndsAHookThatAFormerEngineBegan(t *testing.T) {
	w := newWorld(t, 1)
	hooked(w, nil)
	w.hold["web/before_start"] = true
	w.boot()
	w.run()
	w.boot()
	w.run()
	w.expect("web", "starting")
	w.ask(control.Stop, "web")
	w.advance(time.Second)
	w.expect("web", "stopped")
}

func TestACommandsEndThatNobodySawIsAFailure(t *testing.T) {
	w := newWorld(t, 1)
	hooked(w, func(s *model.Service) { s.Restart.When = model.RestartNever })
	w.hold["web/before_start"] = true
	w.boot()
	w.run()
	s := w.keeper.slots["web/before_start"]
	s.live, s.acked = false, s.run // the keeper was killed and lost it
	w.boot()
	w.advance(time.Minute)
	w.expect("web", "failed")
	if why := w.status("web").Why; !strings.Contains(why, "was not seen") {
		t.Errorf("why is %q", why)
	}
}

func TestAHookIsToldOfTheRun(t *testing.T) {
	w := newWorld(t, 1)
	hooked(w, nil)
	w.boot()
	w.advance(time.Minute)
	s := w.service("web")
	env := func(kind string) string {
		var list []string
		for _, v := range w.eng.hookEnvironment(s, 1, kind) {
			list = append(list, v.Name+"="+v.Value)
		}
		return strings.Join(list, " ")
	}
	if got, want := env("before_stop"), fmt.Sprintf("ABIDE_HOOK=before_stop MAINPID=%d", s.info.Pid); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, c := range []struct {
		status uint32
		stop   bool
		want   string
	}{
		{3 << 8, false, "exit-code exited 3"},
		{0, false, "success exited 0"},
		{11, false, "signal killed SEGV"},
		{6 | 0x80, false, "core-dump dumped ABRT"},
		{15, true, "success killed TERM"},
	} {
		w := newWorld(t, 1)
		hooked(w, func(s *model.Service) { s.Restart.When = model.RestartNever })
		w.hold["web/after_stop"] = true
		w.boot()
		w.advance(time.Minute)
		if c.stop {
			w.ask(control.Stop, "web")
		} else {
			w.keeper.end("web", c.status)
		}
		w.run()
		result, code, status := runResult(w.service("web"), 1)
		if got := result + " " + code + " " + status; got != c.want {
			t.Errorf("status %#x: %s, want %s", c.status, got, c.want)
		}
	}
}

func TestCredentialsGoWithTheRunAndTheRunDirectoryWithTheService(t *testing.T) {
	w := newWorld(t, 1)
	places := &setting{w: w, made: map[string]int{}}
	w.setting = places
	w.define("web", func(s *model.Service) {
		s.Directories.Run = 0o755
		s.Credentials = []model.Credential{{Name: "db", Path: "/x"}}
	})
	w.boot()
	w.advance(time.Minute)
	if fmt.Sprint(places.made) != "map[web-1:1]" {
		t.Fatalf("made %v", places.made)
	}
	w.keeper.end("web", 1<<8)
	w.advance(time.Minute)
	if fmt.Sprint(places.made) != "map[web-2:1]" || len(places.removed) != 0 {
		t.Fatalf("after a restart: made %v, removed %v", places.made, places.removed)
	}
	places.made["web-1"], places.made["other-7"] = 1, 1
	w.boot()
	w.advance(time.Second)
	if fmt.Sprint(places.made) != "map[web-2:1]" {
		t.Fatalf("a new engine leaves %v", places.made)
	}
	w.ask(control.Stop, "web")
	if len(places.made) != 0 || fmt.Sprint(places.removed) != "[/run/web]" {
		t.Errorf("after a stop: made %v, removed %v", places.made, places.removed)
	}
}

func TestAServiceWaitsForItsConditions(t *testing.T) {
	for _, hooks := range []bool{false, true} {
		w := newWorld(t, 1)
		places := &setting{w: w, made: map[string]int{}, unmet: "/etc/shop.conf does not exist"}
		w.setting = places
		hooked(w, func(s *model.Service) {
			s.Conditions.PathExists = []string{"/etc/shop.conf"}
			if !hooks {
				s.Hooks = model.Hooks{}
			}
		})
		w.boot()
		w.advance(time.Minute)
		w.expect("web", "waiting")
		if st := w.status("web"); fmt.Sprint(st.WaitingFor) != "[condition: /etc/shop.conf does not exist]" {
			t.Errorf("it waits for %v", st.WaitingFor)
		}
		w.boot()
		w.advance(time.Minute)
		if st := w.status("web"); fmt.Sprint(st.WaitingFor) != "[condition: /etc/shop.conf does not exist]" {
			t.Errorf("after an engine's death it waits for %v", st.WaitingFor)
		}
		places.unmet = ""
		w.ask(control.Clear, "web")
		w.advance(time.Minute)
		w.expect("web", "running")
		if len(w.keeper.orders) == 0 || w.service("web").condition != "" || w.service("web").watched != nil {
			t.Error("it is watched although it runs")
		}
	}
}

func TestWhatCannotBeMadeForARunIsAFailedStart(t *testing.T) {
	for _, hooks := range []bool{false, true} {
		w := newWorld(t, 1)
		w.setting = &setting{w: w, made: map[string]int{}, failure: fmt.Errorf("cannot read credential db from /x: permission denied")}
		hooked(w, func(s *model.Service) {
			s.Restart.When = model.RestartNever
			s.Credentials = []model.Credential{{Name: "db", Path: "/x"}}
			if !hooks {
				s.Hooks = model.Hooks{}
			}
		})
		w.boot()
		w.advance(time.Minute)
		w.expect("web", "failed")
		if why := w.status("web").Why; !strings.Contains(why, "cannot read credential db from /x: permission denied") {
			t.Errorf("why is %q", why)
		}
	}
}

func TestWhatWaitsForAConditionIsNotComingForOthers(t *testing.T) {
	w := newWorld(t, 1)
	places := &setting{w: w, made: map[string]int{}, unmet: "/etc/shop.conf does not exist"}
	w.setting = places
	w.define("shop", func(s *model.Service) { s.Conditions.PathExists = []string{"/etc/shop.conf"} })
	w.define("soft", func(s *model.Service) { s.Needs.Wants = []model.Dependency{{Service: "shop"}} })
	w.define("hard", func(s *model.Service) { s.Needs.Requires = []model.Dependency{{Service: "shop"}} })
	w.boot()
	w.advance(time.Minute)
	w.expect("shop", "waiting")
	w.expect("soft", "running")
	w.expect("hard", "waiting")
	places.unmet = ""
	w.ask(control.Start, "shop")
	w.advance(time.Minute)
	w.expect("shop", "running")
	w.expect("hard", "running")
}
