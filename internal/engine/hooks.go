package engine

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

// hookRun is the hooks of a kind on their way, one after the other. How far they
// are is with the keeper: the number of the command that ran last says it.
type hookRun struct {
	run   uint64
	kind  core.HookKind
	index int  // of the command that runs, from 0
	over  bool // no further one is to run
}

// hookNames are the words of FORMAT.md.
var hookNames = [core.HookKinds]string{
	core.BeforeStart: "before_start", core.AfterStart: "after_start",
	core.BeforeStop: "before_stop", core.AfterStop: "after_stop",
}

func hooksOf(def *model.Service, kind core.HookKind) []model.Hook {
	switch kind {
	case core.BeforeStart:
		return def.Hooks.BeforeStart
	case core.AfterStart:
		return def.Hooks.AfterStart
	case core.BeforeStop:
		return def.Hooks.BeforeStop
	case core.AfterStop:
		return def.Hooks.AfterStop
	}
	return nil
}

// hook answers ActHook: it runs the hooks of a kind, or goes on with those that a
// former engine began.
func (e *Engine) hook(s *service, run uint64, kind core.HookKind) {
	if h := s.hooks; h != nil && h.run == run && h.kind == kind {
		return // the answer is on its way
	}
	h := &hookRun{run: run, kind: kind}
	s.hooks = h
	a := e.aux[s.slot+"/"+hookNames[kind]]
	if a != nil && svlog.AuxNumber(run, 0) < a.run && a.run < svlog.AuxNumber(run+1, 0) {
		h.index = int(a.run-svlog.AuxNumber(run, 0)) - 1
		e.nextHook(s, h)
		return
	}
	if kind != core.BeforeStart {
		e.nextHook(s, h)
		return
	}
	e.prepare(s, run, func(unmet, reason string) {
		switch {
		case s.hooks != h:
		case unmet != "":
			s.hooks = nil
			e.unmetBy(s, run, unmet)
		case reason != "":
			e.hookFailed(s, h, reason)
		default:
			e.nextHook(s, h)
		}
	})
}

// nextHook runs the next command, or says that all are over.
func (e *Engine) nextHook(s *service, h *hookRun) {
	list := hooksOf(s.def, h.kind)
	if h.over || h.index >= len(list) {
		e.hooked(s, h, !h.over)
		return
	}
	hook := list[h.index]
	number := svlog.AuxNumber(h.run, uint64(h.index)+1)
	e.runCommand(s, command{
		kind: hookNames[h.kind], number: number, logged: number, hook: hook,
		env: e.hookEnvironment(s, h.run, hookNames[h.kind]),
	}, func(_ Exit, reason string) {
		if s.hooks != h {
			return
		}
		if reason != "" {
			text := hookText(h, hook, reason)
			if !hook.IgnoreFailure || h.over {
				e.hookFailed(s, h, text)
				return
			}
			e.record(s.name, h.run, "hook", text+"; this is ignored", nil)
		}
		h.index++
		e.nextHook(s, h)
	})
}

// called names the command: "before_start command 1 (/srv/migrate)".
func (h *hookRun) called(hook model.Hook) string {
	what := "a script"
	if len(hook.Command) > 0 {
		what = hook.Command[0]
	}
	return fmt.Sprintf("%s command %d (%s)", hookNames[h.kind], h.index+1, what)
}

// runs says what status shows while hooks run.
func (h *hookRun) runs(def *model.Service) string {
	list := hooksOf(def, h.kind)
	switch {
	case h.index >= len(list):
		return ""
	case h.over:
		return h.called(list[h.index]) + " is being ended"
	}
	return h.called(list[h.index]) + " runs"
}

// hookText says what became of a command: "before_start command 1 (/srv/migrate)
// exited with code 3".
func hookText(h *hookRun, hook model.Hook, reason string) string {
	text := h.called(hook)
	if end, own := strings.CutPrefix(reason, theCommand); own {
		return text + " " + end
	}
	return text + ": " + reason
}

func (e *Engine) hookFailed(s *service, h *hookRun, text string) {
	switch {
	case h.over:
	case h.kind == core.BeforeStart:
		text = strings.TrimPrefix(text, "cannot start "+s.name+": ")
		text = fmt.Sprintf("cannot start %s: %s", s.name, text)
		s.fault, s.hint = text, ""
	case h.kind == core.AfterStart:
		s.fault, s.hint = text, ""
	}
	e.ports.Logs.Note(s.name, h.run, text)
	e.record(s.name, h.run, "hook", text, nil)
	e.hooked(s, h, false)
}

func (e *Engine) hooked(s *service, h *hookRun, ok bool) {
	s.hooks = nil
	e.feed(s, core.Event{Kind: core.EvHooked, Run: h.run, Hook: h.kind, OK: ok})
}

