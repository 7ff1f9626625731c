//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

func TestEveryExampleIsFreeOfFindings(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	for _, path := range []string{"services", "project/abide.toml", "procfile/Procfile"} {
		a.OK("check", filepath.Join(harness.Root, "examples", path))
	}
}

func TestWishesOutliveADaemon(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	for _, name := range []string{"disabled", "held", "enabled"} {
		a.Define(name, sleeper)
	}
	a.Define("off", sleeper+"enabled = false\n")
	check := a.Healthy()
	a.Start()
	for _, name := range []string{"disabled", "held", "enabled"} {
		a.Await(name, "running")
	}
	a.OK("disable", "--now", "disabled")
	a.OK("stop", "held")
	a.OK("enable", "--now", "off")
	a.Await("off", "running")
	for _, name := range []string{"disabled", "held"} {
		a.NothingOf(name)
	}
	check()
	a.OK("shutdown")
	if code := a.DaemonExit(); code != 0 {
		t.Errorf("after shutdown the daemon exits %d, want 0", code)
	}
	a.NothingOf("")

	// The next daemon in the same boot: disable and enable are kept, and so is a
	// stop, which lasts until a reboot.
	a.Start()
	a.Await("enabled", "running")
	a.Await("off", "running")
	if s := a.Status("disabled"); s.State != "disabled" || s.Enabled {
		t.Errorf("what was disabled is %s, enabled %v", s.State, s.Enabled)
	}
	if s := a.Status("held"); s.Pid != 0 {
		t.Errorf("what was stopped by hand is %s with pid %d", s.State, s.Pid)
	}
	// Disabled means that nothing starts it but an operator.
	a.OK("start", "disabled")
	a.Await("disabled", "running")
}

func TestPauseFreezesAndResumeLetsGo(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	file := filepath.Join(a.Dir, "count")
	a.Define("counts", fmt.Sprintf("command = \"while :; do echo x >>%s; sleep 0.01; done\"\nshell = true\n", file))
	a.Start()
	a.Await("counts", "running")
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	grows := func() {
		t.Helper()
		before := size()
		harness.Eventually(t, "it counts", func() error {
			if now := size(); now <= before {
				return fmt.Errorf("the file has %d bytes, had %d", now, before)
			}
			return nil
		})
	}
	grows()
	a.OK("pause", "counts")
	paused := a.AwaitStatus("counts", "is paused", func(s client.Status) bool { return s.Paused })
	before := size()
	// Nothing can be waited for where nothing is to happen; ten of its steps
	// pass here.
	time.Sleep(100 * time.Millisecond)
	if now := size(); now != before {
		t.Errorf("a paused program went on from %d to %d bytes", before, now)
	}
	a.OK("resume", "counts")
	grows()
	if s := a.Status("counts"); s.Paused || s.Pid != paused.Pid {
		t.Errorf("after resume: paused %v, pid %d, was %d", s.Paused, s.Pid, paused.Pid)
	}
	// What is paused can be stopped.
	a.OK("pause", "counts")
	a.OK("stop", "counts")
	a.NothingOf("counts")
}

func TestSignalReachesTheProgram(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("listens", "command = \"trap 'echo got USR1' USR1; echo ready; while :; do sleep 0.02; done\"\nshell = true\n")
	a.Start()
	a.Await("listens", "running")
	a.AwaitLogged("listens", "ready")
	a.OK("signal", "USR1", "listens")
	a.AwaitLogged("listens", "got USR1")
	a.Refused(2, "BANANA", "signal", "BANANA", "listens")
	a.OK("stop", "listens")
	a.Refused(3, "", "signal", "USR1", "listens")
}

func TestRunPassesOutputAndCodeOn(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Start()
	for _, c := range []struct {
		command []string
		code    int
		out     string
	}{
		{[]string{"/bin/echo", "said once"}, 0, "said once"},
		{[]string{"/bin/sh", "-c", "exit 7"}, 7, ""},
		{[]string{"/bin/sh", "-c", "kill -KILL $$"}, 137, ""},
		{[]string{"/nonexistent/program"}, 127, ""},
		{[]string{"/etc/passwd"}, 126, ""},
	} {
		r := a.Do(append([]string{"run", "--wait", "--"}, c.command...)...)
		if r.Code != c.code {
			t.Errorf("run of %v exits %d, want %d: %s%s", c.command, r.Code, c.code, r.Out, r.Err)
		}
		harness.Contains(t, r.Out, c.out)
	}
	a.NothingOf("")
}

func TestStartTellsWhenTheProgramEndsAtOnce(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Define("ends", "command = \"echo its last words; exit 9\"\nshell = true\nenabled = false\n")
	a.Start()
	r := a.Refused(1, "its last words", "start", "ends")
	harness.Contains(t, r.Out+r.Err, "9")
	a.OK("stop", "ends")
	check()
}

// Every change comes once and in order, also across the death of the engine.
func TestEventsCanBeFollowed(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", sleeper)
	a.Start()
	a.Await("web", "running")
	follow := a.Command("abide", "--run", a.Run, "events", "-f", "--json", "--since", "0")
	out, err := follow.StdoutPipe()
	harness.Check(t, err)
	harness.Check(t, follow.Start())
	t.Cleanup(func() {
		follow.Process.Kill()
		follow.Wait()
	})
	seen := make(chan client.Event, 1000)
	go func() {
		defer close(seen)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e client.Event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				seen <- e
			}
		}
	}()
	last := uint64(0)
	await := func(run uint64, kind string) {
		t.Helper()
		for deadline := time.After(harness.Patience); ; {
			select {
			case e, ok := <-seen:
				if !ok {
					t.Fatal("the stream of events has ended")
				}
				if last != 0 && e.Cursor != last+1 {
					t.Errorf("event %d follows event %d", e.Cursor, last)
				}
				last = e.Cursor
				if e.Service == "web" && e.Run == run && e.Kind == kind {
					return
				}
			case <-deadline:
				t.Fatalf("no event tells of %s in run %d", kind, run)
			}
		}
	}
	await(1, "spawn")
	before := a.KillService("web")
	await(1, "exit")
	await(2, "spawn")
	harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
	engine(t, a)
	harness.Check(t, syscall.Kill(before.Pid, syscall.SIGKILL))
	await(2, "exit")
	await(3, "spawn")
}

func TestLogCanBeFollowed(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	gate := newGate(t, a, "speaks", "")
	a.Define("speaks", fmt.Sprintf("command = \"echo the first line; while read word <%s; do echo $word; done\"\nshell = true\n", gate.path))
	a.Start()
	a.AwaitLogged("speaks", "the first line")
	follow := a.Command("abide", "--run", a.Run, "log", "-f", "speaks")
	out, err := follow.StdoutPipe()
	harness.Check(t, err)
	harness.Check(t, follow.Start())
	t.Cleanup(func() {
		follow.Process.Kill()
		follow.Wait()
	})
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	await := func(text string) {
		t.Helper()
		select {
		case line := <-lines:
			if !strings.Contains(line, text) {
				t.Errorf("the line %q came, want %q", line, text)
			}
		case <-time.After(harness.Patience):
			t.Fatalf("no line says %q", text)
		}
	}
	await("the first line")
	for _, word := range []string{"second", "third"} {
		harness.Check(t, os.WriteFile(gate.path, []byte(word+"\n"), 0))
		await(word)
	}
}
