package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/graph"
)

// Graph implements control.Supervisor.
func (e *Engine) Graph(ctx context.Context, who control.Who, names []string) (out control.Graph, err error) {
	err = e.inLoop(ctx, func() error {
		v := graphView{e: e, who: who, seen: map[string]bool{}, boot: e.wall().Add(-time.Duration(e.now())).UTC()}
		if len(names) == 0 {
			names = sortedKeys(e.services)
		}
		for _, asked := range names {
			for _, name := range e.meant(asked) {
				if e.services[name] == nil {
					o := unknown(name)
					return &control.Error{Code: o.Code, Message: "cannot show " + name + ": " + o.Message, Hint: o.Hint}
				}
				v.service(name)
			}
		}
		for len(v.next) > 0 {
			name := v.next[0]
			v.next = v.next[1:]
			v.edges(name)
		}
		out = v.out
		return nil
	})
	slices.SortFunc(out.Nodes, func(a, b control.GraphNode) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// graphView collects what one asker may see of the graph.
type graphView struct {
	e    *Engine
	who  control.Who
	boot time.Time // zero of CLOCK_BOOTTIME, the same for all
	seen map[string]bool
	next []string // whose edges are still to be looked at
	out  control.Graph
}

// service adds a service, and reports whether it may be seen.
func (v *graphView) service(name string) bool {
	s := v.e.services[name]
	if s == nil {
		if !v.seen[name] {
			v.seen[name] = true
			v.out.Nodes = append(v.out.Nodes, control.GraphNode{Name: name, State: "not defined"})
		}
		return true
	}
	if !v.e.may(v.who, s.def, "view", "") {
		return false
	}
	if v.seen[name] {
		return true
	}
	v.seen[name] = true
	n := control.GraphNode{Name: name, State: s.stateName(), Began: v.at(s.info.BeganAt), Ready: v.at(s.info.ReadyAt)}
	if s.def != nil {
		n.Kind = s.def.Kind.String()
	}
	v.out.Nodes = append(v.out.Nodes, n)
	v.next = append(v.next, name)
	return true
}

func (v *graphView) edges(name string) {
	s := v.e.services[name]
	if s.node == nil {
		return
	}
	for _, edge := range v.e.deps.graph.Edges(s.node.id) {
		if edge.File {
			v.file(edge.To)
		} else if !v.service(edge.To) {
			continue
		}
		v.out.Edges = append(v.out.Edges, control.GraphEdge{From: name, To: edge.To, Kind: edge.Kind.String(), Until: edge.Until.String(), Restart: edge.Level.String()})
	}
}

func (v *graphView) file(path string) {
	if v.seen[path] {
		return
	}
	v.seen[path] = true
	state := "absent"
	if id, ok := v.e.deps.graph.LookupFile(path); ok && v.e.deps.graph.Fact(id).Status == graph.Ready {
		state = "present"
	}
	v.out.Nodes = append(v.out.Nodes, control.GraphNode{Name: path, Kind: "file", State: state})
}

// at is the wall-clock time of a moment of CLOCK_BOOTTIME, zero for none.
func (v *graphView) at(moment int64) time.Time {
	if moment == 0 {
		return time.Time{}
	}
	return v.boot.Add(time.Duration(moment))
}
