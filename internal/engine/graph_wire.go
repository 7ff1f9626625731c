package engine

import (
	"maps"
	"slices"

	"github.com/abide-project/abide/internal/graph"
	"github.com/abide-project/abide/internal/model"
)

// wiring is how definitions become edges. A name in a definition may stand for all
// instances of a template, so that a change of one service can change the edges of
// others: those are stale until the graph is asked the next time.
type wiring struct {
	stale     map[string]bool            // services whose edges are to be told to the graph
	mentions  map[string]map[string]bool // by a name in definitions: the services that use it
	instances map[string]map[string]bool // by template: its instances
	needed    map[string]int             // how many edges lead to a service
}

func newWiring() wiring {
	return wiring{
		stale: map[string]bool{}, mentions: map[string]map[string]bool{},
		instances: map[string]map[string]bool{}, needed: map[string]int{},
	}
}

// links is what a service has in the wiring.
type links struct {
	names []string // that its definition mentions
	to    []string // the services its edges lead to
	files []string // and the files
}

// rewire notes that a service is there, is gone, or has another definition.
func (e *Engine) rewire(name string) {
	w := &e.deps.wiring
	base, instance := model.SplitName(name)
	if instance != "" {
		if e.services[name] != nil {
			put(w.instances, base, name)
		} else {
			drop(w.instances, base, name)
		}
	}
	for _, mentioned := range []string{name, base} {
		for user := range w.mentions[mentioned] {
			w.stale[user] = true
		}
	}
	s := e.services[name]
	if s == nil || s.def != nil && hasNeeds(&s.def.Needs) || s.node != nil || w.needed[name] > 0 {
		w.stale[name] = true
	}
	e.deps.dirty = e.deps.dirty || len(w.stale) > 0
}

func hasNeeds(n *model.Needs) bool {
	return len(n.Requires)+len(n.Wants)+len(n.After)+len(n.Before)+len(n.Conflicts)+len(n.PartOf)+
		len(n.WantedBy)+len(n.RequiredBy)+len(n.AnyOf)+len(n.OptionalAll)+len(n.ExcludeAll) > 0
}

// wire tells the graph the edges of all that is stale.
func (e *Engine) wire() {
	w := &e.deps.wiring
	if len(w.stale) == 0 {
		return
	}
	for len(w.stale) > 0 {
		batch := slices.Sorted(maps.Keys(w.stale))
		clear(w.stale)
		for _, name := range batch {
			e.connect(name)
		}
	}
	e.dropBuiltIns()
}

// unwire takes all that a service's definition says out of the wiring, before the
// service is forgotten.
func (e *Engine) unwire(s *service) {
	w := &e.deps.wiring
	for _, mentioned := range s.links.names {
		drop(w.mentions, mentioned, s.name)
	}
	for _, to := range s.links.to {
		e.unneed(to)
	}
	for _, path := range s.links.files {
		e.unneedFile(path)
	}
	s.links = links{}
	if s.node != nil {
		delete(e.deps.byID, s.node.id)
		e.deps.graph.Remove(s.name)
		s.node = nil
	}
}

func (e *Engine) unneed(name string) {
	w := &e.deps.wiring
	if w.needed[name]--; w.needed[name] <= 0 {
		delete(w.needed, name)
		w.stale[name] = true
	}
}

// connect tells the graph the edges of one service. One that has none and that none
// lead to is no part of the graph.
func (e *Engine) connect(name string) {
	w := &e.deps.wiring
	s := e.services[name]
	if s == nil {
		return
	}
	for _, mentioned := range s.links.names {
		drop(w.mentions, mentioned, name)
	}
	edges, mentioned := e.edges(s)
	s.links.names = mentioned
	for _, m := range mentioned {
		put(w.mentions, m, name)
		e.addBuiltIn(m)
	}
	before := s.links
	s.links.to, s.links.files = nil, nil
	for _, to := range edges {
		if to.File {
			s.links.files = append(s.links.files, to.To)
			e.needFile(to.To)
			continue
		}
		s.links.to = append(s.links.to, to.To)
		w.needed[to.To]++
		if other := e.services[to.To]; other != nil && other.node == nil {
			w.stale[to.To] = true
		}
	}
	for _, to := range before.to {
		e.unneed(to)
	}
	for _, path := range before.files {
		e.unneedFile(path)
	}
	if len(edges) == 0 && w.needed[name] == 0 {
		e.disconnect(s)
		return
	}
	id := e.deps.graph.Define(name, edges)
	if s.node == nil {
		s.node = &node{}
	}
	s.node.id = id
	e.deps.byID[id] = s
	for _, path := range s.links.files {
		e.lookAtFile(e.deps.files[path])
	}
	e.inform(s)
}

