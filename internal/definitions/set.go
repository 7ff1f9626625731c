package definitions

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/model"
)

// Set is what was read at one time. Its maps are the caller's to read; its
// methods may be called from several goroutines.
type Set struct {
	// Services are those that may run, by name.
	Services map[string]*model.Service
	// Broken are the diagnostics of definitions that cannot be used, by the name
	// of the service, or of the template ("web@") if its own file is broken.
	Broken map[string]diag.List
	// Templates are those that can be used, by name ("web@").
	Templates map[string]Template
	// Diags is everything there is to say, those of Broken included, sorted.
	Diags diag.List
	// Shutdown is [shutdown] timeout, 0 if it is not given.
	Shutdown time.Duration
	// Sources are the folders and files that were looked at, there or not.
	Sources []string
	// DotEnv is the .env file that services get variables from, "" if there is none.
	DotEnv string

	opts    Options
	folders []input
	lost    []string
	foreign []string
	mu      sync.Mutex
	inputs  map[string][]input // guarded by mu
	known   map[string]*model.Service
	cache   projectCache

	projects []input              // the abide.toml files
	notes    map[string]diag.List // what there is to say of each name
	suspects map[string]bool      // names whose files say something else than known, guarded by mu
	stale    bool                 // another program made the services: nothing is taken from here
}

// Template is what is known of the copies of a template.
type Template struct {
	File  string
	Named []string // its instances, if they are listed by names
	Scale int      // how many numbered copies its file asks for, 0 if it says nothing
}

// Load reads all definitions of opts. It cannot fail: what cannot be read is in
// Diags, and the rest is in Services.
func Load(opts Options) *Set { return LoadAfter(opts, nil) }

// LoadAfter is Load after an earlier set of the same options. Services whose files
// are as they were then are taken from it: they are the same pointers. That makes the
// time depend on what has changed, but for one look at each file.
func LoadAfter(opts Options, before *Set) *Set {
	s := &Set{opts: opts, Services: map[string]*model.Service{}, Broken: map[string]diag.List{}, inputs: map[string][]input{},
		Templates: map[string]Template{}}
	g := s.gatherer(nil)
	if before != nil && !before.stale {
		before.mu.Lock()
		defer before.mu.Unlock()
		g.before = before
	}
	g.gather()
	s.Sources, s.folders, s.lost, s.foreign, s.projects = g.sources, g.folders, g.lost, g.foreign, g.abideToml
	if opts.DotEnv && opts.Scope == Project {
		if path := filepath.Join(opts.Root, ".env"); exists(path) {
			s.DotEnv = path
		}
	}
	c := combiner{g: g, set: s, before: g.usable(s.DotEnv)}
	c.all()
	s.Diags, s.notes = c.list, c.diags
	for _, f := range g.layers {
		for _, p := range f.projects {
			if p.Shutdown > 0 {
				s.Shutdown = p.Shutdown
			}
		}
	}
	s.judgeNeeds()
	s.Diags = native.Unique(append(s.Diags, g.list...))
	s.Diags.Sort()
	s.known = maps.Clone(s.Services)
	s.cache.drop()
	if len(s.Services)+len(s.Broken)+len(s.Diags) == 0 && len(s.Sources) > 0 {
		last := s.Sources[len(s.Sources)-1]
		s.Diags.Add(diag.Note, diag.Pos{File: last}, "empty", "abide new NAME -- COMMAND writes the first one", "there are no definitions yet")
	}
	return s
}

func (s *Set) gatherer(only *request) *gatherer {
	return &gatherer{opts: &s.opts, settings: s.opts.settings(), r: newReader(s.opts.CheckOwner), only: only, cache: &s.cache}
}

// Reread reads the files of one service again. A nil service without errors
// means that its definition is gone; with errors the one before stays in force.
// What Changed says from then on is about what was read here.
func (s *Set) Reread(name string) (*model.Service, diag.List) {
	svc, diags, inputs := s.read(name)
	s.cache.drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if svc != nil {
		if circle := closes(svc, s.known); circle != nil {
			svc, diags = nil, append(diags, circle...)
		}
	}
	s.inputs[name] = inputs
	if s.notes == nil {
		s.notes = map[string]diag.List{}
	}
	s.notes[name] = diags
	delete(s.suspects, name)
	switch {
	case svc != nil:
		s.known[name] = svc
	case !diags.HasErrors():
		delete(s.known, name)
		delete(s.inputs, name)
	case s.suspects == nil:
		s.suspects = map[string]bool{name: true}
	default:
		s.suspects[name] = true
	}
	return svc, diags
}

