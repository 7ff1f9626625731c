package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

// plan prints what apply would do.
func (a *app) plan(names []string) error {
	return a.ask(func(ctx context.Context, c *client.Client) error {
		p, err := c.Plan(ctx, names...)
		if err != nil {
			return err
		}
		if a.json {
			err = a.printJSON(p)
		} else {
			_, err = a.stdout.Write(planText(p.Steps, colours(a.outFile)))
		}
		if err != nil {
			return err
		}
		broken := false
		for _, s := range p.Steps {
			if s.Definition != control.Broken {
				continue
			}
			broken = true
			if s.Hint != "" && !a.json {
				fmt.Fprintf(a.stderr, "hint: %s\n", s.Hint)
			}
		}
		if broken {
			return exitCode(exitFailed)
		}
		return nil
	})
}

// planWords say what becomes of a service whose processes are left alone.
var planWords = map[string]string{
	control.Added: "add", control.Changed: "change", control.Removed: "remove", control.Pinned: "keep", control.Broken: "broken", control.Unchanged: "nothing",
}

var planTints = map[string]string{
	control.WillStart: "\x1b[32m", control.WillStop: "\x1b[31m", control.WillRestart: "\x1b[33m", "broken": "\x1b[31m",
}

// planText is one line for each step: what happens, to which service, and why.
func planText(steps []client.PlanStep, colour bool) []byte {
	if len(steps) == 0 {
		return []byte("nothing to do\n")
	}
	words, names := 0, 0
	for _, s := range steps {
		words, names = max(words, len(planWord(&s))), max(names, len(s.Name))
	}
	var b bytes.Buffer
	for _, s := range steps {
		word := planWord(&s)
		tint, end := planTints[word], "\x1b[0m"
		if !colour || tint == "" {
			tint, end = "", ""
		}
		line := fmt.Sprintf("%s%-*s%s  %-*s  %s", tint, words, word, end, names, s.Name, tame(oneLine(planReason(&s))))
		b.WriteString(strings.TrimRight(line, " "))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func planWord(s *client.PlanStep) string {
	if s.Action != control.WillNothing {
		return s.Action
	}
	return planWords[s.Definition]
}

func planReason(s *client.PlanStep) string {
	var parts []string
	switch s.Definition {
	case control.Added:
		parts = append(parts, "new definition")
	case control.Removed:
		parts = append(parts, "its definition is gone")
	}
	if s.Because != "" {
		parts = append(parts, "follows "+s.Because)
	}
	if len(s.Keys) > 0 {
		text := "changed: " + keyList(s.Keys)
		if s.Definition == control.Pinned {
			text = "passed over: " + keyList(s.Keys)
		}
		parts = append(parts, text)
	}
	if s.Note != "" {
		parts = append(parts, s.Note)
	}
	return strings.Join(parts, "; ")
}

// keyList names keys; when some need a new process and others do not it says which.
func keyList(keys []client.PlanKey) string {
	restarts := slices.ContainsFunc(keys, func(k client.PlanKey) bool { return k.Restarts })
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = k.Key
		if restarts && !k.Restarts {
			words[i] += " (applies at once)"
		}
	}
	return strings.Join(words, ", ")
}

func (a *app) apply(names []string) error {
	if a.unpin && len(names) == 0 {
		return usage("abide apply --unpin NAME", "cannot unpin: it needs the NAME of a service")
	}
	return a.act(client.Request{Verb: control.Apply, Names: names, Unpin: a.unpin})
}

// rollback lists what a service can go back to, or goes back.
func (a *app) rollback(args []string) error {
	if len(args) == 2 {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 1 {
			return usage("abide rollback "+args[0]+" lists them", "cannot roll back %s to %s: it is no number of a snapshot", args[0], quoteWord(args[1]))
		}
		return a.act(client.Request{Verb: control.Rollback, Names: args[:1], Number: n})
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		list, err := c.Snapshots(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			fmt.Fprintln(a.stdout, "no snapshots are kept")
			return nil
		}
		var b bytes.Buffer
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NUMBER\tWHEN\tBY\tCHANGED\t")
		for i := range list {
			fmt.Fprintln(w, a.snapshotRow(&list[i]))
		}
		w.Flush()
		for line := range bytes.Lines(b.Bytes()) {
			fmt.Fprintf(a.stdout, "%s\n", bytes.TrimRight(line, " \n"))
		}
		return nil
	})
}

func (a *app) snapshotRow(k *client.Kept) string {
	by := k.Verb
	if k.By >= 0 {
		by += fmt.Sprintf(", uid %d", k.By)
	}
	what := strings.Join(k.Keys, ", ")
	if what == "" {
		what = "-"
	}
	switch {
	case k.Pinned:
		what += "\tpinned"
	case k.InForce:
		what += "\tin force"
	default:
		what += "\t"
	}
	return fmt.Sprintf("%d\t%s\t%s\t%s", k.Number, a.stamp(nil, k.At), by, what)
}

func (a *app) scale(args []string) error {
	switch {
	case a.reset && len(args) == 1:
		return a.act(client.Request{Verb: control.Scale, Names: args, Reset: true})
	case a.reset:
		return usage("abide scale "+args[0]+" --reset", "cannot scale %s: --reset takes the number from the file", args[0])
	case len(args) == 1:
		return usage("abide scale "+args[0]+" 4", "cannot scale %s: it needs the number of copies", args[0])
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 0 {
		return usage("abide scale "+args[0]+" 4", "cannot scale %s to %s: want a number from 0", args[0], quoteWord(args[1]))
	}
	return a.act(client.Request{Verb: control.Scale, Names: args[:1], Number: n})
}
