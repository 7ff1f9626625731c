package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

func (a *app) status(names []string) error {
	c, i, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx := a.cmd.Context()
	if a.json {
		return a.statusJSON(ctx, c, names)
	}
	list, err := c.Status(ctx, names...)
	if err != nil {
		return err
	}
	if i.scope != "" && isTerminal(a.outFile) {
		if beside := others(i); len(beside) > 0 {
			fmt.Fprintf(a.stderr, "this is %s; also running: %s\n", i, strings.Join(beside, ", "))
		}
	}
	now := time.Now()
	switch {
	case len(names) == 1 && len(list) == 1:
		a.story(ctx, c, &list[0], now)
	case len(list) == 0:
		fmt.Fprintln(a.stdout, "no services")
		fmt.Fprintln(a.stderr, "hint: abide new NAME -- COMMAND writes a definition, abide start NAME starts it")
	default:
		width := 0
		if isTerminal(a.outFile) {
			width = terminalWidth(a.outFile)
		}
		a.stdout.Write(table(list, now, colours(a.outFile), width))
	}
	return statusCode(list, len(names) > 0)
}

func (a *app) statusJSON(ctx context.Context, c *client.Client, names []string) error {
	data, err := c.StatusJSON(ctx, names...)
	if err != nil {
		return err
	}
	if _, err := a.stdout.Write(data); err != nil {
		return err
	}
	list, err := decodeStatuses(data)
	if err != nil {
		return err
	}
	return statusCode(list, len(names) > 0)
}

// statusCode is 3 when a named service does not run, finished tasks excepted, or,
// with none named, when one is not as it is wanted.
func statusCode(list []client.Status, named bool) error {
	for i := range list {
		up := list[i].State == "running" || list[i].State == "degraded" || list[i].State == "finished"
		if named && !up || !named && (list[i].Wanted && !up || list[i].State == "failed") {
			return exitCode(exitNotRunning)
		}
	}
	return nil
}

var columns = []string{"NAME", "STATE", "PID", "SINCE", "RESTARTS", "LAST EXIT", "WHY"}

// table is a line for each service. It is built in one go: a thousand lines are
// one write.
func table(list []client.Status, now time.Time, colour bool, width int) []byte {
	rows := make([][7]string, len(list))
	var widths [7]int
	for n, title := range columns {
		widths[n] = len(title)
	}
	for r := range list {
		rows[r] = row(&list[r], now)
		for n, cell := range rows[r] {
			widths[n] = max(widths[n], utf8.RuneCountInString(cell))
		}
	}
	var b bytes.Buffer
	b.Grow((len(list) + 1) * 96)
	var head [7]string
	copy(head[:], columns)
	writeRow(&b, head, &widths, width, "")
	for r := range rows {
		tint := ""
		if colour {
			tint = tintOf(&list[r])
		}
		writeRow(&b, rows[r], &widths, width, tint)
	}
	return b.Bytes()
}

func row(s *client.Status, now time.Time) [7]string {
	pid, since, exit := "-", "-", "-"
	if s.Pid != 0 {
		pid = fmt.Sprint(s.Pid)
	}
	if !s.Since.IsZero() {
		since = ago(now.Sub(s.Since))
	}
	if s.LastExit != nil {
		exit = exitText(s.LastExit)
	}
	return [7]string{s.Name, stateText(s), pid, since, fmt.Sprint(s.Restarts), exit, whyText(s)}
}

const blanks = "                                                                                "

func writeRow(b *bytes.Buffer, cells [7]string, widths *[7]int, width int, tint string) {
	line := 0
	for n, cell := range cells {
		if n == len(cells)-1 {
			if width > line && utf8.RuneCountInString(cell) > width-line {
				cell = string([]rune(cell)[:width-line])
			}
			b.WriteString(cell)
			break
		}
		if n == 1 && tint != "" {
			b.WriteString(tint)
			b.WriteString(cell)
			b.WriteString("\x1b[0m")
		} else {
			b.WriteString(cell)
		}
		pad := widths[n] - utf8.RuneCountInString(cell) + 2
		line += widths[n] + 2
		for ; pad > 0; pad -= min(pad, len(blanks)) {
			b.WriteString(blanks[:min(pad, len(blanks))])
		}
	}
	for b.Len() > 0 && b.Bytes()[b.Len()-1] == ' ' {
		b.Truncate(b.Len() - 1)
	}
	b.WriteByte('\n')
}

func tintOf(s *client.Status) string {
	switch {
	case s.State == "running" && !s.Paused, s.State == "finished":
		return "\x1b[32m"
	case s.State == "failed":
		return "\x1b[31m"
	case s.State == "stopped", s.State == "disabled":
		return "\x1b[2m"
	default:
		return "\x1b[33m"
	}
}

