package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// Faults keep why services are not started any more, over a reboot.
type Faults interface {
	// Get also tells whether the fault was met since the machine was started.
	Get(name string) (fault state.Fault, sameBoot, ok bool)
	// Set reports whether there is anything new to save. A fault of nil is none.
	Set(name string, fault *state.Fault) bool
	// Save stores what was set. It may block.
	Save() error
}

const (
	faultLines   = 10   // of the failed run's output are kept with a fault
	longestLine  = 1024 // bytes of each
	linesToChose = 100  // of the log, among them those of abide itself
)

// noteFault remembers that a service has failed, or that its fault is over. What
// fails on its way through a roll has not failed as the service.
func (e *Engine) noteFault(s *service, old *core.State) {
	was, is := old.Phase == core.Failed, s.st.Phase == core.Failed
	if is && was && old.Cause == s.st.Cause || s.info.Roll != rollNone || s.transient {
		return
	}
	switch {
	case is:
		e.keepFault(s)
		e.fetchLastOutput(s)
	case was && e.stopping == nil: // a shutdown ends no fault
		e.forgetFault(s)
	case s.lives() && s.st.Run != old.Run:
		e.forgetFault(s) // of a former boot, in which it was wanted
	}
}

func (e *Engine) forgetFault(s *service) {
	s.lastOutput = nil
	if e.ports.Faults.Set(s.name, nil) {
		e.saveFaults()
	}
}

func (e *Engine) keepFault(s *service) {
	last := s.info.Last
	e.ports.Faults.Set(s.name, &state.Fault{
		Cause: s.st.Cause.String(), Reason: s.faultReason(), At: e.wall(),
		Run: last.Run, Exit: state.FaultExit{Status: last.Status, Known: last.Known, OOM: last.OOM, At: last.At},
		Definition: digest(s.def), Output: s.lastOutput,
	})
	e.saveFaults()
}

// saveFaults stores the faults of this turn at its end, outside the loop: a disk may
// take its time.
func (e *Engine) saveFaults() {
	if e.savingFaults {
		return
	}
	e.savingFaults = true
	e.later(func() {
		e.savingFaults = false
		e.aside(func() {
			if err := e.ports.Faults.Save(); err != nil {
				e.Post(func() {
					e.complainOnce("faults", fmt.Sprintf("Cannot keep which services have failed: %v", err))
				})
			}
		})
	})
}

// fetchLastOutput takes the last lines of the run that failed into its fault, when
// they are in the log; not long after its end, because children of it may keep its
// pipes open.
func (e *Engine) fetchLastOutput(s *service) {
	run := s.info.Last.Run
	if run == 0 || run != s.st.Run {
		return
	}
	name, still := s.name, func() bool { return s.st.Phase == core.Failed && s.info.Last.Run == run }
	var once sync.Once
	read := func() {
		once.Do(func() {
			e.aside(func() {
				lines := e.lastLines(name, run, faultLines)
				e.Post(func() {
					if len(lines) > 0 && still() && !s.forgotten {
						s.lastOutput = lines
						e.keepFault(s)
					}
				})
			})
		})
	}
	timer := time.AfterFunc(aLook, read)
	e.ports.Logs.Ended(s.name, run, func() {
		timer.Stop()
		read()
	})
}

// lastLines returns the last lines that a run has written, at most n. It reads files:
// not for the loop.
func (e *Engine) lastLines(name string, run uint64, n int) []string {
	var lines []string
	query := control.LogQuery{Names: []string{name}, Lines: linesToChose}
	_ = e.ports.Logs.Query(context.Background(), query, func(r control.LogRecord) error {
		if r.Run != run || r.Stream != "out" && r.Stream != "err" || r.Base64 {
			return nil
		}
		lines = append(lines, r.Text[:min(len(r.Text), longestLine)])
		return nil
	})
	return lines[max(len(lines)-n, 0):]
}

// recallFaults brings back the faults of former engines and boots: what only an
// operator or another definition can help is not tried again. It comes before
// anything is started.
func (e *Engine) recallFaults() {
	for _, name := range sortedKeys(e.services) {
		s := e.services[name]
		fault, sameBoot, ok := e.ports.Faults.Get(name)
		switch {
		case s.def == nil || s.transient || s.info.Roll != rollNone:
		case s.st.Phase == core.Failed && ok:
			s.lastOutput = fault.Output
			if s.fault == "" && s.info.Last.Run == 0 {
				s.fault = fault.Reason
			}
		case s.st.Phase == core.Failed:
			// Whoever saw it fail died before that was stored.
			e.keepFault(s)
			e.fetchLastOutput(s)
		case !ok || s.adopted && e.stopping != nil:
		case s.adopted || fault.Definition != digest(s.def) || !lasts(&fault, sameBoot, &s.cfg):
			e.forgetFault(s)
		case e.wantedAtBoot(s):
			e.refail(s, &fault)
		}
	}
}

// lasts tells whether a fault stands over the end of an instance. Most are worth
// another try: what was missing may be there by now. A limit that nothing lifts and
// a program that gave up are for an operator; so is a run that may still live, as
// long as it may.
func lasts(f *state.Fault, sameBoot bool, cfg *core.Config) bool {
	switch f.Cause {
	case core.CauseLimit.String():
		return cfg.Limit.RetryAfter <= 0
	case core.CauseGiveUpCode.String():
		return true
	case core.CauseUnsure.String():
		return sameBoot
	}
	return false
}

func (e *Engine) refail(s *service, f *state.Fault) {
	s.st.Phase, s.st.Wanted = core.Failed, true
	for _, c := range []core.Cause{core.CauseLimit, core.CauseGiveUpCode, core.CauseUnsure} {
		if c.String() == f.Cause {
			s.st.Cause = c
		}
	}
	s.fault, s.lastOutput, s.adopted = f.Reason, f.Output, true
	s.info.Since = f.At.UnixNano()
	if f.Run >= s.info.Last.Run {
		// The run numbers go on from there: an end counts only if it is of a later run.
		s.info.Last = lastExit{Run: f.Run, At: f.Exit.At, Status: f.Exit.Status, Known: f.Exit.Known, OOM: f.Exit.OOM}
		s.st.Run = max(s.st.Run, f.Run)
	}
	e.persist(s)
	e.inform(s)
	e.record(s.name, f.Run, "state", "not started, it failed before: "+s.faultText(), map[string]string{"state": s.stateName()})
	e.ports.Console.Say(join(s.name, "not started, it failed before: "+s.faultText()+"; `abide clear "+s.name+"` tries again"))
}

// faultReason is what went wrong, without the rule that made abide stop trying.
func (s *service) faultReason() string {
	if s.fault == "" && s.info.Last.Run != 0 {
		return exitText(s.info.Last)
	}
	return s.fault
}

// digest tells definitions apart by what they say, not by where they say it.
func digest(def *model.Service) string {
	plain := *def
	plain.Origin, plain.Files = nil, nil
	text, err := json.Marshal(&plain)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
