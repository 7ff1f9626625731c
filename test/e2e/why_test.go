//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

func TestWhyTellsWhatHappenedAcrossEngines(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", "command = [\"/bin/sleep\", \"100000\"]\n"+atOnce)
	a.Start()
	before := a.Await("web", "running")
	harness.Check(t, syscall.Kill(before.Pid, syscall.SIGSEGV))
	after := a.AwaitNext(before)
	about, err := a.About()
	harness.Check(t, err)
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
	a.AwaitStatus("web", "is seen by the next engine", running)

	out := a.OK("why", "web")
	crash := strings.Index(out, fmt.Sprintf("web[%d]: killed by SEGV", before.Run))
	start := strings.Index(out, fmt.Sprintf("-> start run %d", after.Run))
	pid := strings.Index(out, fmt.Sprintf("web[%d]: started, pid %d", after.Run, after.Pid))
	if crash < 0 || start < crash || pid < start {
		t.Errorf("want the crash, the decision to start run %d and its pid %d, in this order:\n%s", after.Run, after.Pid, out)
	}
	a.OK("stop", "web")
	harness.Contains(t, a.OK("why", "web"), "stop by uid 0")
	var w client.Why
	harness.Check(t, json.Unmarshal([]byte(a.OK("why", "web", "--json")), &w))
	if w.State != "stopped" || len(w.Chain) < 3 || w.Chain[0].Kind != "operator" {
		t.Errorf("the stop is explained as %+v", w)
	}
	a.Refused(4, "unknown service", "why", "nothing")
}

func TestHistoryTellsEachRun(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("brief", "shell = true\ncommand = \"perl -e '$x = q(a) x 30_000_000; 1 for 1..3_000_000'; exit 3\"\nenabled = false\n")
	a.Start()
	a.Do("start", "--once", "brief")
	a.AwaitStatus("brief", "has ended", func(s client.Status) bool { return s.LastExit != nil && s.Pid == 0 })
	a.Do("start", "--once", "brief")
	a.AwaitStatus("brief", "has ended again", func(s client.Status) bool { return s.LastExit != nil && s.LastExit.Run == 2 })
	var runs []client.PastRun
	harness.Check(t, json.Unmarshal([]byte(a.OK("history", "brief", "--json")), &runs))
	if len(runs) != 2 {
		t.Fatalf("history tells %d runs, want 2: %+v", len(runs), runs)
	}
	for _, r := range runs {
		if r.Exit == nil || r.Exit.Code == nil || *r.Exit.Code != 3 || r.Pid == 0 || !r.End.After(r.Start) || r.Cause != "it was asked to start" {
			t.Errorf("run %d is told as %+v, exit %+v", r.Run, r, r.Exit)
		}
		// What the shell waited for counts.
		if r.CPU < 1e6 || r.PeakMemory < 30e6 {
			t.Errorf("run %d used %d ns and %d bytes, which is less than it did", r.Run, r.CPU, r.PeakMemory)
		}
	}
	if lines := strings.Split(strings.TrimSpace(a.OK("history", "-n", "1", "brief")), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "2 ") {
		t.Errorf("the last run alone is shown as %q", lines)
	}
}

// What a stranger may and may not do is decided by his uid, and each attempt is on
// record.
func TestEachAttemptOfAnotherUserIsOnRecord(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("mine", "command = [\"/bin/sleep\", \"100000\"]\n"+atOnce)
	a.Define("shared", "command = [\"/bin/sleep\", \"100000\"]\n[operators]\nrestart = [\"user:daemon\"]\n[ready]\nafter = \"1ms\"\n")
	a.Start()
	a.Await("mine", "running")
	a.Await("shared", "running")
	harness.Check(t, exec.Command("chmod", "755", a.Dir, a.Run).Run())
	for _, attempt := range []struct {
		code int
		line string
	}{
		{5, "stop mine"}, {5, "stop shared"}, {0, "restart shared"}, {5, "log mine"}, {5, "show shared"},
		{5, "apply"}, {5, "shutdown"}, {5, "events"},
	} {
		if r := as(a, 1, strings.Fields(attempt.line)...); r.Code != attempt.code {
			t.Errorf("abide %s as uid 1 exits %d, want %d: %s%s", attempt.line, r.Code, attempt.code, r.Out, r.Err)
		}
	}
	seen := map[string]int{}
	for line := range strings.Lines(a.OK("events", "--json")) {
		var ev client.Event
		harness.Check(t, json.Unmarshal([]byte(line), &ev))
		if ev.Fields["uid"] == "1" {
			seen[strings.TrimSpace(ev.Service+" "+ev.Fields["verb"]+" "+ev.Fields["result"])]++
		}
	}
	for _, want := range []string{
		"mine stop not-permitted", "shared stop not-permitted", "shared restart accepted", "shared restart done", "mine log not-permitted",
		"shared show not-permitted", "apply not-permitted", "shutdown not-permitted", "events not-permitted",
	} {
		if seen[want] != 1 {
			t.Errorf("%q is on record %d times, want once: %v", want, seen[want], seen)
		}
	}
}
