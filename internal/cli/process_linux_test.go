package cli

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
)

// call is a running abide, with its own folders.
type call struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  buffer
	errs buffer
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// world is where calls of one test happen.
type world struct {
	t      *testing.T
	dir    string
	run    string
	notify *net.UnixConn
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.run = filepath.Join(w.dir, "run")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(w.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	w.notify = c
	t.Cleanup(func() {
		c.Close()
		// Whatever a test left running ends before its folder goes.
		if pid, held := holder(w.run); held && pid > 1 {
			syscall.Kill(pid, syscall.SIGKILL)
			awaitRelease(w.run, 0)
		}
	})
	return w
}

func (w *world) start(args ...string) *call {
	w.t.Helper()
	c := &call{t: w.t, cmd: exec.Command("abide", args...)}
	c.cmd.Dir = w.dir
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"), "NOTIFY_SOCKET=" + filepath.Join(w.dir, "notify")}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	c.cmd.WaitDelay = time.Minute
	if err := c.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// end waits for the call and compares its exit code.
func (c *call) end(code int) {
	c.t.Helper()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Fatalf("%v ended with %d, want %d\n%s%s", c.cmd.Args, got, code, c.out.String(), c.errs.String())
	}
}

// await waits until the instance in the run directory answers.
func (w *world) await(c *call) {
	w.t.Helper()
	w.until(c, func() bool {
		conn, err := client.Dial(w.run)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// until waits for what another process does; it gives up when c has long ended.
func (w *world) until(c *call, done func() bool) {
	w.t.Helper()
	for range 4000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatalf("it did not come to that\n%s", c.errs.String())
}

// told waits for a datagram of sd_notify that begins with text.
func (w *world) told(text string) {
	w.t.Helper()
	buf := make([]byte, 1024)
	n, err := w.notify.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), text) {
		w.t.Fatalf("told %q, %v; want %s", buf[:n], err, text)
	}
}

// argv is what the keeper was started with, with the world's folder as DIR.
func (w *world) argv() string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.run, "argv"))
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", " "), w.dir, "DIR")
}

func (w *world) file(name string) bool {
	_, err := os.Stat(filepath.Join(w.run, name))
	return err == nil
}

func TestDaemonBecomesTheKeeper(t *testing.T) {
	w := newWorld(t)
	os.Mkdir(filepath.Join(w.dir, "defs"), 0o755)
	c := w.start("daemon", "--run", "run", "--config", "defs", "--state", "s")
	w.await(c)
	if pid, held := holder(w.run); !held || pid != c.cmd.Process.Pid {
		t.Errorf("the keeper is pid %d, want %d itself", pid, c.cmd.Process.Pid)
	}
	const want = "--run DIR/run --mode daemon --exec BIN/abide-exec -- BIN/abide-engine --run DIR/run --state DIR/s --log DIR/run/log --mode daemon --scope system --config DIR/defs"
	if got := w.argv(); got != want {
		t.Errorf("started with\n%s, want\n%s", got, want)
	}
	second := w.start("daemon", "--run", "run")
	second.end(1)
	if text := second.errs.String(); !strings.Contains(text, "held by abide-keeper, pid "+strconv.Itoa(c.cmd.Process.Pid)) {
		t.Errorf("the second said %q", text)
	}
	w.start("init", "--run", "run", "--", "/bin/true").end(exitOwnFailure)
	w.start("--run", "run", "shutdown").end(0)
	c.end(5)
}

func TestInitHandsTheCommandOn(t *testing.T) {
	w := newWorld(t)
	c := w.start("init", "--run", "run", "--", "/bin/srv", "--port", "80")
	w.await(c)
	if got, want := w.argv(), "--mode init --scope system --console --main -- /bin/srv --port 80"; !strings.HasSuffix(got, want) {
		t.Errorf("started with\n%s, want an end of\n%s", got, want)
	}
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.end(7)
}

func TestRunDirectoryMustBeOurs(t *testing.T) {
	w := newWorld(t)
	os.Mkdir(w.run, 0o755)
	os.Chmod(w.run, 0o777)
	c := w.start("daemon", "--run", "run")
	c.end(5)
	if text := c.errs.String(); !strings.Contains(text, "others may write to it (mode 0777)") || !strings.Contains(text, "hint: chown") {
		t.Errorf("said %q", text)
	}
	os.Remove(w.run)
	os.Symlink("/", w.run)
	c = w.start("daemon", "--run", "run")
	c.end(1)
	if text := c.errs.String(); !strings.Contains(text, "it is a symbolic link") {
		t.Errorf("said %q", text)
	}
	os.Remove(w.run)
	os.WriteFile(filepath.Join(w.dir, "state"), nil, 0o600)
	c = w.start("daemon", "--run", "run", "--state", "state")
	w.await(c)
	w.start("--run", "run", "shutdown").end(0)
	c.end(5)
	if text := c.errs.String(); !strings.Contains(text, "cannot use state directory "+w.dir+"/state: not a directory; going on without it") {
		t.Errorf("said %q", text)
	}
}

