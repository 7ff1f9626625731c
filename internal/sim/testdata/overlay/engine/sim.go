package engine

import (
	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/sim/sched"
)

// SimService is what the simulation looks at.
type SimService struct {
	Name    string
	State   core.State
	Fault   string
	Pid     int
	Gone    bool
	Stopped bool
	Enabled bool
	Since   int64 // when its phase began, by the wall clock
	Waits   int   // what it is said to wait for
	// Against is a need whose ends all matter and that is held down while it runs. One
	// that matters less may have ended before anybody stopped it.
	Against string
	Last    struct {
		Run    uint64
		Status uint32
		Known  bool
	}
}

// SimAsk carries out a request in the loop. answered is called when who asked
// would hear of it.
func (e *Engine) SimAsk(req control.Request, answered func([]control.Outcome, error)) {
	e.Post(func() {
		outcomes, waits, err := e.carryOut(req)
		if len(waits) == 0 {
			e.settle() // who asked is told when the turn is over
			answered(outcomes, err)
			return
		}
		sched.Go(func() {
			for _, w := range waits {
				sched.Park(func() bool { return len(w.out) > 0 }, 0)
				outcomes = append(outcomes, <-w.out)
			}
			answered(outcomes, nil)
		})
	})
}

// SimLook lists all services by name.
func (e *Engine) SimLook() []SimService {
	out := make([]SimService, 0, len(e.services))
	for _, name := range sortedKeys(e.services) {
		s := e.services[name]
		x := SimService{Name: name, State: s.st, Fault: s.fault, Pid: int(s.info.Pid), Gone: s.gone, Stopped: s.wish.Stopped, Enabled: s.enabled()}
		x.Last.Run, x.Last.Status, x.Last.Known = s.info.Last.Run, s.info.Last.Status, s.info.Last.Known
		x.Since = s.info.Since
		x.Waits = len(e.unmet(s))
		if s.st.Live() && s.def != nil {
			for _, d := range s.def.Needs.Requires {
				if n := e.services[d.Service]; d.Restart >= model.RestartOnRestart && n != nil && n.wish.Stopped && !n.busy() {
					x.Against = d.Service
				}
			}
		}
		out = append(out, x)
	}
	return out
}

// SimChanged is Definitions.Changed for a definition in memory.
func (e *Engine) SimChanged(name string, def any) bool {
	s := e.services[name]
	return s == nil || any(s.def) != def
}

// SimHidden lists the slots of the hidden halves of rolls.
func (e *Engine) SimHidden() []string { return sortedKeys(e.hidden) }

// SimSlot is where a service that is known lives, "" if it is not.
func (e *Engine) SimSlot(name string) string {
	if s := e.services[name]; s != nil {
		return s.slot
	}
	return ""
}
