package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
)

// releaseProcess lets the process of a service go on without abide. The wish that says so
// is written first: an engine that finds it and the run still with the keeper does
// the rest.
func (e *Engine) releaseProcess(req control.Request, s *service) (control.Outcome, *waiter) {
	if err := e.permitAll(req); err != nil {
		return refuse(s, control.NotPermitted, "cannot release %s: not permitted for uid %d", s.name, req.Who.UID), nil
	}
	switch {
	case s.st.Paused:
		o := refuse(s, control.Failed, "cannot release %s: it is paused, and nobody would let it go on", s.name)
		o.Hint = "abide resume " + s.name
		return o, nil
	case s.st.Phase != core.Running && s.st.Phase != core.Starting || s.info.Pid == 0:
		return refuse(s, control.NotRunning, "cannot release %s: it is %s", s.name, s.stateName()), nil
	}
	r := state.Released{Pid: int(s.info.Pid), Start: s.info.StartTime, Run: s.st.Run}
	e.wish(s, req.Who, func(w *state.Wish) { w.Stopped, w.Started, w.Released = true, false, r })
	w := e.waitFor(s, waitCommand, r.Run, "")
	e.letGo(s, func() {
		o := done(s, fmt.Sprintf("released: process %d lives on", r.Pid))
		o.Hint = fmt.Sprintf("abide adopt %d --as %s takes it back", r.Pid, s.name)
		e.finish(w, o)
	})
	return control.Outcome{}, w
}

// letGo carries out the release that the wish names, and calls then in the loop when
// its output is taken care of. Abide does not end before.
func (e *Engine) letGo(s *service, then func()) {
	run := s.wish.Released.Run
	if err := e.ports.Keeper.Release(s.slot, run); err != nil {
		e.record(s.name, run, "state", fmt.Sprintf("cannot release its process: %v", err), nil)
	}
	e.feed(s, core.Event{Kind: core.EvReleased, Run: run})
	e.detach(s, run, then)
}

// detach has the pipes of a released run read by somebody else from now on.
func (e *Engine) detach(s *service, run uint64, then func()) {
	e.detaching++
	e.ports.Logs.Detach(s.name, run, func(out, err string) {
		e.Post(func() {
			e.detaching--
			e.drain(s, s.wish.Released, out, err)
			then()
			e.finishIfIdle()
		})
	})
}

// halfReleased finishes a release that a former engine died at: before it told the
// keeper, or before the page had it.
func (e *Engine) halfReleased(s *service, r Record) bool {
	wished := s.wish.Released
	if wished.Run == 0 || r.Run != wished.Run || r.Exited || r.Live && r.Pid != wished.Pid || !r.Live && !(s.st.Live() && s.st.Run == r.Run) {
		return false
	}
	s.adopted = true
	r.Pid, r.StartTime = wished.Pid, wished.Start
	e.takeOver(s, r)
	e.claim(s)
	e.letGo(s, func() {})
	e.settle()
	return true
}

// stillReleased says that the process a service was released with lives, "" if it
// does not.
func (e *Engine) stillReleased(s *service) string {
	r := s.wish.Released
	if r.Pid == 0 {
		return ""
	}
	if p, err := e.ports.Processes.Look(r.Pid); err != nil || p.Start != r.Start || p.Ended {
		return ""
	}
	return fmt.Sprintf("process %d, which it was released with, lives on", r.Pid)
}

// releasedText is what status says of it.
func (e *Engine) releasedText(s *service) string {
	text := fmt.Sprintf("released by uid %d at %s", s.wish.By, s.wish.At.UTC().Format(time.RFC3339))
	if e.stillReleased(s) == "" {
		return fmt.Sprintf("%s; pid %d has ended since", text, s.wish.Released.Pid)
	}
	return fmt.Sprintf("%s, pid %d lives on", text, s.wish.Released.Pid)
}

// heldBack refuses to start a service beside the process that it was released with.
func (e *Engine) heldBack(verb control.Verb, s *service) (control.Outcome, bool) {
	text := e.stillReleased(s)
	if text == "" {
		return control.Outcome{}, false
	}
	o := refuse(s, control.Failed, "cannot %s %s: %s", verb, s.name, text)
	o.Hint = fmt.Sprintf("abide adopt %d --as %s", s.wish.Released.Pid, s.name)
	return o, true
}

// drainSlot is the keeper's name for what empties the pipes of a released process.
func drainSlot(name string) string { return name + "/drain" }

