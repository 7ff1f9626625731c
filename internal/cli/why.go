package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/abide-project/abide/client"
)

// why prints the state of a service, what it lacks, whom that keeps down, and the
// chain of events behind it.
func (a *app) why(names []string) error {
	return a.ask(func(ctx context.Context, c *client.Client) error {
		w, err := c.Why(ctx, names[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(w)
		}
		_, err = a.stdout.Write(a.explanation(&w, time.Now()))
		return err
	})
}

func (a *app) explanation(w *client.Why, now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s", w.Name, w.State)
	if !w.Since.IsZero() {
		fmt.Fprintf(&b, " for %s", ago(now.Sub(w.Since)))
	}
	if w.Text != "" {
		fmt.Fprintf(&b, ", %s", oneLine(w.Text))
	}
	b.WriteByte('\n')
	unmetTree(&b, w.Unmet, "  ")
	if len(w.Impact) > 0 {
		fmt.Fprintf(&b, "  down because of it: %s\n", strings.Join(w.Impact, ", "))
	}
	if len(w.Chain) == 0 {
		b.WriteString("  how it came to be is older than the events that are kept\n")
		return b.Bytes()
	}
	b.WriteString("how it came to be:\n")
	for i := range w.Chain {
		ev := &w.Chain[i]
		who := ev.Service
		switch {
		case who == "":
			who = "abide"
		case ev.Run > 0:
			who = fmt.Sprintf("%s[%d]", who, ev.Run)
		}
		text := oneLine(ev.Text)
		if action := ev.Fields["action"]; action != "" {
			text += " -> " + action
		}
		fmt.Fprintf(&b, "  %s  %s: %s\n", a.stamp(nil, ev.Time), who, text)
	}
	return b.Bytes()
}

// unmetTree says what is missing, and below it what that lacks in turn.
func unmetTree(b *bytes.Buffer, unmet []client.Unmet, indent string) {
	for i := range unmet {
		u := &unmet[i]
		line := u.Kind
		switch {
		case u.Name != "":
			line = fmt.Sprintf("%s %s: %s", u.Kind, u.Name, oneLine(u.Text))
		case u.Text != "":
			line = "waits for " + oneLine(u.Text)
		}
		fmt.Fprintf(b, "%s%s\n", indent, line)
		unmetTree(b, u.Unmet, indent+"  ")
	}
}

// history prints the runs of a service, one a line.
func (a *app) history(names []string) error {
	return a.ask(func(ctx context.Context, c *client.Client) error {
		runs, err := c.History(ctx, names[0], max(a.lines, 0))
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(runs)
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "RUN\tSTART\tLASTED\tEND\tCPU\tPEAK MEMORY\tBECAUSE")
		for i := range runs {
			fmt.Fprintln(w, strings.Join(a.pastRun(&runs[i], time.Now()), "\t"))
		}
		return w.Flush()
	})
}

func (a *app) pastRun(r *client.PastRun, now time.Time) []string {
	start, lasted, end, cpu, memory := "-", "-", "-", "-", "-"
	if !r.Start.IsZero() {
		start = string(a.stamp(nil, r.Start))
		until := now
		if !r.End.IsZero() {
			until = r.End
		}
		lasted = lifeTime(until.Sub(r.Start))
	}
	switch {
	case r.Exit != nil:
		end = exitText(r.Exit)
	case !r.End.IsZero():
		end = "not started: " + oneLine(r.Text)
	case !r.Start.IsZero():
		end = fmt.Sprintf("runs, pid %d", r.Pid)
	}
	if r.CPU > 0 {
		cpu = lifeTime(time.Duration(r.CPU))
	}
	if r.PeakMemory > 0 {
		memory = fmt.Sprintf("%.1f MiB", float64(r.PeakMemory)/(1<<20))
	}
	return []string{fmt.Sprint(r.Run), start, lasted, end, cpu, memory, oneLine(r.Cause)}
}

// lifeTime is a span that may be short.
func lifeTime(d time.Duration) string {
	if d < 10*time.Second {
		return max(d, 0).Round(time.Millisecond).String()
	}
	return ago(d)
}
