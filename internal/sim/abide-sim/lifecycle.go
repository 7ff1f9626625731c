//go:build abide_sim && linux

package main

import (
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/sim/kernel"
	"github.com/abide-project/abide/internal/svlog"
)

// traits are what a service has whatever its files say later: what is judged of its
// runs would be another thing with each definition otherwise.
type traits struct {
	target bool
	hooks  [core.HookKinds]int // commands of each kind
}

var hookNames = [core.HookKinds]string{
	core.BeforeStart: "before_start", core.AfterStart: "after_start",
	core.BeforeStop: "before_stop", core.AfterStop: "after_stop",
}

func (w *world) traitsOf(name string) *traits {
	t := w.traits[name]
	if t == nil {
		t = &traits{target: strings.HasSuffix(name, "1") && w.chance(w.mood.linked/2)}
		for kind := range t.hooks {
			if w.chance(w.mood.hooked) {
				t.hooks[kind] = 1 + w.rand.IntN(2)
			}
		}
		w.traits[name] = t
	}
	return t
}

// live gives a definition what happens around a run.
func (w *world) live(d *model.Service) {
	t := w.traitsOf(d.Name)
	for kind, list := range [core.HookKinds]*[]model.Hook{
		core.BeforeStart: &d.Hooks.BeforeStart, core.AfterStart: &d.Hooks.AfterStart,
		core.BeforeStop: &d.Hooks.BeforeStop, core.AfterStop: &d.Hooks.AfterStop,
	} {
		for range t.hooks[kind] {
			*list = append(*list, model.Hook{Command: []string{"/bin/hook"}, Timeout: 20 * time.Second})
		}
	}
	switch {
	case d.Kind == model.Daemon && w.chance(w.mood.signs):
		d.Ready.File, d.Ready.Timeout = signOf(d.Name), 10*time.Second
	case w.chance(0.2):
		d.Ready.After = 2 * time.Second
	}
	if w.chance(0.1) {
		d.Restart.Limit.InRow = 1 + w.rand.IntN(5)
	}
	if w.chance(0.1) {
		d.Restart.Spacing = 30 * time.Second
	}
	if w.chance(0.1) {
		d.Restart.Short = model.Short{Under: 5 * time.Second, Delay: 20 * time.Second, After: w.rand.IntN(3), Counted: w.chance(0.5)}
	}
}

// signOf is the file by which a service says that it is ready.
func signOf(name string) string { return "/run/" + name + ".ready" }

// sign lets a program say that it is ready, after a while or never.
func (w *world) sign(r *run) {
	after := w.between(0, 15*time.Second)
	switch {
	case w.calm:
		after /= 5
	case w.chance(0.15):
		return
	}
	w.s.After(after, func() {
		if r.p.Alive() {
			w.touch(signOf(r.key.name))
		}
	})
}

// touch changes a file.
func (w *world) touch(path string) {
	w.touches++
	w.marks[path] = w.touches
	if w.paths != nil {
		w.paths.changed(path)
	}
}

// serviceOf is the service that a slot of the keeper is for: while it is rolled it has
// two.
func serviceOf(slot string) string { return strings.TrimSuffix(slot, "/roll") }

// commandOf tells what a slot of a command is for; kind is "" if it is a service's.
func commandOf(slot string) (service, kind string) {
	service, rest, _ := strings.Cut(slot, "/")
	kind = strings.TrimPrefix(strings.TrimPrefix(rest, "roll"), "/")
	return service, kind
}

// commandBegins is the first moment of a command that belongs to a service.
func (w *world) commandBegins(service, kind string, r *run) {
	switch {
	case kind == "stop":
		w.endsLater(r, w.between(0, 3*time.Second), 0)
		w.stopCommand(service, r.key.run>>16)
	case w.calm:
		w.endsLater(r, w.between(0, 2*time.Second), 0)
	case w.chance(0.05): // it never ends by itself
	case w.chance(0.1):
		w.endsLater(r, w.between(0, 5*time.Second), 1<<8)
	default:
		w.endsLater(r, w.between(0, 5*time.Second), 0)
	}
}

// hookOf is the n-th command of a kind that belongs to a run, from 1; nil if it was
// not asked for.
func (w *world) hookOf(slot string, run uint64, kind core.HookKind, n int) *run {
	return w.runOf(runKey{slot + "/" + hookNames[kind], svlog.AuxNumber(run, uint64(n))})
}

// checkBefore looks whether all that is to be done before a run begins was done.
func (w *world) checkBefore(slot string, number uint64) {
	if w.mood.damage > 0 {
		return // what the keeper knew of it is gone
	}
	for n := 1; n <= w.traitsOf(serviceOf(slot)).hooks[core.BeforeStart]; n++ {
		switch h := w.hookOf(slot, number, core.BeforeStart, n); {
		case h == nil:
			w.violation("%s[%d] begins and before_start command %d has not run", slot, number, n)
		case h.p.Alive():
			w.violation("%s[%d] begins while before_start command %d runs", slot, number, n)
		case h.began && h.status != 0:
			w.violation("%s[%d] begins though before_start command %d ended with %#x", slot, number, n, h.status)
		}
	}
}

// checkAfter looks whether after_stop ran for a run that has ended.
func (w *world) checkAfter(s *service) {
	r := s.runs[s.last]
	if w.mood.damage > 0 || w.mood.portFails > 0 || r == nil || !r.began || r.p.Alive() || s.forgotten {
		return
	}
	if w.traitsOf(s.name).hooks[core.AfterStop] > 0 && w.hookOf(r.slot, r.key.run, core.AfterStop, 1) == nil {
		w.violation("%s[%d] has ended and after_stop has not run", r.slot, r.key.run)
	}
}

// hooksRun tells whether a command of a service is under way.
func (w *world) hooksRun(name string) bool {
	for _, p := range w.k.Procs() {
		if service, kind := commandOf(p.Name); p.Role == kernel.Main && p.Alive() && service == name && kind != "" {
			return true
		}
	}
	return false
}