func (s *Set) read(name string) (*model.Service, diag.List, []input) {
	only := &request{name: name, bearing: bearing(name), foreign: s.foreign}
	if base, instance := model.SplitName(name); instance != "" {
		only.template = base + "@"
	}
	fresh := &Set{opts: s.opts, Services: map[string]*model.Service{}, Broken: map[string]diag.List{}, Templates: map[string]Template{}, inputs: map[string][]input{}, DotEnv: s.DotEnv}
	g := s.gatherer(only)
	g.gather()
	c := combiner{g: g, set: fresh}
	c.all()
	diags := native.Unique(append(c.about(name), g.list.Errors()...))
	diags.Sort()
	if fresh.Broken[name] != nil || only.template != "" && fresh.Broken[only.template] != nil {
		return nil, diags, fresh.inputs[name]
	}
	svc := fresh.Services[name]
	if svc != nil {
		// What is wrong with other services of the same files is not its concern.
		diags = slices.DeleteFunc(diags, func(d diag.Diagnostic) bool { return d.Severity == diag.Error })
	}
	return svc, diags, fresh.inputs[name]
}

// Known is the definition of name that Changed compares the files with, nil if there
// is none.
func (s *Set) Known(name string) *model.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[name]
}

// Changed reports whether the definition of name differs from what was last read
// of it. While its files are untouched that costs a few stat calls; a file that
// was touched is read. For many services at once, Look is cheaper.
func (s *Set) Changed(name string) bool { return s.Look().Changed(name) }

// Look is one moment's view of the files, for asking about many services. It
// asks the file system of each file once, however many services it defines.
type Look struct {
	set     *Set
	stamps  map[string]stamp
	folders []string // that changed, so that new files may stand in them
}

// Look begins a view. It is for one goroutine, and not to be kept.
func (s *Set) Look() *Look {
	l := &Look{set: s, stamps: map[string]stamp{}}
	for _, f := range s.folders {
		if l.stamp(f.path) != f.at {
			l.folders = append(l.folders, f.path)
		}
	}
	return l
}

func (l *Look) stamp(path string) stamp {
	at, seen := l.stamps[path]
	if !seen {
		at = stampAt(path)
		l.stamps[path] = at
	}
	return at
}

// Changed is Set.Changed as of this view.
func (l *Look) Changed(name string) bool {
	s := l.set
	s.mu.Lock()
	before, inputs := s.known[name], s.inputs[name]
	s.mu.Unlock()
	if !l.touched(name, inputs) {
		return false
	}
	now, diags, _ := s.read(name)
	if diags.HasErrors() || (now == nil) != (before == nil) {
		return true
	}
	return now != nil && len(model.Diff(before, now)) > 0
}

// touched compares stamps, and looks for files that would have a say and were
// not there before.
func (l *Look) touched(name string, inputs []input) bool {
	for _, in := range inputs {
		if l.stamp(in.path) != in.at {
			return true
		}
	}
	if len(l.folders) == 0 {
		return false
	}
	appeared := func(path string) bool {
		return !slices.ContainsFunc(inputs, func(in input) bool { return in.path == path }) && stampAt(path) != 0
	}
	names := bearing(name)
	for _, folder := range l.folders {
		for _, base := range names {
			if appeared(folder+"/"+base+suffix) || appeared(folder+"/"+base+dropInSuffix) {
				return true
			}
		}
	}
	return false
}

// Keep adds to Broken every service of old that s cannot tell to be gone: the
// file or folder it came from, or its template, is there and could not be read.
// A running service must not be stopped for that.
func (s *Set) Keep(old map[string]*model.Service) {
	for name, svc := range old {
		if s.Services[name] != nil || s.Broken[name] != nil {
			continue
		}
		if why := s.Broken[svc.Template]; svc.Template != "" && why != nil {
			s.Broken[name] = why
			continue
		}
		for _, lost := range s.lost {
			if slices.ContainsFunc(svc.Files, func(f string) bool { return f == lost || strings.HasPrefix(f, strings.TrimSuffix(lost, "/")+"/") }) {
				s.Broken[name] = s.about(lost)
				break
			}
		}
	}
}

// about lists the errors of a file or folder.
func (s *Set) about(path string) diag.List {
	var out diag.List
	for _, d := range s.Diags.Errors() {
		if d.Pos.File == path {
			out = append(out, d)
		}
	}
	if out == nil {
		out.Add(diag.Error, diag.Pos{File: path}, "unreadable", "", "cannot read %s", path)
	}
	return out
}

// projectCache keeps the tree of an abide.toml that was changed since it was
// loaded, so that asking for each of its services reads it once.
type projectCache struct {
	mu      sync.Mutex
	path    string
	at      stamp
	project *native.Project
	diags   diag.List
}

func (c *projectCache) read(path string, at stamp, data []byte) (*native.Project, diag.List) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.project == nil || c.path != path || c.at != at {
		c.project, c.diags = native.ReadProject(path, data)
		c.path, c.at = path, at
	}
	return c.project, c.diags
}

// drop forgets the tree.
func (c *projectCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.project, c.diags = nil, nil
}

// commonOf is what comes before a service's own definition.
func commonOf(layers []*found, name string) native.Common {
	var out native.Common
	for _, f := range layers {
		for _, p := range f.projects {
			out.Add(p.Common(name))
		}
	}
	return out
}
