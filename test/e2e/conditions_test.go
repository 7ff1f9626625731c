//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

func awaitCondition(a *harness.Abide, name, text string) {
	a.T.Helper()
	a.AwaitStatus(name, "waits for "+text, func(s client.Status) bool {
		return s.State == "waiting" && len(s.WaitingFor) == 1 && s.WaitingFor[0] == "condition: "+text
	})
}

func TestAServiceStartsWhenThePathItWaitsForAppears(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	conf, lock := filepath.Join(a.Dir, "etc", "shop.conf"), filepath.Join(a.Dir, "etc", "lock")
	a.Define("shop", fmt.Sprintf("command = \"/bin/sleep 1000\"\nbefore_start = \"/bin/true\"\n[conditions]\npath_exists = %q\npath_missing = %q\n", conf, lock))
	a.Start()
	awaitCondition(a, "shop", conf+" does not exist")
	harness.Check(t, os.Mkdir(filepath.Dir(conf), 0o755))
	harness.Check(t, os.WriteFile(lock, nil, 0o644))
	killEngine(t, a)
	harness.Check(t, os.WriteFile(conf, nil, 0o644))
	awaitCondition(a, "shop", lock+" exists")
	harness.Check(t, os.Remove(lock))
	st := a.Await("shop", "running")
	// What becomes of it later is no matter of its.
	harness.Check(t, os.Remove(conf))
	harness.Check(t, syscall.Kill(st.Pid, syscall.SIGKILL))
	awaitCondition(a, "shop", conf+" does not exist")
}

func TestUnmetConditionsAreToldAndTriedAgainWhenAsked(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Env = append(a.Env, "STAGE=test")
	host, err := os.Hostname()
	harness.Check(t, err)
	wait := func(name, condition, text string) func() {
		a.Define(name, "command = \"/bin/sleep 1000\"\n[conditions]\n"+condition+"\n")
		return func() { awaitCondition(a, name, text) }
	}
	checks := []func(){
		wait("host", "host = \"other\"", fmt.Sprintf("the host is called %s, not other", host)),
		wait("stage", "environment = \"STAGE=live\"", "of abide's environment: STAGE has another value or none"),
		wait("user", "user = \"nobody\"", "abide does not run as nobody"),
	}
	a.Define("all", fmt.Sprintf("command = \"/bin/sleep 1000\"\n[conditions]\nhost = %q\nkernel = \">= 3\"\nenvironment = \"STAGE=test\"\nuser = \"root\"\n", host))
	a.Start()
	a.Await("all", "running")
	for _, check := range checks {
		check()
	}
	a.Define("user", "command = \"/bin/sleep 1000\"\n[conditions]\nuser = \"0\"\n")
	a.OK("apply")
	a.Await("user", "running")
	r := a.Do("start", "--timeout", "1s", "host")
	if r.Code == 0 {
		t.Error("start of what waits for a condition succeeds")
	}
	a.OK("stop", "host")
	a.Await("host", "stopped")
}
