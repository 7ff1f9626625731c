//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// gated is a service that is not ready before a test opens its gate.
type gated struct {
	a    *harness.Abide
	gate string
	done string // exists once the sign was given
}

// newGated defines a program that runs give, a shell script, when the gate opens.
func newGated(a *harness.Abide, give, ready string) gated {
	g := gated{a, filepath.Join(a.Dir, "gate"), filepath.Join(a.Dir, "given")}
	harness.Check(a.T, syscall.Mkfifo(g.gate, 0o666))
	script := fmt.Sprintf("read -r word <%s; %s\ntouch %s; exec sleep 100000", g.gate, give, g.done)
	a.Define("web", fmt.Sprintf("command = ['/bin/sh', '-c', '''%s''']\n[ready]\n%s\n", script, ready))
	return g
}

// open opens the gate and waits until the program has given its sign.
func (g gated) open() {
	g.a.T.Helper()
	f, err := os.OpenFile(g.gate, os.O_WRONLY, 0)
	harness.Check(g.a.T, err)
	_, err = f.WriteString("go\n")
	harness.Check(g.a.T, err)
	harness.Check(g.a.T, f.Close())
	harness.Eventually(g.a.T, "the sign is given", func() error {
		_, err := os.Stat(g.done)
		return err
	})
}

func TestEachSignOfReadinessIsSeen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ give, ready string }{
		"descriptor": {`printf "on my way" >&3; echo >&3`, `fd = 3`},
		"line":       {`printf "listening "; echo "on 80" 1>&2; printf "on 80\n"`, `log = '^listening on [0-9]+$'`},
		"file":       {`touch DIR/dir/ready`, `file = "DIR/dir/ready"`},
		"command":    {`touch DIR/dir/well`, `exec = ["/usr/bin/test", "-e", "DIR/dir/well"]`},
		"socket":     {`python3 -c "import socket, time; s = socket.create_server((\"127.0.0.1\", PORT)); time.sleep(1000)" &`, `tcp = "127.0.0.1:PORT"`},
		"page":       {`python3 -m http.server --bind 127.0.0.1 PORT >/dev/null 2>&1 &`, `http = "http://127.0.0.1:PORT/"`},
	} {
		for _, death := range []string{"no engine dies", "the engine dies before", "the engine dies between the sign and its reading", "everything dies"} {
			t.Run(name+" and "+death, func(t *testing.T) {
				t.Parallel()
				a := harness.New(t)
				port := fmt.Sprint(harness.FreePort(t))
				fill := strings.NewReplacer("DIR", a.Dir, "PORT", port, "python3", "/usr/bin/python3").Replace
				harness.Check(t, os.Mkdir(filepath.Join(a.Dir, "dir"), 0o755))
				g := newGated(a, fill(c.give), fill(c.ready))
				a.Start()
				before := a.AwaitStatus("web", "waits for its sign", func(s client.Status) bool { return s.State == "starting" && s.Pid > 0 })
				if !strings.HasPrefix(before.Why, "not ready yet: ") {
					t.Errorf("while it starts status says %q", before.Why)
				}
				switch death {
				case "the engine dies before":
					harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
					g.open()
				case "the engine dies between the sign and its reading":
					pid := engine(t, a)
					harness.Check(t, syscall.Kill(pid, syscall.SIGSTOP))
					g.open()
					harness.Check(t, syscall.Kill(pid, syscall.SIGKILL))
				case "everything dies":
					pids := []int{a.DaemonPid(), engine(t, a)}
					for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
						for _, pid := range pids {
							harness.Check(t, syscall.Kill(pid, signal))
						}
					}
					a.DaemonExit()
					g.open()
					a.Start()
				default:
					g.open()
				}
				after := a.Await("web", "running")
				if after.Pid != before.Pid || after.Run != before.Run {
					t.Errorf("it was pid %d, run %d and is pid %d, run %d", before.Pid, before.Run, after.Pid, after.Run)
				}
				left, err := filepath.Glob(filepath.Join(a.Run, "services", "web", "*.ready"))
				if err != nil || len(left) != 0 {
					t.Errorf("%v is left (%v)", left, err)
				}
			})
		}
	}
}

