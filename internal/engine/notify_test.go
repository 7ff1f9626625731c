package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/outside"
)

// process makes a process known that belongs to web.
func (w *world) process(pid, parent int) {
	if w.others == nil {
		w.others = map[int]outside.Process{}
	}
	if w.owners == nil {
		w.owners = map[int]string{}
	}
	w.others[pid] = outside.Process{Pid: pid, Start: uint64(pid), Comm: fmt.Sprint("p", pid), Parent: parent}
	w.owners[pid] = "web"
}

func (w *world) leave(pids ...int) {
	w.members = map[string][]int{"web": pids}
	for _, pid := range pids {
		if _, known := w.others[pid]; !known {
			w.process(pid, 1)
		}
	}
}

func (w *world) why(name string) string { return w.status(name).Why }

func (w *world) mainPid() int { return int(w.service("web").info.Pid) }

func (w *world) lastHanded() string {
	return fmt.Sprint(w.handed[fmt.Sprint("web.", w.keeper.slots["web"].run)])
}

func notifies(s *model.Service) { s.Ready.Notify, s.Ready.Timeout = true, 30*time.Second }

func forks(s *model.Service) { s.Kind = model.Forking }

// noticeStories are lives of one service, web, that end in a state which may not
// depend on engines that die on the way.
var noticeStories = []struct {
	name   string
	def    func(*model.Service)
	act    []func(w *world)
	expect func(w *world) string
}{
	{"ready", notifies, []func(*world){
		func(w *world) { w.send("web", "READY=1\nSTATUS=Serving") },
	}, func(w *world) string {
		if s := w.status("web"); s.State != "running" || s.Why != "Serving" || w.keeper.slots["web"].spawns != 1 {
			return fmt.Sprintf("%s, %q", s.State, s.Why)
		}
		return ""
	}},
	{"ready and gone at once", func(s *model.Service) { notifies(s); s.Restart.When = model.RestartNever }, []func(*world){
		func(w *world) { w.send("web", "READY=1"); w.keeper.outbox = nil; w.keeper.end("web", 0) },
	}, func(w *world) string {
		return first(expectReady(w), spawns(w, "web", 1))
	}},
	{"reload", notifies, []func(*world){
		func(w *world) { w.send("web", "READY=1") },
		func(w *world) { w.send("web", "RELOADING=1\nMONOTONIC_USEC=1") },
		func(w *world) {
			if why := w.why("web"); why != "it reads its configuration again" {
				w.t.Fatalf("while it reloads: %q", why)
			}
			w.send("web", "READY=1")
		},
	}, func(w *world) string {
		if s := w.service("web"); s.info.Reloaded == 0 || w.why("web") != "" {
			return fmt.Sprintf("reloaded at %d, %q", s.info.Reloaded, w.why("web"))
		}
		return ""
	}},
	{"another main process", notifies, []func(*world){
		func(w *world) { w.process(70, 1); w.send("web", "READY=1\nMAINPID=70") },
	}, func(w *world) string {
		if w.mainPid() != 70 || w.keeper.slots["web"].pid != 70 || !w.keeper.slots["web"].live {
			return fmt.Sprintf("its main process is %d, the keeper's %d", w.mainPid(), w.keeper.slots["web"].pid)
		}
		return ""
	}},
	{"stored", func(s *model.Service) { s.FDStore = 3 }, []func(*world){
		func(w *world) { w.send("web", "FDSTORE=1\nFDNAME=a", 71) },
		func(w *world) { w.send("web", "FDSTORE=1\nFDNAME=b", 72, 73) },
		func(w *world) { w.keeper.end("web", 11) },
		func(w *world) { w.advance(time.Minute) },
		func(w *world) { w.sockets.files[81] = 71; w.send("web", "FDSTORE=1\nFDNAME=a", 81) },
		func(w *world) { w.send("web", "FDSTOREREMOVE=1\nFDNAME=b") },
	}, func(w *world) string {
		held := w.keeper.tags["web/store"]
		if len(held) != 1 || held[Tagged{0, HoldStore}] != 71 {
			return fmt.Sprintf("held are %v", held)
		}
		if got := w.lastHanded(); got != "[a:71 b:72 b:73]" {
			return "it was given " + got
		}
		return ""
	}},
	{"stopped with a store", func(s *model.Service) { s.FDStore = 3 }, []func(*world){
		func(w *world) { w.send("web", "FDSTORE=1", 71) },
		func(w *world) { w.client(control.Request{Verb: control.Stop, Names: []string{"web"}}, time.Minute) },
	}, func(w *world) string {
		if held := w.keeper.tags["web/store"]; len(held) != 0 || w.sockets.kept["web/store"] != nil {
			return fmt.Sprintf("held are %v", held)
		}
		return ""
	}},
	{"forking with one process left", forks, []func(*world){
		func(w *world) { w.leave(70); w.keeper.end("web", 0) },
	}, expectMain(70, 1)},
	{"forking with a tree left", forks, []func(*world){
		func(w *world) { w.process(70, 1); w.process(71, 70); w.leave(71, 70); w.keeper.end("web", 0) },
	}, expectMain(70, 1)},
	{"forking in two steps", forks, []func(*world){
		func(w *world) { w.leave(70); w.keeper.end("web", 0) },
		func(w *world) { w.process(71, 70); w.leave(71); delete(w.others, 70); w.keeper.end("web", 0) },
	}, expectMain(71, 1)},
	{"forking through a process that is about to end", forks, []func(*world){
		func(w *world) { w.leave(70, 71); w.ending = []int{70}; w.keeper.end("web", 0) },
	}, expectMain(71, 1)},
	{"forking with a pid file", func(s *model.Service) { forks(s); s.PidFile = "/run/web.pid" }, []func(*world){
		func(w *world) {
			w.sockets.pidFile["/run/web.pid"] = 99
			w.others = map[int]outside.Process{99: {Pid: 99, Start: 99}} // of an earlier run
			w.leave(70, 71)
			w.keeper.end("web", 0)
		},
		func(w *world) {
			w.sockets.pidFile["/run/web.pid"] = 71
			w.changed("/run/web.pid")
		},
	}, expectMain(71, 1)},
	{"forking and saying so", func(s *model.Service) { forks(s); notifies(s) }, []func(*world){
		func(w *world) { w.leave(70, 71); w.send("web", "MAINPID=71") },
		func(w *world) { w.send("web", "READY=1") },
	}, expectMain(71, 1)},
	{"forking, and the main process dies", forks, []func(*world){
		func(w *world) { w.leave(70); w.keeper.end("web", 0) },
		func(w *world) { w.leave(); w.keeper.end("web", 9) },
		func(w *world) { w.advance(5 * time.Second) },
		func(w *world) { w.leave(80); w.keeper.end("web", 0) },
	}, expectMain(80, 2)},
	{"forking, and nothing is left", func(s *model.Service) { forks(s); s.Restart.When = model.RestartNever }, []func(*world){
		func(w *world) { w.keeper.end("web", 0) },
	}, func(w *world) string {
		return first(expectFailed(w), expectEvent(w, "nothing of it is left"))
	}},
	{"forking, and several are left", func(s *model.Service) { forks(s); s.Restart.When = model.RestartNever }, []func(*world){
		func(w *world) { w.leave(70, 71); w.keeper.end("web", 0) },
	}, func(w *world) string {
		return first(expectFailed(w), expectEvent(w, "70 (p70), 71 (p71) are left"))
	}},
}

