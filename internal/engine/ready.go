package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// A readying is the wait for the sign by which the definition of a service says that
// a run is ready. It follows from the state: look begins and ends it, so a new engine
// goes on with it without being told. What the sign is judged by outlives the engine:
// the newline stays in its pipe, the line in its log, and how the file was before the
// run is on the page.
type readying struct {
	run    uint64
	def    *model.Service
	mark   uint64   // how the file was before the run began, see Paths.Mark
	pipe   int      // read end of the run's pipe until the keeper has it, -1: none
	cancel []func() // of what listens
	next   *wake    // the next try
	asking bool     // a try is under way
	pause  time.Duration
	no     string // what the last try said
	over   bool
}

// What is asked again and again until it is answered is asked at once and then after
// a pause that grows: most programs are ready soon, and some take minutes.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond
	askTimeout = 5 * time.Second // of one try
)

// readiesItself tells whether the sign is found here. sd_notify's is heard elsewhere.
func readiesItself(def *model.Service) bool {
	return def != nil && def.Ready.Signed() && !def.Ready.Notify
}

// lookAtReadiness begins and ends the wait for the sign.
func (e *Engine) lookAtReadiness(s *service) {
	st := &s.st
	wanted := false
	switch st.Phase {
	case core.Spawning:
		wanted = s.readying != nil // made by spawn
	case core.Starting, core.Finding:
		wanted = readiesItself(s.def) && !st.Signed
	}
	if r := s.readying; r != nil && (!wanted || r.run != st.Run || r.def != s.def) {
		e.endReadying(s)
	}
	if wanted && s.readying == nil {
		e.beginReadying(s)
	}
	if r := s.readying; r != nil && st.Phase != core.Spawning {
		e.tryAgain(s, r, 0)
	}
}

// prepareReady makes what must be there before a run begins.
func (e *Engine) prepareReady(s *service, run uint64, context *RunContext) error {
	if s.readying != nil {
		e.endReadying(s)
	}
	if !readiesItself(s.def) {
		return nil
	}
	r := &readying{run: run, def: s.def, pipe: -1}
	s.readying = r
	switch ready := &s.def.Ready; {
	case ready.FD != 0:
		path, fd, err := e.ports.Signs.MakePipe(s.name, run)
		if err != nil {
			return err
		}
		context.Ready, r.pipe = path, fd
	case ready.Log != "":
		return e.awaitLine(s, r, time.Time{})
	case ready.File != "":
		path, err := e.ports.Compiler.Expand(s.def, ready.File, run)
		if err != nil {
			return fmt.Errorf("cannot use ready.file %s: %w", ready.File, err)
		}
		if err := e.awaitFile(s, r, path); err != nil {
			return err
		}
		r.mark = e.ports.Paths.Mark(path)
		e.putOwn(markPage+s.slot, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, run), r.mark))
	}
	return nil
}

// holdReady adds the pipe to what the keeper holds for the run; heldReady listens to
// it once it does.
func (s *service) holdReady(o *Order) {
	if r := s.readying; r != nil && r.run == o.Run && r.pipe >= 0 {
		o.Hold = append(o.Hold, Hold{Tag: HoldReady, FD: r.pipe})
	}
}

func (e *Engine) heldReady(s *service) {
	if r := s.readying; r != nil && r.pipe >= 0 {
		fd := r.pipe
		r.pipe = -1
		e.awaitPipe(s, r, fd)
	}
}

