//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// Services that can never start are named with the reason, and all others run.
func TestWhatCannotBeOrderedIsRefusedAndTheRestRuns(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	sleep := "command = [\"/usr/bin/sleep\", \"1000\"]\n"
	a.Define("db", sleep)
	a.Define("web", sleep+requires("db"))
	a.Define("hard", sleep+requires("postgre"))
	a.Define("self", sleep+requires("self"))
	a.Define("a", sleep+requires("b"))
	a.Define("b", sleep+"after = [\"c\"]\n")
	a.Define("c", sleep+"wants = [\"a\"]\n")
	a.Define("hub", sleep+requires("copy"))
	a.Define("copy@", sleep+"scale = 2\nwants = [\"hub\"]\n")
	a.Define("plain", sleep)
	a.Define("plain@", sleep+"scale = 1\n")
	a.Start()
	a.Await("web", "running")
	for _, says := range []string{
		"hard.toml:2:13: error: cannot find postgre that requires names: there is no such service",
		"self.toml:2:13: error: cannot use self in requires: a service cannot depend on itself",
		"a.toml:2:13: error: cannot order a: dependency cycle a requires b (",
		"copy@.toml:3:10: error: cannot order copy@1: dependency cycle copy@1 wants hub (",
		"plain@.toml:1:1: error: cannot define plain@ beside plain",
	} {
		harness.Contains(t, a.Do("apply").Err+a.Output(), says)
	}
	a.Refused(1, "b after c (", "check", a.Services)
	if r := a.Do("status", "a"); r.Code == 0 {
		t.Errorf("a service on a cycle is said to be well:\n%s", r.Out)
	}

	// What runs is left alone when its file joins a circle, and comes along when
	// the circle is cut.
	before := a.Status("db")
	a.Define("db", sleep+requires("web"))
	a.Refused(1, "cannot order db: dependency cycle db requires web (", "apply")
	for _, name := range []string{"db", "web"} {
		if s := a.Await(name, "running"); name == "db" && s.Pid != before.Pid {
			t.Errorf("the circle moved %s from pid %d to %d", name, before.Pid, s.Pid)
		}
	}
	for _, name := range []string{"db", "hard", "self", "c", "hub", "plain@"} {
		harness.Check(t, os.Remove(filepath.Join(a.Services, name+".toml")))
	}
	a.Define("db", sleep)
	a.OK("apply")
	for _, name := range []string{"a", "b", "copy@1", "copy@2", "plain", "db", "web"} {
		a.Await(name, "running")
	}
}