func expectMain(pid, starts int) func(*world) string {
	return func(w *world) string {
		slot := w.keeper.slots["web"]
		if s := w.status("web"); s.State != "running" || s.Pid != pid || slot.pid != pid || !slot.live {
			return fmt.Sprintf("%s, pid %d, the keeper has %d, live %t", s.State, s.Pid, slot.pid, slot.live)
		}
		return spawns(w, "web", starts)
	}
}

func expectReady(w *world) string {
	if w.service("web").info.ReadyAt == 0 {
		return "it was never ready"
	}
	return ""
}

func expectFailed(w *world) string {
	if s := w.status("web"); s.State != "failed" {
		return s.State
	}
	return ""
}

func expectEvent(w *world, text string) string {
	for _, ev := range w.history {
		if strings.Contains(ev.Text, text) {
			return ""
		}
	}
	return "no event says: " + text
}

// TestWhatRunsSayIsHeardWhateverEnginesDie lets the engine die inside every single
// call on the way of each story, and the next one in the calls after.
func TestWhatRunsSayIsHeardWhateverEnginesDie(t *testing.T) {
	for _, story := range noticeStories {
		t.Run(story.name, func(t *testing.T) {
			for _, again := range []int{0, 1, 5, 13} {
				for at := 1; ; at++ {
					w := newWorld(t, 1)
					w.define("web", story.def)
					// What others want to know of it outlives engines.
					w.define("front", func(s *model.Service) {
						s.Enabled, s.Needs.Requires = false, []model.Dependency{{Service: "web"}}
					})
					w.boot()
					w.run()
					w.crashIn, w.crashNext = at, again
					for _, act := range story.act {
						act(w)
						w.run()
						for len(w.eng.unclaimed) > 0 {
							w.guard(w.eng.claimAll)
							w.run()
						}
					}
					died := w.crashIn == 0 || w.crashNext == 0 && again != 0
					w.crashIn, w.crashNext = 0, 0
					w.run()
					wrong := story.expect(w)
					w.boot()
					w.run()
					if wrong = first(wrong, story.expect(w)); wrong != "" || t.Failed() {
						t.Fatalf("death at call %d, then %d: %s\n%s", at, again, wrong, w.story())
					}
					if !died {
						break
					}
				}
			}
		})
	}
}

