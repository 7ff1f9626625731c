//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/test/internal/harness"
)

const sleeper = "command = [\"/bin/sleep\", \"100000\"]\n"

// What cannot be started says why, with the value, and nothing else stops
// working.
func TestWhatCannotBeStartedSaysWhy(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	secret := a.NewFile("secret", "TOKEN=do-not-show\n", 0o600)
	fifo, link := filepath.Join(a.Dir, "fifo.env"), filepath.Join(a.Dir, "link.env")
	harness.Check(t, unix.Mkfifo(fifo, 0o600))
	harness.Check(t, os.Symlink(secret, link))
	notAProgram := a.NewFile("not-a-program", "no head line\n\x00\x01", 0o755)
	noInterpreter := a.NewFile("no-interpreter", "#!/nonexistent/interpreter\n", 0o755)
	badVariables := a.NewFile("bad.env", "GOOD=1\nthis is no variable: do-not-show\n", 0o600)

	for _, c := range []struct {
		name, text string
		says       []string
	}{
		{"missing-program", `command = ["/nonexistent/program"]`, []string{"/nonexistent/program", "does not exist"}},
		{"not-in-path", `command = ["no-such-program-anywhere"]`, []string{"no-such-program-anywhere", "/usr/local/sbin"}},
		{"not-executable", `command = ["/etc/passwd"]`, []string{"/etc/passwd", "not executable"}},
		{"a-folder", `command = ["/etc"]`, []string{"/etc"}},
		{"not-a-program", fmt.Sprintf("command = [%q]", notAProgram), []string{notAProgram, "neither a binary nor a script"}},
		{"no-interpreter", fmt.Sprintf("command = [%q]", noInterpreter), []string{noInterpreter, "interpreter /nonexistent/interpreter", "does not exist"}},
		{"wrong-user", sleeper + `user = "no-such-user"`, []string{"no-such-user"}},
		{"wrong-group", sleeper + `group = "no-such-group"`, []string{"no-such-group"}},
		{"no-directory", sleeper + `directory = "/nonexistent/folder"`, []string{"/nonexistent/folder", "no such file or directory"}},
		{"no-chroot", sleeper + `chroot = "/nonexistent/root"`, []string{"/nonexistent/root", "no such file or directory"}},
		{"no-env-file", sleeper + `environment_files = ["/nonexistent/env"]`, []string{"/nonexistent/env", "no such file or directory"}},
		{"env-file-fifo", sleeper + fmt.Sprintf("environment_files = [%q]", fifo), []string{fifo, "regular file"}},
		{"env-file-link", sleeper + fmt.Sprintf("environment_files = [%q]", link), []string{link, "symbolic link"}},
		{"env-file-bad", sleeper + fmt.Sprintf("environment_files = [%q]", badVariables), []string{badVariables, "line 2"}},
		{"unset-variable", `command = ["/bin/echo", "${NO_SUCH_VARIABLE}"]`, []string{"NO_SUCH_VARIABLE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.Define(c.name, c.text+"\nenabled = false\n")
			if !started(a) {
				a.Start()
			}
			a.OK("apply")
			r := a.Do("start", c.name)
			if r.Code != 1 {
				t.Errorf("start exits %d, want 1", r.Code)
			}
			said := r.Out + r.Err
			for _, text := range c.says {
				if !strings.Contains(said, text) {
					t.Errorf("nothing says %q in:\n%s", text, said)
				}
			}
			if strings.Contains(said, "do-not-show") {
				t.Errorf("a file of variables is quoted:\n%s", said)
			}
			s := a.Status(c.name)
			if s.Pid != 0 || s.State == "running" {
				t.Errorf("it is %s with pid %d", s.State, s.Pid)
			}
			a.OK("stop", c.name)
			check()
		})
	}
}

func started(a *harness.Abide) bool {
	_, err := a.About()
	return err == nil
}

// What is wrong in a file is told with its place, before anything runs and
// without disturbing what does.
func TestWhatIsWrongInAFileIsToldWithItsPlace(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Start()
	for _, c := range []struct {
		name, text, place string
		says              []string
	}{
		{"syntax", "command = [\"/bin/true\"", "1:", nil},
		{"twice", sleeper + sleeper, "2:", nil},
		{"typo", "comand = \"/bin/true\"\n", "1:1", []string{"comand", "command"}},
		{"habit", "ExecStart = \"/bin/true\"\n", "1:1", []string{"ExecStart", "command"}},
		{"misplaced", sleeper + "[stop]\ntimeout = \"1s\"\nuser = \"daemon\"\n", "4:1", []string{"user", "above the first [table], line 2"}},
		{"bare-duration", sleeper + "[stop]\ntimeout = 10\n", "3:", []string{"timeout"}},
		{"bad-signal", sleeper + "[stop]\nsignal = \"BANANA\"\n", "3:", []string{"BANANA"}},
		{"wrong-type", "command = 5\n", "1:", []string{"command"}},
		{"shell-operator", "command = \"/bin/true | /bin/cat\"\n", "1:", []string{"shell = true"}},
		{"no-command", "description = \"nothing\"\n", "", []string{"command"}},
		{"later", sleeper + "capabilities = [\"net_bind_service\"]\n", "2:1", []string{"capabilities"}},
		{"needs-itself", sleeper + "requires = [\"needs-itself\"]\n", "2:13", []string{"cannot depend on itself"}},
		{"bad-rlimit", sleeper + "[rlimits]\nnofiles = 5\n", "3:1", []string{"nofiles", "nofile"}},
		{"not-utf8", "command = \"/bin/\xff\xfe\"\n", "1:", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.Define(c.name, c.text)
			path := filepath.Join(a.Services, c.name+".toml")
			defer os.Remove(path)
			r := a.Refused(1, c.name+".toml:"+c.place, "check", path)
			for _, text := range c.says {
				harness.Contains(t, r.Out+r.Err, text)
			}
			r = a.Do("apply")
			if r.Code != 1 {
				t.Errorf("apply exits %d with a broken file, want 1", r.Code)
			}
			harness.Contains(t, r.Out+r.Err, c.name+".toml")
			check()
		})
	}
	a.OK("apply")
}