// beginReadying takes up the wait for a run that is under way.
func (e *Engine) beginReadying(s *service) {
	r := &readying{run: s.st.Run, def: s.def, pipe: -1}
	s.readying = r
	var err error
	switch ready := &s.def.Ready; {
	case ready.FD != 0:
		var fd int
		if fd, err = e.ports.Keeper.Take(s.slot, r.run, HoldReady); err != nil {
			fd, err = e.ports.Signs.OpenPipe(s.name, r.run) // the keeper has died as well
		}
		if err == nil {
			e.awaitPipe(s, r, fd)
		}
	case ready.Log != "":
		const before = time.Minute // clocks are set
		err = e.awaitLine(s, r, e.wall().Add(-time.Duration(e.now()-s.st.Began)-before))
	case ready.File != "":
		var path string
		if path, err = e.ports.Compiler.Expand(s.def, ready.File, r.run); err == nil {
			r.mark = e.markBefore(s)
			err = e.awaitFile(s, r, path)
		}
	}
	if err != nil {
		e.say(s, r, fmt.Sprintf("cannot wait for %s: %v", readyText(&s.def.Ready), err))
	}
}

// markPage and the slot name a page of the engine's own while a run is not ready that
// is by a file: its number u64, what the file was before it began u64.
const markPage = "/ready/"

func (e *Engine) markBefore(s *service) uint64 {
	b := ownBody(e.own[markPage+s.slot], 16)
	if b == nil || binary.LittleEndian.Uint64(b) != s.st.Run {
		return 0 // it began elsewhere: what is there now is the sign
	}
	return binary.LittleEndian.Uint64(b[8:])
}

// endReadying stops waiting, whatever came of it.
func (e *Engine) endReadying(s *service) {
	r := s.readying
	s.readying, r.over = nil, true
	e.unwake(r.next)
	for _, f := range r.cancel {
		f()
	}
	if r.asking && r.def.Ready.Exec != nil {
		e.endCheck(s, readyCheck)
	}
	if again := s.st.Run == r.run && s.st.Phase == core.Starting; r.def.Ready.File != "" && !again {
		delete(e.own, markPage+s.slot)
		e.ports.Snapshot.Delete(markPage + s.slot)
	}
	if r.def.Ready.FD != 0 {
		if r.pipe >= 0 {
			// Only what takes descriptors over closes them.
			if stop, err := e.ports.Signs.AwaitPipe(r.pipe, func(bool) {}); err == nil {
				stop()
			}
		}
		e.ports.Signs.RemovePipe(s.name, r.run)
		if s.st.Run == r.run && s.st.Live() {
			// What it writes there from now on nobody reads, and it must not wait for that.
			_ = e.ports.Keeper.DropOne(s.slot, r.run, HoldReady)
		}
	}
	if s.st.Run == r.run && s.st.Cause == core.CauseReady && r.no != "" {
		s.notReady = fmt.Sprintf("it was not ready in %s: %s", r.def.Ready.Timeout, r.no)
		e.record(s.name, r.run, "ready", "not ready: "+r.no, nil)
	}
}

// dropHeard ends the pipe of a run that was ready before the engine that heard it
// could do that.
func (e *Engine) dropHeard(s *service, r Record) {
	if r.Live && s.readying == nil && slices.Contains(r.Tags, Tagged{Run: r.Run, Tag: HoldReady}) {
		_ = e.ports.Keeper.DropOne(s.slot, r.Run, HoldReady)
	}
}

// signed is the sign.
func (e *Engine) signed(s *service, r *readying) {
	if !r.over {
		e.feed(s, core.Event{Kind: core.EvReady, Run: r.run})
	}
}

// say notes for people what the wait has come to.
func (e *Engine) say(s *service, r *readying, text string) {
	r.no = text
	e.record(s.name, r.run, "ready", text, nil)
}

// sayUnlessOver is say of what the end of the run would explain, which may be on its
// way.
func (e *Engine) sayUnlessOver(s *service, r *readying, text string) {
	const patience = 100 * time.Millisecond
	r.next = e.wakeIn(patience, 0, func() {
		r.next = nil
		e.say(s, r, text)
	})
}

