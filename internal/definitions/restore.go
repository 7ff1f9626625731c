package definitions

import (
	"maps"
	"time"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
)

// Input is a file or folder that definitions were made of, and a hash of what
// the file system said of it when it was read.
type Input struct {
	Path string
	At   uint64
}

// Memory is what of a Set its services do not tell: with it and them, Restore
// makes a Set that answers as the first one did, without reading a file.
type Memory struct {
	Folders []Input
	Lost    []string
	Foreign []string
	Sources []string
	// Templates are those of the Set.
	Templates map[string]Template
	DotEnv    string
	Shutdown  time.Duration
	Projects  []Input
	Build     string // Options.Build
}

// Memory returns what Restore needs. A set with errors cannot be restored,
// because they are not kept: ok is false.
func (s *Set) Memory() (m Memory, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m = Memory{Lost: s.lost, Foreign: s.foreign, Sources: s.Sources, DotEnv: s.DotEnv, Shutdown: s.Shutdown, Templates: s.Templates, Build: s.opts.Build}
	for _, f := range s.folders {
		m.Folders = append(m.Folders, Input{f.path, uint64(f.at)})
	}
	for _, f := range s.projects {
		m.Projects = append(m.Projects, Input{f.path, uint64(f.at)})
	}
	if s.stale {
		m.Build = ""
	}
	return m, len(s.Broken) == 0 && !s.Diags.HasErrors()
}

// Inputs returns what the definition of name was made of, and whether the set
// knows that service at all. When svc is another one than the set made of these files
// they count as not looked at.
func (s *Set) Inputs(name string, svc *model.Service) (list []Input, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := s.known[name] == svc && !s.suspects[name]
	for _, in := range s.inputs[name] {
		if !made {
			in.at = 0
		}
		list = append(list, Input{in.path, uint64(in.at)})
	}
	return list, s.known[name] != nil
}

// Restore makes a set of services that were read before. Changed compares them
// with what the files say now.
func Restore(opts Options, m Memory, services map[string]*model.Service, inputs map[string][]Input) *Set {
	s := &Set{
		opts: opts, Services: services, Broken: map[string]diag.List{}, Templates: m.Templates, Sources: m.Sources, DotEnv: m.DotEnv, Shutdown: m.Shutdown,
		inputs: make(map[string][]input, len(inputs)), lost: m.Lost, foreign: m.Foreign, known: maps.Clone(services),
		stale: m.Build == "" || m.Build != opts.Build,
	}
	for _, f := range m.Projects {
		s.projects = append(s.projects, input{f.Path, stamp(f.At)})
	}
	for _, f := range m.Folders {
		s.folders = append(s.folders, input{f.Path, stamp(f.At)})
	}
	for name, list := range inputs {
		own := make([]input, len(list))
		for i, in := range list {
			own[i] = input{in.Path, stamp(in.At)}
		}
		s.inputs[name] = own
	}
	return s
}
