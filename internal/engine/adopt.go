package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/abide-project/abide/internal/core"
)

// adopt brings together what a former engine wrote on its pages and what the
// keeper's records say. The keeper is right about processes, the page about
// intentions; every difference between them is an event that was missed, and is
// fed as one, so that recovery is ordinary stepping. Without the records nothing is
// touched: that no process of a service is known would mean that it has none.
func (e *Engine) adopt(pages map[string][]byte) error {
	records, err := e.ports.Keeper.List()
	if err != nil {
		return fmt.Errorf("cannot read the keeper's records: %w", err)
	}
	byName := make(map[string]Record, len(records))
	for _, r := range records {
		byName[r.Name] = r
	}
	e.placePages(pages)
	for name, blob := range e.pastPages {
		if s := e.services[name]; s != nil && s.adopted {
			s.recall(blob)
		}
	}
	e.pastPages = nil
	e.rebuild(byName)
	for _, r := range records {
		e.noteHeld(r)
		if isAux(r.Name) {
			e.adoptAux(r) // before a service that is being stopped orders the next
		}
	}
	for _, r := range records {
		if isAux(r.Name) || e.handing(r.Name) {
			continue
		}
		if s := e.recorded(r, byName); s != nil {
			e.reconcile(s, r)
		}
	}
	for s := range e.everyRun {
		e.countOn(s)
		if _, recorded := byName[s.slot]; !recorded && s.adopted && !e.handing(s.slot) {
			e.reconcile(s, Record{Name: s.slot})
		}
		e.arm(s)
	}
	e.settle()
	e.resumeRolls()
	if len(e.unclaimed) == 0 {
		e.Post(e.claimSome)
	} else {
		// Who waited for an engine is answered first.
		time.AfterFunc(claimLater, func() { e.Post(e.claimSome) })
	}
	return nil
}

// setAside keeps what the keeper knows of a service that nobody defines, until
// somebody does: its run numbers go on, and what lives of it is not started again.
func (e *Engine) setAside(r Record) {
	if r.Live {
		e.record(r.Name, r.Run, "state", fmt.Sprintf("process %d runs and nothing defines this service: it is left alone", r.Pid), nil)
	}
	e.undefined[r.Name] = r
}

// takeUp gives a service that has just been defined what was set aside of it.
func (e *Engine) takeUp(s *service) {
	defer e.countOn(s)
	r, waits := e.undefined[s.name]
	if !waits {
		if r, waits = e.undefined[s.otherSlot()]; !waits {
			return
		}
		s.slot = r.Name
	}
	delete(e.undefined, s.slot)
	if blob := e.ports.Snapshot.All()[s.slot]; blob != nil {
		if st, kept, err := readPage(blob); err == nil {
			kept.Gone = false
			s.st, s.info, s.adopted = st, kept, true
			s.recall(e.ports.Snapshot.All()[pastName(s.name)])
		}
	}
	// What was missed is no part of the request that may have defined it.
	request := e.request
	e.request = 0
	s.taking = true
	e.reconcile(s, r)
	s.taking = false
	e.request = request
	e.obey(s)
	e.deps.wiring.stale[s.name] = true
	e.deps.dirty = true
}

// known returns a service by name, also one whose definition is gone while a
// process of it may live: then with what was applied when it started.
func (e *Engine) known(name string) *service {
	if s := e.services[name]; s != nil {
		return s
	}
	if def := e.runDefinition(name); def != nil {
		s := e.add(name, def)
		s.transient = true
		return s
	}
	def := e.ports.Definitions.Applied()[name]
	if def == nil {
		return nil
	}
	s := e.add(name, def)
	s.transient = len(def.Files) == 0
	return s
}

