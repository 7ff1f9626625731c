//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

func whyIs(want string) func(client.Status) bool {
	return func(s client.Status) bool { return s.State == "running" && strings.Contains(s.Why, want) }
}

func TestSystemdNotifyIsHeard(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	for name, head := range map[string]string{"plain": "", "other-user": "user = \"nobody\"\n"} {
		a.Define(name, head+`command = "sleep 0.2; systemd-notify --ready --status='Serving 7 of 9'; exec sleep 1000"
shell = true
[ready]
notify = true
`)
	}
	a.Define("quick", `command = "systemd-notify --no-block READY=1; exec sleep 1000"
shell = true
[ready]
notify = true
`)
	a.Define("child", `command = "sleep 1000 & systemd-notify --ready --pid=$!; exec sleep 2000"
shell = true
[ready]
notify = true
`)
	a.Define("never", "command = \"sleep 1000\"\n[ready]\nnotify = true\ntimeout = \"500ms\"\n[restart]\nwhen = \"never\"\n")
	a.Start()
	for _, name := range []string{"plain", "other-user"} {
		a.AwaitStatus(name, "its status", whyIs("Serving 7 of 9"))
	}
	a.Await("quick", "running")
	s := a.AwaitStatus("child", "its child is its main process", func(s client.Status) bool {
		return s.State == "running" && harness.CommandLine(s.Pid) == "sleep 1000"
	})
	harness.Contains(t, a.Await("never", "failed").Why, "not ready in time")
	harness.Check(t, syscall.Kill(s.Pid, syscall.SIGKILL))
	a.AwaitNext(s)
	a.Gone("never")
	a.OK("stop", "child")
	a.Gone("child")
}

// notifier compiles the program that links libsystemd.
func notifier(t *testing.T, a *harness.Abide) string {
	t.Helper()
	path := filepath.Join(a.Dir, "notifier")
	if out, err := exec.Command("gcc", "-Wall", "-Werror", "-D_GNU_SOURCE", "-o", path, "testdata/notifier.c", "-lsystemd").CombinedOutput(); err != nil {
		t.Fatalf("cannot compile the program: %v\n%s", err, out)
	}
	return path
}

func TestAProgramThatLinksLibsystemd(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", fmt.Sprintf("command = %q\nfd_store = 2\n[ready]\nnotify = true\n", notifier(t, a)))
	a.Start()
	t.Cleanup(func() { a.Do("shutdown") })
	s := a.AwaitStatus("web", "its status", whyIs("Serving since"))
	a.AwaitLogged("web", "passed the barrier")
	given := fmt.Sprintf("given 1 state of %d, watchdog 0 0", s.Pid)
	harness.Contains(t, a.Logged("web"), "given 0 - nothing, watchdog 0 0")

	// What it stored lives as long as somebody of ours does.
	for round, what := range []func(client.Status) client.Status{
		func(client.Status) client.Status { return a.KillService("web") },
		func(before client.Status) client.Status { a.OK("restart", "web"); return a.AwaitNext(before) },
		func(client.Status) client.Status { killEngine(t, a); return a.KillService("web") },
		func(client.Status) client.Status { killKeeper(t, a); return a.KillService("web") },
		func(client.Status) client.Status { a.OK("upgrade"); return a.KillService("web") },
	} {
		s = what(s)
		harness.Eventually(t, fmt.Sprintf("round %d: it has its descriptor back", round), func() error {
			if n := strings.Count(a.Logged("web"), given); n != round+1 {
				return fmt.Errorf("given %d times:\n%s", n, a.Logged("web"))
			}
			return nil
		})
		s = a.AwaitStatus("web", "its status", whyIs("Serving since"))
	}
	a.OK("signal", "USR1", "web")
	a.AwaitStatus("web", "it has read its configuration again", whyIs("Read again"))
	a.OK("stop", "web")
	a.OK("start", "web")
	harness.Eventually(t, "after a stop it starts with nothing", func() error {
		if n := strings.Count(a.Logged("web"), "given 0 - nothing"); n != 2 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}

func TestAWatchdogThatIsNotFedBites(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", fmt.Sprintf("command = %q\nfd_store = 1\n[ready]\nnotify = true\n[health]\nwatchdog = \"900ms\"\n", notifier(t, a)))
	a.Start()
	s := a.AwaitStatus("web", "its status", whyIs("Serving since"))
	harness.Contains(t, a.Logged("web"), "watchdog 1 900000")
	// An engine that dies does not make it bite.
	for range 3 {
		killEngine(t, a)
	}
	if now := a.AwaitStatus("web", "its status", whyIs("Serving since")); now.Run != s.Run {
		t.Errorf("run %d has become run %d", s.Run, now.Run)
	}
	a.OK("signal", "USR2", "web")
	next := a.AwaitNext(s)
	if next.LastExit == nil || next.LastExit.Signal == nil || *next.LastExit.Signal != "ABRT" {
		t.Errorf("it ended by %s", harness.Describe(next.LastExit))
	}
}

