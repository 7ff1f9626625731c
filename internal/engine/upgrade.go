package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/abide-project/abide/internal/control"
)

// Upgrader moves the keeper and the engine to other program files. Its methods
// take their time and are called off the loop.
type Upgrader interface {
	// Plan looks for the programs in a folder, "" for where the present ones came
	// from, and makes sure that they can be trusted and run.
	Plan(dir string) (UpgradePlan, error)
	// CarryOut replaces the keeper. After nil this engine must end: the keeper then
	// starts the new one.
	CarryOut(UpgradePlan) error
	// InCharge tells the keeper that this engine works, which ends an upgrade. found
	// is false when the keeper knows of none; err says why it came to nothing.
	InCharge() (found bool, err error)
	// Build is the version of the keeper that runs.
	Build() string
}

// UpgradePlan is the programs to move to, and what they say of themselves.
type UpgradePlan struct {
	Keeper, Engine, Exec     string
	KeeperBuild, EngineBuild string
}

// upgradePage is the page on which an upgrade waits for the engine that ends it,
// and upgradeNote what stands there.
const upgradePage = "/upgrade"

type upgradeNote struct {
	ID         string `json:"i"`
	Pid        int    `json:"p"` // of the engine that was asked
	KeeperFrom string `json:"k"`
	KeeperTo   string `json:"K"`
	EngineFrom string `json:"e"`
	EngineTo   string `json:"E"`
}

// upgradeRun is an upgrade and its outcome, for everyone who asks by its id.
type upgradeRun struct {
	id      string
	over    chan struct{}
	outcome control.Outcome
}

// upgrade carries out the verb. The request ends when another engine is in charge,
// so the client learns the outcome from that one.
func (e *Engine) upgrade(ctx context.Context, req control.Request) ([]control.Outcome, error) {
	type begun struct {
		run *upgradeRun
		err error
	}
	answer := make(chan begun, 1)
	e.Post(func() {
		run, err := e.beginUpgrade(req)
		answer <- begun{run, err}
	})
	b := <-answer
	if b.err != nil {
		return nil, b.err
	}
	select {
	case <-b.run.over:
		return []control.Outcome{b.run.outcome}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) beginUpgrade(req control.Request) (*upgradeRun, error) {
	if err := e.permitAll(req); err != nil {
		return nil, err
	}
	failed := func(text string) (*upgradeRun, error) {
		return nil, &control.Error{Code: control.Failed, Message: "cannot upgrade: " + text}
	}
	if run := e.upgrading; run != nil {
		if req.ID != "" && run.id == req.ID {
			return run, nil
		}
		select {
		case <-run.over:
		default:
			return failed("another upgrade is under way")
		}
	}
	switch {
	case e.done || e.stopping != nil:
		return failed("abide is shutting down")
	case e.ports.Upgrader == nil:
		return failed("this abide has no keeper that could be replaced")
	}
	run := &upgradeRun{id: req.ID, over: make(chan struct{})}
	e.upgrading = run
	e.auditRequest("", 0, req)
	go e.carryOutUpgrade(run, req.Directory)
	return run, nil
}

// carryOutUpgrade is its own goroutine: services are served meanwhile.
func (e *Engine) carryOutUpgrade(run *upgradeRun, dir string) {
	plan, err := e.ports.Upgrader.Plan(dir)
	if err != nil {
		e.Post(func() { e.finishUpgrade(run, "", err) })
		return
	}
	note := upgradeNote{ID: run.id, Pid: e.pid, KeeperFrom: e.ports.Upgrader.Build(), KeeperTo: plan.KeeperBuild,
		EngineFrom: e.opts.Version, EngineTo: plan.EngineBuild}
	noted := make(chan error, 1)
	e.Post(func() { noted <- e.noteUpgrade(note) })
	if err = <-noted; err == nil {
		err = e.ports.Upgrader.CarryOut(plan)
	}
	if err != nil {
		e.Post(func() { e.finishUpgrade(run, "", err) })
		return
	}
	e.Post(func() {
		e.record("", 0, "abide", fmt.Sprintf("the keeper is abide %s now; engine %s makes room for %s", plan.KeeperBuild, e.opts.Version, plan.EngineBuild), nil)
		e.leaving = true
	})
}

func (e *Engine) noteUpgrade(note upgradeNote) error {
	const most = 48 // bytes of a version: the page has room for four
	for _, build := range []*string{&note.KeeperFrom, &note.KeeperTo, &note.EngineFrom, &note.EngineTo} {
		*build = (*build)[:min(len(*build), most)]
	}
	data, err := json.Marshal(note)
	if err == nil {
		err = e.ports.Snapshot.Put(upgradePage, data)
	}
	return err
}

// Leaving tells, once Run has returned, that another engine is to take over at
// once and everything goes on.
func (e *Engine) Leaving() bool { return e.leaving }

// endUpgrade is called when this engine is in charge. blob is the page that an
// earlier engine left, nil if there is none.
func (e *Engine) endUpgrade(blob []byte) {
	var note upgradeNote
	if blob != nil && json.Unmarshal(blob, &note) != nil {
		note = upgradeNote{}
	}
	if e.ports.Upgrader == nil || blob == nil && !e.opts.OnTrial {
		return
	}
	run := &upgradeRun{id: note.ID, over: make(chan struct{})}
	e.upgrading = run
	go func() {
		found, err := e.ports.Upgrader.InCharge()
		build := e.ports.Upgrader.Build()
		if err == nil && !found && (build != note.KeeperTo || e.opts.Version != note.EngineTo) {
			err = fmt.Errorf("it was cut short; the keeper is abide %s, the engine %s", orUnknown(build), e.opts.Version)
		}
		text := fmt.Sprintf("keeper pid %d: %s -> %s; engine pid %d -> %d: %s -> %s",
			e.opts.KeeperPid, orUnknown(note.KeeperFrom), orUnknown(build), note.Pid, e.pid, orUnknown(note.EngineFrom), e.opts.Version)
		e.Post(func() { e.finishUpgrade(run, text, err) })
	}()
}

func orUnknown(build string) string {
	if build == "" {
		return "unknown"
	}
	return build
}

// finishUpgrade tells everyone who waits, now or with the same id later.
func (e *Engine) finishUpgrade(run *upgradeRun, text string, err error) {
	e.ports.Snapshot.Delete(upgradePage)
	run.outcome = control.Outcome{Done: true, Message: text}
	if err != nil {
		run.outcome = control.Outcome{Code: control.Failed, Message: fmt.Sprintf("cannot upgrade: %v", err)}
		var told *control.Error
		if errors.As(err, &told) {
			run.outcome = control.Outcome{Code: told.Code, Message: told.Message, Hint: told.Hint}
		}
		e.ports.Console.Say(run.outcome.Message)
		e.record("", 0, "abide", run.outcome.Message, nil)
	} else {
		e.record("", 0, "abide", "upgraded: "+text, nil)
	}
	close(run.over)
}