func (e *Engine) reconcile(s *service, r Record) {
	if e.halfReleased(s, r) {
		return
	}
	ended := r.Exited && r.Run > s.info.Last.Run
	if s.adopted && s.info.Roll == rollNone && (ended || !r.Live) && (s.node != nil || s.def != nil && hasNeeds(&s.def.Needs)) {
		// Whether it may start again follows from what became of others.
		e.orderEvent(s, core.Event{Kind: core.EvHold})
	}
	switch {
	case r.Live || ended && r.Run > s.st.Run:
		s.adopted = true
		e.takeOver(s, r)
		e.feed(s, core.Event{Kind: core.EvAdopted, Run: r.Run, At: core.Time(r.Began)})
	case ended:
		e.takeOver(s, r)
	case s.adopted:
		if s.st.Phase == core.Cleaning || ofRun(s.st) {
			// The record is gone or of an earlier run: the page says whose leftovers
			// there may be.
			e.takeOver(s, Record{Name: s.name, Run: s.st.Run, Pid: int(s.info.Pid), StartTime: s.info.StartTime})
		}
		if s.st.Live() {
			e.record(s.name, s.st.Run, "state", "the keeper has no record of this run: its end was not seen", nil)
			s.info.Last = lastExit{Run: s.st.Run, At: e.wall().UnixNano()}
		}
		e.feed(s, core.Event{Kind: core.EvLost, Run: max(r.Run, s.st.Run), Unsure: e.opts.RecordsLost && !s.settled && s.lives()})
	default:
		// Nothing was written of it here, but its run numbers go on.
		s.st.Run = max(s.st.Run, r.Run)
		s.info.Last.Run = max(s.info.Last.Run, r.Run)
	}
	e.settle()
	e.dropHeard(s, r)
	if e.endedUnheard(r, ended) {
		e.ports.Logs.Note(s.name, r.Run, lastWordsLost)
	}
	if ended {
		e.Exited(r.Exit)
		e.settle()
	}
	switch step := int(s.st.StopStep); {
	case s.st.Phase != core.Stopping:
	case s.st.Cause == core.CauseWatchdog:
		if !s.st.Killed && r.Live && r.Run == s.st.Run {
			e.abort(s, r.Run)
		}
	case int(s.info.SentStep) <= step:
		e.signalStep(s, s.st.Run, step)
	case r.Live && r.Run == s.st.Run && s.def != nil && s.def.Stop.Command == nil && !s.def.Stop.ToAll && step < len(s.def.Stop.Steps):
		// A keeper that was killed may not have read what it was asked for. What one
		// has done it does not do again.
		e.sendStep(s, s.st.Run, step)
	}
}

// noteHeld remembers which ended runs the keeper still holds pipes of: the engine
// that was to say that they are read died before it could.
func (e *Engine) noteHeld(r Record) {
	for i, run := range r.Held {
		if run != 0 && !(r.Live && run == r.Run) && !slices.Contains(r.Held[:i], run) {
			e.unread = append(e.unread, heldRun{r.Name, run})
		}
	}
}

type heldRun struct {
	name string
	run  uint64
}

const lastWordsLost = "it ended while nothing of abide lived: what it had written and nobody had read may be lost here"

// takeOver finds the log pipes and the group of a run that another engine began.
// For a run that is as it should be that can wait: what a thousand of them need
// takes longer than anything else of the way back to being in charge.
func (e *Engine) takeOver(s *service, r Record) {
	// A program whose pipe ends with its last reader must not depend on the keeper's
	// copy alone for longer than need be.
	calm := r.Live && s.st.Run == r.Run && s.st.Phase == core.Running && !s.def.Log.PipeWrite
	s.info.Pid, s.info.StartTime = int32(r.Pid), r.StartTime
	s.claim, s.outside = r.Run, r.Live && !slices.Contains(r.Held, r.Run)
	s.heard = slices.Contains(r.Tags, Tagged{Run: r.Run, Tag: HoldNotify})
	s.deaf = r.Live && !s.heard && listens(s.def)
	if calm {
		e.unclaimed = append(e.unclaimed, s)
		return
	}
	e.claim(s)
}

// claim does what takeOver put off.
func (e *Engine) claim(s *service) {
	run := s.claim
	if run == 0 {
		return
	}
	s.claim = 0
	err := e.ports.Logs.Adopt(s.name, run, int(s.info.UID), int(s.info.GID), &s.def.Log)
	if err != nil && !(s.outside && e.writesElsewhere(s)) {
		e.record(s.name, run, "log", fmt.Sprintf("cannot take over the output: %v", err), nil)
	}
	e.takeNotices(s, run)
	group, err := e.ports.Groups.Adopt(s.name, run, int(s.info.Pid), s.info.StartTime)
	if err != nil {
		e.record(s.name, run, "state", fmt.Sprintf("cannot take over the process group: %v", err), nil)
		return
	}
	s.group, s.groupRun = group, run
}

// claimLater is how long runs wait that are as they should be. A program that writes
// all the time waits for its pipe that long.
const claimLater = 25 * time.Millisecond

// claimSome takes over some of the runs that can wait and goes on with the rest
// when whatever came in meanwhile is done.
func (e *Engine) claimSome() {
	const some = 16
	n := min(some, len(e.unclaimed))
	for _, s := range e.unclaimed[:n] {
		e.claim(s)
	}
	if e.unclaimed = e.unclaimed[n:]; len(e.unclaimed) > 0 {
		e.Post(e.claimSome)
		return
	}
	e.unclaimed = nil
	e.ports.Logs.Sweep()
	e.ports.Notices.Sweep(e.mayListen)
	for _, h := range e.unread {
		e.endLog(h.name, h.run)
	}
	e.unread = nil
}

// claimAll is for who needs every log at once.
func (e *Engine) claimAll() {
	for _, s := range e.unclaimed {
		e.claim(s)
	}
	e.unclaimed = e.unclaimed[:0]
}
