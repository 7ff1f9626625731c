package engine

import (
	"container/heap"
	"slices"
	"time"

	"github.com/abide-project/abide/internal/core"
)

// A wake is something of the engine's own that is due: the next look at a service
// that asked for being looked at. It may come at any time from at to latest, so that
// what is due at about the same time costs one timer. All of them and the deadlines
// of the services share the loop's one timer.
type wake struct {
	at, latest core.Time
	do         func()
	index      int // in the heap, -1: in none
}

// wakeIn has do called in the loop after d, or later by slack at most.
func (e *Engine) wakeIn(d, slack time.Duration, do func()) *wake {
	at := e.now() + core.Time(max(d, 1))
	w := &wake{at: at, latest: at + core.Time(slack), do: do}
	heap.Push(&e.wakes, w)
	return w
}

// unwake takes back a wake; nil and one that has come are no harm.
func (e *Engine) unwake(w *wake) {
	if w != nil && w.index >= 0 {
		heap.Remove(&e.wakes, w.index)
	}
}

// nextTime is when the timer must go off, 0: never.
func (e *Engine) nextTime() core.Time {
	var at core.Time
	if len(e.due) > 0 {
		at = e.due[0].st.Deadline
	}
	if len(e.wakes) > 0 && (at == 0 || e.wakes[0].latest < at) {
		at = e.wakes[0].latest
	}
	return at
}

// wakeUp does all that may be done by now.
func (e *Engine) wakeUp(now core.Time) {
	var ready []*wake
	for _, w := range e.wakes {
		if w.at <= now {
			ready = append(ready, w)
		}
	}
	slices.SortStableFunc(ready, func(a, b *wake) int { return int(min(max(a.at-b.at, -1), 1)) })
	for _, w := range ready {
		if w.index >= 0 { // one that came before may have taken it back
			heap.Remove(&e.wakes, w.index)
			w.do()
		}
	}
}

// wakeHeap orders wakes by when they must have come.
type wakeHeap []*wake

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].latest < h[j].latest }
func (h wakeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *wakeHeap) Push(x any) {
	w := x.(*wake)
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *wakeHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.index = -1
	return w
}
