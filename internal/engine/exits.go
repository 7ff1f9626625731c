package engine

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// Exited is the keeper's news that a main process ended. The exit stays with the
// keeper until it is acknowledged, which happens after our page has it: with the
// next spawn in one message, or in look when there is none.
func (e *Engine) Exited(x Exit) {
	s := e.inSlot(x.Name)
	if s == nil {
		if r, waits := e.undefined[x.Name]; waits && r.Run == x.Run {
			// Its end stays with the keeper for whoever defines it again: what the
			// run left behind is to be looked for then.
			r.Live, r.Exited, r.Exit = false, true, x
			e.undefined[x.Name] = r
			e.endLog(x.Name, x.Run)
			return
		}
		e.auxEnded(x.Name, x.Run, x)
		return
	}
	if s.adopting != nil && s.adopting.run == x.Run {
		s.adopting.exit = &x
		return
	}
	if x.Run != s.st.Run || x.Run <= s.info.Last.Run {
		_ = e.ports.Keeper.Ack(x.Name, x.Run)
		return
	}
	e.claim(s)
	e.hear(s, noticesAtEnd)
	if x.ExecOp >= 0 {
		// The slow rung: the process lived, but never became the program.
		s.info.Pid = 0
		s.info.Last = lastExit{Run: x.Run, At: x.At.UnixNano(), Status: x.Status, Known: x.Known}
		reason := e.explainSpawn(s, x.ExecOp, x.ExecErr, "")
		s.fault = reason
		e.ports.Logs.Note(s.name, x.Run, reason)
		e.record(s.name, x.Run, "spawn", reason, nil)
		e.endLog(s.slot, x.Run)
		if s.st.Live() {
			// It has been told as spawned: that was abide-exec.
			e.feed(s, core.Event{Kind: core.EvExited, Run: x.Run, End: core.Failure, At: core.Time(x.Boot)})
			return
		}
		e.feed(s, core.Event{Kind: core.EvSpawnFailed, Run: x.Run})
		return
	}
	oom := x.Known && syscall.WaitStatus(x.Status).Signal() == sigKILL && s.group != nil && s.group.OOMKilled()
	last := lastExit{Run: x.Run, At: x.At.UnixNano(), Status: x.Status, Known: x.Known, OOM: oom}
	if e.goesOn(s, x) || e.starterEnded(s, x, last) {
		return
	}
	s.info.Last = last
	end := classify(s.def, s.info.Last, &s.st)
	text := exitText(s.info.Last)
	if x.CPU > 0 {
		text += fmt.Sprintf(", %s cpu", x.CPU.Round(time.Millisecond))
	}
	e.record(s.name, x.Run, "exit", text, exitFields(s.info.Last, x))
	e.feed(s, core.Event{Kind: core.EvExited, Run: x.Run, End: end, At: core.Time(x.Boot)})
	// The next run is ordered before anything else is done about the last one.
	e.later(func() { e.endLog(s.slot, x.Run) })
}

// classify says in the core's words how a run ended, by [restart].
func classify(def *model.Service, last lastExit, st *core.State) core.End {
	if !last.Known {
		return core.Unknown
	}
	ws := syscall.WaitStatus(last.Status)
	r := &def.Restart
	if ws.Signaled() {
		sig := int(ws.Signal())
		switch {
		case slices.Contains(r.GiveUpCodes.Signals, sig):
			return core.GiveUp
		case slices.Contains(r.SuccessCodes.Signals, sig):
			return core.Success
		case st.Phase == core.Stopping && (st.Killed || slices.ContainsFunc(def.Stop.Steps, func(st model.StopStep) bool { return st.Signal == sig })):
			return core.Success
		}
		return core.Crash
	}
	code := ws.ExitStatus()
	switch {
	case slices.Contains(r.GiveUpCodes.Codes, code):
		return core.GiveUp
	case code == 0 && len(r.SuccessCodes.Codes) == 0 && len(r.SuccessCodes.Signals) == 0, slices.Contains(r.SuccessCodes.Codes, code):
		return core.Success
	}
	return core.Failure
}

// exitText is how people read an end: "exited with code 3", "killed by SEGV".
func exitText(x lastExit) string {
	if !x.Known {
		return "ended, its status was not seen"
	}
	ws := syscall.WaitStatus(x.Status)
	switch {
	case ws.Signaled() && x.OOM:
		return "killed by the kernel: out of memory"
	case ws.Signaled() && ws.CoreDump():
		return fmt.Sprintf("killed by %s, core dumped", model.SignalName(int(ws.Signal())))
	case ws.Signaled():
		return "killed by " + model.SignalName(int(ws.Signal()))
	case ws.ExitStatus() == 0:
		return "exited"
	}
	return fmt.Sprintf("exited with code %d", ws.ExitStatus())
}

// endReason is why the last run came to an end: how it ended, or what it was ended
// for.
func (s *service) endReason() string {
	if s.notReady != "" {
		return s.notReady
	}
	return exitText(s.info.Last)
}

// exitCode is what a shell would see: the code, or 128+n for a signal.
func exitCode(x lastExit) int {
	if !x.Known || x.Run == 0 {
		return 1
	}
	ws := syscall.WaitStatus(x.Status)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

func errnoText(errno int) string { return syscall.Errno(errno).Error() }