func TestReadyIsHeardThatWasSentWhileNoEngineLived(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", notifies)
	w.boot()
	w.run()
	w.expect("web", "starting")
	w.send("web", "READY=1")
	w.now += int64(time.Hour) // far beyond the time that it had
	w.boot()
	w.guard(w.eng.tick)
	w.run()
	w.expect("web", "running")
}

func TestAKeepAliveThatWaitsCountsBeforeTheWatchdogBites(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) { s.Health.Watchdog = 10 * time.Second })
	w.boot()
	w.advance(time.Minute * 0)
	w.expect("web", "running")
	w.send("web", "WATCHDOG=1")
	w.now += int64(time.Minute)
	w.boot()
	w.guard(w.eng.tick)
	w.run()
	w.expect("web", "running")
	w.advance(11 * time.Second)
	if signals := w.keeper.slots["web"].signals; !slices.Contains(signals, sigABRT) {
		t.Errorf("after 11 s without a word it got %v", signals)
	}
}

// The socket dies with keeper and engine: the program could tell nobody.
func TestASocketIsMadeAgainAndTheWatchdogWaitsForIt(t *testing.T) {
	for _, chroot := range []string{"", "/srv/jail"} {
		w := newWorld(t, 1)
		w.define("web", func(s *model.Service) { s.Health.Watchdog, s.Chroot = 10*time.Second, chroot })
		w.boot()
		w.run()
		w.expect("web", "running")
		w.lose()
		w.keeper.tags, w.sockets.byFD = nil, map[int]*fakeSocket{}
		w.now += int64(time.Minute)
		w.boot()
		w.guard(w.eng.tick)
		w.run()
		w.expect("web", "running")
		w.advance(9 * time.Second)
		w.send("web", "WATCHDOG=1\nSTATUS=all is well")
		w.advance(9 * time.Second)
		w.expect("web", "running")
		if why := w.status("web").Why; !strings.Contains(why, "all is well") {
			t.Errorf("status says %q", why)
		}
		if _, held := w.keeper.tags["web"][Tagged{1, HoldNotify}]; !held {
			t.Error("the keeper does not hold the socket")
		}
		w.advance(2 * time.Second)
		if signals := w.keeper.slots["web"].signals; !slices.Contains(signals, sigABRT) {
			t.Errorf("after 11 s without a word it got %v", signals)
		}
	}
}

// A run that began while the news of it died with everything is found with its pid.
func TestARunIsFoundWhoseSocketDiedBeforeItsStartWasTold(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) { s.Ready.Notify, s.Ready.Timeout = true, time.Minute })
	w.boot()
	pid := w.keeper.slots["web"].pid
	if w.service("web").st.Phase != core.Spawning || pid == 0 {
		t.Fatalf("it is %s, pid %d", w.service("web").st.Phase, pid)
	}
	w.keeper.tags, w.keeper.outbox, w.sockets.byFD = nil, nil, map[int]*fakeSocket{}
	w.boot()
	w.run()
	w.expect("web", "starting")
	w.send("web", "READY=1")
	w.run()
	w.expect("web", "running")
	if got := w.status("web").Pid; got != pid {
		t.Errorf("its pid is %d, want %d\n%s", got, pid, w.story())
	}
}

func TestTheWatchdogsTriggerBites(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) { s.Health.Watchdog = time.Hour })
	w.boot()
	w.run()
	w.send("web", "WATCHDOG=trigger")
	w.advance(time.Second)
	if signals := w.keeper.slots["web"].signals; !slices.Contains(signals, sigABRT) {
		t.Errorf("it got %v", signals)
	}
}

func TestMoreTimeIsGivenToAProgramThatAsksForIt(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", notifies)
	w.boot()
	w.run()
	w.send("web", "EXTEND_TIMEOUT_USEC=60000000")
	w.advance(50 * time.Second)
	w.expect("web", "starting")
	w.send("web", "READY=1")
	w.run()
	w.expect("web", "running")
}

