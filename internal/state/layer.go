package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"time"
)

// Layer is what operators laid over the definition files: services that are
// pinned to a snapshot, and templates with another number of copies than their
// file says. It lies in the state directory, so it survives a reboot; no
// definition folder is ever written.
//
// Its methods may be called from any goroutine.
type Layer struct {
	dir *Dir // nil: nothing can be kept

	mu   sync.Mutex
	held layerJSON
}

// Pin keeps a service at one of its snapshots.
type Pin struct {
	Number uint64    `json:"number"` // of the snapshot
	By     int       `json:"by"`     // uid
	At     time.Time `json:"at"`
	// Definition is the snapshot itself, see Version: a pin holds even when the
	// archive is lost.
	Definition []byte `json:"definition"`
}

// Scale is how many copies of a template are to run.
type Scale struct {
	Copies int       `json:"copies"`
	By     int       `json:"by"` // uid
	At     time.Time `json:"at"`
}

type layerJSON struct {
	Version int              `json:"version"`
	Pins    map[string]Pin   `json:"pins,omitempty"`
	Scales  map[string]Scale `json:"scales,omitempty"` // by template, "web@"
}

const (
	layerName     = "layer"
	layerVersion  = 1
	layerMaxBytes = 64 << 20
)

// ErrNoState is the reason why nothing can be kept: there is no state directory.
var ErrNoState = errors.New("there is no state folder that could hold it")

// LoadLayer reads the layer. The directory may be nil. A file that makes no sense
// is set aside as layer.bad; problem then says so, and the layer is empty.
func LoadLayer(dir *Dir) (l *Layer, problem error) {
	l = &Layer{dir: dir, held: layerJSON{Version: layerVersion}}
	if dir == nil {
		return l, nil
	}
	data, err := dir.ReadFile(layerName, layerMaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		var held layerJSON
		if err = json.Unmarshal(data, &held); err == nil && held.Version != layerVersion {
			err = fmt.Errorf("version %d is not %d", held.Version, layerVersion)
		}
		if err == nil {
			l.held = held
			return l, nil
		}
		err = dir.failed("understand", layerName, err)
	}
	if aside := dir.SetAside(layerName); aside != nil {
		return l, errors.Join(err, aside)
	}
	return l, fmt.Errorf("%w; it is kept as %s.bad, and what was pinned or scaled is as its file says", err, layerName)
}

// Pins returns all pins, by service.
func (l *Layer) Pins() map[string]Pin {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.held.Pins)
}

// Scales returns all numbers of copies, by template.
func (l *Layer) Scales() map[string]Scale {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.held.Scales)
}

// Scale returns what was said about one template.
func (l *Layer) Scale(template string) (Scale, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.held.Scales[template]
	return s, ok
}

// SetPin pins a service; nil lets go of it. When it fails the layer is as it was.
func (l *Layer) SetPin(name string, p *Pin) error {
	return l.change(func(next *layerJSON) { next.Pins = with(next.Pins, name, p) })
}

// SetScale says how many copies of a template are to run; nil leaves that to its
// file. When it fails the layer is as it was.
func (l *Layer) SetScale(template string, s *Scale) error {
	return l.change(func(next *layerJSON) { next.Scales = with(next.Scales, template, s) })
}

func (l *Layer) change(change func(*layerJSON)) error {
	if l.dir == nil {
		return ErrNoState
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.held
	change(&next)
	data, err := json.Marshal(&next)
	if err != nil {
		return l.dir.failed("write", layerName, err)
	}
	if err := l.dir.WriteFile(layerName, append(data, '\n'), 0o600); err != nil {
		return err
	}
	l.held = next
	return nil
}

// with is a copy of m in which key stands for *v, or for nothing.
func with[V any](m map[string]V, key string, v *V) map[string]V {
	out := maps.Clone(m)
	if v == nil {
		delete(out, key)
		return out
	}
	if out == nil {
		out = map[string]V{}
	}
	out[key] = *v
	return out
}
