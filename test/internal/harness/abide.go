package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
)

// Patience bounds every wait. It is generous: nothing is asserted about speed.
const Patience = 30 * time.Second

// Abide is one instance of abide with folders of its own.
type Abide struct {
	T        testing.TB
	Dir      string // everything of the test
	Services string // the definitions
	Run      string
	State    string
	Log      string

	// Env is added to the environment of the daemon and of every command.
	Env []string
	// Account, if not nil, is whom the daemon and the commands run as.
	Account *syscall.Credential
	// Wrap stands before the daemon's command line: "unshare", "setpriv".
	Wrap []string
	// Limits, if not nil, is called with the daemon's pid before it is let run.
	Limits func(pid int)
	// Program is the folder of the programs, Bin unless set.
	Program string

	daemon *exec.Cmd
	output *os.File
	ended  chan struct{} // closed when the daemon's process has ended
	id     string
}

// New makes the folders of an instance. Nothing runs yet. When the test ends,
// the daemon is stopped, and it is an error if anything of it still lives.
func New(t testing.TB) *Abide {
	t.Helper()
	// Not t.TempDir: its name is too long for a socket below it, and its parent
	// is closed to other users.
	dir, err := os.MkdirTemp("", "abide-e2e-")
	Check(t, err)
	Check(t, os.Chmod(dir, 0o755))
	a := &Abide{T: t, Dir: dir, Services: filepath.Join(dir, "services"), Run: filepath.Join(dir, "run"),
		State: filepath.Join(dir, "state"), Log: filepath.Join(dir, "log"), Program: Bin}
	Check(t, os.Mkdir(a.Services, 0o755))
	a.output, err = os.Create(filepath.Join(dir, "output"))
	Check(t, err)
	t.Cleanup(a.cleanUp)
	return a
}

// As makes the daemon and its commands run as another user, who then owns all
// folders.
func (a *Abide) As(uid, gid int) {
	a.T.Helper()
	a.Account = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}
	a.Env = append(a.Env, "HOME="+a.Dir, "XDG_RUNTIME_DIR="+a.Dir, "XDG_STATE_HOME="+a.Dir, "XDG_CONFIG_HOME="+a.Dir)
	Check(a.T, filepath.Walk(a.Dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	}))
}

func (a *Abide) cleanUp() {
	if a.T.Failed() {
		a.tell()
	}
	a.StopDaemon()
	for _, p := range a.Processes("") {
		a.T.Errorf("process %d (%s) of %s is left behind", p.Pid, p.Command, p.Service)
		syscall.Kill(p.Pid, syscall.SIGKILL)
	}
	a.output.Close()
	if !a.T.Failed() || os.Getenv("ABIDE_KEEP") == "" {
		os.RemoveAll(a.Dir)
	}
}

// tell prints what helps to understand a failure.
func (a *Abide) tell() {
	a.T.Logf("the daemon said:\n%s", tail(a.Output(), 4000))
	for _, arguments := range [][]string{{"status"}, {"events"}} {
		if a.alive() {
			r := a.Do(arguments...)
			a.T.Logf("abide %s:\n%s%s", arguments[0], tail(r.Out, 6000), r.Err)
		}
	}
}

func tail(text string, size int) string {
	if len(text) > size {
		return "..." + text[len(text)-size:]
	}
	return text
}

// Define writes a definition NAME.toml.
func (a *Abide) Define(name, text string) {
	a.T.Helper()
	path := filepath.Join(a.Services, name+".toml")
	a.Write(path, text)
}

// Write writes a file for the account of the instance.
func (a *Abide) Write(path, text string) {
	a.T.Helper()
	Check(a.T, os.MkdirAll(filepath.Dir(path), 0o755))
	Check(a.T, os.WriteFile(path, []byte(text), 0o644))
	if a.Account != nil {
		Check(a.T, os.Chown(path, int(a.Account.Uid), int(a.Account.Gid)))
	}
}

// Example copies a definition from examples/services, so that a test runs what
// is shown to people, and adds a drop-in with what must differ in a test.
func (a *Abide) Example(file, dropIn string) {
	a.T.Helper()
	text, err := os.ReadFile(filepath.Join(Root, "examples", "services", file))
	Check(a.T, err)
	a.Write(filepath.Join(a.Services, file), string(text))
	if dropIn != "" {
		a.Write(filepath.Join(a.Services, file+".d", "test.toml"), dropIn)
	}
}

// Command is a command line of abide's own as this instance runs it.
func (a *Abide) Command(program string, arguments ...string) *exec.Cmd {
	line := append(append([]string(nil), a.Wrap...), filepath.Join(a.Program, program))
	line = append(line, arguments...)
	return a.command(line)
}

func (a *Abide) command(line []string) *exec.Cmd {
	c := exec.Command(line[0], line[1:]...)
	c.Dir = a.Dir
	c.Env = append(os.Environ(), a.Env...)
	if a.Account != nil {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: a.Account}
	}
	return c
}

