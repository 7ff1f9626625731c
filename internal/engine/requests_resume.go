package engine

import (
	"encoding/json"
	"fmt"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// loadRequests reads what former engines put on record. Nothing is carried on
// yet: the services are not there.
func (e *Engine) loadRequests() {
	q := &e.asked
	asked, progress, changes := map[uint64][]byte{}, map[uint64][][]byte{}, map[uint64][]byte{}
	for _, raw := range e.ports.Requests.All() {
		kind, seq, key, body, err := parseRecord(raw)
		if err != nil {
			e.badRequest(err)
			continue
		}
		q.last = max(q.last, seq)
		switch kind {
		case recordAsked:
			asked[seq] = raw
		case recordRun:
			asked[seq] = raw
			if r, err := readAsked(raw); err == nil && r.req.Run != nil {
				q.runs[r.req.Run.Name] = raw
			}
		case recordChanges:
			changes[seq] = body
		case recordProgress:
			progress[seq] = append(progress[seq], body)
		case recordOutcome:
			delete(asked, seq)
			q.kept.add(key, raw)
		}
	}
	for seq, raw := range asked {
		r, err := readAsked(raw)
		if err != nil {
			e.badRequest(err)
			continue
		}
		for _, body := range progress[seq] {
			var p progressJSON
			if json.Unmarshal(body, &p) == nil {
				r.restore(p.Outcomes)
			}
		}
		var c changesJSON
		if body := changes[seq]; body != nil && json.Unmarshal(body, &c) == nil {
			r.changes = c.Changes
		}
		q.open[seq] = r
		if r.key.id != "" {
			q.byKey[r.key] = r
		}
	}
}

func (e *Engine) badRequest(err error) {
	e.complainOnce("requests", fmt.Sprintf("Cannot use a part of what operators asked for: %v", err))
}

// restore takes over outcomes that are on record.
func (r *request) restore(outcomes []control.Outcome) {
	for _, o := range outcomes {
		if it := r.named[o.Name]; it != nil && it.outcome == nil {
			it.outcome, it.kept = &o, true
			r.left--
		}
	}
}

// runDefinition is the definition of a transient service as it was asked for, nil
// if none was.
func (e *Engine) runDefinition(name string) *model.Service {
	raw := e.asked.runs[name]
	if raw == nil {
		return nil
	}
	r, err := readAsked(raw)
	if err != nil {
		return nil
	}
	spec := r.req.Run
	return transient(name, spec.Command, spec.Directory, environment(spec.Environment))
}

// resumeRequests goes on with what former engines did not bring to an end, in the
// order in which it was asked for.
func (e *Engine) resumeRequests() {
	for _, seq := range sortedSeqs(e.asked.open) {
		e.resume(e.asked.open[seq])
		e.settle()
	}
}

func (e *Engine) resume(r *request) {
	if r.req.Verb == control.Shutdown && e.stopping != nil && e.stopping.request >= r.seq {
		e.endRequest(r)
		return
	}
	if r.req.Verb == control.Adopt {
		if s := e.mainOf(r.req.Pid, r.req.Start); s != nil {
			r.whole = append(r.whole, done(s, fmt.Sprintf("adopted: process %d", r.req.Pid)))
			e.endRequest(r)
			return
		}
	}
	if len(r.changes) > 0 {
		e.repeatChanges(r)
	}
	if len(r.items) == 0 || r.req.Verb == control.Scale {
		e.carryOutRequest(r, r.req)
		return
	}
	for _, it := range r.items {
		s := e.services[it.name]
		switch {
		case it.outcome != nil:
		case s != nil && e.carriedOut(s) >= r.seq:
			e.rejoin(r, it, s)
		default:
			part := r.req
			part.Names = []string{it.name}
			e.carryOutRequest(r, part)
		}
	}
	if r.left == 0 {
		e.endRequest(r)
	}
}

// mainOf returns the service whose main process this is, nil if it is none's.
func (e *Engine) mainOf(pid int, start uint64) *service {
	for _, s := range e.services {
		if s.lives() && int(s.info.Pid) == pid && (start == 0 || s.info.StartTime == start) {
			return s
		}
	}
	return nil
}

// rejoin waits for what a request waits for that was carried out on a service.
func (e *Engine) rejoin(r *request, it *item, s *service) {
	now := func(message string) { e.answer(it, done(s, message)) }
	wait := func(kind waitKind) {
		w := e.waitFor(s, kind, it.run, "")
		e.attach(r, w)
		e.check(w)
	}
	switch r.req.Verb {
	case control.Start, control.Restart:
		wait(waitUp)
	case control.Stop:
		wait(waitDown)
	case control.Roll:
		wait(waitRoll)
	case control.Run:
		wait(waitSpawned)
	case control.Enable:
		if r.req.Now {
			wait(waitUp)
		} else {
			now("enabled")
		}
	case control.Disable:
		if r.req.Now {
			wait(waitDown)
		} else {
			now("disabled")
		}
	case control.Rollback:
		e.request = r.seq
		starts := e.willStart(s.name)
		e.request = 0
		if starts {
			wait(waitUp)
		} else {
			now(fmt.Sprintf("pinned to snapshot %d", r.req.Number))
		}
	case control.Reload:
		if s.def.Reload.Command == nil {
			now("sent " + model.SignalName(s.def.Reload.Signal))
			return
		}
		e.request = r.seq
		w := e.reloadByCommand(s)
		e.request = 0
		e.attach(r, w)
	case control.Signal:
		now("sent " + model.SignalName(r.req.Signal))
	default:
		now(doneWords[r.req.Verb])
	}
}

// doneWords say that a verb was carried out whose end nobody has to wait for.
var doneWords = map[control.Verb]string{
	control.Clear: "cleared", control.Pause: "paused", control.Resume: "resumed", control.Release: "released",
}
