package engine

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/abide-project/abide/internal/control"
)

// What becomes of an attempt, in the field "result" of its events.
const (
	auditAccepted = "accepted"
	auditDone     = "done"
	auditRefused  = "not-permitted"
)

// refusalsTold bounds the records of refused attempts of one uid: whoever may do
// nothing must not push what others did out of the history either.
const refusalsTold = 100

// audit records an attempt of somebody outside: what was asked, by whom, and what
// became of it. An attempt that is carried out has two records, one before anything
// is done and one with its outcome.
func (e *Engine) audit(kind, name string, run uint64, verb string, who control.Who, result, text string) {
	e.record(name, run, kind, text, map[string]string{
		"verb": verb, "uid": strconv.Itoa(who.UID), "pid": strconv.Itoa(who.PID), "result": result,
	})
}

// auditRequest records that a request is about to be carried out.
func (e *Engine) auditRequest(name string, run uint64, req control.Request) {
	e.audit("operator", name, run, string(req.Verb), req.Who, auditAccepted, fmt.Sprintf("%s by %s", req.Verb, whoText(req.Who)))
}

// auditRefusal records an attempt that was not permitted, or a look at what the
// asker has no right to.
func (e *Engine) auditRefusal(name, what string, who control.Who) {
	e.refusals[who.UID]++
	switch n := e.refusals[who.UID]; {
	case n == refusalsTold:
		e.audit("operator", "", 0, what, who, auditRefused, fmt.Sprintf("%d attempts of uid %d were not permitted: later ones are counted, not told", n, who.UID))
		return
	case n > refusalsTold && n%refusalsTold == 0:
		e.audit("operator", "", 0, what, who, auditRefused, fmt.Sprintf("%d attempts of uid %d were not permitted so far", n, who.UID))
		return
	case n > refusalsTold:
		return
	}
	e.audit("operator", name, 0, what, who, auditRefused, fmt.Sprintf("%s by %s: not permitted", what, whoText(who)))
}

// auditOutcome records what became of a request for one service, or for abide
// itself if o names none.
func (e *Engine) auditOutcome(req control.Request, o control.Outcome) {
	result := auditDone
	switch {
	case o.Code == control.NotPermitted:
		return // its refusal is on record
	case o.Code != "":
		result = string(o.Code)
	}
	run := uint64(0)
	if s := e.services[o.Name]; s != nil {
		run = s.st.Run
	}
	e.audit("outcome", o.Name, run, string(req.Verb), req.Who, result, fmt.Sprintf("%s by uid %d: %s", req.Verb, req.Who.UID, o.Message))
}

// auditError records that a request was refused as a whole.
func (e *Engine) auditError(req control.Request, err error) {
	o := control.Outcome{Code: control.Failed, Message: err.Error()}
	var known *control.Error
	if errors.As(err, &known) {
		o.Code = known.Code
	}
	e.auditOutcome(req, o)
}