func (e *Engine) awaitPipe(s *service, r *readying, fd int) {
	stop, err := e.ports.Signs.AwaitPipe(fd, func(line bool) {
		e.Post(func() {
			switch {
			case r.over:
			case line:
				e.signed(s, r)
			default:
				e.sayUnlessOver(s, r, fmt.Sprintf("descriptor %d was closed without a newline: that it is ready will not be said there any more", r.def.Ready.FD))
			}
		})
	})
	if err != nil {
		e.say(s, r, err.Error())
		return
	}
	r.cancel = append(r.cancel, stop)
}

func (e *Engine) awaitLine(s *service, r *readying, since time.Time) error {
	if !heard(r.def.Log.Stdout) && !heard(r.def.Log.Stderr) {
		return errors.New("ready.log waits for a line, and log sends all output past abide")
	}
	pattern, err := regexp.Compile(r.def.Ready.Log)
	if err != nil {
		return fmt.Errorf("cannot use ready.log: %w", err)
	}
	stop := e.ports.Logs.AwaitLine(s.name, r.run, &s.def.Log, since, pattern.Match, func(string) {
		e.Post(func() { e.signed(s, r) })
	})
	r.cancel = append(r.cancel, stop)
	return nil
}

// heard tells whether output that goes to these places comes by abide.
func heard(targets []model.LogTarget) bool {
	return slices.ContainsFunc(targets, func(t model.LogTarget) bool {
		return t.Kind != model.LogNull && t.Kind != model.LogInherit
	})
}

func (e *Engine) awaitFile(s *service, r *readying, path string) error {
	look := func() {
		if mark := e.ports.Paths.Mark(path); mark != 0 && mark != r.mark && s.st.Phase != core.Spawning {
			e.signed(s, r)
		}
	}
	stop, err := e.ports.Paths.Watch(path, look)
	if err != nil {
		return err
	}
	r.cancel = append(r.cancel, stop)
	// It may be there by the time that somebody looks at us.
	r.next = e.wakeIn(0, 0, func() {
		r.next = nil
		look()
	})
	return nil
}

// tryAgain asks the program after a pause. It does nothing while a try is under way
// or set, and for signs that are told by themselves. A frozen program answers
// nothing.
func (e *Engine) tryAgain(s *service, r *readying, pause time.Duration) {
	ready := &r.def.Ready
	if r.over || ready.TCP == "" && ready.HTTP == "" && ready.Exec == nil {
		return
	}
	if s.st.Paused {
		e.unwake(r.next)
		r.next = nil
		return
	}
	if r.asking || r.next != nil {
		return
	}
	if pause > 0 {
		r.next = e.wakeIn(pause, 0, func() {
			r.next = nil
			e.tryAgain(s, r, 0)
		})
		return
	}
	r.asking = true
	stop := e.probe(s, checkOf{kind: readyCheck, tcp: ready.TCP, http: ready.HTTP, exec: ready.Exec, timeout: askTimeout}, func(no error) {
		r.asking = false
		switch {
		case r.over:
		case no == nil:
			e.signed(s, r)
		default:
			r.no = readyText(ready) + ": " + no.Error()
			r.pause = min(max(2*r.pause, firstPause), lastPause)
			e.tryAgain(s, r, r.pause)
		}
	})
	r.cancel = append(r.cancel[:0], stop)
}

// readyText names the sign as a definition does.
func readyText(r *model.Ready) string {
	switch {
	case r.Notify:
		return "READY=1"
	case r.FD != 0:
		return fmt.Sprintf("a newline on descriptor %d", r.FD)
	case r.TCP != "":
		return "tcp " + r.TCP
	case r.HTTP != "":
		return r.HTTP
	case r.Exec != nil:
		return strings.Join(r.Exec, " ")
	case r.Log != "":
		return "a line that matches " + r.Log
	}
	return "file " + r.File
}

// whyNotReady is what status says while a run is not ready.
func (s *service) whyNotReady() string {
	switch r := s.readying; {
	case s.def == nil || !s.def.Ready.Signed():
		return ""
	case r != nil && r.no != "":
		return "not ready yet: " + r.no
	}
	return "not ready yet: it waits for " + readyText(&s.def.Ready)
}
