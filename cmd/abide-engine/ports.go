package main

import (
	"context"
	"os"
	"time"

	"github.com/abide-project/abide/internal/contain"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/outside"
	"github.com/abide-project/abide/internal/spawn"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
)

// compiler is spawn.Compiler as the engine's port.
type compiler struct {
	c   *spawn.Compiler
	run string
}

func (c compiler) Compile(svc *model.Service, run engine.RunContext) (*engine.Program, error) {
	return program(c.c.Compile(svc, c.context(run)))
}

func (c compiler) Command(svc *model.Service, argv []string, run engine.RunContext) (*engine.Program, error) {
	return program(c.c.Command(svc, argv, c.context(run)))
}

func (c compiler) Check(svc *model.Service) error { return c.c.Check(svc) }
func (c compiler) Expand(svc *model.Service, text string, run uint64) (string, error) {
	return c.c.Expand(svc, text, run)
}

func (c compiler) Account(svc *model.Service) (uid, gid int, err error) { return c.c.Account(svc) }
func (c compiler) MayBlock(svc *model.Service) bool                     { return c.c.MayBlock(svc) }

func (c compiler) context(run engine.RunContext) spawn.Run {
	return spawn.Run{
		Number: run.Run, ID: run.RunID, Record: run.Record, Joins: run.Joins, Ready: run.Ready,
		Stdout: stdio(run.Out), Stderr: stdio(run.Err),
		Scratch: c.run + "/services/" + run.Name, Environment: run.Environment, Stdin: run.Stdin,
		Notify: run.Notify, Watchdog: run.Watchdog, Stored: run.Stored,
	}
}

func stdio(p svlog.Pipe) spawn.Stdio {
	switch p.Kind {
	case svlog.PipeFIFO:
		return spawn.Stdio{Kind: spawn.StdioPath, Path: p.Path, Flags: p.Flags}
	case svlog.PipeInherit:
		return spawn.Stdio{Kind: spawn.StdioInherit}
	}
	return spawn.Stdio{Kind: spawn.StdioNull}
}

func program(p *spawn.Program, err error) (*engine.Program, error) {
	if err != nil {
		return nil, err
	}
	return &engine.Program{Bytes: p.Bytes, Slow: p.Slow, Explain: p.Explain, Hint: p.Hint, ExitCode: p.ExitCode}, nil
}

// groups is contain.Manager as the engine's port.
type groups struct{ m *contain.Manager }

func (g groups) Prepare(name string, run uint64) (engine.Group, error) {
	return wrap(g.m.Prepare(name, run))
}

func (g groups) Adopt(name string, run uint64, pid int, start uint64) (engine.Group, error) {
	return wrap(g.m.Adopt(name, run, pid, start))
}

func (g groups) Take(name string, run uint64, pid int, start uint64) (engine.Group, error, error) {
	inner, why, err := g.m.Take(name, run, pid, start)
	taken, err := wrap(inner, err)
	return taken, why, err
}

func (g groups) Owner(pid int) (name string, run uint64, mark string) { return g.m.Owner(pid) }
func (g groups) Stranger(pid int) string                              { return g.m.Stranger(pid) }

func (g groups) Kind() string     { return g.m.Kind() }
func (g groups) Describe() string { return g.m.Describe() }

func wrap(inner contain.Group, err error) (engine.Group, error) {
	if err != nil {
		return nil, err
	}
	return group{inner}, nil
}

type group struct{ contain.Group }

// JoinPaths leaves out the group that the keeper puts the child into by its
// folder's descriptor, on every rung. Joining by writing waits for a grace period
// of the kernel, some milliseconds: once is enough.
func (g group) JoinPaths() []string {
	if g.DirFD() >= 0 {
		return nil
	}
	return g.Group.JoinPaths()
}

func (g group) Empty() bool { return g.Group.Empty(true) }

func (g group) Kill(ctx context.Context) engine.Cleaned { return cleaned(g.Group.Kill(ctx)) }

func (g group) Clean(ctx context.Context, grace time.Duration) engine.Cleaned {
	return cleaned(g.Group.Clean(ctx, contain.Options{Grace: grace}))
}

func cleaned(r contain.Result) engine.Cleaned {
	out := engine.Cleaned{Ended: r.Ended, Err: r.Err}
	for _, s := range append(r.Strays, r.Left...) {
		out.Strays = append(out.Strays, engine.Stray{Pid: s.Pid, Comm: s.Comm, Why: s.Why})
	}
	return out
}

// processes is package outside as the engine's port.
type processes struct{}

const proc = "/proc"

func (processes) Look(pid int) (outside.Process, error) { return outside.Look(proc, pid) }
func (processes) Ancestors(pid int) []int               { return outside.Ancestors(proc, pid) }
func (processes) SameNamespace(pid int) bool            { return outside.SameNamespace(proc, pid) }
func (processes) Output(pid, fd int) outside.Output     { return outside.OutputOf(proc, pid, fd) }
func (processes) OpenOutput(pid, fd int, seen outside.Output) (int, error) {
	return outside.OpenOutput(proc, pid, fd, seen)
}

func (processes) Readers(pipe outside.Output, except func(int) bool) ([]outside.Reader, error) {
	return outside.Readers(proc, pipe, except)
}

// console is abide's own standard error, a line at a time.
type console struct{}

func (console) Say(line string) { _, _ = os.Stderr.WriteString("abide: " + line + "\n") }

// patterns keep in the state folder for whom [operators] was given; without one
// they are forgotten with the engine.
type patterns struct{ dir *state.Dir }

func (p patterns) Load() (map[string]state.PatternUsers, error) {
	if p.dir == nil {
		return nil, nil
	}
	return state.LoadPatterns(p.dir)
}

func (p patterns) Store(now map[string]state.PatternUsers) error {
	if p.dir == nil {
		return nil
	}
	return state.StorePatterns(p.dir, now)
}
