package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
)

// waitKind is what a waiting request waits for.
type waitKind uint8

const (
	waitUp      waitKind = iota // a run after number run is up
	waitSpawned                 // a process exists
	waitDown                    // nothing of it lives
	waitCommand                 // somebody calls finish
	waitState                   // the named state is reached
	waitRoll                    // a roll is over
)

// aLook is how much longer than its first moment a start without [ready] is
// watched before it is called a success.
const aLook = 300 * time.Millisecond

// waiter is one request's interest in one service. Only the loop touches it but
// for the channel.
type waiter struct {
	s       *service
	kind    waitKind
	run     uint64
	state   string
	note    string
	looking bool
	answer  *control.Outcome // given once what the run wrote is in its log
	out     chan control.Outcome
	item    *item // of the request that is answered instead
}

func (e *Engine) waitFor(s *service, kind waitKind, run uint64, note string) *waiter {
	w := &waiter{s: s, kind: kind, run: run, note: note, out: make(chan control.Outcome, 1)}
	e.waiters[w] = struct{}{}
	s.waiters = append(s.waiters, w)
	return w
}

// finish answers a waiter once.
func (e *Engine) finish(w *waiter, o control.Outcome) {
	switch {
	case !e.drop(w):
	case w.item != nil:
		e.answer(w.item, o)
	default:
		w.out <- o
	}
}

// drop forgets a waiter; false when it was answered already.
func (e *Engine) drop(w *waiter) bool {
	if _, waiting := e.waiters[w]; !waiting {
		return false
	}
	delete(e.waiters, w)
	w.s.waiters = slices.DeleteFunc(w.s.waiters, func(other *waiter) bool { return other == w })
	return true
}

// release answers a waiter whose service will not change any more.
func (e *Engine) release(w *waiter) {
	if w.answer != nil {
		e.finish(w, *w.answer)
		return
	}
	if w.kind == waitDown {
		e.finish(w, e.downOutcome(w.s))
		return
	}
	e.finish(w, refuse(w.s, control.Failed, "cannot wait for %s: abide is shutting down", w.s.name))
}

// check looks whether a service has become what a waiter waits for.
func (e *Engine) check(w *waiter) {
	s := w.s
	if w.answer != nil {
		return
	}
	switch w.kind {
	case waitDown:
		switch h := e.hidden[s.otherSlot()]; {
		case !s.busy() && (h == nil || !h.busy()):
			e.finish(w, e.downOutcome(s))
		case s.st.Wanted && !s.wish.Stopped && s.info.Ending == endNone && s.st.Phase == core.Running:
			e.finish(w, refuse(s, control.Failed, "cannot stop %s: it was started meanwhile", s.name))
		}
	case waitSpawned:
		if s.st.Run > w.run && s.info.Pid != 0 {
			e.finish(w, done(s, fmt.Sprintf("started, pid %d", s.info.Pid)))
		} else if s.info.Last.Run > w.run || s.st.Phase == core.Failed {
			e.failUp(w)
		}
	case waitState:
		if s.stateName() == w.state || w.state == "" && s.info.Last.Run >= w.run {
			e.finishWritten(w, done(s, s.stateName()))
		}
	case waitUp:
		e.checkUp(w)
	case waitRoll:
		e.checkRoll(w)
	}
}

func (e *Engine) checkUp(w *waiter) {
	s := w.s
	switch {
	case s.st.Phase == core.Finished && s.info.Last.Run > w.run:
		e.finishWritten(w, done(s, join("finished", w.note)))
	case s.st.Phase == core.Reached:
		e.finish(w, done(s, join("running", w.note)))
	case s.st.Phase == core.Waiting:
		if reason := e.hopeless(s); reason != "" {
			e.finish(w, e.heldUp(s, reason))
		}
	case s.st.Phase == core.Failed, s.info.Last.Run > w.run, s.st.Phase == core.Delaying && s.fault != "":
		e.failUp(w)
	case !s.st.Wanted && s.st.Phase == core.Down:
		e.finish(w, refuse(s, control.Failed, "cannot start %s: it was stopped meanwhile", s.name))
	case s.st.Phase == core.Running && s.st.Run > w.run && !s.cfg.Task && !w.looking:
		w.looking = true
		// A run that says itself when it is ready needs no second look. An engine before
		// us may have looked for a while.
		left := aLook - time.Duration(e.now()-s.st.Began)
		if s.def.Ready.After > 0 || s.def.Ready.Signed() || left <= 0 {
			e.finish(w, e.upOutcome(w))
			return
		}
		run := s.st.Run
		time.AfterFunc(left, func() {
			e.Post(func() {
				if s.st.Phase == core.Running && s.st.Run == run {
					e.finish(w, e.upOutcome(w))
				}
			})
		})
	}
}

