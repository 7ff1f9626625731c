//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// A target, two daemons, a task and what all of them need.
func TestTheGraphIsShownInEachForm(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	const sleep = "command = [\"/bin/sleep\", \"100000\"]\n"
	a.Define("base", sleep+"ready.after = \"20ms\"\n")
	a.Define("prep", "kind = \"task\"\ncommand = [\"/bin/sleep\", \"0.2\"]\nrequires = [\"base\"]\n")
	a.Define("worker", sleep+"requires = [{ service = \"base\", restart = \"restart\" }]\n")
	a.Define("web", sleep+"requires = [{ service = \"prep\", until = \"finished\" }]\nafter = [\"worker\"]\nready.after = \"50ms\"\n")
	a.Define("shop", "kind = \"target\"\nrequires = [\"web\"]\nwants = [\"worker\"]\n")
	a.Start()
	a.Await("shop", "running")

	const tree = `shop  running
├─ requires web  running
│  ├─ after worker  running
│  │  └─ requires base  running
│  └─ requires prep  finished
│     └─ requires base  running
└─ wants worker  running  (see above)
`
	if got := a.OK("graph"); got != tree {
		t.Errorf("the tree is\n%s\nwant\n%s", got, tree)
	}
	if got := a.OK("graph", "prep"); got != "prep  finished\n└─ requires base  running\n" {
		t.Errorf("the tree of prep is\n%s", got)
	}
	for form, want := range map[string][]string{
		"--dot": {
			`"shop" [label="shop\nrunning", shape=ellipse];`, `"prep" [label="prep\nfinished"];`,
			`"web" -> "prep" [label="requires, until finished", style=solid];`, `"worker" -> "base" [label="requires, restart on restart", style=solid];`,
			`"shop" -> "worker" [label="wants", style=dashed];`,
		},
		"--mermaid": {"flowchart LR\n", `["prep<br>finished"]`, "-->|requires, until finished|", "-.->|after|"},
	} {
		out := a.OK("graph", form)
		for _, text := range want {
			harness.Contains(t, out, text)
		}
		if n := strings.Count(out, "->"); n != 6 {
			t.Errorf("%s shows %d edges, want 6:\n%s", form, n, out)
		}
	}

	// What the start waited for: the task's end, not its beginning.
	var chain []string
	for line := range strings.Lines(a.OK("graph", "--times")) {
		chain = append(chain, strings.Fields(line)[0])
	}
	if got := strings.Join(chain, " "); got != "shop web prep base" {
		t.Errorf("the critical chain is %s, want shop web prep base", got)
	}

	var g client.Graph
	harness.Check(t, json.Unmarshal([]byte(a.OK("graph", "--json")), &g))
	at := map[string]client.GraphNode{}
	for _, n := range g.Nodes {
		at[n.Name] = n
	}
	if len(g.Nodes) != 5 || at["shop"].Kind != "target" || at["prep"].Kind != "task" || at["prep"].State != "finished" {
		t.Errorf("the nodes are %+v", g.Nodes)
	}
	for _, e := range g.Edges {
		if needs, by := at[e.To], at[e.From]; needs.Ready.IsZero() || by.Began.Before(needs.Ready) {
			t.Errorf("%s began at %s, and %s was ready at %s", e.From, by.Began, e.To, needs.Ready)
		}
	}
	if want := (client.GraphEdge{From: "web", To: "prep", Kind: "requires", Until: "finished", Restart: "none"}); !slices.Contains(g.Edges, want) {
		t.Errorf("the edges are %+v, want %+v among them", g.Edges, want)
	}

	a.OK("stop", "base")
	out := a.OK("graph")
	harness.Contains(t, out, "wants worker  waiting")
	harness.Contains(t, out, "requires base  stopped")
	a.Refused(4, "unknown service", "graph", "nothing")
	a.Refused(2, "more than one of", "graph", "--dot", "--json")
}

func TestALongChainComesBackInOrder(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	const length = 300
	name := func(n int) string { return fmt.Sprintf("link%03d", n) }
	for n := range length {
		needs := ""
		if n > 0 {
			needs = fmt.Sprintf("requires = [{ service = %q, restart = \"restart\" }]\n", name(n-1))
		}
		a.Define(name(n), "command = [\"/bin/sleep\", \"100000\"]\n"+needs+atOnce)
	}
	a.Start()
	a.Await(name(length-1), "running")
	before := a.Status(name(0))
	harness.Check(t, syscall.Kill(before.Pid, syscall.SIGKILL))
	a.AwaitNext(before)
	a.AwaitStatus(name(length-1), "runs again", func(s client.Status) bool { return s.State == "running" && s.Run == 2 })

	var g client.Graph
	harness.Check(t, json.Unmarshal([]byte(a.OK("graph", "--json")), &g))
	if len(g.Nodes) != length {
		t.Fatalf("%d services, want %d", len(g.Nodes), length)
	}
	for n := 1; n < length; n++ { // they are sorted by name
		if g.Nodes[n].Began.Before(g.Nodes[n-1].Ready) {
			t.Errorf("%s began at %s, before %s was ready at %s", g.Nodes[n].Name, g.Nodes[n].Began, g.Nodes[n-1].Name, g.Nodes[n-1].Ready)
		}
	}
	var all []client.Status
	harness.Check(t, json.Unmarshal([]byte(a.OK("status", "--json")), &all))
	for _, s := range all {
		if s.State != "running" || s.Run != 2 {
			t.Errorf("%s is %s in run %d, want running in run 2", s.Name, s.State, s.Run)
		}
	}
	a.OK("shutdown")
	if code := a.DaemonExit(); code != 0 {
		t.Errorf("the daemon exits %d", code)
	}
}
