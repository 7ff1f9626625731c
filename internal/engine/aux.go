package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

// An auxRun is a command that belongs to a service beside its program: a hook, a
// reload or stop command, or abide's own compression of a log. It runs through the
// keeper under a slot name with a slash, which no service can have. Nothing of it is
// left when it is over.
type auxRun struct {
	slot     string // SERVICE/KIND, of the hidden half of a roll SERVICE/roll/KIND
	log      string // what its output is logged as
	run      uint64
	live     bool
	ended    *Exit // of a run that a former engine began: nobody was told
	starting bool  // a goroutine compiles the next command
	began    int64 // CLOCK_BOOTTIME, nanoseconds
	killed   string
	group    Group
	logged   uint64 // the number its output is logged under, 0: it has none
	out      int    // read end of its pipe, -1 if it has none
	timer    *time.Timer
	done     func(x Exit, reason string)
}

// command is what an auxiliary run executes.
type command struct {
	kind   string // what stands behind the slash of its slot
	number uint64 // of the run in its slot, above all before
	logged uint64 // number of its output in the service's log, 0: nobody wants it
	hook   model.Hook
	env    []model.EnvVar
	stdin  string // a file, "" for none
}

// theCommand begins the reason of a failure that the command itself came to.
const theCommand = "the command "

// runAux starts argv as the service's user; done is called in the loop with the
// exit and "" or with what went wrong. Nobody reads its output.
func (e *Engine) runAux(s *service, kind string, number uint64, argv []string, timeout time.Duration, done func(Exit, string)) {
	e.runCommand(s, command{kind: kind, number: number, hook: model.Hook{Command: argv, Timeout: timeout}}, done)
}

// runCommand starts a command of a service; done is called in the loop with the exit
// and "" or with what went wrong. One command of a kind runs at a time, and each
// number once: the keeper holds to that as well, so a command that was asked for by
// an engine before us is waited for.
func (e *Engine) runCommand(s *service, c command, done func(Exit, string)) {
	a := e.auxOf(s.slot + "/" + c.kind)
	switch {
	case a.run >= c.number:
		e.joinAux(a, c, done)
		return
	case a.live || a.starting:
		done(Exit{ExecOp: -1}, fmt.Sprintf("cannot run the %s command of %s: the one before has not ended", c.kind, s.name))
		return
	}
	def := commandDefinition(s.def, &c.hook)
	context, err := e.commandContext(s, a, def, c)
	if err != nil {
		e.commandFailed(a, err, done)
		return
	}
	argv := c.hook.Command
	if argv == nil {
		argv = []string{"/bin/sh", "-c", model.Quote(c.hook.Script)}
	}
	if !e.ports.Compiler.MayBlock(s.def) {
		program, err := e.ports.Compiler.Command(def, argv, context)
		e.orderCommand(a, c, program, err, done)
		return
	}
	a.starting = true
	e.aside(func() {
		program, err := e.ports.Compiler.Command(def, argv, context)
		e.Post(func() {
			a.starting = false
			e.orderCommand(a, c, program, err, done)
		})
	})
}

func (e *Engine) auxOf(slot string) *auxRun {
	a := e.aux[slot]
	if a == nil {
		name, kind := auxParts(slot)
		a = &auxRun{slot: slot, log: name + "/" + kind}
		e.aux[slot] = a
	}
	return a
}

// auxParts returns the service that a command belongs to, and its kind.
func auxParts(slot string) (service, kind string) {
	service, _, _ = strings.Cut(slot, "/")
	return service, slot[strings.LastIndexByte(slot, '/')+1:]
}

// forgetAux forgets the commands whose numbers come from the runs of a slot that is
// forgotten: those of the next runs of that name begin anew.
func (e *Engine) forgetAux(slot string) {
	for _, kind := range append(hookNames[:], stopKind, readyCheck, healthCheck) {
		if a := e.aux[slot+"/"+kind]; a != nil && !a.live && !a.starting {
			delete(e.aux, a.slot)
			e.later(func() { _ = e.ports.Keeper.Forget(a.slot) }) // its end is acknowledged before
		}
	}
}

// countOn lets the runs of a service without a page count on from those whose commands
// the keeper knows: a start that came no further than before_start left no other trace.
func (e *Engine) countOn(s *service) {
	if s.adopted || len(e.aux) == 0 {
		return
	}
	for _, slot := range [...]string{s.slot, s.otherSlot()} {
		for _, kind := range append(hookNames[:], stopKind) {
			if a := e.aux[slot+"/"+kind]; a != nil {
				s.st.Run = max(s.st.Run, svlog.RunOfAux(a.run))
			}
		}
	}
}

