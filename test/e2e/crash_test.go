//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// gate is a service that ends with a code when the test says so, without
// anybody else's help: it reads the code from a FIFO.
type gate struct {
	a    *harness.Abide
	name string
	path string
}

func newGate(t *testing.T, a *harness.Abide, name, dropIn string) gate {
	t.Helper()
	g := gate{a, name, filepath.Join(a.Dir, name+".gate")}
	harness.Check(t, unix.Mkfifo(g.path, 0o600))
	a.Define(name, fmt.Sprintf("command = \"read code <%s; exit $code\"\nshell = true\n%s", g.path, dropIn))
	return g
}

// open ends the service with a code. It returns when the process has ended.
func (g gate) open(t *testing.T, pid, code int) {
	t.Helper()
	file, err := os.OpenFile(g.path, os.O_WRONLY, 0)
	harness.Check(t, err)
	fmt.Fprintln(file, code)
	file.Close()
	harness.Eventually(t, "the program has ended", func() error {
		if harness.Alive(pid) {
			return fmt.Errorf("process %d lives", pid)
		}
		return nil
	})
}

// engine and keeper return the pids of the instance's own processes.
func engine(t *testing.T, a *harness.Abide) int {
	t.Helper()
	about, err := a.About()
	harness.Check(t, err)
	return about.Pid
}

func keeper(t *testing.T, a *harness.Abide) int {
	t.Helper()
	about, err := a.About()
	harness.Check(t, err)
	return about.Keeper
}

// sleepers defines services that nothing may ever happen to.
func sleepers(a *harness.Abide, n int) (names []string) {
	for i := range n {
		name := fmt.Sprintf("sleeper%d", i)
		a.Define(name, `command = ["/bin/sleep", "100000"]`)
		names = append(names, name)
	}
	return names
}

func pidsOf(t *testing.T, a *harness.Abide, names []string) map[string]int {
	t.Helper()
	pids := map[string]int{}
	for _, name := range names {
		pids[name] = a.AwaitStatus(name, "runs", running).Pid
	}
	return pids
}

// same checks that services live in the processes that they had, and in no
// others.
func same(t *testing.T, a *harness.Abide, pids map[string]int) {
	t.Helper()
	for name, pid := range pids {
		s := a.AwaitStatus(name, "runs", running)
		if s.Pid != pid || s.Run != 1 || s.Restarts != 0 {
			t.Errorf("%s has pid %d in run %d after %d restarts, want pid %d in run 1", name, s.Pid, s.Run, s.Restarts, pid)
		}
		if copies := a.Processes(name); len(copies) != 1 || copies[0].Pid != pid {
			t.Errorf("%s has the processes %v, want %d alone", name, copies, pid)
		}
	}
}

func TestServicesKeepTheirPidsWhenTheEngineIsKilled(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 5)
	a.Start()
	pids := pidsOf(t, a, names)
	keeperPid := keeper(t, a)
	for range 20 {
		old := engine(t, a)
		harness.Check(t, syscall.Kill(old, syscall.SIGKILL))
		// The control socket never refuses: the next engine answers.
		if now := engine(t, a); now == old {
			t.Fatalf("the engine that was killed, %d, answers", old)
		}
		same(t, a, pids)
	}
	if now := keeper(t, a); now != keeperPid {
		t.Errorf("the keeper's pid is %d, was %d", now, keeperPid)
	}
}

func TestAnExitWithoutAnEngineIsSeenAsItWas(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	codes := newGate(t, a, "codes", "")
	signals := newGate(t, a, "signals", "")
	task := newGate(t, a, "task", "kind = \"task\"\n")
	check := a.Healthy()
	a.Start()
	before := map[string]client.Status{}
	for _, name := range []string{"codes", "signals", "task"} {
		before[name] = a.AwaitStatus(name, "runs", running)
	}
	// A stopped engine can neither see an exit nor react to it.
	old := engine(t, a)
	harness.Check(t, syscall.Kill(old, syscall.SIGSTOP))
	codes.open(t, before["codes"].Pid, 42)
	harness.Check(t, syscall.Kill(before["signals"].Pid, syscall.SIGSEGV))
	task.open(t, before["task"].Pid, 0)
	harness.Check(t, syscall.Kill(old, syscall.SIGKILL))

	for name, want := range map[string]string{"codes": "42", "signals": "SEGV"} {
		s := a.AwaitNext(before[name])
		if got := harness.Describe(s.LastExit); got != want || s.Run != 2 || s.Restarts != 1 {
			t.Errorf("%s: last exit %s, run %d, %d restarts; want %s, run 2, 1 restart", name, got, s.Run, s.Restarts, want)
		}
		if copies := a.Processes(name); len(copies) != 1 {
			t.Errorf("%s has %d processes, want one: %v", name, len(copies), copies)
		}
	}
	if s := a.Await("task", "finished"); s.Run != 1 || harness.Describe(s.LastExit) != "0" {
		t.Errorf("the task is in run %d, last exit %s, want 1 and 0", s.Run, harness.Describe(s.LastExit))
	}
	_ = signals
	check()
}

