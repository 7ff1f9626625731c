package engine

import (
	"container/heap"
	"time"

	"github.com/abide-project/abide/internal/core"
)

// now is the core's clock: nanoseconds since boot, through suspend.
func (e *Engine) now() core.Time { return core.Time(e.ports.Clock.Boot()) }

// wall is the time that people read.
func (e *Engine) wall() time.Time { return e.ports.Clock.Wall() }

// arm puts a service's one deadline into the heap, or takes it out.
func (e *Engine) arm(s *service) {
	at := s.st.Deadline
	switch {
	case at == 0 && s.heapIndex >= 0:
		heap.Remove(&e.due, s.heapIndex)
	case at != 0 && s.heapIndex < 0:
		heap.Push(&e.due, s)
	case at != 0:
		heap.Fix(&e.due, s.heapIndex)
	}
}

// setTimer sets the one timer to whatever is due first. With nothing due there is no
// timer.
func (e *Engine) setTimer() {
	at := e.nextTime()
	if at == 0 {
		if e.armedFor != 0 {
			e.timer.Stop()
			e.armedFor = 0
		}
		return
	}
	if at == e.armedFor {
		return
	}
	e.armedFor = at
	e.timer.Reset(max(time.Duration(at-e.now()), 0))
}

// tick tells every service whose deadline has come to look at the time.
func (e *Engine) tick() {
	e.armedFor = 0
	now := e.now()
	// Collected first: a step changes the heap.
	var late []*service
	for len(e.due) > 0 && e.due[0].st.Deadline <= now {
		late = append(late, heap.Pop(&e.due).(*service))
	}
	for _, s := range late {
		e.hearFirst(s)
		e.feed(s, core.Event{Kind: core.EvTick})
	}
	e.wakeUp(now)
}

// dueHeap orders services by deadline, the earliest first.
type dueHeap []*service

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].st.Deadline < h[j].st.Deadline }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i, j
}

func (h *dueHeap) Push(x any) {
	s := x.(*service)
	s.heapIndex = len(*h)
	*h = append(*h, s)
}

func (h *dueHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.heapIndex = -1
	return s
}
