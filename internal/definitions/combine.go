package definitions

import (
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// combiner puts the layers together: for each name the main piece of the highest
// layer that has one, and over it the drop-ins of that layer and those above.
type combiner struct {
	g     *gatherer
	set   *Set
	list  diag.List
	diags map[string]diag.List // by name

	before *Set // services whose files are the same are taken from it, nil: none
}

// chosen is the main piece of a name and the layer it stands in.
type chosen struct {
	*piece
	layer int
}

func (c *combiner) all() {
	c.diags = map[string]diag.List{}
	mains := map[string]chosen{}
	for i, f := range c.g.layers {
		for name, p := range f.mains {
			mains[name] = chosen{p, i}
		}
	}
	names := make([]string, 0, len(mains))
	for name := range mains {
		names = append(names, name)
	}
	slices.Sort(names)
	c.ambiguous(names, mains)
	for _, name := range names {
		if strings.HasSuffix(name, "@") {
			c.template(name, mains)
		} else {
			c.service(name, "", mains[name], nil)
		}
	}
	c.orphans(mains)
}

// ambiguous breaks a service and a template of the same name: what an operator
// asks of NAME is for all copies of NAME@, so it could mean either.
func (c *combiner) ambiguous(names []string, mains map[string]chosen) {
	for _, template := range names {
		base, isTemplate := strings.CutSuffix(template, "@")
		plain, both := mains[base]
		if !isTemplate || !both {
			continue
		}
		main := mains[template]
		var l diag.List
		l.Add(diag.Error, main.at, "duplicate", "rename one of the two", "cannot define %s beside %s: %s would mean that service and all copies of the template (%s)", template, base, base, plain.at)
		// What becomes of the one hangs on the files of the other.
		inputs := slices.Concat(plain.inputs, main.inputs)
		mains[base] = chosen{&piece{at: plain.at, broken: append(slices.Clone(plain.broken), l...), inputs: inputs}, plain.layer}
		mains[template] = chosen{&piece{at: main.at, broken: append(slices.Clone(main.broken), l...), inputs: inputs}, main.layer}
	}
}

// service builds one service; above are drop-ins that come after its own
// template's.
func (c *combiner) service(name, template string, main chosen, above []*piece) {
	if c.taken(name, template, main, above) {
		return
	}
	c.g.look(main.piece)
	inputs := slices.Clone(main.inputs)
	if main.broken != nil {
		c.broken(name, main.broken, inputs)
		return
	}
	if main.service != nil {
		c.add(name, c.withDotEnv(main.service), main.diags, inputs)
		return
	}
	p := native.Parts{Name: name, Template: template, Common: commonOf(c.g.layers, name), Layers: []*tomltree.Value{main.tree}, Files: []string{main.at.File}, Settings: c.g.settings}
	diags := slices.Clone(main.diags)
	for _, d := range c.allDropIns(name, template, main, above) {
		inputs = append(inputs, d.inputs...)
		diags = append(diags, d.diags...)
		if d.broken != nil {
			c.broken(name, d.broken, inputs)
			return
		}
		if d.tree != nil {
			p.Layers = append(p.Layers, d.tree)
			p.Files = append(p.Files, d.at.File)
		}
	}
	svc, more := native.Build(p)
	diags = append(diags, more...)
	if more.HasErrors() {
		c.broken(name, diags, inputs)
		return
	}
	c.add(name, c.withDotEnv(svc), diags, inputs)
}

// allDropIns are those of a service in the order in which they come: its template's
// before its own.
func (c *combiner) allDropIns(name, template string, main chosen, above []*piece) []*piece {
	own := name
	if template != "" {
		own = template
	}
	return append(c.dropIns(own, main.layer), above...)
}

func (c *combiner) dropIns(name string, from int) []*piece {
	var out []*piece
	for _, f := range c.g.layers[from:] {
		out = append(out, f.dropIns[name]...)
	}
	return out
}

// template builds the instances of a template that have no definition of their
// own.
func (c *combiner) template(name string, mains map[string]chosen) {
	main := mains[name]
	inputs := slices.Clone(main.inputs)
	dropIns := c.dropIns(name, main.layer)
	broken := slices.Clone(main.broken)
	layers := []*tomltree.Value{main.tree}
	for _, d := range dropIns {
		broken = append(broken, d.broken...)
		layers = append(layers, d.tree)
		inputs = append(inputs, d.inputs...)
	}
	var copies native.Copies
	if broken == nil {
		layers = slices.DeleteFunc(layers, func(v *tomltree.Value) bool { return v == nil })
		parts := native.Parts{Name: name, Common: commonOf(c.g.layers, name), Layers: layers, Files: []string{main.at.File}, Settings: c.g.settings}
		var diags diag.List
		if copies, diags = native.CopiesOf(parts); diags.HasErrors() {
			broken = diags
		} else if len(copies.Instances) == 0 {
			_, diags = native.BuildAll(parts, main.at)
			c.list = append(c.list, diags...)
			if diags.HasErrors() {
				broken = diags
			}
		}
	}
	if broken != nil {
		c.broken(name, broken, inputs)
		return
	}
	c.set.Templates[name] = templateOf(main.at.File, copies)
	for _, instance := range c.copies(name, copies) {
		full := name + instance
		if err := model.ValidName(full); err != nil {
			c.broken(name, diag.List{{Pos: main.at, Severity: diag.Error, Code: "bad-name", Message: err.Error()}}, inputs)
			continue
		}
		if _, own := mains[full]; !own && c.g.only.wants(full) {
			c.service(full, name, main, c.dropIns(full, main.layer))
		}
	}
}

func templateOf(file string, copies native.Copies) Template {
	t := Template{File: file}
	if copies.Scaled {
		t.Scale = len(copies.Instances)
	} else {
		t.Named = copies.Instances
	}
	return t
}

// copies are the instances of a template as its file and operators say.
func (c *combiner) copies(name string, copies native.Copies) []string {
	if scale := c.g.opts.Scale; scale != nil && copies.Scaled {
		if n, said := scale(name); said {
			return native.Numbered(min(max(n, 0), model.MaxScale))
		}
	}
	return copies.Instances
}

func (c *combiner) add(name string, svc *model.Service, diags diag.List, inputs []input) {
	c.set.Services[name] = svc
	c.set.inputs[name] = inputs
	c.note(name, diags)
}

func (c *combiner) broken(name string, why diag.List, inputs []input) {
	c.set.Broken[name] = why.Errors()
	c.set.inputs[name] = inputs
	c.note(name, why)
}

func (c *combiner) note(name string, diags diag.List) {
	c.list = append(c.list, diags...)
	if len(diags) > 0 {
		c.diags[name] = diags
	}
}

// about is what there is to say of one name and of its template.
func (c *combiner) about(name string) diag.List {
	out := slices.Clone(c.diags[name])
	if base, instance := model.SplitName(name); instance != "" {
		out = append(out, c.diags[base+"@"]...)
	}
	return out
}

// withDotEnv puts a project's .env before the service's own files, so that they
// win.
func (c *combiner) withDotEnv(svc *model.Service) *model.Service {
	if path := c.set.DotEnv; path != "" {
		svc.EnvironmentFiles = append([]model.EnvFile{{Path: path, Optional: true}}, svc.EnvironmentFiles...)
	}
	return svc
}

// orphans warns of drop-ins that change nothing.
func (c *combiner) orphans(mains map[string]chosen) {
	if c.g.only != nil {
		return
	}
	for i, f := range c.g.layers {
		for name, pieces := range f.dropIns {
			main, ok := mains[name]
			base, instance := model.SplitName(name)
			if !ok && instance != "" {
				main, ok = mains[base+"@"]
				ok = ok && c.set.Services[name] != nil
			}
			path := pieces[0].at.File
			switch {
			case !ok:
				c.list.Add(diag.Warning, diag.Pos{File: path, Line: 1, Col: 1}, "no-effect", "", "this drop-in changes nothing: there is no service %s", name)
			case main.layer > i:
				c.list.Add(diag.Warning, diag.Pos{File: path, Line: 1, Col: 1}, "no-effect", "", "this drop-in changes nothing: %s replaces the whole definition", main.at.File)
			}
		}
	}
}
