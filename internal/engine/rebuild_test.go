package engine

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// fakePast knows what a test says. Surveys are counted: they cost.
type fakePast struct {
	mirror  map[string]PastRun
	alive   map[int]uint64 // start times by pid
	traces  bool
	survey  Survey
	surveys int
}

func (p *fakePast) Mirror() map[string]PastRun { return p.mirror }
func (p *fakePast) Alive(r PastRun) bool       { return r.Start != 0 && p.alive[r.Pid] == r.Start }
func (p *fakePast) Traces() bool               { return p.traces }
func (p *fakePast) Survey([]string) Survey     { p.surveys++; return p.survey }

// lose takes the keeper's records away; what ran lives on, and the fake past knows
// what the kernel would show of it.
func (w *world) lose() *fakePast {
	p := &fakePast{mirror: map[string]PastRun{}, alive: map[int]uint64{}}
	for name, s := range w.keeper.slots {
		if s.live {
			p.alive[s.pid] = uint64(s.pid)
			p.mirror[name] = PastRun{Run: s.run, Pid: s.pid, Start: uint64(s.pid)}
		}
	}
	w.keeper.slots = map[string]*slot{}
	w.past, w.lost = p, true
	return p
}

func (p *fakePast) found(name string, run uint64, pid int, leader bool) {
	if p.survey.Found == nil {
		p.survey.Found = map[string][]FoundProcess{}
	}
	p.alive[pid] = uint64(pid)
	p.survey.Found[name] = append(p.survey.Found[name], FoundProcess{
		PastRun: PastRun{Run: run, Pid: pid, Start: uint64(pid)}, Comm: name, Leader: leader, Mark: "environment",
	})
}

// aWorldRunning has these services in their first run.
func aWorldRunning(t *testing.T, names ...string) *world {
	t.Helper()
	w := newWorld(t, 1)
	for _, name := range names {
		w.define(name, nil)
	}
	w.boot()
	w.run()
	for _, name := range names {
		w.expect(name, "running")
	}
	return w
}

// lives checks that the very process of before is in charge again, and that its
// next end is seen.
func (w *world) lives(name string, pid int) {
	w.t.Helper()
	w.run()
	w.expect(name, "running")
	if s := w.keeper.slots[name]; s == nil || !s.live || s.pid != pid || s.spawns != 0 {
		w.t.Fatalf("the keeper has %+v of %s, want pid %d, which it never spawned\n%s", s, name, pid, w.story())
	}
	if got := int(w.service(name).info.Pid); got != pid {
		w.t.Errorf("%s has pid %d, want %d", name, got, pid)
	}
	run := w.service(name).st.Run
	w.keeper.end(name, 9)
	w.advance(1e9)
	w.expect(name, "running")
	if got := w.service(name).st.Run; got <= run {
		w.t.Errorf("after run %d comes run %d", run, got)
	}
}

func TestLostRecordsAreMadeAgainFromPages(t *testing.T) {
	w := aWorldRunning(t, "web", "db")
	pid := w.keeper.slots["web"].pid
	past := w.lose()
	past.mirror = nil
	w.boot()
	if past.surveys != 0 {
		t.Error("the processes were looked at although every page tells")
	}
	w.lives("web", pid)
}

func TestAPageWhoseProcessIsGoneIsAnEndThatNobodySaw(t *testing.T) {
	w := aWorldRunning(t, "web")
	past := w.lose()
	clear(past.alive)
	w.boot()
	w.run()
	w.advance(1e9)
	w.expect("web", "running")
	if s := w.keeper.slots["web"]; s.spawns != 1 || s.run != 2 {
		t.Errorf("the keeper has %+v, want run 2, spawned once", s)
	}
	if last := w.status("web").LastExit; last == nil || !last.Unknown {
		t.Errorf("its last exit is %+v, want unknown", last)
	}
}

// A single slot that reads as free is a lost record that nobody is told of.
// What follows from the unseen end, the next run, is not to be taken for lost as
// well.
func TestAnUnseenEndIsFollowedByOneRun(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.advance(time.Hour) // it has earned a restart at once
	p := w.lose()
	p.alive = nil
	w.boot()
	w.run()
	w.expect("web", "running")
	if s := w.keeper.slots["web"]; s.spawns != 1 || s.run != 2 {
		t.Errorf("%d runs were begun, the last is %d; want one, run 2", s.spawns, s.run)
	}
}

func TestARecordThatVanishedSilentlyDoesNotMakeASecondCopy(t *testing.T) {
	for _, evidence := range []string{"page", "mirror"} {
		w := aWorldRunning(t, "web")
		pid := w.keeper.slots["web"].pid
		past := w.lose()
		w.lost = false
		if evidence == "page" {
			past.mirror = nil
		} else {
			w.pages = map[string][]byte{}
		}
		w.boot()
		w.lives("web", pid)
		if past.surveys != 0 {
			t.Error("the processes were looked at")
		}
	}
}

func TestWithoutPagesTheMirrorTells(t *testing.T) {
	w := aWorldRunning(t, "web")
	pid := w.keeper.slots["web"].pid
	w.lose()
	w.pages = map[string][]byte{}
	w.boot()
	w.lives("web", pid)
	if got := w.service("web").st.Run; got != 2 {
		t.Errorf("its next run is %d, want 2", got)
	}
}

