package api

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/api/wire"
	"github.com/abide-project/abide/internal/control"
)

func (s *Server) events(k *call) {
	var cursor uint64
	if text := k.query.Get("cursor"); text != "" {
		var err error
		if cursor, err = strconv.ParseUint(text, 10, 64); err != nil {
			k.refuse(usage("cannot read cursor=%q: want the number of an event", text))
			return
		}
	}
	follow, err := k.boolean("follow")
	if err != nil {
		k.refuse(err)
		return
	}
	s.stream(k, follow, func(ctx context.Context, out *lineWriter) error {
		return s.sup.Events(ctx, k.who, cursor, follow, func(e control.Event) error {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			return out.write(func(b []byte) []byte { return append(b, data...) })
		})
	})
}

func (s *Server) logs(k *call) {
	q := control.LogQuery{Names: k.query["name"], Lines: 100, Cursor: k.query.Get("cursor")}
	var err error
	if text := k.query.Get("lines"); text != "" {
		if q.Lines, err = strconv.Atoi(text); err != nil || q.Lines < -1 {
			k.refuse(usage("cannot read lines=%q: want a number, -1 for all", text))
			return
		}
	}
	if text := k.query.Get("since"); text != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			k.refuse(usage("cannot read since=%q: want an RFC 3339 time", text))
			return
		}
	}
	if q.Follow, err = k.boolean("follow"); err != nil {
		k.refuse(err)
		return
	}
	s.stream(k, q.Follow, func(ctx context.Context, out *lineWriter) error {
		return s.sup.Logs(ctx, k.who, q, func(r control.LogRecord) error {
			return out.write(func(b []byte) []byte { return wire.AppendLogRecord(b, &r) })
		})
	})
}

// stream runs produce. The head is sent with the first line, so that a refusal
// before it is an ordinary one; a follower's head is sent at once, because its
// first line may be long in coming.
func (s *Server) stream(k *call, follow bool, produce func(context.Context, *lineWriter) error) {
	ctx, cancel := context.WithCancel(k.r.Context())
	defer cancel()
	defer context.AfterFunc(s.streams, cancel)()
	out := &lineWriter{call: k, follow: follow}
	if follow {
		out.arm(followHead)
	}
	err := produce(ctx, out)
	out.close()
	switch {
	case err == nil, errors.Is(err, context.Canceled), out.failed != nil:
		if !k.began {
			k.begin(wire.NDJSON)
		}
	default:
		k.refuse(err)
	}
}

const (
	// gather is how long lines of a follower are collected before they are sent.
	gather = 4 * time.Millisecond
	// followHead is how long a refusal may take before a follower gets its head.
	followHead = 100 * time.Millisecond
)

// lineWriter collects lines and sends them in pieces: when enough are there and,
// to a follower, a few milliseconds after the first. It sets no timer while
// nothing is to be sent.
type lineWriter struct {
	call   *call
	follow bool

	mu     sync.Mutex
	buf    []byte
	timer  *time.Timer
	armed  bool
	closed bool
	failed error
}

func (w *lineWriter) write(line func([]byte) []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return w.failed
	}
	w.buf = append(line(w.buf), '\n')
	if len(w.buf) >= chunk {
		w.send()
	} else if w.follow {
		w.armLocked(gather)
	}
	return w.failed
}

func (w *lineWriter) arm(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armLocked(d)
}

func (w *lineWriter) armLocked(d time.Duration) {
	if w.armed && w.call.began {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.tick)
	} else {
		w.timer.Reset(d)
	}
}

func (w *lineWriter) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if !w.closed {
		w.send()
		if w.failed == nil {
			w.failed = w.call.rc.Flush()
		}
	}
}

func (w *lineWriter) send() {
	if !w.call.began {
		w.call.begin(wire.NDJSON)
	}
	w.call.extend()
	if len(w.buf) > 0 && w.failed == nil {
		_, w.failed = w.call.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// close sends what is left and makes sure that no timer touches the call again.
func (w *lineWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	if len(w.buf) > 0 {
		w.send()
	}
}
