//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/outside"
	"github.com/abide-project/abide/test/internal/harness"
)

// byHand starts a program as somebody at a shell would, in a session of its own.
// The test's end is its end.
func byHand(t *testing.T, set func(*exec.Cmd), argv ...string) int {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if set != nil {
		set(c)
	}
	harness.Check(t, c.Start())
	ended := make(chan struct{})
	go func() {
		c.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
	})
	return c.Process.Pid
}

func adopt(a *harness.Abide, pid int, name string) string {
	a.T.Helper()
	return a.OK("adopt", fmt.Sprint(pid), "--as", name)
}

func killEngine(t *testing.T, a *harness.Abide) {
	t.Helper()
	old := engine(t, a)
	harness.Check(t, syscall.Kill(old, syscall.SIGKILL))
	harness.Eventually(t, "there is another engine", func() error {
		about, err := a.About()
		if err == nil && about.Pid == old {
			err = fmt.Errorf("process %d still answers", old)
		}
		return err
	})
}

func TestAnNginxStartedByHandIsAdopted(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	p, _ := nginx(t, a, "enabled = false\n"+atOnce)
	a.Start()
	conf := filepath.Join(a.Dir, "nginx.conf")
	pid := byHand(t, nil, "/usr/sbin/nginx", "-e", "stderr", "-c", conf, "-g", "daemon off;")
	harness.Eventually(t, "nginx answers before", p.answer)

	harness.Contains(t, adopt(a, pid, "nginx"), fmt.Sprintf("adopted process %d as run 1", pid))
	s := a.Status("nginx")
	if s.Pid != pid || s.State != "running" || s.Run != 1 || s.Containment != "cgroup" {
		t.Errorf("after the adoption it is %s, pid %d, run %d, containment %s", s.State, s.Pid, s.Run, s.Containment)
	}
	harness.Check(t, p.answer())
	killEngine(t, a)
	if s := a.AwaitStatus("nginx", "runs", running); s.Pid != pid || s.Run != 1 {
		t.Errorf("after the engine's death it is pid %d, run %d", s.Pid, s.Run)
	}

	// From here on the definition holds: it comes back when it dies, alone.
	harness.Check(t, syscall.Kill(pid, syscall.SIGKILL))
	next := a.AwaitStatus("nginx", "runs again", func(s client.Status) bool { return running(s) && s.Pid != pid })
	if next.Run != 2 || next.Restarts != 1 {
		t.Errorf("the next run is %d after %d restarts", next.Run, next.Restarts)
	}
	harness.Eventually(t, "nginx answers again", p.answer)
	for _, pid := range harness.Pids() {
		if line := harness.CommandLine(pid); strings.HasPrefix(line, "nginx: worker") && strings.Contains(line, conf) {
			t.Errorf("worker %d of the dead master lives", pid)
		}
	}
	a.OK("stop", "nginx")
	if body, err := get(p.port); err == nil {
		t.Errorf("stopped, it answers %q", body)
	}
}

// redis is a server with its data in the test's folder.
func redis(t *testing.T, a *harness.Abide) (ask func(command, want string) error) {
	t.Helper()
	port := harness.FreePort(t)
	data := filepath.Join(a.Dir, "redis")
	owned(t, data, "redis", 0o750)
	conf := a.NewFile("redis.conf", fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsave \"\"\n", port, data), 0o644)
	a.Example("redis.toml", fmt.Sprintf("command = [\"/usr/bin/redis-server\", %q, \"--daemonize\", \"no\", \"--supervised\", \"no\", \"--logfile\", \"\"]\ndirectory = %q\n", conf, data))
	return func(command, want string) error {
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
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != want {
			return fmt.Errorf("redis answers %q, want %q: %v", answer, want, err)
		}
		return nil
	}
}

