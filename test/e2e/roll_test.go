//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/test/internal/harness"
)

// reuser answers HTTP requests with its pid, on a port that several may listen on.
// Told to end it serves what has connected and goes.
const reuser = `
import http.server, os, signal, socket, sys, threading, time
if os.path.exists(sys.argv[2]): sys.exit(9)
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); super().server_bind()
time.sleep(0.5)
s = S(("127.0.0.1", int(sys.argv[1])), H)
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=s.shutdown).start())
print("listening", flush=True)
s.serve_forever()
`

func TestARollNeverLeavesNobodyServing(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	port := harness.FreePort(t)
	script, broken := a.NewFile("reuser.py", reuser, 0o644), filepath.Join(a.Dir, "broken")
	a.Define("web", fmt.Sprintf("command = [\"/usr/bin/python3\", %q, \"%d\", %q]\n[ready]\nafter = \"1500ms\"\n", script, port, broken))
	check := a.Healthy()
	a.Start()
	old := a.Await("web", "running")

	var answered, silent atomic.Int64
	end := make(chan struct{})
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			// Whether a listener is there, not what becomes of a connection in the queue
			// of one that ends: without a shared socket no supervisor can save that.
			c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
			if err != nil {
				silent.Add(1)
				continue
			}
			c.Close()
			answered.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
	a.OK("roll", "web")
	next := a.Status("web")
	if next.Pid == old.Pid || next.Run != old.Run+1 || next.State != "running" || next.Restarts != old.Restarts {
		t.Errorf("after the roll it is %+v, was %+v", next, old)
	}
	if harness.Alive(old.Pid) {
		t.Errorf("process %d of the old run lives", old.Pid)
	}

	// One that does not become ready leaves everything as it was.
	a.NewFile("broken", "", 0o644)
	a.Refused(1, "exited with code 9 before it was ready", "roll", "web")
	if s := a.Status("web"); s.Pid != next.Pid || s.State != "running" {
		t.Errorf("after a failed roll it is %+v, was %+v", s, next)
	}
	harness.Check(t, syscall.Unlink(broken))

	// An engine that dies in the middle is no reason to end either.
	answer := make(chan harness.Result)
	go func() { answer <- a.Do("roll", "web") }()
	harness.Eventually(t, "two runs are there", func() error {
		if n := len(a.Processes("web")); n != 2 {
			return fmt.Errorf("%d processes of web", n)
		}
		return nil
	})
	about, err := a.About()
	harness.Check(t, err)
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
	if r := <-answer; r.Code != 0 {
		t.Errorf("the roll that saw its engine die ended with %d: %s%s", r.Code, r.Out, r.Err)
	}
	last := a.Await("web", "running")
	if last.Pid == next.Pid || len(a.Processes("web")) != 1 {
		t.Errorf("after that roll it is %+v with %v", last, a.Processes("web"))
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	harness.Check(t, err)
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	harness.Check(t, err)
	if string(body) != fmt.Sprint(last.Pid) {
		t.Errorf("process %s answers, the service's is %d", body, last.Pid)
	}
	close(end)
	clients.Wait()
	if silent.Load() != 0 || answered.Load() < 100 {
		t.Errorf("%d connections were refused, %d taken", silent.Load(), answered.Load())
	}
	check()
	a.OK("stop", "web")
	a.NothingOf("web")
}

func TestARollOfWhatCannotStandBesideItselfLeavesIt(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	port := harness.FreePort(t)
	a.Define("redis", fmt.Sprintf("command = [\"/usr/bin/redis-server\", \"--port\", \"%d\", \"--bind\", \"127.0.0.1\", \"--save\", \"\", \"--dir\", %q]\n[ready]\nafter = \"1s\"\n", port, a.Dir))
	a.Define("once", "kind = \"task\"\ncommand = \"true\"\n")
	a.Start()
	before := a.Await("redis", "running")
	a.Refused(1, "exited with code 1 before it was ready", "roll", "redis")
	after := a.Status("redis")
	if after.Pid != before.Pid || after.Run != before.Run || after.State != "running" {
		t.Errorf("after the failed roll redis is %+v, was %+v", after, before)
	}
	a.Refused(1, "it is a task", "roll", "once")
	a.OK("stop", "redis")
	a.Refused(3, "it is stopped", "roll", "redis")
}
