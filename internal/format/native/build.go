package native

import (
	"path"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// Parts are what one service is made of: trees of its keys, later ones over
// earlier ones.
type Parts struct {
	Name     string // with "@INSTANCE" for a copy, "web@" for a template itself
	Template string // "web@" for a copy made of a template
	Layers   []*tomltree.Value
	Files    []string // the main one first
	Settings format.Settings
}

// exclusive are keys that replace each other: what an upper layer sets takes the
// others away from the lower ones.
var exclusive = map[string][2]string{
	"stop":   {"signal", "command"},
	"reload": {"signal", "command"},
}

func mergeAll(layers []*tomltree.Value) *tomltree.Value {
	var out *tomltree.Value
	for _, over := range layers {
		if over == nil {
			continue
		}
		out = tomltree.Merge(yield(out, over), over)
	}
	if out == nil {
		out = &tomltree.Value{Kind: tomltree.Table}
	}
	return out
}

// yield removes from base what over replaces by another key.
func yield(base, over *tomltree.Value) *tomltree.Value {
	if base == nil {
		return nil
	}
	for table, pair := range exclusive {
		b, o := base.Get(table), over.Get(table)
		if b == nil || o == nil || b.Value.Kind != tomltree.Table || o.Value.Kind != tomltree.Table {
			continue
		}
		for i, key := range pair {
			other := pair[1-i]
			if o.Value.Get(key) != nil && o.Value.Get(other) == nil && b.Value.Get(other) != nil {
				trimmed := &tomltree.Value{Kind: tomltree.Table, Fields: []*tomltree.Field{{Key: table, Pos: b.Pos, Value: b.Value.Without(other)}}}
				base = tomltree.Merge(base.Without(table), trimmed)
				break
			}
		}
	}
	return base
}

// Build makes a service of its parts. It is complete and valid unless the
// diagnostics have errors.
func Build(p Parts) (*model.Service, diag.List) {
	r := p.read()
	s := r.svc
	s.Name, s.Template, s.Files = p.Name, p.Template, p.Files
	_, s.Instance = model.SplitName(p.Name)
	r.finish()
	if !r.list.HasErrors() {
		r.list = append(r.list, model.Validate(s)...)
	}
	return s, r.list
}

// Instances are the names of a template's copies. Only the key instances is
// judged: the others are when a copy is built.
func Instances(p Parts) ([]string, diag.List) {
	root := mergeAll(p.Layers)
	r := &reader{svc: &model.Service{Name: p.Name}, root: root, template: true}
	if f := root.Get("instances"); f != nil {
		readInstances(r, "instances", f.Value)
	}
	return r.instances, r.list
}

func (p Parts) read() *reader {
	root := mergeAll(p.Layers)
	base := peek(root, p.Settings)
	r := &reader{svc: &base, root: root, template: p.Template != "" || strings.HasSuffix(p.Name, "@")}
	r.svc.Name = p.Name
	r.svc.Origin = make(map[string]diag.Pos, len(root.Fields))
	if f := root.Get("shell"); f != nil {
		r.shell = f.Value.Bool
	}
	r.table("", root)
	return r
}

// finish fills in what one key decides for another.
func (r *reader) finish() {
	s := r.svc
	if _, given := s.Origin["log.stderr"]; !given {
		s.Log.Stderr = s.Log.Stdout
	}
	if _, given := s.Origin["stdin"]; !given && s.TTY != "" {
		s.Stdin = model.StdinTTY
	}
	if len(s.Stop.Command) > 0 {
		if _, given := s.Origin["stop.signal"]; !given {
			s.Stop.Steps = nil
		}
	}
	if len(s.Reload.Command) > 0 {
		if _, given := s.Origin["reload.signal"]; !given {
			s.Reload.Signal = 0
		}
	}
	if _, given := s.Origin["stop.timeout"]; !given {
		s.Stop.Timeout = stopTimeout(s.Stop.Steps, s.Stop.Timeout)
	}
	r.resolve()
}

// stopTimeout is how long a stop takes when only its steps are given: their sum,
// and the usual time for a last step that names none.
func stopTimeout(steps []model.StopStep, usual dur) dur {
	var sum dur
	for _, step := range steps {
		sum += step.Wait
	}
	if n := len(steps); n == 0 || steps[n-1].Wait == 0 {
		sum += usual
	}
	return sum
}

// resolve makes relative paths absolute: directory and chroot against the root
// of the definitions, other paths against directory. What a chroot holds is
// named from inside of it, so below one directory is taken from its /, and files
// that abide itself opens from the root of the definitions.
func (r *reader) resolve() {
	s := r.svc
	if s.Chroot != "" {
		s.Chroot = against(s.Root, s.Chroot)
		s.Directory = against("/", s.Directory)
	} else {
		s.Directory = against(s.Root, s.Directory)
	}
	base := s.Root
	if s.Directory != "" && s.Chroot == "" {
		base = s.Directory
	}
	s.TTY = against(base, s.TTY)
	for i := range s.EnvironmentFiles {
		s.EnvironmentFiles[i].Path = against(base, s.EnvironmentFiles[i].Path)
	}
	for _, targets := range [][]model.LogTarget{s.Log.Stdout, s.Log.Stderr} {
		for i := range targets {
			targets[i].Path = against(base, targets[i].Path)
		}
	}
}

func against(base, p string) string {
	if p == "" || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "${") {
		return p
	}
	return path.Join(base, p)
}
