package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/notify"
)

// mainChange is a process that the keeper was asked to make the main process of a
// run.
type mainChange struct {
	run     uint64 // 0: none was
	pid     int
	start   uint64
	guessed bool
	exit    *Exit // of the main process before, which was only a step on the way
}

// A forking program's starter ends, and the keeper keeps its exit until the main
// process is known, or it is known that there is none. An engine that dies meanwhile
// leaves the next one that exit, with which everything begins anew.

// starterEnded takes the end of a starter, told for the first time or again. It is
// not the run's.
func (e *Engine) starterEnded(s *service, x Exit, last lastExit) bool {
	end := classify(s.def, last, &s.st)
	switch {
	case s.st.Phase == core.Finding:
		s.starter = last
		if s.mainAsked.run != x.Run {
			e.findMain(s, x.Run)
		}
		return true
	case !s.st.LeavesMain(&s.cfg, end):
		return false
	}
	s.starter = last
	e.record(s.name, x.Run, "exit", "its starter "+exitText(last), exitFields(last, x))
	e.feed(s, core.Event{Kind: core.EvExited, Run: x.Run, End: end, At: core.Time(x.Boot)})
	return true
}

// findMain looks for the main process that a starter has left behind: the one that it
// named, the one of its pid file, or the only one that nobody else of the run started.
func (e *Engine) findMain(s *service, run uint64) {
	if pid := e.told(s).MainPid; pid != 0 {
		if e.changeMain(s, mainChange{run: run, pid: pid}) == nil {
			return
		}
	}
	if s.def.PidFile != "" {
		e.watchPidFile(s, run)
		return
	}
	e.guessMain(s, run)
}

// finding tells whether the main process of this run is still looked for.
func (s *service) finding(run uint64) bool {
	return s.st.Phase == core.Finding && s.st.Run == run && s.mainAsked.run != run
}

// unfound ends the search.
func (e *Engine) unfound(s *service, run uint64, why string) {
	s.fault = fmt.Sprintf("cannot find the main process of %s: %s", s.name, why)
	e.record(s.name, run, "state", s.fault, nil)
	e.feed(s, core.Event{Kind: core.EvMain, Run: run})
}

// watchPidFile reads the pid file now and whenever it changes, until the core's time
// for the search is over. A number that an earlier run has left there is none of this
// run's.
func (e *Engine) watchPidFile(s *service, run uint64) {
	e.endSearch(s)
	stop, err := e.ports.Paths.Watch(s.def.PidFile, func() { e.readPidFile(s, run) })
	if err != nil {
		e.unfound(s, run, err.Error())
		return
	}
	s.endSearch = stop
	e.readPidFile(s, run)
}

func (e *Engine) readPidFile(s *service, run uint64) {
	if !s.finding(run) {
		return
	}
	path := s.def.PidFile
	e.aside(func() {
		pid, err := e.ports.Processes.PidIn(path)
		e.Post(func() {
			if !s.finding(run) {
				return
			}
			if err == nil {
				err = e.changeMain(s, mainChange{run: run, pid: pid})
			}
			if err != nil {
				s.fault = fmt.Sprintf("cannot find the main process of %s: %v", s.name, err)
			}
		})
	})
}

// settleTime is how long a program has to end the processes that only stood between
// its starter and its main process.
const settleTime = 2 * time.Second

// guessMain takes the one process that no other of the run has started. While there
// are several, some of them may be about to end.
func (e *Engine) guessMain(s *service, run uint64) {
	if !s.finding(run) {
		return
	}
	roots := e.roots(s, 0)
	switch {
	case len(roots) == 1 && e.changeMain(s, mainChange{run: run, pid: roots[0].pid, guessed: true}) == nil:
		return
	case len(roots) <= 1:
		e.unfound(s, run, "nothing of it is left")
		return
	}
	e.endSearch(s)
	ctx, stop := context.WithTimeout(context.Background(), settleTime)
	s.endSearch = stop
	pids := make([]int, len(roots))
	for i, r := range roots {
		pids[i] = r.pid
	}
	e.aside(func() {
		ended := e.ports.Processes.AwaitAny(ctx, pids)
		e.Post(func() {
			defer stop()
			switch {
			case !s.finding(run):
			case ended:
				e.guessMain(s, run)
			default:
				e.unfound(s, run, fmt.Sprintf("%s are left; name a pid_file, or have it sent as MAINPID=", candidates(roots)))
			}
		})
	})
}

// root is a process of a run that no other one of the run has started.
type root struct {
	pid  int
	comm string
}

func candidates(roots []root) string {
	var list []string
	for _, r := range roots[:min(len(roots), 8)] {
		list = append(list, fmt.Sprintf("%d (%s)", r.pid, notify.Clean(r.comm)))
	}
	return strings.Join(list, ", ")
}

func (e *Engine) roots(s *service, except int) (roots []root) {
	if s.group == nil {
		return nil
	}
	members := s.group.Members()
	for _, pid := range members {
		p, err := e.ports.Processes.Look(pid)
		if err == nil && !p.Ended && pid != except && (p.Parent == except || !slices.Contains(members, p.Parent)) {
			roots = append(roots, root{pid, p.Comm})
		}
	}
	return roots
}

