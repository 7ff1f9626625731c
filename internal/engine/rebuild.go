package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/core"
)

// Past is what can be learnt of runs that the keeper has no record of, because its
// records were damaged or destroyed. The page of a service is asked before it.
type Past interface {
	// Mirror is what lived when the mirror of this boot was written, at most a second
	// before its writer died; empty when there is no such mirror.
	Mirror() map[string]PastRun
	// Alive tells whether a process is still the one that was recorded.
	Alive(PastRun) bool
	// Traces tells, without looking at processes, whether something ran in this boot.
	Traces() bool
	// Survey looks at every process for those of the named services. It is slow.
	Survey(names []string) Survey
}

// PastRun is the main process of a run.
type PastRun struct {
	Run   uint64
	Pid   int
	Start uint64 // field 22 of /proc/PID/stat
	Inode uint64 // of its pidfd; 0: not known
}

// Survey is what a look at all processes found.
type Survey struct {
	// Found are the processes that show which run they came from, by service.
	Found map[string][]FoundProcess
	// Hidden are the processes that could not be looked into and may be a main
	// process.
	Hidden []HiddenProcess
	Err    error // why it may have missed some
}

// FoundProcess is one process of a run.
type FoundProcess struct {
	PastRun
	Comm   string
	Leader bool   // of its session
	Mark   string // what shows its run
}

// HiddenProcess cannot be looked into.
type HiddenProcess struct {
	Pid  int
	Comm string
	// May says whether it could be a main process that runs as this user; of a
	// service of root's it could be any.
	May func(uid int) bool
}

// verdict is what is certain about an unrecorded run.
type verdict uint8

const (
	nothingLives verdict = iota
	itLives              // run names its main process
	notCertain
)

type judgement struct {
	verdict verdict
	run     PastRun
	how     string // it lives: what says so
	why     string // not certain: what stands against it
	pids    []int  // not certain: the processes it may be
}

// rebuilding is one engine's work on what the keeper does not know.
type rebuilding struct {
	e      *Engine
	known  map[string]Record // of the keeper, and what was decided here
	mirror map[string]PastRun
	lost   bool // any run may be unrecorded, not only those that pages name
	survey *Survey

	byPage, found, unsure int // services, for the report
}

// rebuild decides about every service whose run the keeper may have lost: what
// certainly lives is handed to it, what certainly does not is left to the ordinary
// way, and where nothing is certain the service waits. It must come after the
// pages are read and before anything is stepped.
func (e *Engine) rebuild(records map[string]Record) {
	if e.ports.Past == nil {
		return
	}
	r := &rebuilding{e: e, known: records, mirror: e.ports.Past.Mirror()}
	r.lost = e.opts.RecordsLost && (len(r.mirror) > 0 || e.anyPage() || e.ports.Past.Traces())
	for slot := range r.mirror {
		e.known(serviceOf(slot))
	}
	for _, name := range sortedKeys(e.services) {
		s := e.services[name]
		record, recorded := records[s.slot]
		if !r.mayBeLost(s, record, recorded) {
			continue
		}
		if j, decided := r.judge(s); decided {
			r.carryOut(s, j)
		}
	}
	r.report()
}

func (e *Engine) anyPage() bool {
	for _, s := range e.services {
		if s.adopted {
			return true
		}
	}
	return false
}

// mayBeLost tells whether the keeper may not know a run of the service.
func (r *rebuilding) mayBeLost(s *service, record Record, recorded bool) bool {
	if !recorded {
		_, mirrored := r.mirror[s.slot]
		return r.lost || mirrored || s.st.Live()
	}
	return !record.Live && s.st.Live() && record.Run < s.st.Run
}

// judge asks the witnesses in order, the most certain first. decided is false
// when nothing hints at a run.
func (r *rebuilding) judge(s *service) (j judgement, decided bool) {
	past := r.e.ports.Past
	mirrored, inMirror := r.mirror[s.slot]
	switch {
	case s.adopted && s.st.Live() && s.info.Pid != 0:
		run := PastRun{Run: s.st.Run, Pid: int(s.info.Pid), Start: s.info.StartTime}
		if past.Alive(run) {
			r.byPage++
			return judgement{verdict: itLives, run: run, how: "its page in engine.state"}, true
		}
		return judgement{}, true
	case s.adopted && s.st.Phase != core.Spawning:
		return judgement{}, true // the page says that no main process lives
	case inMirror && mirrored.Run >= s.st.Run && past.Alive(mirrored):
		r.found++
		return judgement{verdict: itLives, run: mirrored, how: "the mirror in the state folder"}, true
	case !r.lost:
		return judgement{}, false
	}
	return r.judgeByProcesses(s), true
}

