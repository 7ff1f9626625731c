package definitions

import (
	"path/filepath"
	"slices"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// same returns the stamp of the file of a service that an earlier set knows, if it is
// as it was then, and 0 if it has to be read. A link is always followed anew.
func (g *gatherer) same(d *dir, file, name, path string) stamp {
	if g.before == nil || g.before.known[name] == nil || g.before.suspects[name] {
		return 0
	}
	for _, in := range g.before.inputs[name] {
		if in.path == path {
			if at := d.stampOf(file); at == in.at {
				return at
			}
			return 0
		}
	}
	return 0
}

// look reads a file that was passed over because it is as it was: something else
// about the service has changed.
func (g *gatherer) look(p *piece) {
	if !p.unread {
		return
	}
	p.unread = false
	path := p.at.File
	d, err := g.r.openDir(filepath.Dir(path))
	if err == nil {
		defer d.close()
		var data []byte
		var at stamp
		if data, at, err = d.read(filepath.Base(path)); err == nil {
			p.inputs = []input{{path, at}}
			if p.tree, p.diags = tomltree.Parse(path, data); p.diags.HasErrors() {
				p.broken, p.tree = p.diags, nil
			}
			return
		}
	}
	p.broken, p.inputs = g.unreadable(path, err), []input{{path, stampAt(path)}}
}

// usable is the earlier set, if services may be taken from it: what belongs to all of
// them has not changed.
func (g *gatherer) usable(dotEnv string) *Set {
	if g.before == nil || dotEnv != g.before.DotEnv || !slices.Equal(g.abideToml, g.before.projects) {
		return nil
	}
	return g.before
}

// taken takes a service from the earlier set when all its files are as they were.
func (c *combiner) taken(name, template string, main chosen, above []*piece) bool {
	if c.before == nil || main.broken != nil {
		return false
	}
	svc := c.before.known[name]
	if svc == nil || svc.Template != template || c.before.suspects[name] {
		return false
	}
	inputs := slices.Clone(main.inputs)
	for _, d := range c.allDropIns(name, template, main, above) {
		inputs = append(inputs, d.inputs...)
	}
	old := c.before.inputs[name]
	if !slices.Equal(inputs, old) || slices.ContainsFunc(old, func(in input) bool { return in.at == 0 }) {
		return false
	}
	c.add(name, svc, c.before.notes[name], old)
	return true
}

// Over is s for the services that are meant, and old for all others: of those Changed
// goes on to compare the files with what old had read.
func (s *Set) Over(old *Set, meant func(name string) bool) *Set {
	out := &Set{
		Services: s.Services, Broken: s.Broken, Diags: s.Diags, Shutdown: s.Shutdown, Sources: s.Sources, DotEnv: s.DotEnv, Templates: s.Templates,
		opts: s.opts, folders: old.folders, lost: s.lost, foreign: s.foreign, projects: s.projects, notes: map[string]diag.List{}, suspects: map[string]bool{},
		inputs: map[string][]input{}, known: map[string]*model.Service{},
		// Services of both were made with one set of defaults, or none is to be taken.
		stale: old.stale || s.stale || s.DotEnv != old.DotEnv || !slices.Equal(s.projects, old.projects),
	}
	for from, wanted := range map[*Set]bool{s: true, old: false} {
		from.mu.Lock()
		for name, inputs := range from.inputs {
			if meant(name) == wanted {
				out.inputs[name] = inputs
			}
		}
		for name, notes := range from.notes {
			if meant(name) == wanted {
				out.notes[name] = notes
			}
		}
		for name, svc := range from.known {
			if meant(name) == wanted {
				out.known[name] = svc
				if from.suspects[name] {
					out.suspects[name] = true
				}
			}
		}
		from.mu.Unlock()
	}
	return out
}
