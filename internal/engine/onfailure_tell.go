package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

const (
	webhookTimeout = 10 * time.Second
	webhookTries   = 3
	// lastWords bounds the wait for output that is on its way into the log.
	lastWords = time.Second
)

// webhookPauses are the waits before the second and the third try.
var webhookPauses = [webhookTries - 1]time.Duration{time.Second, 5 * time.Second}

const alarmKind = "on_failure"

// gather reads the last lines of a service once its last run has said all, and then
// tells when the time has come.
func (e *Engine) gather(name string, a *alarm) {
	if a.Ready {
		e.tellWhenDue(name, a)
		return
	}
	done := false
	read := func() {
		if done {
			return
		}
		done = true
		q := control.LogQuery{Names: []string{name}, Lines: alarmLines}
		e.aside(func() {
			lines := []string{}
			_ = e.ports.Logs.Query(context.Background(), q, func(r control.LogRecord) error {
				lines = append(lines, r.Text)
				return nil
			})
			e.Post(func() {
				if e.alarms.now[name] != a {
					return // it was counted into a later one
				}
				a.Notice.Lines, a.Ready = lines, true
				e.keepAlarm(name, a)
				e.tellWhenDue(name, a)
			})
		})
	}
	run := a.Notice.Run
	e.later(func() {
		e.ports.Logs.Ended(name, run, func() { e.Post(read) })
		time.AfterFunc(lastWords, func() { e.Post(read) })
	})
}

func (e *Engine) tellWhenDue(name string, a *alarm) {
	wait := time.Duration(a.Due - e.wall().UnixNano())
	if wait <= 0 || e.stopping != nil {
		e.tell(name, a)
		return
	}
	time.AfterFunc(min(wait, alarmSpacing), func() {
		e.Post(func() {
			if e.alarms.now[name] == a {
				e.tell(name, a)
			}
		})
	})
}

// tell does what is left to do of an alarm.
func (e *Engine) tell(name string, a *alarm) {
	if a.busy {
		return
	}
	a.busy = true
	if !a.Started {
		e.rescue(name, a)
	}
	if !a.Commanded {
		e.alarmCommand(name, a)
	}
	if !a.Posted {
		e.post(name, a)
	}
	e.alarmStep(name, a)
}

// alarmStep puts on record what was done, and goes on to the next fault when that
// is all.
func (e *Engine) alarmStep(name string, a *alarm) {
	if e.alarms.now[name] != a {
		return
	}
	e.keepAlarm(name, a)
	if !a.over() {
		return
	}
	if next := e.alarms.next[name]; next != nil {
		delete(e.alarms.next, name)
		next.Number = a.Number + 1
		next.Due = max(next.Due, a.Since+int64(alarmSpacing))
		e.beginAlarm(name, next)
		return
	}
	e.finishIfIdle()
}

// alarming tells whether somebody is still to be told of a fault.
func (e *Engine) alarming() bool {
	for _, a := range e.alarms.now {
		if !a.over() {
			return true
		}
	}
	return false
}

// hurryAlarms has what waits for its time told now: abide is to end.
func (e *Engine) hurryAlarms() {
	for _, name := range sortedKeys(e.alarms.now) {
		if a := e.alarms.now[name]; a.Ready && !a.over() {
			e.tell(name, a)
		}
	}
}

// rescue starts the services that are to help.
func (e *Engine) rescue(name string, a *alarm) {
	a.Started = true
	if e.stopping != nil {
		return
	}
	defer e.settle() // it is on record as done once they have it on theirs
	for _, asked := range a.Plan.Start {
		for _, other := range e.meant(asked) {
			s := e.services[other]
			if s == nil {
				e.record(name, a.Notice.Run, alarmKind, fmt.Sprintf("cannot start %s: there is no such service", other), nil)
				continue
			}
			at, _ := json.Marshal(e.wall().UnixNano())
			_ = e.ports.Alarms.Set(rescuedKey+other, at)
			e.alarms.rescued[other] = e.wall().UnixNano()
			e.record(other, s.st.Run, alarmKind, "started because "+name+" failed", nil)
			e.feed(s, core.Event{Kind: core.EvStart})
		}
	}
}

