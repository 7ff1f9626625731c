package definitions

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/graph"
	"github.com/abide-project/abide/internal/model"
)

// builtIn are the targets that need no definition.
var builtIn = []string{"boot", "network", "network-online", "time-sync"}

// needs judges what only all definitions together tell: names that nobody has, and
// services that wait for each other in a circle.
type needs struct {
	set    *Set
	names  []string            // of all services, sorted
	copies map[string][]string // by what stands before the @
	level  diag.Severity       // of a name that cannot be done without
	hints  int                 // that were looked for
	all    []string            // every name, once a hint was
}

// maxHints bounds how often the name that was meant is looked for: with thousands
// of unknown names something else is wrong.
const maxHints = 50

// judgeNeeds takes services out that can never start, and says why. What one file
// by itself needs cannot be judged: the others may stand anywhere.
func (s *Set) judgeNeeds() {
	n := needsOf(s)
	if len(n.names) == 0 {
		return
	}
	if s.opts.lint {
		n.level = diag.Warning
	}
	if !s.opts.lint || s.opts.several() {
		for _, name := range n.names {
			n.unknown(s.Services[name])
		}
	}
	n.cycles()
}

func needsOf(s *Set) needs {
	n := needs{set: s, copies: map[string][]string{}, level: diag.Error}
	for name, svc := range s.Services {
		if len(svc.OnFailure.Start) > 0 || svc.Needs.Any() {
			n.names = append(n.names, name)
		}
		if base, instance := model.SplitName(name); instance != "" {
			n.copies[base] = append(n.copies[base], name)
		}
	}
	slices.Sort(n.names)
	for _, list := range n.copies {
		slices.Sort(list)
	}
	return n
}

// closes tells whether a definition read by itself closes a circle with those
// known before. Whom it names is not judged: their files may be new as well.
func closes(svc *model.Service, known map[string]*model.Service) diag.List {
	if !svc.Needs.Any() {
		return nil
	}
	s := &Set{Services: maps.Clone(known), Broken: map[string]diag.List{}}
	s.Services[svc.Name] = svc
	n := needsOf(s)
	n.cycles()
	return s.Broken[svc.Name]
}

// several reports whether what is looked at can hold more than one service.
func (o *Options) several() bool {
	for _, l := range o.layers() {
		for _, src := range l {
			if src.kind == configDir || src.kind == projectFile {
				return true
			}
		}
	}
	return false
}

// edgesOf yields every dependency with its key and the edge that it is.
func edgesOf(n *model.Needs) func(yield func(key string, edge graph.Edge) bool) {
	return func(yield func(string, graph.Edge) bool) {
		for _, l := range []struct {
			key  string
			edge graph.Edge
			list []model.Dependency
		}{
			{"requires", graph.Edge{Kind: graph.Requires}, n.Requires},
			{"wants", graph.Edge{Kind: graph.Wants}, n.Wants},
			{"after", graph.Edge{Kind: graph.After}, n.After},
			{"optional_all", graph.Edge{Kind: graph.OptionalAll}, n.OptionalAll},
			{"before", graph.Edge{Kind: graph.Before}, n.Before},
			{"required_by", graph.Edge{Kind: graph.Requires, Reverse: true}, n.RequiredBy},
			{"wanted_by", graph.Edge{Kind: graph.Wants, Reverse: true}, n.WantedBy},
			{"conflicts", graph.Edge{Kind: graph.Conflicts}, n.Conflicts},
			{"part_of", graph.Edge{Kind: graph.PartOf}, n.PartOf},
			{"exclude_all", graph.Edge{Kind: graph.ExcludeAll}, n.ExcludeAll},
		} {
			for _, d := range l.list {
				l.edge.To, l.edge.File = d.Service+d.File, d.File != ""
				if !yield(l.key, l.edge) {
					return
				}
			}
		}
		for i, set := range n.AnyOf {
			for _, d := range set {
				if !yield("any_of", graph.Edge{Kind: graph.AnyOf, Set: i, To: d.Service + d.File, File: d.File != ""}) {
					return
				}
			}
		}
	}
}

// unknown says which names of a service's definition nobody has. One that it
// cannot do without breaks it.
func (n *needs) unknown(svc *model.Service) {
	var list diag.List
	missed := map[int]int{} // of the sets of any_of: how many names
	for key, edge := range edgesOf(&svc.Needs) {
		if edge.File || n.known(edge.To) {
			continue
		}
		severity, hint := diag.Note, n.nearest(edge.To)
		switch {
		case edge.Kind == graph.Requires:
			severity = n.level
		case edge.Kind == graph.AnyOf:
			if missed[edge.Set]++; missed[edge.Set] == len(svc.Needs.AnyOf[edge.Set]) {
				severity = n.level
			}
		}
		list.Add(severity, svc.At(key+"."+edge.To), "unknown-service", hint, "cannot find %s that %s names: there is no such service", edge.To, key)
	}
	for _, name := range svc.OnFailure.Start {
		if !n.known(name) {
			list.Add(diag.Warning, svc.At("on_failure.start"), "unknown-service", n.nearest(name), "cannot find %s that on_failure.start names: there is no such service", name)
		}
	}
	n.tell(list, svc.Name)
}

func (n *needs) known(name string) bool {
	s := n.set
	if s.Services[name] != nil || s.Broken[name] != nil || len(n.copies[name]) > 0 || slices.Contains(builtIn, name) {
		return true
	}
	base, _ := model.SplitName(name)
	_, template := s.Templates[name+"@"]
	// The copies of a broken template are not known: it may have this one.
	return template || s.Broken[name+"@"] != nil || s.Broken[base+"@"] != nil
}

