package definitions

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/all"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

const (
	suffix       = native.Suffix
	dropInSuffix = suffix + ".d"
)

// piece is what one file says of one name, before layers are put together.
type piece struct {
	at      diag.Pos // of the name
	tree    *tomltree.Value
	service *model.Service // instead of tree: a complete one of another format
	broken  diag.List      // instead of both
	diags   diag.List      // warnings of reading it
	inputs  []input
	unread  bool // it is looked at only when the service cannot be taken from before
}

// found is what a layer holds.
type found struct {
	mains    map[string]*piece
	dropIns  map[string][]*piece
	projects []*native.Project
}

// gatherer reads the sources of all layers.
type gatherer struct {
	opts     *Options
	settings format.Settings
	r        *reader
	layers   []*found
	list     diag.List
	sources  []string
	folders  []input
	lost     []string // files and folders that are there but could not be read
	foreign  []string // files of other formats that stand in folders
	only     *request // nil: everything
	cache    *projectCache

	before    *Set    // what was read earlier, nil: nothing is taken from it
	abideToml []input // the abide.toml files
}

// request narrows reading to one service.
type request struct {
	name     string
	template string   // "web@" for a name "web@1"
	bearing  []string // whose definitions have a say in what becomes of name
	foreign  []string // of the Set that asks
}

func (q *request) wants(name string) bool {
	return q == nil || slices.Contains(q.bearing, name)
}

// bearing are the names whose definitions have a say in what becomes of name:
// itself, the template it may be a copy of, and what bars the template's way.
func bearing(name string) []string {
	base, instance := model.SplitName(name)
	if instance == "" {
		return []string{name, base + "@"}
	}
	return []string{name, base + "@", base}
}

func (g *gatherer) fail(path string, err error) {
	g.list.Add(diag.Error, diag.Pos{File: path}, "unreadable", hintFor(err), "%s", err)
	g.lost = append(g.lost, path)
}

// hintFor says how to make a file trustworthy.
func hintFor(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "belongs to uid"):
		return "chown it, or move the definition to a folder of your own"
	case strings.Contains(text, "others may write"):
		return "chmod go-w"
	case strings.Contains(text, "names, so it may"):
		return "copy it instead of linking it"
	}
	return ""
}

func (g *gatherer) gather() {
	for _, l := range g.opts.layers() {
		f := &found{mains: map[string]*piece{}, dropIns: map[string][]*piece{}}
		g.layers = append(g.layers, f)
		for _, src := range l {
			g.sources = append(g.sources, src.path)
			switch src.kind {
			case folder, configDir:
				g.folder(f, src)
			default:
				g.file(f, src)
			}
		}
	}
}

// file reads a source that is one file.
func (g *gatherer) file(f *found, src source) {
	parent, err := g.r.openDir(filepath.Dir(src.path))
	if err != nil {
		g.absent(src, err)
		return
	}
	defer parent.close()
	data, at, err := parent.read(filepath.Base(src.path))
	if err != nil {
		g.absent(src, err)
		return
	}
	in := []input{{src.path, at}}
	if src.kind == projectFile {
		g.project(f, src.path, data, in)
		return
	}
	reader := format.Find(all.Formats, src.path, data[:min(len(data), 512)])
	switch reader.(type) {
	case nil:
		g.fail(src.path, errors.New("cannot read "+src.path+": it is of no format that abide knows"))
	case native.Format:
		name := strings.TrimSuffix(filepath.Base(src.path), suffix)
		if strings.HasSuffix(filepath.Dir(src.path), dropInSuffix) {
			g.loneDropIn(f, src.path, data)
			return
		}
		if g.only.wants(name) {
			g.main(f, name, src.path, data, in)
			g.loneFileDropIns(f, parent, name)
		}
	default:
		g.other(f, reader, src.path, data, in)
	}
}

// absent notes a source that cannot be opened; one that is merely not there
// matters only if it was asked for.
func (g *gatherer) absent(src source, err error) {
	if !errors.Is(err, fs.ErrNotExist) || src.wanted {
		g.fail(src.path, err)
	}
}

// loneFileDropIns reads the drop-ins beside a file that was named by itself.
func (g *gatherer) loneFileDropIns(f *found, parent *dir, name string) {
	if exists(filepath.Join(parent.path, name+dropInSuffix)) {
		g.dropInDir(f, parent, name)
	}
}

