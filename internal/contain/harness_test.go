//go:build linux

package contain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/proctree"
)

const roleVar = "ABIDE_CONTAIN_TEST_ROLE"

// roles are what the test binary can be besides a test.
var roles = map[string]func(){
	"keeper":     keeperRole,
	"deadleader": deadLeaderRole,
}

func init() {
	// The first thread must stay with main: it is the one that adopts orphans.
	if os.Getenv(roleVar) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVar)]; ok {
		os.Unsetenv(roleVar)
		role()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// order asks the test's keeper for a process.
type order struct {
	Argv   []string
	Env    []string
	Cgroup string // directory to clone into
	Joins  []string
	Out    string // a FIFO
}

// keeperRole is a subreaper that starts what it is told to on its standard input,
// from a thread that is not its first, and prints "PID" for each start and
// "-PID" for each end.
func keeperRole() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "test keeper:", err)
			os.Exit(1)
		}
	}
	fail(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	// The engine's place: a child of the first thread that never ends.
	engine, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "infinity"}, nil)
	fail(err)
	fmt.Println(engine)
	go func() {
		runtime.LockOSThread()
		in := bufio.NewScanner(os.Stdin)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			var o order
			fail(json.Unmarshal(in.Bytes(), &o))
			pid, err := o.start()
			fail(err)
			fmt.Println(pid)
		}
		os.Exit(0)
	}()
	for {
		pid, err := syscall.Wait4(-1, nil, unix.WALL, nil)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.ECHILD {
			return // even the engine has gone: the test is over
		}
		fail(err)
		fmt.Println(-pid)
	}
}

func (o *order) start() (int, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	files := []uintptr{null.Fd(), null.Fd(), 2}
	if o.Out != "" {
		out, err := os.OpenFile(o.Out, os.O_RDWR, 0)
		if err != nil {
			return 0, err
		}
		defer out.Close()
		files[1] = out.Fd()
	}
	argv := o.Argv
	if len(o.Joins) > 0 {
		join := "for f in $JOINS; do echo 0 > $f || exit 9; done; unset JOINS; exec \"$@\""
		argv = append([]string{"/bin/sh", "-c", join, "join"}, argv...)
		o.Env = append(o.Env, "JOINS="+strings.Join(o.Joins, " "))
	}
	attr := &syscall.ProcAttr{Env: o.Env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}}
	if o.Cgroup != "" {
		dir, err := os.Open(o.Cgroup)
		if err != nil {
			return 0, err
		}
		defer dir.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
	}
	return syscall.ForkExec(argv[0], argv, attr)
}

// deadLeaderRole lives on in another thread after its first one has exited.
func deadLeaderRole() {
	ready := os.Args[1]
	go func() {
		runtime.LockOSThread()
		for {
			// The first thread must have gone before anybody looks.
			stat, err := proctree.ReadStat("/proc", os.Getpid())
			if err == nil && stat.State == 'Z' {
				break
			}
			runtime.Gosched()
		}
		os.WriteFile(ready, []byte(fmt.Sprintln(os.Getpid())), 0)
		for {
			unix.Pause()
		}
	}()
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// keeper is a running test keeper.
type keeper struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan int
	ended  map[int]bool
	engine int
}

func startKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{t: t, cmd: exec.Command(testBinary(t)), lines: make(chan int, 1<<16), ended: make(map[int]bool)}
	k.cmd.Env = append(os.Environ(), roleVar+"=keeper")
	k.cmd.Stderr = os.Stderr
	var err error
	if k.in, err = k.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(k.lines)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, _ := strconv.Atoi(lines.Text())
			k.lines <- n
		}
	}()
	t.Cleanup(k.stop)
	k.engine = k.next()
	return k
}

// testBinary is a path of this program that every user may execute.
func testBinary(t *testing.T) string {
	if path := os.Getenv("ABIDE_CONTAIN_TEST_BINARY"); path != "" {
		return path
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// next returns the next started process's number.
func (k *keeper) next() int {
	k.t.Helper()
	for n := range k.lines {
		if n > 0 {
			return n
		}
		k.ended[-n] = true
	}
	k.t.Fatal("the test keeper has ended")
	return 0
}

// waitEnd returns when the keeper has reaped a process.
func (k *keeper) waitEnd(pid int) {
	k.t.Helper()
	for !k.ended[pid] {
		n, open := <-k.lines
		if !open {
			k.t.Fatal("the test keeper has ended")
		}
		if n < 0 {
			k.ended[-n] = true
		}
	}
}

func (k *keeper) start(o order) int {
	k.t.Helper()
	line, err := json.Marshal(o)
	if err != nil {
		k.t.Fatal(err)
	}
	if _, err := k.in.Write(append(line, '\n')); err != nil {
		k.t.Fatal(err)
	}
	return k.next()
}

func (k *keeper) pid() int { return k.cmd.Process.Pid }

// stop ends the keeper and everything below it, whatever the test left.
func (k *keeper) stop() {
	for range 100 {
		pids := below(k.pid())
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if slices.Equal(pids, []int{k.engine}) {
			break
		}
	}
	k.in.Close()
	k.cmd.Process.Kill()
	go func() {
		for range k.lines {
		}
	}()
	k.cmd.Wait()
}

func below(pid int) []int {
	var all []int
	children, _ := proctree.Children("/proc", pid)
	for _, child := range children {
		all = append(all, child)
		all = append(all, below(child)...)
	}
	return all
}

// world is a run directory, a keeper and a manager.
type world struct {
	*testing.T
	dir     string
	id      string
	keeper  *keeper
	manager *Manager
	ready   *bufio.Reader
	readyAt string
}

// modes are the ways to hold processes together that this machine has.
var modes = []string{Cgroup, "cgroup-v1", Traced}

func eachMode(t *testing.T, test func(t *testing.T, w *world)) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			if os.Getuid() != 0 && mode != Traced {
				return // only root has control groups here; its own test says so
			}
			test(t, newWorld(t, mode))
		})
	}
}

