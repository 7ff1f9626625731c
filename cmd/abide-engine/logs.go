package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

// logs is svlog.Manager as the engine's port.
type logs struct {
	*svlog.Manager
	dir    string
	report func(string)
	// nameless finds the read end of a pipe whose name is gone; -1 if nobody has it.
	nameless func(name string, run uint64, stream svlog.Stream, path string) int
}

func (l logs) say(err error) {
	if err != nil {
		l.report(err.Error())
	}
}

func (l logs) Adopt(name string, run uint64, _, _ int, spec *model.Log) error {
	pipes, err := l.Manager.Adopt(name, run, spec)
	if err != nil || l.nameless == nil {
		return err
	}
	held := false
	for _, stream := range []svlog.Stream{svlog.Stdout, svlog.Stderr} {
		pipe := pipes.Out
		if stream == svlog.Stderr {
			pipe = pipes.Err
		}
		if pipe.Kind != svlog.PipeFIFO || pipe.ReadFD >= 0 {
			continue
		}
		fd := l.nameless(name, run, stream, pipe.Path)
		if fd < 0 {
			if held {
				continue // one pipe for both, as an adopted process may have
			}
			err = errors.Join(err, fmt.Errorf("its pipe %s is gone: what it writes there is not taken any more", pipe.Path))
			continue
		}
		held = true
		err = errors.Join(err, l.Manager.AdoptFD(name, run, stream, fd, spec))
	}
	return err
}

func (l logs) AdoptFD(name string, run uint64, stream engine.Stream, fd int, spec *model.Log) error {
	of := svlog.Stdout
	if stream == engine.Stderr {
		of = svlog.Stderr
	}
	return l.Manager.AdoptFD(name, run, of, fd, spec)
}

func (l logs) Detach(name string, run uint64, done func(out, err string)) {
	if err := l.Manager.Detach(name, run, done); err != nil {
		l.say(err)
		done("", "")
	}
}

func (l logs) Reclaim(path, name string, run uint64, stream engine.Stream) error {
	of := svlog.Stdout
	if stream == engine.Stderr {
		of = svlog.Stderr
	}
	return l.Manager.Reclaim(path, name, run, of)
}

func (l logs) Ended(name string, run uint64, done func()) {
	if err := l.Manager.Ended(name, run, done); err != nil {
		done()
	}
}

// AwaitLine waits for a line on its way into the logs. Of a run that is under way
// also what stands there is read, from where a former engine may have written it;
// a log without stamps does not say whose its lines are.
func (l logs) AwaitLine(name string, run uint64, spec *model.Log, since time.Time, match func([]byte) bool, done func(string)) func() {
	cancel := l.Manager.AwaitLine(name, run, match, done)
	if since.IsZero() || spec.Stamp == model.StampNone && !spec.JSON {
		return cancel
	}
	query := svlog.Query{Lines: -1, Since: since}
	for _, targets := range [][]model.LogTarget{spec.Stdout, spec.Stderr} {
		log := svlog.Log{Service: name, Path: svlog.Path(l.dir, name, &model.Log{Stdout: targets})}
		if log.Path != "" && !slices.Contains(query.Logs, log) {
			query.Logs = append(query.Logs, log)
		}
	}
	if len(query.Logs) == 0 {
		return cancel
	}
	ctx, stop := context.WithCancel(context.Background())
	found := errors.New("found")
	go func() {
		_ = svlog.Follow(ctx, query, l.Manager, func(r svlog.Record) error {
			if r.Run != run || r.Stream != "out" && r.Stream != "err" || !match(r.Text) {
				return nil
			}
			done(string(r.Text))
			return found
		})
	}()
	return func() {
		stop()
		cancel()
	}
}

func (l logs) Configure(name string, spec *model.Log)    { l.say(l.Manager.Configure(name, spec)) }
func (l logs) Note(name string, run uint64, text string) { l.say(l.Manager.Note(name, run, text)) }
func (l logs) Forget(name string)                        { l.say(l.Manager.Forget(name)) }
func (l logs) Sweep()                                    { l.say(l.Manager.Sweep()) }

// Query reads the first log file of each service. One that writes to none has no
// records.
func (l logs) Query(ctx context.Context, q control.LogQuery, fn func(control.LogRecord) error) error {
	query := svlog.Query{Lines: q.Lines, Since: q.Since, After: q.Cursor}
	for _, name := range q.Names {
		path := l.Stats(name).Path
		if path == "" {
			path = svlog.DefaultPath(l.dir, name)
		}
		query.Logs = append(query.Logs, svlog.Log{Service: name, Path: path})
	}
	give := func(r svlog.Record) error {
		out := control.LogRecord{Service: r.Service, Time: r.Time, Run: r.Run, Stream: r.Stream, Cursor: r.Cursor, Text: string(r.Text)}
		if !utf8.Valid(r.Text) {
			out.Text, out.Base64 = base64.StdEncoding.EncodeToString(r.Text), true
		}
		return fn(out)
	}
	if q.Follow {
		return svlog.Follow(ctx, query, l.Manager, give)
	}
	return svlog.Read(query, give)
}
