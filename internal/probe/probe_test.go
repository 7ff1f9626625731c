package probe

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// listen returns the address of a listener that serve gets the connections of.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// closed returns an address that nobody listens on.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	got := "it serves"
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

const serves = "it serves"

func TestASocketThatIsListenedOnServes(t *testing.T) {
	ctx := context.Background()
	expect(t, "a listener", TCP(ctx, listen(t, func(c net.Conn) { c.Close() })), serves)
	expect(t, "nobody", TCP(ctx, closed(t)), "connection refused")
	if err := TCP(ctx, "127.0.0.1"); err == nil || !strings.Contains(err.Error(), "missing port") {
		t.Errorf("without a port: %v", err)
	}
}

func TestAPageIsJudgedByItsStatus(t *testing.T) {
	asked := make(chan *http.Request, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/nowhere", http.StatusFound)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/nowhere":
			w.WriteHeader(http.StatusNotFound)
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			io.WriteString(w, "well")
		}
	}))
	defer s.Close()
	ctx := context.Background()
	for path, want := range map[string]string{
		"": serves, "/none": serves, "/moved": serves, "/nowhere": "status 404", "/sick": "status 503",
	} {
		expect(t, path, HTTP(ctx, s.URL+path), want)
		r := <-asked
		if agent := r.UserAgent(); !strings.HasPrefix(agent, "abide/") {
			t.Errorf("asked as %q", agent)
		}
	}
	if len(asked) != 0 {
		t.Errorf("%s was asked as well: a redirection was followed", (<-asked).URL)
	}
}

func TestAProxyIsNotAsked(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	t.Setenv("HTTP_PROXY", s.URL)
	t.Setenv("http_proxy", s.URL)
	expect(t, "a closed port", HTTP(context.Background(), "http://"+closed(t)), "connection refused")
}

func TestWhoAnswersOverTLSIsNotAsked(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	expect(t, "a certificate of nobody", HTTP(context.Background(), s.URL), serves)
	if err := HTTP(context.Background(), strings.Replace(s.URL, "https:", "http:", 1)); err == nil {
		t.Error("a TLS server serves without TLS")
	}
}

func TestAPageIsAskedForOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	host := make(chan string, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host <- r.Host + r.URL.Path
	}))
	s.Listener = l
	s.Start()
	defer s.Close()
	expect(t, "the socket", HTTP(context.Background(), "http+unix://"+url.PathEscape(path)+"/up"), serves)
	if got := <-host; got != "localhost/up" {
		t.Errorf("asked for %s", got)
	}
	expect(t, "no socket", HTTP(context.Background(), "http+unix://%2Fnowhere%2Fweb.sock/"), "no such file or directory")
}

func TestAnAddressThatMakesNoSenseIsRefused(t *testing.T) {
	for _, address := range []string{"", "ftp://host/", "http://", "localhost:80", "http+unix://run/x", "http+unix://%zz/x", "http://[::1/", "http://h:port/"} {
		if err := HTTP(context.Background(), address); err == nil || !strings.HasPrefix(err.Error(), "cannot use ") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestWhatDoesNotAnswerInTimeDoesNotServe(t *testing.T) {
	// The connection is made and nothing is ever said.
	address := listen(t, func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
	ctx, cancel := WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	expect(t, "silence", HTTP(ctx, "http://"+address), "no answer within 20ms")

	// Headers come and the page never ends: it is the status that counts.
	partly := listen(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		io.Copy(io.Discard, c)
		c.Close()
	})
	ctx, cancel = WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	expect(t, "half a page", HTTP(ctx, "http://"+partly), serves)
}

func TestAnEndWithoutAnAnswerIsSaid(t *testing.T) {
	address := listen(t, func(c net.Conn) { c.Close() })
	if err := HTTP(context.Background(), "http://"+address); err == nil ||
		err.Error() != "the connection was closed without an answer" && err.Error() != "connection reset by peer" {
		t.Errorf("closed at once: %v", err)
	}
	garbage := listen(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"); c.Close() })
	if err := HTTP(context.Background(), "http://"+garbage); err == nil {
		t.Error("another protocol serves")
	}
}

func TestAProbeThatIsNotWantedAnyMoreEndsAtOnce(t *testing.T) {
	address := listen(t, func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- HTTP(ctx, "http://"+address) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}

func TestProbesLeaveNoGoroutineBehind(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	ctx := context.Background()
	_ = HTTP(ctx, s.URL)
	s.CloseClientConnections()
	ours := func() (n int) {
		buf := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "/internal/probe.HTTP") {
				n++
			}
		}
		return n
	}
	for range 20 {
		if err := HTTP(ctx, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(20 * time.Second); ours() > 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines of clients are left", ours())
		}
	}
}
