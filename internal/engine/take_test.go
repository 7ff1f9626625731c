package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/outside"
)

// stranger puts a process into the world that abide did not start. Its start time
// is its number, as everywhere in this world.
func (w *world) stranger(pid int) {
	if w.others == nil {
		w.others = map[int]outside.Process{}
	}
	uid := w.eng.uid
	w.others[pid] = outside.Process{
		Pid: pid, Start: uint64(pid), Comm: "prog", Parent: 1, UIDs: [4]int{uid, uid, uid, uid}, GIDs: [4]int{5, 5, 5, 5},
		Command: []string{"/bin/prog", "a b"}, Directory: "/srv",
	}
}

func adopting(pid int, as string) control.Request {
	return control.Request{Verb: control.Adopt, Pid: pid, Start: uint64(pid), As: as, Who: control.Who{UID: 0, PID: 9}}
}

// request carries one out and returns its only outcome, or the error; false while it
// waits, or when the engine died of it.
func (w *world) request(req control.Request) (o control.Outcome, err error, answered bool) {
	w.t.Helper()
	var outcomes []control.Outcome
	var waits []*waiter
	w.guard(func() { outcomes, waits, err = w.eng.carryOut(req) })
	w.run()
	for _, wait := range waits {
		select {
		case o := <-wait.out:
			outcomes = append(outcomes, o)
		default:
		}
	}
	if len(outcomes) == 1 {
		o = outcomes[0]
	}
	return o, err, err != nil || len(outcomes) == 1
}

func TestAProcessBecomesTheNextRunOfItsService(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.ask(control.Stop, "web")
	w.advance(time.Minute)
	w.stranger(5000)
	o, err, _ := w.request(adopting(5000, "web"))
	if err != nil || !o.Done {
		t.Fatalf("%+v, %v", o, err)
	}
	w.expect("web", "running")
	if s := w.status("web"); s.Pid != 5000 || s.Run != 2 || s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
	if o, _, _ := w.request(adopting(5000, "web")); !o.Done || !strings.Contains(o.Message, "already") {
		t.Errorf("once more: %+v", o)
	}
	w.now += int64(time.Minute)
	w.keeper.end("web", 9)
	w.run()
	w.expect("web", "running")
	if s := w.keeper.slots["web"]; s.run != 3 || s.spawns != 2 {
		t.Errorf("after its end: run %d, %d spawns", s.run, s.spawns)
	}
}

func TestAProcessWithoutADefinitionIsNotStartedAgain(t *testing.T) {
	w := newWorld(t, 1)
	w.boot()
	w.run()
	w.stranger(5000)
	o, err, _ := w.request(adopting(5000, "found"))
	if err != nil || !o.Done || o.Hint != "abide new found -- /bin/prog 'a b'" {
		t.Fatalf("%+v, %v", o, err)
	}
	def := w.service("found").def
	if def.Restart.When != model.RestartNever || def.Directory != "/srv" || len(def.Command) != 2 {
		t.Errorf("its definition is %+v", def)
	}
	w.boot()
	w.run()
	w.expect("found", "running")
	w.keeper.end("found", 0)
	w.advance(time.Hour)
	w.expect("found", "finished")
	if w.keeper.slots["found"].spawns != 0 {
		t.Error("it was started")
	}
}

func TestWhatMayNotBeAdoptedChangesNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.stranger(5000)
	w.owners = map[int]string{5001: "web"}
	for pid, change := range map[int]func(*outside.Process){
		5001: func(*outside.Process) {},
		5002: func(p *outside.Process) { p.Kernel = true },
		5003: func(p *outside.Process) { p.Ended = true },
		5004: func(p *outside.Process) { p.Comm = "abide-exec" },
		50:   func(*outside.Process) {},
		1:    func(*outside.Process) {},
		9:    func(*outside.Process) {},
	} {
		w.stranger(pid)
		p := w.others[pid]
		change(&p)
		w.others[pid] = p
	}
	base := adopting(5000, "new")
	with := func(change func(*control.Request)) control.Request {
		req := base
		change(&req)
		return req
	}
	for says, req := range map[string]control.Request{
		"another pid namespace":       with(func(r *control.Request) { r.Who.PID = 77 }),
		"another one has its number":  with(func(r *control.Request) { r.Start++ }),
		"no process of this number":   adopting(4999, "new"),
		"it belongs to web":           adopting(5001, "new"),
		"a thread of the kernel":      adopting(5002, "new"),
		"there is no process":         adopting(5003, "new"),
		"a process of abide itself":   adopting(5004, "new"),
		"abide itself was started by": adopting(50, "new"),
		"it is process 1":             adopting(1, "new"),
		"it is this very command":     adopting(9, "new"),
		"web is running":              adopting(5000, "web"),
		"no service is named":         adopting(5000, ""),
		"not permitted for uid 4242":  with(func(r *control.Request) { r.Who.UID = 4242 }),
		"no process is named by pid":  with(func(r *control.Request) { r.Start = 0 }),
		"this abide as uid":           adopting(5000, "new"),
	} {
		uid := w.eng.uid
		if says == "this abide as uid" {
			w.eng.uid = 1000
		}
		_, err, _ := w.request(req)
		w.eng.uid = uid
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if w.eng.services["new"] != nil || w.keeper.slots["new"] != nil {
		t.Error("a refused process left something")
	}
	w.expect("web", "running")
}

