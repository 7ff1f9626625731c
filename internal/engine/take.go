package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/outside"
	"github.com/abide-project/abide/internal/state"
)

// adoption is a process on its way to being a run. The keeper is asked first: it
// refuses a second copy and a number that has passed to another process. What
// takes long follows in a goroutine; only then the core is told.
type adoption struct {
	slot    string
	run     uint64
	pid     int
	start   uint64
	command []string
	fresh   bool // the service was made for it
	before  state.Wish
	from    *service // that the process was released from, nil if it was not
	waiter  *waiter
	exit    *Exit // it ended before it was taken in
}

// startTick is the unit of start times in /proc in nanoseconds: USER_HZ is 100 on
// every machine Go runs Linux on.
const startTick = int64(time.Second / 100)

// adoptProcess carries out `abide adopt PID --as NAME`.
func (e *Engine) adoptProcess(req control.Request) ([]control.Outcome, []*waiter, error) {
	if err := e.permitAll(req); err != nil {
		return nil, nil, err
	}
	s := e.services[req.As]
	if s != nil && s.lives() && int(s.info.Pid) == req.Pid && s.info.StartTime == req.Start {
		return []control.Outcome{done(s, fmt.Sprintf("process %d is %s already", req.Pid, s.name))}, nil, nil
	}
	p, refused := e.adoptable(req)
	if refused == nil {
		refused = e.vacant(req)
	}
	if refused != nil {
		return nil, nil, refused
	}
	s, a, refused := e.heir(req, p)
	if refused != nil {
		return nil, nil, refused
	}
	e.audit("operator", s.name, a.run, string(req.Verb), req.Who, auditAccepted, fmt.Sprintf("adopt process %d by %s", p.Pid, whoText(req.Who)))
	a.before = s.wish
	a.from = e.releasedAs(p.Pid, p.Start)
	e.wish(s, req.Who, func(w *state.Wish) { w.Stopped, w.Started = false, true })
	a.waiter = e.waitFor(s, waitCommand, a.run, "")
	s.adopting, a.slot = a, s.slot
	s.info.UID, s.info.GID = int32(p.UIDs[1]), int32(p.GIDs[1])
	if err := e.ports.Keeper.Adopt(s.slot, a.run, a.pid, a.start); err != nil {
		e.adoptionRefused(s, fmt.Sprintf("the keeper does not take the order: %v", err))
	}
	return nil, []*waiter{a.waiter}, nil
}

func refusedAdoption(code control.Code, pid int, reason, hint string) *control.Error {
	return &control.Error{Code: code, Message: fmt.Sprintf("cannot adopt process %d: %s", pid, reason), Hint: hint}
}

// adoptable looks at the process that is asked for and says why it cannot be any
// service's.
func (e *Engine) adoptable(req control.Request) (outside.Process, *control.Error) {
	no := func(reason, hint string) (outside.Process, *control.Error) {
		return outside.Process{}, refusedAdoption(control.Failed, req.Pid, reason, hint)
	}
	if req.Pid <= 0 || req.Start == 0 {
		return outside.Process{}, &control.Error{Code: control.Usage, Message: "cannot adopt: no process is named by pid and start time", Hint: "abide adopt PID --as NAME"}
	}
	ps := e.ports.Processes
	if req.Who.PID <= 0 || !ps.SameNamespace(req.Who.PID) {
		return no("the request comes from another pid namespace, where this number means another process", "run abide adopt where abide itself runs")
	}
	p, err := ps.Look(req.Pid)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && p.Ended:
		return no("there is no process of this number", "")
	case err != nil:
		return no(err.Error(), "")
	case p.Start != req.Start:
		return no("the process that was meant has ended, and another one has its number", fmt.Sprintf("ps -p %d", req.Pid))
	case p.Kernel:
		return no("it is a thread of the kernel", "")
	case p.Pid == 1:
		return no("it is process 1", "")
	case p.Pid == req.Who.PID:
		return no("it is this very command", "")
	case e.isOurs(&p):
		return no("it is a process of abide itself", "")
	case slices.Contains(ps.Ancestors(e.opts.KeeperPid), p.Pid):
		return no("abide itself was started by it", "")
	case e.uid != 0 && !p.Only(e.uid):
		return outside.Process{}, refusedAdoption(control.NotPermitted, req.Pid,
			fmt.Sprintf("it runs as uid %d and this abide as uid %d", p.UIDs[1], e.uid), fmt.Sprintf("as root: abide --system adopt %d --as %s", req.Pid, req.As))
	}
	if name, run, mark := e.ports.Groups.Owner(p.Pid); mark != "" {
		return no(fmt.Sprintf("it belongs to %s (run %d), as %s shows", name, run, mark), "abide status "+name)
	}
	if leaf := e.ports.Groups.Stranger(p.Pid); leaf != "" {
		return no(fmt.Sprintf("it belongs to another abide, as its control group %s shows", leaf), "abide --run DIR status")
	}
	if id, _, ok := strings.Cut(p.RunID, ":"); ok && id != e.opts.ID {
		if parent, err := ps.Look(p.Parent); err == nil && parent.Comm == keeperComm {
			return no(fmt.Sprintf("it belongs to another abide, whose keeper is process %d", p.Parent), "abide --run DIR status")
		}
	}
	return p, nil
}

