//go:build linux

package keeper

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/spawn/prog"
)

// patient is how long a test waits for what must happen.
const patient = 30 * time.Second

// rig is a run directory with a desk at which engines report.
type rig struct {
	t      testing.TB
	dir    string
	desk   *net.UnixListener
	keeper *exec.Cmd
	ended  chan error
	stderr stderrFile
	env    []string
	args   []string   // more options of the keeper
	extra  []*os.File // its descriptors from 3 on
	engine []string
	wrap   []string // a command in front of the keeper's
	attr   *syscall.SysProcAttr
	binary string // the test binary
}

// stderrFile is where every keeper of the rig writes its messages.
type stderrFile string

func (f stderrFile) String() string {
	text, _ := os.ReadFile(string(f))
	return string(text)
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "keeper")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	desk, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "desk"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, desk: desk, engine: []string{"engine"}, stderr: stderrFile(filepath.Join(dir, "stderr"))}
	t.Cleanup(func() {
		desk.Close()
		if r.keeper != nil {
			r.killKeeper()
		}
		r.killServices()
	})
	return r
}

func startRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.start()
	return r
}

func (r *rig) run() string { return filepath.Join(r.dir, "run") }

// start starts a keeper on the run directory.
func (r *rig) start() {
	r.t.Helper()
	self := r.binary
	if self == "" {
		self = must(os.Executable())
	}
	args := append(append([]string{}, r.wrap...), self, "--run", r.run())
	args = append(args, r.args...)
	args = append(append(args, "--", self), r.engine[1:]...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), roleVar+"=keeper", deskVar+"="+filepath.Join(r.dir, "desk"))
	cmd.Env = append(cmd.Env, r.env...)
	cmd.SysProcAttr = r.attr
	cmd.ExtraFiles = r.extra
	out, err := os.OpenFile(string(r.stderr), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.keeper = cmd
	r.ended = make(chan error, 1)
	go func(ended chan error) { ended <- cmd.Wait() }(r.ended)
}

// killKeeper kills the keeper and waits for its end.
func (r *rig) killKeeper() {
	_ = r.keeper.Process.Kill()
	r.waitKeeper()
	r.keeper = nil
}

func (r *rig) waitKeeper() int {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return r.keeper.ProcessState.ExitCode()
	case <-time.After(patient):
		r.t.Fatalf("the keeper does not end; stderr:\n%s", r.stderr)
		return -1
	}
}

// killServices ends what tests left running: everything marked with our
// directory.
func (r *rig) killServices() {
	for _, pid := range r.marked("") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// mark is in the environment of every service of the rig.
func (r *rig) mark(name string) string { return "KEEPER_TEST=" + r.dir + ":" + name + "." }

// marked finds the live processes of a service, or of all.
func (r *rig) marked(name string) []int {
	want := r.mark(name)
	if name == "" {
		want = "KEEPER_TEST=" + r.dir + ":"
	}
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && (bytes.HasPrefix(env, []byte(want)) || bytes.Contains(env, []byte("\x00"+want))) {
			found = append(found, pid)
		}
	}
	return found
}

// engine is one engine process whose socket the test has.
type engine struct {
	rig *rig
	pid int
	fd  int
	// What else the keeper gave it: the control socket's listener, the lock.
	listener, lock int
	desk           *net.UnixConn
	*link.Link
	welcome  link.Welcome
	records  []link.Record
	spawned  chan link.Spawned
	refused  chan link.Refused
	exited   chan link.Exited
	signaled chan link.Signaled
	failed   chan *link.Error
	lost     chan error
}