// unhook answers ActUnhook: the command that runs is ended, those after it do not
// run.
func (e *Engine) unhook(s *service, run uint64, kind core.HookKind) {
	h := s.hooks
	if h == nil || h.run != run || h.kind != kind {
		h = &hookRun{run: run, kind: kind, over: true}
		s.hooks = h
	}
	h.over = true
	a := e.aux[s.slot+"/"+hookNames[kind]]
	if a == nil || !a.live && !a.starting {
		e.hooked(s, h, false)
		return
	}
	if a.done == nil && a.live {
		// A former engine began it.
		h.index = int(a.run-svlog.AuxNumber(run, 0)) - 1
		e.nextOver(s, h, a)
	}
	e.endAux(a, "was ended")
}

// nextOver waits for the end of a command that a former engine began and that is to
// be ended.
func (e *Engine) nextOver(s *service, h *hookRun, a *auxRun) {
	a.done = func(Exit, string) {
		if s.hooks == h {
			e.hooked(s, h, false)
		}
	}
}

// stopByCommand runs [stop] command. Its failure changes nothing: the timeout of the
// stop goes on.
func (e *Engine) stopByCommand(s *service, run uint64) {
	number := svlog.AuxNumber(run, 1)
	hook := model.Hook{Command: s.def.Stop.Command, Timeout: s.def.Stop.Timeout}
	e.runCommand(s, command{
		kind: stopKind, number: number, logged: number, hook: hook, env: e.hookEnvironment(s, run, stopKind),
	}, func(_ Exit, reason string) {
		if reason != "" {
			e.record(s.name, run, "operator", "stop command: "+reason, nil)
		}
	})
}

const (
	stopKind      = "stop"
	reloadKind    = "reload"
	reloadTimeout = time.Minute
)

// runReload runs [reload] command for the request that is being carried out.
func (e *Engine) runReload(s *service, done func(reason string)) {
	hook := model.Hook{Command: s.def.Reload.Command, Timeout: reloadTimeout}
	e.runCommand(s, command{
		kind: reloadKind, number: e.request, logged: svlog.AuxNumber(s.st.Run, e.request), hook: hook,
		env: e.hookEnvironment(s, s.st.Run, reloadKind),
	}, func(_ Exit, reason string) { done(reason) })
}

// hookEnvironment is what a command is told about the run it belongs to: in
// systemd's words (systemd.exec(5)), and the same under names of our own.
func (e *Engine) hookEnvironment(s *service, run uint64, kind string) []model.EnvVar {
	env := []model.EnvVar{{Name: "ABIDE_HOOK", Value: kind}}
	if s.info.Pid != 0 && s.st.Live() {
		env = append(env, model.EnvVar{Name: "MAINPID", Value: strconv.Itoa(int(s.info.Pid))})
	}
	if kind != hookNames[core.AfterStop] {
		return env
	}
	return append(env, resultEnvironment(s, run)...)
}

// resultEnvironment says how a run ended. One whose program never began has a result
// and no code.
func resultEnvironment(s *service, run uint64) []model.EnvVar {
	result, code, status := runResult(s, run)
	env := []model.EnvVar{{Name: "SERVICE_RESULT", Value: result}, {Name: "ABIDE_SERVICE_RESULT", Value: result}}
	if code != "" {
		env = append(env,
			model.EnvVar{Name: "EXIT_CODE", Value: code}, model.EnvVar{Name: "ABIDE_EXIT_CODE", Value: code},
			model.EnvVar{Name: "EXIT_STATUS", Value: status}, model.EnvVar{Name: "ABIDE_EXIT_STATUS", Value: status})
	}
	return env
}

func runResult(s *service, run uint64) (result, code, status string) {
	last := s.info.Last
	if last.Run != run {
		return "resources", "", ""
	}
	if !last.Known {
		return "unknown", "", ""
	}
	ws := syscall.WaitStatus(last.Status)
	switch {
	case ws.Signaled() && ws.CoreDump():
		code, status = "dumped", model.SignalName(int(ws.Signal()))
		result = "core-dump"
	case ws.Signaled():
		code, status = "killed", model.SignalName(int(ws.Signal()))
		result = "signal"
	default:
		code, status = "exited", strconv.Itoa(ws.ExitStatus())
		result = "exit-code"
	}
	switch {
	case last.OOM:
		result = "oom-kill"
	case s.st.Cause == core.CauseWatchdog:
		result = "watchdog"
	case s.st.Cause == core.CauseReady, s.st.Killed:
		result = "timeout"
	case s.st.End == core.Success:
		result = "success"
	}
	return result, code, status
}
