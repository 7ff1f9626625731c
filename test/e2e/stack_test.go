//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// stack is the system of examples/stack on ports of its own.
type stack struct {
	*harness.Abide
	front int
}

// newStack copies the example into the instance's folder: the definitions from to
// the folder to, what they name to the folder beside.
func newStack(t *testing.T, from, to, beside string) stack {
	t.Helper()
	s := stack{Abide: harness.New(t)}
	ports := map[string]int{}
	for _, port := range []string{"15432", "16379", "18000", "18080"} {
		ports[port] = harness.FreePort(t)
	}
	s.front = ports["18080"]
	copyFile := func(from, to string) {
		data, err := os.ReadFile(from)
		harness.Check(t, err)
		text := string(data)
		for port, mine := range ports {
			text = strings.ReplaceAll(text, port, fmt.Sprint(mine))
		}
		s.Write(to, strings.ReplaceAll(text, "\"shop-", fmt.Sprintf("\"%s-shop-", filepath.Base(s.Dir))))
	}
	example := filepath.Join(harness.Root, "examples", "stack")
	for _, name := range []string{"web.py", "migrate.sql", "nginx.conf"} {
		copyFile(filepath.Join(example, name), filepath.Join(s.Dir, beside, name))
	}
	files, err := filepath.Glob(filepath.Join(example, from))
	harness.Check(t, err)
	for _, file := range files {
		copyFile(file, filepath.Join(s.Dir, to, filepath.Base(file)))
	}
	return s
}

// order places an order through the whole stack.
func (s stack) order() error {
	c := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/", s.front))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || !strings.Contains(string(body), "order")) {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return err
}

// works is order, said to the test.
func (s stack) works(when string) {
	s.T.Helper()
	harness.Eventually(s.T, "an order is placed "+when, s.order)
}

// first is when a kind of event with this text was first told of a service after a cursor.
func (s stack) first(service, text string, after uint64) (cursor uint64) {
	s.T.Helper()
	for line := range strings.Lines(s.OK("events", "--json", "--since", fmt.Sprint(after))) {
		var ev client.Event
		harness.Check(s.T, json.Unmarshal([]byte(line), &ev))
		if ev.Service == service && strings.Contains(ev.Text, text) {
			return ev.Cursor
		}
	}
	s.T.Fatalf("nothing is told of %s: %s\n%s", service, text, s.OK("events"))
	return 0
}

func (s stack) cursor() uint64 {
	about, err := s.About()
	harness.Check(s.T, err)
	return about.Cursor
}