// nextEngine waits for the next engine of the keeper to report.
func (r *rig) nextEngine() *engine {
	r.t.Helper()
	_ = r.desk.SetDeadline(time.Now().Add(patient))
	conn, err := r.desk.AcceptUnix()
	if err != nil {
		r.t.Fatalf("no engine came: %v; stderr:\n%s", err, r.stderr)
	}
	r.t.Cleanup(func() { conn.Close() })
	data, oob := make([]byte, 32), make([]byte, 128)
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	if err != nil {
		r.t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		r.t.Fatalf("the engine sent no socket: %v", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		r.t.Fatal(err)
	}
	if len(fds) != 3 {
		r.t.Fatalf("the engine sent %d descriptors", len(fds))
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	pid, _ := strconv.Atoi(string(data[:n]))
	e := &engine{
		rig: r, pid: pid, fd: fds[0], listener: fds[1], lock: fds[2], desk: conn,
		spawned: make(chan link.Spawned, 65536), refused: make(chan link.Refused, 65536),
		exited: make(chan link.Exited, 65536), signaled: make(chan link.Signaled, 65536),
		failed: make(chan *link.Error, 65536), lost: make(chan error, 1),
	}
	r.t.Cleanup(e.letGo)
	return e
}

// letGo closes what would keep the run directory locked.
func (e *engine) letGo() {
	if e.listener >= 0 {
		unix.Close(e.listener)
		unix.Close(e.lock)
	}
	e.listener, e.lock = -1, -1
}

// connected is nextEngine with a link and the inventory.
func (r *rig) connected() *engine {
	r.t.Helper()
	e := r.nextEngine()
	e.connect()
	return e
}

func (e *engine) connect() {
	e.rig.t.Helper()
	var err error
	e.Link, e.welcome, err = link.Open(e.fd, link.Handler{
		Spawned:  func(s link.Spawned) { e.spawned <- s },
		Refused:  func(s link.Refused) { e.refused <- s },
		Exited:   func(s link.Exited) { e.exited <- s },
		Signaled: func(s link.Signaled) { e.signaled <- s },
		Failed:   func(_ uint32, err *link.Error) { e.failed <- err },
		Lost:     func(err error) { e.lost <- err },
	})
	if err != nil {
		e.rig.t.Fatalf("%v; stderr:\n%s", err, e.rig.stderr)
	}
	if e.records, err = e.List(); err != nil {
		e.rig.t.Fatal(err)
	}
}

// kill ends the engine the hard way, connection and process.
func (e *engine) kill() {
	if e.Link != nil {
		e.Link.Close()
	} else {
		unix.Close(e.fd)
	}
	e.letGo()
	_ = syscall.Kill(e.pid, syscall.SIGKILL)
}

// release lets the engine end by itself with code 0.
func (e *engine) release() {
	e.Link.Close()
	e.letGo()
	e.desk.Close()
}

func (e *engine) record(name string) (link.Record, bool) {
	for _, r := range e.records {
		if r.Name == name {
			return r, true
		}
	}
	return link.Record{}, false
}

func next[T any](e *engine, from chan T) T {
	e.rig.t.Helper()
	select {
	case v := <-from:
		return v
	case err := <-e.lost:
		e.rig.t.Fatalf("connection lost: %v; stderr:\n%s", err, e.rig.stderr)
	case <-time.After(patient):
		e.rig.t.Fatalf("nothing came; stderr:\n%s", e.rig.stderr)
	}
	panic("unreachable")
}

// program is what runs argv as a service of the rig.
func (r *rig) program(name string, argv ...string) []byte {
	r.t.Helper()
	return r.programWith(0, name, argv...)
}

func (r *rig) programWith(flags uint32, name string, argv ...string) []byte {
	r.t.Helper()
	b := prog.NewBuilder(prog.NativeArch)
	b.SetFlags(flags)
	b.Pseudo(prog.OpRecord)
	b.Pseudo(prog.OpDefSig)
	b.Call(prog.Sigprocmask, prog.Int(2), prog.At(b.Block(make([]byte, 8))), prog.Int(0), prog.Int(8))
	b.Call(prog.Setsid)
	args, env := b.Texts(argv), b.Texts([]string{r.mark(name), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
	b.Call(prog.Execve, prog.At(b.Text(argv[0])), prog.At(args), prog.At(env))
	block, err := b.Bytes()
	if err != nil {
		r.t.Fatal(err)
	}
	return block
}

// ask spawns and returns the answer.
func (e *engine) ask(a link.SpawnArgs) (link.Spawned, *link.Refused) {
	e.rig.t.Helper()
	if _, err := e.Spawn(&a); err != nil {
		e.rig.t.Fatal(err)
	}
	select {
	case s := <-e.spawned:
		return s, nil
	case no := <-e.refused:
		return link.Spawned{}, &no
	case err := <-e.lost:
		e.rig.t.Fatalf("connection lost: %v; stderr:\n%s", err, e.rig.stderr)
	case <-time.After(patient):
		e.rig.t.Fatalf("no answer; stderr:\n%s", e.rig.stderr)
	}
	panic("unreachable")
}

// up spawns and demands success.
func (e *engine) up(name string, run, ack uint64, argv ...string) link.Spawned {
	e.rig.t.Helper()
	s, no := e.ask(link.SpawnArgs{Name: name, Run: run, AckRun: ack, CgroupFD: -1, Program: e.rig.program(name, argv...)})
	if no != nil {
		e.rig.t.Fatalf("%s run %d refused: %v op %d errno %d", name, run, no.Code, no.Op, no.Errno)
	}
	return s
}

// sync waits until the keeper has dealt with everything asked before.
func (e *engine) sync() link.Counters {
	e.rig.t.Helper()
	c, err := e.Count()
	if err != nil {
		e.rig.t.Fatal(err)
	}
	return c
}

func (e *engine) noFailure() {
	e.rig.t.Helper()
	select {
	case err := <-e.failed:
		e.rig.t.Fatal(err)
	default:
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// until waits for what nothing announces, such as the state of a process.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never came true: " + what)
		}
	}
}

// dead says that a process is gone or a zombie.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	rest := string(stat[bytes.LastIndexByte(stat, ')')+1:])
	return strings.HasPrefix(rest, " Z")
}
