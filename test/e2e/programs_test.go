//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// program is a real one with its test configuration in place.
type program struct {
	abide  *harness.Abide
	name   string
	port   int
	answer func() error // nil when it does what it is for
}

// livesThroughIt is what every supervised program must see: started and
// answering, killed and answering again with another pid, stopped with nothing
// left.
func (p program) livesThroughIt(t *testing.T) {
	t.Helper()
	a := p.abide
	a.Await(p.name, "running")
	harness.Eventually(t, p.name+" answers", p.answer)

	// Killed at the best and at the worst moment: after a while, and at once.
	for range 3 {
		before, after := a.AwaitStatus(p.name, "runs", running), client.Status{}
		harness.Check(t, syscall.Kill(before.Pid, syscall.SIGKILL))
		after = a.AwaitNext(before)
		harness.Eventually(t, p.name+" answers again", p.answer)
		if after.LastExit == nil || harness.Describe(after.LastExit) != "KILL" {
			t.Errorf("the last exit of %s is %s, want KILL", p.name, harness.Describe(after.LastExit))
		}
	}
}

// isStopped stops the program and looks for anything of it.
func (p program) isStopped(t *testing.T) {
	t.Helper()
	p.abide.OK("stop", p.name)
	p.abide.NothingOf(p.name)
	harness.PortFree(t, p.port)
	if s := p.abide.Status(p.name); s.State != "stopped" || s.Pid != 0 {
		t.Errorf("after stop %s is %s with pid %d", p.name, s.State, s.Pid)
	}
}

func running(s client.Status) bool { return s.State == "running" && s.Pid > 0 }

// get asks for / on a port and returns the body of a good answer.
func get(port int) (string, error) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP status %d", answer.StatusCode)
	}
	return string(body), nil
}

// says is an answer that contains a text.
func says(port int, text string) func() error {
	return func() error {
		body, err := get(port)
		if err == nil && !strings.Contains(body, text) {
			err = fmt.Errorf("the answer is %q, want %q in it", body, text)
		}
		return err
	}
}

// owned makes a folder that belongs to a user.
func owned(t *testing.T, path, name string, mode os.FileMode) {
	t.Helper()
	account, err := user.Lookup(name)
	harness.Check(t, err)
	uid, err := strconv.Atoi(account.Uid)
	harness.Check(t, err)
	gid, err := strconv.Atoi(account.Gid)
	harness.Check(t, err)
	harness.Check(t, os.MkdirAll(path, mode))
	harness.Check(t, os.Chmod(path, mode))
	harness.Check(t, os.Chown(path, uid, gid))
}

// nginx sets up the example with a configuration that returns a text.
func nginx(t *testing.T, a *harness.Abide, dropIn string) (p program, write func(text string)) {
	t.Helper()
	port := harness.FreePort(t)
	write = func(text string) {
		a.Write(filepath.Join(a.Dir, "nginx.conf"), fmt.Sprintf(`
pid %[1]s/nginx.pid;
worker_processes 2;
events { }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen 127.0.0.1:%[2]d; location / { return 200 %[3]q; } }
}
`, a.Dir, port, text))
	}
	write("the first answer")
	a.Example("nginx.toml", fmt.Sprintf("command = [\"/usr/sbin/nginx\", \"-e\", \"stderr\", \"-c\", %q, \"-g\", \"daemon off;\"]\n%s",
		filepath.Join(a.Dir, "nginx.conf"), dropIn))
	return program{a, "nginx", port, says(port, "the first answer")}, write
}

func TestNginx(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	p, write := nginx(t, a, "")
	a.Start()
	p.livesThroughIt(t)

	// It keeps answering while it reads its configuration again.
	before := a.Status("nginx")
	var failed atomic.Pointer[error]
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := get(p.port); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}
	}()
	write("the second answer")
	a.OK("reload", "nginx")
	harness.Eventually(t, "nginx has read its configuration", says(p.port, "the second answer"))
	close(done)
	<-ended
	if err := failed.Load(); err != nil {
		t.Errorf("nginx did not answer during a reload: %v", *err)
	}
	if after := a.Status("nginx"); after.Pid != before.Pid || after.Run != before.Run {
		t.Errorf("a reload changed pid %d, run %d to pid %d, run %d", before.Pid, before.Run, after.Pid, after.Run)
	}
	p.isStopped(t)
}

