package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/abide-project/abide/internal/api"
	"github.com/abide-project/abide/internal/api/apitest"
	"github.com/abide-project/abide/internal/api/wire"
	"github.com/abide-project/abide/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type server struct {
	t    *testing.T
	path string
	http *http.Client
}

func start(t *testing.T, sup control.Supervisor, o api.Options) *server {
	t.Helper()
	dir := t.TempDir()
	stop, err := apitest.Serve(dir, sup, o)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, path: filepath.Join(dir, "control.sock")}
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", s.path) }}
	s.http = &http.Client{Transport: transport}
	t.Cleanup(func() { transport.CloseIdleConnections(); stop() })
	return s
}

func (s *server) ask(method, path, accept, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://abide"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func (s *server) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func TestEveryRefusalHasTheOneForm(t *testing.T) {
	s := start(t, apitest.New("web"), api.Options{})
	for _, c := range []struct {
		method, path, body string
		status             int
		code               control.Code
		text               string
	}{
		{"GET", "/", "", 404, control.Usage, `cannot find "/"`},
		{"GET", "/v1/services/", "", 404, control.Usage, "cannot find"},
		{"GET", "/v1/services/web/start", "", 405, control.Usage, "use POST"},
		{"POST", "/v1/services/web/explode", "{}", 404, control.Usage, "cannot find"},
		{"DELETE", "/v1/about", "", 405, control.Usage, "use GET"},
		{"GET", "/v1/services/nosuch", "", 404, control.Unknown, `cannot find service "nosuch"`},
		{"GET", "/v1/services?colour=red", "", 400, control.Usage, `unknown parameter "colour"`},
		{"GET", "/v1/services?name=%zz", "", 400, control.Usage, "cannot read the query"},
		{"GET", "/v1/events?cursor=-1", "", 400, control.Usage, `cursor="-1"`},
		{"GET", "/v1/events?follow=maybe", "", 400, control.Usage, `follow="maybe"`},
		{"GET", "/v1/logs?lines=-2", "", 400, control.Usage, `lines="-2"`},
		{"GET", "/v1/logs?lines=1&lines=2", "", 400, control.Usage, `given 2 times`},
		{"GET", "/v1/logs?since=yesterday", "", 400, control.Usage, `since="yesterday"`},
		{"GET", "/v1/logs?name=nosuch", "", 404, control.Unknown, "cannot find service"},
		{"POST", "/v1/services/web/stop", "{", 400, control.Usage, "cannot read the request body"},
		{"POST", "/v1/services/web/stop", `{} {}`, 400, control.Usage, "more than one"},
		{"POST", "/v1/services/web/stop", `{"color":1}`, 400, control.Usage, "unknown field"},
		{"POST", "/v1/services/web/stop", `{"timeout":"20"}`, 400, control.Usage, `a unit is missing`},
		{"POST", "/v1/services/web/signal", `{"signal":"FOO"}`, 400, control.Usage, `cannot use signal "FOO"`},
		{"POST", "/v1/services/web/rollback", `{}`, 400, control.Usage, "cannot rollback web: it needs a number"},
		{"POST", "/v1/services/web/scale", `{"number":-1}`, 400, control.Usage, "cannot scale web: it needs a number"},
		{"GET", "/v1/services/nosuch/snapshots", "", 404, control.Unknown, "cannot find service"},
		{"GET", "/v1/plan?name=nosuch", "", 404, control.Unknown, "cannot find service"},
		{"GET", "/v1/plan?nmae=web", "", 400, control.Usage, "unknown parameter"},
		{"POST", "/v1/actions", `{"verb":"shutdown","names":["web"]}`, 400, control.Usage, `verb "shutdown"`},
		{"POST", "/v1/actions", `{"verb":"stop"}`, 400, control.Usage, "no service is named"},
		{"POST", "/v1/run", `{}`, 400, control.Usage, "no command"},
		{"POST", "/v1/wait", `{}`, 400, control.Usage, "no service is named"},
		{"POST", "/v1/actions", `{"verb":"` + strings.Repeat("x", wire.MaxBody) + `"}`, 400, control.Usage, "too large"},
	} {
		status, text := s.ask(c.method, c.path, "", c.body)
		var body wire.ErrorBody
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			t.Errorf("%s %s: not JSON: %q", c.method, c.path, text)
			continue
		}
		if status != c.status || body.Error.Code != c.code || !strings.Contains(body.Error.Message, c.text) {
			t.Errorf("%s %s: got %d %+v, want %d %s %q", c.method, c.path, status, body.Error, c.status, c.code, c.text)
		}
	}
}