func TestWithoutPagesAndMirrorTheProcessesTell(t *testing.T) {
	w := aWorldRunning(t, "web")
	pid := w.keeper.slots["web"].pid
	past := w.lose()
	past.mirror, past.traces = nil, true
	past.found("web", 7, pid+5, true) // a child that began a session of its own
	past.found("web", 7, pid, true)
	past.found("web", 3, pid-500, true) // let live by an older run
	w.pages = map[string][]byte{}
	w.boot()
	w.lives("web", pid)
	if past.surveys != 1 {
		t.Errorf("%d looks at the processes, want one", past.surveys)
	}
}

func TestAMirrorThatIsTooOldIsNotTheLastWord(t *testing.T) {
	w := aWorldRunning(t, "web")
	past := w.lose()
	old := past.mirror["web"]
	delete(past.alive, old.Pid)
	past.found("web", 2, 5000, true)
	w.pages = map[string][]byte{}
	w.boot()
	w.lives("web", 5000)
}

func TestWhatIsNotCertainWaitsAndSaysForWhat(t *testing.T) {
	for _, c := range []struct {
		what  string
		make  func(*fakePast)
		wants []string
	}{
		{"only children are left", func(p *fakePast) {
			p.found("web", 4, 4711, false)
		}, []string{"4711", "run 4", "abide adopt PID --as web", "abide clear web"}},
		{"a child older than any leader", func(p *fakePast) {
			p.found("web", 4, 4711, false)
			p.found("web", 4, 4712, true)
		}, []string{"4711", "4712"}},
		{"hidden processes", func(p *fakePast) {
			p.survey.Hidden = []HiddenProcess{{Pid: 815, Comm: "secret", May: func(int) bool { return true }}}
		}, []string{"815", "secret", "abide adopt PID --as web"}},
		{"a look that was cut short", func(p *fakePast) {
			p.survey.Err = errors.New("too many open files")
		}, []string{"too many open files", "abide clear web"}},
	} {
		w := aWorldRunning(t, "web")
		past := w.lose()
		past.mirror, past.traces = nil, true
		clear(past.alive)
		c.make(past)
		w.pages = map[string][]byte{}
		w.boot()
		w.run()
		w.advance(1e12)
		w.expect("web", "failed")
		if s := w.keeper.slots["web"]; s != nil {
			t.Errorf("%s: the keeper was asked for %+v", c.what, s)
		}
		for _, want := range c.wants {
			if got := w.status("web").Why; !strings.Contains(got, want) {
				t.Errorf("%s: status says %q, want %q in it", c.what, got, want)
			}
		}
		// The next engine knows no more, and takes no chances either.
		w.boot()
		w.run()
		w.expect("web", "failed")
		w.ask("clear", "web")
		w.expect("web", "running")
		if s := w.keeper.slots["web"]; s == nil || s.spawns != 1 {
			t.Errorf("%s: after clear the keeper has %+v", c.what, s)
		}
	}
}

func TestHiddenProcessesOfOthersStandAgainstNothing(t *testing.T) {
	w := aWorldRunning(t, "web")
	past := w.lose()
	past.mirror, past.traces = nil, true
	past.survey.Hidden = []HiddenProcess{{Pid: 815, Comm: "sshd", May: func(int) bool { return false }}}
	w.pages = map[string][]byte{}
	w.boot()
	w.run()
	w.expect("web", "running")
}

func TestAFirstStartLooksAtNoProcess(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	past := &fakePast{}
	w.past, w.lost = past, true
	w.boot()
	w.run()
	w.expect("web", "running")
	if past.surveys != 0 {
		t.Error("nothing hints at a past and the processes were looked at")
	}
}

func TestWhatTheKeeperDoesNotTakeOverWaits(t *testing.T) {
	w := aWorldRunning(t, "web")
	w.lose()
	w.boot()
	run := w.service("web").st.Run
	w.keeper.outbox = nil // the answer is a refusal, although the process lives
	w.guard(func() { w.eng.Refused("web", run, -1, 0, "it is another service's") })
	w.run()
	w.expect("web", "failed")
	if why := w.status("web").Why; !strings.Contains(why, "another service's") {
		t.Errorf("status says %q", why)
	}
}

func TestAProcessThatEndsWhileItIsTakenOverHasEndedUnseen(t *testing.T) {
	w := aWorldRunning(t, "web")
	past := w.lose()
	w.boot()
	run := w.service("web").st.Run
	w.keeper.outbox, w.keeper.slots = nil, map[string]*slot{}
	clear(past.alive)
	w.guard(func() { w.eng.Refused("web", run, -1, 0, "no such process") })
	w.advance(1e9)
	w.expect("web", "running")
	if s := w.keeper.slots["web"]; s.run != run+1 {
		t.Errorf("the keeper has %+v, want run %d", s, run+1)
	}
}

func TestAStopGoesOnWithALostRecord(t *testing.T) {
	w := aWorldRunning(t, "web")
	w.ignores["web"] = true
	w.ask("stop", "web")
	w.expect("web", "stopping")
	w.lose()
	w.boot()
	w.run()
	w.expect("web", "stopping")
	w.advance(60e9)
	w.expect("web", "stopped")
}
