package engine

import (
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// The history is a set of chains: each event names the one that led to it, in the
// field "because". A chain begins with what nobody of ours decided (a program
// ended by itself, an operator asked) and goes on through every decision and
// action that followed, over services and over engines.

// becauseField holds the cursor of the event that led to this one.
const becauseField = "because"

// record notes one event for the history, and makes it what the next ones follow
// from. It is safe from our death at once and written at the end of the turn.
func (e *Engine) record(name string, run uint64, kind, text string, fields map[string]string) {
	ev := control.Event{Time: e.wall(), Service: name, Run: run, Kind: kind, Text: text, Fields: fields}
	s := e.services[name]
	because := e.because
	switch {
	case kind == "operator": // nobody of ours decided to ask
		because = 0
	case because == 0 && s != nil && (kind != "exit" || s.st.Phase == core.Stopping):
		because = s.info.Chain
	}
	if because != 0 {
		if ev.Fields == nil {
			ev.Fields = make(map[string]string, 1)
		}
		ev.Fields[becauseField] = strconv.FormatUint(because, 10)
	}
	if e.ports.Pending != nil && !e.ports.Pending.Note(&ev) {
		e.writeEvents()
		e.ports.Pending.Note(&ev)
	}
	e.events = append(e.events, ev)
	if kind == "outcome" {
		return // nothing follows from it
	}
	e.because = e.ports.History.Last() + uint64(len(e.events))
	if s != nil {
		s.info.Chain = e.because
	}
}

// rootEvent tells whether an event stands at the beginning of a chain: an end that
// we did not bring about.
func rootEvent(s *service, ev core.Event) bool {
	return ev.Kind == core.EvExited && s.st.Phase != core.Stopping
}

// explain appends to the history what a step decided, and what it does about it. It
// reports whether there was anything to say.
func (e *Engine) explain(s *service, old core.State, ev core.Event, acts *core.Actions) bool {
	if s.st.Phase == old.Phase && s.st.Wanted == old.Wanted && s.st.Run == old.Run {
		return false
	}
	text := core.Reason(old, ev, s.st)
	if text == "" {
		return false
	}
	fields := map[string]string{"state": s.stateName(), "phase": s.st.Phase.String(), "event": ev.Kind.String()}
	if done := actionsText(s, acts); done != "" {
		fields["action"] = done
	}
	e.record(s.name, s.st.Run, "state", text, fields)
	return true
}

// actionsText is what a step asks for, as people read it.
func actionsText(s *service, acts *core.Actions) string {
	if acts.N == 0 {
		return ""
	}
	words := make([]string, 0, core.MaxActions)
	for _, a := range acts.All() {
		words = append(words, actionText(s, a))
	}
	return strings.Join(words, ", ")
}

func actionText(s *service, a core.Action) string {
	run := strconv.FormatUint(a.Run, 10)
	switch a.Kind {
	case core.ActSpawn:
		return "start run " + run
	case core.ActSignal:
		return stopStepText(s.def, int(a.Step)) + " run " + run
	case core.ActKill:
		return "send KILL to run " + run
	case core.ActClean:
		return "end what is left of run " + run
	case core.ActFreeze:
		return "freeze run " + run
	case core.ActThaw:
		return "thaw run " + run
	case core.ActHook:
		return "run the " + a.Hook.String() + " commands of run " + run
	case core.ActUnhook:
		return "end the " + a.Hook.String() + " commands of run " + run
	case core.ActFindMain:
		return "look for the main process of run " + run
	case core.ActAbort:
		return "send ABRT to run " + run
	}
	return a.Kind.String() + " run " + run
}

func stopStepText(def *model.Service, step int) string {
	switch {
	case def.Stop.Command != nil:
		return "run the stop command of"
	case step < len(def.Stop.Steps):
		return "send " + model.SignalName(def.Stop.Steps[step].Signal) + " to"
	}
	return "stop"
}
