//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// TestChaos is the whole of it, in rounds that each begin anew. A round that
// fails names its seed: -seed replays what is chosen, as far as the machine lets it.
func TestChaos(t *testing.T) {
	const most = 200
	for n := uint64(0); *kills > int(n)*most; n++ {
		size := min(most, *kills-int(n)*most)
		t.Run(fmt.Sprintf("seed %d", *seed+n), func(t *testing.T) { newRound(t, *seed+n).play(*seed+n, size) })
		if t.Failed() {
			t.Fatalf("replay with: go test ./test/chaos -run TestChaos -kills %d -seed %d", size, *seed+n)
		}
	}
}

func (r *round) play(seed uint64, kills int) {
	t := r.t
	r.start()
	// Whatever comes and goes has been there once before anything is counted.
	for _, name := range transient {
		r.OK("start", "--no-wait", name)
		harness.Eventually(t, name+" has run", func() error {
			if r.file("starts", name) == "" {
				return errors.New("it has noted no start")
			}
			return nil
		})
		r.OK("stop", name)
	}
	r.begin()
	r.end()
	r.ordered["task"] = 1
	keeper, engine, err := r.inCharge()
	harness.Check(t, err)
	descriptors, threads := map[string]int{}, map[string]int{}
	descriptors["keeper"], _, threads["keeper"] = holding(keeper)
	descriptors["engine"], _, threads["engine"] = holding(engine)
	named, _ := r.pipes()

	for _, name := range transient[:3] {
		r.OK("start", "--no-wait", name)
	}
	r.begin()
	calm := r.AwaitStatus("calm", "runs", running)
	r.AwaitStatus("rolled", "runs", running)
	r.AwaitStatus("top", "runs", running)
	r.from, r.ended = time.Now().UnixNano(), math.MaxInt64
	tick, end := make(chan struct{}), make(chan struct{})
	var movers sync.WaitGroup
	movers.Go(func() { r.move(seed, tick, end) })
	for i, list := range deeds {
		movers.Go(func() { r.push(rand.New(rand.NewPCG(seed, 3+uint64(i))), list, tick, end) })
	}
	began := time.Now()
	r.rage(kills, tick)
	took := time.Since(began)
	close(end)
	movers.Wait()
	if t.Failed() {
		return
	}

	// Everything is as it was, as abide sees it and as it is.
	r.settle()
	r.dependable(calm)
	for _, name := range transient[:3] {
		r.OK("stop", name)
		r.NothingOf(name)
	}
	for _, name := range []string{"slow", "moved"} {
		r.OK("start", name)
		r.AwaitStatus(name, "runs", running)
	}
	r.AwaitStatus("task", "is over", func(s client.Status) bool {
		return s.State == "finished" || s.State == "failed" || s.State == "stopped" || s.State == "disabled"
	})
	r.same()
	r.alike("at the end")
	told := r.told()
	exact, unknown := 0, 0
	for _, name := range []string{"crasher0", "crasher1", "forker", "need", "need-fd", "need-tcp", "hooked", "late", "task"} {
		runs := r.starts(name)
		e, u := r.exits(name, told)
		exact, unknown = exact+e, unknown+u
		if len(runs) < 2 && name != "task" {
			t.Errorf("%s has run %d times", name, len(runs))
		}
	}
	if runs := r.starts("task"); len(runs) > r.ordered["task"] {
		t.Errorf("the task ran %d times and was ordered %d times:\n%s", len(runs), r.ordered["task"], r.story("task"))
	}
	r.leaks(descriptors, threads, named)

	for i := range writers {
		r.OK("stop", fmt.Sprintf("writer%d", i))
	}
	r.OK("shutdown")
	if code := r.DaemonExit(); code != 0 {
		t.Errorf("after the shutdown abide exits %d, want 0", code)
	}
	r.Gone("")
	harness.Eventually(t, "nothing of abide is left", func() error {
		if o := r.look(); len(o.keepers)+len(o.engines)+len(o.helpers)+len(o.proxies) > 0 {
			return fmt.Errorf("%+v live", o)
		}
		return nil
	})
	lines := uint64(0)
	for i := range writers {
		lines += r.logged(fmt.Sprintf("writer%d", i))
	}
	t.Logf("seed %d, %d kills in %s: %v; %d exits told exactly, %d unknown; %d starts; %d lines", seed, kills, took.Round(time.Millisecond),
		r.count, exact, unknown, len(r.starts("crasher0"))+len(r.starts("crasher1"))+len(r.starts("forker")), lines)
}

// dependable checks what became of the services that depend on each other, and
// stops them.
func (r *round) dependable(calm client.Status) {
	t := r.t
	t.Helper()
	if s := r.AwaitStatus("prep", "is over", func(s client.Status) bool { return s.Pid == 0 && s.State != "stopping" && s.State != "starting" }); s.State == "failed" {
		r.OK("start", "prep") // nobody could see how it ended, and it is not run again by itself
	}
	r.calmDown()
	if s := r.Status("calm"); s.Run != calm.Run || s.Pid != calm.Pid {
		t.Errorf("calm has pid %d in run %d, had pid %d in run %d\n%s", s.Pid, s.Run, calm.Pid, calm.Run, r.story("calm"))
	}
	told := r.alarmed()
	r.ended = time.Now().UnixNano()
	r.explained()
	r.end()
	starts, crossed := r.inOrder()
	r.inReverse()
	followed, rolls := r.followed(), r.alwaysThere()
	before, after, excused := r.hooksRan("hooked", "top")
	if trouble := r.file("trouble", ""); trouble != "" {
		t.Errorf("programs had trouble:\n%s", trouble)
	}
	t.Logf("%d starts of dependents in order, %d of them crossed the end of a need; %d faults followed; %d rolls; %d and %d commands before and after runs, %d that nobody can tell of; %d faults told; deeds %v",
		starts, crossed, followed, rolls, before, after, excused, told, r.deeds)
}

// leaks compares what keeper and engine hold with what they held at the start,
// when the same services ran.
func (r *round) leaks(descriptors, threads map[string]int, named int) {
	r.t.Helper()
	harness.Eventually(r.t, "keeper and engine hold what they held", func() error {
		keeper, engine, err := r.inCharge()
		if err != nil {
			return err
		}
		for name, pid := range map[string]int{"keeper": keeper, "engine": engine} {
			// A connection of ours may still be open, a log may be about to rotate.
			// Beside the services there is the other one of the two, and a check.
			if d, p, th := holding(pid); d > descriptors[name]+3 || p > len(steady())+2+1+1 || th > threads[name]+4 {
				return fmt.Errorf("the %s has %d descriptors, %d of processes and %d threads, had %d and %d: %s", name, d, p, th,
					descriptors[name], threads[name], strings.Join(openFiles(pid), " "))
			}
		}
		if now, spare := r.pipes(); now != named || spare > 2*40 {
			return fmt.Errorf("there are %d pipes of runs and %d spare, were %d of runs", now, spare, named)
		}
		return nil
	})
}
