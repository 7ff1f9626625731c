//go:build abide_sim && linux

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/sim/sched"
)

type runKey struct {
	name string
	run  uint64
}

type groups struct{ w *world }

// group is the processes of a run, which a cgroup keeps together.
type group struct {
	w   *world
	key runKey
}

func (g groups) Prepare(name string, run uint64) (engine.Group, error) {
	sched.Point()
	if !g.w.calm && g.w.chance(g.w.mood.portFails) {
		return nil, fmt.Errorf("cannot make a group: %w", errDisk)
	}
	return g.w.group(name, run), nil
}

func (g groups) Adopt(name string, run uint64, _ int, _ uint64) (engine.Group, error) {
	sched.Point()
	return g.w.group(name, run), nil
}
func (g groups) Kind() string     { return "cgroup" }
func (g groups) Describe() string { return "simulated" }

func (w *world) group(name string, run uint64) *group {
	key := runKey{name, run}
	if w.groups[key] == nil {
		w.groups[key] = &group{w: w, key: key}
	}
	return w.groups[key]
}

// members are the living processes of the run.
func (g *group) members() []*kernel.Proc {
	var list []*kernel.Proc
	for _, p := range g.w.k.Procs() {
		if p.Alive() && p.Name == g.key.name && p.Run == g.key.run && (p.Role == kernel.Main || p.Role == kernel.Child) {
			list = append(list, p)
		}
	}
	return list
}

func (g *group) Kind() string        { return "cgroup" }
func (g *group) DirFD() int          { return -1 }
func (g *group) CloseDir()           {}
func (g *group) JoinPaths() []string { return nil }
func (g *group) SetMain(int, uint64) {}
func (g *group) Snapshot()           {}
func (g *group) Freeze() error       { sched.Point(); return nil }
func (g *group) Thaw() error         { sched.Point(); return nil }
func (g *group) OOMKilled() bool     { return false }
func (g *group) Leave()              {}
func (g *group) Remove()             { sched.Point(); delete(g.w.groups, g.key) }
func (g *group) Empty() bool         { sched.Point(); return len(g.members()) == 0 }

func (g *group) SignalAll(signo int) error {
	sched.Point()
	for _, p := range g.members() {
		g.w.k.Signal(g.w.engine, p, signo)
	}
	return nil
}

func (g *group) Kill(ctx context.Context) engine.Cleaned { return g.Clean(ctx, 0) }

// Clean blocks until nothing is left: with TERM first when there is a grace.
func (g *group) Clean(_ context.Context, grace time.Duration) engine.Cleaned {
	w := g.w
	sched.Point()
	if !w.calm && w.chance(w.mood.portFails) {
		return engine.Cleaned{Err: errors.New("cannot read cgroup.procs")}
	}
	n := len(g.members())
	empty := func() bool { return len(g.members()) == 0 }
	if grace > 0 {
		_ = g.SignalAll(int(syscall.SIGTERM))
		sched.Park(empty, w.s.Monotonic()+int64(grace))
	}
	for !empty() {
		_ = g.SignalAll(int(syscall.SIGKILL))
		sched.Park(empty, w.s.Monotonic()+int64(time.Second))
	}
	return engine.Cleaned{Ended: n}
}
