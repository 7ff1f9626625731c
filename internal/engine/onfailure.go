package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// alarmSpacing is the least time between two alarms of a service. Faults that come
// sooner wait for it and are counted into one.
const alarmSpacing = 10 * time.Second

// missedFor is how old a fault may be of which an engine that was killed told nobody.
const missedFor = time.Minute

// alarmLines is how much of the output an alarm brings along.
const alarmLines = 50

// alarm is one fault that [on_failure] is about, from when the service failed until
// everybody was told. It is on record at each step, so that an engine that follows
// goes on with it: the command runs once, the webhook is called at least once.
type alarm struct {
	Since  int64 // when the service failed, CLOCK_REALTIME in ns: which fault it is
	Due    int64 // not before then, CLOCK_REALTIME in ns
	Number uint64
	Notice notice
	Ready  bool // the output is there
	Plan   model.OnFailure

	Started   bool // what is to be done of Plan, each once it is done
	Commanded bool
	Posted    bool
	Tries     int // of the webhook that failed

	busy bool // it is being told
}

// notice is what a webhook is sent.
type notice struct {
	ID       string        `json:"id"`
	Event    string        `json:"event"`
	Service  string        `json:"service"`
	Host     string        `json:"host"`
	State    string        `json:"state"`
	Reason   string        `json:"reason"`
	Run      uint64        `json:"run"`
	Exit     *control.Exit `json:"exit"`
	Restarts uint64        `json:"restarts"`
	At       time.Time     `json:"at"`
	Faults   int           `json:"faults"`
	Lines    []string      `json:"lines"`
}

func (a *alarm) over() bool { return a.Started && a.Commanded && a.Posted }

// alarms are those under way and the last one of each service.
type alarms struct {
	now     map[string]*alarm // by service
	next    map[string]*alarm // a fault that came while one is told
	rescued map[string]int64  // services that an alarm has started, and when
}

const rescuedKey = "/rescued/"

// loadAlarms reads what former engines were at.
func (e *Engine) loadAlarms() {
	e.alarms = alarms{now: map[string]*alarm{}, next: map[string]*alarm{}, rescued: map[string]int64{}}
	if e.ports.Alarms == nil {
		return
	}
	for key, value := range e.ports.Alarms.All() {
		if len(key) > len(rescuedKey) && key[:len(rescuedKey)] == rescuedKey {
			var at int64
			if json.Unmarshal(value, &at) == nil {
				e.alarms.rescued[key[len(rescuedKey):]] = at
			}
			continue
		}
		a := &alarm{}
		if json.Unmarshal(value, a) == nil {
			e.alarms.now[key] = a
		}
	}
}

// resumeAlarms goes on with what former engines did not bring to an end, and begins
// with what they did not come to.
func (e *Engine) resumeAlarms() {
	if e.ports.Alarms == nil {
		return
	}
	for _, name := range sortedKeys(e.alarms.now) {
		if a := e.alarms.now[name]; !a.over() {
			e.gather(name, a)
		}
	}
	if _, before := e.own[bootPage]; !before {
		return // what failed before abide was started was told then
	}
	for _, name := range sortedKeys(e.services) {
		s := e.services[name]
		a := e.alarms.now[name]
		fresh := e.wall().Sub(s.info.since()) < missedFor
		if s.adopted && fresh && s.st.Phase == core.Failed && (a == nil || a.Since != s.info.Since) {
			e.alarm(s)
		}
	}
}

// alarm begins what [on_failure] asks for: the service has failed.
func (e *Engine) alarm(s *service) {
	if e.ports.Alarms == nil || s.def == nil || s.info.Roll != rollNone {
		return
	}
	plan := s.def.OnFailure
	if len(plan.Start) == 0 && plan.Command == nil && plan.Webhook == "" {
		return
	}
	a := &alarm{Since: s.info.Since, Due: e.wall().UnixNano(), Plan: plan, Number: 1}
	a.Notice = notice{
		ID: fmt.Sprintf("%s-%s-%d", e.opts.ID, s.name, a.Since), Event: "failed", Service: s.name, Host: e.opts.Host,
		State: s.stateName(), Reason: s.faultText(), Run: s.st.Run, Exit: publicExit(s.info.Last), Restarts: s.st.Restarts,
		At: time.Unix(0, a.Since).UTC(), Faults: 1, Lines: []string{},
	}
	a.Started, a.Commanded, a.Posted = len(plan.Start) == 0, plan.Command == nil, plan.Webhook == ""
	if e.wasRescued(s) && !a.Started {
		a.Started = true
		e.record(s.name, s.st.Run, "on_failure", "it was started by on_failure itself: it starts no others", nil)
	}
	old := e.alarms.now[s.name]
	if old != nil {
		a.Due = max(a.Due, min(old.Since+int64(alarmSpacing), a.Due+int64(alarmSpacing)))
		a.Number = old.Number + 1
	}
	switch {
	case old == nil || old.over():
	case !old.busy && old.Due > e.wall().UnixNano():
		a.Notice.Faults, a.Due, a.Number = old.Notice.Faults+1, old.Due, old.Number
	default:
		if waiting := e.alarms.next[s.name]; waiting != nil {
			a.Notice.Faults = waiting.Notice.Faults + 1
		}
		e.alarms.next[s.name] = a
		return
	}
	e.beginAlarm(s.name, a)
}

// keepAlarm puts an alarm on record as it stands.
func (e *Engine) keepAlarm(name string, a *alarm) {
	kept := *a
	if kept.over() {
		kept = alarm{Since: a.Since, Number: a.Number, Started: true, Commanded: true, Posted: true}
	}
	blob, err := json.Marshal(&kept)
	if err == nil {
		err = e.ports.Alarms.Set(name, blob)
	}
	if err != nil {
		e.complainOnce("alarms", fmt.Sprintf("Cannot keep what on_failure is at: %v", err))
	}
}

// wasRescued tells whether on_failure of another service has started this one, and
// no operator has asked anything of it since.
func (e *Engine) wasRescued(s *service) bool {
	at, rescued := e.alarms.rescued[s.name]
	return rescued && at >= s.wish.At.UnixNano()
}

func (e *Engine) beginAlarm(name string, a *alarm) {
	e.alarms.now[name] = a
	e.keepAlarm(name, a)
	e.gather(name, a)
}
