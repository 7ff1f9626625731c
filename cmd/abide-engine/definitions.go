package main

import (
	"sync"

	"github.com/abide-project/abide/internal/definitions"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// reader is package definitions as the engine's port, and what of it is applied.
type reader struct {
	opts    definitions.Options
	main    *model.Service // of `abide init -- COMMAND`
	applied *applied
	past    past

	mu   sync.Mutex
	set  *definitions.Set
	read *definitions.Set // last, nil: the set itself
}

func newReader(opts definitions.Options, main *model.Service, run *state.Dir, boot string, report func(error)) *reader {
	r := &reader{opts: opts, main: main}
	r.applied, r.past = openApplied(run, boot, report)
	return r
}

// Restored is Load without reading a file: as a former engine of this boot
// applied them.
func (r *reader) Restored() (engine.Loaded, bool) {
	if r.past.memory == nil || r.main != nil && r.past.services[r.main.Name] == nil {
		return engine.Loaded{}, false
	}
	set := definitions.Restore(r.opts, *r.past.memory, r.past.known, r.past.inputs)
	r.past.known, r.past.inputs, r.past.memory = nil, nil, nil
	return r.take(set), true
}

func (r *reader) Load(running map[string]*model.Service) engine.Loaded {
	loaded := r.Read(running)
	r.Take(nil)
	return loaded
}

func (r *reader) Read(running map[string]*model.Service) engine.Loaded {
	r.mu.Lock()
	before := r.read
	if before == nil {
		before = r.set
	}
	r.mu.Unlock()
	set := definitions.LoadAfter(r.opts, before)
	set.Keep(running)
	r.mu.Lock()
	r.read = set
	r.mu.Unlock()
	return r.loaded(set)
}

func (r *reader) Take(meant func(name string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read == nil {
		return
	}
	if meant == nil || r.set == nil {
		r.set, r.read = r.read, nil
		return
	}
	r.set = r.read.Over(r.set, meant)
}

func (r *reader) take(set *definitions.Set) engine.Loaded {
	r.mu.Lock()
	r.set, r.read = set, nil
	r.mu.Unlock()
	return r.loaded(set)
}

func (r *reader) loaded(set *definitions.Set) engine.Loaded {
	if r.main != nil {
		set.Services[r.main.Name] = r.main
	}
	loaded := engine.Loaded{
		Services: set.Services, Broken: set.Broken, Diags: set.Diags, Shutdown: set.Shutdown,
		Sources: set.Sources, DotEnv: set.DotEnv, Templates: make(map[string]engine.Template, len(set.Templates)),
	}
	for name, t := range set.Templates {
		loaded.Templates[name] = engine.Template(t)
	}
	return loaded
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

func (r *reader) Known(name string) *model.Service { return r.current().Known(name) }

func (r *reader) Look() func(name string) bool {
	look := r.current().Look()
	return func(name string) bool { return !r.isMain(name) && look.Changed(name) }
}

func (r *reader) Render(svc *model.Service) string {
	return string(native.Write(svc, native.WriteOptions{Origin: true, Mask: true}))
}

func (r *reader) KeepApplied(services map[string]*model.Service) error {
	v := &inForce{services: services, set: r.current()}
	if r.main != nil {
		v.main = r.main.Name
	}
	return r.applied.keep(v)
}

func (r *reader) Applied() map[string]*model.Service { return r.past.services }
