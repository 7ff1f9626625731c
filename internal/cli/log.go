package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/api/wire"
	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

func decodeStatuses(data []byte) ([]client.Status, error) { return wire.DecodeStatuses(data) }

func (a *app) logs(names []string) error {
	if a.lines < -1 {
		return usage("abide log -n 20", "cannot show %d lines: want a number, -1 for all", a.lines)
	}
	q := client.LogQuery{Names: names, Lines: a.lines, Follow: a.follow}
	if a.since != "" {
		at, err := moment(a.since, time.Now())
		if err != nil {
			return err
		}
		q.Since = at
		if !a.set.Changed("lines") {
			q.Lines = -1
		}
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		p := a.recordPrinter()
		err := c.Logs(ctx, q, p.print)
		p.flush()
		return a.endOfStream(err)
	})
}

// endOfStream makes the end of a followed instance an end in good order.
func (a *app) endOfStream(err error) error {
	var e *control.Error
	if a.follow && errors.As(err, &e) && e.Code == control.NoDaemon {
		fmt.Fprintln(a.stderr, "abide: the daemon has ended")
		return nil
	}
	return err
}

// moment reads a time ago ("10m") or a time of day or date, in local time.
func moment(text string, now time.Time) (time.Time, error) {
	if d, err := model.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return at, nil
		}
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		if at, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			at = time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location())
			if at.After(now) {
				at = at.AddDate(0, 0, -1)
			}
			return at, nil
		}
	}
	return time.Time{}, usage("", "cannot read the time %q: want one ago (10m), a time (15:04) or a date (2006-01-02 15:04:05)", text)
}

// recordPrinter prints log records: `TIME NAME[RUN] text`, or JSON.
type recordPrinter struct {
	app      *app
	w        *bufio.Writer
	terminal bool
	buf      []byte
}

func (a *app) recordPrinter() *recordPrinter {
	return &recordPrinter{app: a, w: bufio.NewWriterSize(a.stdout, 32<<10), terminal: a.outFile != nil && isTerminal(a.outFile)}
}

func (p *recordPrinter) print(r client.LogRecord) error {
	b := p.buf[:0]
	if p.app.json {
		b = wire.AppendLogRecord(b, &r)
	} else {
		b = p.app.stamp(b, r.Time)
		b = append(append(b, ' '), r.Service...)
		b = append(strconv.AppendUint(append(b, '['), r.Run, 10), "] "...)
		if r.Stream != "" && r.Stream != "out" && r.Stream != "err" {
			b = append(append(b, r.Stream...), ": "...)
		}
		text := r.Text
		if r.Base64 {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				text = string(raw)
			}
		}
		if p.terminal {
			text = tame(text)
		}
		b = append(b, text...)
	}
	p.buf = append(b, '\n')
	if _, err := p.w.Write(p.buf); err != nil {
		return err
	}
	if p.app.follow {
		return p.w.Flush()
	}
	return nil
}

func (p *recordPrinter) flush() { p.w.Flush() }

func (a *app) stamp(b []byte, at time.Time) []byte {
	if a.utc {
		return at.UTC().AppendFormat(b, "2006-01-02 15:04:05.000Z")
	}
	return at.Local().AppendFormat(b, "2006-01-02 15:04:05.000")
}

// tame keeps what a program wrote from steering the terminal: colours pass,
// other control characters and bytes that are not UTF-8 are shown as \xNN.
func tame(text string) string {
	var b strings.Builder
	coloured := false
	for i := 0; i < len(text); {
		if n := colourSequence(text[i:]); n > 0 {
			b.WriteString(text[i : i+n])
			i += n
			coloured = true
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r < ' ' && r != '\t', r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	if coloured {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// colourSequence is the length of the SGR sequence (ECMA-48, 8.3.117) that text
// begins with, else 0.
func colourSequence(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	for i := 2; i < len(text) && i < 32; i++ {
		switch c := text[i]; {
		case c == 'm':
			return i + 1
		case c < '0' || c > ';':
			return 0
		}
	}
	return 0
}

func (a *app) events([]string) error {
	var cursor uint64
	if a.since != "" {
		var err error
		if cursor, err = strconv.ParseUint(a.since, 10, 64); err != nil {
			return usage("abide events --json shows cursors", "cannot read the cursor %q: want the number of an event", a.since)
		}
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		w := bufio.NewWriterSize(a.stdout, 32<<10)
		err := c.Events(ctx, cursor, a.follow, func(e client.Event) error {
			a.event(w, &e)
			if a.follow {
				return w.Flush()
			}
			return nil
		})
		w.Flush()
		return a.endOfStream(err)
	})
}

func (a *app) event(w *bufio.Writer, e *client.Event) {
	if a.json {
		data, _ := json.Marshal(e)
		w.Write(append(data, '\n'))
		return
	}
	who := e.Service
	switch {
	case who == "":
		who = "abide"
	case e.Run > 0:
		who = fmt.Sprintf("%s[%d]", who, e.Run)
	}
	w.Write(a.stamp(nil, e.Time))
	fmt.Fprintf(w, " %s %s: %s\n", who, e.Kind, oneLine(e.Text))
}
