//go:build abide_sim && linux

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/sim/kernel"
)

// quietTime is how long everything may take to come right once the faults stop:
// above every delay and time limit that a definition of ours can have.
const quietTime = 20 * time.Minute

// settle stops the faults, waits, and looks whether all is as it should be.
func (w *world) settle() {
	w.note("the faults stop")
	w.calm, w.k.FullDisk = true, false
	if w.hung != nil {
		// A hung engine is replaced when it owes an answer; nobody asks it now.
		w.k.Exit(w.hung, 9)
		w.hung = nil
	}
	w.someoneStarts()
	w.run(int64(quietTime))
	if w.failed == "" {
		w.check()
		w.counts.Quiets++
	}
	w.calm = false
}

// run lets the world go on for a time.
func (w *world) run(ns int64) {
	end := w.s.Monotonic() + ns
	over := false
	w.s.At(end, func() { over = true })
	moment, still := w.s.Monotonic(), 0
	for w.failed == "" && !over {
		if !w.s.Step() {
			w.violation("nothing will ever happen again")
		}
		w.steps++
		if now := w.s.Monotonic(); now != moment {
			moment, still = now, 0
		} else if still++; still > 50_000 {
			w.violation("the world does not come to rest")
		}
	}
}

// check looks at a world in which nothing has gone wrong for a while.
func (w *world) check() {
	if w.keeper == nil || w.eng == nil || !w.ready {
		w.violation("abide does not come back: keeper %v, engine %v, ready %v", w.keeper != nil, w.eng != nil, w.ready)
		return
	}
	if w.eng.Stopping() {
		w.violation("a shutdown does not end")
		return
	}
	w.checkWatched()
	if w.unheard > 0 {
		w.violation("%d operators who asked for a stop or a roll are not answered", w.unheard)
	}
	for _, slot := range w.eng.SimHidden() {
		w.violation("the roll that %s is a half of does not end", slot)
	}
	known := map[string]bool{}
	for _, x := range w.eng.SimLook() {
		known[x.Name] = true
		w.checkService(x.Name, x.State, x.Pid, x.Fault, w.s.Walltime()-x.Since < int64(time.Minute))
		if x.State.Phase == core.Waiting && x.Waits == 0 {
			w.violation("%s waits, and nobody says for what", x.Name)
		}
		if x.Against != "" {
			w.violation("%s runs, and %s, which it requires, is held stopped", x.Name, x.Against)
		}
	}
	for _, p := range w.k.Procs() {
		if p.Alive() && (p.Role == kernel.Main || p.Role == kernel.Child && !keepsChildren(p.Name)) && !known[p.Name] {
			w.violation("process %d of %s[%d] lives and nobody knows the service", p.Pid, p.Name, p.Run)
		}
	}
	for key, f := range w.logs.fifos {
		if f.fd >= 0 && f.logged < f.written {
			w.violation("%s[%d]: %d lines are not in the log", key.name, key.run, f.written-f.logged)
		}
	}
	w.checkDescriptors()
}

// checkService looks at one service; recently says that its phase has just begun.
func (w *world) checkService(name string, st core.State, pid int, fault string, recently bool) {
	now := core.Time(w.s.Boottime())
	bad := func(format string, args ...any) {
		w.violation("%s: %s; phase %d cause %d wanted %v run %d deadline %v pid %d fault %q", name, fmt.Sprintf(format, args...),
			st.Phase, st.Cause, st.Wanted, st.Run, st.Deadline, pid, fault)
	}
	mains, children := 0, 0
	for _, p := range w.k.Procs() {
		if !p.Alive() || p.Name != name {
			continue
		}
		switch p.Role {
		case kernel.Main:
			mains++
			if p.Pid != pid || p.Run != st.Run {
				bad("its process is %d of run %d", p.Pid, p.Run)
			}
		case kernel.Child:
			if p.Run != st.Run || !st.Live() {
				children++
			}
		}
	}
	switch st.Phase {
	case core.Running:
		if mains != 1 {
			bad("it is said to run")
		}
		if !st.Wanted {
			bad("it runs unwanted")
		}
	case core.Down:
		if st.Wanted {
			bad("it is wanted and down")
		}
	case core.Failed:
		if st.Cause == core.CauseNone {
			bad("it failed and nobody knows why")
		}
	case core.Reached:
		if !st.Wanted {
			bad("it is reached unwanted")
		}
	case core.Finished, core.Waiting:
	case core.Preparing, core.Arriving, core.Closing:
		// A file server may take its time between one command and the next.
		if !w.hooksRun(name) && !recently {
			bad("it waits for ever")
		}
	case core.Delaying:
		if st.Deadline <= now-core.Time(time.Second) || st.Deadline > now+core.Time(time.Hour) {
			bad("its delay does not end")
		}
	case core.Starting:
		// A pause is an operator's to end, and one that has just begun again by itself
		// is ready soon.
		if soon := mains == 1 && st.Deadline > now && st.Deadline < now+core.Time(time.Minute); !st.Paused && !soon {
			bad("it waits for ever")
		}
	default:
		bad("it waits for ever")
	}
	unsure := st.Phase == core.Failed && st.Cause == core.CauseUnsure
	if !st.Live() && !unsure && mains > 0 {
		bad("it has a process")
	}
	if children > 0 && !keepsChildren(name) && !unsure {
		bad("%d processes are left of it", children)
	}
	s := w.service(name)
	w.checkAfter(s)
	switch {
	case s.expect == up && !st.Wanted && st.Phase != core.Finished && st.Phase != core.Failed:
		bad("an operator was told that it is started")
	case s.expect == down && st.Wanted:
		bad("an operator was told that it is stopped")
	}
}

// base is how many descriptors a keeper has beside those of its services.
var base = -1

func (w *world) checkDescriptors() {
	// A pipe is held while its run lives, or others write to it.
	if held := w.sim.Held(); held > len(w.logs.fifos) {
		w.violation("the keeper holds %d descriptors, there are %d pipes", held, len(w.logs.fifos))
	}
	for _, f := range w.logs.inOrder() {
		begins := strings.Contains(f.key.name, "/") && w.runOf(f.slot) == nil // or failed to
		if !w.writes(f.key) && !begins {
			w.violation("%s[%d]: its pipe is not closed, %d of %d lines are logged", f.key.name, f.key.run, f.logged, f.written)
		}
	}
	extra := w.keeper.Open() - w.sim.Owned()
	if base < 0 {
		base = extra
	}
	if extra != base {
		w.violation("the keeper has %d descriptors of its own, it should have %d", extra, base)
	}
}