// The names that our programs have in /proc.
const (
	keeperComm = "abide-keeper"
	engineComm = "abide-engine"
	execComm   = "abide-exec"
)

func (e *Engine) isOurs(p *outside.Process) bool {
	if p.Pid == e.pid || p.Pid == e.opts.KeeperPid {
		return true
	}
	switch p.Comm {
	case keeperComm, engineComm, execComm:
		return true
	}
	return false
}

// vacant says why the name cannot take a process.
func (e *Engine) vacant(req control.Request) *control.Error {
	name := req.As
	if name == "" {
		return &control.Error{Code: control.Usage, Message: "cannot adopt: no service is named", Hint: fmt.Sprintf("abide adopt %d --as NAME", req.Pid)}
	}
	if err := model.ValidName(name); err != nil {
		return &control.Error{Code: control.Usage, Message: fmt.Sprintf("cannot adopt process %d as %q: %v", req.Pid, name, err)}
	}
	s := e.services[name]
	switch {
	case s == nil:
		return nil
	case s.adopting != nil:
		return refusedAdoption(control.Failed, req.Pid, fmt.Sprintf("%s is adopting process %d", name, s.adopting.pid), "abide status "+name)
	case s.wish.Released.Pid != req.Pid && e.stillReleased(s) != "":
		return refusedAdoption(control.Failed, req.Pid, fmt.Sprintf("%s cannot take it: %s", name, e.stillReleased(s)),
			fmt.Sprintf("abide adopt %d --as %s", s.wish.Released.Pid, name))
	case s.busy():
		return refusedAdoption(control.Failed, req.Pid, fmt.Sprintf("%s is %s, pid %d", name, s.stateName(), s.info.Pid),
			fmt.Sprintf("abide stop %s, or another name", name))
	}
	return nil
}

// heir finds the service that the process becomes, or makes one of what can be seen
// of it.
func (e *Engine) heir(req control.Request, p outside.Process) (*service, *adoption, *control.Error) {
	a := &adoption{pid: p.Pid, start: p.Start, command: p.Command}
	s, _, failed := e.freshen(req.As, true)
	switch {
	case failed != nil && failed.Code == control.Unknown:
		e.forgetRuns()
		s = e.add(req.As, adopted(req.As, &p, e.uid == 0))
		s.transient, a.fresh = true, true
		e.writeApplied()
	case failed != nil:
		return nil, nil, refusedAdoption(failed.Code, p.Pid, failed.Message, failed.Hint)
	}
	if s.st.Phase == core.Failed && !s.st.Wanted {
		e.feed(s, core.Event{Kind: core.EvClear}) // a new engine would take it for one to be stopped
		e.settle()
	}
	a.run = max(s.st.Run, s.info.Last.Run) + 1
	return s, a, nil
}

