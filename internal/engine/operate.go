package engine

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// carryOut does a verb on everything it means. What is done at once comes back
// as outcomes, what takes time as waiters.
func (e *Engine) carryOut(req control.Request) ([]control.Outcome, []*waiter, error) {
	if e.request == 0 {
		e.request = e.nextRequest()
		defer func() { e.request = 0 }()
	}
	if e.done || e.stopping != nil && req.Verb != control.Shutdown && req.Verb != control.Stop {
		return nil, nil, &control.Error{Code: control.Failed, Message: fmt.Sprintf("cannot %s: abide is shutting down", req.Verb)}
	}
	switch req.Verb {
	case control.Apply:
		if err := e.permitAll(req); err != nil {
			return nil, nil, err
		}
		e.auditRequest("", 0, req)
		outcomes, err := e.apply(req)
		return outcomes, nil, err
	case control.Scale:
		if err := e.permitAll(req); err != nil {
			return nil, nil, err
		}
		e.auditRequest("", 0, req)
		return e.scale(req)
	case control.Shutdown:
		if err := e.permitAll(req); err != nil {
			return nil, nil, err
		}
		e.auditRequest("", 0, req)
		e.Shutdown(0, "asked by "+whoText(req.Who))
		return nil, nil, nil
	case control.Runlevel:
		if err := e.permitAll(req); err != nil {
			return nil, nil, err
		}
		e.auditRequest("", 0, req)
		return e.goToRunlevel(req)
	case control.Run:
		if err := e.permitAll(req); err != nil {
			return nil, nil, err
		}
		return e.runTransient(req)
	case control.Adopt:
		return e.adoptProcess(req)
	}
	if len(req.Names) == 0 {
		return nil, nil, &control.Error{Code: control.Usage, Message: fmt.Sprintf("cannot %s: no service is named", req.Verb), Hint: fmt.Sprintf("abide %s NAME", req.Verb)}
	}
	if req.Verb == control.Rollback && len(req.Names) > 1 {
		return nil, nil, &control.Error{Code: control.Usage, Hint: "abide rollback " + req.Names[0],
			Message: fmt.Sprintf("cannot roll back %s at once: snapshots are numbered for each service", listed(req.Names))}
	}
	var outcomes []control.Outcome
	var waits []*waiter
	for _, asked := range req.Names {
		for _, name := range e.meant(asked) {
			o, w := e.carryOutOne(req, name)
			if w != nil {
				waits = append(waits, w)
				continue
			}
			outcomes = append(outcomes, o)
		}
	}
	return outcomes, waits, nil
}

// meant returns the services a name stands for: itself, or all its instances.
func (e *Engine) meant(asked string) []string {
	if e.services[asked] != nil {
		return []string{asked}
	}
	var names []string
	for _, name := range sortedKeys(e.services) {
		if means(asked, name) {
			names = append(names, name)
		}
	}
	if names == nil {
		names = []string{asked}
	}
	return names
}

func (e *Engine) carryOutOne(req control.Request, name string) (control.Outcome, *waiter) {
	s := e.services[name]
	if s != nil {
		if o, ok := e.permit(s, req); !ok {
			return o, nil
		}
	}
	note := ""
	switch req.Verb {
	case control.Start, control.Restart, control.Enable, control.Roll:
		if s == nil {
			if err := e.permitAll(req); err != nil {
				return unknown(name), nil
			}
		}
		var failed *control.Outcome
		s, note, failed = e.freshen(name, req.Verb == control.Restart || req.Verb == control.Roll)
		if failed != nil && (s == nil || failed.Code == control.Unknown || !s.lives()) {
			return *failed, nil
		}
		if failed != nil {
			note = failed.Message
		}
	}
	if s == nil || s.gone && !s.lives() {
		return unknown(name), nil
	}
	e.auditRequest(name, s.st.Run, req)
	return e.verb(req, s, note)
}

