package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/api/wire"
)

// SocketName is the name of the control socket in a run directory.
const SocketName = "control.sock"

// Client talks to the abide of one run directory. It is safe for concurrent use.
type Client struct {
	dir  string
	http http.Client

	mu    sync.Mutex
	first net.Conn // what Dial opened, until it is used
}

// Dial connects to the abide that runs in dir and makes sure that the process
// which listens there belongs to root, to the caller or to the owner of dir. An
// Error with code NoDaemon means that nothing answers.
func Dial(dir string) (*Client, error) {
	c := &Client{dir: dir}
	conn, err := c.connect(context.Background())
	if err != nil {
		return nil, err
	}
	c.first = conn
	c.http.Transport = &http.Transport{
		DisableCompression:  true,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     30 * time.Second,
		WriteBufferSize:     4 << 10,
		ReadBufferSize:      64 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c.mu.Lock()
			conn := c.first
			c.first = nil
			c.mu.Unlock()
			if conn != nil {
				return conn, nil
			}
			return c.connect(ctx)
		},
	}
	return c, nil
}

// Dir returns the run directory.
func (c *Client) Dir() string { return c.dir }

// Close frees the connections that no call uses.
func (c *Client) Close() {
	c.mu.Lock()
	if c.first != nil {
		c.first.Close()
		c.first = nil
	}
	c.mu.Unlock()
	c.http.CloseIdleConnections()
}

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	path := filepath.Join(c.dir, SocketName)
	conn, err := dialUnix(ctx, path)
	if err != nil {
		return nil, c.dialError(err)
	}
	if err := checkServer(conn, c.dir); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (c *Client) dialError(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrPermission):
		return &Error{Code: NotPermitted, Message: fmt.Sprintf("cannot reach abide in %s: permission denied", c.dir)}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return &Error{Code: NoDaemon, Message: fmt.Sprintf("cannot reach abide in %s: no daemon answers", c.dir)}
	default:
		return &Error{Code: NoDaemon, Message: fmt.Sprintf("cannot reach abide in %s: %v", c.dir, plainCause(err))}
	}
}

// plainCause strips the layers of net's errors, which name the socket again.
func plainCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// send sends a request until it is answered, and returns the answer when its
// status is 200. Every request is safe to repeat: it only reads, or has an id.
func (c *Client) send(ctx context.Context, method, path, accept string, body any) (*http.Response, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("cannot send a request: %w", err)
		}
	}
	again, reached := retry{dir: c.dir}, false
	for {
		resp, err := c.sendOnce(ctx, method, path, accept, data)
		if err == nil {
			return resp, nil
		}
		var refused *Error
		isAnswer := errors.As(err, &refused)
		if isAnswer && refused.Code == NoDaemon && reached {
			isAnswer = false // it answered a moment ago: the keeper is being replaced
		}
		reached = true
		if isAnswer || !again.again(ctx) {
			return nil, lost(ctx, c.dir, err)
		}
	}
}

func lost(ctx context.Context, dir string, err error) error {
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return refused
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return &Error{Code: NoDaemon, Message: fmt.Sprintf("cannot reach abide in %s: the connection broke before an answer came", dir)}
	}
}

