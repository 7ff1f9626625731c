// Package sched runs what would be threads of several processes one at a time, in
// an order that a seed decides, on a clock that moves only when nobody can run. The
// same seed gives the same order, so whatever goes wrong can be seen again.
//
// There is one schedule at a time in a program: the code under test calls the
// kernel and the clock as functions, not as objects.
package sched

import (
	"container/heap"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime/debug"
	"sort"
)

// Owner is the process that a task belongs to. The tasks of a dead one never run
// again.
type Owner interface{ Alive() bool }

// Task is one thread of one process.
type Task struct {
	Name  string
	Owner Owner
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	ready func() bool // nil: as soon as its turn comes
	until int64       // it runs then at the latest; 0: no limit
	ended bool
}

// Timer is something that happens at a time.
type Timer struct {
	at    int64
	seq   uint64
	index int
	do    func()
}

// Schedule is one run of the world.
type Schedule struct {
	Rand *rand.Rand
	// OnPoint is called whenever a task asks the world outside for something: the
	// places at which a process can die or lose the processor.
	OnPoint func(*Task)

	now    int64
	boot   int64 // what suspended time adds to the clock that runs through it
	wall   int64 // what the settable clock shows beyond that
	tasks  []*Task
	timers timerHeap
	seq    uint64
	cur    *Task
}

// The schedule that is under way.
var present *Schedule

// death unwinds a task whose process has died.
type death struct{}

// Epoch is the monotonic clock at the start of a schedule, in nanoseconds.
const Epoch = 3600_000_000_000

// wallEpoch is the wall clock then.
const wallEpoch = 1_700_000_000_000_000_000

// Begin makes a new schedule the present one.
func Begin(seed uint64) *Schedule {
	present = &Schedule{Rand: rand.New(rand.NewPCG(seed, 0x616269646573696d)), now: Epoch, wall: wallEpoch}
	return present
}

// Present is the schedule under way.
func Present() *Schedule { return present }

// Monotonic is the clock that stops while the machine is suspended, nanoseconds.
func (s *Schedule) Monotonic() int64 { return s.now }

// Boottime is the clock that does not.
func (s *Schedule) Boottime() int64 { return s.now + s.boot }

// Walltime is the clock that people set, nanoseconds since 1970.
func (s *Schedule) Walltime() int64 { return s.now + s.boot + s.wall }

// Suspend lets time pass that only Boottime and Walltime see.
func (s *Schedule) Suspend(ns int64) { s.boot += ns }

// SetWall moves the settable clock.
func (s *Schedule) SetWall(by int64) { s.wall += by }

// Current is the task that runs, nil between tasks.
func Current() *Task { return present.cur }

// Go starts a task of the same process as the one that runs.
func Go(f func()) { present.Start("aside", present.cur.Owner, f) }

// Start makes a task.
func (s *Schedule) Start(name string, owner Owner, f func()) *Task {
	t := &Task{Name: name, Owner: owner}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			switch r := recover(); r.(type) {
			case nil, death:
			case Defect:
				panic(r)
			default:
				panic(Defect{What: fmt.Sprint(r), Stack: string(debug.Stack())})
			}
		}()
		if !owner.Alive() {
			return
		}
		f()
	})
	s.tasks = append(s.tasks, t)
	return t
}

// Defect is a panic of the code under test.
type Defect struct{ What, Stack string }

// Park blocks the running task until ready says so, or until a time of the
// monotonic clock has come; 0 is never. It reports whether ready did.
func Park(ready func() bool, until int64) bool {
	s := present
	t := s.cur
	for {
		if !t.Owner.Alive() {
			panic(death{})
		}
		if ready != nil && ready() {
			return true
		}
		if until != 0 && s.now >= until {
			return false
		}
		t.ready, t.until = ready, until
		if ready == nil {
			t.ready = never
		}
		if !t.yield(struct{}{}) {
			panic(death{})
		}
	}
}

