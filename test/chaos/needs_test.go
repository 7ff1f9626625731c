//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// calmFile, once it is there, keeps services from crashing any more.
const calmFile = "calm"

// pairs are services and what each of them requires: it must not begin but while
// the other is ready.
var pairs = []struct{ name, needs string }{
	{"follower", "need"}, {"calm", "need"}, {"follower-fd", "need-fd"}, {"follower-tcp", "need-tcp"},
	{"late", "prep"}, {"middle", "base"}, {"top", "middle"},
}

// leaders crash by themselves, and who follows their faults. What they need comes
// first.
var leaders = map[string]string{"need": "follower", "need-fd": "follower-fd", "need-tcp": "follower-tcp"}

// chain is ended and started by order, with what is part of its first.
var chain = []string{"base", "middle", "top", "parted"}

// faulties fail once each.
const faulties = 4

func faulty(n int) string { return fmt.Sprintf("faulty%d", n) }

// dependents are all services that are up through the kills because of others or
// with others.
func dependents() []string {
	return []string{"need", "need-fd", "need-tcp", "follower", "follower-fd", "follower-tcp", "calm", "prep", "late", "base", "middle", "top", "parted", "hooked", "rolled"}
}

// defineDependents writes the services that depend on each other.
func (r *round) defineDependents() {
	r.t.Helper()
	const eager = "[restart]\nwhen = \"always\"\n[restart.backoff]\nfirst = \"1ms\"\nmax = \"20ms\"\n[log]\nkeep = 100000\n"
	off := func(name, part, rest string) { r.define(name, part, "enabled = false\n"+rest) }
	needs := func(name, level string) string {
		return fmt.Sprintf("requires = [{ service = %q, restart = %q }]\n", name, level)
	}
	// A word for the part, and the same sign for abide.
	const notify, fd = "[ready]\nnotify = true\n", "[ready]\nfd = 3\n"
	port := harness.FreePort(r.t)
	r.defineSigned("need", "lead", "notify", notify+eager)
	r.defineSigned("need-fd", "lead", "fd", fd+eager)
	r.defineSigned("need-tcp", "lead", fmt.Sprintf("tcp:%d", port), fmt.Sprintf("[ready]\ntcp = \"127.0.0.1:%d\"\n", port)+eager)
	for leader, follower := range leaders {
		off(follower, "stay", needs(leader, "error"))
	}
	off("calm", "stay", needs("need", "none"))

	off("prep", "task", "kind = \"task\"\n")
	off("late", "brief", "requires = [{ service = \"prep\", until = \"finished\" }]\n"+eager)

	r.defineSigned("base", "stay", "notify", notify)
	r.defineSigned("middle", "stay", "fd", needs("base", "restart")+fd)
	commands := fmt.Sprintf("before_start = [%q]\nafter_stop = [%q]\n", r.self, r.self)
	off("top", "stay", needs("middle", "restart")+commands)
	off("parted", "stay", "part_of = [\"base\"]\n")

	off("hooked", "brief", commands+eager)
	r.defineSigned("rolled", "beside", "notify", notify)
	for n := range faulties {
		off(faulty(n), "faulty", fmt.Sprintf("[restart]\nwhen = \"never\"\n[on_failure]\ncommand = [%q]\n", r.self))
	}
	// A check that meets another of its kind fails.
	r.Define("tended", fmt.Sprintf("command = [\"/bin/sleep\", \"100000\"]\n[health]\nexec = [\"/usr/bin/flock\", \"--nonblock\", %q, \"/bin/sleep\", \"0.01\"]\ninterval = \"100ms\"\n",
		filepath.Join(r.notes, "lock.tended")))
}

// defineSigned writes a service that says in some way that it is ready.
func (r *round) defineSigned(name, part, sign, rest string) {
	r.Define(name, fmt.Sprintf("command = [%q]\nenvironment = { %s = %q }\nenabled = false\n%s", r.self, partVariable, part+" "+r.notes+" "+sign, rest))
}

// begin starts all that depend on each other, and waits until each has noted that
// it is there.
func (r *round) begin() {
	r.t.Helper()
	os.Remove(filepath.Join(r.notes, calmFile))
	before := map[string]int{}
	for _, name := range dependents() {
		before[name] = len(r.lives(name))
	}
	r.OK(append([]string{"start", "--no-wait"}, dependents()...)...)
	for _, name := range dependents() {
		harness.Eventually(r.t, name+" has run", func() error {
			if len(r.lives(name)) == before[name] {
				return errors.New("it has noted no start")
			}
			return nil
		})
	}
}

// calmDown lets all services live on that crash by themselves, and waits until
// everything is up that is wanted.
func (r *round) calmDown() {
	r.t.Helper()
	harness.Check(r.t, os.WriteFile(filepath.Join(r.notes, calmFile), nil, 0o644))
	last := ""
	defer func() {
		if r.t.Failed() {
			r.t.Logf("what became of %s:\n%s", last, r.story(last))
		}
	}()
	for _, last = range dependents() {
		if last != "prep" {
			r.AwaitStatus(last, "runs", running)
		}
	}
}