func TestRedis(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	port := harness.FreePort(t)
	data := filepath.Join(a.Dir, "redis")
	owned(t, data, "redis", 0o750)
	conf := a.NewFile("redis.conf", fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsave 3600 1\n", port, data), 0o644)
	a.Example("redis.toml", fmt.Sprintf("command = [\"/usr/bin/redis-server\", %q, \"--daemonize\", \"no\", \"--supervised\", \"no\", \"--logfile\", \"\"]\ndirectory = %q\n", conf, data))
	a.Start()
	ask := func(command, want string) error {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
			return err
		}
		answer := make([]byte, len(want))
		if _, err := io.ReadFull(c, answer); err != nil {
			return err
		}
		if string(answer) != want {
			return fmt.Errorf("redis answers %q, want %q", answer, want)
		}
		return nil
	}
	p := program{a, "redis", port, func() error { return ask("PING", "+PONG") }}
	p.livesThroughIt(t)
	a.AwaitLogged("redis", "Ready to accept connections")

	// A stop lets it save: what was set is there after the next start.
	harness.Check(t, ask("SET kept yes", "+OK"))
	p.isStopped(t)
	a.OK("start", "redis")
	harness.Eventually(t, "redis has kept its data", func() error { return ask("GET kept", "$3\r\nyes") })
	p.isStopped(t)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	harness.Check(t, err)
	if len(folders) == 0 {
		t.Fatal("PostgreSQL is not installed: run test/install-deps.sh")
	}
	bin := filepath.Dir(folders[len(folders)-1])
	version := filepath.Base(filepath.Dir(bin))
	a := harness.New(t)
	data := filepath.Join(a.Dir, "pg")
	owned(t, data, "postgres", 0o700)
	initdb := exec.Command("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
		filepath.Join(bin, "initdb"), "--pgdata", data, "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8")
	initdb.Dir = data
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("cannot make a cluster: %v\n%s", err, out)
	}
	port := harness.FreePort(t)
	a.Example("postgresql@.toml", fmt.Sprintf("instances = [%q]\ncommand = [%q, \"-D\", %q, \"-p\", \"%d\", \"-c\", \"unix_socket_directories=%s\", \"-c\", \"fsync=off\"]\n",
		version, filepath.Join(bin, "postgres"), data, port, data))
	a.Start()
	query := func(sql string) (string, error) {
		c := exec.Command(filepath.Join(bin, "psql"), "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres", "-Atc", sql)
		c.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=5")
		out, err := c.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return strings.TrimSpace(string(out)), nil
	}
	name := "postgresql@" + version
	p := program{a, name, port, func() error {
		if answer, err := query("select 6 * 7"); err != nil || answer != "42" {
			return fmt.Errorf("the answer is %q: %v", answer, err)
		}
		return nil
	}}
	p.livesThroughIt(t)

	before := a.Status(name)
	if _, err := query("alter system set work_mem = '7MB'"); err != nil {
		t.Fatal(err)
	}
	a.OK("reload", name)
	harness.Eventually(t, "PostgreSQL has read its configuration", func() error {
		if answer, err := query("show work_mem"); err != nil || answer != "7MB" {
			return fmt.Errorf("work_mem is %q: %v", answer, err)
		}
		return nil
	})
	if after := a.Status(name); after.Pid != before.Pid {
		t.Errorf("a reload changed pid %d to %d", before.Pid, after.Pid)
	}
	p.isStopped(t)
	log := a.Logged(name)
	harness.Contains(t, log, "received fast shutdown request")
	harness.Contains(t, log, "database system is shut down")
}

func TestPythonWebServer(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	port := harness.FreePort(t)
	a.Example("python-web.toml", fmt.Sprintf("command = [\"/usr/bin/python3\", \"-u\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"%d\"]\n", port))
	a.Start()
	p := program{a, "python-web", port, says(port, "Directory listing")}
	p.livesThroughIt(t)
	a.AwaitLogged("python-web", "GET / HTTP/1.1")
	p.isStopped(t)
}

func TestNodeWebServer(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	port := harness.FreePort(t)
	script, err := os.ReadFile(filepath.Join(harness.Root, "examples", "web", "server.js"))
	harness.Check(t, err)
	a.NewFile("web/server.js", string(script), 0o644)
	a.Example("node-web.toml", fmt.Sprintf("[environment]\nPORT = %d\n", port))
	a.Start()
	p := program{a, "node-web", port, says(port, "hello from node")}
	p.livesThroughIt(t)
	p.isStopped(t)
	harness.Contains(t, a.Logged("node-web"), "told to end")
}
