package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

// An auxRun is a command that belongs to a service beside its program: a reload
// or stop command, or abide's own compression of a log. It runs through the
// keeper under a slot name with a slash, which no service can have.
type auxRun struct {
	slot  string
	run   uint64
	live  bool
	ended *Exit // of a run that a former engine began: nobody was told
	timer *time.Timer
	done  func(x Exit, reason string)
}

// runAux starts argv as the service's user; done is called in the loop with the
// exit and "" or with what went wrong. One command of a kind runs at a time, and
// each number once: the keeper holds to that as well, so a command that was asked
// for by an engine before us is waited for.
func (e *Engine) runAux(s *service, kind string, number uint64, argv []string, timeout time.Duration, done func(Exit, string)) {
	slot := s.name + "/" + kind
	a := e.aux[slot]
	if a == nil {
		a = &auxRun{slot: slot}
		e.aux[slot] = a
	}
	if a.run >= number {
		e.joinAux(a, timeout, done)
		return
	}
	if a.live {
		done(Exit{}, fmt.Sprintf("cannot run the %s command of %s: the one before has not ended", kind, s.name))
		return
	}
	run := RunContext{
		Name: s.name, Run: s.st.Run, RunID: fmt.Sprintf("%s:%s:%d", e.opts.ID, s.name, s.st.Run),
		Out: svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}, Err: svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1},
	}
	program, err := e.ports.Compiler.Command(s.def, argv, run)
	if err != nil {
		done(Exit{}, err.Error())
		return
	}
	e.orderAux(a, number, program.Bytes, program.Slow, timeout, func(x Exit, reason string) {
		if x.ExecOp >= 0 {
			reason = program.Explain(x.ExecOp, x.ExecErr)
		}
		done(x, reason)
	})
}

// joinAux waits for the end of a command that runs already or has ended.
func (e *Engine) joinAux(a *auxRun, timeout time.Duration, done func(Exit, string)) {
	switch {
	case a.live:
		a.done = done
		e.limitAux(a, timeout)
	case a.ended != nil:
		x := *a.ended
		a.ended = nil
		done(x, auxReason(a.run, x))
	default:
		done(Exit{ExecOp: -1}, "how the command ended was not seen")
	}
}

func (e *Engine) orderAux(a *auxRun, number uint64, program []byte, slow bool, timeout time.Duration, done func(Exit, string)) {
	// The order acknowledges the exit before: what came of that must be on record.
	e.keepOutcomes()
	ack := a.run
	a.run = number
	a.live, a.done, a.ended = true, done, nil
	err := e.ports.Keeper.Spawn(Order{Name: a.slot, Run: a.run, AckRun: ack, Program: program, Slow: slow, CgroupFD: -1})
	if err != nil {
		e.finishAux(a, Exit{ExecOp: -1}, fmt.Sprintf("cannot run %s: %v", a.slot, err))
		return
	}
	e.limitAux(a, timeout)
}

// limitAux ends a command that takes too long.
func (e *Engine) limitAux(a *auxRun, timeout time.Duration) {
	if timeout > 0 {
		run := a.run
		a.timer = time.AfterFunc(timeout, func() {
			e.Post(func() {
				if a.live && a.run == run {
					_ = e.ports.Keeper.Signal(a.slot, run, sigKILL, ToMain)
				}
			})
		})
	}
}

// auxEnded takes the end of a run that is no service's. It is acknowledged at the
// end of the turn, when what came of it is on record.
func (e *Engine) auxEnded(slot string, run uint64, x Exit) {
	e.later(func() { _ = e.ports.Keeper.Ack(slot, run) })
	a := e.aux[slot]
	if a == nil || !a.live || a.run != run {
		return
	}
	e.finishAux(a, x, auxReason(run, x))
}

func auxReason(run uint64, x Exit) string {
	if x.ExecOp >= 0 {
		return "the command cannot be executed: " + errnoText(x.ExecErr)
	}
	if text := exitText(lastExit{Run: run, Status: x.Status, Known: x.Known}); text != "exited" {
		return fmt.Sprintf("the command %s", text)
	}
	return ""
}

func (e *Engine) finishAux(a *auxRun, x Exit, reason string) {
	a.live = false
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	done := a.done
	a.done = nil
	if done != nil {
		done(x, reason)
	}
}

// compressQueue holds rotated logs that wait for their turn: one child at a
// time, so that compression never takes more than one processor.
type compressQueue struct {
	files []string
	busy  bool
}

// Compress asks for a rotated log to be compressed by a child at low priority.
// It may be called from any goroutine.
func (e *Engine) Compress(path string) {
	e.Post(func() {
		e.compress.files = append(e.compress.files, path)
		e.compressNext()
	})
}

func (e *Engine) compressNext() {
	q := &e.compress
	if q.busy || len(q.files) == 0 || e.done {
		return
	}
	path := q.files[0]
	q.files = q.files[1:]
	slot := "abide/compress"
	a := e.aux[slot]
	if a == nil {
		a = &auxRun{slot: slot}
		e.aux[slot] = a
	}
	nice := 19
	helper := &model.Service{
		Name: "abide", Command: []string{e.opts.Self, "compress", path}, Umask: 0o077, Nice: &nice, Directory: "/",
	}
	program, err := e.ports.Compiler.Command(helper, helper.Command, RunContext{Name: "abide", Out: svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}, Err: svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}})
	if err != nil {
		e.complainOnce("compress", fmt.Sprintf("Cannot compress %s: %v", path, err))
		return
	}
	q.busy = true
	e.orderAux(a, a.run+1, program.Bytes, program.Slow, 0, func(x Exit, reason string) {
		q.busy = false
		if x.ExecOp >= 0 {
			reason = program.Explain(x.ExecOp, x.ExecErr)
		}
		if reason != "" {
			e.complainOnce("compress", fmt.Sprintf("Cannot compress %s: %s", path, reason))
		}
		e.compressNext()
	})
}

// complainOnce says a thing about abide itself once for each kind.
func (e *Engine) complainOnce(kind, text string) {
	if e.complained[kind] {
		return
	}
	e.complained[kind] = true
	e.record("", 0, "abide", text, nil)
	e.ports.Console.Say(strings.TrimSpace(text))
}
