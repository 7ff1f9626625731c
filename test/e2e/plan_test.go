//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// planned is what plan prints, without the spaces that make columns.
func planned(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func expectLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPlanShowsWhatApplyDoes(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	for _, name := range []string{"same", "logs", "again", "goes", "breaks"} {
		a.Define(name, sleeper)
	}
	check := a.Healthy()
	a.Start()
	pids := map[string]int{}
	for _, name := range []string{"same", "logs", "again", "goes", "breaks"} {
		pids[name] = a.Await(name, "running").Pid
	}
	expectLines(t, "plan of nothing", planned(a.OK("plan")), "nothing to do")

	// Logs, limits and the restart policy do not end a process; a command does.
	a.Define("logs", sleeper+"[log]\nkeep = 3\n[restart]\ndelay = \"3s\"\n[rlimits]\nnofile = 100\n")
	a.Define("again", sleeper+"environment = { A = \"1\" }\n[log]\nkeep = 3\n")
	a.Define("comes", sleeper)
	a.Define("off", sleeper+"enabled = false\n")
	a.Define("breaks", "command = \n")
	harness.Check(t, os.Remove(filepath.Join(a.Services, "goes.toml")))

	r := a.Refused(1, "", "plan")
	lines := planned(r.Out)
	if len(lines) != 6 || !strings.HasPrefix(lines[5], "broken breaks "+filepath.Join(a.Services, "breaks.toml")+":1:") || !strings.Contains(lines[5], "the definition applied before stays in force") {
		t.Fatalf("plan:\n%s", r.Out)
	}
	expectLines(t, "plan", lines[:5],
		"stop goes its definition is gone",
		"restart again changed: environment, log.keep (applies at once)",
		"change logs changed: restart.delay, log.keep, rlimits",
		"start comes new definition",
		"add off new definition; disabled")
	expectLines(t, "plan of one", planned(a.OK("plan", "logs", "same")), "change logs changed: restart.delay, log.keep, rlimits", "nothing same")
	a.Refused(4, "unknown service", "plan", "nobody")

	var plan client.Plan
	harness.Check(t, json.Unmarshal([]byte(a.Refused(1, "", "plan", "--json").Out), &plan))
	if len(plan.Steps) != 6 || plan.Steps[1].Name != "again" || plan.Steps[1].Action != "restart" || !plan.Steps[1].Keys[0].Restarts || plan.Steps[1].Keys[1].Restarts {
		t.Errorf("plan --json: %+v", plan)
	}
	for name, pid := range pids {
		if s := a.Status(name); s.Pid != pid {
			t.Errorf("a plan did something to %s", name)
		}
	}

	a.Refused(1, "breaks.toml:1:", "apply")
	a.Await("comes", "running")
	a.AwaitStatus("again", "has been restarted", func(s client.Status) bool { return s.State == "running" && s.Pid != pids["again"] })
	for _, name := range []string{"same", "logs", "breaks"} {
		if s := a.Status(name); s.Pid != pids[name] || s.Restarts != 0 {
			t.Errorf("apply did something to %s: pid %d, was %d", name, s.Pid, pids[name])
		}
	}
	a.Gone("goes")
	if s := a.Status("off"); s.Pid != 0 {
		t.Errorf("what is disabled runs: %+v", s)
	}
	a.Define("breaks", sleeper)
	a.OK("apply")
	expectLines(t, "plan after apply", planned(a.OK("plan")), "nothing to do")
	check()
}

func TestOnlyRootAndItsOwnerMayPlanAndApply(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", sleeper)
	a.Start()
	a.Await("web", "running")
	for _, line := range [][]string{{"plan"}, {"apply"}, {"rollback", "web", "1"}, {"scale", "web", "2"}} {
		c := a.Command("abide", append([]string{"--run", a.Run}, line...)...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nogroup}}
		if r := a.RunCommand(c); r.Code != 5 || !strings.Contains(r.Err, "not permitted") {
			t.Errorf("%v as nobody: exit %d, %s%s", line, r.Code, r.Out, r.Err)
		}
	}
}

func TestApplyOfManyUnchangedDefinitionsTouchesNothing(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	for i := range 300 {
		a.Define(fmt.Sprintf("s%03d", i), sleeper+"enabled = false\n")
	}
	a.Define("web", sleeper)
	a.Start()
	pid := a.Await("web", "running").Pid
	expectLines(t, "apply", planned(a.OK("apply")), "nothing has changed")
	a.Define("s150", sleeper+"enabled = false\nnice = 3\n")
	expectLines(t, "apply of one", planned(a.OK("apply")), "s150: changed: nice")
	// An engine that follows knows what is in force, and what the files say.
	killEngine(t, a)
	expectLines(t, "apply by the next engine", planned(a.OK("apply")), "nothing has changed")
	if s := a.Status("web"); s.Pid != pid {
		t.Errorf("web has pid %d, had %d", s.Pid, pid)
	}
}
