//go:build abide_sim && linux

package main

import (
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/sim/sched"
)

// past is what can be learnt of runs without the keeper's records. Every process
// shows here which run it is of.
type past struct{ w *world }

func (p past) Mirror() map[string]engine.PastRun { return nil }

func (p past) Traces() bool { return true }

func (p past) Alive(r engine.PastRun) bool {
	sched.Point()
	q := p.w.k.Find(r.Pid)
	return q != nil && q.Alive() && q.Start == r.Start
}

func (p past) Survey(names []string) engine.Survey {
	sched.Point()
	out := engine.Survey{Found: map[string][]engine.FoundProcess{}}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	for _, q := range p.w.k.Procs() {
		if !q.Alive() || !wanted[q.Name] || q.Role != kernel.Main && q.Role != kernel.Child {
			continue
		}
		out.Found[q.Name] = append(out.Found[q.Name], engine.FoundProcess{
			PastRun: engine.PastRun{Run: q.Run, Pid: q.Pid, Start: q.Start}, Comm: "sim", Leader: q.Sid == q.Pid, Mark: "its group",
		})
	}
	return out
}

// damage is what becomes of the keeper's records while nobody has them open.
func (w *world) damage() {
	what := []string{"removed", "cut off", "overwritten at its beginning", "overwritten in a record"}[w.rand.IntN(4)]
	w.note("the keeper's records are %s", what)
	for _, s := range w.services {
		s.forgotten = true // what no page tells either begins anew
	}
	const state, header, slot = "keeper.state", 4096, 512
	switch what {
	case "removed":
		w.k.Remove(state)
	case "cut off":
		w.k.Truncate(state, int64(w.rand.IntN(header+8*slot)))
	case "overwritten at its beginning":
		w.noise(state, 0, 64)
	default:
		w.noise(state, header+slot*int64(w.rand.IntN(8)), slot)
	}
}

func (w *world) noise(file string, at int64, n int) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rand.Uint32())
	}
	w.k.Overwrite(file, at, b)
}
