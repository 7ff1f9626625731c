//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// under is a supervisor that runs abide, as `abide boot` tells it to.
type under struct {
	t    *testing.T
	a    *harness.Abide
	line []string // starts the supervisor
	pid  func() int
	pids map[string]int // of the services, which nothing may change
}

// newUnder writes what `abide boot --init INIT` prints below a folder of the test,
// with a program in abide's place that adds the folders of this instance.
func newUnder(t *testing.T, init string) (u *under, dir string) {
	t.Helper()
	a := harness.New(t)
	u = &under{t: t, a: a}
	real := filepath.Join(harness.Bin, "abide")
	stand := a.NewFile("abide", fmt.Sprintf("#!/bin/sh\nif test \"$1\" = daemon; then shift; exec %s %s \"$@\"; fi\nexec %s --run %s \"$@\"\n",
		real, strings.Join(a.DaemonArguments(), " "), real, a.Run), 0o755)
	boot := a.RunCommand(exec.Command(real, "--system", "boot", "--init", init))
	if boot.Code != 0 {
		t.Fatalf("abide boot: exit %d, %s", boot.Code, boot.Err)
	}
	text := strings.ReplaceAll(boot.Out, real, stand)
	dir = filepath.Join(a.Dir, "abide.d")
	if !strings.HasPrefix(text, "==> ") {
		a.NewFile("abide.d/main", text, 0o755)
		return u, dir
	}
	folder := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(text, "==> "), "\n==> ") {
		path, content, _ := strings.Cut(part, " <==\n")
		if folder == "" {
			folder = filepath.Dir(path)
		}
		name, err := filepath.Rel(folder, path)
		harness.Check(t, err)
		a.NewFile(filepath.Join("abide.d", name), content, 0o755)
	}
	return u, dir
}

// start lets the supervisor start abide, with services that nothing may happen to.
func (u *under) start() {
	u.t.Helper()
	sleepers(u.a, 3)
	u.a.Define("speaks", `command = ["/usr/bin/perl", "-e", '$| = 1; while () { print "line ", ++$i, "\n"; select(undef, undef, undef, 0.002) }']`)
	u.a.LaunchUnder(u.line...)
	u.a.AwaitDaemon()
	u.pids = pidsOf(u.t, u.a, []string{"sleeper0", "sleeper1", "sleeper2", "speaks"})
}

// run runs a command of the supervisor.
func (u *under) run(line ...string) string {
	u.t.Helper()
	r := u.a.RunCommand(exec.Command(line[0], line[1:]...))
	if r.Code != 0 {
		u.t.Fatalf("%v: exit %d\n%s%s", line, r.Code, r.Out, r.Err)
	}
	return r.Out
}

// harmless does something to abide's process that the supervisor answers, waits
// until there is another, and looks whether a service has noticed.
func (u *under) harmless(what string, do func()) {
	u.t.Helper()
	old := u.pid()
	do()
	harness.Eventually(u.t, "abide is back after "+what, func() error {
		now := u.pid()
		if now == 0 || now == old || !catchesHUP(now) {
			return fmt.Errorf("its process is %d, was %d", now, old)
		}
		about, err := u.a.About()
		if err == nil && !harness.Alive(about.Keeper) {
			err = fmt.Errorf("keeper %d is dead", about.Keeper)
		}
		return err
	})
	same(u.t, u.a, u.pids)
	if u.t.Failed() {
		u.t.Fatalf("after %s", what)
	}
}

// killed are the deaths that every supervisor has to put up with.
func (u *under) killed() {
	u.t.Helper()
	u.harmless("KILL of its process", func() { harness.Check(u.t, syscall.Kill(u.pid(), syscall.SIGKILL)) })
	u.harmless("KILL of all of abide", func() {
		about, err := u.a.About()
		harness.Check(u.t, err)
		pids := []int{u.pid(), about.Keeper, about.Pid}
		for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
			for _, pid := range pids {
				_ = syscall.Kill(pid, signal)
			}
		}
	})
	u.harmless("KILL of the supervisor", func() {
		// It loses its child, and the next one starts another.
		harness.Check(u.t, syscall.Kill(u.a.DaemonPid(), syscall.SIGKILL))
		u.a.DaemonExit()
		u.a.LaunchUnder(u.line...)
	})
}

// end checks that order, given to the supervisor, stops everything, and that no
// line of the whole story is lost or doubled.
func (u *under) end(what string, order func()) {
	u.t.Helper()
	u.a.Define("late", `command = ["/bin/sleep", "100000"]`)
	harness.Check(u.t, syscall.Kill(u.pid(), syscall.SIGHUP))
	u.a.AwaitStatus("late", "has come with HUP", running)
	order()
	u.a.Gone("")
	text, err := os.ReadFile(filepath.Join(u.a.Log, "speaks", "current"))
	harness.Check(u.t, err)
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if !strings.HasSuffix(line, fmt.Sprintf(" out line %d\n", n)) {
			u.t.Fatalf("%s: line %d of the log is %q", what, n, line)
		}
	}
	if n < 10 {
		u.t.Errorf("the log has %d lines only", n)
	}
}

