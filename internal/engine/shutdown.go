package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// shutdown is the stopping of everything, after which abide ends. It is on a page
// of the snapshot before it begins: an engine that takes over goes on with it.
type shutdown struct {
	code    int
	why     string
	hurried bool
	began   time.Duration // CLOCK_BOOTTIME
	request uint64        // that asked for it, 0: none
	keeper  int           // under which it began
	signals [len(shutdownSignals)]uint32
	timer   *time.Timer // the total deadline
	report  *time.Timer // says each second what is waited for
}

// Shutdown stops all services, then abide with code. A second call hurries: what
// still lives gets KILL.
func (e *Engine) Shutdown(code int, why string) {
	if e.stopping != nil {
		e.hurry("asked again")
		return
	}
	e.stopping = &shutdown{
		code: code, why: why, began: time.Duration(e.now()), request: e.request, keeper: e.opts.KeeperPid, signals: e.signals,
	}
	e.record("", 0, "abide", "shutting down: "+why, nil)
	e.putOwn(shutdownPage, e.stopping.encode(false))
	e.stopAll()
	e.finishIfIdle()
}

// stopAll carries a shutdown out, be it new or a former engine's. What depends on
// others ends before them, see end; everything else ends now.
func (e *Engine) stopAll() {
	sd := e.stopping
	e.wire()
	for s := range e.everyRun {
		if s.node != nil && s.busy() && s.st.Wanted {
			e.obey(s) // it waits for its turn and must not start again
			e.inform(s)
			continue
		}
		e.feedPart(s, core.Event{Kind: core.EvStop}, 0)
		if sd.hurried {
			e.feedPart(s, core.Event{Kind: core.EvHurry}, 0)
		}
		e.inform(s)
	}
	limit := e.shutdownLimit()
	sd.timer = time.AfterFunc(limit-(time.Duration(e.now())-sd.began), func() {
		e.Post(func() { e.hurry(fmt.Sprintf("%s are over", limit)) })
	})
	sd.report = time.AfterFunc(time.Second, func() { e.Post(e.reportStopping) })
}

func (e *Engine) shutdownLimit() time.Duration {
	if e.set.Shutdown > 0 {
		return e.set.Shutdown
	}
	return e.opts.Shutdown
}

// findShutdown takes up a former engine's shutdown. One that was brought to its end
// under this keeper ends abide; one of a keeper before, or of long ago, is over:
// somebody has started abide anew.
func (e *Engine) findShutdown() {
	const grace = time.Minute
	sd, over := decodeShutdown(e.own[shutdownPage])
	if sd == nil {
		return
	}
	same := sd.keeper == e.opts.KeeperPid
	switch {
	case over && same:
		e.done, e.code = true, sd.code
		return
	case over, !same && time.Duration(e.now())-sd.began > e.shutdownLimit()+grace:
		e.ports.Snapshot.Delete(shutdownPage)
		return
	}
	if same {
		e.signals = sd.signals
	} else {
		sd.signals, sd.keeper = e.signals, e.opts.KeeperPid
	}
	e.stopping = sd
}

// endedBefore tells whether the last instance on this run directory ended in
// order, and under another keeper.
func (e *Engine) endedBefore() bool {
	sd, over := decodeShutdown(e.own[shutdownPage])
	return over && sd.keeper != e.opts.KeeperPid
}

// Stopping tells whether a shutdown is under way. It is for the loop.
func (e *Engine) Stopping() bool { return e.stopping != nil }

// hurry kills what is being stopped, and what follows as soon as its turn has come:
// the order is kept. So is that among survivors' logs: their pipes are read to the
// end before abide ends.
func (e *Engine) hurry(why string) {
	sd := e.stopping
	if sd == nil || sd.hurried {
		return
	}
	sd.hurried = true
	e.putOwn(shutdownPage, sd.encode(false))
	e.record("", 0, "abide", "hurrying the shutdown: "+why, nil)
	for s := range e.everyRun {
		if !s.st.Wanted {
			e.feedPart(s, core.Event{Kind: core.EvHurry}, 0)
		}
	}
	e.finishIfIdle() // if only alarms are waited for
}

func (e *Engine) reportStopping() {
	sd := e.stopping
	if sd == nil || e.done {
		return
	}
	if text := e.stoppingText(); text != "" {
		e.ports.Console.Say(text)
	}
	sd.report.Reset(time.Second)
}

// stoppingText says whose end a shutdown waits for, and whose turn comes after:
// "Waiting for web to stop (12s of 20s); then postgres, redis".
func (e *Engine) stoppingText() string {
	var now, then []string
	for _, s := range e.inStopOrder() {
		switch {
		case !s.busy():
		case s.st.Wanted:
			then = append(then, s.name)
		default:
			now = append(now, s.name+e.stopSpan(s))
		}
	}
	if len(now)+len(then) == 0 {
		return ""
	}
	text := "Waiting for " + strings.Join(few(now), ", ") + " to stop"
	if len(now) == 1 {
		name, span, _ := strings.Cut(now[0], " ")
		text = strings.TrimRight("Waiting for "+name+" to stop "+span, " ")
	}
	if len(then) > 0 {
		text += "; then " + strings.Join(few(then), ", ")
	}
	return text
}

// stopSpan is how long a service has been stopping, of how long it may.
func (e *Engine) stopSpan(s *service) string {
	if s.st.Phase != core.Stopping || s.def == nil {
		return ""
	}
	return fmt.Sprintf(" (%s of %s)", e.wall().Sub(s.info.since()).Round(time.Second), s.def.Stop.Timeout)
}

