package engine

import (
	"context"
	"fmt"
	"strconv"
	"syscall"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// Fields of events from which runs are put together again.
const (
	pidField    = "pid"
	codeField   = "code"
	signalField = "signal"
	coreField   = "core"
	oomField    = "oom"
	cpuField    = "cpu_ns"
	memoryField = "peak_memory" // bytes
)

// exitFields are the facts of an end.
func exitFields(last lastExit, x Exit) map[string]string {
	f := make(map[string]string, 5)
	if last.Known {
		ws := syscall.WaitStatus(last.Status)
		if ws.Signaled() {
			f[signalField] = model.SignalName(int(ws.Signal()))
		} else {
			f[codeField] = strconv.Itoa(ws.ExitStatus())
		}
		if ws.Signaled() && ws.CoreDump() {
			f[coreField] = "1"
		}
	}
	if last.OOM {
		f[oomField] = "1"
	}
	if x.CPU > 0 {
		f[cpuField] = strconv.FormatInt(int64(x.CPU), 10)
	}
	if x.MaxRSS > 0 {
		f[memoryField] = strconv.FormatInt(x.MaxRSS, 10)
	}
	return f
}

// History implements control.Supervisor. It reads the events outside the loop.
func (e *Engine) History(ctx context.Context, who control.Who, name string, last int) ([]control.PastRun, error) {
	err := e.inLoop(ctx, func() error { return e.mayExplain(who, name, "show the history of") })
	if err != nil {
		return nil, err
	}
	var runs runList
	err = e.ports.History.Read(ctx, 0, false, func(ev control.Event) error {
		if ev.Service == name && ev.Run != 0 {
			runs.add(&ev)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := runs.list
	if last > 0 && len(list) > last {
		list = list[len(list)-last:]
	}
	return list, nil
}

// mayExplain judges who asks about the past of a service.
func (e *Engine) mayExplain(who control.Who, name, what string) error {
	s := e.services[name]
	if s == nil {
		o := unknown(name)
		return &control.Error{Code: o.Code, Message: fmt.Sprintf("cannot %s %s: %s", what, name, o.Message), Hint: o.Hint}
	}
	if !e.may(who, s.def, "view", "") {
		e.auditRefusal(name, what, who)
		return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot %s %s: not permitted for uid %d", what, name, who.UID)}
	}
	return nil
}

// runList puts runs together from the events of one service, oldest first. Run
// numbers only grow; while a service is rolled two runs of it live.
type runList struct{ list []control.PastRun }

// of returns the run of a number, nil if there is none.
func (l *runList) of(run uint64) *control.PastRun {
	for i := len(l.list) - 1; i >= 0 && l.list[i].Run >= run; i-- {
		if l.list[i].Run == run {
			return &l.list[i]
		}
	}
	return nil
}

func (l *runList) add(ev *control.Event) {
	if n := len(l.list); n == 0 || l.list[n-1].Run < ev.Run {
		if ev.Kind != "state" && ev.Kind != "spawn" && ev.Kind != "exit" {
			return
		}
		l.list = append(l.list, control.PastRun{Run: ev.Run})
	}
	r := l.of(ev.Run)
	if r == nil {
		return
	}
	switch ev.Kind {
	case "state":
		if r.Cause == "" && r.Start.IsZero() && r.End.IsZero() && begins(ev) {
			r.Cause = ev.Text
		}
	case "spawn":
		if pid, err := strconv.Atoi(ev.Fields[pidField]); err == nil {
			r.Pid, r.Start = pid, ev.Time
			return
		}
		r.Text = ev.Text
		r.End = ev.Time
	case "exit":
		r.End, r.Text = ev.Time, ev.Text
		r.Exit = exitOf(ev)
		r.CPU, _ = strconv.ParseInt(ev.Fields[cpuField], 10, 64)
		r.PeakMemory, _ = strconv.ParseInt(ev.Fields[memoryField], 10, 64)
	}
}

// begins tells whether a decision begins a run.
func begins(ev *control.Event) bool { return ev.Fields["phase"] == core.Spawning.String() }

func exitOf(ev *control.Event) *control.Exit {
	x := &control.Exit{Run: ev.Run, At: ev.Time, Core: ev.Fields[coreField] != "", OOM: ev.Fields[oomField] != ""}
	if code, err := strconv.Atoi(ev.Fields[codeField]); err == nil {
		x.Code = &code
	} else if signal := ev.Fields[signalField]; signal != "" {
		x.Signal = &signal
	} else {
		x.Unknown = true
	}
	return x
}