// adopted is the definition of a process that has none: what can be seen of it. It
// is not started again when it ends, because its environment and limits cannot.
func adopted(name string, p *outside.Process, root bool) *model.Service {
	def := model.Defaults(model.Daemon, false)
	def.Name, def.Command = name, Literal(p.Command)
	if len(p.Command) == 0 {
		def.Command = Literal([]string{p.Comm})
	}
	def.Description = "an adopted process"
	def.Directory = p.Directory
	if root {
		def.User, def.Group = fmt.Sprint(p.UIDs[1]), fmt.Sprint(p.GIDs[1])
	}
	def.Restart.When = model.RestartNever
	return &def
}

// adoptionRefused undoes what was prepared for a process that the keeper does not
// take.
func (e *Engine) adoptionRefused(s *service, reason string) {
	a := s.adopting
	s.adopting = nil
	before := a.before
	e.wish(s, control.Who{UID: before.By}, func(w *state.Wish) { *w = before })
	o := refuse(s, control.Failed, "cannot adopt process %d: %s", a.pid, reason)
	e.record(s.name, a.run, "operator", o.Message, nil)
	e.finish(a.waiter, o)
	if a.fresh {
		e.forget(s)
		e.writeApplied()
	}
}

// adoptionTaken goes on once the keeper has the process.
func (e *Engine) adoptionTaken(s *service) {
	a := s.adopting
	if a.from != nil {
		e.endDrain(a.from, func() { e.takeIn(s, a) })
		return
	}
	e.takeIn(s, a)
}

// takeIn does what may block.
func (e *Engine) takeIn(s *service, a *adoption) {
	def := s.def
	e.aside(func() {
		group, why, err := e.ports.Groups.Take(s.name, a.run, a.pid, a.start)
		if err != nil {
			why = err
		}
		outlets := e.reachOutput(s.name, a, group, &def.Log)
		e.Post(func() { e.takenIn(s, a, group, why, outlets) })
	})
}

// takenIn makes the process the run of the service.
func (e *Engine) takenIn(s *service, a *adoption, group Group, why error, outlets []string) {
	s.adopting = nil
	if from := a.from; from != nil {
		e.wish(from, control.Who{UID: from.wish.By}, func(w *state.Wish) { w.Released = state.Released{} })
	}
	s.fault, s.hint, s.strays = "", "", nil
	s.outside = len(outlets) > 0
	at := int64(a.start) * startTick
	e.feed(s, core.Event{Kind: core.EvTaken, Run: a.run, At: core.Time(at)})
	e.settle()
	s.group, s.groupRun = group, a.run // after the step, which lets go of the last run's
	s.info.Pid, s.info.StartTime = int32(a.pid), a.start
	s.info.Began = e.wall().UnixNano() - max(e.ports.Clock.Boot()-at, 0)
	e.persist(s)
	if why != nil {
		e.record(s.name, a.run, "state", fmt.Sprintf("it is traced: %v", why), nil)
	}
	for _, text := range outlets {
		e.record(s.name, a.run, "log", text, nil)
	}
	o := done(s, join(append([]string{fmt.Sprintf("adopted process %d as run %d", a.pid, a.run)}, outlets...)...))
	if s.transient && a.fresh {
		o.Message = join(o.Message, "it has no definition and is not started again when it ends")
		o.Hint = fmt.Sprintf("abide new %s -- %s", s.name, shellWords(a.command))
	}
	e.finish(a.waiter, o)
	if a.exit != nil {
		e.Exited(*a.exit)
	}
}

// reachOutput takes what the process writes into the log where nobody else reads
// it, and says of each stream that it cannot be taken where it goes.
func (e *Engine) reachOutput(name string, a *adoption, group Group, spec *model.Log) (texts []string) {
	var first outside.Output
	for _, stream := range []Stream{Stdout, Stderr} {
		seen := e.ports.Processes.Output(a.pid, int(stream))
		if stream == Stderr && seen.Ino != 0 && seen.Ino == first.Ino && seen.Dev == first.Dev {
			continue
		}
		if stream == Stdout {
			first = seen
		}
		if seen.Kind == outside.Null {
			continue
		}
		if err := e.takeOutput(name, a, stream, seen, group, spec); err != nil {
			texts = append(texts, fmt.Sprintf("its std%s goes to %s, not through abide%s", streamWords[stream], seen, err))
		}
	}
	return texts
}

