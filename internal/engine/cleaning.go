package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// signalStep sends one step of the stop sequence, or runs the stop command.
func (e *Engine) signalStep(s *service, run uint64, step int) {
	if int(s.info.SentStep) > step {
		return // a former engine sent it and died before it could say more
	}
	if s.group != nil {
		// Who belongs to the run is plain only while its main process lives.
		s.group.Snapshot()
	}
	switch {
	case s.def.Stop.Command != nil:
		e.stopByCommand(s, run)
	case step < len(s.def.Stop.Steps):
		e.sendStep(s, run, step)
	}
	s.info.SentStep = int32(step) + 1
	e.persist(s)
}

// sendStep signals the main process, or everything of the run.
func (e *Engine) sendStep(s *service, run uint64, step int) {
	signo := s.def.Stop.Steps[step].Signal
	if s.def.Stop.ToAll && s.group != nil {
		s.group.SignalAll(signo)
		return
	}
	if err := e.ports.Keeper.SignalOnce(s.slot, run, signo, ToMain, onceOfStep(run, step)); err != nil {
		e.record(s.name, run, "state", fmt.Sprintf("cannot send %s: %v", model.SignalName(signo), err), nil)
	}
}

// onceOfStep names the signal of a stop step. Those of requests have the highest
// bit unset.
func onceOfStep(run uint64, step int) uint64 { return 1<<63 | run<<8 | uint64(step) }

func onceOfAbort(run uint64) uint64 { return onceOfStep(run, 0xff) }

// kill ends everything of a run with KILL, or its main process alone. Nothing is
// answered here: the end of the main process comes as an exit, and a clean-up
// that waits sees that nothing is left.
func (e *Engine) kill(s *service, run uint64, mainOnly bool) {
	e.record(s.name, run, "state", "sending KILL to what is left", nil)
	if s.info.Pid != 0 || s.st.Phase == core.Stopping {
		// The main process goes first and through the keeper, whose pidfd cannot
		// mean another process.
		_ = e.ports.Keeper.Signal(s.slot, run, sigKILL, ToMain)
	}
	if group := s.group; group != nil && !mainOnly {
		go group.Kill(context.Background())
	}
}

// clean ends what a run left behind. On the normal path there is nothing, and
// that is known without a goroutine and without looking at all processes.
func (e *Engine) clean(s *service, run uint64, grace bool) {
	group := s.group
	if group == nil || group.Empty() {
		e.cleaned(s, run, group, Cleaned{})
		return
	}
	var wait time.Duration
	if grace {
		// The core's deadline ends the wait with ActKill; ours only has to be
		// later than that.
		wait = time.Duration(s.st.Deadline-e.now()) + time.Second
	}
	go e.cleanAside(s, run, group, wait)
}

// cleanAside blocks until nothing is left. Where that cannot be told it says so
// and looks again: the next run must not start beside the last one's processes.
func (e *Engine) cleanAside(s *service, run uint64, group Group, wait time.Duration) {
	const longest = 30 * time.Second
	for pause := time.Second; ; pause = min(2*pause, longest) {
		result := group.Clean(context.Background(), wait)
		if result.Err == nil {
			e.Post(func() { e.cleaned(s, run, group, result) })
			return
		}
		e.Post(func() {
			if s.st.Run == run && s.st.Phase == core.Cleaning {
				s.stuck = true
				s.fault = fmt.Sprintf("cannot end what run %d left behind: %v", run, result.Err)
				e.record(s.name, run, "state", s.fault, nil)
			}
		})
		time.Sleep(pause)
		wait = 0
	}
}

// cleaned answers ActClean.
func (e *Engine) cleaned(s *service, run uint64, group Group, result Cleaned) {
	if run != s.st.Run || s.st.Phase != core.Cleaning || s.group != group {
		return
	}
	s.strays = result.Strays
	if result.Ended > 0 {
		e.record(s.name, run, "state", fmt.Sprintf("ended %d leftover processes", result.Ended), nil)
	}
	for _, stray := range result.Strays {
		text := fmt.Sprintf("left alone: process %d (%s) may have come from this service, %s", stray.Pid, stray.Comm, stray.Why)
		e.record(s.name, run, "state", text, nil)
		e.ports.Logs.Note(s.name, run, text)
	}
	if s.stuck {
		s.stuck, s.fault = false, ""
	}
	if group != nil {
		e.later(group.Remove)
		s.group = nil
	}
	e.feed(s, core.Event{Kind: core.EvCleaned, Run: run})
}

// abort ends a main process that does not tell that it is alive with a signal that
// leaves a core. It stands for the whole stop sequence.
func (e *Engine) abort(s *service, run uint64) {
	e.record(s.name, run, "state", "sending ABRT: the watchdog was not fed in time", nil)
	if err := e.ports.Keeper.SignalOnce(s.name, run, sigABRT, ToMain, onceOfAbort(run)); err != nil {
		e.record(s.name, run, "state", fmt.Sprintf("cannot send ABRT: %v", err), nil)
	}
}

// freeze stops or continues all processes of a run.
func (e *Engine) freeze(s *service, run uint64, on bool) {
	if s.group == nil {
		return
	}
	var err error
	if on {
		err = s.group.Freeze()
	} else {
		err = s.group.Thaw()
	}
	if err != nil {
		e.record(s.name, run, "state", fmt.Sprintf("cannot freeze or thaw: %v", err), nil)
	}
}