func newWorld(t *testing.T, mode string) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), keeper: startKeeper(t)}
	w.id = fmt.Sprintf("%08x%08x", os.Getpid(), w.keeper.pid())
	w.readyAt = filepath.Join(w.dir, "ready")
	if err := unix.Mkfifo(w.readyAt, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.readyAt, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(w.readyAt, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w.ready = bufio.NewReader(f)
	w.manager = w.detect(mode)
	if base := w.manager.base; base != nil {
		t.Cleanup(func() {
			w.keeper.stop()
			w.settle()
			parent, name := filepath.Split(base.Path)
			if err := removeGroups(parent, name); err != nil {
				t.Errorf("control groups are left: %v", err)
			}
		})
	}
	return w
}

func (w *world) detect(mode string) *Manager {
	w.Helper()
	m := Detect(w.id, Config{Run: w.dir, Keeper: w.keeper.pid(), Own: []int{w.keeper.engine}, Force: mode})
	want := mode
	if mode == "cgroup-v1" {
		want = Cgroup
	}
	if m.Kind() != want {
		w.Fatalf("containment is %s: %s", m.Kind(), m.Describe())
	}
	return m
}

// settle waits until the manager has removed what it can.
func (w *world) settle() {
	m := w.manager
	done := make(chan struct{}, 1)
	m.mu.Lock()
	busy := m.busy
	m.settled = func() {
		select {
		case done <- struct{}{}:
		default:
		}
	}
	m.mu.Unlock()
	if busy {
		<-done
	}
}

// perl starts a program of one run in the right group and returns it with the
// group. The program gets the path of the ready FIFO as its first argument.
func (w *world) perl(name string, run uint64, script string) (Group, int) {
	w.Helper()
	return w.start(name, run, order{Argv: []string{"/usr/bin/perl", "-e", script, w.readyAt}})
}

func (w *world) start(name string, run uint64, o order) (Group, int) {
	w.Helper()
	g, err := w.manager.Prepare(name, run)
	if err != nil {
		w.Fatal(err)
	}
	folder := filepath.Join(w.dir, "services", name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		w.Fatal(err)
	}
	o.Out = filepath.Join(folder, fmt.Sprintf("%d.out", run))
	if err := unix.Mkfifo(o.Out, 0o600); err != nil {
		w.Fatal(err)
	}
	o.Env = append(o.Env, fmt.Sprintf("ABIDE_RUN_ID=%s:%s:%d", w.id, name, run), "PATH=/usr/bin:/bin")
	if g.DirFD() >= 0 {
		o.Cgroup = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), g.DirFD())
	} else {
		o.Joins = g.JoinPaths()
	}
	pid := w.keeper.start(o)
	g.CloseDir()
	w.setMain(g, pid)
	return g, pid
}

func (w *world) setMain(g Group, pid int) {
	w.Helper()
	stat, err := proctree.ReadStat("/proc", pid)
	if err != nil {
		// It has ended already; the keeper of the test reaps at once.
		g.SetMain(pid, 0)
		return
	}
	g.SetMain(pid, stat.Start)
}

// letEveryoneIn lets other users reach the ready FIFO.
func (w *world) letEveryoneIn() {
	w.Helper()
	for _, dir := range []string{w.dir, filepath.Dir(w.dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			w.Fatal(err)
		}
	}
}

// report reads one process number that a program wrote to the ready FIFO.
func (w *world) report() int {
	w.Helper()
	line, err := w.ready.ReadString('\n')
	if err != nil {
		w.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		w.Fatal(err)
	}
	return pid
}

// watch opens a process so that its end can be waited for.
func (w *world) watch(pid int) int {
	w.Helper()
	fd, err := pidfd.Open(pid)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { pidfd.Close(fd) })
	return fd
}

func (w *world) wantGone(what string, fds ...int) {
	w.Helper()
	for _, fd := range fds {
		if !pidfd.Ended(fd) {
			w.Errorf("%s still lives", what)
		}
	}
}

func (w *world) wantAlive(what string, fds ...int) {
	w.Helper()
	for _, fd := range fds {
		if pidfd.Ended(fd) {
			w.Errorf("%s was ended", what)
		}
	}
}

// wantClean checks that a result names nothing that is left.
func (w *world) wantClean(g Group, r Result) {
	w.Helper()
	if r.Err != nil || len(r.Left) > 0 || len(r.Strays) > 0 {
		w.Errorf("result is %+v, want nothing left and no strays", r)
	}
	if !g.Empty(true) {
		w.Errorf("the group is not empty after it was cleaned: %v", g.Members())
	}
}

// awaitEnd blocks until a process has ended.
func awaitEnd(fd int) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(poll, -1); n > 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}

// removeGroups removes a control group and all in it; processes in it are about to
// be gone.
func removeGroups(parent, name string) error {
	path := filepath.Join(parent, name)
	deadline := time.Now().Add(20 * time.Second)
	for {
		filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				defer os.Remove(p)
			}
			return nil
		})
		entries, _ := os.ReadDir(path)
		for _, entry := range entries {
			if entry.IsDir() {
				os.Remove(filepath.Join(path, entry.Name()))
			}
		}
		err := os.Remove(path)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func unsafePointer(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }

func itoa(n int) string { return strconv.Itoa(n) }
