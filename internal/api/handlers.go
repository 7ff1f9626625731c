package api

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/api/wire"
	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

func (s *Server) about(k *call) {
	about, err := s.sup.About(k.r.Context(), k.who)
	if err != nil {
		k.refuse(err)
		return
	}
	if about.Notes == nil {
		about.Notes = []string{}
	}
	k.send(200, about)
}

func (s *Server) services(k *call) {
	names := k.query["name"]
	if k.name != "" {
		names = []string{k.name}
	}
	list, err := s.sup.Status(k.r.Context(), k.who, names)
	if err != nil {
		k.refuse(err)
		return
	}
	k.statuses(list)
}

// chunk is how much of an answer is built before it is sent.
const chunk = 32 << 10

// statuses sends list in pieces, so that ten thousand services need no more
// memory than one piece.
func (k *call) statuses(list []control.Status) {
	k.begin(wire.JSON)
	buf := append(make([]byte, 0, min(chunk, 1024*len(list))+1024), '[')
	for i := range list {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = wire.AppendStatus(buf, &list[i])
		if len(buf) >= chunk {
			k.extend()
			if _, err := k.w.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
		}
	}
	k.extend()
	k.w.Write(append(buf, "]\n"...))
}

func (s *Server) definition(k *call) {
	text, err := s.sup.Show(k.r.Context(), k.who, k.name)
	if err != nil {
		k.refuse(err)
		return
	}
	k.begin(wire.TOML)
	io.WriteString(k.w, text)
}

func (s *Server) history(k *call) {
	last := 0
	if text := k.query.Get("last"); text != "" {
		var err error
		if last, err = strconv.Atoi(text); err != nil || last < 1 {
			k.refuse(usage("cannot read last=%q: want a number above 0", text))
			return
		}
	}
	runs, err := s.sup.History(k.r.Context(), k.who, k.name, last)
	if err != nil {
		k.refuse(err)
		return
	}
	if runs == nil {
		runs = []control.PastRun{}
	}
	k.send(200, runs)
}

func (s *Server) plan(k *call) {
	p, err := s.sup.Plan(k.r.Context(), k.who, k.query["name"])
	if err != nil {
		k.refuse(err)
		return
	}
	if p.Steps == nil {
		p.Steps = []control.PlanStep{}
	}
	k.send(200, p)
}

func (s *Server) snapshots(k *call) {
	list, err := s.sup.Snapshots(k.r.Context(), k.who, k.name)
	if err != nil {
		k.refuse(err)
		return
	}
	if list == nil {
		list = []control.Kept{}
	}
	k.send(200, list)
}

func (s *Server) graph(k *call) {
	g, err := s.sup.Graph(k.r.Context(), k.who, k.query["name"])
	if err != nil {
		k.refuse(err)
		return
	}
	if g.Nodes == nil {
		g.Nodes = []control.GraphNode{}
	}
	if g.Edges == nil {
		g.Edges = []control.GraphEdge{}
	}
	k.send(200, g)
}

func (s *Server) why(k *call) {
	w, err := s.sup.Why(k.r.Context(), k.who, k.name)
	if err != nil {
		k.refuse(err)
		return
	}
	if w.Unmet == nil {
		w.Unmet = []control.Unmet{}
	}
	if w.Impact == nil {
		w.Impact = []string{}
	}
	if w.Chain == nil {
		w.Chain = []control.Event{}
	}
	k.send(200, w)
}

func (s *Server) act(k *call) {
	var body wire.Action
	if err := k.body(&body); err != nil {
		k.refuse(err)
		return
	}
	if k.name != "" {
		body.Verb, body.Names = k.verb, []string{k.name}
	}
	if !isServiceVerb(string(body.Verb)) {
		k.refuse(usage("cannot act: verb %q is not one of %s", body.Verb, verbList()))
		return
	}
	if len(body.Names) == 0 {
		k.refuse(usage("cannot %s: no service is named", body.Verb))
		return
	}
	s.do(k, body)
}