// DaemonArguments are those of `abide daemon` with this instance's folders.
func (a *Abide) DaemonArguments() []string {
	return []string{"daemon", "--config", a.Services, "--run", a.Run, "--state", a.State, "--log", a.Log}
}

// Start starts the daemon and returns when it answers.
func (a *Abide) Start(arguments ...string) {
	a.T.Helper()
	a.Launch(append(a.DaemonArguments(), arguments...)...)
	a.AwaitDaemon()
}

// Launch starts abide with these arguments as this instance's daemon.
func (a *Abide) Launch(arguments ...string) {
	a.T.Helper()
	a.launch(a.Command("abide", arguments...))
}

// LaunchUnder starts another supervisor that is to start this instance; it is then
// what DaemonPid, DaemonExit and StopDaemon are about.
func (a *Abide) LaunchUnder(line ...string) {
	a.T.Helper()
	a.launch(a.command(line))
}

func (a *Abide) launch(daemon *exec.Cmd) {
	a.T.Helper()
	a.daemon = daemon
	a.daemon.Stdout, a.daemon.Stderr = a.output, a.output
	Check(a.T, a.daemon.Start())
	if a.Limits != nil {
		a.Limits(a.daemon.Process.Pid)
	}
	a.ended = make(chan struct{})
	go func(c *exec.Cmd, ended chan struct{}) {
		c.Wait()
		close(ended)
	}(a.daemon, a.ended)
}

// AwaitDaemon returns when the daemon answers.
func (a *Abide) AwaitDaemon() {
	a.T.Helper()
	Eventually(a.T, "abide answers", func() error {
		if !a.alive() {
			return Final(fmt.Errorf("the daemon ended: %s", a.Output()))
		}
		_, err := a.About()
		return err
	})
	id, err := os.ReadFile(filepath.Join(a.Run, "id"))
	Check(a.T, err)
	a.id = strings.TrimSpace(string(id))
}

func (a *Abide) alive() bool {
	if a.daemon == nil {
		return false
	}
	select {
	case <-a.ended:
		return false
	default:
		return true
	}
}

// DaemonPid is the pid of the process that was started as the daemon.
func (a *Abide) DaemonPid() int { return a.daemon.Process.Pid }

// DaemonExit waits for the end of the daemon and returns its exit code, 128 and
// the signal if it died of one.
func (a *Abide) DaemonExit() int {
	a.T.Helper()
	select {
	case <-a.ended:
	case <-time.After(Patience):
		a.T.Fatalf("the daemon does not end; it said:\n%s", a.Output())
	}
	return exitCode(a.daemon.ProcessState)
}

func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// StopDaemon tells the daemon to end, with all its services, and waits for it.
func (a *Abide) StopDaemon() {
	if !a.alive() {
		return
	}
	a.daemon.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.ended:
	case <-time.After(Patience):
		a.T.Errorf("the daemon does not end at SIGTERM; it said:\n%s", tail(a.Output(), 4000))
		a.daemon.Process.Kill()
		<-a.ended
	}
}

// Output is what the daemon has printed so far.
func (a *Abide) Output() string {
	data, err := os.ReadFile(a.output.Name())
	Check(a.T, err)
	return string(data)
}

// Client connects to the instance.
func (a *Abide) Client() (*client.Client, error) { return client.Dial(a.Run) }

