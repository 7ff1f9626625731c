//go:build abide_sim && linux

package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/outside"
	"github.com/abide-project/abide/internal/sim/sched"
)

// outsiders are the processes that abide did not start: in this world there are
// none, and nobody releases one.
type outsiders struct{}

var errNobody = errors.New("there is no such process in this world")

func (outsiders) Look(int) (outside.Process, error) { return outside.Process{}, fs.ErrNotExist }
func (outsiders) Ancestors(int) []int               { return nil }
func (outsiders) SameNamespace(int) bool            { return true }
func (outsiders) Output(int, int) outside.Output    { return outside.Output{} }
func (outsiders) Readers(outside.Output, func(int) bool) ([]outside.Reader, error) {
	return nil, errNobody
}
func (outsiders) OpenOutput(int, int, outside.Output) (int, error) { return -1, errNobody }

func (outsiders) PidIn(string) (int, error)            { return 0, errNobody }
func (outsiders) PidOf(int) int                        { return 0 }
func (outsiders) IsPidfd(int, uint64) bool             { return false }
func (outsiders) AwaitAny(context.Context, []int) bool { return false }

func (l *link) Keep(name string, run uint64, tag uint32, fd int) error {
	sched.Point()
	m := wire.Held{Name: []byte(name), Run: run, Tag: tag}
	l.ask("keep", []int{fd}, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeKeep, seq) })
	return nil
}

func (g groups) Take(string, uint64, int, uint64) (group engine.Group, why, err error) {
	return nil, nil, errNobody
}
func (g groups) Owner(int) (name string, run uint64, mark string) { return "", 0, "" }
func (g groups) Stranger(int) string                              { return "" }

// Members are the numbers of the living processes of the run.
func (g *group) Members() []int {
	var pids []int
	for _, p := range g.members() {
		pids = append(pids, p.Pid)
	}
	return pids
}

func (l *logs) AdoptFD(string, uint64, engine.Stream, int, *model.Log) error { return errNobody }
func (l *logs) Detach(_ string, _ uint64, done func(out, err string))        { done("", "") }
func (l *logs) Reclaim(string, string, uint64, engine.Stream) error          { return errNobody }
