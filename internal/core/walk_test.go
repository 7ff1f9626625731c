package core

import (
	"flag"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type stepFunc func(*Config, State, Event, Time) (State, Actions)

const ms = time.Millisecond

var quick = Backoff{First: ms, Factor: 2, Max: 2 * ms, Healthy: 2 * ms, ResetAfter: 3 * ms}

func oneSignal(c Config) Config {
	c.Backoff, c.StopSteps, c.StopTimeout = quick, 1, 2*ms
	return c
}

// brisk is oneSignal with few moments, for walks that are about something else than
// time.
func brisk(c Config) Config {
	c.Backoff, c.StopSteps, c.StopTimeout = steady, 1, ms
	return c
}

var steady = Backoff{First: ms, Factor: 1, Max: ms}

// zoo holds one configuration for each kind of behaviour.
var zoo = map[string]Config{
	"daemon":         oneSignal(Config{}),
	"limit":          oneSignal(Config{When: OnFailure, Limit: Limit{Count: 2, Window: 3 * ms, RetryAfter: 2 * ms}}),
	"limit for good": oneSignal(Config{Limit: Limit{Count: 1}, ReadyAfter: ms}),
	"task":           oneSignal(Config{When: Never, Task: true}),
	"task retried":   oneSignal(Config{When: OnFailure, Task: true, Delay: ms}),
	"never":          oneSignal(Config{When: Never, ReadyWait: true}),
	"crash grace":    oneSignal(Config{When: OnCrash, CrashGrace: 2 * ms, ReadyWait: true, ReadyTimeout: 2 * ms}),
	"children left":  oneSignal(Config{LeaveChildren: true, Delay: ms, ReadyWait: true, ReadyTimeout: ms}),
	"many signals": {
		Backoff: quick, KeepLeftovers: true, StopSteps: 3,
		StopWait: [MaxStopSteps]time.Duration{ms, 0, ms}, StopTimeout: 4 * ms,
	},
	"kill at once": {Backoff: quick, ReadyAfter: 2 * ms, When: OnFailure},

	"brisk":        brisk(Config{}),
	"brisk limit":  brisk(Config{Limit: Limit{Count: 1, RetryAfter: ms}}),
	"brisk never":  brisk(Config{When: Never, ReadyWait: true}),
	"brisk task":   brisk(Config{When: OnFailure, Task: true}),
	"hooks":        brisk(Config{Hooks: allHooks, ReadyWait: true, ReadyTimeout: 2 * ms}),
	"hooks, never": {Backoff: steady, When: Never, Hooks: allHooks, LeaveChildren: true},
	"hooked task":  brisk(Config{When: OnFailure, Task: true, Hooks: allHooks}),
	"after_stop":   brisk(Config{Hooks: [HookKinds]bool{AfterStop: true}, Limit: Limit{Count: 1}}),
	"target":       brisk(Config{Target: true}),
	"forking":      brisk(Config{Forking: true, ReadyTimeout: 2 * ms}),
	"forking, tells": brisk(Config{
		Forking: true, ReadyWait: true, ReadyTimeout: ms, When: OnFailure, Hooks: [HookKinds]bool{AfterStart: true, AfterStop: true},
	}),
	"watched": brisk(Config{
		Watchdog: 2 * ms, ReadyWait: true, ReadyTimeout: 3 * ms, Hooks: [HookKinds]bool{AfterStart: true},
	}),
	"restarted when ill": brisk(Config{
		HealthFailures: 2, HealthGrace: ms, HealthRestart: true, Hooks: [HookKinds]bool{BeforeStop: true},
	}),
	"degraded when ill": brisk(Config{HealthFailures: 2, HealthGrace: ms}),
}

var allHooks = [HookKinds]bool{true, true, true, true}

// facet is a set of moves that are made in some walks only, so that each stays
// small.
type facet uint8

const (
	holds facet = 1 << iota
	conditions
	signs // of life: health, watchdog, extend
)

// plan names the configurations that may replace each other in one walk. One that is
// long is walked with -all only.
type plan struct {
	names []string
	with  facet
	long  bool
}

var everyWalk = flag.Bool("all", false, "walk every reachable state, not only those of the short walks")

func (p plan) String() string {
	s := strings.Join(p.names, " and ")
	for i, f := range []string{" with holds", " with conditions", " with signs of life"} {
		if p.with&(1<<i) != 0 {
			s += f
		}
	}
	return s
}

var walks = []plan{
	{names: []string{"daemon", "task"}},
	{names: []string{"task", "task retried", "never", "kill at once"}, long: true},
	{names: []string{"daemon", "crash grace", "children left", "many signals"}, long: true},
	{names: []string{"crash grace"}},
	{names: []string{"many signals"}},
	{names: []string{"limit for good", "never"}, long: true},
	{names: []string{"limit"}, long: true},
	{names: []string{"brisk"}, with: holds | conditions},
	{names: []string{"brisk limit"}, with: holds},
	{names: []string{"brisk task", "brisk never"}, with: holds},
	{names: []string{"hooks", "brisk"}},
	{names: []string{"hooked task", "hooks, never"}, long: true},
	{names: []string{"hooks"}, with: holds | conditions, long: true},
	{names: []string{"after_stop"}, with: conditions},
	{names: []string{"target", "brisk"}, with: holds},
	{names: []string{"forking", "forking, tells"}, long: true},
	{names: []string{"forking", "brisk"}},
	{names: []string{"forking"}, with: holds},
	{names: []string{"watched"}, with: signs, long: true},
	{names: []string{"restarted when ill"}, with: signs},
	{names: []string{"degraded when ill"}, with: signs},
	{names: []string{"forking"}, with: signs},
}

// walk visits every node that moves can reach, breadth first, so that the way
// to the first fault found is a shortest one.
type walk struct {
	step  stepFunc
	cfgs  []Config
	moves []move
	at    moveIndex
	index map[key]int32
	nodes []key
	from  []int32 // the node before
	by    []int16 // the move that led here
	edge  func(old State, ev Event, next State)
	steps int
	idle  []Event
	next  node // take's
}

func newWalk(step stepFunc, p plan) *walk {
	w := &walk{step: step, index: map[key]int32{}}
	for _, name := range p.names {
		w.cfgs = append(w.cfgs, zoo[name])
	}
	w.moves, w.at = moves(w.cfgs, p.with)
	return w
}

// run returns nil, or the first fault with the way to it.
func (w *walk) run() error {
	for i := range w.cfgs {
		n := node{cfg: uint8(i), s: State{Run: runs}, w: world{lastStep: -1}}
		w.visit(pack(&n), -1, 0)
	}
	for i := 0; i < len(w.nodes); i++ {
		n := unpack(&w.nodes[i])
		if err := w.stillness(&n); err != nil {
			return w.fault(int32(i), "", err)
		}
		for m := range w.moves {
			if !w.moves[m].ok(&n) {
				continue
			}
			k, err := w.take(&n, m)
			if err != nil {
				return w.fault(int32(i), w.moves[m].label, err)
			}
			w.visit(k, int32(i), int16(m))
		}
	}
	for _, world := range []func(*node) int{w.cooperative, w.stubborn} {
		if err := w.quiet(world); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) visit(k key, from int32, by int16) {
	if _, ok := w.index[k]; ok {
		return
	}
	w.index[k] = int32(len(w.nodes))
	w.nodes = append(w.nodes, k)
	w.from = append(w.from, from)
	w.by = append(w.by, by)
}

// take makes one move from n.
func (w *walk) take(n *node, i int) (key, error) {
	m, next := &w.moves[i], &w.next
	*next = *n
	ev := m.make(next)
	if m.cfg >= 0 {
		next.cfg = uint8(m.cfg)
	}
	cfg := &w.cfgs[next.cfg]
	if m.time {
		normalise(next, cfg, base+unit)
		return pack(next), nil
	}
	old := next.s
	s, acts := w.step(cfg, old, ev, base)
	w.steps++
	if w.edge != nil {
		w.edge(old, ev, s)
	}
	if err := judge(cfg, &old, next, ev, s, acts.All(), base); err != nil {
		return key{}, err
	}
	next.s = s
	normalise(next, cfg, base)
	return pack(next), nil
}

// stillness: news of an old run, an answer given twice and a tick before its
// time change nothing, and the State survives being stored.
func (w *walk) stillness(n *node) error {
	cfg := &w.cfgs[n.cfg]
	list := idleSigns(idle(w.idle[:0], n), n, cfg)
	if n.s.Deadline == 0 || n.s.Deadline > base {
		list = append(list, Event{Kind: EvTick})
	}
	w.idle = list
	for _, ev := range list {
		if s, acts := w.step(cfg, n.s, ev, base); s != n.s || acts.N != 0 {
			return fmt.Errorf("%v of run %d changes %s to %s and asks for %v", ev.Kind, ev.Run, brief(n.s), brief(s), acts.All())
		}
	}
	var b [EncodedSize]byte
	n.s.Encode(&b)
	if s, err := Decode(&b); err != nil || s != n.s {
		return fmt.Errorf("stored as bytes %s comes back as %s: %v", brief(n.s), brief(s), err)
	}
	return nil
}

// cooperative chooses what happens next in a world where all goes well, and -1
// when nothing is to come.
func (w *walk) cooperative(n *node) int {
	switch {
	case n.s.Deadline != 0 && n.s.Deadline <= base:
		return w.at.tick
	case n.w.spawnDue:
		return w.at.spawned
	case n.w.hookDue != 0:
		return w.at.hooked
	case n.w.findDue:
		return w.at.found
	case n.w.cleanDue:
		return w.at.cleaned
	case n.s.Phase == Stopping && !n.w.frozen:
		return w.at.success
	case n.s.Paused && n.s.Wanted:
		return w.at.resume
	case n.s.Phase == Waiting && n.w.held:
		return w.at.allow
	case n.s.Phase == Waiting:
		return w.at.recheck
	case n.s.Phase == Running:
		return -1
	case n.s.Phase == Starting && w.cfgs[n.cfg].Forking && !n.w.main:
		return w.at.success
	case n.s.Phase == Starting && w.cfgs[n.cfg].ReadyWait:
		return w.at.ready
	case n.s.AtRest() || n.s.Deadline == 0:
		return -1
	}
	return w.at.pass
}

// stubborn is a world where processes heed nothing but KILL.
func (w *walk) stubborn(n *node) int {
	switch {
	case n.s.Wanted:
		return w.cooperative(n)
	case n.s.Deadline != 0 && n.s.Deadline <= base:
		return w.at.tick
	case n.w.spawnDue:
		return w.at.spawned
	case n.w.hookDue != 0:
		return w.at.unhooked
	case n.w.alive && n.w.killed:
		return w.at.success
	case n.w.cleanDue && n.s.Deadline == 0:
		return w.at.cleaned
	case n.s.Deadline == 0:
		return -1
	}
	return w.at.pass
}

// quiet: from every node the given world comes to an end, and that is the right
// one.
func (w *walk) quiet(world func(*node) int) error {
	const onTheWay, done = 1, 2
	mark := make([]uint8, len(w.nodes))
	for start := range w.nodes {
		var path []int32
		for i := int32(start); mark[i] != done; {
			if mark[i] == onTheWay {
				return w.fault(i, "", fmt.Errorf("goes round for ever though the world cooperates"))
			}
			mark[i] = onTheWay
			path = append(path, i)
			n := unpack(&w.nodes[i])
			m := world(&n)
			if m < 0 {
				if up := n.s.Phase == Running || n.s.Phase == Reached || n.s.Phase == Finished || n.s.Phase == Failed; n.s.Wanted && !up {
					return w.fault(i, "", fmt.Errorf("wanted, and stays %v though the world cooperates", n.s.Phase))
				}
				if unsure := n.s.Cause == CauseUnsure; !n.s.Wanted && n.s.Phase != Down && !unsure {
					return w.fault(i, "", fmt.Errorf("not wanted, and stays %v though the world cooperates", n.s.Phase))
				}
				break
			}
			k, err := w.take(&n, m)
			if err != nil {
				return w.fault(i, w.moves[m].label, err)
			}
			i = w.index[k]
		}
		for _, i := range path {
			mark[i] = done
		}
	}
	return nil
}

// fault tells the way to a node and what is wrong there.
func (w *walk) fault(i int32, last string, err error) error {
	var way []string
	if last != "" {
		way = append(way, last)
	}
	at := unpack(&w.nodes[i])
	for ; w.from[i] >= 0; i = w.from[i] {
		way = append(way, w.moves[w.by[i]].label)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v\nfrom configuration %d by:", err, w.nodes[i][0])
	for j := len(way) - 1; j >= 0; j-- {
		fmt.Fprintf(&b, "\n  %s", way[j])
	}
	fmt.Fprintf(&b, "\nlast state before: %s\nworld: %s", brief(at.s), brief(at.w))
	return fmt.Errorf("%s", b.String())
}

// brief prints the fields of a struct that are not zero.
func brief(v any) string {
	var b strings.Builder
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		if f := r.Field(i); !f.IsZero() {
			fmt.Fprintf(&b, "%s:%v ", r.Type().Field(i).Name, f)
		}
	}
	return strings.TrimSpace(b.String())
}

func TestEveryReachableStateKeepsThePromises(t *testing.T) {
	var all atlas
	whole := t.Run("walk", func(t *testing.T) {
		for _, p := range walks {
			if p.long && !*everyWalk && !*update {
				continue
			}
			t.Run(p.String(), func(t *testing.T) {
				t.Parallel()
				var ways atlas
				w := newWalk(Step, p)
				w.edge = ways.add
				if err := w.run(); err != nil {
					t.Fatal(err)
				}
				all.join(&ways)
				t.Logf("%d states, %d steps", len(w.nodes), w.steps)
			})
		}
	})
	if whole && all.walks == len(walks) {
		all.check(t)
	} else if whole {
		all.checkPart(t)
	}
}
