package native

import (
	"path"
	"slices"
	"strconv"
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
	Common   Common // below all layers
	Layers   []*tomltree.Value
	Files    []string // the main one first
	Settings format.Settings
}

// Common is what abide.toml says of a service among others.
type Common struct {
	Defaults []*tomltree.Value
	Grants   []*tomltree.Field // [operators."PATTERN"] tables whose pattern matches
}

// layers are all trees, those of the surroundings first.
func (p Parts) layers() []*tomltree.Value {
	if len(p.Common.Defaults)+len(p.Common.Grants) == 0 {
		return p.Layers
	}
	all := slices.Concat(p.Common.Defaults, p.Layers)
	kind := kindOf(all)
	for i, v := range p.Common.Defaults {
		all[i] = fitting(v, kind)
	}
	return slices.Insert(all, len(p.Common.Defaults), grantsLayer(p.Common.Grants))
}

// fitting is what defaults say of a service of that kind: a target has no
// process that most of it could be about, a task gives no sign of readiness.
func fitting(defaults *tomltree.Value, kind model.Kind) *tomltree.Value {
	if defaults == nil {
		return nil
	}
	switch kind {
	case model.Target:
		out := &tomltree.Value{Kind: tomltree.Table, Pos: defaults.Pos, Header: defaults.Header}
		for _, f := range defaults.Fields {
			if forTarget(f.Key) || keyByPath[f.Key] == nil && !tables[f.Key] {
				out.Fields = append(out.Fields, f)
			}
		}
		return out
	case model.Task:
		return defaults.Without("ready", "health")
	}
	return defaults
}

// forTarget reports whether a key, or all keys of a table, mean something for a
// target.
func forTarget(path string) bool {
	table, _, _ := strings.Cut(path, ".")
	switch table {
	case "description", "kind", "enabled", "operators":
		return true
	}
	return slices.ContainsFunc(needKeys, func(k Key) bool { return k.Path == table })
}

// kindOf is what the last layer that knows says of the kind.
func kindOf(layers []*tomltree.Value) model.Kind {
	for _, layer := range slices.Backward(layers) {
		if f := layer.Get("kind"); f != nil {
			return kinds[f.Value.Text]
		}
	}
	return model.Daemon
}

// exclusive are keys that replace each other: what an upper layer sets takes the
// others away from the lower ones.
var exclusive = map[string][]string{
	"stop":   {"signal", "command"},
	"reload": {"signal", "command"},
	"ready":  {"after", "notify", "fd", "tcp", "http", "exec", "log", "file"},
	"health": {"http", "tcp", "exec", "watchdog"},
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
	for table, group := range exclusive {
		b, o := base.Get(table), over.Get(table)
		if b == nil || o == nil || b.Value.Kind != tomltree.Table || o.Value.Kind != tomltree.Table {
			continue
		}
		if slices.ContainsFunc(group, func(key string) bool { return o.Value.Get(key) != nil }) {
			trimmed := &tomltree.Value{Kind: tomltree.Table, Fields: []*tomltree.Field{{Key: table, Pos: b.Pos, Value: b.Value.Without(group...)}}}
			base = tomltree.Merge(base.Without(table), trimmed)
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
	r.finish()
	s.Grants = r.grants(p)
	if !r.list.HasErrors() {
		r.idle()
		between := model.Validate(s)
		if len(p.Layers) > 0 && p.Layers[0] == standIn {
			between = slices.DeleteFunc(between, elsewhere)
		}
		r.list = append(r.list, between...)
	}
	return s, r.list
}

// elsewhere reports whether what a drop-in or defaults lack, judged by themselves,
// may stand in the definition that they are for.
func elsewhere(d diag.Diagnostic) bool { return d.Code == "missing" || d.Code == "no-effect" }

// Copies are the instances that a template asks for.
type Copies struct {
	Instances []string
	Scaled    bool // they are numbered from 1; so are those of a template that lists none
}

// Numbered are n copies named by their numbers.
func Numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(i + 1)
	}
	return out
}

// CopiesOf tells which copies a template has. Only the keys scale and instances
// are judged: the others are when a copy is built.
func CopiesOf(p Parts) (Copies, diag.List) {
	root := mergeAll(p.layers())
	r := &reader{svc: &model.Service{Name: p.Name}, root: root, template: true}
	instances, scale := root.Get("instances"), root.Get("scale")
	c := Copies{Scaled: instances == nil}
	if instances != nil {
		readInstances(r, "instances", instances.Value)
	}
	c.Instances = r.instances
	if scale != nil {
		readScale(r, "scale", scale.Value)
		if r.scaled {
			c.Instances = Numbered(r.scale)
		}
	}
	return c, r.list
}

func (p Parts) read() *reader {
	root := mergeAll(p.layers())
	base := peek(root, p.Settings)
	r := &reader{svc: &base, root: root, own: p.Layers, template: p.Template != "" || strings.HasSuffix(p.Name, "@")}
	_, r.svc.Instance = model.SplitName(p.Name)
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
	if s.Kind == model.Target {
		r.onlyASet()
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

// onlyASet refuses for a target what is about a process.
func (r *reader) onlyASet() {
	for i := range keys {
		k := &keys[i]
		if pos, given := r.svc.Origin[k.Path]; given && !forTarget(k.Path) {
			r.fail(pos, "conflict", "a target is a name for a set and runs nothing; leave kind out for a service that runs", "cannot use %s: %s is a target", k.Path, r.svc.Name)
		}
	}
}

// idle warns of a definition that says how to wait or check and not for what.
func (r *reader) idle() {
	if len(r.own) > 0 && r.own[0] == standIn {
		return
	}
	if pos, given := r.svc.Origin["ready.timeout"]; given && !r.svc.Ready.Signed() && r.isOwn("ready.timeout") {
		r.list.Add(diag.Warning, pos, "no-effect", "name one of "+strings.Join(exclusive["ready"][1:], ", "), "ready.timeout does nothing: no sign is named")
	}
	if h := &r.svc.Health; h.Checks() || h.Watchdog != 0 {
		return
	}
	for _, key := range []string{"health.interval", "health.timeout", "health.grace", "health.failures", "health.action"} {
		if pos, given := r.svc.Origin[key]; given && r.isOwn(key) {
			r.list.Add(diag.Warning, pos, "no-effect", "name one of "+strings.Join(exclusive["health"], ", "), "%s does nothing: no check is named", key)
			return
		}
	}
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
	for i := range s.Credentials {
		s.Credentials[i].Path = against(base, s.Credentials[i].Path)
	}
	for _, list := range [][]model.Dependency{s.Needs.Requires, s.Needs.Wants, s.Needs.OptionalAll, s.Needs.ExcludeAll} {
		resolveFiles(base, list)
	}
	for _, set := range s.Needs.AnyOf {
		resolveFiles(base, set)
	}
	for _, list := range [][]string{s.Conditions.PathExists, s.Conditions.PathMissing} {
		for i := range list {
			list[i] = against(base, list[i])
		}
	}
	s.PidFile = against(base, s.PidFile)
	s.Ready.File = against(base, s.Ready.File)
	for _, targets := range [][]model.LogTarget{s.Log.Stdout, s.Log.Stderr} {
		for i := range targets {
			targets[i].Path = against(base, targets[i].Path)
		}
	}
}

func resolveFiles(base string, list []model.Dependency) {
	for i := range list {
		list[i].File = against(base, list[i].File)
	}
}

func against(base, p string) string {
	if p == "" || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "${") {
		return p
	}
	return path.Join(base, p)
}