func TestProxyPassesSignalsOnAndEndsWithTheCodeOfTheInstance(t *testing.T) {
	w := newWorld(t)
	keeper := w.start("daemon", "--run", "run", "--attach")
	w.await(keeper)
	proxy := w.start("daemon", "--run", "run", "--attach")
	w.told("READY=1")
	w.until(proxy, func() bool {
		return strings.Contains(proxy.errs.String(), "attached to abide-keeper, pid "+strconv.Itoa(keeper.cmd.Process.Pid))
	})
	proxy.cmd.Process.Signal(syscall.SIGHUP)
	w.until(proxy, func() bool { return w.file("applied") })
	proxy.cmd.Process.Signal(syscall.SIGTERM)
	w.told("STOPPING=1")
	keeper.end(5)
	proxy.end(5)
}

func TestProxyEndsWhenTheInstanceIsKilled(t *testing.T) {
	w := newWorld(t)
	keeper := w.start("daemon", "--run", "run")
	w.await(keeper)
	proxy := w.start("daemon", "--run", "run", "--attach")
	w.told("READY=1")
	keeper.cmd.Process.Kill()
	keeper.cmd.Wait()
	proxy.end(1)
	if text := proxy.errs.String(); !strings.Contains(text, "it ended without saying how") {
		t.Errorf("said %q", text)
	}
}

func (w *world) project(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func TestUpEndsWithTheCodeOfTheKeeper(t *testing.T) {
	w := newWorld(t)
	w.project("Procfile", "web: sleep 1000\n")
	w.project(".env", "SECRET=hidden\n")
	c := w.start("up", "--run", "run", "--exit-on-failure", "web")
	w.await(c)
	const want = "--run DIR/run --mode up --exec BIN/abide-exec --lease-fd 3 -- BIN/abide-engine --run DIR/run --state DIR/run/state --log DIR/run/log " +
		"--mode up --scope project --root DIR --name web --console --exit-on-failure --lease-fd 6"
	if got := w.argv(); got != want {
		t.Errorf("started with\n%s, want\n%s", got, want)
	}
	w.start("up", "--run", "run").end(exitOwnFailure)
	c.cmd.Process.Signal(os.Interrupt)
	c.end(7)
	if text := c.errs.String(); !strings.Contains(text, "reading "+w.dir+"/.env") || strings.Contains(text, "hidden") {
		t.Errorf("said %q", text)
	}
}

func TestServicesOfUpDoNotOutliveIt(t *testing.T) {
	w := newWorld(t)
	w.project("abide.toml", "")
	c := w.start("up", "--run", "run")
	w.await(c)
	c.cmd.Process.Kill()
	w.until(c, func() bool { return w.file("lease-broke") })
	awaitRelease(w.run, 0)
	c.cmd.Wait()
}

func TestUpDetachedAndDown(t *testing.T) {
	w := newWorld(t)
	w.project("Procfile", "web: sleep 1000\n")
	sub := filepath.Join(w.dir, "a", "b")
	os.MkdirAll(sub, 0o755)
	c := w.start("up", "-d", "--run", "run")
	c.end(0)
	if text := c.out.String(); !strings.Contains(text, "web") || !strings.Contains(text, "running") {
		t.Errorf("showed %q", text)
	}
	w.start("down", "--run", "run", "-f", "Procfile").end(0)
	if _, held := holder(w.run); held {
		t.Error("down returned before the keeper had gone")
	}
	again := w.start("down", "--run", "run")
	again.end(0)
	if text := again.out.String(); !strings.Contains(text, "does not run") {
		t.Errorf("said %q", text)
	}
}

func TestUpWithoutAProjectSaysWhatToWrite(t *testing.T) {
	w := newWorld(t)
	c := w.start("up")
	c.end(exitOwnFailure)
	if text := c.errs.String(); !strings.Contains(text, "neither abide.toml nor abide/ nor Procfile") || !strings.Contains(text, "hint: ") {
		t.Errorf("said %q", text)
	}
}

func TestProjectInstanceIsFoundFromBelowItsRoot(t *testing.T) {
	w := newWorld(t)
	w.project("Procfile", "web: sleep 1000\n")
	os.MkdirAll(filepath.Join(w.dir, "a", "b"), 0o755)
	up := w.start("up", "-d")
	up.end(0)
	down := func() *call {
		c := w.start("down")
		c.end(0)
		return c
	}
	defer down()
	status := exec.Command("abide", "status", "--json")
	status.Dir, status.Env = filepath.Join(w.dir, "a", "b"), up.cmd.Env
	out, err := status.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), `[{"name":"web"`) {
		t.Errorf("got %s, %v", out, err)
	}
}

func TestRunPassesTheExitCodeOn(t *testing.T) {
	w := newWorld(t)
	keeper := w.start("daemon", "--run", "run")
	w.await(keeper)
	w.start("--run", "run", "run", "--wait", "--", "true").end(0)
	w.start("--run", "run", "run", "--", "/nonexistent/program").end(exitNotFound)
	w.start("--run", "run", "run", "--", w.dir).end(exitNoProgram)
	w.start("--run", "none", "run", "--", "true").end(exitOwnFailure)
	w.start("--run", "run", "run", "true").end(exitUsage)
}

func TestStatusGoesToTheSocketOfAnotherUserOnlyIfTrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is of root")
	}
	w := newWorld(t)
	os.Mkdir(w.run, 0o755)
	l := listenAs(t, 65534, filepath.Join(w.run, client.SocketName))
	defer l.Close()
	c := w.start("--run", "run", "status")
	c.end(5)
	if text := c.errs.String(); !strings.Contains(text, "cannot trust the server in "+w.run+": it runs as uid 65534") {
		t.Errorf("said %q", text)
	}
}
