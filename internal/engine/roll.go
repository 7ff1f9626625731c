package engine

import (
	"fmt"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// A roll starts the next run of a service beside the present one and ends that one
// when the next is ready. The two are two services to the core, one of them hidden:
// first the next run, until it is ready and takes the place of the other; then the
// old one, until it has ended. Each has its own page, which says what it is to the
// roll, so a new engine goes on with it.

// rollPart is what a service is to a roll.
type rollPart uint8

const (
	rollNone    rollPart = iota
	rollComing           // hidden, on its way to being ready
	rollLeaving          // hidden, being ended
)

// roll carries out `abide roll`.
func (e *Engine) roll(req control.Request, s *service, note string) (control.Outcome, *waiter) {
	if o := e.cannotRoll(s); o != nil {
		return *o, nil
	}
	n := &service{name: s.name, slot: s.otherSlot(), def: s.def, cfg: onTrial(s.cfg), wish: s.wish, heapIndex: -1}
	n.st.Run, n.st.Skip = s.st.Run, s.st.Skip
	n.info.Roll, n.info.Since = rollComing, e.wall().UnixNano()
	e.hidden[n.slot] = n
	w := e.waitFor(s, waitRoll, s.st.Run, note)
	e.feedPart(n, core.Event{Kind: core.EvStartOnce}, e.request)
	return control.Outcome{}, w
}

// cannotRoll says what stands against a roll.
func (e *Engine) cannotRoll(s *service) *control.Outcome {
	no := func(code control.Code, hint, format string, args ...any) *control.Outcome {
		o := refuse(s, code, "cannot roll %s: "+format, append([]any{s.name}, args...)...)
		o.Hint = hint
		return &o
	}
	switch {
	case s.def.Kind != model.Daemon:
		return no(control.Failed, "abide restart "+s.name, "it is a %s, and two of it cannot run side by side", s.def.Kind)
	case s.st.Phase != core.Running || !s.st.Wanted:
		return no(control.NotRunning, "abide start "+s.name, "it is %s", s.stateName())
	case s.st.Paused:
		return no(control.Failed, "abide resume "+s.name, "it is paused")
	case s.adopting != nil:
		return no(control.Failed, "", "it is adopting a process")
	}
	if h := e.hidden[s.otherSlot()]; h != nil {
		return no(control.Failed, "abide status "+s.name, "a roll of it is under way, run %d has not %s", h.st.Run,
			map[rollPart]string{rollComing: "become ready", rollLeaving: "ended"}[h.info.Roll])
	}
	return nil
}

// onTrial is the configuration of a run that is not started again before it has
// been ready.
func onTrial(cfg core.Config) core.Config {
	cfg.When = core.Never
	return cfg
}

// lookAtRoll does what follows from a new state of a hidden half.
func (e *Engine) lookAtRoll(h *service) {
	s := e.services[h.name]
	switch {
	case h.info.Roll == rollComing && h.st.Phase == core.Running && s != nil:
		e.takePlace(s, h)
	case h.busy():
	case h.info.Roll == rollComing && !h.st.AtRest():
	default:
		e.endHidden(h)
	}
	if s = e.services[h.name]; s != nil {
		e.checkWaiters(s)
	}
}

// takePlace makes the hidden run the service's, and ends the other one. Its page
// comes first: of two runs that say they are the service's the newer one is.
func (e *Engine) takePlace(s, next *service) {
	next.info.Roll, s.info.Roll = rollNone, rollLeaving
	next.cfg, next.st.Once = configure(next.def), false
	next.info.Request, next.info.Upheld = max(next.info.Request, s.info.Request), s.upheld()
	next.st.Restarts = s.st.Restarts
	e.persist(next)
	e.persist(s)
	delete(e.hidden, next.slot)
	e.hidden[s.slot] = s
	e.services[s.name] = next
	next.waiters, s.waiters = s.waiters, nil
	for _, w := range next.waiters {
		w.s = next
	}
	next.broken, next.transient, next.gone = s.broken, s.transient, s.gone
	e.handNode(s, next)
	s.cfg = onTrial(s.cfg)
	e.record(s.name, next.st.Run, "state", fmt.Sprintf("run %d takes the place of run %d, which is ended", next.st.Run, s.st.Run), nil)
	e.feedPart(s, core.Event{Kind: core.EvStop}, 0)
}

// endHidden forgets the half of a roll that is over.
func (e *Engine) endHidden(h *service) {
	delete(e.hidden, h.slot)
	s := e.services[h.name]
	if s != nil && h.info.Roll == rollLeaving && s.info.Last.Run < h.info.Last.Run {
		s.info.Last, s.acked = h.info.Last, h.info.Last.Run
		e.persist(s)
	}
	if h.info.Roll == rollComing {
		text := "the roll failed: " + e.rollFault(h)
		if s != nil {
			s.rollFault, s.info.Request = text, max(s.info.Request, h.info.Request)
			e.useUp(s, h)
			e.persist(s)
		}
		e.record(h.name, h.st.Run, "state", text, nil)
	}
	if h.heapIndex >= 0 {
		h.st.Deadline = 0
		e.arm(h)
	}
	e.forgetTold(h)
	if s == nil || s.st.Run >= h.st.Run {
		// Else its record is what tells that the number is used up, if our pages go.
		_ = e.ports.Keeper.Forget(h.slot)
	}
	e.forgetAux(h.slot)
	e.ports.Snapshot.Delete(h.slot)
}

// rollFault says why the next run did not become ready.
func (e *Engine) rollFault(h *service) string {
	text := h.fault
	switch {
	case text != "":
		text = strings.TrimPrefix(text, fmt.Sprintf("cannot start %s: ", h.name))
	case h.st.Cause == core.CauseReady:
		text = "it was not ready in time"
	case h.info.Last.Run != 0:
		text = "it " + exitText(h.info.Last) + " before it was ready"
	default:
		text = "it was stopped before it was ready"
	}
	return fmt.Sprintf("run %d: %s", h.st.Run, text)
}

// checkRoll answers who waits for a roll.
func (e *Engine) checkRoll(w *waiter) {
	s := w.s
	h := e.hidden[s.otherSlot()]
	switch {
	case h != nil:
	case s.st.Run > w.run && s.st.Phase == core.Running:
		e.finish(w, done(s, join(fmt.Sprintf("rolled: running, pid %d; run %d has ended", s.info.Pid, w.run), w.note)))
	case s.st.Run == w.run && s.lives():
		text := strings.TrimPrefix(s.rollFault, "the roll failed: ")
		if text == "" { // an engine before this one knew
			text = "the next run did not become ready"
		}
		o := refuse(s, control.Failed, "cannot roll %s: %s; run %d goes on", s.name, text, s.st.Run)
		o.Hint = "abide log " + s.name
		e.finish(w, o)
	case !s.st.Wanted || s.st.AtRest():
		e.finish(w, refuse(s, control.Failed, "cannot roll %s: it was stopped meanwhile", s.name))
	case s.st.Run > w.run && !s.lives():
		o := e.upFailed(s)
		o.Message = fmt.Sprintf("cannot roll %s: run %d ended meanwhile, and the next one came to nothing: %s", s.name, w.run, o.Message)
		e.finish(w, o)
	}
}

// settleRoll ends a roll before the present run does something that a second one
// must not stand beside: the next run becomes the service's, ready or not.
func (e *Engine) settleRoll(s *service) *service {
	h := e.hidden[s.otherSlot()]
	if h == nil || h.info.Roll != rollComing {
		return s
	}
	if !h.lives() {
		e.useUp(s, h)
		e.feedPart(h, core.Event{Kind: core.EvStop}, 0)
		return s
	}
	e.takePlace(s, h)
	return h
}

// useUp keeps a service from giving out again the number of a run that was to follow.
func (e *Engine) useUp(s, h *service) {
	s.st, _ = core.Step(&s.cfg, s.st, core.Event{Kind: core.EvUsed, Run: h.st.Run}, e.now())
}

// upheld is since when the service is up without a break.
func (s *service) upheld() int64 {
	if s.info.Upheld != 0 {
		return s.info.Upheld
	}
	return int64(s.st.Began)
}

// endsRun tells whether an event ends the present run, or says that it has ended.
func endsRun(ev core.Event) bool {
	switch ev.Kind {
	case core.EvStop, core.EvRestart, core.EvExited, core.EvReleased:
		return true
	case core.EvRedefined, core.EvHold:
		return ev.Must
	}
	return false
}