// alarmCommand runs the command of an alarm, or waits for it when a former engine
// ran it. Its failure is said and has no consequence.
func (e *Engine) alarmCommand(name string, a *alarm) {
	s := e.services[name]
	over := func(reason string) {
		text := "the command was run"
		if reason != "" {
			text = "the command failed: " + reason
		}
		e.record(name, a.Notice.Run, alarmKind, text, nil)
		e.ports.Alarms.Remove(a.Notice.ID)
		a.Commanded = true
		e.alarmStep(name, a)
	}
	if s == nil || s.def == nil {
		over("the service is gone")
		return
	}
	stdin, err := e.ports.Alarms.Write(a.Notice.ID, a.Notice.Lines)
	if err != nil {
		e.record(name, a.Notice.Run, alarmKind, fmt.Sprintf("cannot give the command the last lines: %v", err), nil)
	}
	n := &a.Notice
	env := append([]model.EnvVar{
		{Name: "ABIDE_HOOK", Value: alarmKind}, {Name: "ABIDE_SERVICE", Value: n.Service}, {Name: "ABIDE_REASON", Value: n.Reason},
		{Name: "ABIDE_HOST", Value: n.Host}, {Name: "ABIDE_FAULTS", Value: strconv.Itoa(n.Faults)}, {Name: "ABIDE_ALARM", Value: n.ID},
		{Name: "ABIDE_RESTARTS", Value: strconv.FormatUint(n.Restarts, 10)},
	}, resultEnvironment(s, n.Run)...)
	e.runCommand(s, command{
		kind: alarmKind, number: a.Number, logged: svlog.AuxNumber(n.Run, a.Number), hook: *a.Plan.Command, env: env, stdin: stdin,
	}, func(_ Exit, reason string) { over(reason) })
}

// post calls the webhook outside the loop. Tries that failed are on record: engines
// that follow each other do not begin anew.
func (e *Engine) post(name string, a *alarm) {
	body, err := json.Marshal(&a.Notice)
	if err != nil {
		e.posted(name, a, err, false)
		return
	}
	e.aside(func() {
		ctx, cancel := context.WithTimeout(context.Background(), webhookTimeout)
		defer cancel()
		again, err := e.ports.Alarms.Post(ctx, a.Plan.Webhook, a.Notice.ID, body)
		e.Post(func() { e.posted(name, a, err, again) })
	})
}

// posted takes the outcome of a call. again says that another try may succeed.
func (e *Engine) posted(name string, a *alarm, err error, again bool) {
	where := withoutSecrets(a.Plan.Webhook)
	if err == nil {
		a.Posted = true
		e.record(name, a.Notice.Run, alarmKind, "told "+where, nil)
		e.alarmStep(name, a)
		return
	}
	a.Tries++
	var bare *url.Error // which would repeat the address
	if errors.As(err, &bare) {
		err = bare.Err
	}
	text := fmt.Sprintf("cannot tell %s: %v", where, err)
	if !again || a.Tries >= webhookTries {
		a.Posted = true
		e.record(name, a.Notice.Run, alarmKind, text+"; given up", nil)
		e.alarmStep(name, a)
		return
	}
	pause := webhookPauses[a.Tries-1]
	e.record(name, a.Notice.Run, alarmKind, fmt.Sprintf("%s; tried again in %s", text, pause), nil)
	e.alarmStep(name, a)
	time.AfterFunc(pause, func() { e.Post(func() { e.post(name, a) }) })
}

// withoutSecrets is an address without what may be a key in it.
func withoutSecrets(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "the webhook"
	}
	return u.Scheme + "://" + u.Host
}