func never() bool { return false }

// Sleep blocks the running task.
func Sleep(ns int64) { Park(nil, present.now+max(ns, 1)) }

// Yield lets others run.
func Yield() {
	t := present.cur
	t.ready, t.until = nil, 0
	if !t.yield(struct{}{}) || !t.Owner.Alive() {
		panic(death{})
	}
}

// Point is passed by everything that a task asks of the world outside. It does
// not return in a process that is dead.
func Point() {
	t := present.cur
	if t == nil {
		return
	}
	if t.Owner.Alive() && present.OnPoint != nil {
		present.OnPoint(t)
	}
	if !t.Owner.Alive() {
		panic(death{})
	}
}

// At lets something happen at a time of the monotonic clock.
func (s *Schedule) At(at int64, do func()) *Timer {
	s.seq++
	t := &Timer{at: max(at, s.now), seq: s.seq, do: do}
	heap.Push(&s.timers, t)
	return t
}

// After lets something happen after a time in nanoseconds.
func (s *Schedule) After(ns int64, do func()) *Timer { return s.At(s.now+ns, do) }

// Cancel takes a timer back; false when it has gone off.
func (s *Schedule) Cancel(t *Timer) bool {
	if t == nil || t.index < 0 {
		return false
	}
	heap.Remove(&s.timers, t.index)
	return true
}

// Step lets one thing happen, and time pass until one can. False: nothing ever
// will.
func (s *Schedule) Step() bool {
	for {
		if s.one() {
			return true
		}
		next := int64(0)
		for _, t := range s.tasks {
			if t.until != 0 && (next == 0 || t.until < next) {
				next = t.until
			}
		}
		if len(s.timers) > 0 && (next == 0 || s.timers[0].at < next) {
			next = s.timers[0].at
		}
		if next == 0 {
			return false
		}
		s.now = max(s.now, next)
	}
}

// one runs one of the things that can happen now.
func (s *Schedule) one() bool {
	n, chosen := 0, (*Task)(nil)
	kept := s.tasks[:0]
	for _, t := range s.tasks {
		if t.ended {
			continue
		}
		kept = append(kept, t)
		if !t.Owner.Alive() {
			chosen = t
			n = 1 << 20
			continue
		}
		if t.ready == nil || t.until != 0 && t.until <= s.now || t.ready() {
			n++
			if n < 1<<20 && s.Rand.IntN(n) == 0 {
				chosen = t
			}
		}
	}
	clear(s.tasks[len(kept):])
	s.tasks = kept
	if len(s.timers) > 0 && s.timers[0].at <= s.now && n < 1<<20 {
		n++
		if s.Rand.IntN(n) == 0 {
			chosen = nil
		}
	}
	if n == 0 {
		return false
	}
	if chosen == nil {
		t := heap.Pop(&s.timers).(*Timer)
		t.do()
		return true
	}
	s.resume(chosen)
	return true
}

func (s *Schedule) resume(t *Task) {
	before := s.cur
	s.cur = t
	_, more := t.next()
	s.cur = before
	if !more {
		t.ended = true
	}
}

// Close ends all tasks.
func (s *Schedule) Close() {
	for _, t := range s.tasks {
		if !t.ended {
			s.cur = t
			t.stop()
		}
	}
	s.tasks = nil
}

// Random is a number for the code under test.
func Random() uint32 { return present.Rand.Uint32() }

// After is a channel that a select may take from once others are empty: which of
// several that are ready it takes is chance.
func After[T any](c <-chan T, empty bool) <-chan T {
	if !empty {
		return nil
	}
	return c
}

// InOrder ranges over a map by name: the order of a plain range is another one in
// each process.
func InOrder[V any](m map[string]V) iter.Seq2[string, V] {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return func(yield func(string, V) bool) {
		for _, k := range keys {
			if v, there := m[k]; there && !yield(k, v) {
				return
			}
		}
	}
}

type timerHeap []*Timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
