package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/definitions"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/pack"
	"github.com/abide-project/abide/internal/state"
)

// applied is RUN/applied: the definitions in force, whatever the files say by
// now. A change is there before it takes effect.
//
// A value is what a definition says beyond the defaults of its kind, which stand
// in the file as well: an engine with other defaults must not change what runs.
type applied struct {
	mu     sync.Mutex
	file   *state.Keyed
	report func(error)
	saved  map[string]*model.Service // as in the file
	memory []byte                    // of the set, as in the file
	want   *inForce                  // waits to be written as a whole
}

// inForce is what is in force at one time.
type inForce struct {
	services map[string]*model.Service
	set      *definitions.Set
	main     string
}

const (
	appliedFile  = "applied"
	appliedHead  = "abide applied 2 "
	memoryKey    = "/set"
	defaultsKey  = "/defaults/"
	applyLater   = 500 * time.Millisecond
	decodeShares = 2 // goroutines that decode
)

// entry is one service in the file.
type entry struct {
	Base       string // key of the defaults
	Known      bool   // made of files
	Inputs     []definitions.Input
	Difference []byte // from the defaults
}

// past is what a former engine of this boot left.
type past struct {
	services map[string]*model.Service // all that were in force
	known    map[string]*model.Service // those of definition files
	inputs   map[string][]definitions.Input
	memory   *definitions.Memory // nil: the files had errors
}

// openApplied reads what is in force. Entries that make no sense are left out:
// their services are read from their files.
func openApplied(dir *state.Dir, boot string, report func(error)) (*applied, past) {
	file, values := state.OpenKeyed(dir, appliedFile, appliedHead+boot)
	a := &applied{file: file, report: report, saved: map[string]*model.Service{}}
	if len(values) == 0 {
		services := readFirstApplied(dir, boot)
		return a, past{services: services}
	}
	p := past{services: make(map[string]*model.Service, len(values)), known: make(map[string]*model.Service, len(values)),
		inputs: make(map[string][]definitions.Input, len(values))}
	bases := map[string]*model.Service{}
	var names []string
	for key, value := range values {
		switch {
		case key == memoryKey:
			var m definitions.Memory
			if pack.Read(value, &m) == nil {
				p.memory = &m
				a.memory = bytes.Clone(value)
			}
		case strings.HasPrefix(key, defaultsKey):
			var base model.Service
			if pack.Read(value, &base) == nil {
				bases[key] = &base
			}
		default:
			names = append(names, key)
		}
	}
	type decoded struct {
		svc *model.Service
		e   entry
	}
	results := make([]decoded, len(names))
	var wg sync.WaitGroup
	for share := range decodeShares {
		wg.Go(func() {
			for i := share; i < len(names); i += decodeShares {
				d := &results[i]
				if pack.Read(values[names[i]], &d.e) == nil {
					d.svc = d.e.service(bases[d.e.Base])
				}
			}
		})
	}
	wg.Wait()
	for i, d := range results {
		name := names[i]
		if d.svc == nil {
			p.memory = nil
			continue
		}
		p.services[name] = d.svc
		a.saved[name] = d.svc
		if d.e.Known {
			p.known[name] = d.svc
			p.inputs[name] = d.e.Inputs
		}
	}
	return a, p
}

// service puts the difference over the defaults; nil when they do not fit.
func (e *entry) service(base *model.Service) *model.Service {
	if base == nil {
		return nil
	}
	svc := *base
	if pack.Read(e.Difference, &svc) != nil {
		return nil
	}
	e.Difference = nil
	return &svc
}

func baseKey(svc *model.Service) string {
	return fmt.Sprintf("%s%d/%t", defaultsKey, svc.Kind, svc.Essential)
}

// lost says that the file was removed: what is kept next is written as a whole.
func (a *applied) lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.file.Lost()
}

// keep stores what is in force from now on. The first version is written in the
// background, so that it holds up no start: until then an engine reads the files,
// which say the same.
func (a *applied) keep(v *inForce) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case len(a.saved) == 0 && a.want == nil && a.file.Stale():
		a.want = v
		time.AfterFunc(applyLater, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.want != nil {
				if err := a.replace(a.want); err != nil {
					a.report(err)
				}
			}
		})
		return nil
	case a.want != nil, a.file.Stale():
		return a.replace(v)
	}
	return a.change(v)
}

// change appends the difference.
func (a *applied) change(v *inForce) error {
	values := map[string][]byte{}
	for name, svc := range v.services {
		if a.saved[name] != svc {
			encode(values, svc, v)
		}
	}
	for name := range a.saved {
		if v.services[name] == nil {
			values[name] = nil
		}
	}
	memory := memoryOf(v)
	if string(memory) != string(a.memory) {
		values[memoryKey] = memory
	}
	if len(values) == 0 {
		return nil
	}
	if err := a.file.Append(values); err != nil {
		return err
	}
	a.saved, a.memory = v.services, memory
	return nil
}

func (a *applied) replace(v *inForce) error {
	values := make(map[string][]byte, len(v.services)+4)
	for _, svc := range v.services {
		encode(values, svc, v)
	}
	memory := memoryOf(v)
	if memory != nil {
		values[memoryKey] = memory
	}
	if err := a.file.Replace(values); err != nil {
		return err
	}
	a.saved, a.memory, a.want = v.services, memory, nil
	return nil
}

// encode adds a service and the defaults of its kind.
func encode(values map[string][]byte, svc *model.Service, v *inForce) {
	base := model.Defaults(svc.Kind, svc.Essential)
	e := entry{Base: baseKey(svc), Difference: pack.AppendDifference(nil, svc, &base)}
	e.Inputs, e.Known = v.set.Inputs(svc.Name, svc)
	e.Known = e.Known || svc.Name == v.main
	if values[e.Base] == nil {
		values[e.Base] = pack.Append(nil, &base)
	}
	values[svc.Name] = pack.Append(nil, &e)
}

// memoryOf is nil for a set with errors.
func memoryOf(v *inForce) []byte {
	m, ok := v.set.Memory()
	if !ok {
		return nil
	}
	return pack.Append(nil, &m)
}

// readFirstApplied reads the form of RUN/applied before this one: one JSON
// object with every definition in full.
func readFirstApplied(dir *state.Dir, boot string) map[string]*model.Service {
	const most = 256 << 20
	data, err := dir.ReadFile(appliedFile, most)
	if err != nil {
		return nil
	}
	var a struct {
		Version  int                       `json:"version"`
		Boot     string                    `json:"boot"`
		Services map[string]*model.Service `json:"services"`
	}
	if json.Unmarshal(data, &a) != nil || a.Version != 1 || a.Boot != boot {
		return nil
	}
	return a.Services
}
