package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/svlog"
)

// slowFiles is how long the files of a definition may take to be read when they
// lie on a mount that may not answer.
const slowFiles = 10 * time.Second

// spawn prepares a run and asks the keeper for it. Whatever fails is answered as
// an event, so that the core's back-off and limits hold for every failure alike.
func (e *Engine) spawn(s *service, run uint64) {
	if s.adopting != nil {
		e.spawnFailed(s, run, fmt.Sprintf("cannot start %s: it is adopting process %d", s.name, s.adopting.pid))
		return
	}
	if text := e.stillReleased(s); text != "" {
		e.spawnFailed(s, run, fmt.Sprintf("cannot start %s: %s", s.name, text))
		return
	}
	if s.cfg.Hooks[core.BeforeStart] || !e.needsSetting(s.def) {
		e.spawnPrepared(s, run) // what it needs was made before its hooks ran
		return
	}
	e.prepare(s, run, func(unmet, reason string) {
		switch {
		case unmet != "":
			e.unmetBy(s, run, unmet)
		case reason != "":
			e.spawnFailed(s, run, reason)
		default:
			e.spawnPrepared(s, run)
		}
	})
}

// spawnPrepared asks for a run whose surroundings are there.
func (e *Engine) spawnPrepared(s *service, run uint64) {
	s.refusal = 0
	uid, gid, err := e.ports.Compiler.Account(s.def)
	if err != nil {
		e.spawnFailed(s, run, err.Error())
		return
	}
	s.info.UID, s.info.GID = int32(uid), int32(gid)
	pipes, err := e.ports.Logs.Begin(s.name, run, uid, gid, &s.def.Log)
	if err != nil {
		e.spawnFailed(s, run, fmt.Sprintf("cannot start %s: %v", s.name, err))
		return
	}
	if s.group, err = e.ports.Groups.Prepare(s.name, run); err != nil {
		e.spawnFailed(s, run, fmt.Sprintf("cannot start %s: %v", s.name, err))
		return
	}
	s.groupRun, s.strays = run, nil
	context := e.runContext(s.name, run, pipes, s.group)
	if err := e.prepareReady(s, run, &context); err != nil {
		e.spawnFailed(s, run, fmt.Sprintf("cannot start %s: %v", s.name, err))
		return
	}
	if err := e.openNotices(s, run, &context); err != nil {
		e.spawnFailed(s, run, err.Error())
		return
	}
	e.handOut(s, &context)
	if e.ports.Compiler.MayBlock(s.def) {
		e.compileAside(s, run, context, pipes)
		return
	}
	program, err := e.ports.Compiler.Compile(s.def, context)
	e.order(s, run, program, pipes, err)
}

// compileAside compiles in a goroutine, so that a dead file server holds up
// nobody else. One that does not come back is a failed start.
func (e *Engine) compileAside(s *service, run uint64, context RunContext, pipes svlog.Pipes) {
	def := s.def
	var program *Program
	var err error
	e.slowly(s, func() bool { return s.st.Phase == core.Spawning && s.st.Run == run },
		func() { program, err = e.ports.Compiler.Compile(def, context) },
		func(late error) {
			if late != nil {
				e.spawnFailed(s, run, late.Error())
				return
			}
			e.order(s, run, program, pipes, err)
		})
}

