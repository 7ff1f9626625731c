package native

import (
	"path"
	"slices"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// ProjectFile is the name of the file that holds several services and what they
// have in common.
const ProjectFile = "abide.toml"

// Project is an abide.toml, its services not built yet.
type Project struct {
	File     string
	Defaults *tomltree.Value // keys every service of the scope begins with, nil if none
	Failure  *tomltree.Value // [on_failure], below Defaults, nil if none
	Services []*tomltree.Field
	Shutdown dur // 0 if it is not said

	operators []*tomltree.Field
}

var projectKeys = []Key{
	{Path: "defaults", Type: "table", Default: "{}", Doc: "Keys that every service begins with; its own definition replaces them."},
	{Path: "services", Type: "table of tables", Default: "{}", Doc: "Whole definitions, as [services.web] and [services.web.restart]."},
	{Path: "shutdown.timeout", Type: "duration", Default: `"90s"; "9s" in a container`, Doc: "How long everything together may take to stop."},
	{Path: "operators", Type: "table of tables", Default: "{}", Doc: `[operators."app*"] says who may do what with the services of matching names.`},
	{Path: "on_failure", Type: "table", Default: "{}", Doc: "What happens when a service fails, with the keys that [on_failure] of a service has; its own replace them."},
	later("sources", "list of paths", "Foreign files and folders.", noSources),
	later("watch", "bool", "Pick up files as they are dropped.", noWatch),
	later("users", "list of names", "Whose own instances start at boot.", noUsers),
}

// ReadProject reads an abide.toml. Its services are given to Build one by one.
func ReadProject(file string, data []byte) (*Project, diag.List) {
	root, list := tomltree.Parse(file, data)
	p := &Project{File: file}
	if list.HasErrors() {
		return p, list
	}
	r := &reader{svc: &model.Service{Name: "abide", Origin: map[string]diag.Pos{}}, root: root}
	for _, f := range root.Fields {
		i := slices.IndexFunc(projectKeys, func(k Key) bool { return k.Path == f.Key })
		switch {
		case i >= 0 && projectKeys[i].Refused != "":
			r.fail(f.Pos, "not-supported", "", "cannot use %s: %s", f.Key, projectKeys[i].Refused)
		case f.Key == "shutdown" && f.Value.Kind == tomltree.Table:
			p.shutdown(r, f.Value)
		case f.Value.Kind != tomltree.Table && (i >= 0 || f.Key == "shutdown"):
			r.notATable(f.Key, f)
		case f.Key == "defaults":
			p.Defaults = f.Value
			r.svc.Name = "the defaults"
			for _, key := range []string{"instances", "scale", "command"} {
				if c := f.Value.Get(key); c != nil {
					r.fail(c.Pos, "conflict", "", "cannot use %s in [defaults]: each service has its own", key)
				}
			}
			p.Defaults = f.Value.Without("instances", "scale", "command")
		case f.Key == "services":
			p.services(r, f.Value)
		case f.Key == "operators":
			p.grants(r, f.Value)
		case f.Key == "on_failure":
			p.Failure = &tomltree.Value{Kind: tomltree.Table, Pos: f.Pos, Fields: []*tomltree.Field{f}}
		case keyByPath[f.Key] != nil || tables[f.Key]:
			r.fail(f.Pos, "misplaced-key", "move it below [services.NAME], or below [defaults] if it is meant for all", "%s is a key of a service, not of abide.toml", f.Key)
		default:
			r.unknownProjectKey(f)
		}
	}
	return p, r.list
}

func (r *reader) unknownProjectKey(f *tomltree.Field) {
	names := []string{"defaults", "services", "shutdown", "operators", "on_failure"}
	hint := "abide.toml knows [defaults], [services.NAME], [shutdown], [on_failure] and [operators.\"PATTERN\"]"
	if near := diag.Nearest(f.Key, names); near != "" {
		hint = "did you mean " + near + "?"
	} else if f.Value.Kind == tomltree.Table && f.Value.Get("command") != nil {
		hint = "write [services." + keyOut(f.Key) + "] for a service of that name"
	}
	r.fail(f.Pos, "unknown-key", hint, "unknown key %s", shown(f.Key))
}

func (p *Project) shutdown(r *reader, t *tomltree.Value) {
	for _, f := range t.Fields {
		if f.Key != "timeout" {
			r.fail(f.Pos, "unknown-key", "[shutdown] knows timeout", "unknown key %s", shown(f.Key))
			continue
		}
		if d, ok := r.duration("shutdown.timeout", f.Value); ok {
			if d <= 0 {
				r.fail(f.Value.Pos, "bad-value", "", "cannot use shutdown.timeout = %s: it must be longer", quote(f.Value.Text))
			}
			p.Shutdown = d
		}
	}
}

func (p *Project) services(r *reader, t *tomltree.Value) {
	for _, f := range t.Fields {
		if f.Value.Kind != tomltree.Table {
			r.fail(f.Value.Pos, "wrong-type", "write [services."+keyOut(f.Key)+"] on a line of its own, and its keys below", "cannot use services.%s: it takes a table, not %s", shown(f.Key), f.Value.Describe())
			continue
		}
		p.Services = append(p.Services, f)
	}
}

func (p *Project) grants(r *reader, t *tomltree.Value) {
	for _, f := range t.Fields {
		if _, err := path.Match(f.Key, ""); err != nil {
			r.fail(f.Pos, "bad-value", "", "cannot use pattern %q: it is not complete", f.Key)
			continue
		}
		if f.Value.Kind != tomltree.Table {
			r.fail(f.Value.Pos, "wrong-type", `write [operators."*"] for all services`, "cannot use operators.%s: it takes a table, not %s", shown(f.Key), f.Value.Describe())
			continue
		}
		p.operators = append(p.operators, f)
	}
}

// Common is what the file says of a service of that name beside its definition.
func (p *Project) Common(name string) Common {
	c := Common{Defaults: p.below()}
	base, _ := model.SplitName(name)
	for _, f := range p.operators {
		full, _ := path.Match(f.Key, name)
		short, _ := path.Match(f.Key, base)
		if full || short {
			c.Grants = append(c.Grants, f)
		}
	}
	return c
}

func (p *Project) below() []*tomltree.Value {
	return []*tomltree.Value{p.Failure, p.Defaults}
}

// Add puts what another file says over c.
func (c *Common) Add(over Common) {
	c.Defaults = append(c.Defaults, over.Defaults...)
	c.Grants = append(c.Grants, over.Grants...)
}

// grantsLayer is what [operators] tables grant together: where several patterns
// match, the later one's lists replace the earlier one's.
func grantsLayer(grants []*tomltree.Field) *tomltree.Value {
	var out *tomltree.Value
	for _, f := range grants {
		out = tomltree.Merge(out, f.Value)
	}
	if out == nil {
		return nil
	}
	return &tomltree.Value{Kind: tomltree.Table, Pos: out.Pos, Fields: []*tomltree.Field{{Key: "operators", Pos: out.Pos, Value: out}}}
}

// grants lists what the patterns of abide.toml grant and the definition itself
// leaves to them, behind what would hold of these roles without any pattern.
func (r *reader) grants(p Parts) []model.Grant {
	if len(p.Common.Grants) == 0 {
		return nil
	}
	own := mergeAll(p.Layers).Get("operators")
	below := mergeAll(p.Common.Defaults).Get("operators")
	usual := model.Defaults(model.Daemon, false).Operators
	var base, out []model.Grant
	for _, f := range p.Common.Grants {
		for _, role := range f.Value.Fields {
			if own != nil && own.Value.Get(role.Key) != nil || role.Value.Kind != tomltree.Array {
				continue
			}
			if !slices.ContainsFunc(base, func(g model.Grant) bool { return g.Role == role.Key }) {
				g := model.Grant{Role: role.Key, Who: usual[role.Key]}
				if below != nil && below.Value.Get(role.Key) != nil {
					g.Who = textsOf(below.Value.Get(role.Key).Value)
				}
				base = append(base, g)
			}
			out = append(out, model.Grant{Pattern: f.Key, Role: role.Key, Who: textsOf(role.Value)})
		}
	}
	return append(base, out...)
}

func textsOf(list *tomltree.Value) []string {
	out := make([]string, len(list.Items))
	for i, item := range list.Items {
		out[i] = item.Text
	}
	return out
}
