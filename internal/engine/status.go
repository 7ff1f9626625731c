package engine

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

// status describes one service. Slices are never nil: all keys of the JSON form
// are always present.
func (e *Engine) status(s *service, changed func(string) bool) control.Status {
	st := control.Status{
		Name: s.name, Service: s.name, Kind: "daemon",
		State: s.stateName(), Wanted: s.st.Wanted, Enabled: s.enabled(),
		Pid: int(s.info.Pid), Run: s.st.Run, Since: s.info.since(),
		Ready: s.st.Phase == core.Running || s.st.Phase == core.Reached, Paused: s.st.Paused, Restarts: s.st.Restarts,
		WaitingFor: []string{}, Strays: []int{}, Containment: "none", LastOutput: []string{},
	}
	if s.def != nil {
		st.Kind = s.def.Kind.String()
		st.Instance = s.def.Instance
		if s.def.Template != "" {
			st.Service = s.def.Template[:len(s.def.Template)-1]
		}
		if len(s.def.Files) > 0 {
			st.Definition = control.Definition{Path: s.def.Files[0], Changed: s.broken != nil || !s.transient && changed(s.name)}
		}
	}
	if pin, pinned := e.pins[s.name]; pinned {
		st.Pinned = true
		// What the file says is not what is in force, and may never have been.
		file := e.ports.Definitions.Known(s.name)
		st.Definition.Changed = st.Definition.Changed || file != nil && file != s.def && len(model.Diff(pin.Def, file)) > 0
	}
	if s.group != nil {
		st.Containment = s.group.Kind()
	} else {
		st.Containment = e.ports.Groups.Kind()
	}
	for _, stray := range s.strays {
		st.Strays = append(st.Strays, stray.Pid)
	}
	logs := e.ports.Logs.Stats(s.name)
	if s.claim != 0 {
		logs.Path = svlog.Path(e.opts.Log, s.name, &s.def.Log)
	}
	st.Log = control.LogStatus{Path: logs.Path, DroppedBytes: logs.DroppedBytes, DroppedLines: logs.DroppedLines}
	st.LastExit = publicExit(s.info.Last)
	e.explainStatus(s, &st)
	return st
}

// explainStatus says why the service is as it is.
func (e *Engine) explainStatus(s *service, st *control.Status) {
	switch s.st.Phase {
	case core.Delaying:
		wait := max(time.Duration(s.st.Deadline-e.now()), 0)
		at := e.wall().Add(wait).UTC().Format(time.RFC3339)
		st.WaitingFor = append(st.WaitingFor, "delay until "+at)
		st.Why = fmt.Sprintf("next start in %s", wait.Round(100*time.Millisecond))
		if s.fault != "" {
			st.Why += ": " + s.fault
		} else if s.info.Last.Run != 0 {
			st.Why += ": " + s.endReason()
		}
	case core.Waiting:
		if s.condition != "" {
			st.WaitingFor, st.Why = append(st.WaitingFor, "condition: "+s.condition), s.condition
			break
		}
		waiting, why := e.explainWaiting(s)
		st.WaitingFor = append(st.WaitingFor, waiting...)
		if st.Why = why; why == "" {
			st.Why = s.st.Cause.Fault()
		}
	case core.Failed:
		st.Why = s.faultText()
		st.Fault = st.Why
		st.LastOutput = append(st.LastOutput, s.lastOutput...)
	case core.Running:
		if !s.enabled() {
			st.Why = "disabled: it runs until it is stopped"
		}
		st.Why = join(st.Why, e.elsewhere(s))
		if text := s.whyUnwell(); text != "" {
			st.Why = join(st.Why, text)
		}
	case core.Starting, core.Finding:
		st.Why = s.whyNotReady()
	case core.Down:
		switch {
		case s.wish.Released.Pid != 0:
			st.Why = e.releasedText(s)
		case s.wish.Stopped:
			st.Why = fmt.Sprintf("stopped by uid %d at %s", s.wish.By, s.wish.At.UTC().Format(time.RFC3339))
		case !s.enabled():
			st.Why = "disabled"
		case s.info.Last.Run != 0:
			st.Why = exitText(s.info.Last)
		}
	case core.Leaving, core.Stopping, core.Cleaning, core.Closing:
		if s.fault != "" {
			st.Why = s.fault
		} else if s.st.Deadline != 0 {
			st.Why = fmt.Sprintf("KILL in %s", max(time.Duration(s.st.Deadline-e.now()), 0).Round(100*time.Millisecond))
		}
	}
	st.Why = join(st.Why, e.pinText(s.name))
	st.Why = join(st.Why, e.turnText(s))
	st.Why = join(st.Why, e.toldText(s))
	if h := s.hooks; h != nil {
		st.Why = join(st.Why, h.runs(s.def))
	}
	for _, d := range s.broken {
		if d.Severity == diag.Error {
			st.Why = join(st.Why, "the newest definition is broken: "+d.String())
			break
		}
	}
}

// faultText says what made abide stop trying: the failure itself, and the rule
// where the failure alone does not explain it.
func (s *service) faultText() string {
	what := s.faultReason()
	switch s.st.Cause {
	case core.CauseTask, core.CauseSpawn, core.CauseHook:
		if what != "" {
			return what
		}
	}
	if what == "" {
		return s.st.Cause.Fault()
	}
	return s.st.Cause.Fault() + ": " + what
}