// toSocket sends to the notification socket of a service's run, which is known from
// its environment.
func toSocket(t *testing.T, pid int, text string) {
	t.Helper()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	harness.Check(t, err)
	for _, v := range strings.Split(string(env), "\x00") {
		if path, ok := strings.CutPrefix(v, "NOTIFY_SOCKET="); ok {
			c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
			harness.Check(t, err)
			defer c.Close()
			_, err = c.Write([]byte(text))
			harness.Check(t, err)
			return
		}
	}
	t.Fatalf("process %d has no NOTIFY_SOCKET: %q", pid, env)
}

func TestReadyIsNotLostThatWasSentWhileTheEngineDied(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", "command = \"sleep 1000\"\nuser = \"nobody\"\n[ready]\nnotify = true\n")
	a.Start()
	s := a.AwaitStatus("web", "it waits for its word", func(s client.Status) bool { return s.State == "starting" && s.Pid != 0 })
	old := engine(t, a)
	harness.Check(t, syscall.Kill(old, syscall.SIGSTOP))
	toSocket(t, s.Pid, "STATUS=Said to nobody")
	toSocket(t, s.Pid, "MAINPID=1")
	toSocket(t, s.Pid, "READY=1\nMAINPID=none")
	toSocket(t, s.Pid, "READY=1")
	harness.Check(t, syscall.Kill(old, syscall.SIGKILL))
	now := a.AwaitStatus("web", "what was said", whyIs("Said to nobody"))
	if now.Pid != s.Pid || now.Run != s.Run {
		t.Errorf("%+v has become %+v", s, now)
	}
	if n := strings.Count(a.OK("events", "--json"), "is passed over"); n != 1 {
		t.Errorf("what makes no sense was said %d times", n)
	}
}

func TestAStrangerIsNotHeard(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	// Hidden by a change of root, it gets a socket that everybody may send to.
	a.Define("web", "command = \"sleep 1000\"\nchroot = \"/\"\n[ready]\nnotify = true\n")
	a.Start()
	s := a.AwaitStatus("web", "it waits for its word", func(s client.Status) bool { return s.State == "starting" && s.Pid != 0 })
	c := helper(t, fmt.Sprintf("%s %d", strangerPart, s.Pid))
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.Pid))
	harness.Check(t, err)
	for _, v := range strings.Split(string(env), "\x00") {
		if strings.HasPrefix(v, "NOTIFY_SOCKET=@") {
			c.Env = append(c.Env, v)
		}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	harness.Eventually(t, "the stranger is named", func() error {
		if !strings.Contains(a.OK("events", "--json"), "of uid 65534 sent to its notification socket") {
			return fmt.Errorf("nobody says so")
		}
		return nil
	})
	if now := a.Status("web"); now.State != "starting" {
		t.Errorf("it is %s", now.State)
	}
	toSocket(t, s.Pid, "READY=1")
	a.Await("web", "running")
}

// strangerPart says READY=1 to the socket in its environment.
const strangerPart = "stranger"