// story lets each member of the stack be lost and come back.
func (s stack) story() {
	t := s.T
	s.Await("shop", "running")
	s.works("at the start")
	for _, pair := range [][2]string{{"postgres", "migrate"}, {"migrate", "web"}, {"redis", "web"}, {"web", "nginx"}} {
		ready := "says it is ready"
		if pair[0] == "migrate" {
			ready = "ended with success"
		}
		if up, next := s.first(pair[0], ready, 0), s.first(pair[1], "started, pid", 0); up > next {
			t.Errorf("%s was started before %s was ready", pair[1], pair[0])
		}
	}
	pids := func() map[string]int {
		out := map[string]int{}
		for _, name := range []string{"postgres", "redis", "web", "nginx"} {
			out[name] = s.Status(name).Pid
		}
		return out
	}
	changed := func(before map[string]int) (names []string) {
		for name, pid := range pids() {
			if pid != before[name] {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	// What a member takes down with it is what its edges say, and nothing else.
	for _, c := range []struct{ kill, changes string }{
		{"nginx", "nginx"}, {"web", "web"}, {"redis", "redis web"}, {"postgres", "postgres"},
	} {
		before := pids()
		s.KillService(c.kill)
		for _, name := range []string{"postgres", "redis", "web", "nginx"} {
			s.AwaitStatus(name, "is up after "+c.kill+" was killed", func(s client.Status) bool {
				return (s.State == "running" || s.State == "degraded") && s.Pid > 0 && (s.Pid != before[name] || !strings.Contains(c.changes, name))
			})
		}
		if got := strings.Join(changed(before), " "); got != c.changes {
			t.Errorf("after %s was killed there are new processes of %q, want %q", c.kill, got, c.changes)
		}
		s.works("after " + c.kill + " was killed")
	}

	// Who stops the database stops what needs it, and the task that is done stays done.
	at := s.cursor()
	s.OK("stop", "postgres")
	for _, name := range []string{"web", "nginx", "shop"} {
		s.Await(name, "waiting")
	}
	if status := s.Status("migrate").State; status != "finished" {
		t.Errorf("migrate is %s, want finished", status)
	}
	if s.first("nginx", "it waits for what it needs", at) > s.first("web", "it waits for what it needs", at) || s.first("web", "it waits for what it needs", at) > s.first("postgres", "it was stopped", at) {
		t.Errorf("they did not stop in reverse order:\n%s", s.OK("events", "--since", fmt.Sprint(at)))
	}
	why := s.OK("why", "nginx")
	for _, want := range []string{"requires web: which is waiting", "requires postgres: stopped by uid", "stop by uid"} {
		harness.Contains(t, why, want)
	}
	harness.Contains(t, s.OK("why", "postgres"), "down because of it: nginx, shop, web")
	s.OK("start", "postgres")
	s.Await("shop", "running")
	s.works("after postgres was started again")

	harness.Contains(t, s.OK("graph"), "migrate")
	harness.Contains(t, s.OK("graph", "--dot"), "digraph")
	if out := s.OK("plan"); strings.Contains(out, "restart") {
		t.Errorf("nothing was changed, and the plan is\n%s", out)
	}
	if lines := strings.Count(s.OK("history", "web"), "\n"); lines < 4 {
		t.Errorf("history tells %d lines of web", lines)
	}

	// An engine that dies changes nothing.
	before := pids()
	about, err := s.About()
	harness.Check(t, err)
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
	s.Await("shop", "running")
	if names := changed(before); len(names) > 0 {
		t.Errorf("after the engine was killed there are new processes of %v", names)
	}
	s.works("after the engine was killed")
}

func TestAWholeSystemComesUpInOrderAndSurvivesEachLoss(t *testing.T) {
	t.Parallel()
	s := newStack(t, "system/*.toml", "services", "")
	t.Cleanup(func() {
		left, _ := filepath.Glob("/var/lib/" + filepath.Base(s.Dir) + "-shop-*")
		for _, dir := range left {
			os.RemoveAll(dir)
		}
	})
	s.Start()
	s.story()
	s.OK("shutdown")
	if code := s.DaemonExit(); code != 0 {
		t.Errorf("after the shutdown abide exits %d, want 0", code)
	}
	s.NothingOf("")
}

func TestAWholeSystemAsAPlainUsersProject(t *testing.T) {
	t.Parallel()
	s := newStack(t, "abide.toml", "project", "project")
	s.As(nobody, nogroup)
	up := s.Command("abide", "up", "-d")
	up.Dir = filepath.Join(s.Dir, "project")
	if r := s.RunCommand(up); r.Code != 0 {
		t.Fatalf("abide up -d exits %d: %s%s", r.Code, r.Out, r.Err)
	}
	s.Run = runBelow(t, s.Dir)
	t.Cleanup(func() {
		down := s.Command("abide", "down")
		down.Dir = up.Dir
		s.RunCommand(down)
	})
	s.story()
	down := s.Command("abide", "down")
	down.Dir = up.Dir
	if r := s.RunCommand(down); r.Code != 0 {
		t.Errorf("abide down exits %d: %s%s", r.Code, r.Out, r.Err)
	}
	for _, pid := range harness.Pids() {
		if line := harness.CommandLine(pid); strings.Contains(line, s.Dir+"/") {
			t.Errorf("process %d is left of the project: %s", pid, line)
		}
	}
}

// runBelow is the run directory of the instance that lives somewhere in a folder.
func runBelow(t *testing.T, dir string) (run string) {
	t.Helper()
	harness.Check(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == "control.sock" {
			run = filepath.Dir(path)
		}
		return err
	}))
	return run
}
