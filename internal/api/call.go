package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/api/wire"
	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// call is one request on its way through a handler.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	rc   *http.ResponseController
	who  control.Who
	name string
	verb control.Verb

	query     url.Values
	began     bool // the head of the answer is out
	writeTime time.Duration
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c := connOf(r)
	c.serve(1)
	defer c.serve(-1)
	k := &call{w: w, r: r, rc: http.NewResponseController(w), who: c.who, writeTime: s.opts.WriteTime}
	defer func() {
		if p := recover(); p != nil {
			s.opts.ReportDefect(fmt.Sprintf("cannot serve %s %s: %v\n%s", r.Method, r.URL.Path, p, debug.Stack()))
			k.refuse(defect())
		}
	}()
	route, name, verb, allow := match(r.Method, r.URL.Path)
	if route == nil {
		k.refuseRoute(allow)
		return
	}
	k.name, k.verb = name, control.Verb(verb)
	if route.body == nil {
		var err error
		if k.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			k.refuse(usage("cannot read the query: %v", err))
			return
		}
		if err := k.checkQuery(route.query); err != nil {
			k.refuse(err)
			return
		}
		// The deadline for the request is over: a client that now waits is no hanging one.
		k.rc.SetReadDeadline(time.Time{})
	}
	route.serve(s, k)
}

func (k *call) refuseRoute(allow []string) {
	if allow == nil {
		k.refuse(&control.Error{Code: control.Usage, Message: fmt.Sprintf("cannot find %q: no such path", k.r.URL.Path)})
		return
	}
	k.w.Header().Set("Allow", strings.Join(allow, ", "))
	k.answerError(http.StatusMethodNotAllowed, &control.Error{Code: control.Usage,
		Message: fmt.Sprintf("cannot %s %q: use %s", k.r.Method, k.r.URL.Path, strings.Join(allow, " or "))})
}

func (k *call) checkQuery(known []param) error {
	for key, values := range k.query {
		found := false
		for _, p := range known {
			if p.name != key {
				continue
			}
			found = true
			if len(values) > 1 && key != "name" {
				return usage("cannot read the query: %q is given %d times", key, len(values))
			}
		}
		if !found {
			return usage("cannot read the query: unknown parameter %q", key)
		}
	}
	return nil
}

// body decodes the request body into v. An empty one leaves v as it is.
func (k *call) body(v any) error {
	d := json.NewDecoder(http.MaxBytesReader(k.w, k.r.Body, wire.MaxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more than one JSON value")
		}
	}
	k.rc.SetReadDeadline(time.Time{})
	if err != nil && err != io.EOF {
		return usage("cannot read the request body: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func (k *call) boolean(key string) (bool, error) {
	switch text := k.query.Get(key); text {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		return false, usage("cannot read %s=%q: want true or false", key, text)
	}
}

// duration reads a duration such as "1m30s"; empty is 0.
func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, usage("%v", err)
	}
	return d, nil
}

func usage(format string, args ...any) error {
	return &control.Error{Code: control.Usage, Message: fmt.Sprintf(format, args...)}
}

func defect() error {
	return &control.Error{Code: control.Failed, Message: "cannot answer: abide met a defect of its own", Hint: "abide events"}
}

// errorOf gives every error the one form of the API.
func errorOf(err error) *control.Error {
	var e *control.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return &control.Error{Code: control.TimedOut, Message: "waited too long; the work goes on"}
	default:
		return &control.Error{Code: control.Failed, Message: err.Error()}
	}
}

// statusOf maps a code to HTTP's idea of it.
func statusOf(code control.Code) int {
	switch code {
	case control.Usage:
		return http.StatusBadRequest
	case control.Unknown:
		return http.StatusNotFound
	case control.NotPermitted:
		return http.StatusForbidden
	case control.NotRunning:
		return http.StatusConflict
	case control.TimedOut:
		return http.StatusGatewayTimeout
	case control.NoDaemon:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// refuse answers with err, or ends a stream with it.
func (k *call) refuse(err error) {
	e := errorOf(err)
	if k.began {
		k.line(wire.StreamError{Error: e})
		return
	}
	status := statusOf(e.Code)
	if e.Code == control.Usage && strings.HasPrefix(e.Message, "cannot find ") {
		status = http.StatusNotFound
	}
	k.answerError(status, e)
}

func (k *call) answerError(status int, e *control.Error) {
	k.send(status, wire.ErrorBody{Error: *e})
}

// send answers with v as JSON.
func (k *call) send(status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	data = append(data, '\n')
	k.extend()
	k.w.Header().Set("Content-Type", wire.JSON)
	k.w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	k.w.WriteHeader(status)
	k.began = true
	k.w.Write(data)
}

// begin sends the head of an answer of unknown length.
func (k *call) begin(media string) {
	k.extend()
	k.w.Header().Set("Content-Type", media)
	k.w.WriteHeader(http.StatusOK)
	k.began = true
}

// line sends v as one line of a stream, at once.
func (k *call) line(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	k.extend()
	if _, err := k.w.Write(append(data, '\n')); err != nil {
		return err
	}
	return k.rc.Flush()
}

// extend gives the next write its time.
func (k *call) extend() { k.rc.SetWriteDeadline(time.Now().Add(k.writeTime)) }
