package main

import (
	"errors"

	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/pack"
	"github.com/abide-project/abide/internal/state"
)

// layers is the state folder's layer and archive as the engine's port.
type layers struct {
	layer   *state.Layer
	archive *state.Archive
}

// openLayers reads the layer. What goes wrong with the archive later is said.
func openLayers(dir *state.Dir, say func(string)) (l layers, problem error) {
	l.layer, problem = state.LoadLayer(dir)
	l.archive = state.OpenArchive(dir, func(err error) { say(err.Error()) })
	return l, problem
}

var errSnapshot = errors.New("it was kept by another version of abide and makes no sense here")

// copies tells package definitions how many copies an operator wants.
func (l layers) copies(template string) (int, bool) {
	s, told := l.layer.Scale(template)
	return s.Copies, told
}

func (l layers) Scale(template string) *state.Scale {
	if s, told := l.layer.Scale(template); told {
		return &s
	}
	return nil
}

func (l layers) SetScale(template string, s *state.Scale) error {
	return l.layer.SetScale(template, s)
}

// Pins leaves out what cannot be decoded: then the file counts.
func (l layers) Pins() map[string]engine.Pin {
	pins := map[string]engine.Pin{}
	for name, p := range l.layer.Pins() {
		if def := unpacked(p.Definition); def != nil {
			pins[name] = engine.Pin{Number: p.Number, By: p.By, At: p.At, Def: def}
		}
	}
	return pins
}

func (l layers) SetPin(name string, p *engine.Pin) error {
	if p == nil {
		return l.layer.SetPin(name, nil)
	}
	return l.layer.SetPin(name, &state.Pin{Number: p.Number, By: p.By, At: p.At, Definition: packed(p.Def)})
}

func (l layers) Archive(list []engine.Version) error {
	kept := make([]state.Version, 0, len(list))
	for _, v := range list {
		kept = append(kept, state.Version{Name: v.Name, At: v.At, By: v.By, Verb: v.Verb, Keys: v.Keys, Definition: packed(v.Def)})
	}
	return l.archive.Keep(kept...)
}

func (l layers) Versions(name string) ([]engine.Version, error) {
	kept, err := l.archive.List(name)
	if err != nil {
		return nil, err
	}
	list := make([]engine.Version, 0, len(kept))
	var before *model.Service
	for _, v := range kept {
		def := unpacked(v.Definition)
		if before != nil && def != nil {
			// What is written down differs from what was in force then, which may be a pin.
			v.Keys = nil
			for _, c := range model.Diff(before, def) {
				v.Keys = append(v.Keys, c.Key)
			}
		}
		before = def
		list = append(list, asVersion(v, nil))
	}
	return list, nil
}

func (l layers) Version(name string, number uint64) (engine.Version, error) {
	v, err := l.archive.Get(name, number)
	if err != nil {
		return engine.Version{}, err
	}
	def := unpacked(v.Definition)
	if def == nil {
		return engine.Version{}, errSnapshot
	}
	return asVersion(v, def), nil
}

func asVersion(v state.Version, def *model.Service) engine.Version {
	return engine.Version{Name: v.Name, Number: v.Number, At: v.At, By: v.By, Verb: v.Verb, Keys: v.Keys, Def: def}
}

// packed is a definition without the places its values came from: the files are
// others by the time that it is used, and moving a line changes nothing.
func packed(def *model.Service) []byte {
	plain := *def
	plain.Origin = nil
	return pack.Append(nil, &plain)
}

// unpacked is nil when the data makes no sense.
func unpacked(data []byte) *model.Service {
	var def model.Service
	if len(data) == 0 || pack.Read(data, &def) != nil || def.Name == "" {
		return nil
	}
	return &def
}
