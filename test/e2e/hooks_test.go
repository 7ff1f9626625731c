//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// lines returns what a file has, a line each; nothing if there is no such file.
func lines(path string) []string {
	data, _ := os.ReadFile(path)
	return strings.Fields(string(data))
}

func awaitLines(t testing.TB, path string, want ...string) {
	t.Helper()
	harness.Eventually(t, filepath.Base(path)+" has what was written", func() error {
		if got := lines(path); strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("it has %v, want %v", got, want)
		}
		return nil
	})
}

func TestHooksRunAroundTheirServiceAndTheirOutputIsInItsLog(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	diary := filepath.Join(a.Dir, "diary")
	note := func(word string) string {
		return fmt.Sprintf(`["/bin/sh", "-c", "echo %s ${ABIDE_HOOK} main=$MAINPID; echo %s >> %s"]`, word, word, diary)
	}
	a.Define("web", fmt.Sprintf(`
command = ["/bin/sh", "-c", "echo main >> %s; exec sleep 1000"]
before_start = [%s, %s]
after_start = %s
before_stop = %s
after_stop = ["/bin/sh", "-c", "echo ended $SERVICE_RESULT/$EXIT_CODE/$EXIT_STATUS >> %s"]
`, diary, note("one"), note("two"), note("up"), note("down"), diary))
	a.Start()
	st := a.Await("web", "running")
	awaitLines(t, diary, "one", "two", "main", "up")
	a.OK("stop", "web")
	awaitLines(t, diary, "one", "two", "main", "up", "down", "ended", "success/killed/TERM")
	for _, want := range []string{
		"[1] before_start: one before_start main=\n", "[1] before_start: two before_start main=\n",
		fmt.Sprintf("[1] after_start: up after_start main=%d\n", st.Pid), fmt.Sprintf("[1] before_stop: down before_stop main=%d\n", st.Pid),
	} {
		a.AwaitLogged("web", want)
	}
	a.NothingOf("web")
}

func TestAFailedHookIsNamedWithItsCode(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	migrate := a.NewFile("migrate", "#!/bin/sh\necho no database >&2\nexit 3\n", 0o755)
	a.Define("web", fmt.Sprintf("command = \"/bin/sleep 1000\"\nbefore_start = [%q]\n[restart]\nwhen = \"never\"\n", migrate))
	a.Define("careless", fmt.Sprintf("command = \"/bin/sleep 1000\"\nbefore_start = { command = [%q], ignore_failure = true }\n", migrate))
	a.Define("other", "command = \"/bin/sleep 1000\"\nbefore_start = { command = [\"/usr/bin/id\", \"-un\"], user = \"root\" }\nafter_start = [\"/usr/bin/id\", \"-un\"]\nuser = \"nobody\"\n")
	a.Start()
	st := a.Await("web", "failed")
	if want := fmt.Sprintf("cannot start web: before_start command 1 (%s) exited with code 3", migrate); st.Why != want {
		t.Errorf("why is %q, want %q", st.Why, want)
	}
	a.AwaitLogged("web", " before_start: no database\n")
	a.Await("careless", "running")
	a.Await("other", "running")
	a.AwaitLogged("other", " before_start: root\n")
	a.AwaitLogged("other", " after_start: nobody\n")
}

func TestAHookThatNeverEndsIsEndedWithAllOfIt(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	slow := a.NewFile("slow", "#!/bin/sh\nsetsid sleep 1001 & setsid sleep 1002 &\nsleep 1003\n", 0o755)
	a.Define("late", fmt.Sprintf("command = \"/bin/sleep 1000\"\nbefore_start = { command = [%q], timeout = \"200ms\" }\n[restart]\nwhen = \"never\"\n", slow))
	a.Define("stopped", fmt.Sprintf("command = \"/bin/sleep 1000\"\nbefore_start = [%q]\n", slow))
	a.Start()
	st := a.Await("late", "failed")
	harness.Contains(t, st.Why, "took longer than 200ms")
	a.NothingOf("late/before_start")
	harness.Eventually(t, "the hook runs", func() error {
		if n := len(a.Processes("stopped/before_start")); n < 4 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	})
	a.OK("stop", "stopped")
	a.Await("stopped", "stopped")
	if left := a.Processes(""); len(left) > 0 {
		t.Errorf("of hooks these are left: %v", left)
	}
}

