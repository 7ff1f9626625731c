package core

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

const atlasFile = "../../docs/state-machine.md"

// way is one kind of step from a phase to another.
type way struct {
	from, to Phase
	event    EventKind
}

// atlas collects which ways the walks took and what Reason says of each.
type atlas struct {
	mu      sync.Mutex
	walks   int
	reasons map[way]map[string]bool
}

func (a *atlas) add(old State, ev Event, s State) {
	if old.Phase == s.Phase {
		return
	}
	w := way{old.Phase, s.Phase, ev.Kind}
	if a.reasons == nil {
		a.reasons = map[way]map[string]bool{}
	}
	if a.reasons[w] == nil {
		a.reasons[w] = map[string]bool{}
	}
	a.reasons[w][Reason(old, ev, s)] = true
}

func (a *atlas) join(b *atlas) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.walks++
	if a.reasons == nil {
		a.reasons = map[way]map[string]bool{}
	}
	for w, reasons := range b.reasons {
		if a.reasons[w] == nil {
			a.reasons[w] = map[string]bool{}
		}
		for r := range reasons {
			a.reasons[w][r] = true
		}
	}
}

// check compares the page in docs with what the walks saw.
func (a *atlas) check(t *testing.T) {
	a.checkReasons(t)
	got := a.page()
	want, err := os.ReadFile(atlasFile)
	if err == nil && string(want) == got {
		return
	}
	if *update {
		if err := os.WriteFile(atlasFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what Step does (%v): go test ./internal/core -update, and look at the diff", atlasFile, err)
}

// checkPart looks whether the page has all that some of the walks saw.
func (a *atlas) checkPart(t *testing.T) {
	a.checkReasons(t)
	page, err := os.ReadFile(atlasFile)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(strings.TrimSpace(line), " | "); len(cells) == 4 {
			said[strings.Join(cells[:3], " | ")] = strings.TrimSuffix(cells[3], " |")
		}
	}
	for w, reasons := range a.reasons {
		row := fmt.Sprintf("| %v | %v | %v", w.from, w.event, w.to)
		for r := range reasons {
			if !slices.Contains(strings.Split(said[row], "; "), r) {
				t.Errorf("%s does not have %q for the step %q: go test ./internal/core -update, and look at the diff", atlasFile, r, row)
			}
		}
	}
}

func (a *atlas) checkReasons(t *testing.T) {
	for w, reasons := range a.reasons {
		for r := range reasons {
			if r == "" {
				t.Errorf("no reason is given from %v to %v by %v", w.from, w.to, w.event)
				continue
			}
			checkReason(t, r)
		}
	}
}

func (a *atlas) page() string {
	ways := make([]way, 0, len(a.reasons))
	for w := range a.reasons {
		ways = append(ways, w)
	}
	slices.SortFunc(ways, func(x, y way) int {
		for _, d := range []int{int(x.from) - int(y.from), int(x.to) - int(y.to), int(x.event) - int(y.event)} {
			if d != 0 {
				return d
			}
		}
		return 0
	})
	var b strings.Builder
	b.WriteString(`# The life of a service

This page is written by a test of ` + "`internal/core`" + `, which walks every state that
a service can reach and notes each step it sees. To write it anew:
` + "`go test ./internal/core -update`" + `.

What an operator reads as a state is told from these phases: down is *stopped*,
delaying and waiting *waiting*; preparing, spawning, finding, starting and
arriving *starting*; leaving, stopping, cleaning and closing *stopping*; reached
*running*; running is *degraded* while health checks fail. Running, finished and
failed are called so.

Waiting is held: by what the service needs, or by a condition. While preparing,
arriving, leaving and closing the commands before_start, after_start, before_stop
and after_stop run. Finding looks for the main process of a forking program.
Reached is a target that is up.

The picture leaves out what happens only when a new engine finds the services
that an older one has started (events *adopted* and *lost*); the table has it.

` + "```mermaid" + `
stateDiagram-v2
    [*] --> down
`)
	for i := 0; i < len(ways); {
		from, to := ways[i].from, ways[i].to
		var events []string
		for ; i < len(ways) && ways[i].from == from && ways[i].to == to; i++ {
			if k := ways[i].event; k != EvAdopted && k != EvLost {
				events = append(events, k.String())
			}
		}
		if len(events) != 0 {
			fmt.Fprintf(&b, "    %v --> %v: %s\n", from, to, strings.Join(events, ", "))
		}
	}
	b.WriteString("```\n\n| from | event | to | what `why` says |\n| --- | --- | --- | --- |\n")
	for _, w := range ways {
		var reasons []string
		for r := range a.reasons[w] {
			reasons = append(reasons, r)
		}
		slices.Sort(reasons)
		fmt.Fprintf(&b, "| %v | %v | %v | %s |\n", w.from, w.event, w.to, strings.Join(reasons, "; "))
	}
	return b.String()
}