// judgeByProcesses looks for the processes of a service of which nothing is
// written.
func (r *rebuilding) judgeByProcesses(s *service) judgement {
	if r.survey == nil {
		names := append(sortedKeys(r.e.services), sortedKeys(r.mirror)...)
		slices.Sort(names)
		all := r.e.ports.Past.Survey(slices.Compact(names))
		r.survey = &all
	}
	found := r.survey.Found[s.name]
	if len(found) == 0 {
		return r.judgeUnseen(s)
	}
	// A run begins when nothing of the one before is left, unless that was let
	// live: the last one counts.
	last := found[0].Run
	for _, p := range found {
		last = max(last, p.Run)
	}
	oldest := -1
	var pids []int
	var words []string
	for i, p := range found {
		if p.Run != last {
			continue
		}
		pids = append(pids, p.Pid)
		words = append(words, fmt.Sprintf("%d (%s)", p.Pid, p.Comm))
		if oldest < 0 || p.Start < found[oldest].Start || p.Start == found[oldest].Start && p.Leader && !found[oldest].Leader {
			oldest = i
		}
	}
	if main := found[oldest]; main.Leader {
		r.found++
		return judgement{verdict: itLives, run: main.PastRun, how: "the processes, by " + main.Mark}
	}
	return judgement{verdict: notCertain, run: PastRun{Run: last}, pids: pids,
		why: fmt.Sprintf("of run %d %s lives, and which is its main process cannot be told", last, strings.Join(words, ", "))}
}

// judgeUnseen is about a service of which no process was found: is it certain
// that there is none?
func (r *rebuilding) judgeUnseen(s *service) judgement {
	if r.survey.Err != nil {
		return judgement{verdict: notCertain, why: r.survey.Err.Error()}
	}
	uid, _, err := r.e.ports.Compiler.Account(s.def)
	if err != nil {
		return judgement{} // nobody could have started it
	}
	var pids []int
	var words []string
	for _, p := range r.survey.Hidden {
		if p.May(uid) {
			pids = append(pids, p.Pid)
			words = append(words, fmt.Sprintf("%d (%s)", p.Pid, p.Comm))
		}
	}
	if len(pids) == 0 {
		return judgement{}
	}
	const named = 8
	if len(words) > named {
		words = append(words[:named], fmt.Sprintf("%d others", len(words)-named))
	}
	return judgement{verdict: notCertain, pids: pids,
		why: fmt.Sprintf("abide may not look into %s, any of which may be it", strings.Join(words, ", "))}
}

// carryOut does what follows from a judgement.
func (r *rebuilding) carryOut(s *service, j judgement) {
	e := r.e
	switch j.verdict {
	case nothingLives:
		s.settled = true
		if s.st.Live() {
			// Its main process has ended unseen; what it left is still to be ended.
			e.takeOver(s, Record{Name: s.name, Run: s.st.Run, Pid: int(s.info.Pid), StartTime: s.info.StartTime})
			e.ports.Logs.Note(s.name, s.st.Run, lastWordsLost)
			e.Exited(Exit{Name: s.slot, Run: s.st.Run, Pid: int(s.info.Pid), At: e.wall(), Boot: e.ports.Clock.Boot(), ExecOp: -1})
			e.settle()
			// That was all: what followed from it is no run that was lost.
			r.known[s.slot] = Record{Name: s.slot, Run: s.st.Run}
		}
	case itLives:
		s.adopted, s.settled, s.handed = true, true, j.run
		e.record(s.name, j.run.Run, "state", fmt.Sprintf("the keeper's record of it is lost; by %s it lives as pid %d: taken over", j.how, j.run.Pid), nil)
		const tick = 1_000_000_000 / 100 // of a start time, USER_HZ
		e.reconcile(s, Record{
			Name: s.name, Run: j.run.Run, Live: true, Pid: j.run.Pid, StartTime: j.run.Start, Began: int64(j.run.Start) * tick,
		})
		if err := e.ports.Keeper.Adopt(s.slot, j.run.Run, j.run.Pid, j.run.Start); err != nil {
			e.handingRefused(s, j.run.Run, err.Error())
		}
	case notCertain:
		r.unsure++
		s.adopted, s.settled = true, true
		e.unsure(s, j.run.Run, j.why, j.pids)
	}
}