func TestPeerIsWhoTheKernelNames(t *testing.T) {
	f := apitest.New("web")
	s := start(t, f, api.Options{})
	if status, text := s.ask("POST", "/v1/services/web/restart", "", `{"id":"a"}`); status != 200 {
		t.Fatal(text)
	}
	who := f.Requests()[0].Who
	if who.UID != os.Geteuid() || who.GID != os.Getegid() || who.PID != os.Getpid() {
		t.Errorf("got %+v", who)
	}
	groups, _ := os.Getgroups()
	if fmt.Sprint(who.Groups) != fmt.Sprint(groups) && len(who.Groups)+len(groups) > 0 {
		t.Errorf("got groups %v, want %v", who.Groups, groups)
	}
}

func TestRequestReachesTheSupervisorWhole(t *testing.T) {
	f := apitest.New("web", "db")
	s := start(t, f, api.Options{})
	s.ask("POST", "/v1/actions", "", `{"id":"i","verb":"signal","names":["web","db"],"once":true,"now":true,"no_wait":true,"timeout":"1m30s","signal":"SIGUSR1"}`)
	got := f.Requests()[0]
	if got.ID != "i" || got.Verb != control.Signal || fmt.Sprint(got.Names) != "[web db]" || !got.Once || !got.Now || !got.NoWait ||
		got.Timeout != 90*time.Second || got.Signal != 10 {
		t.Errorf("got %+v", got)
	}
	s.ask("POST", "/v1/services/web/rollback", "", `{"number":3}`)
	s.ask("POST", "/v1/actions", "", `{"verb":"scale","names":["web"],"number":0}`)
	s.ask("POST", "/v1/services/web/scale", "", `{"reset":true}`)
	s.ask("POST", "/v1/apply", "", `{"names":["web"],"unpin":true}`)
	got4 := f.Requests()[1:]
	if len(got4) != 4 || got4[0].Verb != control.Rollback || got4[0].Number != 3 || got4[1].Verb != control.Scale || got4[1].Number != 0 ||
		!got4[2].Reset || got4[3].Verb != control.Apply || !got4[3].Unpin {
		t.Errorf("got %+v", got4)
	}
}

func TestProgressComesBeforeTheOutcome(t *testing.T) {
	f := apitest.New("web")
	f.Hook = func(_ context.Context, req control.Request) ([]control.Outcome, error, bool) {
		req.Trace("waiting for web to stop")
		return nil, nil, false
	}
	s := start(t, f, api.Options{})
	_, text := s.ask("POST", "/v1/services/web/stop", wire.NDJSON, "")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := lines[len(lines)-1]
	if !strings.Contains(last, `"message":"stopped"`) {
		t.Errorf("the last line is %s", last)
	}
	// The outcome may overtake a trace of the same instant, never the reverse.
	if len(lines) == 2 && lines[0] != `{"waiting":"waiting for web to stop"}` {
		t.Errorf("the first line is %s", lines[0])
	}
}

func TestPanicEndsOneRequestOnly(t *testing.T) {
	var reported atomic.Int32
	f := apitest.New("web")
	f.Hook = func(context.Context, control.Request) ([]control.Outcome, error, bool) { panic("boom") }
	s := start(t, f, api.Options{ReportDefect: func(string) { reported.Add(1) }})
	if status, text := s.ask("POST", "/v1/services/web/stop", "", ""); status != 500 || !strings.Contains(text, "defect") {
		t.Errorf("got %d %s", status, text)
	}
	if status, _ := s.ask("GET", "/v1/about", "", ""); status != 200 || reported.Load() != 1 {
		t.Errorf("afterwards: status %d, %d reports", status, reported.Load())
	}
}

func TestGarbageIsAnswered400(t *testing.T) {
	s := start(t, apitest.New(), api.Options{})
	for _, garbage := range []string{"\x00\x01\x02\r\n\r\n", "GET\r\n\r\n", "GET /v1/about HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\nHost: a\r\n\r\n"} {
		c := s.dial()
		io.WriteString(c, garbage)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%q: %v", garbage, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != 400 && resp.StatusCode != 505 {
			t.Errorf("%q: answered %s", garbage, resp.Status)
		}
	}
	c := s.dial()
	fmt.Fprintf(c, "GET /v1/about HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", bytes.Repeat([]byte("x"), 64<<10))
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
		resp.Body.Close()
		if resp.StatusCode != 431 {
			t.Errorf("a head of 64 KiB: answered %s", resp.Status)
		}
	}
}