// A broken file keeps what runs running, as it was defined before.
func TestABrokenFileKeepsTheRunningDefinition(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Define("web", sleeper)
	a.Start()
	before := a.Await("web", "running")
	a.Define("web", "command = [\n")
	a.Refused(1, "web.toml:", "apply")
	a.Refused(0, "web.toml:1:", "start", "web") // it runs already, and is told about the file
	if s := a.Status("web"); s.Pid != before.Pid {
		t.Errorf("a broken file changed pid %d to %d", before.Pid, s.Pid)
	}
	after := a.KillService("web")
	if after.Run != before.Run+1 {
		t.Errorf("it is in run %d, was in %d", after.Run, before.Run)
	}
	check()
}

func TestBadNamesAreRefused(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	bad := []string{"has blank.toml", "-dash.toml", strings.Repeat("n", 129) + ".toml", "per%cent.toml", ".hidden.toml"}
	for _, name := range bad {
		a.Write(filepath.Join(a.Services, name), sleeper)
	}
	a.Write(filepath.Join(a.Services, "abide.toml"), sleeper)
	a.Start()
	check()
	r := a.Do("check", a.Services)
	if r.Code != 1 {
		t.Errorf("check of bad names exits %d, want 1", r.Code)
	}
	for _, name := range []string{"has blank", "-dash", strings.Repeat("n", 129), "per%cent"} {
		harness.Contains(t, r.Out+r.Err, name)
	}
	out := a.OK("status", "--json")
	if n := strings.Count(out, `"name"`); n != 1 {
		t.Errorf("%d services are known, want healthy alone:\n%s", n, out)
	}
	for _, name := range []string{"no-such-service", "has blank", "../healthy", ""} {
		a.Refused(4, "", "stop", name)
	}
	check()
}

// A definition that others may change is a way to become root, and is refused.
func TestADefinitionThatOthersMayWriteIsRefused(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Define("writable", sleeper)
	harness.Check(t, os.Chmod(filepath.Join(a.Services, "writable.toml"), 0o666))
	a.Define("foreign", sleeper)
	harness.Check(t, os.Chown(filepath.Join(a.Services, "foreign.toml"), nobody, nogroup))
	a.Define("linked", sleeper)
	harness.Check(t, os.Remove(filepath.Join(a.Services, "linked.toml")))
	theirs := a.NewFile("theirs.toml", sleeper, 0o644)
	harness.Check(t, os.Chown(theirs, nobody, nogroup))
	harness.Check(t, os.Symlink(theirs, filepath.Join(a.Services, "linked.toml")))
	a.Start()
	check()
	r := a.Refused(1, "", "apply")
	for _, name := range []string{"writable.toml", "foreign.toml", "linked.toml"} {
		harness.Contains(t, r.Out+r.Err, name)
	}
	for _, name := range []string{"writable", "foreign", "linked"} {
		r := a.Do("start", name)
		if r.Code == 0 {
			t.Errorf("%s was started", name)
		}
		a.NothingOf(name)
	}

	// The same of a folder above it: nothing in there is believed any more, and
	// what runs goes on.
	harness.Check(t, os.Chmod(a.Services, 0o777))
	a.Refused(1, a.Services, "apply")
	harness.Check(t, os.Chmod(a.Services, 0o755))
	check()
}

func TestTwoDaemonsOnOneRunDirectory(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Start()
	check()
	r := a.RunCommand(a.Command("abide", a.DaemonArguments()...))
	if r.Code != 1 {
		t.Errorf("the second daemon exits %d, want 1", r.Code)
	}
	harness.Contains(t, r.Out+r.Err, a.Run)
	harness.Contains(t, r.Out+r.Err, fmt.Sprint(keeper(t, a)))
	check()
}

func TestTenThousandDefinitions(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	for n := range 10000 {
		harness.Check(t, os.WriteFile(filepath.Join(a.Services, fmt.Sprintf("s%05d.toml", n)), []byte(sleeper+"enabled = false\n"), 0o644))
	}
	a.Start()
	check()
	if n := strings.Count(a.OK("status", "--json"), `"name"`); n != 10001 {
		t.Errorf("%d services are known, want 10001", n)
	}
	a.OK("start", "s09999")
	a.Await("s09999", "running")
	a.OK("apply")
	if s := a.Status("s09999"); s.Run != 1 {
		t.Errorf("an apply without a change restarted a service: run %d", s.Run)
	}
	check()
}

func TestAnEmptyFolderIsNoErrorAndAMissingOneIsNamed(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Start()
	if out := a.OK("status", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("the status of nothing is %q, want an empty list", out)
	}
	// A folder that somebody has named and that is not there is a slip.
	missing := filepath.Join(a.Dir, "missing")
	r := a.RunCommand(a.Command("abide", "daemon", "--config", missing, "--run", filepath.Join(a.Dir, "run2"),
		"--state", filepath.Join(a.Dir, "state2"), "--log", filepath.Join(a.Dir, "log2")))
	if r.Code == 0 {
		t.Error("a daemon with a missing folder of definitions starts")
	}
	harness.Contains(t, r.Out+r.Err, missing+": no such file or directory")
}