// TestAHookRunsOnceWhenTheEngineIsKilledDuringIt has the hook write that it began,
// wait until it is let go, and write that it ended.
func TestAHookRunsOnceWhenTheEngineIsKilledDuringIt(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	diary, gate := filepath.Join(a.Dir, "diary"), filepath.Join(a.Dir, "gate")
	harness.Check(t, syscall.Mkfifo(gate, 0o666))
	hook := a.NewFile("hook", fmt.Sprintf("#!/bin/sh\necho began >> %s\nread x < %s\necho let go as $x\necho ended >> %s\n", diary, gate, diary), 0o755)
	a.Define("web", fmt.Sprintf("command = \"/bin/sleep 1000\"\nbefore_start = [%q]\nafter_stop = [%q]\n", hook, hook))
	a.Start()
	open := func(word string) { harness.Check(t, os.WriteFile(gate, []byte(word+"\n"), 0)) }
	awaitLines(t, diary, "began")
	killEngine(t, a)
	open("first")
	a.Await("web", "running")
	awaitLines(t, diary, "began", "ended")
	a.AwaitLogged("web", "[1] before_start: let go as first\n")
	if r := a.Do("stop", "--no-wait", "web"); r.Code != 0 {
		t.Fatal(r.Err)
	}
	awaitLines(t, diary, "began", "ended", "began")
	// Its end falls into the absence.
	about, err := a.About()
	harness.Check(t, err)
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
	open("second")
	a.AwaitStatus("web", "stopped", func(s client.Status) bool { return s.State == "stopped" })
	awaitLines(t, diary, "began", "ended", "began", "ended")
	a.AwaitLogged("web", "[1] after_stop: let go as second\n")
}

func TestReloadAndStopCommandsAreLogged(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", `
command = ["/bin/sh", "-c", "trap 'exit 0' USR1; while :; do sleep 1 & wait; done"]
[reload]
command = ["/bin/sh", "-c", "echo reloading $MAINPID"]
[stop]
command = ["/bin/sh", "-c", "echo ending; kill -USR1 $MAINPID"]
`)
	a.Start()
	st := a.Await("web", "running")
	a.OK("reload", "web")
	a.AwaitLogged("web", fmt.Sprintf("[1] reload: reloading %d\n", st.Pid))
	a.OK("stop", "web")
	a.AwaitLogged("web", "[1] stop: ending\n")
}

// TestAHookRunsOnceWhenTheKeeperIsKilledDuringIt has a new keeper take over the command.
func TestAHookRunsOnceWhenTheKeeperIsKilledDuringIt(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	childOf(t, a, reaperPart)
	diary, gate := filepath.Join(a.Dir, "diary"), filepath.Join(a.Dir, "gate")
	harness.Check(t, syscall.Mkfifo(gate, 0o666))
	hook := a.NewFile("hook", fmt.Sprintf("#!/bin/sh\necho began >> %s\nread x < %s\necho let go as $x\necho ended >> %s\n", diary, gate, diary), 0o755)
	a.Define("web", fmt.Sprintf("command = \"/bin/sleep 1000\"\nbefore_start = [%q]\n", hook))
	a.Start()
	awaitLines(t, diary, "began")
	killKeeper(t, a)
	harness.Check(t, os.WriteFile(gate, []byte("late\n"), 0))
	a.Await("web", "running")
	awaitLines(t, diary, "began", "ended")
	a.AwaitLogged("web", "[1] before_start: let go as late\n")
	if st := a.Status("web"); st.Run != 1 {
		t.Errorf("it is run %d", st.Run)
	}
}

func TestAPlainUsersServicesHaveHooksDirectoriesAndCredentials(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.As(12345, 12345)
	source := filepath.Join(a.Dir, "pass")
	a.Write(source, "hunter2\n")
	harness.Check(t, os.Chmod(source, 0o600))
	a.Define("web", fmt.Sprintf(`
command = ["/bin/sh", "-c", "wc -c < $CREDENTIALS_DIRECTORY/db; stat -c %%a ${state_dir}; exec sleep 1000"]
before_start = ["/bin/sh", "-c", "echo hello from $ABIDE_HOOK > ${state_dir}/x"]
after_stop = ["/bin/cat", "${state_dir}/x"]
[directories]
state = "0700"
name = "e2e-web"
[credentials]
db = %q
`, source))
	a.Start()
	a.Await("web", "running")
	a.AwaitLogged("web", "[1] 8\n")
	a.AwaitLogged("web", "[1] 700\n")
	a.OK("stop", "web")
	a.AwaitLogged("web", "[1] after_stop: hello from before_start\n")
	if _, err := os.Stat(filepath.Join(a.Dir, "e2e-web")); err != nil {
		t.Error(err)
	}
}
