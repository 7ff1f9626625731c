package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/api"
	"github.com/abide-project/abide/internal/api/apitest"
	"github.com/abide-project/abide/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine serves f on a listener that outlives it, as the keeper's does.
type engine struct {
	t      *testing.T
	dir    string
	l      *net.UnixListener
	f      control.Supervisor
	server *api.Server
	done   chan struct{}
}

func startEngine(t *testing.T, f control.Supervisor) *engine {
	t.Helper()
	e := &engine{t: t, dir: t.TempDir(), f: f}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(e.dir, client.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	e.l = l
	e.serve()
	t.Cleanup(func() { e.kill(); l.Close() })
	return e
}

func (e *engine) serve() {
	e.t.Helper()
	file, err := e.l.File()
	if err != nil {
		e.t.Fatal(err)
	}
	l, err := net.FileListener(file)
	file.Close()
	if err != nil {
		e.t.Fatal(err)
	}
	server, done := api.New(e.f, api.Options{}), make(chan struct{})
	e.server, e.done = server, done
	go func() { server.Serve(l); close(done) }()
}

func (e *engine) kill() {
	e.server.Close()
	<-e.done
}

func dial(t *testing.T, dir string) *client.Client {
	t.Helper()
	c, err := client.Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func codeOf(err error) client.Code {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	if _, err := client.Dial(dir); codeOf(err) != client.NoDaemon {
		t.Errorf("without a socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, client.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := client.Dial(dir); codeOf(err) != client.NoDaemon {
		t.Errorf("with a dead socket: %v", err)
	}
}

func TestCalls(t *testing.T) {
	f := apitest.New("web", "web@1", "db")
	c := dial(t, startEngine(t, f).dir)
	ctx := context.Background()
	if about, err := c.About(ctx); err != nil || about.Services != 3 {
		t.Errorf("About: %+v, %v", about, err)
	}
	if list, err := c.Status(ctx, "web"); err != nil || len(list) != 2 || list[1].Instance != "1" {
		t.Errorf("Status: %+v, %v", list, err)
	}
	if _, err := c.Status(ctx, "nosuch"); codeOf(err) != client.Unknown {
		t.Errorf("Status of an unknown service: %v", err)
	}
	if text, err := c.Show(ctx, "web@1"); err != nil || !strings.Contains(text, "web@1") {
		t.Errorf("Show: %q, %v", text, err)
	}
	outcomes, err := c.Do(ctx, client.Request{Verb: client.Stop, Names: []string{"db"}})
	if err != nil || len(outcomes) != 1 || outcomes[0].Message != "stopped" {
		t.Errorf("Do: %+v, %v", outcomes, err)
	}
	if _, err := c.Do(ctx, client.Request{Verb: client.Shutdown}); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if list, err := c.Wait(ctx, []string{"db"}, "stopped", time.Minute); err != nil || len(list) != 1 {
		t.Errorf("Wait: %+v, %v", list, err)
	}
	if _, err := c.Wait(ctx, []string{"db"}, "running", time.Millisecond); codeOf(err) != client.TimedOut {
		t.Errorf("Wait too long: %v", err)
	}
	if outcomes, err := c.Run(ctx, client.Command{Name: "job", Command: []string{"true"}}); err != nil || len(outcomes) != 1 {
		t.Errorf("Run: %+v, %v", outcomes, err)
	}
}

func TestRequestWhoseEngineDiesIsDoneOnce(t *testing.T) {
	f := apitest.New("web")
	e := startEngine(t, f)
	asked := make(chan struct{}, 8)
	var asks atomic.Int32
	f.Hook = func(ctx context.Context, req control.Request) ([]control.Outcome, error, bool) {
		asked <- struct{}{}
		if asks.Add(1) == 1 {
			<-ctx.Done() // the engine is killed before it answers
			return nil, ctx.Err(), true
		}
		return nil, nil, false
	}
	c := dial(t, e.dir)
	go func() {
		<-asked
		e.kill()
		e.serve()
	}()
	outcomes, err := c.Do(context.Background(), client.Request{Verb: client.Restart, Names: []string{"web"}})
	if err != nil || len(outcomes) != 1 || !outcomes[0].Done {
		t.Fatalf("got %+v, %v", outcomes, err)
	}
	requests := f.Requests()
	if len(requests) != 2 || requests[0].ID == "" || requests[0].ID != requests[1].ID {
		t.Errorf("asked with ids %+v", requests)
	}
}

func TestFollowersGoOnAfterARestartOfTheEngine(t *testing.T) {
	f := apitest.New("web")
	e := startEngine(t, f)
	c := dial(t, e.dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 5 {
		f.Write("web", fmt.Sprint(i))
	}
	var got []string
	err := c.Logs(ctx, client.LogQuery{Lines: 2, Follow: true}, func(r client.LogRecord) error {
		got = append(got, r.Text)
		switch len(got) {
		case 2:
			go func() { e.kill(); f.Write("web", "5", "6"); e.serve() }()
		case 4:
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || fmt.Sprint(got) != "[3 4 5 6]" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEventsAreNeitherMissedNorRepeated(t *testing.T) {
	f := apitest.New("a", "b", "c")
	e := startEngine(t, f)
	c := dial(t, e.dir)
	var got []uint64
	ended := errors.New("enough")
	err := c.Events(context.Background(), 1, true, func(ev client.Event) error {
		got = append(got, ev.Cursor)
		switch len(got) {
		case 2:
			go func() { e.kill(); f.Event("a", "state", "stopped", nil); e.serve() }()
		case 3:
			return ended
		}
		return nil
	})
	if err != ended || fmt.Sprint(got) != "[2 3 4]" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLongRunDirectory(t *testing.T) {
	dir := t.TempDir()
	short := startEngine(t, apitest.New("web"))
	deep := filepath.Join(dir, strings.Repeat("d", 100), strings.Repeat("e", 100))
	if err := os.MkdirAll(filepath.Dir(deep), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(short.dir, deep); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, deep).About(context.Background()); err != nil {
		t.Error(err)
	}
}
