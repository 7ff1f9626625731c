package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/api/wire"
)

// Events sends the events after cursor to fn. With follow it goes on until ctx
// ends or fn fails, across restarts of the engine, and misses or repeats none.
func (c *Client) Events(ctx context.Context, cursor uint64, follow bool, fn func(Event) error) error {
	return c.resume(ctx, follow, func() string {
		query := url.Values{}
		if cursor > 0 {
			query.Set("cursor", strconv.FormatUint(cursor, 10))
		}
		if follow {
			query.Set("follow", "true")
		}
		return withNames(wire.PathEvents, query, nil)
	}, func(line []byte) error {
		var e struct {
			Event
			wire.StreamError
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return badLine(err)
		}
		if e.Error != nil {
			return stop{e.Error}
		}
		if err := fn(e.Event); err != nil {
			return stop{err}
		}
		cursor = e.Cursor
		return nil
	})
}

// Logs sends what services wrote to fn, oldest first. With q.Follow it goes on
// until ctx ends or fn fails, across restarts of the engine.
func (c *Client) Logs(ctx context.Context, q LogQuery, fn func(LogRecord) error) error {
	var places cursors
	began, again := time.Now(), false
	return c.resume(ctx, q.Follow, func() string {
		switch {
		case len(places) > 0:
			q.Cursor, q.Lines = places.String(), -1
		case again && q.Follow && q.Lines == 0 && q.Cursor == "" && q.Since.IsZero():
			// Nothing has come yet, and what comes without an engine must.
			q.Since, q.Lines = began, -1
		}
		again = true
		query := url.Values{"lines": {strconv.Itoa(q.Lines)}}
		if !q.Since.IsZero() {
			query.Set("since", q.Since.Format(time.RFC3339Nano))
		}
		if q.Cursor != "" {
			query.Set("cursor", q.Cursor)
		}
		if q.Follow {
			query.Set("follow", "true")
		}
		return withNames(wire.PathLogs, query, q.Names)
	}, func(line []byte) error {
		var r struct {
			LogRecord
			wire.StreamError
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return badLine(err)
		}
		if r.Error != nil {
			return stop{r.Error}
		}
		if err := fn(r.LogRecord); err != nil {
			return stop{err}
		}
		if r.Cursor != "" {
			places.add(r.Service, r.Cursor)
		}
		return nil
	})
}

// cursors are where a stream of several services stands: the last cursor of each,
// the newest at the end.
type cursors []place

type place struct{ service, cursor string }

func (p *cursors) add(service, cursor string) {
	if n := len(*p); n > 0 && (*p)[n-1].service == service {
		(*p)[n-1].cursor = cursor
		return
	}
	*p = append(slices.DeleteFunc(*p, func(p place) bool { return p.service == service }), place{service, cursor})
}

// cursorsMax is how many bytes of cursors are sent: a request's head is limited.
// Records come in order of time, so a service without a cursor goes on at the time
// of the newest one.
const cursorsMax = 4 << 10

func (p cursors) String() string {
	first, size := len(p), 0
	for first > 0 && size+len(p[first-1].cursor) < cursorsMax {
		first--
		size += len(p[first].cursor) + 1
	}
	all := make([]string, 0, len(p)-first)
	for _, place := range p[first:] {
		all = append(all, place.cursor)
	}
	return strings.Join(all, ",")
}

// stop wraps an error that ends a stream for good.
type stop struct{ error }

func badLine(err error) error {
	return stop{fmt.Errorf("cannot read a line of the stream: %w", err)}
}

// streamTries is how often a stream that does not follow is opened in vain.
const streamTries = 8

// resume reads a stream and, when it follows, opens it again where it broke.
func (c *Client) resume(ctx context.Context, follow bool, path func() string, line func([]byte) error) error {
	for failures := 0; ; {
		resp, err := c.send(ctx, http.MethodGet, path(), wire.NDJSON, nil)
		if err != nil {
			return err
		}
		n, err := readLines(resp.Body, line)
		resp.Body.Close()
		var end stop
		switch {
		case errors.As(err, &end):
			return end.error
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && !follow:
			return nil
		}
		if n > 0 {
			failures = 0
		}
		if failures++; failures > streamTries && !follow {
			return lost(ctx, c.dir, err)
		}
		// An engine that ends its streams in order is about to go or to be
		// replaced: a moment later the socket says which.
		select {
		case <-time.After(min(pause<<min(failures, 7), time.Second)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxLine is the longest line of a stream in bytes.
const maxLine = 64 << 20

func readLines(r io.Reader, line func([]byte) error) (n int, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	s.Split(wholeLines)
	for s.Scan() {
		if err := line(s.Bytes()); err != nil {
			return n, err
		}
		n++
	}
	return n, s.Err()
}

// wholeLines is bufio.ScanLines for a stream whose other end may die in the middle
// of a line: what has no newline is no line.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