func TestAStrangerAndNonsenseAreSaidOnceAndChangeNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", notifies)
	w.boot()
	w.run()
	for range 50 {
		w.sendAs(4711, "web", "READY=1\nMAINPID=1")
		w.send("web", "READY=1\nMAINPID=x")
	}
	w.run()
	w.expect("web", "starting")
	said := 0
	for _, ev := range w.history {
		if ev.Kind == "notify" {
			said++
		}
	}
	if said != 1 || w.eng.told(w.service("web")).Ignored != 100 {
		t.Errorf("said %d times, %d ignored\n%s", said, w.eng.told(w.service("web")).Ignored, w.story())
	}
}

func TestAMainProcessThatIsNoneOfTheServiceIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", notifies)
	w.boot()
	w.run()
	before := w.mainPid()
	w.others = map[int]outside.Process{99: {Pid: 99, Start: 99}}
	w.process(70, 1)
	for _, text := range []string{"MAINPID=99", "MAINPID=98", "MAINPID=70\nMAINPIDFDID=71"} {
		w.send("web", text)
		w.run()
	}
	if w.mainPid() != before {
		t.Errorf("the main process is %d", w.mainPid())
	}
	w.send("web", "MAINPID=70\nMAINPIDFDID=70")
	w.run()
	if w.mainPid() != 70 {
		t.Errorf("the main process is %d", w.mainPid())
	}
	w.process(71, 70)
	w.send("web", "MAINPIDFD=1", 71)
	w.run()
	if w.mainPid() != 71 {
		t.Errorf("by a descriptor the main process is %d", w.mainPid())
	}
}

func TestNoProgramKeepsTheOthersWaiting(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", notifies)
	w.boot()
	w.run()
	for range 1000 {
		w.send("web", "STATUS=again")
	}
	w.keeper.outbox = w.keeper.outbox[:1]
	w.step()
	for _, s := range w.sockets.byFD {
		if s.taken != noticesATurn {
			t.Errorf("%d messages were heard in one turn", s.taken)
		}
	}
	w.run()
	for _, s := range w.sockets.byFD {
		if len(s.waiting) != 0 {
			t.Errorf("%d messages wait", len(s.waiting))
		}
	}
}

func TestWhatHungUpIsNotHandedOn(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) { s.FDStore = 2 })
	w.boot()
	w.run()
	w.send("web", "FDSTORE=1\nFDNAME=a", 71)
	w.send("web", "FDSTORE=1\nFDNAME=b\nFDPOLL=0", 72)
	w.send("web", "FDSTORE=1\nFDNAME=c", 73) // one too many
	w.run()
	w.sockets.hungUp[71], w.sockets.hungUp[72] = true, true
	w.keeper.end("web", 11)
	w.advance(time.Minute)
	if got := w.handed["web.2"]; fmt.Sprint(got) != "[b:72]" {
		t.Errorf("run 2 was given %v", got)
	}
	if held := w.keeper.tags["web/store"]; len(held) != 1 {
		t.Errorf("held are %v", held)
	}
}

func TestARestartKeepsWhatIsStored(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) { s.FDStore = 2 })
	w.boot()
	w.run()
	w.send("web", "FDSTORE=1", 71)
	w.run()
	w.ask(control.Restart, "web")
	w.advance(time.Minute)
	w.expect("web", "running")
	if got := w.handed["web.2"]; fmt.Sprint(got) != "[stored:71]" {
		t.Errorf("run 2 was given %v", got)
	}
}

func TestAForkingProgramThatIsStoppedWhileItIsLookedFor(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", func(s *model.Service) { forks(s); s.PidFile = "/run/web.pid" })
	w.boot()
	w.run()
	w.leave(70, 71)
	w.keeper.end("web", 0)
	w.run()
	if s := w.service("web"); s.st.Phase != core.Finding {
		t.Fatalf("it is %s\n%s", s.stateName(), w.story())
	}
	w.ask(control.Stop, "web")
	w.advance(time.Minute)
	w.expect("web", "stopped")
	if slot := w.keeper.slots["web"]; slot.acked != 1 || len(w.watched) != 0 {
		t.Errorf("run %d is acknowledged, %d files are watched", slot.acked, len(w.watched))
	}
	w.ask(control.Start, "web")
	w.run()
	if n := w.keeper.slots["web"].spawns; n != 2 {
		t.Errorf("%d starts", n)
	}
}
