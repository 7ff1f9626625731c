package cli

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

// What is shown of a run that ended too early.
const (
	lastWords = 10
	// lastLines is how much of the log is read for them: the run after may have
	// written already.
	lastLines = 200
	// lastWordsTime is how long the log may take; the answer is there without it.
	lastWordsTime = 2 * time.Second
)

// addLastWords appends to each failed start what the run wrote before it ended.
// It is a service to people: a log that cannot be read changes nothing.
func (a *app) addLastWords(ctx context.Context, c *client.Client, v control.Verb, list []client.Outcome) {
	if a.json || v != control.Start && v != control.Restart && v != control.Enable {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastWordsTime)
	defer cancel()
	for i := range list {
		o := &list[i]
		run := endedRun(o)
		if run == 0 {
			continue
		}
		var lines []string
		_ = c.Logs(ctx, client.LogQuery{Names: []string{o.Name}, Lines: lastLines}, func(r client.LogRecord) error {
			if r.Run == run && r.Stream != "abide" {
				lines = append(lines, a.plain(r))
			}
			return nil
		})
		lines = lines[max(len(lines)-lastWords, 0):]
		if len(lines) > 0 {
			o.Message += "; its last lines:\n    " + strings.Join(lines, "\n    ")
		}
	}
}

// endedRun is the run whose end made a start fail, 0 if there was none. Where not
// even a process could be made, the last exit is that of an earlier run.
func endedRun(o *client.Outcome) uint64 {
	s := o.Status
	if o.Done || o.Code != control.Failed || s == nil || s.LastExit == nil {
		return 0
	}
	if s.LastExit.Run == s.Run || s.State == "starting" || s.State == "running" {
		return s.LastExit.Run
	}
	return 0
}

// plain is the text of a record for the standard error.
func (a *app) plain(r client.LogRecord) string {
	text := r.Text
	if r.Base64 {
		if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
			text = string(raw)
		}
	}
	if a.errFile != nil && isTerminal(a.errFile) {
		text = tame(text)
	}
	return text
}
