package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/definitions"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// reader is package definitions as the engine's port, and what of it is applied.
type reader struct {
	opts definitions.Options
	main *model.Service // of `abide init -- COMMAND`
	run  *state.Dir
	boot string

	mu      sync.Mutex
	set     *definitions.Set
	saving  chan map[string]*model.Service // at most one version waits to be written
	applied map[string]*model.Service
}

func newReader(opts definitions.Options, main *model.Service, run *state.Dir, boot string, report func(error)) *reader {
	r := &reader{opts: opts, main: main, run: run, boot: boot, saving: make(chan map[string]*model.Service, 1)}
	r.applied = r.readApplied()
	go func() {
		for services := range r.saving {
			// A start is not held up, and of several changes in a row one is written.
			time.Sleep(applyLater)
			select {
			case services = <-r.saving:
			default:
			}
			if err := r.writeApplied(services); err != nil {
				report(err)
			}
		}
	}()
	return r
}

func (r *reader) Load(running map[string]*model.Service) engine.Loaded {
	set := definitions.Load(r.opts)
	set.Keep(running)
	r.mu.Lock()
	r.set = set
	r.mu.Unlock()
	if r.main != nil {
		set.Services[r.main.Name] = r.main
	}
	return engine.Loaded{
		Services: set.Services, Broken: set.Broken, Diags: set.Diags, Shutdown: set.Shutdown,
		Sources: set.Sources, DotEnv: set.DotEnv,
	}
}

func (r *reader) current() *definitions.Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set
}

func (r *reader) isMain(name string) bool { return r.main != nil && r.main.Name == name }

func (r *reader) Reread(name string) (*model.Service, diag.List) {
	if r.isMain(name) {
		return r.main, nil
	}
	return r.current().Reread(name)
}

func (r *reader) Changed(name string) bool {
	return !r.isMain(name) && r.current().Changed(name)
}

func (r *reader) Look() func(name string) bool {
	look := r.current().Look()
	return func(name string) bool { return !r.isMain(name) && look.Changed(name) }
}

func (r *reader) Render(svc *model.Service) string {
	return string(native.Write(svc, native.WriteOptions{Origin: true, Mask: true}))
}

const appliedFile = "applied"

// appliedDefinitions is RUN/applied: what runs, whatever the files say by now.
type appliedDefinitions struct {
	Version  int                       `json:"version"`
	Boot     string                    `json:"boot"`
	Services map[string]*model.Service `json:"services"`
}

const (
	appliedVersion = 1
	applyLater     = 500 * time.Millisecond
)

// KeepApplied writes in the background; of several versions in a row the last
// one counts. A kill before it is written makes the next engine read the files.
func (r *reader) KeepApplied(services map[string]*model.Service) {
	select {
	case <-r.saving:
	default:
	}
	r.saving <- services
}

func (r *reader) writeApplied(services map[string]*model.Service) error {
	data, err := json.Marshal(appliedDefinitions{appliedVersion, r.boot, services})
	if err != nil {
		return fmt.Errorf("cannot encode what is applied: %w", err)
	}
	return r.run.WriteFile(appliedFile, data, 0o600)
}

func (r *reader) Applied() map[string]*model.Service { return r.applied }

func (r *reader) readApplied() map[string]*model.Service {
	const most = 256 << 20
	data, err := r.run.ReadFile(appliedFile, most)
	if err != nil {
		return nil
	}
	var a appliedDefinitions
	if json.Unmarshal(data, &a) != nil || a.Version != appliedVersion || a.Boot != r.boot {
		return nil
	}
	return a.Services
}
