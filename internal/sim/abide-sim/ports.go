//go:build abide_sim && linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/sim/sched"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/state"
)

func (w *world) options(l *link) engine.Options {
	return engine.Options{
		ID: "0123456789abcdef", Run: "/run/abide", Mode: engine.ModeDaemon, Version: "sim", Shutdown: time.Minute,
		KeeperPid: int(l.welcome.KeeperPid), RecordsLost: l.welcome.Flags&(wire.RecordsSet|wire.RecordsDamaged) != 0, Self: "/abide-engine",
		Follows: l.welcome.Engines > 1, Records: w.k.Number("keeper.state"),
	}
}

func (w *world) ports(l *link) engine.Ports {
	p := ports{w}
	w.paths = &paths{w: w}
	return engine.Ports{
		Clock: p, Keeper: l, Compiler: compiler{w}, Logs: w.logs, Groups: groups{w}, Processes: outsiders{}, Definitions: p,
		Wishes: wishes{w}, Snapshot: snapshot{w}, History: history{w}, Console: p, Memory: p, Past: past{w}, Paths: w.paths,
	}
}

// ports are those that are one function or two.
type ports struct{ w *world }

func (p ports) Boot() int64     { return p.w.s.Boottime() }
func (p ports) Wall() time.Time { return time.Unix(0, p.w.s.Walltime()) }
func (p ports) Yield()          { sched.Point() }
func (p ports) Quiet()          {}
func (p ports) Busy()           {}
func (p ports) Say(line string) { p.w.note("the engine says: %s", line) }

// Load reads the definitions on disk.
func (p ports) Load(running map[string]*model.Service) engine.Loaded { return p.Read(running) }
func (p ports) Take(func(string) bool)                               {}
func (p ports) Known(name string) *model.Service                     { return p.w.files[name] }
func (p ports) Read(map[string]*model.Service) engine.Loaded {
	sched.Point()
	return engine.Loaded{Services: maps.Clone(p.w.files), Broken: map[string]diag.List{}}
}

func (p ports) Reread(name string) (*model.Service, diag.List) {
	sched.Point()
	return p.w.files[name], nil
}

func (p ports) Changed(name string) bool {
	return p.w.eng.SimChanged(name, p.w.files[name])
}
func (p ports) Look() func(string) bool      { return p.Changed }
func (p ports) Render(*model.Service) string { return "" }

// KeepApplied stores what is in force, if there is room.
func (p ports) KeepApplied(m map[string]*model.Service) error {
	sched.Point()
	if !p.w.calm && p.w.chance(p.w.mood.portFails) {
		return errDisk
	}
	p.w.applied = maps.Clone(m)
	sched.Point()
	return nil
}

// Restored is what was in force.
func (p ports) Restored() (engine.Loaded, bool) {
	sched.Point()
	if p.w.applied == nil {
		return engine.Loaded{}, false
	}
	return engine.Loaded{Services: maps.Clone(p.w.applied), Broken: map[string]diag.List{}}, true
}
func (p ports) Applied() map[string]*model.Service { return p.w.applied }

var errDisk = errors.New("no space left on device")

type wishes struct{ w *world }

func (f wishes) Get(name string) state.Wish { return f.w.wishes[name] }

func (f wishes) Set(name string, wish state.Wish) error {
	sched.Point()
	if !f.w.calm && f.w.chance(f.w.mood.portFails) {
		f.w.note("the wish for %s cannot be kept", name)
		return errDisk
	}
	f.w.wishes[name] = wish
	return nil
}

type snapshot struct{ w *world }

func (f snapshot) Put(name string, blob []byte) error {
	sched.Point()
	f.w.pages[name] = append([]byte(nil), blob...)
	sched.Point()
	return nil
}
func (f snapshot) Delete(name string)     { sched.Point(); delete(f.w.pages, name) }
func (f snapshot) All() map[string][]byte { return maps.Clone(f.w.pages) }

type history struct{ w *world }

func (f history) Append(events ...control.Event) uint64 {
	sched.Point()
	for _, ev := range events {
		f.w.note("%s[%d] %s: %s", ev.Service, ev.Run, ev.Kind, ev.Text)
		if ev.Kind == "abide" && ev.Service == "" && !f.w.ready {
			f.w.ready = true
		}
	}
	return 0
}
func (f history) Last() uint64 { return 0 }
func (f history) Read(context.Context, uint64, bool, func(control.Event) error) error {
	return nil
}

type compiler struct{ w *world }

// Compile makes a program that the keeper accepts; what it does is the
// simulation's affair.
func (c compiler) Compile(svc *model.Service, run engine.RunContext) (*engine.Program, error) {
	w := c.w
	sched.Point()
	if c.MayBlock(svc) {
		sched.Sleep(w.between(0, 12*time.Second))
	}
	if !w.calm && w.chance(w.mood.portFails) {
		return nil, fmt.Errorf("cannot start %s: %w", svc.Name, errDisk)
	}
	b := prog.NewBuilder(prog.NativeArch)
	b.Pseudo(prog.OpRecord)
	argv := b.Texts([]string{svc.Name})
	b.Call(prog.Execve, prog.At(b.Text("/bin/"+svc.Name)), prog.At(argv), prog.At(b.Texts(nil)))
	text, err := b.Bytes()
	if err != nil {
		w.violation("the program of %s cannot be built: %v", svc.Name, err)
	}
	return &engine.Program{
		Bytes: text, Slow: w.chance(0.3), Hint: func(int, int) string { return "" }, ExitCode: func(int, int) int { return 126 },
		Explain: func(op, errno int) string { return fmt.Sprintf("operation %d: %v", op, syscall.Errno(errno)) },
	}, nil
}

func (c compiler) Command(svc *model.Service, _ []string, run engine.RunContext) (*engine.Program, error) {
	return c.Compile(svc, run)
}

func (c compiler) Check(*model.Service) error                                     { return nil }
func (c compiler) Expand(_ *model.Service, text string, _ uint64) (string, error) { return text, nil }

// MayBlock is so for services whose environment lies on a network.
func (c compiler) MayBlock(svc *model.Service) bool { return len(svc.EnvironmentFiles) > 0 }

func (c compiler) Account(*model.Service) (int, int, error) { return 0, 0, nil }
