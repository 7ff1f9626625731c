package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
)

// runFiles are those without which nobody finds us, or the next of us finds
// nothing. What else is in the run directory is made when it is wanted.
var runFiles = []string{"lock", "id", "keeper.state", "control.sock", "engine.state", "services"}

// missingIn lists those of the files that a directory lacks.
func missingIn(dir string, names []string) (missing []string) {
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			missing = append(missing, name)
		}
	}
	return missing
}

// keeperFiles has the keeper make its files in the run directory again, and puts
// its new listener and lock in the place of those that we were born with.
func keeperFiles(l *link.Link) error {
	for want, number := range map[uint32]int{wire.RebuildListener: listenerFD, wire.RebuildLock: lockFD} {
		fd, err := l.Rebuild(want)
		if err == nil {
			err = putInPlace(fd, number)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runDir is what makes the run directory of a living instance again.
type runDir struct {
	run      *state.Run
	boot     string
	link     *link.Link
	snapshot *state.Snapshot
	alarms   *alarms
	wishes   *state.Wishes
	defs     *reader
	logs     *svlog.Manager
	eng      *engine.Engine
	serve    func() // the control socket's present listener
}

func (r *runDir) missing() []string {
	if !r.run.InPlace() {
		return []string{r.run.Path()}
	}
	return missingIn(r.run.Path(), runFiles)
}

// rebuild makes again what is missing. Services and their pipes are not touched.
func (r *runDir) rebuild() error {
	if err := r.run.Reopen(0o755); err != nil {
		return err
	}
	if err := r.run.Rebuild(); err != nil {
		return err
	}
	sock := len(missingIn(r.run.Path(), []string{"control.sock"})) > 0
	if err := keeperFiles(r.link); err != nil {
		return err
	}
	if sock {
		r.serve()
	}
	// Each of the rest can do without the others.
	stored := make(chan error, 1)
	r.eng.Post(func() {
		r.defs.applied.lost()
		r.alarms.file.Lost()
		err := errors.Join(r.snapshot.Rebuild(r.run.Dir, r.boot), r.wishes.Rebuild())
		r.eng.RecordsMoved(recordsName(r.run.Path()))
		r.eng.StoreApplied()
		stored <- err
	})
	return errors.Join(r.logs.Rebuild(), <-stored)
}

// report puts the outcome where people look.
func (r *runDir) report(missing []string, err error) {
	what := strings.Join(missing, ", ")
	if err != nil {
		r.eng.Note("wiped", fmt.Sprintf("The run directory was wiped (%s) and cannot be made again: %v; everything runs on, abide tries again when a folder above it appears", what, err))
		return
	}
	r.eng.Note("wiped", fmt.Sprintf("The run directory was wiped (%s) and is made again; everything runs on", what))
}

// guard watches the run directory from now on.
func (r *runDir) guard(ctx context.Context) {
	if err := watchOver(ctx, r.link, r.run.Path(), r.missing, r.rebuild, r.report); err != nil {
		r.eng.Note("warden", fmt.Sprintf("Cannot watch over the run directory: %v; if it is wiped, restart abide-engine", err))
	}
}
