//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// project is a copy of one of the example projects, with a port of its own, and
// a user who runs it.
type project struct {
	a    *harness.Abide
	dir  string
	port int
}

func newProject(t *testing.T, example, file, port string) project {
	t.Helper()
	a := harness.New(t)
	p := project{a, filepath.Join(a.Dir, "examples", example), harness.FreePort(t)}
	for _, name := range []string{"ticker.sh", "web/server.py", filepath.Join(example, file)} {
		from := filepath.Join(harness.Root, "examples", name)
		text, err := os.ReadFile(from)
		harness.Check(t, err)
		info, err := os.Stat(from)
		harness.Check(t, err)
		text = []byte(strings.ReplaceAll(string(text), port, strconv.Itoa(p.port)))
		a.NewFile(filepath.Join("examples", name), string(text), info.Mode().Perm())
	}
	a.As(nobody, nogroup)
	return p
}

// command is an abide verb as it is typed in the project's folder.
func (p project) command(arguments ...string) *exec.Cmd {
	c := p.a.Command("abide", arguments...)
	c.Dir = p.dir
	return c
}

// up starts `abide up` and waits until the project's server answers.
func (p project) up(t *testing.T) (c *exec.Cmd, output func() string) {
	t.Helper()
	path := filepath.Join(p.a.Dir, "up")
	file, err := os.Create(path)
	harness.Check(t, err)
	t.Cleanup(func() { file.Close() })
	output = func() string {
		text, err := os.ReadFile(path)
		harness.Check(t, err)
		return string(text)
	}
	c = p.command("up")
	c.Stdout, c.Stderr = file, file
	harness.Check(t, c.Start())
	t.Cleanup(func() {
		if c.ProcessState == nil {
			c.Process.Kill()
			c.Wait()
		}
		if t.Failed() {
			t.Logf("up said:\n%s", output())
		}
	})
	harness.Eventually(t, "the project answers", says(p.port, "hello from python"))
	return c, output
}

// processes are all that run in the project's folder or for it.
func (p project) processes() (lines []string) {
	for _, pid := range harness.Pids() {
		dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if line := harness.CommandLine(pid); pid != os.Getpid() && harness.Alive(pid) && (strings.HasPrefix(dir, p.dir) || strings.Contains(line, p.a.Dir)) {
			lines = append(lines, fmt.Sprintf("%d %s", pid, line))
		}
	}
	return lines
}

func (p project) gone(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "nothing of the project is left", func() error {
		if left := p.processes(); len(left) > 0 {
			return fmt.Errorf("these are: %s", strings.Join(left, "; "))
		}
		return nil
	})
	harness.PortFree(t, p.port)
}

func TestUpRunsAProjectUntilInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ example, file, port, says string }{
		{"project", "abide.toml", "8010", "the project is up"},
		{"procfile", "Procfile", "8020", "tick 1"},
	} {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, c.example, c.file, c.port)
			up, output := p.up(t)
			harness.Eventually(t, "the output of all is shown", func() error {
				for _, text := range []string{"listening on", "tick 1", c.says, "web", "worker"} {
					if !strings.Contains(output(), text) {
						return fmt.Errorf("%q is not", text)
					}
				}
				return nil
			})
			harness.Check(t, up.Process.Signal(syscall.SIGINT))
			if err := up.Wait(); err != nil {
				t.Errorf("after an interrupt up ends with %v", err)
			}
			p.gone(t)
			if left, _ := filepath.Glob(filepath.Join(p.dir, "*")); len(left) != 1 {
				t.Errorf("up has written into the project: %v", left)
			}
		})
	}
}

func TestUpInTheBackgroundUntilDown(t *testing.T) {
	t.Parallel()
	p := newProject(t, "project", "abide.toml", "8010")
	if r := p.a.RunCommand(p.command("up", "-d")); r.Code != 0 {
		t.Fatalf("up -d exits %d: %s%s", r.Code, r.Out, r.Err)
	}
	harness.Eventually(t, "the project answers", says(p.port, "hello from python"))
	r := p.a.RunCommand(p.command("status"))
	for _, text := range []string{"web", "worker", "once", "finished"} {
		harness.Contains(t, r.Out, text)
	}
	harness.Eventually(t, "the project's log can be read", func() error {
		if r := p.a.RunCommand(p.command("log")); !strings.Contains(r.Out, "tick 1") {
			return fmt.Errorf("exit %d, %s%s", r.Code, r.Out, r.Err)
		}
		return nil
	})
	if r := p.a.RunCommand(p.command("down")); r.Code != 0 {
		t.Errorf("down exits %d: %s%s", r.Code, r.Out, r.Err)
	}
	p.gone(t)
	if r := p.a.RunCommand(p.command("status")); r.Code != 6 {
		t.Errorf("status after down exits %d, want 6: %s%s", r.Code, r.Out, r.Err)
	}
}

func TestServicesEndWithTheUpThatIsKilled(t *testing.T) {
	t.Parallel()
	p := newProject(t, "project", "abide.toml", "8010")
	up, _ := p.up(t)
	harness.Check(t, up.Process.Kill())
	up.Wait()
	p.gone(t)
}