// s6's own tool speaks to the descriptor as it would to s6-supervise.
func TestAClientOfS6IsUnderstood(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	well := filepath.Join(a.Dir, "well")
	a.NewFile("data/check", "#!/bin/sh\ntest -e "+well+"\n", 0o755)
	// It wants to see the folder of s6-supervise, which holds a lock there.
	harness.Check(t, exec.Command("s6-mkfifodir", filepath.Join(a.Dir, "event")).Run())
	lock, err := os.Create(a.NewFile("supervise/lock", "", 0o644))
	harness.Check(t, err)
	defer lock.Close()
	harness.Check(t, syscall.FcntlFlock(lock.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK}))
	a.Define("web", fmt.Sprintf("command = [\"/usr/bin/s6-notifyoncheck\", \"-3\", \"5\", \"-w\", \"50\", \"-n\", \"0\", \"/bin/sleep\", \"100000\"]\ndirectory = %q\n[ready]\nfd = 5\n", a.Dir))
	a.Start()
	before := a.AwaitStatus("web", "starts", func(s client.Status) bool { return s.State == "starting" && s.Pid > 0 })
	harness.Check(t, os.WriteFile(well, nil, 0o644))
	if after := a.Await("web", "running"); after.Pid != before.Pid {
		t.Errorf("it was pid %d and is pid %d", before.Pid, after.Pid)
	}
}

func TestAProgramThatIsNotReadyInTimeIsEndedAndItsReasonSaid(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	port := harness.FreePort(t)
	a.Define("web", fmt.Sprintf("command = [\"/bin/sleep\", \"100000\"]\n[restart]\nwhen = \"never\"\n[ready]\ntcp = \"127.0.0.1:%d\"\ntimeout = \"300ms\"\n", port))
	a.Start()
	a.Await("web", "failed")
	harness.Contains(t, a.OK("events"), fmt.Sprintf("not ready: tcp 127.0.0.1:%d: connection refused", port))
	a.NothingOf("web")
}

func TestAFileOfTheLastRunIsNoSign(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	file := filepath.Join(a.Dir, "ready")
	harness.Check(t, os.WriteFile(file, nil, 0o644))
	a.Define("web", fmt.Sprintf("command = [\"/bin/sleep\", \"100000\"]\n[ready]\nfile = %q\n", file))
	a.Start()
	a.AwaitStatus("web", "starts", func(s client.Status) bool { return s.State == "starting" && s.Pid > 0 })
	harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
	a.AwaitDaemon()
	a.Await("web", "starting")
	now := time.Now()
	harness.Check(t, os.Chtimes(file, now, now))
	a.Await("web", "running")
}

func TestADescriptorThatIsClosedWithoutANewlineIsSaid(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("web", "command = ['/bin/sh', '-c', 'exec 4>&-; exec sleep 100000']\n[ready]\nfd = 4\n")
	a.Start()
	harness.Eventually(t, "it is said", func() error {
		if s := a.Status("web"); !strings.Contains(s.Why, "descriptor 4 was closed without a newline") || s.State != "starting" {
			return fmt.Errorf("it is %s: %s", s.State, s.Why)
		}
		return nil
	})
}

// The programs of the first part, each by the sign that it has.
func TestRealProgramsAreReadyByTheirOwnSigns(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	redis := harness.FreePort(t)
	data := filepath.Join(a.Dir, "redis")
	owned(t, data, "redis", 0o750)
	conf := a.NewFile("redis.conf", fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\n", redis, data), 0o644)
	a.Example("redis.toml", fmt.Sprintf("command = [\"/usr/bin/redis-server\", %q, \"--daemonize\", \"no\", \"--supervised\", \"no\", \"--logfile\", \"\"]\ndirectory = %q\n[ready]\ntcp = \"127.0.0.1:%d\"\n", conf, data, redis))
	p, _ := nginx(t, a, "[ready]\nhttp = \"http://127.0.0.1:PORT/\"\n")
	drop := filepath.Join(a.Dir, "services", "nginx.toml.d")
	rewrite(t, drop, "PORT", fmt.Sprint(p.port))
	python := harness.FreePort(t)
	a.Example("python-web.toml", fmt.Sprintf("command = [\"/usr/bin/python3\", \"-u\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"%d\"]\n[ready]\nlog = '^Serving HTTP on 127\\.0\\.0\\.1'\n", python))
	a.Start()
	for name, port := range map[string]int{"redis": redis, "nginx": p.port, "python-web": python} {
		a.Await(name, "running")
		// Who is ready answers at once.
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("%s is running and does not answer: %v", name, err)
			continue
		}
		c.Close()
	}
}

// rewrite replaces a word in all files of a folder.
func rewrite(t *testing.T, dir, word, by string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	harness.Check(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		harness.Check(t, err)
		harness.Check(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), word, by)), 0o644))
	}
}