func stateText(s *client.Status) string {
	if s.Paused {
		return s.State + " (paused)"
	}
	return s.State
}

// whyText is what a line has room for: what is waited for comes first.
func whyText(s *client.Status) string {
	switch {
	case s.Fault != "":
		return oneLine(s.Fault)
	case len(s.WaitingFor) > 0:
		return oneLine("waiting for " + strings.Join(s.WaitingFor, ", "))
	case s.Why == "" && s.Definition.Changed:
		return "definition changed"
	default:
		return oneLine(s.Why)
	}
}

func oneLine(text string) string {
	if strings.ContainsAny(text, "\n\r\t") {
		return strings.Join(strings.Fields(text), " ")
	}
	return text
}

func exitText(e *client.Exit) string {
	switch {
	case e.Unknown:
		return "unknown"
	case e.OOM:
		return "out of memory"
	case e.Signal != nil && e.Core:
		return *e.Signal + " (core)"
	case e.Signal != nil:
		return *e.Signal
	case e.Code != nil:
		return fmt.Sprintf("exit %d", *e.Code)
	default:
		return "-"
	}
}

// ago is a span as a person says it: two units at most.
func ago(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// story tells everything about one service, and its last lines.
func (a *app) story(ctx context.Context, c *client.Client, s *client.Status, now time.Time) {
	state := stateText(s)
	if tint := tintOf(s); colours(a.outFile) {
		state = tint + state + "\x1b[0m"
	}
	fmt.Fprintf(a.stdout, "%s: %s%s\n", s.Name, state, forSpan(s, now))
	line := func(title, text string) { fmt.Fprintf(a.stdout, "  %-12s %s\n", title, text) }
	if s.Why != "" && s.Why != s.Fault {
		line("why", oneLine(s.Why))
	}
	if s.Fault != "" {
		line("fault", oneLine(s.Fault))
	}
	for _, w := range s.WaitingFor {
		line("waiting for", oneLine(w))
	}
	if s.Pid != 0 {
		line("pid", fmt.Sprintf("%d (run %d)", s.Pid, s.Run))
	}
	line("restarts", fmt.Sprint(s.Restarts))
	if s.LastExit != nil {
		line("last exit", fmt.Sprintf("run %d, %s, %s ago", s.LastExit.Run, exitStory(s.LastExit), ago(now.Sub(s.LastExit.At))))
	}
	line("kind", s.Kind)
	line("wanted", yesNo(s.Wanted)+", "+map[bool]string{true: "enabled", false: "disabled"}[s.Enabled])
	if path := s.Definition.Path; path != "" {
		if s.Definition.Changed {
			next := "abide restart " + s.Name
			if s.Pinned {
				next = "abide apply --unpin " + s.Name
			}
			path += " (changed since: " + next + " uses it)"
		}
		line("definition", path)
	}
	line("containment", s.Containment)
	if len(s.Strays) > 0 {
		line("strays", strings.Trim(fmt.Sprint(s.Strays), "[]")+" (left behind, not ended: abide cannot tell whose they are)")
	}
	if s.Log.Path != "" {
		line("log", s.Log.Path)
	}
	if s.Log.DroppedBytes > 0 {
		line("log lost", fmt.Sprintf("%d bytes in %d lines", s.Log.DroppedBytes, s.Log.DroppedLines))
	}
	a.lastLines(ctx, c, s.Name)
}

func forSpan(s *client.Status, now time.Time) string {
	if s.Since.IsZero() {
		return ""
	}
	return fmt.Sprintf(" for %s, since %s", ago(now.Sub(s.Since)), s.Since.Local().Format("2006-01-02 15:04:05"))
}

func exitStory(e *client.Exit) string {
	switch {
	case e.Unknown:
		return "ended when nobody could see how"
	case e.OOM:
		return "ended because memory ran out"
	case e.Signal != nil:
		return "ended by signal " + exitText(e)
	default:
		return exitText(e)
	}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func (a *app) lastLines(ctx context.Context, c *client.Client, name string) {
	p := a.recordPrinter()
	first := true
	err := c.Logs(ctx, client.LogQuery{Names: []string{name}, Lines: 5}, func(r client.LogRecord) error {
		if first {
			fmt.Fprintln(a.stdout)
			first = false
		}
		return p.print(r)
	})
	p.flush()
	if e, ok := err.(*control.Error); ok && e.Code != control.NotPermitted {
		a.complain(e.Message, e.Hint)
	}
}