// catchesHUP tells whether a process has come so far that a signal means something
// to it, proc_pid_status(5).
func catchesHUP(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, mask, _ := strings.Cut(string(text), "SigCgt:")
	caught, err := strconv.ParseUint(strings.TrimSpace(strings.SplitN(mask, "\n", 2)[0]), 16, 64)
	return err == nil && caught&1 != 0
}

func number(text string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(text))
	return n
}

func TestUnderRunit(t *testing.T) {
	t.Parallel()
	u, dir := newUnder(t, "runit")
	u.line = []string{"runsv", dir}
	u.pid = func() int {
		text, _ := os.ReadFile(filepath.Join(dir, "supervise", "pid"))
		return number(string(text))
	}
	u.start()
	u.harmless("sv restart", func() { u.run("sv", "restart", dir) })
	u.killed()
	u.harmless("sv force-restart", func() { u.run("sv", "force-restart", dir) })
	u.end("the end of runsv", func() {
		harness.Check(t, syscall.Kill(u.a.DaemonPid(), syscall.SIGTERM))
		u.a.DaemonExit()
	})
}

func TestUnderS6(t *testing.T) {
	t.Parallel()
	u, dir := newUnder(t, "s6")
	u.line = []string{"s6-supervise", dir}
	u.pid = func() int {
		r := u.a.RunCommand(exec.Command("s6-svstat", "-o", "pid", dir))
		return number(r.Out)
	}
	u.start()
	u.harmless("s6-svc -r", func() { u.run("s6-svc", "-r", dir) })
	u.killed()
	u.harmless("s6-svc -k", func() { u.run("s6-svc", "-k", dir) })
	u.end("s6-svc -d", func() { u.run("s6-svc", "-wD", "-d", "-T", "30000", dir) })
	// Its order to be there again is one, and so is the end of the supervisor.
	u.run("s6-svc", "-wu", "-u", "-T", "30000", dir)
	u.a.AwaitStatus("late", "runs again", running)
	harness.Check(t, syscall.Kill(u.a.DaemonPid(), syscall.SIGTERM))
	u.a.DaemonExit()
	u.a.Gone("")
}

func TestUnderSupervisord(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		t.Run(fmt.Sprintf("group=%v", group), func(t *testing.T) {
			t.Parallel()
			u, dir := newUnder(t, "supervisord")
			main, err := os.ReadFile(filepath.Join(dir, "main"))
			harness.Check(t, err)
			socket := filepath.Join(u.a.Dir, "supervisor.sock")
			text := fmt.Sprintf("[supervisord]\nnodaemon=true\npidfile=%[1]s/pid\nlogfile=%[1]s/supervisord.log\n[unix_http_server]\nfile=%[2]s\n"+
				"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n%[3]s", u.a.Dir, socket, main)
			if group {
				text += "stopasgroup=true\nkillasgroup=true\n"
			}
			conf := u.a.NewFile("supervisord.conf", text, 0o644)
			control := []string{"supervisorctl", "-s", "unix://" + socket}
			u.line = []string{"supervisord", "-c", conf}
			u.pid = func() int {
				if children := harness.Children(u.a.DaemonPid()); len(children) == 1 {
					return children[0]
				}
				return 0
			}
			u.start()
			u.harmless("supervisorctl restart", func() { u.run(append(control, "restart", "abide")...) })
			if !group {
				u.killed()
			}
			// It cannot tell a stop from a restart: abide's own order ends it for good.
			u.end("abide shutdown", func() { u.a.OK("shutdown") })
			harness.Eventually(t, "abide stays ended", func() error {
				if r := u.a.RunCommand(exec.Command(control[0], append(slices.Clone(control[1:]), "status", "abide")...)); !strings.Contains(r.Out, "EXITED") {
					return fmt.Errorf("supervisord says %s", r.Out)
				}
				return nil
			})
		})
	}
}

func TestTheSystemdUnitIsSound(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	boot := a.RunCommand(exec.Command(filepath.Join(harness.Bin, "abide"), "--system", "boot", "--init", "systemd"))
	unit := a.NewFile("abide.service", boot.Out, 0o644)
	c := exec.Command("systemd-analyze", "verify", "--man=no", unit)
	c.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+a.Dir)
	if r := a.RunCommand(c); r.Code != 0 || r.Out+r.Err != "" {
		t.Errorf("systemd-analyze: exit %d\n%s%s\n%s", r.Code, r.Out, r.Err, boot.Out)
	}
}