// heldUp says that a service waits for something that is not going to come by
// itself.
func (e *Engine) heldUp(s *service, reason string) control.Outcome {
	o := refuse(s, control.Failed, "cannot start %s: %s; it stays wanted and starts when it can", s.name, reason)
	o.Hint = "abide why " + s.name
	st := e.status(s, e.ports.Definitions.Changed)
	o.Status = &st
	return o
}

func (e *Engine) upOutcome(w *waiter) control.Outcome {
	return done(w.s, join(fmt.Sprintf("running, pid %d", w.s.info.Pid), w.note))
}

// failUp answers that a first run came to nothing.
func (e *Engine) failUp(w *waiter) {
	o := e.upFailed(w.s)
	if w.s.fault != "" || w.s.info.Last.Run <= w.run {
		e.finish(w, o)
		return
	}
	e.finishWritten(w, o)
}

// finishWritten answers about a run that has ended. Who is told asks for the last
// words of that run next, so the answer waits until they are in the log; not for
// long, because children of the run may keep its pipes open.
func (e *Engine) finishWritten(w *waiter, o control.Outcome) {
	if w.s.lives() || w.s.info.Last.Run == 0 {
		e.finish(w, o)
		return
	}
	w.answer = &o
	answer := func() { e.Post(func() { e.finish(w, o) }) }
	timer := time.AfterFunc(aLook, answer)
	e.ports.Logs.Ended(w.s.name, w.s.info.Last.Run, func() {
		timer.Stop()
		answer()
	})
}

// upFailed says why a first run ended before it was ready, and what abide does
// about it.
func (e *Engine) upFailed(s *service) control.Outcome {
	reason := s.fault
	if reason == "" {
		reason = s.endReason()
	}
	o := refuse(s, control.Failed, "cannot start %s: %s", s.name, strings.TrimPrefix(reason, fmt.Sprintf("cannot start %s: ", s.name)))
	if s.st.Wanted && s.st.Phase != core.Failed && s.st.Phase != core.Finished {
		o.Message += "; abide keeps trying"
	}
	o.Hint = s.hint
	if o.Hint == "" {
		o.Hint = "abide log " + s.name
	}
	st := e.status(s, e.ports.Definitions.Changed)
	o.Status = &st
	return o
}

func (e *Engine) downOutcome(s *service) control.Outcome {
	o := done(s, "stopped")
	if s.st.Killed {
		o.Message = "stopped; KILL was needed"
	}
	if waiting := e.impact(s); s.wish.Stopped && len(waiting) > 0 {
		verb := " wait for it"
		if len(waiting) == 1 {
			verb = " waits for it"
		}
		o.Message += "; " + strings.Join(few(waiting), ", ") + verb
	}
	if n := len(s.strays); n > 0 {
		o.Message += fmt.Sprintf("; %d processes that may have come from it were left alone, see abide status %s", n, s.name)
	}
	return o
}

// await collects what waiters bring, in the order of names, until all have
// answered or the caller has waited long enough.
func (e *Engine) await(ctx context.Context, req control.Request, waits []*waiter) []control.Outcome {
	outcomes := make([]control.Outcome, 0, len(waits))
	told := time.NewTimer(time.Second)
	defer told.Stop()
	began := time.Now()
	for _, w := range waits {
		for waiting := true; waiting; {
			select {
			case o := <-w.out:
				outcomes = append(outcomes, o)
				waiting = false
			case <-told.C:
				if req.Trace != nil {
					req.Trace(fmt.Sprintf("waiting for %s to %s, %s so far", w.s.name, req.Verb, time.Since(began).Round(time.Second)))
				}
				told.Reset(time.Second)
			case <-ctx.Done():
				outcomes = append(outcomes, control.Outcome{
					Name: w.s.name, Code: control.TimedOut,
					Message: fmt.Sprintf("waited %s for %s to %s; the work goes on", time.Since(began).Round(time.Millisecond), w.s.name, req.Verb),
					Hint:    "abide status " + w.s.name,
				})
				e.Post(func() { e.drop(w) })
				waiting = false
			}
		}
	}
	return outcomes
}
