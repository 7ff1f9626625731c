// Package apitest is a supervisor made of plain data, behind the real API on a
// real unix socket, for tests of what speaks to one. It supervises nothing.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/api"
	"github.com/abide-project/abide/internal/control"
)

// Fake is a control.Supervisor. Its services change state as they are told, and
// each change is an event.
type Fake struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	services map[string]*control.Status
	about    control.About
	events   []control.Event
	logs     []control.LogRecord
	outcomes map[string][]control.Outcome // by request id
	requests []control.Request
	nextPid  int

	// Steps is what Plan answers.
	Steps []control.PlanStep
	// Hook, if not nil, may answer a request in the fake's place. It is called
	// without the lock.
	Hook func(ctx context.Context, req control.Request) (outcomes []control.Outcome, err error, handled bool)
}

var _ control.Supervisor = (*Fake)(nil)

// Epoch is the time of a fake's first event; each later thing is a second on.
var Epoch = time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)

// New returns a fake with the named services, running.
func New(names ...string) *Fake {
	f := &Fake{changed: make(chan struct{}), services: make(map[string]*control.Status), nextPid: 400,
		outcomes: make(map[string][]control.Outcome),
		about: control.About{Version: "fake", Pid: os.Getpid(), Keeper: os.Getpid(), Mode: "daemon",
			Rung: "clone3", Containment: "cgroup", Notes: []string{}}}
	for _, name := range names {
		f.Set(f.Service(name))
	}
	return f
}

// Service returns the status of a running service called name.
func (f *Fake) Service(name string) control.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nextPid++
	service, instance, _ := strings.Cut(name, "@")
	return control.Status{Name: name, Service: service, Instance: instance, Kind: "daemon", State: "running",
		Wanted: true, Enabled: true, Pid: f.nextPid, Run: 1, Since: Epoch, Ready: true, WaitingFor: []string{},
		Definition: control.Definition{Path: "/etc/abide/services/" + name + ".toml"}, Containment: "cgroup", Strays: []int{},
		Log: control.LogStatus{Path: "/var/log/abide/" + name + "/current"}}
}

// Set adds a service or replaces its status.
func (f *Fake) Set(s control.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[s.Name] = &s
	f.event(s.Name, "state", s.State, nil)
}

// SetAbout changes what About answers.
func (f *Fake) SetAbout(change func(*control.About)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.about)
}

// Write adds lines to the log of a service.
func (f *Fake) Write(name string, lines ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, text := range lines {
		n := len(f.logs) + 1
		f.logs = append(f.logs, control.LogRecord{Service: name, Time: Epoch.Add(time.Duration(n) * time.Second),
			Run: 1, Stream: "out", Text: text, Cursor: strconv.Itoa(n)})
	}
	f.wake()
}

// Event adds an event.
func (f *Fake) Event(service, kind, text string, fields map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.event(service, kind, text, fields)
}

// Requests returns what was asked for so far, repeated requests left out.
func (f *Fake) Requests() []control.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]control.Request(nil), f.requests...)
}

func (f *Fake) event(service, kind, text string, fields map[string]string) {
	n := len(f.events) + 1
	f.events = append(f.events, control.Event{Cursor: uint64(n), Time: Epoch.Add(time.Duration(n) * time.Second),
		Service: service, Run: 1, Kind: kind, Text: text, Fields: fields})
	f.wake()
}