func (e *Engine) verb(req control.Request, s *service, note string) (control.Outcome, *waiter) {
	switch req.Verb {
	case control.Stop, control.Restart, control.Disable, control.Release, control.Pause:
		s = e.settleRoll(s)
	}
	switch req.Verb {
	case control.Start:
		return e.start(req, s, note)
	case control.Stop:
		return e.stop(req, s)
	case control.Restart:
		if o, held := e.heldBack(req.Verb, s); held {
			return o, nil
		}
		return e.restart(req, s, note)
	case control.Reload:
		return e.reload(s)
	case control.Enable:
		if o := e.enable(req, s, state.Yes); o != nil {
			return *o, nil
		}
		if req.Now {
			return e.start(req, s, "enabled")
		}
		return done(s, join("enabled", note)), nil
	case control.Disable:
		if o := e.enable(req, s, state.No); o != nil {
			return *o, nil
		}
		if req.Now {
			return e.stop(req, s)
		}
		return done(s, "disabled"), nil
	case control.Clear:
		s.fault = ""
		e.feed(s, core.Event{Kind: core.EvClear})
		if s.waitsForCondition() {
			e.feed(s, core.Event{Kind: core.EvRecheck})
		}
		return done(s, "cleared"), nil
	case control.Signal:
		if !s.lives() || s.info.Pid == 0 {
			return refuse(s, control.NotRunning, "cannot signal %s: it is not running", s.name), nil
		}
		if err := e.ports.Keeper.SignalOnce(s.slot, s.st.Run, req.Signal, ToMain, e.request); err != nil {
			return refuse(s, control.Failed, "cannot send %s to %s: %v", model.SignalName(req.Signal), s.name, err), nil
		}
		e.mark(s)
		return done(s, "sent "+model.SignalName(req.Signal)), nil
	case control.Release:
		return e.releaseProcess(req, s)
	case control.Roll:
		return e.roll(req, s, note)
	case control.Pause, control.Resume:
		return e.pause(req, s)
	case control.Rollback:
		return e.rollback(req, s)
	}
	return refuse(s, control.Usage, "cannot %s %s: no such verb", req.Verb, s.name), nil
}

func (e *Engine) start(req control.Request, s *service, note string) (control.Outcome, *waiter) {
	kind := core.EvStart
	if req.Once {
		kind = core.EvStartOnce
	}
	if o, held := e.heldBack(req.Verb, s); held {
		return o, nil
	}
	way, refused := e.clearWay(req, s)
	if refused != nil {
		return *refused, nil
	}
	note = join(note, way)
	e.wish(s, req.Who, func(w *state.Wish) { w.Stopped, w.Started, w.Released = false, true, state.Released{} })
	e.keepUp(s)
	if (s.st.Phase == core.Running || s.st.Phase == core.Reached) && s.st.Wanted {
		return done(s, join("already running", note)), nil
	}
	old := s.st.Run
	if s.lives() {
		old--
	}
	e.feedNamed(s, core.Event{Kind: kind})
	return control.Outcome{}, e.waitFor(s, waitUp, old, note)
}

// restart ends a service after all that follows its restarts, and starts it again.
func (e *Engine) restart(req control.Request, s *service, note string) (control.Outcome, *waiter) {
	way, refused := e.clearWay(req, s)
	if refused != nil {
		return *refused, nil
	}
	e.wish(s, req.Who, func(w *state.Wish) { w.Stopped, w.Started, w.Released = false, true, state.Released{} })
	old := s.st.Run
	if e.request == 0 || s.info.Request < e.request {
		e.bringDown(s, endRestart)
	}
	return control.Outcome{}, e.waitFor(s, waitUp, old, join(note, way))
}

// clearWay lets go what a start by name needs, and says what has to go for it.
func (e *Engine) clearWay(req control.Request, s *service) (note string, refused *control.Outcome) {
	e.wire()
	rivals := e.rivals(s)
	for _, rival := range rivals {
		if !e.may(req.Who, rival.def, roleOf[control.Stop], control.Stop) {
			e.auditRefusal(rival.name, string(control.Stop), req.Who)
			o := refuse(s, control.NotPermitted, "cannot %s %s: it conflicts with %s, which runs, and uid %d may not stop that", req.Verb, s.name, rival.name, req.Who.UID)
			return "", &o
		}
	}
	if note, refused = e.startNeeds(req, s); refused != nil {
		return "", refused
	}
	return join(note, rivalsText(rivals)), nil
}