func verbList() string {
	words := make([]string, len(wire.ServiceVerbs))
	for i, v := range wire.ServiceVerbs {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

func (s *Server) apply(k *call)    { s.doWhole(k, control.Apply) }
func (s *Server) shutdown(k *call) { s.doWhole(k, control.Shutdown) }
func (s *Server) runlevel(k *call) { s.doWhole(k, control.Runlevel) }

func (s *Server) doWhole(k *call, verb control.Verb) {
	var body wire.Action
	if err := k.body(&body); err != nil {
		k.refuse(err)
		return
	}
	body.Verb = verb
	s.do(k, body)
}

func (s *Server) do(k *call, body wire.Action) {
	timeout, err := duration(body.Timeout)
	if err != nil {
		k.refuse(err)
		return
	}
	req := control.Request{ID: body.ID, Who: k.who, Verb: body.Verb, Names: body.Names,
		Once: body.Once, Now: body.Now, NoWait: body.NoWait, Timeout: timeout, Reset: body.Reset, Unpin: body.Unpin}
	if body.Verb == control.Rollback || body.Verb == control.Scale && !body.Reset {
		if body.Number == nil || *body.Number < 0 {
			k.refuse(usage("cannot %s %s: it needs a number", body.Verb, strings.Join(body.Names, " ")))
			return
		}
		req.Number = *body.Number
	}
	if body.Verb == control.Signal {
		if req.Signal, err = model.ParseSignal(body.Signal); err != nil {
			k.refuse(usage("%v", err))
			return
		}
	}
	s.execute(k, req)
}

func (s *Server) upgrade(k *call) {
	var body wire.Upgrade
	if err := k.body(&body); err != nil {
		k.refuse(err)
		return
	}
	if body.Directory != "" && !filepath.IsAbs(body.Directory) {
		k.refuse(usage("cannot upgrade to %q: not an absolute path", body.Directory))
		return
	}
	s.execute(k, control.Request{ID: body.ID, Who: k.who, Verb: control.Upgrade, Directory: body.Directory})
}

func (s *Server) run(k *call) {
	var body wire.Run
	if err := k.body(&body); err != nil {
		k.refuse(err)
		return
	}
	if len(body.Command) == 0 || body.Command[0] == "" {
		k.refuse(usage("cannot run: no command is given"))
		return
	}
	timeout, err := duration(body.Timeout)
	if err != nil {
		k.refuse(err)
		return
	}
	var names []string
	if body.Name != "" {
		names = []string{body.Name}
	}
	s.execute(k, control.Request{ID: body.ID, Who: k.who, Verb: control.Run, Names: names, NoWait: body.NoWait, Timeout: timeout,
		Run: &control.RunSpec{Name: body.Name, Command: body.Command, Directory: body.Directory, Environment: body.Environment}})
}

func (s *Server) adopt(k *call) {
	var body wire.Adopt
	if err := k.body(&body); err != nil {
		k.refuse(err)
		return
	}
	timeout, err := duration(body.Timeout)
	if err != nil {
		k.refuse(err)
		return
	}
	s.execute(k, control.Request{ID: body.ID, Who: k.who, Verb: control.Adopt, NoWait: body.NoWait, Timeout: timeout,
		Pid: body.Pid, Start: body.Start, As: body.As})
}

// execute asks the supervisor and, when the client reads NDJSON, tells it what
// is waited for meanwhile.
func (s *Server) execute(k *call, req control.Request) {
	stream := strings.Contains(k.r.Header.Get("Accept"), wire.NDJSON)
	type result struct {
		outcomes []control.Outcome
		err      error
	}
	// The supervisor may tell from within its own loop: never let it wait for a client.
	waiting := make(chan string, 16)
	req.Trace = func(text string) {
		select {
		case waiting <- text:
		default:
		}
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: defect()}
		defer func() {
			if p := recover(); p != nil {
				s.opts.ReportDefect(fmt.Sprintf("cannot %s: %v\n%s", req.Verb, p, debug.Stack()))
			}
			done <- r
		}()
		outcomes, err := s.sup.Do(k.r.Context(), req)
		r = result{outcomes, err}
	}()
	for {
		select {
		case text := <-waiting:
			if !stream {
				continue
			}
			if !k.began {
				k.begin(wire.NDJSON)
			}
			// A client that is gone ends the request's context, which Do sees.
			k.line(wire.Progress{Waiting: text})
		case r := <-done:
			if r.outcomes == nil {
				r.outcomes = []control.Outcome{}
			}
			switch {
			case r.err != nil:
				k.refuse(r.err)
			case stream:
				if !k.began {
					k.begin(wire.NDJSON)
				}
				k.line(wire.Progress{Outcomes: r.outcomes})
			default:
				k.send(200, wire.Outcomes{Outcomes: r.outcomes})
			}
			return
		}
	}
}

func (s *Server) wait(k *call) {
	var body wire.Wait
	if err := k.body(&body); err != nil {
		k.refuse(err)
		return
	}
	if len(body.Names) == 0 {
		k.refuse(usage("cannot wait: no service is named"))
		return
	}
	timeout, err := duration(body.Timeout)
	if err != nil {
		k.refuse(err)
		return
	}
	ctx := k.r.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	list, err := s.sup.Wait(ctx, k.who, body.Names, body.For)
	if err != nil {
		if ctx.Err() == context.DeadlineExceeded {
			err = &control.Error{Code: control.TimedOut,
				Message: fmt.Sprintf("cannot wait for %s: not reached within %s", strings.Join(body.Names, ", "), timeout.Round(time.Millisecond))}
		}
		k.refuse(err)
		return
	}
	k.statuses(list)
}
