package native

import (
	"path"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// Suffix ends the name of every file of this format.
const Suffix = ".toml"

// Format is the reader of single files, without layers, drop-ins and templates'
// own files: those are put together by the definitions package.
type Format struct{}

// Name implements format.Format.
func (Format) Name() string { return "native" }

// Claims implements format.Format.
func (Format) Claims(file string, _ []byte) bool {
	base := path.Base(file)
	return strings.HasSuffix(base, Suffix) && len(base) > len(Suffix) && base[0] != '.'
}

// Support implements format.Format.
func (Format) Support() []format.Support { return support() }

// Read implements format.Format: one service, the listed instances of a
// template, or all services of an abide.toml.
func (Format) Read(in format.Input) format.Output {
	var out format.Output
	if path.Base(in.Path) == ProjectFile {
		project, diags := ReadProject(in.Path, in.Data)
		out.Diags = diags
		_, diags = CheckDefaults(project, in.Settings)
		out.Diags = append(out.Diags, diags...)
		for _, f := range project.Services {
			readOne(&out, in, f.Key, f.Pos, project.Common(f.Key), f.Value)
		}
		out.Diags = Unique(out.Diags)
		return out
	}
	name := strings.TrimSuffix(path.Base(in.Path), Suffix)
	top := diag.Pos{File: in.Path, Line: 1, Col: 1}
	tree, diags := tomltree.Parse(in.Path, in.Data)
	if diags.HasErrors() {
		out.Diags, out.Broken = diags, []string{name}
		return out
	}
	readOne(&out, in, name, top, Common{}, tree)
	return out
}

// readOne adds a service, or a template's instances, to out.
func readOne(out *format.Output, in format.Input, name string, at diag.Pos, common Common, tree *tomltree.Value) {
	services, diags := BuildAll(Parts{Name: name, Common: common, Layers: []*tomltree.Value{tree}, Files: []string{in.Path}, Settings: in.Settings}, at)
	out.Diags = append(out.Diags, diags...)
	if diags.HasErrors() {
		out.Broken = append(out.Broken, name)
		return
	}
	out.Services = append(out.Services, services...)
}

// BuildAll builds the service of p, or, if its name ends with @, all instances
// that the template lists. A template without instances is built once, to judge
// it, and thrown away. at is the place of a name that cannot be used.
func BuildAll(p Parts, at diag.Pos) ([]*model.Service, diag.List) {
	if !strings.HasSuffix(p.Name, "@") {
		if err := model.ValidName(p.Name); err != nil {
			return nil, diag.List{{Pos: at, Severity: diag.Error, Code: "bad-name", Message: err.Error()}}
		}
		svc, diags := Build(p)
		return []*model.Service{svc}, diags
	}
	if err := model.ValidTemplate(p.Name); err != nil {
		return nil, diag.List{{Pos: at, Severity: diag.Error, Code: "bad-name", Message: err.Error()}}
	}
	copies, diags := CopiesOf(p)
	template := p.Name
	var services []*model.Service
	for _, instance := range copies.Instances {
		p.Name, p.Template = template+instance, template
		svc, more := Build(p)
		diags = append(diags, more...)
		services = append(services, svc)
	}
	if len(copies.Instances) == 0 {
		p.Name, p.Template = template+"0", template
		_, more := Build(p)
		diags = append(diags, more...)
	}
	return services, Unique(diags)
}

// CheckDefaults judges [defaults] and [on_failure] by themselves, with a command
// that they lack.
func CheckDefaults(p *Project, settings format.Settings) (*model.Service, diag.List) {
	return Build(Parts{Name: "defaults", Common: Common{Defaults: p.below()}, Layers: []*tomltree.Value{standIn}, Files: []string{p.File}, Settings: settings})
}

// StandIn is a tree with nothing but a command, below drop-ins and defaults that
// are judged by themselves.
func StandIn() *tomltree.Value { return standIn }

var standIn = &tomltree.Value{Kind: tomltree.Table, Fields: []*tomltree.Field{
	{Key: "command", Value: &tomltree.Value{Kind: tomltree.Array, Items: []*tomltree.Value{{Kind: tomltree.String, Text: "/bin/true"}}}},
}}

// Unique drops diagnostics that say the same of the same place, as those of a
// template do for each of its instances.
func Unique(list diag.List) diag.List {
	seen := map[diag.Diagnostic]bool{}
	out := list[:0:0]
	for _, d := range list {
		if !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	return out
}
