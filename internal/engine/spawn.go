package engine

import (
	"fmt"
	"strings"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/svlog"
)

// spawn prepares a run and asks the keeper for it. Whatever fails is answered as
// an event, so that the core's back-off and limits hold for every failure alike.
func (e *Engine) spawn(s *service, run uint64) {
	order, err := e.prepare(s, run)
	if err == nil {
		if err = e.ports.Keeper.Spawn(order); err == nil {
			s.acked = order.AckRun
		} else {
			err = fmt.Errorf("cannot start %s: the keeper does not take the order: %w", s.name, err)
		}
	}
	if s.group != nil {
		s.group.CloseDir()
	}
	if err != nil {
		e.spawnFailed(s, run, err.Error())
	}
}

// prepare makes everything a run needs before its process exists.
func (e *Engine) prepare(s *service, run uint64) (Order, error) {
	uid, gid, err := e.ports.Compiler.Account(s.def)
	if err != nil {
		return Order{}, err
	}
	s.info.UID, s.info.GID = int32(uid), int32(gid)
	pipes, err := e.ports.Logs.Begin(s.name, run, uid, gid, &s.def.Log)
	if err != nil {
		return Order{}, err
	}
	group, err := e.ports.Groups.Prepare(s.name, run)
	if err != nil {
		return Order{}, err
	}
	s.group = group
	s.strays = nil
	program, err := e.ports.Compiler.Compile(s.def, e.runContext(s.name, run, pipes, group))
	if err != nil {
		return Order{}, err
	}
	s.program = program
	order := Order{
		Name: s.name, Run: run, Program: program.Bytes, Slow: program.Slow,
		CgroupFD: group.DirFD(), AckRun: s.info.Last.Run,
	}
	for tag, pipe := range map[string]svlog.Pipe{"out": pipes.Out, "err": pipes.Err} {
		if pipe.ReadFD >= 0 {
			order.Hold = append(order.Hold, Hold{Tag: tag, FD: pipe.ReadFD})
		}
	}
	return order, nil
}

func (e *Engine) runContext(name string, run uint64, pipes svlog.Pipes, group Group) RunContext {
	return RunContext{
		Name: name, Run: run, RunID: fmt.Sprintf("%s:%s:%d", e.opts.ID, name, run),
		Out: pipes.Out, Err: pipes.Err, Joins: group.JoinPaths(), Record: true,
	}
}

// spawnFailed puts a failed start where people look, and tells the core.
func (e *Engine) spawnFailed(s *service, run uint64, reason string) {
	s.fault = reason
	e.ports.Logs.Note(s.name, run, reason)
	e.endLog(s.name, run)
	if s.group != nil {
		s.group.Remove()
		s.group = nil
	}
	e.record(s.name, run, "spawn", reason, nil)
	e.feed(s, core.Event{Kind: core.EvSpawnFailed, Run: run})
}

// Spawned is the keeper's answer: the process lives.
func (e *Engine) Spawned(name string, run uint64, pid int, start uint64) {
	s := e.services[name]
	if s == nil {
		e.auxSpawned(name, run, pid)
		return
	}
	if run != s.st.Run {
		return
	}
	s.fault = ""
	s.info.Pid, s.info.StartTime = int32(pid), start
	s.info.Began = e.wall().UnixNano()
	if s.group != nil {
		s.group.SetMain(pid, start)
	}
	e.record(name, run, "spawn", fmt.Sprintf("started, pid %d", pid), nil)
	e.feed(s, core.Event{Kind: core.EvSpawned, Run: run})
}

// Refused is the keeper's other answer. op is the index of the op of the spawn
// program that failed, or -1; reason is the keeper's own word for refusals that
// are not the program's.
func (e *Engine) Refused(name string, run uint64, op int, errno int, reason string) {
	s := e.services[name]
	if s == nil {
		e.auxEnded(name, run, Exit{ExecOp: op, ExecErr: errno})
		return
	}
	if run != s.st.Run || s.st.Phase != core.Spawning {
		return
	}
	e.spawnFailed(s, run, e.explainSpawn(s, op, errno, reason))
}

func (e *Engine) explainSpawn(s *service, op, errno int, reason string) string {
	if op >= 0 && s.program != nil {
		return s.program.Explain(op, errno)
	}
	text := []string{fmt.Sprintf("cannot start %s", s.name)}
	if reason != "" {
		text = append(text, reason)
	}
	if errno != 0 {
		text = append(text, errnoText(errno))
	}
	return strings.Join(text, ": ")
}

// endLog lets the log of a run end: once it is read to its end the keeper may
// close its copies.
func (e *Engine) endLog(name string, run uint64) {
	e.ports.Logs.Ended(name, run, func() {
		e.Post(func() {
			_ = e.ports.Keeper.Drop(name, run, "out")
			_ = e.ports.Keeper.Drop(name, run, "err")
		})
	})
}