var streamWords = map[Stream]string{Stdout: "out", Stderr: "err"}

// shellWords quotes words for a shell.
func shellWords(words []string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,"
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.Trim(w, plain) != "" {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// notOurs says why an output was left alone; "" when its kind says it.
type notOurs string

func (n notOurs) Error() string { return string(n) }

func (e *Engine) takeOutput(name string, a *adoption, stream Stream, seen outside.Output, group Group, spec *model.Log) error {
	if seen.Kind != outside.Pipe {
		return notOurs("")
	}
	var members []int
	if group != nil {
		members = group.Members()
	}
	if e.isLogPipe(seen) {
		return e.takeBack(name, a, stream, seen, spec)
	}
	readers, err := e.ports.Processes.Readers(seen, func(pid int) bool { return pid == a.pid || slices.Contains(members, pid) })
	switch {
	case len(readers) > 0:
		return notOurs(": " + readers[0].String() + " reads it")
	case err != nil:
		return notOurs(": " + err.Error())
	}
	fd, err := e.ports.Processes.OpenOutput(a.pid, int(stream), seen)
	if err != nil {
		return notOurs(": " + err.Error())
	}
	// The keeper holds it first: with no reader left the process would meet SIGPIPE.
	if err := e.ports.Keeper.Keep(a.slot, a.run, uint32(stream), fd); err != nil {
		e.complainAside("hold", fmt.Sprintf("Cannot have the output of %s held: %v", name, err))
	}
	if err := e.ports.Logs.AdoptFD(name, a.run, stream, fd, spec); err != nil {
		return notOurs(": " + err.Error())
	}
	return nil
}

// takeBack takes a FIFO of ours, which a process was released with. It gets the name
// of the new run's, so that each engine to come finds it.
func (e *Engine) takeBack(name string, a *adoption, stream Stream, seen outside.Output, spec *model.Log) error {
	fd, err := e.ports.Processes.OpenOutput(a.pid, int(stream), seen)
	if err != nil {
		return notOurs(": " + err.Error())
	}
	if err := e.ports.Keeper.Keep(a.slot, a.run, uint32(stream), fd); err != nil {
		e.complainAside("hold", fmt.Sprintf("Cannot have the output of %s held: %v", name, err))
	}
	if err := e.ports.Logs.Reclaim(seen.Target, name, a.run, stream); err != nil {
		e.complainAside("reclaim", fmt.Sprintf("Cannot name the pipe of %s: %v", name, err))
	}
	if err := e.ports.Logs.AdoptFD(name, a.run, stream, fd, spec); err != nil {
		return notOurs(": " + err.Error())
	}
	return nil
}

// complainAside is complainOnce from outside the loop.
func (e *Engine) complainAside(kind, text string) {
	e.Post(func() { e.complainOnce(kind, text) })
}

// elsewhere says where a run's output goes that abide does not take, "" if it does
// or is not to.
func (e *Engine) elsewhere(s *service) string {
	if !s.outside || s.info.Pid == 0 || !wantsOutput(&s.def.Log) {
		return ""
	}
	seen := e.ports.Processes.Output(int(s.info.Pid), int(Stdout))
	if seen.Kind == outside.Null || e.isLogPipe(seen) {
		return ""
	}
	return fmt.Sprintf("its output goes to %s, not through abide", seen)
}

// writesElsewhere reports whether neither stream of a run goes to a FIFO of ours.
func (e *Engine) writesElsewhere(s *service) bool {
	return !e.isLogPipe(e.ports.Processes.Output(int(s.info.Pid), int(Stdout))) &&
		!e.isLogPipe(e.ports.Processes.Output(int(s.info.Pid), int(Stderr)))
}

// isLogPipe reports whether an output is a FIFO in our run directory.
func (e *Engine) isLogPipe(o outside.Output) bool {
	return o.Kind == outside.Pipe && strings.HasPrefix(o.Target, e.opts.Run+"/services/")
}

func wantsOutput(spec *model.Log) bool {
	return slices.ContainsFunc(spec.Stdout, func(t model.LogTarget) bool {
		return t.Kind != model.LogNull && t.Kind != model.LogInherit
	})
}