// inStopOrder returns all services, those first that end first.
func (e *Engine) inStopOrder() []*service {
	rank := map[string]int{}
	for i, layer := range e.deps.graph.StopOrder() {
		for _, id := range layer {
			rank[e.deps.graph.Name(id)] = i
		}
	}
	all := make([]*service, 0, len(e.services))
	for _, s := range e.services {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *service) int {
		if c := rank[a.name] - rank[b.name]; c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}

// few names no more than a line has room for.
func few(names []string) []string {
	const most = 8
	if len(names) > most {
		return append(names[:most:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return names
}

// finishIfIdle ends abide once a shutdown has nothing left to wait for.
func (e *Engine) finishIfIdle() {
	sd := e.stopping
	if sd == nil || e.done || e.beginning || !e.settled() || e.detaching > 0 {
		return
	}
	for s := range e.everyRun {
		if s.busy() {
			return
		}
	}
	if !sd.hurried && e.alarming() {
		e.hurryAlarms()
		return
	}
	e.done = true
	sd.timer.Stop()
	sd.report.Stop()
	for w := range e.waiters {
		e.release(w)
	}
	e.record("", 0, "abide", fmt.Sprintf("ended with code %d", sd.code), map[string]string{"exit_code": fmt.Sprint(sd.code)})
	if err := e.ports.Logs.Close(); err != nil {
		e.ports.Console.Say(fmt.Sprintf("Cannot finish the logs: %v", err))
	}
	// The next abide on this run directory starts anew; only wishes outlive us. An
	// engine that this keeper starts meanwhile has to end as we do.
	for s := range e.everyRun {
		e.ports.Snapshot.Delete(pastName(s.name))
		e.ports.Snapshot.Delete(s.slot)
	}
	e.ports.Snapshot.Delete(bootPage)
	e.ports.Snapshot.Delete(runlevelPage)
	e.putOwn(shutdownPage, sd.encode(true))
	e.code = sd.code
}

// lookAtAll decides what concerns no single service: the end of an essential
// one, a project in which nothing is wanted any more, the end of a shutdown.
func (e *Engine) lookAtAll() {
	if e.beginning {
		return
	}
	if e.stopping != nil {
		e.finishIfIdle()
		return
	}
	switch e.opts.Mode {
	case ModeUp:
		if e.idle() {
			code := 0
			for _, s := range e.services {
				if s.st.Phase == core.Failed || s.st.Phase == core.Waiting {
					code = 1
				}
			}
			e.Shutdown(code, "nothing is wanted any more")
		}
	}
}

// idle tells whether nothing runs and nothing will by itself.
func (e *Engine) idle() bool {
	var waiting []*service
	for _, s := range e.services {
		switch {
		case s.st.AtRest():
		case s.st.Phase != core.Waiting || s.waitsForCondition():
			return false // a condition may come to hold by what others do
		default:
			waiting = append(waiting, s)
		}
	}
	for _, s := range waiting {
		if e.hopeless(s) == "" {
			return false
		}
	}
	return true
}

// watchEssential ends abide when an essential service has ended for good, or, if
// asked, at the first failure of any.
func (e *Engine) watchEssential(s *service) {
	if e.stopping != nil || s.def == nil || s.info.Last.Run == 0 && s.fault == "" || !s.st.AtRest() {
		return
	}
	if s.wish.Stopped {
		return
	}
	switch {
	case s.def.Essential:
		e.Shutdown(e.endCode(s), fmt.Sprintf("the essential service %s has ended (%s)", s.name, e.endText(s)))
	case e.opts.ExitOnFailure && s.st.Phase == core.Failed:
		e.Shutdown(e.endCode(s), fmt.Sprintf("%s failed (%s)", s.name, e.endText(s)))
	}
}

// notStarted is the exit code for a service that could not be started for a reason
// of ours. A program at fault has its own, see Program.ExitCode.
const notStarted = 125

func (e *Engine) endCode(s *service) int {
	switch {
	case s.fault != "" && s.refusal != 0:
		return s.refusal
	case s.fault != "":
		return notStarted
	}
	return exitCode(s.info.Last)
}

func (e *Engine) endText(s *service) string {
	if s.fault != "" {
		return s.fault
	}
	return exitText(s.info.Last)
}

// Signaled is a signal that the keeper got from outside, and how often it has got
// it since its start. Each engine is told until a signal is dealt with, so one that
// asked for the shutdown under way comes again.
func (e *Engine) Signaled(signo int, count uint32) {
	for i, known := range shutdownSignals {
		if known == signo && e.meansShutdown(signo) {
			fresh := count - e.signals[i]
			e.signals[i] = count
			for range min(fresh, 2) {
				e.Shutdown(0, "got "+model.SignalName(signo))
			}
			return
		}
	}
	switch {
	case signo == sigHUP:
		// On record, so that a change is not forgotten half way.
		r := e.ask(control.Request{Verb: control.Apply, Who: control.Who{UID: e.uid, PID: e.opts.KeeperPid}})
		for _, o := range r.whole {
			if o.Code != "" {
				e.ports.Console.Say(o.Message)
			}
		}
	case e.opts.Mode == ModeInit:
		for _, s := range e.services {
			if s.def != nil && s.def.Essential && s.lives() {
				_ = e.ports.Keeper.Signal(s.slot, s.st.Run, signo, ToMain)
			}
		}
	}
}

func (e *Engine) meansShutdown(signo int) bool {
	switch signo {
	case sigTERM, sigINT:
		return true
	case sigHUP:
		return e.opts.Mode == ModeUp
	}
	return e.opts.Mode == ModeInit
}