// end stops all that depend on each other.
func (r *round) end() {
	r.t.Helper()
	r.OK(append([]string{"stop"}, dependents()...)...)
	for _, name := range dependents() {
		r.NothingOf(name)
	}
}

// deed is an order about what depends on each other, with what follows from it.
type deed struct {
	name string
	do   func(r *round, tick func()) (done bool)
}

// What is done at the same time, each list by a mover of its own.
var deeds = [][]deed{
	{{"restart of a chain", (*round).restartChain}, {"stop of a chain", (*round).stopChain}},
	{{"roll", (*round).rollOver}},
	{{"task", (*round).again}, {"fault", (*round).fail}},
}

// push does some deeds, as move gives orders about what depends on nobody.
func (r *round) push(choices *rand.Rand, list []deed, tick chan<- struct{}, end <-chan struct{}) {
	for {
		select {
		case <-end:
			return
		default:
		}
		d := list[choices.IntN(len(list))]
		if !d.do(r, func() { ticked(tick) }) {
			rest(end)
			continue
		}
		r.mu.Lock()
		r.deeds[d.name]++
		r.mu.Unlock()
	}
}

// again has a task done once more that others wait for.
func (r *round) again(tick func()) bool {
	tick()
	return r.carriedOut(client.Request{Verb: client.Restart, Names: []string{"prep"}})
}

// rollOver rolls a service and checks that one run is in charge after it.
func (r *round) rollOver(tick func()) bool {
	tick()
	if !r.carriedOut(client.Request{Verb: client.Roll, Names: []string{"rolled"}}) {
		return false
	}
	if of := r.Processes("rolled"); len(of) != 1 {
		r.t.Errorf("after a roll there are the processes %v, want one", of)
	}
	return true
}

// restartChain restarts what the chain needs; all that stands above is to follow.
func (r *round) restartChain(tick func()) bool {
	before := map[string]int{}
	for _, name := range chain {
		before[name] = r.lastRun(name)
	}
	tick()
	if !r.carriedOut(client.Request{Verb: client.Restart, Names: []string{"base"}}) {
		return false
	}
	for _, name := range chain {
		harness.Eventually(r.t, name+" is restarted with base", func() error {
			if last := r.lastRun(name); last <= before[name] {
				return fmt.Errorf("it is in run %d", last)
			}
			return nil
		})
	}
	return true
}

// stopChain stops what the chain needs and starts its upper end, which pulls up what
// it needs.
func (r *round) stopChain(tick func()) bool {
	tick()
	if !r.carriedOut(client.Request{Verb: client.Stop, Names: []string{"base"}}) {
		// It may have been carried out all the same.
		r.insist(client.Request{Verb: client.Start, Names: []string{"top", "parted"}, NoWait: true})
		return false
	}
	r.NothingOf("middle")
	r.NothingOf("top")
	r.Gone("parted")
	r.insist(client.Request{Verb: client.Start, Names: []string{"top", "parted"}, NoWait: true})
	return true
}

// insist gives an order until it is carried out.
func (r *round) insist(req client.Request) {
	harness.Eventually(r.t, fmt.Sprintf("%s %v is carried out", req.Verb, req.Names), func() error {
		if !r.carriedOut(req) {
			return errors.New("it is not")
		}
		return nil
	})
}

// fail starts a service that fails, each of them once.
func (r *round) fail(tick func()) bool {
	if r.failed == faulties {
		return false
	}
	name := faulty(r.failed)
	r.failed++
	tick()
	// That it fails is the answer.
	r.order(client.Request{Verb: client.Start, Names: []string{name}})
	return true
}

// explained holds what abide says of services that wait against why they do.
func (r *round) explained() {
	r.t.Helper()
	for _, c := range []struct {
		stop    string
		waiting []string
	}{{"need", []string{"follower", "calm"}}, {"base", []string{"middle", "top"}}} {
		r.OK("stop", c.stop)
		for _, name := range c.waiting {
			s := r.AwaitStatus(name, "waits", func(s client.Status) bool { return s.State == "waiting" })
			if len(s.WaitingFor) == 0 {
				r.t.Errorf("%s waits for nothing", name)
			}
			if out := r.OK("why", name); !strings.Contains(out, c.stop+", stopped by") && !strings.Contains(out, c.stop+": stopped") {
				r.t.Errorf("of %s, which waits for %s, it is said:\n%s", name, c.stop, out)
			}
		}
		r.OK(append([]string{"start", "--no-wait", c.stop}, c.waiting...)...)
		for _, name := range slices.Concat([]string{c.stop}, c.waiting) {
			r.AwaitStatus(name, "runs", running)
		}
	}
}