// commandDefinition is the definition as it is for a hook: one with a user of its
// own has that user's groups.
func commandDefinition(def *model.Service, hook *model.Hook) *model.Service {
	if hook.User == "" {
		return def
	}
	plain := *def
	plain.User, plain.Group, plain.Groups, plain.GroupsSet = hook.User, "", nil, false
	return &plain
}

// commandContext makes the pipe and the group of a command.
func (e *Engine) commandContext(s *service, a *auxRun, def *model.Service, c command) (RunContext, error) {
	none := svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}
	context := RunContext{
		Name: s.name, Run: s.st.Run, RunID: fmt.Sprintf("%s:%s:%d", e.opts.ID, a.slot, c.number),
		Out: none, Err: none, Environment: c.env, Stdin: c.stdin,
	}
	a.killed, a.logged, a.group = "", 0, nil
	if c.logged != 0 {
		uid, gid, err := e.ports.Compiler.Account(def)
		if err != nil {
			return context, err
		}
		pipes, err := e.ports.Logs.Begin(a.log, c.logged, uid, gid, &s.def.Log)
		if err != nil {
			return context, err
		}
		a.logged = c.logged
		context.Out = pipes.Out
		if context.Out.Kind == svlog.PipeNull {
			context.Out = pipes.Err
		}
		context.Err = context.Out // so that its lines keep their order
	}
	group, err := e.ports.Groups.Prepare(a.slot, c.number)
	if err != nil {
		return context, err
	}
	a.group = group
	context.Joins = group.JoinPaths()
	a.out = context.Out.ReadFD
	return context, nil
}

func (e *Engine) orderCommand(a *auxRun, c command, program *Program, err error, done func(Exit, string)) {
	if err == nil && a.killed != "" {
		err = fmt.Errorf("%s%s before it began", theCommand, a.killed)
	}
	if err != nil {
		e.commandFailed(a, err, done)
		return
	}
	e.orderAux(a, c.number, program.Bytes, program.Slow, c.hook.Timeout, func(x Exit, reason string) {
		if x.ExecOp >= 0 {
			reason = program.Explain(x.ExecOp, x.ExecErr)
		}
		done(x, reason)
	})
}

// commandFailed ends a command that never began. The one before it in its slot may
// be forgotten as if it had.
func (e *Engine) commandFailed(a *auxRun, err error, done func(Exit, string)) {
	a.done = done
	e.finishAux(a, Exit{ExecOp: -1}, err.Error())
}

// joinAux waits for the end of a command that runs already or has ended.
func (e *Engine) joinAux(a *auxRun, c command, done func(Exit, string)) {
	switch {
	case a.run > c.number:
		done(Exit{ExecOp: -1}, "how the command ended was not seen")
	case a.live:
		a.done = done
		e.limitAux(a, c.hook.Timeout)
	case a.ended != nil:
		x := *a.ended
		a.ended, a.done = nil, done
		e.auxOver(a, x)
	default:
		done(Exit{ExecOp: -1}, "how the command ended was not seen")
	}
}

func (e *Engine) orderAux(a *auxRun, number uint64, program []byte, slow bool, timeout time.Duration, done func(Exit, string)) {
	// The order acknowledges the exit before: what came of that must be on record.
	e.keepOutcomes()
	ack := a.run
	a.run = number
	a.live, a.done, a.ended, a.began = true, done, nil, e.ports.Clock.Boot()
	o := Order{Name: a.slot, Run: a.run, AckRun: ack, Program: program, Slow: slow, CgroupFD: -1}
	if a.group != nil {
		defer a.group.CloseDir()
		o.CgroupFD = a.group.DirFD()
	}
	if a.logged != 0 && a.out >= 0 {
		o.Hold = []Hold{{Tag: HoldOut, FD: a.out}}
	}
	if err := e.ports.Keeper.Spawn(o); err != nil {
		e.finishAux(a, Exit{ExecOp: -1}, fmt.Sprintf("cannot run %s: %v", a.slot, err))
		return
	}
	e.limitAux(a, timeout)
}

// limitAux ends a command that takes too long. What a former engine has waited
// counts.
func (e *Engine) limitAux(a *auxRun, timeout time.Duration) {
	if timeout <= 0 {
		return
	}
	run := a.run
	left := timeout - time.Duration(e.ports.Clock.Boot()-a.began)
	a.timer = time.AfterFunc(left, func() {
		e.Post(func() {
			if a.live && a.run == run {
				e.endAux(a, fmt.Sprintf("took longer than %s", timeout))
			}
		})
	})
}