// loneDropIn judges a drop-in by itself: it is laid over nothing but a command
// that it may lack. It is no definition, so it never runs.
func (g *gatherer) loneDropIn(f *found, path string, data []byte) {
	if !g.opts.lint {
		g.fail(path, errors.New("cannot run "+path+": it is a drop-in, no definition"))
		return
	}
	name := "drop-in"
	if strings.HasSuffix(filepath.Dir(path), "@"+dropInSuffix) {
		name = "drop-in@"
	}
	tree, diags := tomltree.Parse(path, data)
	p := &piece{at: top(path), tree: tree, diags: diags}
	if diags.HasErrors() {
		p.broken = diags
	}
	f.dropIns[name] = append(f.dropIns[name], p)
	f.mains[name] = &piece{at: top(path), tree: native.StandIn()}
}

func top(path string) diag.Pos { return diag.Pos{File: path, Line: 1, Col: 1} }

// folder reads a folder of definitions.
func (g *gatherer) folder(f *found, src source) {
	d, err := g.r.openDir(src.path)
	if err != nil {
		g.folders = append(g.folders, input{src.path, 0})
		g.absent(src, err)
		return
	}
	defer d.close()
	g.folders = append(g.folders, input{src.path, d.at})
	names := g.candidates(d)
	if names == nil {
		if names, err = d.names(); err != nil {
			g.fail(src.path, err)
			return
		}
	}
	for _, name := range names {
		path := filepath.Join(src.path, name)
		base, isDropIn := strings.CutSuffix(name, dropInSuffix)
		switch {
		case strings.HasPrefix(name, "."):
		case isDropIn:
			if base != "" && g.only.wants(base) {
				g.dropInDir(f, d, base)
			}
		case src.kind == configDir && name == "services" && isFolder(path):
			g.sources = append(g.sources, path)
			g.folder(f, source{folder, path, false})
		case name == native.ProjectFile && src.kind == configDir:
			if data, at, err := d.read(name); err != nil {
				g.fail(path, err)
			} else {
				g.project(f, path, data, []input{{path, at}})
			}
		default:
			g.entry(f, d, name, path)
		}
	}
}