// About asks the instance for itself.
func (a *Abide) About() (client.About, error) {
	c, err := a.Client()
	if err != nil {
		return client.About{}, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return c.About(ctx)
}

// Result is what a command did.
type Result struct {
	Code     int
	Out, Err string
}

// Do runs one verb of the command line against the instance.
func (a *Abide) Do(arguments ...string) Result {
	a.T.Helper()
	return a.RunCommand(a.command(append([]string{filepath.Join(a.Program, "abide"), "--run", a.Run}, arguments...)))
}

// RunCommand runs a command to its end.
func (a *Abide) RunCommand(c *exec.Cmd) Result {
	a.T.Helper()
	var out, errout bytes.Buffer
	c.Stdout, c.Stderr = &out, &errout
	c.WaitDelay = time.Second
	Check(a.T, c.Start())
	timer := time.AfterFunc(2*Patience, func() { c.Process.Kill() })
	err := c.Wait()
	if !timer.Stop() {
		a.T.Fatalf("%v does not end", c.Args)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		a.T.Fatalf("cannot run %v: %v", c.Args, err)
	}
	return Result{exitCode(c.ProcessState), out.String(), errout.String()}
}

// OK runs a verb that must succeed, and returns what it printed.
func (a *Abide) OK(arguments ...string) string {
	a.T.Helper()
	r := a.Do(arguments...)
	if r.Code != 0 {
		a.T.Fatalf("abide %s: exit %d\n%s%s", strings.Join(arguments, " "), r.Code, r.Out, r.Err)
	}
	return r.Out
}

// Refused runs a verb that must end with a code and say something.
func (a *Abide) Refused(code int, says string, arguments ...string) Result {
	a.T.Helper()
	r := a.Do(arguments...)
	if r.Code != code {
		a.T.Errorf("abide %s: exit %d, want %d\n%s%s", strings.Join(arguments, " "), r.Code, code, r.Out, r.Err)
	}
	Contains(a.T, r.Out+r.Err, says)
	return r
}

// Status asks for one service through the command line.
func (a *Abide) Status(name string) client.Status {
	a.T.Helper()
	r := a.Do("status", "--json", name)
	var list []client.Status
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil || len(list) != 1 {
		a.T.Fatalf("abide status --json %s: %v, %d services, exit %d\n%s%s", name, err, len(list), r.Code, r.Out, r.Err)
	}
	return list[0]
}

// Peek asks for one service on a connection, which is quicker than a command.
func (a *Abide) Peek(name string) (client.Status, error) {
	c, err := a.Client()
	if err != nil {
		return client.Status{}, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	list, err := c.Status(ctx, name)
	if err != nil {
		return client.Status{}, err
	}
	if len(list) != 1 {
		return client.Status{}, fmt.Errorf("%d services are called %s", len(list), name)
	}
	return list[0], nil
}

// Await waits until a service is in a state, with `abide wait`.
func (a *Abide) Await(name, state string) client.Status {
	a.T.Helper()
	a.OK("wait", "--timeout", Patience.String(), "--for", state, name)
	return a.Status(name)
}

// AwaitStatus waits until a service is as the function wants it.
func (a *Abide) AwaitStatus(name, what string, is func(client.Status) bool) client.Status {
	a.T.Helper()
	var last client.Status
	Eventually(a.T, name+" "+what, func() error {
		var err error
		if last, err = a.Peek(name); err != nil {
			return err
		}
		if !is(last) {
			return fmt.Errorf("it is %s, pid %d, run %d, %d restarts, last exit %s", last.State, last.Pid, last.Run, last.Restarts, Describe(last.LastExit))
		}
		return nil
	})
	return last
}

// AwaitNext waits until a service runs again, as a later run than before.
func (a *Abide) AwaitNext(before client.Status) client.Status {
	a.T.Helper()
	return a.AwaitStatus(before.Name, "runs again", func(s client.Status) bool {
		return s.State == "running" && s.Run > before.Run && s.Pid != before.Pid
	})
}

// Describe puts an exit into a few words.
func Describe(e *client.Exit) string {
	switch {
	case e == nil:
		return "none"
	case e.Unknown:
		return "unknown"
	case e.Signal != nil:
		return *e.Signal
	case e.Code != nil:
		return fmt.Sprint(*e.Code)
	default:
		return "neither code nor signal"
	}
}

// KillService sends SIGKILL to a service's main process and waits for the next run.
func (a *Abide) KillService(name string) client.Status {
	a.T.Helper()
	before := a.AwaitStatus(name, "runs", func(s client.Status) bool { return s.State == "running" && s.Pid > 0 })
	Check(a.T, syscall.Kill(before.Pid, syscall.SIGKILL))
	return a.AwaitNext(before)
}

// Logged returns what a service has written, as `abide log` prints it.
func (a *Abide) Logged(name string) string {
	a.T.Helper()
	return a.OK("log", "-n", "100000", name)
}

// AwaitLogged waits until a service's log contains a text.
func (a *Abide) AwaitLogged(name, text string) {
	a.T.Helper()
	Eventually(a.T, name+" has logged "+text, func() error {
		if r := a.Do("log", "-n", "100000", name); !strings.Contains(r.Out, text) {
			return fmt.Errorf("its log is: %s%s", tail(r.Out, 2000), r.Err)
		}
		return nil
	})
}

// Healthy defines a service that must not be touched by what happens to others,
// and returns a function that checks it.
func (a *Abide) Healthy() (check func()) {
	a.Define("healthy", `command = ["/bin/sleep", "100000"]`)
	return func() {
		a.T.Helper()
		s := a.AwaitStatus("healthy", "runs", func(s client.Status) bool { return s.State == "running" })
		if s.Run != 1 || s.Restarts != 0 || s.LastExit != nil {
			a.T.Errorf("the healthy service is in run %d after %d restarts, last exit %s", s.Run, s.Restarts, Describe(s.LastExit))
		}
		if err := syscall.Kill(s.Pid, 0); err != nil {
			a.T.Errorf("the healthy service's process %d: %v", s.Pid, err)
		}
	}
}

// Check fails the test at an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Contains is an error if a text does not contain another.
func Contains(t testing.TB, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("nothing says %q in:\n%s", want, text)
	}
}

// final is an error that no waiting will mend.
type final struct{ error }

// Final marks an error that ends an Eventually at once.
func Final(err error) error { return final{err} }

// Eventually calls is until it returns no error.
func Eventually(t testing.TB, what string, is func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := is()
		if err == nil {
			return
		}
		var end final
		if errors.As(err, &end) || time.Now().After(deadline) {
			t.Fatalf("it does not come true that %s: %v", what, err)
		}
		time.Sleep(pause)
	}
}

// ReadAll returns what is left in r as text.
func ReadAll(t testing.TB, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	Check(t, err)
	return string(data)
}