// startNeeds lets go what a service requires and an operator held down: who asks for
// a service by name asks for that, too. It says what that is.
func (e *Engine) startNeeds(req control.Request, s *service) (note string, refused *control.Outcome) {
	if s.node == nil {
		return "", nil
	}
	var names []string
	var needs []*service
	for _, id := range e.deps.graph.StoppedNeeds(s.node.id) {
		need := e.deps.byID[id]
		if need == nil || need.gone {
			continue
		}
		if !e.may(req.Who, need.def, roleOf[control.Start], control.Start) {
			e.auditRefusal(need.name, string(control.Start), req.Who)
			o := refuse(s, control.NotPermitted, "cannot %s %s: it needs %s, which is stopped, and uid %d may not start that", req.Verb, s.name, need.name, req.Who.UID)
			return "", &o
		}
		needs, names = append(needs, need), append(names, need.name)
	}
	for _, need := range needs {
		e.record(need.name, need.st.Run, "operator", fmt.Sprintf("start by %s, because %s needs it", whoText(req.Who), s.name), nil)
		e.wish(need, req.Who, func(w *state.Wish) { w.Stopped, w.Started, w.Released = false, true, state.Released{} })
		e.keepUp(need)
	}
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0] + " was stopped and is started, too", nil
	}
	return strings.Join(names, ", ") + " were stopped and are started, too", nil
}

func (e *Engine) stop(req control.Request, s *service) (control.Outcome, *waiter) {
	e.wish(s, req.Who, func(w *state.Wish) { w.Stopped, w.Started = true, false })
	// One that only waits for its next start may have others that depend on it running.
	if !s.busy() && (s.node == nil || !s.st.Wanted) {
		e.feed(s, core.Event{Kind: core.EvStop})
		return done(s, "already stopped"), nil
	}
	run := s.st.Run
	if e.request == 0 || s.info.Request < e.request {
		e.bringDown(s, endStop)
	}
	return control.Outcome{}, e.waitFor(s, waitDown, run, "")
}

func (e *Engine) reload(s *service) (control.Outcome, *waiter) {
	if s.st.Phase != core.Running && s.st.Phase != core.Starting {
		return refuse(s, control.NotRunning, "cannot reload %s: it is %s", s.name, s.stateName()), nil
	}
	if s.def.Reload.Command == nil {
		if err := e.ports.Keeper.SignalOnce(s.slot, s.st.Run, s.def.Reload.Signal, ToMain, e.request); err != nil {
			return refuse(s, control.Failed, "cannot reload %s: %v", s.name, err), nil
		}
		e.reloaded(s)
		return done(s, "sent "+model.SignalName(s.def.Reload.Signal)), nil
	}
	return control.Outcome{}, e.reloadByCommand(s)
}

// reloadByCommand runs the reload command of a service, or waits for its end when
// it was run for this request already: its number is the request's.
func (e *Engine) reloadByCommand(s *service) *waiter {
	w := e.waitFor(s, waitCommand, s.st.Run, "")
	e.runReload(s, func(reason string) {
		if reason != "" {
			e.finish(w, refuse(s, control.Failed, "cannot reload %s: %s", s.name, reason))
			return
		}
		e.reloaded(s)
		e.finish(w, done(s, "reloaded"))
	})
	e.mark(s)
	return w
}

// reloaded notes that a service has read its configuration again: those that follow
// even that start again.
func (e *Engine) reloaded(s *service) {
	s.info.Reloaded = int64(e.now())
	e.mark(s)
	e.inform(s)
}

// mark notes on a service's page that the present request was carried out on it.
// Those that the core is told of are marked with its step.
func (e *Engine) mark(s *service) {
	s.info.Request = max(s.info.Request, e.request)
	e.persist(s)
}

func (e *Engine) pause(req control.Request, s *service) (control.Outcome, *waiter) {
	if !s.lives() {
		return refuse(s, control.NotRunning, "cannot %s %s: it is %s", req.Verb, s.name, s.stateName()), nil
	}
	if req.Verb == control.Pause {
		e.feed(s, core.Event{Kind: core.EvPause})
		return done(s, "paused"), nil
	}
	e.feed(s, core.Event{Kind: core.EvResume})
	return done(s, "resumed"), nil
}