func (c *Client) sendOnce(ctx context.Context, method, path, accept string, data []byte) (*http.Response, error) {
	var body io.Reader
	if data != nil {
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://abide"+path, body)
	if err != nil {
		return nil, &Error{Code: Usage, Message: fmt.Sprintf("cannot send a request: %v", err)}
	}
	if data != nil {
		req.Header.Set("Content-Type", wire.JSON)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// refusal reads the error of an answer that is not 200.
func refusal(resp *http.Response) error {
	var body wire.ErrorBody
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if json.Unmarshal(data, &body) != nil || body.Error.Code == "" {
		return &Error{Code: Failed, Message: fmt.Sprintf("cannot understand the answer: %s", resp.Status)}
	}
	return &body.Error
}

// get sends a request and returns the whole answer.
func (c *Client) get(ctx context.Context, method, path string, body any) ([]byte, error) {
	again := retry{dir: c.dir}
	for {
		resp, err := c.send(ctx, method, path, "", body)
		if err != nil {
			return nil, err
		}
		var data bytes.Buffer
		if resp.ContentLength > 0 {
			data.Grow(int(min(resp.ContentLength, 16<<20)) + bytes.MinRead)
		}
		_, err = data.ReadFrom(resp.Body)
		resp.Body.Close()
		if err == nil {
			return data.Bytes(), nil
		}
		if !again.again(ctx) {
			return nil, lost(ctx, c.dir, err)
		}
	}
}

// About describes the instance.
func (c *Client) About(ctx context.Context) (About, error) {
	var about About
	err := c.getJSON(ctx, wire.PathAbout, &about)
	return about, err
}

// Status returns the named services and all their instances, or every service
// when none is named.
func (c *Client) Status(ctx context.Context, names ...string) ([]Status, error) {
	data, err := c.StatusJSON(ctx, names...)
	if err != nil {
		return nil, err
	}
	return wire.DecodeStatuses(data)
}

// StatusJSON is Status as the server sent it: an array of objects.
func (c *Client) StatusJSON(ctx context.Context, names ...string) ([]byte, error) {
	return c.get(ctx, http.MethodGet, withNames(wire.PathServices, nil, names), nil)
}

func withNames(path string, query url.Values, names []string) string {
	if query == nil {
		query = url.Values{}
	}
	if len(names) > 0 {
		query["name"] = names
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// Show returns a service's definition in the native format, with the origin of
// each value.
func (c *Client) Show(ctx context.Context, name string) (string, error) {
	data, err := c.get(ctx, http.MethodGet, wire.ServicePrefix+url.PathEscape(name)+"/definition", nil)
	return string(data), err
}

// History returns the last runs of a service, the oldest first; last 0 means all
// that is kept.
func (c *Client) History(ctx context.Context, name string, last int) (runs []PastRun, err error) {
	path := wire.ServicePrefix + url.PathEscape(name) + "/history"
	if last > 0 {
		path += "?last=" + strconv.Itoa(last)
	}
	err = c.getJSON(ctx, path, &runs)
	return runs, err
}

// Why explains the state of a service.
func (c *Client) Why(ctx context.Context, name string) (w Why, err error) {
	err = c.getJSON(ctx, wire.ServicePrefix+url.PathEscape(name)+"/why", &w)
	return w, err
}

// Plan tells what Apply of these names would do, of everything without names.
func (c *Client) Plan(ctx context.Context, names ...string) (p Plan, err error) {
	err = c.getJSON(ctx, withNames(wire.PathPlan, nil, names), &p)
	return p, err
}

// Snapshots returns the definitions of a service that were in force, the oldest
// first.
func (c *Client) Snapshots(ctx context.Context, name string) (list []Kept, err error) {
	err = c.getJSON(ctx, wire.ServicePrefix+url.PathEscape(name)+"/snapshots", &list)
	return list, err
}

// Graph returns what services have to do with each other: those with these names
// and all that they lead to, or all there are.
func (c *Client) Graph(ctx context.Context, names ...string) (g Graph, err error) {
	err = c.getJSON(ctx, withNames(wire.PathGraph, nil, names), &g)
	return g, err
}

// getJSON asks for a whole answer and decodes it.
func (c *Client) getJSON(ctx context.Context, path string, into any) error {
	data, err := c.get(ctx, http.MethodGet, path, nil)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	return err
}

// Wait returns when each named service has reached state; "" means any end of
// its run. A timeout of 0 waits as long as it takes.
func (c *Client) Wait(ctx context.Context, names []string, state string, timeout time.Duration) ([]Status, error) {
	data, err := c.get(ctx, http.MethodPost, wire.PathWait, wire.Wait{Names: names, For: state, Timeout: durationText(timeout)})
	if err != nil {
		return nil, err
	}
	return wire.DecodeStatuses(data)
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// Do carries a request out and returns one outcome for each service it meant.
// Outcomes may be failures; the error is about the request as a whole.
func (c *Client) Do(ctx context.Context, req Request) ([]Outcome, error) {
	path := wire.PathActions
	switch req.Verb {
	case Apply:
		path = wire.PathApply
	case Shutdown:
		path = wire.PathShutdown
	case Runlevel:
		path = wire.PathRunlevel
	}
	action := wire.Action{ID: newID(), Verb: req.Verb, Names: req.Names, Once: req.Once, Now: req.Now,
		NoWait: req.NoWait, Timeout: durationText(req.Timeout), Signal: req.Signal, Reset: req.Reset, Unpin: req.Unpin}
	if req.Verb == Rollback || req.Verb == Scale && !req.Reset {
		action.Number = &req.Number
	}
	return c.do(ctx, path, action, req.Waiting)
}

// Upgrade moves abide itself to the programs in dir, "" for where the present ones
// came from. The outcome has no name; it comes from the new engine.
func (c *Client) Upgrade(ctx context.Context, dir string, waiting func(string)) ([]Outcome, error) {
	return c.do(ctx, wire.PathUpgrade, wire.Upgrade{ID: newID(), Directory: dir}, waiting)
}

// Run starts a transient service.
func (c *Client) Run(ctx context.Context, cmd Command) ([]Outcome, error) {
	return c.do(ctx, wire.PathRun, wire.Run{ID: newID(), Name: cmd.Name, Command: cmd.Command, Directory: cmd.Directory,
		Environment: cmd.Environment, NoWait: cmd.NoWait, Timeout: durationText(cmd.Timeout)}, cmd.Waiting)
}

// Adopt makes a process that runs already a service, with no restart of it.
func (c *Client) Adopt(ctx context.Context, a Adoption) ([]Outcome, error) {
	return c.do(ctx, wire.PathAdopt, wire.Adopt{ID: newID(), Pid: a.Pid, Start: a.Start, As: a.As,
		NoWait: a.NoWait, Timeout: durationText(a.Timeout)}, a.Waiting)
}

func newID() string { return strings.ToLower(rand.Text()) }

// do asks, with the same id, until it has the outcome.
func (c *Client) do(ctx context.Context, path string, body any, waiting func(string)) ([]Outcome, error) {
	if waiting == nil {
		waiting = func(string) {}
	}
	again := retry{dir: c.dir}
	for {
		resp, err := c.send(ctx, http.MethodPost, path, wire.NDJSON, body)
		if err != nil {
			return nil, err
		}
		progress, err := readProgress(resp.Body, waiting)
		resp.Body.Close()
		switch {
		case err == nil && progress.Error != nil:
			return nil, progress.Error
		case err == nil:
			return progress.Outcomes, nil
		case !again.again(ctx):
			return nil, lost(ctx, c.dir, err)
		}
	}
}

// readProgress returns the last line of an action's answer.
func readProgress(r io.Reader, waiting func(string)) (wire.Progress, error) {
	d := json.NewDecoder(r)
	for {
		var p wire.Progress
		if err := d.Decode(&p); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return p, err
		}
		if p.Waiting == "" {
			return p, nil
		}
		waiting(p.Waiting)
	}
}