// disconnect takes a service out of the graph.
func (e *Engine) disconnect(s *service) {
	if s.node != nil {
		delete(e.deps.byID, s.node.id)
		s.node = nil
		e.deps.graph.Remove(s.name)
	}
	if e.deps.known {
		e.free(s)
	}
}

// free lets go a service that is no part of the graph: nothing holds it any more, and
// its turn has come.
func (e *Engine) free(s *service) {
	if s.info.Ending != endNone {
		e.end(s)
		return
	}
	e.obey(s)
}

// handNode gives the part of a service in the graph to the run that takes the place
// of the present one.
func (e *Engine) handNode(s, next *service) {
	next.node, next.links, next.builtIn = s.node, s.links, s.builtIn
	s.node, s.links = nil, links{}
	// For others nothing has ended and nothing has begun.
	i, was := &next.info, &s.info
	i.past, i.Named, i.Ending, i.Erred = was.past, was.Named, was.Ending, was.Erred
	next.keptPast = s.keptPast
	if next.node == nil {
		return
	}
	e.deps.byID[next.node.id] = next
	e.inform(next)
	e.hold(next)
}

// edges are what a definition says about others, and the names that it uses.
func (e *Engine) edges(s *service) (edges []graph.Edge, names []string) {
	add := func(list []model.Dependency, one graph.Edge) {
		for _, d := range list {
			one.Until, one.Level = untilOf[d.Until], levelOf[d.Restart]
			if one.File = d.File != ""; one.File {
				one.To = d.File
				edges = append(edges, one)
				continue
			}
			names = append(names, d.Service)
			for _, one.To = range e.resolve(d.Service) {
				edges = append(edges, one)
			}
		}
	}
	if s.def == nil {
		return nil, nil
	}
	n := &s.def.Needs
	add(n.Requires, graph.Edge{Kind: graph.Requires})
	add(n.Wants, graph.Edge{Kind: graph.Wants})
	add(n.After, graph.Edge{Kind: graph.After})
	add(n.Before, graph.Edge{Kind: graph.Before})
	add(n.RequiredBy, graph.Edge{Kind: graph.Requires, Reverse: true})
	add(n.WantedBy, graph.Edge{Kind: graph.Wants, Reverse: true})
	for i, set := range n.AnyOf {
		add(set, graph.Edge{Kind: graph.AnyOf, Set: i})
	}
	add(n.Conflicts, graph.Edge{Kind: graph.Conflicts})
	add(n.PartOf, graph.Edge{Kind: graph.PartOf})
	add(n.OptionalAll, graph.Edge{Kind: graph.OptionalAll})
	add(n.ExcludeAll, graph.Edge{Kind: graph.ExcludeAll})
	slices.Sort(names)
	return edges, slices.Compact(names)
}

// The default is Ready: a task that has finished counts as ready for others.
var untilOf = map[model.Until]graph.Until{
	model.UntilDefault: graph.UntilReady, model.UntilStarted: graph.UntilStarted,
	model.UntilReady: graph.UntilReady, model.UntilFinished: graph.UntilFinished,
}

var levelOf = map[model.RestartOn]graph.Level{
	model.RestartOnNone: graph.LevelNone, model.RestartOnError: graph.LevelError,
	model.RestartOnRestart: graph.LevelRestart, model.RestartOnReload: graph.LevelReload,
}

// resolve returns the services that a name in a definition stands for: the one so
// called, or all instances of the template. A name that nothing has stands for
// itself: the graph says that it is absent.
func (e *Engine) resolve(name string) []string {
	if e.services[name] == nil {
		if all := e.deps.wiring.instances[name]; len(all) > 0 {
			return slices.Sorted(maps.Keys(all))
		}
	}
	return []string{name}
}

func put(m map[string]map[string]bool, key, member string) {
	if m[key] == nil {
		m[key] = map[string]bool{}
	}
	m[key][member] = true
}

func drop(m map[string]map[string]bool, key, member string) {
	delete(m[key], member)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}