// runTransient makes a service of a command line. It lives as long as its
// process and is known again by the next engine.
func (e *Engine) runTransient(req control.Request) ([]control.Outcome, []*waiter, error) {
	spec := req.Run
	if spec == nil || len(spec.Command) == 0 {
		return nil, nil, &control.Error{Code: control.Usage, Message: "cannot run: no command is given", Hint: "abide run -- COMMAND"}
	}
	name := e.nameOfRun(spec)
	if err := model.ValidName(name); err != nil {
		return nil, nil, &control.Error{Code: control.Usage, Message: fmt.Sprintf("cannot run %q: %v", name, err)}
	}
	if e.services[name] != nil {
		return nil, nil, &control.Error{Code: control.Failed, Message: fmt.Sprintf("cannot run %s: a service of that name exists", name)}
	}
	e.forgetRuns()
	def := transient(name, spec.Command, spec.Directory, environment(spec.Environment))
	s := e.add(name, def)
	s.transient = true
	e.writeApplied()
	e.auditRequest(name, 0, req)
	e.feed(s, core.Event{Kind: core.EvStart})
	return nil, []*waiter{e.waitFor(s, waitSpawned, 0, "")}, nil
}

// nameOfRun is the name that was asked for, or one that is free.
func (e *Engine) nameOfRun(spec *control.RunSpec) string {
	name := spec.Name
	for i := 1; name == ""; i++ {
		if free := fmt.Sprintf("run-%d", i); e.services[free] == nil {
			name = free
		}
	}
	return name
}

// forgetRuns makes room for one more command: of those that have ended only the
// last few are remembered.
func (e *Engine) forgetRuns() {
	const remembered = 16
	var ended []*service
	for _, s := range e.services {
		if s.transient && !s.busy() && s.st.AtRest() {
			ended = append(ended, s)
		}
	}
	sort.Slice(ended, func(i, j int) bool { return ended[i].info.Since < ended[j].info.Since })
	for i := 0; i <= len(ended)-remembered; i++ {
		e.forget(ended[i])
	}
}

// wish notes what an operator asked for before anything acts on it.
func (e *Engine) wish(s *service, who control.Who, change func(*state.Wish)) {
	w := s.wish
	change(&w)
	w.By, w.At = who.UID, e.wall()
	if err := e.ports.Wishes.Set(s.name, w); err != nil {
		e.complainOnce("wishes", fmt.Sprintf("Cannot keep what operators ask for: %v", err))
	}
	s.wish, s.info.Stopped = w, w.Stopped
	e.inform(s)
}

// enable notes that a service is enabled or not, which has to outlive a reboot:
// where that cannot be stored it is refused, and what was before stands.
func (e *Engine) enable(req control.Request, s *service, choice state.Choice) *control.Outcome {
	w := s.wish
	w.Enabled, w.By, w.At = choice, req.Who.UID, e.wall()
	err := e.ports.Wishes.Set(s.name, w)
	var untilReboot state.UntilReboot
	switch {
	case errors.As(err, &untilReboot):
		e.complainOnce("wishes", fmt.Sprintf("Cannot keep what operators ask for: %v", err))
	case err != nil:
		o := refuse(s, control.Failed, "cannot %s %s: %v", req.Verb, s.name, err)
		return &o
	}
	s.wish = w
	e.inform(s)
	return nil
}

func done(s *service, message string) control.Outcome {
	return control.Outcome{Name: s.name, Done: true, Message: message}
}

func refuse(s *service, code control.Code, format string, args ...any) control.Outcome {
	return control.Outcome{Name: s.name, Code: code, Message: fmt.Sprintf(format, args...)}
}

func join(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "; ")
}

// environment parts NAME=VALUE words.
func environment(words []string) []model.EnvVar {
	vars := make([]model.EnvVar, 0, len(words))
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		vars = append(vars, model.EnvVar{Name: name, Value: model.Quote(value)})
	}
	sort.Slice(vars, func(i, j int) bool { return vars[i].Name < vars[j].Name })
	return vars
}

func whoText(w control.Who) string { return fmt.Sprintf("uid %d, pid %d", w.UID, w.PID) }