func (f *Fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// About implements control.Supervisor.
func (f *Fake) About(context.Context, control.Who) (control.About, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	about := f.about
	about.Services = len(f.services)
	return about, nil
}

// Status implements control.Supervisor.
func (f *Fake) Status(_ context.Context, _ control.Who, names []string) ([]control.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status(names)
}

func (f *Fake) status(names []string) ([]control.Status, error) {
	var list []control.Status
	if len(names) == 0 {
		for _, s := range f.services {
			list = append(list, *s)
		}
	}
	for _, name := range names {
		found := false
		for _, s := range f.services {
			if s.Name == name || s.Service == name {
				list, found = append(list, *s), true
			}
		}
		if !found {
			return nil, &control.Error{Code: control.Unknown, Message: fmt.Sprintf("cannot find service %q: no definition has this name", name), Hint: "abide status"}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// Do implements control.Supervisor.
func (f *Fake) Do(ctx context.Context, req control.Request) ([]control.Outcome, error) {
	if req.ID != "" {
		f.mu.Lock()
		old, repeated := f.outcomes[req.ID]
		f.mu.Unlock()
		if repeated {
			return old, nil
		}
	}
	f.mu.Lock()
	f.requests = append(f.requests, req)
	f.mu.Unlock()
	if f.Hook != nil {
		if outcomes, err, handled := f.Hook(ctx, req); handled {
			return outcomes, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	outcomes, err := f.do(req)
	if err == nil && req.ID != "" {
		f.outcomes[req.ID] = outcomes
	}
	return outcomes, err
}

func (f *Fake) do(req control.Request) ([]control.Outcome, error) {
	switch req.Verb {
	case control.Shutdown:
		f.event("", "abide", "shutdown", map[string]string{"exit_code": "0"})
		return []control.Outcome{{Done: true, Message: "everything is stopped"}}, nil
	case control.Apply:
		return []control.Outcome{}, nil
	case control.Run:
		s := control.Status{Name: req.Run.Name, Service: req.Run.Name, Kind: "task", State: "finished", Run: 1, Since: Epoch,
			WaitingFor: []string{}, Strays: []int{}, Containment: "cgroup", LastExit: &control.Exit{Run: 1, At: Epoch, Code: new(int)}}
		f.services[s.Name] = &s
		return []control.Outcome{{Name: s.Name, Done: true, Message: "started", Status: &s}}, nil
	case control.Adopt:
		s := control.Status{Name: req.As, Service: req.As, Kind: "daemon", State: "running", Run: 1, Pid: req.Pid, Since: Epoch,
			WaitingFor: []string{}, Strays: []int{}, Containment: "cgroup"}
		f.services[s.Name] = &s
		return []control.Outcome{{Name: s.Name, Done: true, Message: "adopted", Status: &s}}, nil
	}
	list, err := f.status(req.Names)
	if err != nil {
		return nil, err
	}
	var outcomes []control.Outcome
	for _, was := range list {
		s := f.services[was.Name]
		message := f.act(s, req)
		f.event(s.Name, "operator", string(req.Verb), nil)
		after := *s
		outcomes = append(outcomes, control.Outcome{Name: s.Name, Done: true, Message: message, Status: &after})
	}
	return outcomes, nil
}

func (f *Fake) act(s *control.Status, req control.Request) string {
	switch req.Verb {
	case control.Start, control.Restart:
		f.nextPid++
		s.State, s.Wanted, s.Pid, s.Ready = "running", true, f.nextPid, true
		s.Run++
		return fmt.Sprintf("started, pid %d", s.Pid)
	case control.Stop:
		s.State, s.Wanted, s.Pid, s.Ready = "stopped", false, 0, false
		return "stopped"
	case control.Enable:
		s.Enabled = true
	case control.Disable:
		s.Enabled = false
	case control.Pause:
		s.Paused = true
	case control.Resume:
		s.Paused = false
	case control.Signal:
		return fmt.Sprintf("sent signal %d", req.Signal)
	}
	return string(req.Verb) + " done"
}

// Wait implements control.Supervisor.
func (f *Fake) Wait(ctx context.Context, _ control.Who, names []string, state string) ([]control.Status, error) {
	for {
		f.mu.Lock()
		list, err := f.status(names)
		changed := f.changed
		f.mu.Unlock()
		if err != nil {
			return nil, err
		}
		reached := true
		for _, s := range list {
			if state == "" && s.Pid != 0 || state != "" && s.State != state {
				reached = false
			}
		}
		if reached {
			return list, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Events implements control.Supervisor.
func (f *Fake) Events(ctx context.Context, _ control.Who, cursor uint64, follow bool, fn func(control.Event) error) error {
	for {
		f.mu.Lock()
		events, changed := f.events, f.changed
		f.mu.Unlock()
		for ; cursor < uint64(len(events)); cursor++ {
			if err := fn(events[cursor]); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Logs implements control.Supervisor.
func (f *Fake) Logs(ctx context.Context, _ control.Who, q control.LogQuery, fn func(control.LogRecord) error) error {
	from, first := 0, true
	if q.Cursor != "" {
		n, err := strconv.Atoi(q.Cursor)
		if err != nil {
			return &control.Error{Code: control.Usage, Message: fmt.Sprintf("cannot resume at %q: not a cursor", q.Cursor)}
		}
		from, first = n, false
	}
	for {
		f.mu.Lock()
		if _, err := f.status(q.Names); err != nil {
			f.mu.Unlock()
			return err
		}
		var records []control.LogRecord
		for _, r := range f.logs[min(from, len(f.logs)):] {
			if (len(q.Names) == 0 || contains(q.Names, r.Service)) && !r.Time.Before(q.Since) {
				records = append(records, r)
			}
		}
		from = len(f.logs)
		changed := f.changed
		f.mu.Unlock()
		if first && q.Lines >= 0 && len(records) > q.Lines {
			records = records[len(records)-q.Lines:]
		}
		first = false
		for _, r := range records {
			if err := fn(r); err != nil {
				return err
			}
		}
		if !q.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// History implements control.Supervisor: one run, which lives.
func (f *Fake) History(ctx context.Context, who control.Who, name string, last int) ([]control.PastRun, error) {
	list, err := f.Status(ctx, who, []string{name})
	if err != nil {
		return nil, err
	}
	return []control.PastRun{{Run: list[0].Run, Pid: list[0].Pid, Start: list[0].Since, Cause: "it was asked to start"}}, nil
}

// Why implements control.Supervisor: the state, and nothing behind it.
func (f *Fake) Why(ctx context.Context, who control.Who, name string) (control.Why, error) {
	list, err := f.Status(ctx, who, []string{name})
	if err != nil {
		return control.Why{}, err
	}
	return control.Why{Name: name, State: list[0].State, Since: list[0].Since, Text: list[0].Why}, nil
}

// Plan implements control.Supervisor: nothing has changed.
func (f *Fake) Plan(ctx context.Context, who control.Who, names []string) (control.Plan, error) {
	_, err := f.Status(ctx, who, names)
	return control.Plan{Steps: f.Steps}, err
}

// Snapshots implements control.Supervisor: a service has the one it runs by.
func (f *Fake) Snapshots(ctx context.Context, who control.Who, name string) ([]control.Kept, error) {
	if _, err := f.Status(ctx, who, []string{name}); err != nil {
		return nil, err
	}
	return []control.Kept{{Number: 1, At: Epoch, By: -1, Verb: "boot", Keys: []string{}, InForce: true}}, nil
}

// Graph implements control.Supervisor: each service requires the one before it by
// name and was ready a second after it.
func (f *Fake) Graph(ctx context.Context, who control.Who, names []string) (g control.Graph, err error) {
	list, err := f.Status(ctx, who, names)
	if err != nil {
		return g, err
	}
	slices.SortFunc(list, func(a, b control.Status) int { return strings.Compare(a.Name, b.Name) })
	for i, s := range list {
		began := time.Date(2026, 11, 22, 16, 0, i, 0, time.UTC)
		g.Nodes = append(g.Nodes, control.GraphNode{Name: s.Name, Kind: "daemon", State: s.State, Began: began, Ready: began.Add(time.Second)})
		if i > 0 {
			g.Edges = append(g.Edges, control.GraphEdge{From: s.Name, To: list[i-1].Name, Kind: "requires", Until: "ready", Restart: "none"})
		}
	}
	return g, nil
}

// Show implements control.Supervisor.
func (f *Fake) Show(_ context.Context, _ control.Who, name string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.status([]string{name}); err != nil {
		return "", err
	}
	return fmt.Sprintf("command = [\"/usr/bin/%s\"] # /etc/abide/services/%s.toml:1\n", name, name), nil
}

// Serve serves sup on dir/control.sock until the returned function is called.
func Serve(dir string, sup control.Supervisor, o api.Options) (stop func(), err error) {
	path := filepath.Join(dir, "control.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, err
	}
	server := api.New(sup, o)
	done := make(chan struct{})
	go func() { server.Serve(l); close(done) }()
	return func() { server.Close(); <-done }, nil
}