// candidates are the entries that can hold the one service that is asked for,
// nil if all are.
func (g *gatherer) candidates(d *dir) []string {
	if g.only == nil {
		return nil
	}
	names := []string{}
	for _, base := range g.only.bearing {
		for _, end := range []string{suffix, dropInSuffix} {
			if exists(filepath.Join(d.path, base+end)) {
				names = append(names, base+end)
			}
		}
	}
	for _, name := range []string{native.ProjectFile, "services"} {
		if exists(filepath.Join(d.path, name)) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, path := range g.only.foreign {
		if filepath.Dir(path) == d.path {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

// entry reads one file of a folder.
func (g *gatherer) entry(f *found, d *dir, name, path string) {
	if base, ok := strings.CutSuffix(name, suffix); ok && base != "" {
		if !g.only.wants(base) {
			return
		}
		if at := g.same(d, name, base, path); at != 0 {
			g.put(f, base, &piece{at: top(path), inputs: []input{{path, at}}, unread: true})
			return
		}
		g.read(f, d, name, base, path)
		return
	}
	if format.Find(all.Formats, path, nil) == nil {
		return
	}
	data, at, err := d.read(name)
	if err != nil {
		g.fail(path, err)
		return
	}
	if reader := format.Find(all.Formats, path, data[:min(len(data), 512)]); reader != nil {
		g.foreign = append(g.foreign, path)
		g.other(f, reader, path, data, []input{{path, at}})
	}
}

// read reads the file of a service or template.
func (g *gatherer) read(f *found, d *dir, name, base, path string) {
	data, at, err := d.read(name)
	if err != nil {
		g.put(f, base, &piece{at: top(path), broken: g.unreadable(path, err), inputs: []input{{path, stampAt(path)}}})
		return
	}
	g.main(f, base, path, data, []input{{path, at}})
}

func (g *gatherer) unreadable(path string, err error) diag.List {
	var l diag.List
	l.Add(diag.Error, diag.Pos{File: path}, "unreadable", hintFor(err), "%s", err)
	return l
}

// main takes the file of a service or template.
func (g *gatherer) main(f *found, name, path string, data []byte, in []input) {
	p := &piece{at: top(path), inputs: in}
	if err := validName(name); err != nil {
		p.broken = diag.List{{Pos: p.at, Severity: diag.Error, Code: "bad-name", Message: err.Error(), Hint: nameHint(name)}}
	} else {
		p.tree, p.diags = tomltree.Parse(path, data)
		if p.diags.HasErrors() {
			p.broken, p.tree = p.diags, nil
		}
	}
	g.put(f, name, p)
}

func validName(name string) error {
	if strings.HasSuffix(name, "@") {
		return model.ValidTemplate(name)
	}
	return model.ValidName(name)
}

func nameHint(name string) string {
	if name == model.Reserved {
		return "abide.toml holds several services and belongs one folder up"
	}
	return "the name of a service is that of its file"
}

// other takes a file of another format.
func (g *gatherer) other(f *found, reader format.Format, path string, data []byte, in []input) {
	out := reader.Read(format.Input{Path: path, Data: data, Settings: g.settings})
	g.list = append(g.list, out.Diags...)
	if out.Diags.HasErrors() {
		g.lost = append(g.lost, path)
	}
	for _, svc := range out.Services {
		if g.only.wants(svc.Name) {
			g.put(f, svc.Name, &piece{at: svc.At("command"), service: svc, inputs: in})
		}
	}
	for _, name := range out.Broken {
		if g.only.wants(name) {
			g.put(f, name, &piece{at: top(path), broken: errorsOf(out.Diags, path), inputs: in})
		}
	}
}

func errorsOf(list diag.List, path string) diag.List {
	var out diag.List
	for _, d := range list.Errors() {
		if d.Pos.File == path {
			out = append(out, d)
		}
	}
	return out
}

// project takes an abide.toml.
func (g *gatherer) project(f *found, path string, data []byte, in []input) {
	project, diags := g.cache.read(path, in[0].at, data)
	g.list = append(g.list, diags...)
	if diags.HasErrors() {
		g.lost = append(g.lost, path)
	}
	if g.only == nil {
		_, diags := native.CheckDefaults(project, g.settings)
		g.list = append(g.list, diags...)
	}
	f.projects = append(f.projects, project)
	g.abideToml = append(g.abideToml, in...)
	for _, s := range project.Services {
		if !g.only.wants(s.Key) {
			continue
		}
		p := &piece{at: s.Pos, tree: s.Value, inputs: in}
		if err := validName(s.Key); err != nil {
			p.tree, p.broken = nil, diag.List{{Pos: s.Pos, Severity: diag.Error, Code: "bad-name", Message: err.Error()}}
		}
		g.put(f, s.Key, p)
	}
}

// put enters a main piece; a second one of the same name in the layer breaks both.
func (g *gatherer) put(f *found, name string, p *piece) {
	first := f.mains[name]
	if first == nil {
		f.mains[name] = p
		return
	}
	var l diag.List
	l.Add(diag.Error, p.at, "duplicate", "keep one of the two", "cannot define %s twice: it is already defined in %s", name, first.at)
	f.mains[name] = &piece{at: first.at, broken: append(slices.Clone(first.broken), l...), inputs: append(slices.Clone(first.inputs), p.inputs...)}
}

// dropInDir reads NAME.toml.d.
func (g *gatherer) dropInDir(f *found, parent *dir, name string) {
	path := filepath.Join(parent.path, name+dropInSuffix)
	d, err := parent.sub(name + dropInSuffix)
	if err != nil {
		f.dropIns[name] = append(f.dropIns[name], &piece{at: top(path), broken: g.unreadable(path, err), inputs: []input{{path, stampAt(path)}}})
		return
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		f.dropIns[name] = append(f.dropIns[name], &piece{at: top(path), broken: g.unreadable(path, err), inputs: []input{{path, d.at}}})
		return
	}
	inputs := []input{{path, d.at}}
	for _, file := range names {
		if !strings.HasSuffix(file, suffix) || strings.HasPrefix(file, ".") {
			continue
		}
		full := filepath.Join(path, file)
		p := &piece{at: top(full), inputs: append(inputs, input{full, 0})}
		inputs = nil
		data, at, err := d.read(file)
		p.inputs[len(p.inputs)-1].at = at
		if err != nil {
			p.broken = g.unreadable(full, err)
			p.inputs[len(p.inputs)-1].at = stampAt(full)
		} else if p.tree, p.diags = tomltree.Parse(full, data); p.diags.HasErrors() {
			p.broken, p.tree = p.diags, nil
		}
		f.dropIns[name] = append(f.dropIns[name], p)
	}
	if inputs != nil {
		f.dropIns[name] = append(f.dropIns[name], &piece{at: top(path), inputs: inputs})
	}
}