// order asks the keeper for a run that is ready to begin.
func (e *Engine) order(s *service, run uint64, program *Program, pipes svlog.Pipes, err error) {
	defer s.group.CloseDir()
	defer e.takeBackHanded(s)
	if err != nil {
		var known interface{ ExitCode() int }
		if errors.As(err, &known) {
			s.refusal = known.ExitCode()
		}
		e.spawnFailed(s, run, err.Error())
		return
	}
	s.program = program
	o := Order{
		Name: s.slot, Run: run, Program: program.Bytes, Slow: program.Slow,
		CgroupFD: s.group.DirFD(), AckRun: s.info.Last.Run, Pass: s.handedOut,
	}
	if pipes.Out.ReadFD >= 0 {
		o.Hold = append(o.Hold, Hold{Tag: HoldOut, FD: pipes.Out.ReadFD})
	}
	if pipes.Err.ReadFD >= 0 {
		o.Hold = append(o.Hold, Hold{Tag: HoldErr, FD: pipes.Err.ReadFD})
	}
	s.holdReady(&o)
	if fd := e.ports.Notices.FD(s.slot, run); fd >= 0 {
		o.Hold = append(o.Hold, Hold{Tag: HoldNotify, FD: fd})
	}
	if err := e.ports.Keeper.Spawn(o); err != nil {
		e.spawnFailed(s, run, fmt.Sprintf("cannot start %s: the keeper does not take the order: %v", s.name, err))
		return
	}
	s.acked = o.AckRun
	e.heldReady(s)
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
	e.endNotices(s)
	e.takeBackHanded(s)
	e.ports.Logs.Note(s.name, run, reason)
	e.endLog(s.slot, run)
	if s.group != nil {
		s.group.Remove()
		s.group = nil
	}
	e.record(s.name, run, "spawn", reason, nil)
	e.feed(s, core.Event{Kind: core.EvSpawnFailed, Run: run})
}

// Spawned is the keeper's answer: the process lives.
func (e *Engine) Spawned(name string, run uint64, pid int, start uint64) {
	s := e.inSlot(name)
	if s != nil && s.adopting != nil && s.adopting.run == run {
		e.adoptionTaken(s)
		return
	}
	if s == nil {
		e.auxSpawned(name, run, pid, start)
		return
	}
	if s.mainAsked.run == run && s.mainAsked.pid == pid {
		e.mainTaken(s, pid, start)
		return
	}
	if run != s.st.Run {
		return // old news
	}
	if s.handed.Run == run && s.handed.Pid == pid {
		s.handed = PastRun{}
		return
	}
	s.fault, s.hint, s.notReady = "", "", ""
	if s.program != nil && !s.program.Slow {
		s.program = nil // only a failure would need its words
	}
	s.info.Pid, s.info.StartTime = int32(pid), start
	s.info.Began = e.wall().UnixNano()
	if s.group != nil {
		s.group.SetMain(pid, start)
	}
	e.record(s.name, run, "spawn", fmt.Sprintf("started, pid %d", pid), map[string]string{pidField: strconv.Itoa(pid)})
	e.feed(s, core.Event{Kind: core.EvSpawned, Run: run})
}

// Refused is the keeper's other answer. op is the index of the op of the spawn
// program that failed, or -1; reason is the keeper's own word for refusals that
// are not the program's.
func (e *Engine) Refused(name string, run uint64, op int, errno int, reason string) {
	s := e.inSlot(name)
	if s == nil {
		e.auxEnded(name, run, Exit{ExecOp: op, ExecErr: errno})
		return
	}
	if s.handed.Run == run && s.handed.Pid != 0 {
		e.handingRefused(s, run, reason)
		return
	}
	if s.adopting != nil && s.adopting.run == run {
		if errno != 0 {
			reason = join(reason, errnoText(errno))
		}
		e.adoptionRefused(s, reason)
		return
	}
	if s.mainAsked.run == run {
		if errno != 0 {
			reason = join(reason, errnoText(errno))
		}
		e.mainRefused(s, reason)
		return
	}
	if run != s.st.Run || s.st.Phase != core.Spawning {
		return
	}
	e.spawnFailed(s, run, e.explainSpawn(s, op, errno, reason))
}

func (e *Engine) explainSpawn(s *service, op, errno int, reason string) string {
	if op >= 0 && s.program != nil {
		s.hint, s.refusal = s.program.Hint(op, errno), s.program.ExitCode(op, errno)
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
func (e *Engine) endLog(slot string, run uint64) {
	log := serviceOf(slot)
	if isAux(slot) {
		service, kind := auxParts(slot)
		log = service + "/" + kind
	}
	e.ports.Logs.Ended(log, run, func() {
		e.Post(func() {
			_ = e.ports.Keeper.Drop(slot, run)
		})
	})
}