// endAux ends a command with everything of it. Its end is told as any other.
func (e *Engine) endAux(a *auxRun, why string) {
	if a.killed != "" || !a.live && !a.starting {
		return
	}
	a.killed = why
	if !a.live {
		return
	}
	_ = e.ports.Keeper.Signal(a.slot, a.run, sigKILL, ToMain)
	if group := a.group; group != nil {
		e.aside(func() { group.Kill(context.Background()) })
	}
}

// auxSpawned notes the main process of a command.
func (e *Engine) auxSpawned(slot string, run uint64, pid int, start uint64) {
	if a := e.aux[slot]; a != nil && a.run == run && a.group != nil {
		a.group.SetMain(pid, start)
	}
}

// auxEnded takes the end of a run that is no service's.
func (e *Engine) auxEnded(slot string, run uint64, x Exit) {
	a := e.aux[slot]
	if a == nil || !a.live || a.run != run {
		e.later(func() { _ = e.ports.Keeper.Ack(slot, run) })
		return
	}
	e.auxOver(a, x)
}

// auxOver ends what a command has left behind, and then tells of its end.
func (e *Engine) auxOver(a *auxRun, x Exit) {
	reason := auxReason(a.run, x)
	if a.killed != "" && reason != "" {
		reason = theCommand + a.killed
	}
	group := a.group
	if group == nil || group.Empty() {
		e.finishAux(a, x, reason)
		return
	}
	run := a.run
	a.live = true // no other of its kind may begin yet
	e.aside(func() {
		group.Kill(context.Background())
		e.Post(func() {
			if a.run == run && a.live {
				e.finishAux(a, x, reason)
			}
		})
	})
}

func auxReason(run uint64, x Exit) string {
	if x.ExecOp >= 0 {
		return theCommand + "cannot be executed: " + errnoText(x.ExecErr)
	}
	if text := exitText(lastExit{Run: run, Status: x.Status, Known: x.Known}); text != "exited" {
		return theCommand + text
	}
	return ""
}

// finishAux tells of the end of a command. It is acknowledged at the end of the
// turn, when what came of it is on record, unless another one of its kind does that.
func (e *Engine) finishAux(a *auxRun, x Exit, reason string) {
	a.live = false
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	e.leaveAux(a)
	run, done := a.run, a.done
	a.done = nil
	if done != nil {
		done(x, reason)
	}
	e.later(func() {
		if run != 0 && a.run == run && !a.starting {
			_ = e.ports.Keeper.Ack(a.slot, run)
		}
	})
}

// leaveAux lets the log of a command end and forgets its group.
func (e *Engine) leaveAux(a *auxRun) {
	if group := a.group; group != nil {
		a.group = nil
		e.later(group.Remove)
	}
	if a.logged == 0 {
		return
	}
	slot, log, run, logged := a.slot, a.log, a.run, a.logged
	a.logged = 0
	e.later(func() {
		e.ports.Logs.Ended(log, logged, func() {
			e.Post(func() { _ = e.ports.Keeper.Drop(slot, run) })
		})
	})
}

// adoptAux takes over a command that outlived the engine that asked for it. Its
// end is acknowledged after the turn in which whoever waits for it is carried on.
func (e *Engine) adoptAux(r Record) {
	if strings.HasSuffix(r.Name, storeSuffix) {
		e.adoptStore(r)
		return
	}
	a := e.auxOf(r.Name)
	a.run, a.live, a.began = r.Run, r.Live, r.Began
	if !r.Live && !r.Exited {
		return
	}
	e.takeOverAux(a, r)
	if r.Exited {
		a.ended = &r.Exit
		e.later(func() {
			if a.ended != nil {
				e.auxOver(a, *a.ended)
				a.ended = nil
			}
		})
	}
}

// takeOverAux finds the pipe and the group of a command.
func (e *Engine) takeOverAux(a *auxRun, r Record) {
	name, kind := auxParts(a.slot)
	s := e.known(name)
	if s == nil || s.def == nil {
		return
	}
	if slices.Contains(r.Held, r.Run) {
		logged := r.Run
		if kind == reloadKind {
			logged = svlog.AuxNumber(s.st.Run, r.Run)
		}
		if err := e.ports.Logs.Adopt(a.log, logged, int(s.info.UID), int(s.info.GID), &s.def.Log); err != nil {
			e.record(name, s.st.Run, "log", fmt.Sprintf("cannot take over the output of its %s command: %v", kind, err), nil)
		}
		a.logged, a.out = logged, -1
	}
	group, err := e.ports.Groups.Adopt(a.slot, r.Run, r.Pid, r.StartTime)
	if err != nil {
		e.record(name, s.st.Run, "state", fmt.Sprintf("cannot take over the process group of its %s command: %v", kind, err), nil)
		return
	}
	a.group = group
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