func TestAnOutputNobodyElseReadsIsTaken(t *testing.T) {
	w := newWorld(t, 1)
	w.boot()
	w.run()
	w.stranger(5000)
	pipe := outside.Output{Kind: outside.Pipe, Target: "pipe:[7]", Ino: 7}
	w.writes = map[int]outside.Output{5000: pipe, 5001: pipe, 5002: {Kind: outside.File, Target: "/var/log/x", Ino: 8}}
	if o, _, _ := w.request(adopting(5000, "free")); !o.Done || strings.Contains(o.Message, "not through abide") {
		t.Errorf("%+v", o)
	}
	if len(w.outputs) != 1 || w.outputs[0] != "free.1 out from 2001" || len(w.keeper.held["free"]) != 1 {
		t.Errorf("taken %v, held %v", w.outputs, w.keeper.held)
	}
	w.stranger(5001)
	w.readers = []outside.Reader{{Pid: 12, Comm: "tee"}}
	if o, _, _ := w.request(adopting(5001, "shared")); !strings.Contains(o.Message, "process 12 (tee) reads it") {
		t.Errorf("%+v", o)
	}
	w.stranger(5002)
	w.request(adopting(5002, "file"))
	if why := w.status("file").Why; why != "its output goes to /var/log/x, not through abide" {
		t.Errorf("status says %q", why)
	}
	if len(w.outputs) != 1 {
		t.Errorf("taken %v", w.outputs)
	}
}

// TestAnEngineMayDieAtAnyCallOfAnAdoption: whoever asks again finds the process
// adopted or adopts it; it is never stopped, and nothing is started beside it.
func TestAnEngineMayDieAtAnyCallOfAnAdoption(t *testing.T) {
	for at, over := 1, false; !over; at++ {
		w := newWorld(t, uint64(at))
		w.define("web", nil)
		w.boot()
		w.run()
		w.ask(control.Stop, "web")
		w.advance(time.Minute)
		w.stranger(5000)
		w.stranger(5001)
		w.crashIn = at
		w.request(adopting(5000, "web"))
		w.request(adopting(5001, "found"))
		w.advance(time.Minute)
		over = w.crashIn > 0
		w.crashIn = 0
		for pid, name := range map[int]string{5000: "web", 5001: "found"} {
			if w.eng.services[name] == nil || !w.service(name).lives() {
				if o, err, _ := w.request(adopting(pid, name)); err != nil || !o.Done {
					t.Fatalf("death at call %d: asked again: %+v, %v\n%s", at, o, err, w.story())
				}
			}
			w.expect(name, "running")
			if s := w.keeper.slots[name]; s.pid != pid || !s.live || len(s.signals) > 1 || name == "found" && s.spawns != 0 {
				t.Fatalf("death at call %d: %s is %+v\n%s", at, name, s, w.story())
			}
		}
	}
}

// TestAnEngineMayDieAtAnyCallOfARelease: the process lives, gets no signal, and
// nothing is started beside it.
func TestAnEngineMayDieAtAnyCallOfARelease(t *testing.T) {
	for at, over := 1, false; !over; at++ {
		w := newWorld(t, uint64(at))
		w.define("web", nil)
		w.boot()
		w.run()
		s := w.keeper.slots["web"]
		w.stranger(s.pid)
		w.writes = map[int]outside.Output{s.pid: {Kind: outside.Pipe, Target: "/services/web/1.out", Ino: 3}}
		w.crashIn = at
		w.ask(control.Release, "web")
		w.advance(time.Minute)
		over = w.crashIn > 0
		w.crashIn = 0
		if w.service("web").lives() {
			w.ask(control.Release, "web")
		}
		w.expect("web", "stopped")
		if s.live || len(s.signals) != 0 || s.spawns != 1 {
			t.Fatalf("death at call %d: %+v\n%s", at, s, w.story())
		}
		if drain := w.keeper.slots["web/drain"]; drain == nil || !drain.live {
			t.Fatalf("death at call %d: nobody reads what it writes\n%s", at, w.story())
		}
		if o := w.ask(control.Start, "web")[0]; o.Done || o.Hint == "" {
			t.Fatalf("death at call %d: a start beside it: %+v", at, o)
		}
		if why := w.status("web").Why; !strings.Contains(why, "lives on") {
			t.Fatalf("death at call %d: status says %q", at, why)
		}
	}
}

func TestAReleasedProcessComesBack(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	pid := w.keeper.slots["web"].pid
	w.stranger(pid)
	w.ask(control.Release, "web")
	w.writes = map[int]outside.Output{pid: {Kind: outside.Pipe, Target: w.eng.opts.Run + "/services/web/1.out.released", Ino: 3}}
	w.stranger(6000)
	if _, err, _ := w.request(adopting(6000, "web")); err == nil || !strings.Contains(err.Error(), "lives on") {
		t.Errorf("another process under its name: %v", err)
	}
	if o, err, _ := w.request(adopting(pid, "web")); err != nil || !o.Done {
		t.Fatalf("%+v, %v\n%s", o, err, w.story())
	}
	w.expect("web", "running")
	if drain := w.keeper.slots["web/drain"]; drain.live || len(drain.signals) != 1 {
		t.Errorf("the reader is %+v", drain)
	}
	if len(w.outputs) != 2 || !strings.HasSuffix(w.outputs[0], "1.out.released is web.2") {
		t.Errorf("its output: %v", w.outputs)
	}
	if w.wishes["web"].Released.Pid != 0 || w.wishes["web"].Stopped {
		t.Errorf("the wish is %+v", w.wishes["web"])
	}
}

func TestAReleasedProcessThatEndedIsInNobodysWay(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	pid := w.keeper.slots["web"].pid
	w.stranger(pid)
	w.ask(control.Release, "web")
	delete(w.others, pid)
	if why := w.status("web").Why; !strings.Contains(why, "has ended since") {
		t.Errorf("status says %q", why)
	}
	w.ask(control.Start, "web")
	w.expect("web", "running")
	w.ask(control.Stop, "web")
	w.advance(time.Minute)
	if why := w.status("web").Why; strings.Contains(why, "released") {
		t.Errorf("status says %q", why)
	}
}
