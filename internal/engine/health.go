package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// A healthWatch asks a running service from time to time whether it is well. It
// follows from the state, as a readying does: look begins and ends it. How many
// checks in a row have failed is in the state; a new engine begins with a new
// interval.
type healthWatch struct {
	run    uint64
	def    *model.Service
	next   *wake
	cancel func() // of the check under way, nil if none is
	wrong  string // what the last check found, "" if all was well
}

// coalesce is how much later a check may come, so that it comes with others.
func coalesce(interval time.Duration) time.Duration {
	const least, share = 50 * time.Millisecond, 20
	return min(max(least, interval/share), interval)
}

// lookAtHealth begins and ends the checks of a service.
func (e *Engine) lookAtHealth(s *service) {
	wanted := s.st.Phase == core.Running && !s.st.Paused && s.def != nil && s.def.Health.Checks()
	if h := s.health; h != nil && (!wanted || h.run != s.st.Run || h.def != s.def) {
		e.endHealth(s)
	}
	if wanted && s.health == nil {
		s.health = &healthWatch{run: s.st.Run, def: s.def}
		left := time.Duration(0)
		if s.st.Until != 0 {
			left = time.Duration(s.st.Until - e.now()) // of the grace
		}
		e.checkIn(s, s.health, max(s.def.Health.Interval, left))
	}
}

// endHealth ends the checks, one under way included.
func (e *Engine) endHealth(s *service) {
	h := s.health
	s.health = nil
	e.unwake(h.next)
	if h.cancel != nil {
		h.cancel()
		if h.def.Health.Exec != nil {
			e.endCheck(s, healthCheck)
		}
	}
}

// checkIn has the next check made after d. There is never more than one: it is set
// when the one before is over.
func (e *Engine) checkIn(s *service, h *healthWatch, d time.Duration) {
	h.next = e.wakeIn(d, coalesce(h.def.Health.Interval), func() {
		h.next = nil
		spec := &h.def.Health
		h.cancel = e.probe(s, checkOf{kind: healthCheck, tcp: spec.TCP, http: spec.HTTP, exec: spec.Exec, timeout: spec.Timeout}, func(no error) {
			h.cancel = nil
			e.checked(s, h, no)
		})
	})
}

// checked takes the outcome of one check.
func (e *Engine) checked(s *service, h *healthWatch, no error) {
	e.checkIn(s, h, h.def.Health.Interval)
	st := &s.st
	if no == nil {
		h.wrong = ""
		if st.Fails == 0 && !st.Degraded {
			return // it is as well as it was
		}
		e.record(s.name, h.run, "health", checkText(h.def)+": it is well again", nil)
	} else {
		wrong := no.Error()
		if !st.Degraded || wrong != h.wrong {
			text := fmt.Sprintf("%s: %s", checkText(h.def), wrong)
			if st.Until > e.now() {
				text += " (in its grace)"
			} else {
				text += fmt.Sprintf(" (%d of %d in a row)", min(int(st.Fails)+1, int(s.cfg.HealthFailures)), s.cfg.HealthFailures)
			}
			e.record(s.name, h.run, "health", text, nil)
		}
		h.wrong = wrong
	}
	e.feed(s, core.Event{Kind: core.EvHealth, Run: h.run, OK: no == nil})
}

// checkText names the check as a definition does.
func checkText(def *model.Service) string {
	switch h := &def.Health; {
	case h.HTTP != "":
		return h.HTTP
	case h.TCP != "":
		return "tcp " + h.TCP
	default:
		return strings.Join(h.Exec, " ")
	}
}

// whyUnwell is what status says of a service that runs and is not well.
func (s *service) whyUnwell() string {
	switch {
	case s.st.Fails == 0 && !s.st.Degraded || s.def == nil || !s.def.Health.Checks():
		return ""
	case s.health == nil || s.health.wrong == "":
		// A former engine knew more.
		return fmt.Sprintf("%s: failed %d times in a row", checkText(s.def), s.st.Fails)
	}
	return fmt.Sprintf("%s: %s (%d in a row)", checkText(s.def), s.health.wrong, s.st.Fails)
}