func publicExit(x lastExit) *control.Exit {
	if x.Run == 0 || x.At == 0 { // of a run before this instance only the number may be known
		return nil
	}
	out := &control.Exit{Run: x.Run, At: time.Unix(0, x.At), OOM: x.OOM, Unknown: !x.Known}
	if !x.Known {
		return out
	}
	ws := syscall.WaitStatus(x.Status)
	if ws.Signaled() {
		name := model.SignalName(int(ws.Signal()))
		out.Signal, out.Core = &name, ws.CoreDump()
		return out
	}
	code := ws.ExitStatus()
	out.Code = &code
	return out
}

// inLoop runs f in the loop and waits for it, or for ctx.
func (e *Engine) inLoop(ctx context.Context, f func() error) error {
	answer := make(chan error, 1)
	e.Post(func() { answer <- f() })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status implements control.Supervisor.
func (e *Engine) Status(ctx context.Context, who control.Who, names []string) (out []control.Status, err error) {
	err = e.inLoop(ctx, func() error {
		changed := e.ports.Definitions.Changed
		if len(names) != 1 {
			changed = e.ports.Definitions.Look()
		} else if s := e.services[names[0]]; s != nil {
			e.claim(s)
		}
		if len(names) == 0 {
			names = sortedKeys(e.services)
		}
		for _, asked := range names {
			for _, name := range e.meant(asked) {
				s := e.services[name]
				if s == nil {
					o := unknown(name)
					return &control.Error{Code: o.Code, Message: "cannot show " + name + ": " + o.Message, Hint: o.Hint}
				}
				out = append(out, e.seenBy(who, s, changed))
			}
		}
		return nil
	})
	return out, err
}

// seenBy is the status without what the asker has no right to: name and state
// are everybody's.
func (e *Engine) seenBy(who control.Who, s *service, changed func(string) bool) control.Status {
	st := e.status(s, changed)
	if !e.may(who, s.def, "log", "") {
		st.LastOutput = []string{}
	}
	if e.may(who, s.def, "view", "") {
		return st
	}
	return control.Status{
		Name: st.Name, Service: st.Service, Instance: st.Instance, Kind: st.Kind, State: st.State, Since: st.Since,
		WaitingFor: []string{}, Strays: []int{}, Containment: st.Containment, LastOutput: []string{},
	}
}

// About implements control.Supervisor.
func (e *Engine) About(ctx context.Context, _ control.Who) (a control.About, err error) {
	err = e.inLoop(ctx, func() error {
		a = control.About{
			Version: e.opts.Version, Pid: e.pid, Keeper: e.opts.KeeperPid, Run: e.opts.Run, State: e.opts.State,
			Log: e.opts.Log, Mode: string(e.opts.Mode), Project: e.opts.Project, Services: len(e.services),
			Rung: e.opts.Rung, Containment: e.ports.Groups.Describe(), Stopping: e.stopping != nil, Runlevel: e.runlevel.String(), Notes: e.opts.Notes,
			Cursor: e.ports.History.Last(),
		}
		return nil
	})
	return a, err
}

// Wait implements control.Supervisor.
func (e *Engine) Wait(ctx context.Context, who control.Who, names []string, state string) ([]control.Status, error) {
	var waits []*waiter
	err := e.inLoop(ctx, func() error {
		for _, asked := range names {
			for _, name := range e.meant(asked) {
				s := e.services[name]
				if s == nil {
					o := unknown(name)
					return &control.Error{Code: o.Code, Message: "cannot wait for " + name + ": " + o.Message, Hint: o.Hint}
				}
				w := e.waitFor(s, waitState, s.st.Run, "")
				w.state = state
				if !s.lives() && state == "" {
					w.run = s.info.Last.Run
				}
				e.check(w)
				waits = append(waits, w)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, o := range e.await(ctx, control.Request{Verb: "wait"}, waits) {
		if o.Code != "" {
			return nil, &control.Error{Code: o.Code, Message: o.Message, Hint: o.Hint}
		}
	}
	return e.Status(ctx, who, names)
}

// Events implements control.Supervisor.
func (e *Engine) Events(ctx context.Context, who control.Who, cursor uint64, follow bool, fn func(control.Event) error) error {
	if !e.owner(who) {
		e.Post(func() { e.auditRefusal("", "events", who) })
		return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot show events: not permitted for uid %d", who.UID)}
	}
	return e.ports.History.Read(ctx, cursor, follow, fn)
}

// Logs implements control.Supervisor.
func (e *Engine) Logs(ctx context.Context, who control.Who, q control.LogQuery, fn func(control.LogRecord) error) error {
	var names []string
	err := e.inLoop(ctx, func() error {
		e.claimAll()
		all := len(q.Names) == 0
		asked := q.Names
		if all {
			asked = sortedKeys(e.services)
		}
		for _, a := range asked {
			for _, name := range e.meant(a) {
				s := e.services[name]
				switch {
				case s == nil:
					o := unknown(name)
					return &control.Error{Code: o.Code, Message: "cannot show the log of " + name + ": " + o.Message, Hint: o.Hint}
				case e.may(who, s.def, "log", ""):
					names = append(names, name)
				case !all:
					e.auditRefusal(name, "log", who)
					return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot show the log of %s: not permitted for uid %d", name, who.UID)}
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	q.Names = names
	return e.ports.Logs.Query(ctx, q, fn)
}
