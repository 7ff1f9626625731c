package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// Layers is what the state folder lays over the definition files, and what was in
// force before. A change is on the disk when its method returns, or it is not made.
type Layers interface {
	// Pins are the services that stay at a snapshot, by name.
	Pins() map[string]Pin
	// SetPin pins a service; nil lets go of it.
	SetPin(name string, p *Pin) error
	// Scale is what an operator said about the copies of a template ("web@"), nil if
	// nothing. Definitions obeys it.
	Scale(template string) *state.Scale
	SetScale(template string, s *state.Scale) error
	// Archive keeps definitions that differ from the last one kept of their service.
	Archive([]Version) error
	// Versions lists what is kept of a service, the oldest first, without definitions.
	Versions(name string) ([]Version, error)
	// Version returns one of them; fs.ErrNotExist if it is not kept.
	Version(name string, number uint64) (Version, error)
}

// Pin is a snapshot that a service stays at.
type Pin struct {
	Number uint64
	By     int
	At     time.Time
	Def    *model.Service
}

// Version is a definition that was in force.
type Version struct {
	Name   string
	Number uint64
	At     time.Time
	By     int
	Verb   string
	Keys   []string
	Def    *model.Service
}

// noLayers stands for a state folder that is not there.
type noLayers struct{}

func (noLayers) Pins() map[string]Pin                    { return nil }
func (noLayers) SetPin(string, *Pin) error               { return state.ErrNoState }
func (noLayers) Scale(string) *state.Scale               { return nil }
func (noLayers) SetScale(string, *state.Scale) error     { return state.ErrNoState }
func (noLayers) Archive([]Version) error                 { return state.ErrNoState }
func (noLayers) Versions(string) ([]Version, error)      { return nil, state.ErrNoState }
func (noLayers) Version(string, uint64) (Version, error) { return Version{}, state.ErrNoState }

// archivedPage says that what is in force is in the archive: nothing more.
const archivedPage = "/archived"

// archiveInForce puts all definitions in force into the archive. Once in the life
// of an instance that may be news to it; what comes into force later goes there
// before.
func (e *Engine) archiveInForce() {
	if e.archived {
		return
	}
	e.archived = true
	if e.archiveAll(e.ports.Layers.Archive(e.inForce())) {
		e.putOwn(archivedPage, nil)
	}
}

// archiveWhenQuiet is archiveInForce beside the loop, once nobody waits for that.
func (e *Engine) archiveWhenQuiet() {
	if e.archived || e.beginning || e.stopping != nil {
		return
	}
	e.archived = true
	list := e.inForce()
	e.aside(func() {
		err := e.ports.Layers.Archive(list)
		e.Post(func() {
			if e.archiveAll(err) {
				e.putOwn(archivedPage, nil)
			}
		})
	})
}

// archiveAll tells whether it succeeded, and says once why not.
func (e *Engine) archiveAll(err error) bool {
	if err != nil && !errors.Is(err, state.ErrNoState) {
		e.complainOnce("archive", fmt.Sprintf("Cannot keep what is in force for a rollback: %v", err))
	}
	return err == nil
}

func (e *Engine) inForce() []Version {
	list := make([]Version, 0, len(e.services))
	for _, name := range sortedKeys(e.services) {
		if s := e.services[name]; s.def != nil && !s.transient && !s.builtIn && !s.gone {
			list = append(list, Version{Name: name, At: e.wall(), By: state.NoOne, Verb: "boot", Def: s.def})
		}
	}
	return list
}

// archive keeps definitions that are about to be in force. The archive is for
// operators: without it what they want is done all the same.
func (e *Engine) archive(list ...Version) {
	if len(list) == 0 {
		return
	}
	e.archiveInForce()
	e.archiveAll(e.ports.Layers.Archive(list))
}