func beStranger() int {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte("READY=1\nSTATUS=Believe me"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// doubleFork goes into the background as daemons did, without a pid file.
const doubleFork = `
import os, sys, time
if os.fork(): sys.exit(0)
os.setsid()
time.sleep(0.2)
if os.fork(): os._exit(0)
print("in the background", flush=True)
time.sleep(1000)
`

func TestForkingProgramsAreFollowed(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	web, ssh, cache := harness.FreePort(t), harness.FreePort(t), harness.FreePort(t)
	conf := a.NewFile("nginx.conf", fmt.Sprintf(`
pid %[1]s/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http { access_log off; server { listen 127.0.0.1:%[2]d; return 200 "hello"; } }
`, a.Dir, web), 0o644)
	a.Define("nginx", fmt.Sprintf("kind = \"forking\"\npid_file = \"%s/nginx.pid\"\ncommand = [\"/usr/sbin/nginx\", \"-e\", \"stderr\", \"-c\", %q]\n[stop]\nsignal = \"QUIT\"\n", a.Dir, conf))
	key := filepath.Join(a.Dir, "host_key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("cannot make a key: %v\n%s", err, out)
	}
	sshConf := a.NewFile("sshd_config", fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nUsePAM no\nPidFile %s/sshd.pid\n", ssh, key, a.Dir), 0o644)
	a.Define("sshd", fmt.Sprintf("kind = \"forking\"\npid_file = \"%s/sshd.pid\"\nshell = true\ncommand = \"mkdir -p -m 0755 /run/sshd && exec /usr/sbin/sshd -f %s\"\n", a.Dir, sshConf))
	a.Define("redis", fmt.Sprintf("kind = \"forking\"\ncommand = \"redis-server --port %d --bind 127.0.0.1 --daemonize yes --save '' --dir %s\"\n", cache, a.Dir))
	a.Define("twice", fmt.Sprintf("kind = \"forking\"\ncommand = [\"/usr/bin/python3\", %q]\n", a.NewFile("fork.py", doubleFork, 0o644)))
	a.Define("none", "kind = \"forking\"\ncommand = \"/bin/true\"\n[restart]\nwhen = \"never\"\n")
	a.Define("several", "kind = \"forking\"\nshell = true\ncommand = \"sleep 1000 & sleep 2000 & exit 0\"\n[restart]\nwhen = \"never\"\n")
	a.Start()
	names := []string{"nginx", "sshd", "redis", "twice"}
	is := map[string]client.Status{}
	for _, name := range names {
		is[name] = a.Await(name, "running")
		if strings.Contains(harness.CommandLine(is[name].Pid), "fork.py") {
			a.AwaitLogged(name, "in the background")
			is[name] = a.AwaitStatus(name, "its last step is its main process", func(s client.Status) bool {
				return s.State == "running" && len(harness.Children(s.Pid)) == 0 && harness.Alive(s.Pid)
			})
		}
	}
	if text, err := os.ReadFile(a.Dir + "/nginx.pid"); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(is["nginx"].Pid) {
		t.Errorf("nginx's main process is %d, its file says %s, %v", is["nginx"].Pid, text, err)
	}
	if cmd := harness.CommandLine(is["redis"].Pid); !strings.Contains(cmd, "redis-server") {
		t.Errorf("redis's main process is %q", cmd)
	}
	harness.Contains(t, a.Await("none", "failed").Why, "nothing of it is left")
	harness.Contains(t, a.Await("several", "failed").Why, "are left; name a pid_file")
	a.Gone("several")

	t.Cleanup(func() { a.Do("shutdown") })
	same := func() {
		t.Helper()
		for _, name := range names {
			if now := a.Await(name, "running"); now.Pid != is[name].Pid || now.Run != is[name].Run {
				t.Errorf("%s: %+v has become %+v", name, is[name], now)
			}
		}
	}
	killEngine(t, a)
	same()
	for _, name := range names {
		harness.Check(t, syscall.Kill(is[name].Pid, syscall.SIGKILL))
		now := a.AwaitNext(is[name])
		if now.LastExit == nil || now.LastExit.Signal == nil || *now.LastExit.Signal != "KILL" {
			t.Errorf("%s ended by %s", name, harness.Describe(now.LastExit))
		}
	}
	for _, name := range names {
		is[name] = a.Await(name, "running")
	}
	killKeeper(t, a)
	// Which steps python takes into the background depends on when it is looked at.
	names = names[:3]
	same()
	for _, name := range append(names, "twice") {
		a.OK("stop", name)
		a.Gone(name)
	}
}

func TestTheEngineKilledWhileAMainProcessIsLookedFor(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	file := filepath.Join(a.Dir, "web.pid")
	go1 := filepath.Join(a.Dir, "go")
	harness.Check(t, os.WriteFile(file, []byte("1\n"), 0o644))
	script := fmt.Sprintf(`(while ! [ -e %s ]; do sleep 0.05; done; sleep 1000 & echo $! > %s.new; mv %s.new %s; wait) & exit 0`, go1, file, file, file)
	a.Define("web", fmt.Sprintf("kind = \"forking\"\npid_file = %q\nshell = true\ncommand = %q\n", file, script))
	a.Start()
	a.AwaitStatus("web", "its starter has ended", func(s client.Status) bool { return s.State == "starting" && s.Pid == 0 })
	killEngine(t, a)
	killEngine(t, a)
	harness.Check(t, os.WriteFile(go1, nil, 0o644))
	s := a.Await("web", "running")
	if harness.CommandLine(s.Pid) != "sleep 1000" {
		t.Errorf("its main process is %q", harness.CommandLine(s.Pid))
	}
	if s.Run != 1 {
		t.Errorf("it is run %d", s.Run)
	}
	a.OK("stop", "web")
	a.Gone("web")
}