// nearest is a hint at the name that was probably meant.
func (n *needs) nearest(name string) string {
	if base, instance := model.SplitName(name); instance != "" {
		if t, ok := n.set.Templates[base+"@"]; ok {
			return fmt.Sprintf("%s makes %d copies", t.File, len(n.copies[base]))
		}
	}
	if n.hints++; n.hints > maxHints {
		return ""
	}
	if n.all == nil {
		n.all = slices.Sorted(maps.Keys(n.set.Services))
	}
	if near := diag.Nearest(name, n.all); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// tell adds what there is to say, and takes the services out if it is an error.
func (n *needs) tell(list diag.List, names ...string) {
	n.set.Diags = append(n.set.Diags, list...)
	if !list.HasErrors() {
		return
	}
	for _, name := range names {
		n.set.Broken[name] = append(n.set.Broken[name], list.Errors()...)
		delete(n.set.Services, name)
	}
}

// cycles refuses services that wait for each other in a circle.
func (n *needs) cycles() {
	if n.ordered() {
		return
	}
	g := graph.New()
	for _, name := range n.names {
		svc := n.set.Services[name]
		if svc == nil {
			continue
		}
		var edges []graph.Edge
		for edge := range n.waits(svc) {
			edges = append(edges, edge)
		}
		if len(edges) > 0 {
			g.Define(name, edges)
		}
	}
	var lists []diag.List
	paths := g.Cycles()
	for _, path := range paths {
		steps := make([]string, len(path)-1)
		var first diag.Pos
		for i, from := range path[:len(path)-1] {
			word, at := n.why(from, path[i+1])
			steps[i] = fmt.Sprintf("%s %s %s (%s)", from, word, path[i+1], at)
			if i == 0 {
				first = at
			}
		}
		var list diag.List
		list.Add(diag.Error, first, "cycle", "take one of these out", "cannot order %s: dependency cycle %s", path[0], strings.Join(steps, " -> "))
		lists = append(lists, list)
	}
	for i, list := range lists {
		n.tell(list, paths[i][1:]...)
	}
}

// waits yields the edges of a service that must not lead in a circle, each to one
// service.
func (n *needs) waits(svc *model.Service) func(yield func(graph.Edge) bool) {
	return func(yield func(graph.Edge) bool) {
		for _, edge := range edgesOf(&svc.Needs) {
			if edge.File || !leads(edge.Kind) {
				continue
			}
			if n.set.Services[edge.To] != nil || len(n.copies[edge.To]) == 0 {
				if !yield(edge) {
					return
				}
				continue
			}
			for _, edge.To = range n.copies[edge.To] {
				if !yield(edge) {
					return
				}
			}
		}
	}
}

// ordered reports whether all services can come one after the other, as they
// nearly always can: it takes away whoever waits for nobody until none is left.
func (n *needs) ordered() bool {
	ids := make(map[string]int32, len(n.names))
	id := func(name string) int32 {
		i, ok := ids[name]
		if !ok {
			i = int32(len(ids))
			ids[name] = i
		}
		return i
	}
	type wait struct{ who, whom int32 }
	var waits []wait
	for _, name := range n.names {
		if svc := n.set.Services[name]; svc != nil {
			from := id(name)
			for edge := range n.waits(svc) {
				w := wait{from, id(edge.To)}
				if edge.Reverse || edge.Kind == graph.Before {
					w.who, w.whom = w.whom, w.who
				}
				waits = append(waits, w)
			}
		}
	}
	slices.SortFunc(waits, func(a, b wait) int { return cmp.Compare(a.whom, b.whom) })
	open := make([]int32, len(ids))  // how many each waits for
	begin := make([]int32, len(ids)) // where those who wait for it begin in waits
	for i, w := range slices.Backward(waits) {
		open[w.who]++
		begin[w.whom] = int32(i)
	}
	var free []int32
	for i, count := range open {
		if count == 0 {
			free = append(free, int32(i))
		}
	}
	gone := 0
	for ; len(free) > 0; gone++ {
		last := free[len(free)-1]
		free = free[:len(free)-1]
		for _, w := range waits[begin[last]:] {
			if w.whom != last {
				break
			}
			if open[w.who]--; open[w.who] == 0 {
				free = append(free, w.who)
			}
		}
	}
	return gone == len(ids)
}

// leads tells whether edges of a kind must not lead back to where they came from.
func leads(k graph.Kind) bool { return k.Orders() || k == graph.Before || k == graph.PartOf }

// why finds what makes a service wait for another, and where that is said.
func (n *needs) why(from, to string) (word string, at diag.Pos) {
	for _, end := range []struct {
		says, of string
		reverse  bool
	}{{from, to, false}, {to, from, true}} {
		svc := n.set.Services[end.says]
		if svc == nil {
			continue
		}
		for key, edge := range edgesOf(&svc.Needs) {
			reverse := edge.Reverse || edge.Kind == graph.Before
			if reverse != end.reverse || !leads(edge.Kind) || edge.File || !slices.Contains(n.resolve(edge.To), end.of) {
				continue
			}
			if edge.Kind == graph.Before {
				edge.Kind = graph.After
			}
			return edge.Kind.String(), svc.At(key + "." + edge.To)
		}
	}
	return "waits for", diag.Pos{}
}

// resolve is the service of that name, or all copies of the template.
func (n *needs) resolve(name string) []string {
	if list := n.copies[name]; n.set.Services[name] == nil && len(list) > 0 {
		return list
	}
	return []string{name}
}