// drain leaves a process behind that takes into the log what a released one writes.
// Its pipes would be full after a while, and the keeper's copies keep them from
// having no reader at all. It outlives abide.
func (e *Engine) drain(s *service, r state.Released, pipes ...string) {
	plan := svlog.DrainPlan{
		Dir: fmt.Sprintf("%s/drains/%s", e.opts.Run, s.name), LogDir: e.opts.Log, Name: s.name, Run: r.Run, Log: s.def.Log,
	}
	for i, path := range pipes {
		if path == svlog.Nameless {
			path = fmt.Sprintf("/proc/%d/fd/%d", r.Pid, i+1)
		}
		plan.Pipes[i] = path
	}
	if plan.Pipes == [2]string{} || r.Pid == 0 {
		_ = e.ports.Keeper.Drop(s.slot, r.Run)
		return
	}
	slot := drainSlot(s.name)
	a := e.aux[slot]
	if a == nil {
		a = &auxRun{slot: slot}
		e.aux[slot] = a
	}
	if a.live {
		return
	}
	text, err := json.Marshal(plan)
	if err != nil {
		e.complainOnce("drain", fmt.Sprintf("Cannot leave a reader behind for %s: %v", s.name, err))
		return
	}
	helper := &model.Service{
		Name: "abide", Command: Literal([]string{e.opts.Self, "drain", string(text)}), Umask: 0o077, Directory: "/",
	}
	null := svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}
	program, err := e.ports.Compiler.Command(helper, helper.Command, RunContext{Name: "abide", Out: null, Err: null})
	if err != nil {
		e.complainOnce("drain", fmt.Sprintf("Cannot leave a reader behind for %s: %v", s.name, err))
		return
	}
	e.orderAux(a, a.run+1, program.Bytes, program.Slow, 0, func(x Exit, reason string) {
		e.drainEnded(s, r, pipes, x, reason)
	})
}

// drainEnded begins another one if this one was killed. It waits a little: what
// killed one may kill the next.
func (e *Engine) drainEnded(s *service, r state.Released, pipes []string, x Exit, reason string) {
	if reason != "" && s.wish.Released == r && e.stillReleased(s) != "" && syscall.WaitStatus(x.Status).Signaled() {
		time.AfterFunc(time.Second, func() {
			e.Post(func() {
				if s.wish.Released == r {
					e.drain(s, r, pipes...)
				}
			})
		})
		return
	}
	if reason != "" {
		e.record(s.name, r.Run, "log", "the output of the released process is not taken any more: "+reason, nil)
	}
	_ = e.ports.Keeper.Drop(s.slot, r.Run)
}

// endDrain ends what empties the pipes that a service was released with, and calls
// then in the loop once it is gone. Nothing that it has taken is lost.
func (e *Engine) endDrain(s *service, then func()) {
	r := s.wish.Released
	a := e.aux[drainSlot(s.name)]
	if a == nil || !a.live {
		then()
		return
	}
	a.done = func(Exit, string) {
		_ = e.ports.Keeper.Drop(s.slot, r.Run)
		then()
	}
	if err := e.ports.Keeper.Signal(a.slot, a.run, sigTERM, ToMain); err != nil {
		e.complainOnce("drain", fmt.Sprintf("Cannot end the reader left behind for %s: %v", s.name, err))
	}
}

// drainAgain sees to it, in a new engine, that released processes are read.
func (e *Engine) drainAgain() {
	for _, s := range e.services {
		r := s.wish.Released
		if r.Pid == 0 || s.lives() || e.stillReleased(s) == "" {
			continue
		}
		var pipes [2]string
		ours := false // a former engine died before it gave the pipes up
		for i := range pipes {
			if seen := e.ports.Processes.Output(r.Pid, i+1); e.isLogPipe(seen) {
				pipes[i] = seen.Target
				ours = ours || !strings.HasSuffix(seen.Target, svlog.ReleasedSuffix)
			}
		}
		a := e.aux[drainSlot(s.name)]
		if a != nil && a.live {
			a.done = func(x Exit, reason string) { e.drainEnded(s, r, pipes[:], x, reason) }
			continue
		}
		if ours {
			_ = e.ports.Logs.Adopt(s.name, r.Run, int(s.info.UID), int(s.info.GID), &s.def.Log)
			e.detach(s, r.Run, func() {})
			continue
		}
		e.drain(s, r, pipes[:]...)
	}
}

// releasedAs returns the service that a process was released from, nil if none was.
func (e *Engine) releasedAs(pid int, start uint64) *service {
	for _, s := range e.services {
		if s.wish.Released.Pid == pid && s.wish.Released.Start == start {
			return s
		}
	}
	return nil
}