func TestNoLineIsLostWhenTheEngineIsKilled(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	const lines = 30000
	a.Define("counts", fmt.Sprintf("kind = \"task\"\nenabled = false\nshell = true\ncommand = \"i=0; while [ $i -lt %d ]; do i=$((i + 1)); echo line $i; done\"\n", lines))
	a.Start()
	a.OK("start", "--no-wait", "counts")
	for range 10 {
		harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
		if s, err := a.Peek("counts"); err == nil && s.State == "finished" {
			break
		}
	}
	a.AwaitStatus("counts", "is finished", func(s client.Status) bool { return s.State == "finished" })
	a.AwaitLogged("counts", fmt.Sprintf("line %d\n", lines))
	seen := map[string]int{}
	for line := range strings.Lines(a.OK("log", "-n", "1000000", "counts")) {
		if at := strings.LastIndex(line, "line "); at >= 0 {
			seen[strings.TrimSpace(line[at:])]++
		}
	}
	lost, doubled := 0, 0
	for n := 1; n <= lines; n++ {
		switch times := seen[fmt.Sprintf("line %d", n)]; {
		case times == 0:
			lost++
		case times > 1:
			doubled++
		}
	}
	if lost+doubled > 0 {
		t.Errorf("of %d lines %d are lost and %d doubled", lines, lost, doubled)
	}
}

// killAll ends keeper and engine at the same moment, as far as they can tell.
func killAll(t *testing.T, a *harness.Abide) {
	t.Helper()
	about, err := a.About()
	harness.Check(t, err)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range []int{about.Keeper, about.Pid} {
			harness.Check(t, syscall.Kill(pid, signal))
		}
	}
	harness.Eventually(t, "all of abide is dead", func() error {
		if harness.Alive(about.Keeper) || harness.Alive(about.Pid) {
			return fmt.Errorf("keeper %d or engine %d lives", about.Keeper, about.Pid)
		}
		return nil
	})
	a.DaemonExit()
}

func TestTheNextStartAdoptsWhatAllOfAbideLeftBehind(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 5)
	ended := newGate(t, a, "ended", "")
	task := newGate(t, a, "task", "kind = \"task\"\n")
	a.Define("speaks", "command = \"while :; do echo still here; sleep 0.05; done\"\nshell = true\n")
	a.Start()
	pids := pidsOf(t, a, names)
	gatePid := a.AwaitStatus("ended", "runs", running).Pid
	taskPid := a.AwaitStatus("task", "runs", running).Pid
	speaks := a.AwaitStatus("speaks", "runs", running)

	killAll(t, a)
	for name, pid := range pids {
		if !harness.Alive(pid) {
			t.Fatalf("%s, process %d, died with abide", name, pid)
		}
	}
	ended.open(t, gatePid, 5)
	task.open(t, taskPid, 0)

	a.Start()
	same(t, a, pids)
	if s := a.AwaitStatus("speaks", "runs", running); s.Pid != speaks.Pid {
		t.Errorf("the program that writes to its log has pid %d, had %d", s.Pid, speaks.Pid)
	}
	// An exit that nobody could see is unknown: a daemon is started again, once,
	// and a task is never run twice on a guess.
	s := a.AwaitStatus("ended", "runs again", func(s client.Status) bool { return running(s) && s.Run == 2 })
	if got := harness.Describe(s.LastExit); got != "unknown" {
		t.Errorf("the last exit of what ended unseen is %s, want unknown", got)
	}
	if s := a.AwaitStatus("task", "has failed", func(s client.Status) bool { return s.State == "failed" }); s.Run != 1 {
		t.Errorf("the task that ended unseen is in run %d, want 1", s.Run)
	}
	// What was adopted is looked after as before.
	after := a.KillService(names[0])
	if got := harness.Describe(after.LastExit); got != "KILL" && got != "unknown" {
		t.Errorf("the last exit of an adopted service is %s", got)
	}
	a.OK("stop", "speaks")
	a.NothingOf("speaks")
}

func TestServicesOutliveTheKeeper(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 5)
	a.Start()
	pids := pidsOf(t, a, names)
	old := keeper(t, a)
	harness.Check(t, syscall.Kill(old, syscall.SIGKILL))
	harness.Eventually(t, "there is a new keeper", func() error {
		about, err := a.About()
		if err == nil && (about.Keeper == old || !harness.Alive(about.Keeper)) {
			err = fmt.Errorf("the keeper is %d", about.Keeper)
		}
		return err
	})
	t.Cleanup(func() { a.Do("shutdown") })
	same(t, a, pids)
	a.KillService(names[0])
	a.OK("stop", names[1])
	a.NothingOf(names[1])
	a.OK("shutdown")
	a.Gone("")
}