// changeMain asks the keeper to make a process of the run its main process. A pid
// says nothing unless it is one of the run's.
func (e *Engine) changeMain(s *service, m mainChange) error {
	p, err := e.ports.Processes.Look(m.pid)
	if err != nil || p.Ended {
		return fmt.Errorf("there is no process %d", m.pid)
	}
	name, run, _ := e.ports.Groups.Owner(m.pid)
	if name != s.name || run != m.run {
		return fmt.Errorf("process %d (%s) is none of %s", m.pid, notify.Clean(p.Comm), s.name)
	}
	// It was looked at by number: it must have been the same process all the time.
	if again, err := e.ports.Processes.Look(m.pid); err != nil || again.Start != p.Start {
		return fmt.Errorf("there is no process %d", m.pid)
	}
	m.start = p.Start
	if t := e.told(s); t.Guessed != m.guessed {
		t.Guessed = m.guessed
		e.keepTold(s)
	}
	if err := e.ports.Keeper.Main(s.slot, m.run, m.pid, m.start); err != nil {
		return err
	}
	s.mainAsked = m
	return nil
}

// noticeMain takes what a run says of its main process.
func (e *Engine) noticeMain(s *service, d *notify.Datagram, m *notify.Message) {
	pid := m.MainPid
	if m.MainPidfd && pid == 0 && len(d.FDs) > 0 {
		pid = e.ports.Processes.PidOf(d.FDs[0])
	}
	if pid == 0 {
		return
	}
	if pid == int(s.info.Pid) && s.st.Live() {
		e.told(s).MainPid = pid
		e.feed(s, core.Event{Kind: core.EvMain, Run: s.st.Run, OK: true})
		return
	}
	err := fmt.Errorf("its descriptor is of another process")
	if m.MainPidfdID == 0 || e.ports.Processes.IsPidfd(pid, m.MainPidfdID) {
		err = e.changeMain(s, mainChange{run: s.st.Run, pid: pid})
	}
	if err != nil {
		e.ignore(s, fmt.Sprintf("MAINPID=%d is passed over: %v", pid, err))
		return
	}
	e.told(s).MainPid = pid
}

// resumeMain goes on with a change of main process that an engine before us asked
// for: the keeper has carried it out, or has died before.
func (e *Engine) resumeMain(s *service) {
	if !s.adopted || !s.st.Up() || !listens(s.def) {
		return
	}
	switch pid := e.told(s).MainPid; {
	case pid == 0:
	case pid == int(s.info.Pid):
		e.feed(s, core.Event{Kind: core.EvMain, Run: s.st.Run, OK: true})
	default:
		_ = e.changeMain(s, mainChange{run: s.st.Run, pid: pid})
	}
}

// mainTaken is the keeper's answer: it is the main process from now on.
func (e *Engine) mainTaken(s *service, pid int, start uint64) {
	m := s.mainAsked
	s.mainAsked = mainChange{}
	e.endSearch(s)
	if !ofRun(s.st) {
		return // it is being ended with the rest
	}
	s.fault = ""
	s.info.Pid, s.info.StartTime = int32(pid), start
	if s.group != nil {
		s.group.SetMain(pid, start)
	}
	e.record(s.name, m.run, "spawn", fmt.Sprintf("its main process is %d", pid), nil)
	e.feed(s, core.Event{Kind: core.EvMain, Run: m.run, OK: true})
}

// mainRefused is the other answer.
func (e *Engine) mainRefused(s *service, reason string) {
	m := s.mainAsked
	s.mainAsked = mainChange{}
	switch {
	case m.exit != nil:
		e.told(s).Guessed = false
		e.Exited(*m.exit)
	case s.finding(m.run) && m.guessed:
		// It has ended since it was looked at.
		e.guessMain(s, m.run)
	case s.finding(m.run):
		s.fault = fmt.Sprintf("cannot make process %d the main process of %s: %s", m.pid, s.name, reason)
		if s.def.PidFile == "" {
			e.guessMain(s, m.run)
		} else if s.endSearch == nil {
			e.watchPidFile(s, m.run)
		}
	default:
		e.ignore(s, fmt.Sprintf("process %d is not made the main process: %s", m.pid, reason))
	}
}

// goesOn tells whether the end of a main process that nobody named was only one more
// step of a program on its way into the background: then what is left of the run is
// the main process, and the end is not the run's.
func (e *Engine) goesOn(s *service, x Exit) bool {
	if s.def.Kind != model.Forking || !s.st.Up() || !x.Known || x.Status != 0 || !e.told(s).Guessed {
		return false
	}
	roots := e.roots(s, x.Pid)
	return len(roots) == 1 && e.changeMain(s, mainChange{run: x.Run, pid: roots[0].pid, guessed: true, exit: &x}) == nil
}

// endSearch lets go of what a search for a main process waits for.
func (e *Engine) endSearch(s *service) {
	if s.endSearch != nil {
		s.endSearch()
		s.endSearch = nil
	}
}
