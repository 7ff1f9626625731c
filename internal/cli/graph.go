package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/graph"
)

// graph prints what services have to do with each other.
func (a *app) graph(names []string) error {
	forms := 0
	for _, on := range []bool{a.dot, a.mermaid, a.times, a.json} {
		if on {
			forms++
		}
	}
	if forms > 1 {
		return usage("abide graph --dot", "cannot use more than one of --dot, --mermaid, --times and --json")
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		g, err := c.Graph(ctx, names...)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(g)
		}
		text := graphTree
		switch {
		case a.dot:
			text = graphDot
		case a.mermaid:
			text = graphMermaid
		case a.times:
			text = graphTimes
		}
		_, err = a.stdout.Write(text(&g, names))
		return err
	})
}

// tree writes what each service that nobody leads to, or each that was asked for,
// leads to.
type tree struct {
	b     bytes.Buffer
	nodes map[string]*client.GraphNode
	edges map[string][]client.GraphEdge
	shown map[string]bool
}

func graphTree(g *client.Graph, names []string) []byte {
	t := tree{nodes: map[string]*client.GraphNode{}, edges: map[string][]client.GraphEdge{}, shown: map[string]bool{}}
	led := map[string]bool{}
	for i := range g.Nodes {
		t.nodes[g.Nodes[i].Name] = &g.Nodes[i]
	}
	for _, e := range g.Edges {
		t.edges[e.From] = append(t.edges[e.From], e)
		led[e.To] = led[e.To] || e.Kind != "conflicts" && e.Kind != "exclude_all" && e.Kind != "part_of"
	}
	root := func(name string) {
		if !t.shown[name] {
			fmt.Fprintf(&t.b, "%s  %s\n", name, t.nodes[name].State)
			t.below(name, "")
		}
	}
	for _, n := range g.Nodes {
		if len(names) == 0 && !led[n.Name] || askedFor(n.Name, names) {
			root(n.Name)
		}
	}
	// Whatever is left stands in a circle.
	for _, n := range g.Nodes {
		root(n.Name)
	}
	return t.b.Bytes()
}

// askedFor tells whether a service, or the template it is an instance of, is one of
// names.
func askedFor(service string, names []string) bool {
	base, _, _ := strings.Cut(service, "@")
	return slices.Contains(names, service) || slices.Contains(names, base)
}

func (t *tree) below(name, indent string) {
	t.shown[name] = true
	edges := t.edges[name]
	for i, e := range edges {
		branch, next := "├─ ", "│  "
		if i == len(edges)-1 {
			branch, next = "└─ ", "   "
		}
		fmt.Fprintf(&t.b, "%s%s%s %s", indent, branch, e.Kind, e.To)
		if n := t.nodes[e.To]; n != nil {
			fmt.Fprintf(&t.b, "  %s", n.State)
		}
		apart := e.Kind == "conflicts" || e.Kind == "exclude_all" || e.Kind == "part_of"
		switch {
		case apart:
			t.b.WriteByte('\n')
		case t.shown[e.To] && len(t.edges[e.To]) > 0:
			t.b.WriteString("  (see above)\n")
		default:
			t.b.WriteByte('\n')
			t.below(e.To, indent+next)
		}
	}
}

// graphDot is the graph in the language of Graphviz.
func graphDot(g *client.Graph, _ []string) []byte {
	var b bytes.Buffer
	b.WriteString("digraph abide {\n\trankdir=LR;\n\tnode [shape=box];\n")
	for _, n := range g.Nodes {
		shape := ""
		if n.Kind == "target" || n.Kind == "file" {
			shape = map[string]string{"target": ", shape=ellipse", "file": ", shape=note"}[n.Kind]
		}
		fmt.Fprintf(&b, "\t%s [label=%s%s];\n", quoteDot(n.Name), quoteDot(n.Name+"\n"+n.State), shape)
	}
	for _, e := range g.Edges {
		style := map[string]string{"requires": "solid", "any_of": "dashed", "conflicts": "dotted", "exclude_all": "dotted"}[e.Kind]
		if style == "" {
			style = "dashed"
		}
		fmt.Fprintf(&b, "\t%s -> %s [label=%s, style=%s];\n", quoteDot(e.From), quoteDot(e.To), quoteDot(edgeLabel(&e)), style)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func quoteDot(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// graphMermaid is the graph as Mermaid draws it.
func graphMermaid(g *client.Graph, _ []string) []byte {
	var b bytes.Buffer
	b.WriteString("flowchart LR\n")
	number := map[string]int{}
	quote := strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;")
	for i, n := range g.Nodes {
		number[n.Name] = i
		fmt.Fprintf(&b, "    n%d[\"%s<br>%s\"]\n", i, quote.Replace(n.Name), quote.Replace(n.State))
	}
	for _, e := range g.Edges {
		arrow := "-.->"
		if e.Kind == "requires" {
			arrow = "-->"
		}
		fmt.Fprintf(&b, "    n%d %s|%s| n%d\n", number[e.From], arrow, edgeLabel(&e), number[e.To])
	}
	return b.Bytes()
}

func edgeLabel(e *client.GraphEdge) string {
	label := e.Kind
	if e.Until == "started" || e.Until == "finished" {
		label += ", until " + e.Until
	}
	if e.Restart != "none" && e.Restart != "" {
		label += ", restart on " + e.Restart
	}
	return label
}

// graphTimes is the critical chain of each service that was asked for, or of the
// one that was ready last.
func graphTimes(g *client.Graph, names []string) []byte {
	pure := graph.New()
	edges := map[string][]graph.Edge{}
	times := map[string]*client.GraphNode{}
	for _, e := range g.Edges {
		if kind, ok := orderWords[e.Kind]; ok {
			edges[e.From] = append(edges[e.From], graph.Edge{To: e.To, Kind: kind})
		}
	}
	last := ""
	for i := range g.Nodes {
		n := &g.Nodes[i]
		times[n.Name] = n
		pure.Define(n.Name, edges[n.Name])
		if !n.Ready.IsZero() && (last == "" || n.Ready.After(times[last].Ready)) {
			last = n.Name
		}
	}
	var b bytes.Buffer
	switch {
	case last == "":
		b.WriteString("nothing was ready yet\n")
		return b.Bytes()
	case len(names) == 0:
		names = []string{last}
	}
	for i := range g.Nodes {
		name := g.Nodes[i].Name
		if !askedFor(name, names) {
			continue
		}
		id, _ := pure.Lookup(name)
		chain := pure.CriticalChain(id, func(id graph.ID) (began, ready int64) {
			n := times[pure.Name(id)]
			if n == nil || n.Ready.IsZero() || n.Ready.Before(n.Began) {
				return 0, 0
			}
			return n.Began.UnixNano(), n.Ready.UnixNano()
		})
		if chain[0].Ready == 0 {
			fmt.Fprintf(&b, "%s  is not ready\n", name)
			continue
		}
		first := chain[len(chain)-1].Began
		for depth, l := range chain {
			fmt.Fprintf(&b, "%s%s  @%s +%s\n", strings.Repeat("  ", depth), pure.Name(l.ID), short(l.Ready-first), short(l.Ready-l.Began))
		}
	}
	return b.Bytes()
}

var orderWords = map[string]graph.Kind{
	"requires": graph.Requires, "wants": graph.Wants, "after": graph.After, "any_of": graph.AnyOf, "optional_all": graph.OptionalAll,
}

func short(ns int64) string { return time.Duration(ns).Round(time.Millisecond).String() }
