package engine

import (
	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
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
	Last    struct {
		Run    uint64
		Status uint32
		Known  bool
	}
}

// SimAsk carries out a request in the loop; answered is called there.
func (e *Engine) SimAsk(req control.Request, answered func([]control.Outcome, error)) {
	e.Post(func() {
		outcomes, waits, err := e.carryOut(req)
		for _, w := range waits {
			outcomes = append(outcomes, control.Outcome{Name: w.s.name, Done: true})
		}
		answered(outcomes, err)
	})
}

// SimLook lists all services by name.
func (e *Engine) SimLook() []SimService {
	out := make([]SimService, 0, len(e.services))
	for _, name := range sortedKeys(e.services) {
		s := e.services[name]
		x := SimService{Name: name, State: s.st, Fault: s.fault, Pid: int(s.info.Pid), Gone: s.gone, Stopped: s.wish.Stopped, Enabled: s.enabled()}
		x.Last.Run, x.Last.Status, x.Last.Known = s.info.Last.Run, s.info.Last.Status, s.info.Last.Known
		out = append(out, x)
	}
	return out
}

// SimChanged is Definitions.Changed for a definition in memory.
func (e *Engine) SimChanged(name string, def any) bool {
	s := e.services[name]
	return s == nil || any(s.def) != def
}