func TestHangingClientsKeepNobodyOut(t *testing.T) {
	s := start(t, apitest.New("web"), api.Options{PerUser: 8})
	for i := range 1000 {
		c, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "GET /v1/ab") // neither half a request nor none at all may hurt
		}
	}
	if status, _ := s.ask("GET", "/v1/services", "", ""); status != 200 {
		t.Fatalf("status %d", status)
	}
}

func TestConnectionsThatAreServedAreNotEvicted(t *testing.T) {
	s := start(t, apitest.New("web"), api.Options{PerUser: 2})
	follow := func() *bufio.Reader {
		c := s.dial()
		io.WriteString(c, "GET /v1/events?follow=true HTTP/1.1\r\nHost: a\r\n\r\n")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("cannot follow: %v", err)
		}
		return r
	}
	follow()
	follow()
	c := s.dial()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || !strings.Contains(string(text), "too many are open") {
		t.Errorf("got %s %s", resp.Status, text)
	}
}

func TestClientThatNeverCompletesARequestIsCut(t *testing.T) {
	s := start(t, apitest.New(), api.Options{HeaderTime: 20 * time.Millisecond, RequestTime: 20 * time.Millisecond})
	c := s.dial()
	io.WriteString(c, "GET /v1/ab")
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err) // the server must close; the test would hang otherwise
	}
}

// torrent is a supervisor whose log has no end.
type torrent struct {
	*apitest.Fake
	ended chan error
}

func (s torrent) Logs(_ context.Context, _ control.Who, _ control.LogQuery, fn func(control.LogRecord) error) error {
	for {
		if err := fn(control.LogRecord{Service: "web", Text: strings.Repeat("x", 4<<10)}); err != nil {
			s.ended <- err
			return err
		}
	}
}

func TestClientThatDoesNotReadIsCut(t *testing.T) {
	sup := torrent{apitest.New("web"), make(chan error, 1)}
	s := start(t, sup, api.Options{WriteTime: 20 * time.Millisecond})
	io.WriteString(s.dial(), "GET /v1/logs HTTP/1.1\r\nHost: a\r\n\r\n")
	if err := <-sup.ended; !os.IsTimeout(err) {
		t.Errorf("ended by %v, want a timeout", err)
	}
}

func TestWaitThatOutlastsTheRequestTimeGoesOn(t *testing.T) {
	f := apitest.New("web")
	s := start(t, f, api.Options{HeaderTime: 20 * time.Millisecond, RequestTime: 20 * time.Millisecond})
	time.AfterFunc(80*time.Millisecond, func() { st := f.Service("web"); st.State, st.Pid = "stopped", 0; f.Set(st) })
	if status, text := s.ask("POST", "/v1/wait", "", `{"names":["web"],"for":"stopped"}`); status != 200 {
		t.Errorf("got %d %s", status, text)
	}
	if status, text := s.ask("POST", "/v1/wait", "", `{"names":["web"],"for":"running","timeout":"10ms"}`); status != 504 || !strings.Contains(text, string(control.TimedOut)) {
		t.Errorf("got %d %s", status, text)
	}
}

func TestFollowersGetLinesAsTheyComeAndEndWithTheServer(t *testing.T) {
	f := apitest.New("web")
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv := api.New(f, api.Options{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	c, err := net.Dial("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /v1/logs?follow=true HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		f.Write("web", fmt.Sprint("line ", i))
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprint("line ", i)) {
			t.Fatalf("got %q, %v", lines.Text(), lines.Err())
		}
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("after the end: %q", lines.Text())
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func FuzzAnyBytesOnTheSocket(f *testing.F) {
	f.Add([]byte("GET /v1/about HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST /v1/actions HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n{\"verb\":\"stop\",\"names\":[\"web\"]}"))
	f.Add([]byte("POST /v1/run HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n"))
	f.Add([]byte("GET /v1/logs?lines=99999999999999999999 HTTP/1.0\r\n\r\n"))
	var defects atomic.Int32
	dir := f.TempDir()
	stop, err := apitest.Serve(dir, apitest.New("web"), api.Options{ReportDefect: func(string) { defects.Add(1) }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(stop)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := net.Dial("unix", filepath.Join(dir, "control.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(data)
		c.(*net.UnixConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // a follower has no end
		io.Copy(io.Discard, c)
		if defects.Load() > 0 {
			t.Fatal("a request met a defect")
		}
	})
}

func BenchmarkStatusOfAThousand(b *testing.B) {
	f := apitest.New()
	for i := range 1000 {
		f.Set(f.Service(fmt.Sprintf("service-%d", i)))
	}
	dir := b.TempDir()
	stop, err := apitest.Serve(dir, f, api.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", filepath.Join(dir, "control.sock"))
	}}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport}
	for b.Loop() {
		resp, err := hc.Get("http://abide/v1/services")
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