// unsure makes a service wait because a run of it may live.
func (e *Engine) unsure(s *service, run uint64, why string, pids []int) {
	advice := fmt.Sprintf("`abide clear %s` once nothing of it runs", s.name)
	if len(pids) > 0 {
		advice = fmt.Sprintf("`abide adopt PID --as %s` takes one over; or end them, then `abide clear %s`", s.name, s.name)
	}
	if !s.st.Live() {
		// What is not known is whether a run was in the making.
		s.st.Phase, s.st.Wanted = core.Spawning, s.st.Wanted || e.wantedAtBoot(s)
	}
	s.st.Run = max(s.st.Run, run)
	s.fault, s.hint = why+"; "+advice, advice
	e.record(s.name, s.st.Run, "state", "the records are lost and "+why+": waiting, since a second copy must not be", nil)
	e.ports.Console.Say(join(s.name, "not started, a run of it may live: "+s.fault))
	e.feed(s, core.Event{Kind: core.EvLost, Run: s.st.Run, Unsure: true})
	e.settle()
}

// handing tells whether the keeper was asked to take over a run of the service that
// it had no record of, and has not answered.
func (e *Engine) handing(name string) bool {
	s := e.inSlot(name)
	return s != nil && s.handed.Pid != 0
}

// handingRefused is the keeper's refusal to take over a run that was found.
func (e *Engine) handingRefused(s *service, run uint64, reason string) {
	handed := s.handed
	s.handed = PastRun{}
	if s.st.Run != run || !s.st.Live() {
		return
	}
	if !e.ports.Past.Alive(handed) {
		e.Exited(Exit{Name: s.slot, Run: run, Pid: handed.Pid, At: e.wall(), Boot: e.ports.Clock.Boot(), ExecOp: -1})
		return
	}
	e.unsure(s, run, fmt.Sprintf("the keeper does not take over pid %d: %s", handed.Pid, reason), []int{handed.Pid})
}

// report says in one line what became of lost records.
func (r *rebuilding) report() {
	if r.byPage+r.found+r.unsure == 0 {
		return
	}
	text := fmt.Sprintf("Records were lost: %d running services taken over by their pages, %d by the mirror or the processes themselves, %d wait because nothing is certain",
		r.byPage, r.found, r.unsure)
	r.e.record("", 0, "abide", text, nil)
	r.e.ports.Console.Say(text)
}

// endedUnheard tells whether a run ended while nobody had its pipes open. One that
// the keeper has as living may have ended already: a new keeper is told a moment
// later.
func (e *Engine) endedUnheard(r Record, ended bool) bool {
	switch {
	case e.opts.Follows || slices.Contains(r.Held, r.Run):
		return false
	case ended:
		return !r.Exit.Known
	}
	return r.Live && e.ports.Past != nil && !e.ports.Past.Alive(PastRun{Run: r.Run, Pid: r.Pid, Start: r.StartTime})
}

// mirror passes on which process a service has now, when that changed.
func (e *Engine) mirror(s *service) {
	now := PastRun{Run: s.st.Run, Pid: int(s.info.Pid), Start: s.info.StartTime}
	if e.ports.Mirror == nil || now == s.mirrored || now.Pid == 0 && s.mirrored.Pid == 0 {
		return
	}
	s.mirrored = now
	e.ports.Mirror.Set(s.slot, now.Run, now.Pid, now.Start)
}

// MainPid is the pid of a service's main process as far as it is known, 0 if none
// is. It is for the ports, while the engine calls them.
func (e *Engine) MainPid(name string) int {
	if s := e.services[name]; s != nil {
		return int(s.info.Pid)
	}
	return 0
}

// StoreApplied stores what is applied once more, after its file was lost. It is to
// be called in the loop.
func (e *Engine) StoreApplied() { e.writeApplied() }

// Note says something about abide itself, from any goroutine: on its standard
// error, in the history, and in its description until a later note of the same
// kind replaces it.
func (e *Engine) Note(kind, text string) {
	e.Post(func() {
		if e.notes == nil {
			e.notes = map[string]string{}
		}
		old, said := e.notes[kind]
		e.notes[kind] = text
		at := slices.Index(e.opts.Notes, old)
		if said && at >= 0 {
			e.opts.Notes[at] = text
		} else {
			e.opts.Notes = append(slices.Clip(e.opts.Notes), text)
		}
		e.record("", 0, "abide", text, nil)
		e.ports.Console.Say(text)
	})
}
