//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// copiesOf are the living copies of a template.
func copiesOf(t *testing.T, a *harness.Abide, base string) []string {
	t.Helper()
	c, err := a.Client()
	harness.Check(t, err)
	defer c.Close()
	list, err := c.Status(t.Context())
	harness.Check(t, err)
	var names []string
	for _, s := range list {
		if s.Service == base && s.Pid > 0 {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestScaleIsKeptInTheStateFolder(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web@", sleepFor(1001)+"scale = 2\n")
	a.Define("single", sleeper)
	a.Define("named@", sleeper+"instances = [\"a\", \"b\"]\n")
	check := a.Healthy()
	a.Start()
	for _, name := range []string{"web@1", "web@2", "named@a"} {
		a.Await(name, "running")
	}
	first := a.Status("web@1").Pid
	copies := func(what string, want ...string) {
		t.Helper()
		if got := copiesOf(t, a, "web"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	out := planned(a.OK("scale", "web", "4"))
	if len(out) != 3 || out[0] != "web: scaled to 4" || !strings.HasPrefix(out[1], "web@3: running, pid ") || !strings.HasPrefix(out[2], "web@4: running, pid ") {
		t.Errorf("scale up: %q", out)
	}
	copies("scaled up", "web@1", "web@2", "web@3", "web@4")
	a.OK("apply")
	copies("after apply", "web@1", "web@2", "web@3", "web@4")
	killEngine(t, a)
	copies("after the engine's death", "web@1", "web@2", "web@3", "web@4")
	if s := a.Status("web@1"); s.Pid != first {
		t.Errorf("web@1 has pid %d, had %d", s.Pid, first)
	}
	harness.Contains(t, a.OK("show", "web@1"), "# scale = 4  # state folder: abide scale web, by uid 0 at ")
	if entries, err := os.ReadDir(a.Services); err != nil || len(entries) != 4 {
		t.Errorf("the definition folder has %d entries, %v", len(entries), err)
	}
	expectLines(t, "scale down", planned(a.OK("scale", "web", "1")), "web: scaled to 1", "web@4: stopped", "web@3: stopped", "web@2: stopped")
	copies("scaled down", "web@1")
	a.NothingOf("web@4")

	a.OK("shutdown")
	a.DaemonExit()
	harness.Check(t, os.RemoveAll(a.Run))
	a.Start()
	a.Await("web@1", "running")
	copies("after a reboot", "web@1")
	a.OK("scale", "web", "0")
	copies("scaled to nothing")
	out = planned(a.OK("scale", "web", "--reset"))
	if len(out) != 3 || out[0] != "web: scaled to 2, as its file says" {
		t.Errorf("reset: %q", out)
	}
	copies("reset", "web@1", "web@2")
	// Now the file counts again.
	a.Define("web@", sleepFor(1001)+"scale = 3\n")
	a.OK("apply")
	a.Await("web@3", "running")

	r := a.Refused(1, "cannot scale single: it is one service, not a template", "scale", "single", "2")
	harness.Contains(t, r.Err, "mv "+filepath.Join(a.Services, "single.toml")+" "+filepath.Join(a.Services, "single@.toml"))
	a.Refused(1, "its instances have names (a, b)", "scale", "named", "3")
	a.Refused(4, "unknown service", "scale", "nobody", "3")
	a.Refused(2, "is not between 0 and 10000", "scale", "web", "10001")
	a.Refused(2, "it needs the number of copies", "scale", "web")
	a.Refused(2, "want a number from 0", "scale", "web", "many")
	copies("after what was refused", "web@1", "web@2", "web@3")
	check()
}