func TestAReleasedRedisGoesOnWithoutAbideAndComesBack(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	ask := redis(t, a)
	a.Start()
	before := a.Await("redis", "running")
	a.AwaitLogged("redis", "Ready to accept connections")
	harness.Check(t, ask("SET kept yes", "+OK"))

	harness.Contains(t, a.OK("release", "redis"), fmt.Sprintf("released: process %d lives on", before.Pid))
	t.Cleanup(func() { syscall.Kill(before.Pid, syscall.SIGKILL) })
	lives := fmt.Sprintf("pid %d lives on", before.Pid)
	if s := a.Status("redis"); s.State != "stopped" || s.Pid != 0 || !strings.Contains(s.Why, lives) {
		t.Errorf("released, it is %s, pid %d: %s", s.State, s.Pid, s.Why)
	}
	back := fmt.Sprintf("abide adopt %d --as redis", before.Pid)
	for _, verb := range []string{"start", "restart"} {
		a.Refused(1, back, verb, "redis")
	}
	a.Refused(3, "it is stopped", "release", "redis")
	killEngine(t, a)
	harness.Contains(t, a.Status("redis").Why, lives)

	a.OK("shutdown")
	a.DaemonExit()
	harness.Check(t, ask("GET kept", "$3\r\nyes"))
	a.Start()
	if s := a.Status("redis"); s.State != "stopped" || !strings.Contains(s.Why, lives) {
		t.Errorf("after a new start it is %s: %s", s.State, s.Why)
	}
	adopt(a, before.Pid, "redis")
	after := a.Await("redis", "running")
	if after.Pid != before.Pid || after.Run != before.Run+1 {
		t.Errorf("it came back as pid %d, run %d; it was pid %d, run %d", after.Pid, after.Run, before.Pid, before.Run)
	}
	harness.Check(t, ask("GET kept", "$3\r\nyes"))
	a.OK("stop", "redis")
	a.AwaitLogged("redis", "bye bye")
}

func TestNoLineIsLostOnTheWayOutAndBack(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	script := a.NewFile("count.sh", "i=0; while :; do i=$((i+1)); echo \"line $i\"; done", 0o644)
	a.Define("count", fmt.Sprintf("command = [\"/bin/sh\", %q]\n[log]\nsize = \"64MiB\"\n", script))
	a.Start()
	pid := a.Await("count", "running").Pid
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
	current := filepath.Join(a.Log, "count", "current")
	grows := func(what string) {
		t.Helper()
		before, err := os.Stat(current)
		harness.Check(t, err)
		harness.Eventually(t, "the log grows "+what, func() error {
			if now, err := os.Stat(current); err != nil || now.Size() <= before.Size() {
				return fmt.Errorf("it does not: %v", err)
			}
			return nil
		})
	}
	a.AwaitStatus("count", "has a log", func(client.Status) bool { _, err := os.Stat(current); return err == nil })
	for round := range 3 {
		grows("under abide")
		a.OK("release", "count")
		if round == 1 {
			killEngine(t, a)
		}
		grows("without abide")
		adopt(a, pid, "count")
		if round == 2 {
			killEngine(t, a)
		}
	}
	grows("at the end")
	a.OK("stop", "count")

	last := 0
	for line := range strings.Lines(a.Logged("count")) {
		var n int
		_, text, ok := strings.Cut(line, "line ")
		if _, err := fmt.Sscan(text, &n); !ok || err != nil {
			continue // a note of abide's own
		}
		if last != 0 && n != last+1 {
			t.Fatalf("line %d follows line %d", n, last)
		}
		last = n
	}
	if last == 0 {
		t.Fatal("nothing is in the log")
	}
}

func TestWhereTheOutputOfAnAdoptedProcessGoes(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Start()
	const ticks = "while sleep 0.05; do echo tick; done"

	file := filepath.Join(a.Dir, "file.log")
	toFile := byHand(t, func(c *exec.Cmd) {
		out, err := os.Create(file)
		harness.Check(t, err)
		c.Stdout = out
	}, "/bin/sh", "-c", ticks)
	elsewhere := "its stdout goes to " + file + ", not through abide"
	harness.Contains(t, adopt(a, toFile, "file"), elsewhere)
	harness.Contains(t, a.Status("file").Why, "its output goes to "+file)
	harness.Contains(t, a.OK("events"), elsewhere)

	read, write, err := os.Pipe()
	harness.Check(t, err)
	defer read.Close()
	toUs := byHand(t, func(c *exec.Cmd) { c.Stdout = write }, "/bin/sh", "-c", ticks)
	write.Close()
	harness.Contains(t, adopt(a, toUs, "read"), fmt.Sprintf("process %d", os.Getpid()))

	// Nobody but the process itself has the other end of this one.
	own, write, err := os.Pipe()
	harness.Check(t, err)
	toItself := byHand(t, func(c *exec.Cmd) {
		c.Stdout, c.Stderr, c.ExtraFiles = write, write, []*os.File{own}
	}, "/bin/sh", "-c", ticks)
	own.Close()
	write.Close()
	if out := adopt(a, toItself, "piped"); strings.Contains(out, "not through abide") {
		t.Errorf("the output was not taken: %s", out)
	}
	a.AwaitLogged("piped", "tick")
	before := len(a.Logged("piped"))
	killEngine(t, a)
	harness.Eventually(t, "the next engine takes it", func() error {
		if now := len(a.Logged("piped")); now <= before {
			return fmt.Errorf("%d bytes are logged, there were %d", now, before)
		}
		return nil
	})
	for _, name := range []string{"file", "read", "piped"} {
		if s := a.AwaitStatus(name, "runs", running); s.Restarts != 0 || s.Run != 1 {
			t.Errorf("%s is in run %d", name, s.Run)
		}
		a.OK("stop", name)
	}
	for _, pid := range []int{toFile, toUs, toItself} {
		if harness.Alive(pid) {
			t.Errorf("process %d outlived its stop", pid)
		}
	}
}

func TestWhatCannotBeAdoptedIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", "command = \"sleep 100000 & exec sleep 100000\"\nshell = true\n")
	a.Start()
	web := a.Await("web", "running")
	stranger := byHand(t, nil, "/bin/sleep", "100000")
	var child int
	for _, p := range a.Processes("web") {
		if p.Pid != web.Pid {
			child = p.Pid
		}
	}
	refused := func(pid int, says string) {
		t.Helper()
		a.Refused(1, says, "adopt", fmt.Sprint(pid), "--as", "new")
	}
	refused(1, "it is process 1")
	refused(web.Pid, "it belongs to web (run 1)")
	refused(child, "it belongs to web (run 1)")
	refused(engine(t, a), "a process of abide itself")
	refused(keeper(t, a), "a process of abide itself")
	refused(os.Getpid(), "abide itself was started by it")
	refused(1<<22-1, "there is none of this number")
	a.Refused(1, "web is running", "adopt", fmt.Sprint(stranger), "--as", "web")
	a.Refused(2, "no service is named", "adopt", fmt.Sprint(stranger))
	a.Refused(2, "not the number of a process", "adopt", "nginx", "--as", "new")
	a.Refused(2, "", "adopt", fmt.Sprint(stranger), "--as", "no/name")

	// As if its number had passed to another process on the way.
	start, err := outside.Start("/proc", stranger)
	harness.Check(t, err)
	c, err := a.Client()
	harness.Check(t, err)
	defer c.Close()
	_, err = c.Adopt(context.Background(), client.Adoption{Pid: stranger, Start: start + 1, As: "new"})
	if err == nil || !strings.Contains(err.Error(), "another one has its number") {
		t.Errorf("a process of another start time: %v", err)
	}
	if s := a.Status("web"); s.Pid != web.Pid || s.Run != 1 || !harness.Alive(child) {
		t.Errorf("web is pid %d, run %d", s.Pid, s.Run)
	}
	a.Refused(4, "unknown service", "status", "new")
}

func TestAUserAdoptsHisOwnProcessesOnly(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.As(nobody, nogroup)
	a.Start()
	as := func(uid, gid uint32) func(*exec.Cmd) {
		return func(c *exec.Cmd) {
			c.Dir = "/"
			c.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid, Groups: []uint32{}}
		}
	}
	own := byHand(t, as(nobody, nogroup), "/bin/sleep", "100000")
	adopt(a, own, "mine")
	if s := a.Await("mine", "running"); s.Pid != own {
		t.Errorf("it is pid %d, was %d", s.Pid, own)
	}
	roots := byHand(t, nil, "/bin/sleep", "100000")
	a.Refused(5, "it runs as uid 0", "adopt", fmt.Sprint(roots), "--as", "theirs")
	others := byHand(t, as(1, 1), "/bin/sleep", "100000")
	a.Refused(5, "it runs as uid 1", "adopt", fmt.Sprint(others), "--as", "theirs")
	a.OK("stop", "mine")
	if harness.Alive(own) || !harness.Alive(roots) || !harness.Alive(others) {
		t.Error("the stop of one ended another, or none")
	}
}