// version is a definition that comes into force by the present request.
func (e *Engine) version(name string, def *model.Service, keys []string) Version {
	v := Version{Name: name, At: e.wall(), By: state.NoOne, Verb: string(control.Apply), Keys: keys, Def: def}
	if r := e.asked.open[e.request]; r != nil {
		v.By, v.Verb = r.req.Who.UID, string(r.req.Verb)
	}
	return v
}

// pinText says which snapshot a service is pinned to; "" if it is not.
func (e *Engine) pinText(name string) string {
	p, ok := e.pins[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf("pinned to snapshot %d by uid %d at %s", p.Number, p.By, p.At.UTC().Format(time.RFC3339))
}

// rollback gives a service a definition that was in force before, and keeps it
// there. Nothing is stopped before it is certain that a start has a chance.
func (e *Engine) rollback(req control.Request, s *service) (control.Outcome, *waiter) {
	list := "abide rollback " + s.name
	cannot := func(err error, hint string) (control.Outcome, *waiter) {
		o := refuse(s, control.Failed, "cannot roll back %s to snapshot %d: %v", s.name, req.Number, err)
		o.Hint = hint
		return o, nil
	}
	if s.transient || s.builtIn || s.gone {
		return cannot(errors.New("it has no definition of its own"), "")
	}
	e.archiveInForce()
	v, err := e.ports.Layers.Version(s.name, uint64(req.Number))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cannot(errors.New("there is none of that number"), list)
	case err != nil:
		return cannot(err, "")
	}
	if err := e.ports.Compiler.Check(v.Def); err != nil {
		return cannot(err, list)
	}
	pin := Pin{Number: v.Number, By: req.Who.UID, At: e.wall(), Def: v.Def}
	if err := e.ports.Layers.SetPin(s.name, &pin); err != nil {
		return cannot(err, "")
	}
	e.setPin(s.name, &pin)
	must, keys := compare(s.def, v.Def)
	note := fmt.Sprintf("pinned to snapshot %d", v.Number)
	if len(keys) > 0 {
		e.record(s.name, s.st.Run, "definition", note+", changed: "+listed(keys), nil)
	}
	ev := core.Event{Kind: core.EvRedefined, Must: must}
	starts := foresee(v.Def, &s.st, ev, e.now()) != control.WillNothing || e.willStart(s.name)
	e.redefine(s, v.Def)
	e.changeTo(s, ev, starts)
	e.keepChanges()
	e.writeApplied()
	if !starts {
		return done(s, note), nil
	}
	return control.Outcome{}, e.waitFor(s, waitUp, s.st.Run, note)
}

// setPin remembers a pin that is kept, or that there is none any more.
func (e *Engine) setPin(name string, p *Pin) {
	if p == nil {
		delete(e.pins, name)
		return
	}
	if e.pins == nil {
		e.pins = map[string]Pin{}
	}
	e.pins[name] = *p
}

// unpin lets go of the pins of the services that a name means.
func (e *Engine) unpin(asked []string) (refused []control.Outcome) {
	for _, name := range asked {
		found := false
		for _, pinned := range sortedKeys(e.pins) {
			if !means(name, pinned) {
				continue
			}
			found = true
			if err := e.ports.Layers.SetPin(pinned, nil); err != nil {
				refused = append(refused, control.Outcome{Name: pinned, Code: control.Failed, Message: fmt.Sprintf("cannot unpin %s: %v", pinned, err)})
				continue
			}
			e.setPin(pinned, nil)
			e.record(pinned, 0, "definition", "not pinned any more", nil)
		}
		if s := e.services[name]; !found && s == nil && len(e.instancesOf(name)) == 0 {
			refused = append(refused, unknown(name))
		}
	}
	return refused
}

// instancesOf are the services made of a template, in the order of their names.
func (e *Engine) instancesOf(base string) []string {
	var names []string
	for name, s := range e.services {
		if s.def != nil && s.def.Template == base+"@" && !s.gone {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, compareNames)
	return names
}
