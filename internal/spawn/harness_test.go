//go:build linux && (amd64 || arm64)

package spawn

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
)

// A rung is a way to run a compiled program; the last one is abide-exec.
type rung struct {
	name string
	way  vspawn.Rung
	exec bool
}

var rungs = []rung{
	{"clone3", vspawn.RungClone3, false},
	{"clone", vspawn.RungClone, false},
	{"fork", vspawn.RungFork, false},
	{"exec", vspawn.RungClone3, true},
}

// abideExec is the real binary, built once.
var abideExec = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "abide-exec-test-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "abide-exec")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/abide-exec").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if given := os.Getenv(execVariable); given != "" {
		abideExec = func() (string, error) { return given, nil }
	}
	status := m.Run()
	if path, err := abideExec(); err == nil && os.Getenv(execVariable) == "" {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}

const execVariable = "ABIDE_TEST_EXEC_BINARY"

func compiler(t testing.TB) *Compiler {
	t.Helper()
	mounts, err := SystemMounts()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mounts.Close() })
	return &Compiler{
		Accounts: SystemAccounts(), Mounts: mounts, UID: os.Geteuid(), GID: os.Getegid(),
		Environ: []string{"LANG=C.UTF-8", "SECRET=hidden", "KEEP_ME=1"}, Host: "testhost",
		Bases: Bases{Run: "/run", State: "/var/lib", Cache: "/var/cache", Log: "/var/log"},
	}
}

// service is a definition that says it has started and then stands still, so
// that the kernel can be asked what it is.
func service() *model.Service {
	return &model.Service{Name: "web", Shell: true, Script: "echo; kill -STOP $$", Umask: 0o022}
}

// child is a service that was started.
type child struct {
	t        *testing.T
	pid      int
	pidfd    int
	op       int
	errno    syscall.Errno
	report   int
	finished bool
}

// open creates a temporary FIFO and a reader of it, for a child's stdout.
func fifo(t testing.TB) (path string, f *os.File) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "out")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, f
}

func load(t testing.TB, block []byte) *prog.Loaded {
	t.Helper()
	words := make([]uint64, len(block)/8+1)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(block))
	copy(b, block)
	l := new(prog.Loaded)
	if err := l.Load(b); err != nil {
		t.Fatal(err)
	}
	return l
}

func memfd(t testing.TB, name string, content []byte) int {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, content); err != nil {
		t.Fatal(err)
	}
	return fd
}

// start runs a program as the keeper does.
func (r rung) start(t *testing.T, p *Program, pass ...int) *child {
	t.Helper()
	s, err := vspawn.New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	request := &vspawn.Request{Rung: r.way, CgroupFD: -1}
	c := &child{t: t, report: -1}
	if r.exec {
		path, err := abideExec()
		if err != nil {
			t.Fatal(err)
		}
		wrapper, err := prog.ExecProgram(path, len(pass))
		if err != nil {
			t.Fatal(err)
		}
		program := memfd(t, "program", p.Bytes)
		defer unix.Close(program)
		c.report = memfd(t, "report", nil)
		request.Prog, request.Pass = load(t, wrapper), append(pass, program, c.report)
	} else {
		request.Prog, request.Pass = load(t, p.Bytes), pass
	}
	c.pid, c.pidfd, c.op, c.errno = s.Spawn(request)
	t.Cleanup(c.end)
	return c
}

// end leaves no process behind, whatever a test did.
func (c *child) end() {
	if c.pid > 0 && !c.finished {
		syscall.Kill(c.pid, syscall.SIGKILL)
		c.wait()
	}
	if c.report >= 0 {
		unix.Close(c.report)
		c.report = -1
	}
}

func (c *child) wait() syscall.WaitStatus {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(c.pid, &status, syscall.WALL, nil)
		if err != syscall.EINTR {
			break
		}
	}
	syscall.Close(c.pidfd)
	c.finished = true
	return status
}

// failure is the op and errno that ended a program, whichever way it ran. For
// abide-exec it waits for the end.
func (c *child) failure() (op int, errno syscall.Errno) {
	c.t.Helper()
	if c.report < 0 || c.errno != 0 {
		return c.op, c.errno
	}
	status := c.wait()
	b := make([]byte, prog.ReportSize)
	if _, err := unix.Pread(c.report, b, 0); err != nil {
		c.t.Fatal(err)
	}
	r, ok := prog.DecodeReport(b)
	if !ok {
		c.t.Fatalf("no report; status %#x", status)
	}
	if got := status.ExitStatus(); got < 125 || got > 127 {
		c.t.Errorf("abide-exec exited with %d", got)
	}
	return int(r.Op), syscall.Errno(r.Errno)
}

// run compiles and starts svc and waits until it says that it runs.
func (r rung) run(t *testing.T, c *Compiler, svc *model.Service, run Run) *child {
	t.Helper()
	path, f := fifo(t)
	if run.Stdout == (Stdio{}) {
		run.Stdout = Stdio{Kind: StdioPath, Path: path, Flags: os.O_RDWR}
	}
	p, err := c.Compile(svc, run)
	if err != nil {
		t.Fatal(err)
	}
	ch := r.start(t, p)
	if ch.errno != 0 {
		t.Fatal(p.Explain(ch.op, int(ch.errno)))
	}
	said := make([]byte, 64)
	unix.SetNonblock(int(f.Fd()), false)
	done := make(chan struct{})
	go func() { // an abide-exec that fails says nothing: its end must be heard too
		unix.Poll([]unix.PollFd{{Fd: int32(ch.pidfd), Events: unix.POLLIN}}, -1)
		f.Write([]byte("end"))
		close(done)
	}()
	n, err := f.Read(said)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.end(); <-done })
	if bytes.HasPrefix(said[:n], []byte("end")) && r.exec {
		op, errno := ch.failure()
		t.Fatal(p.Explain(op, int(errno)))
	}
	return ch
}

func (c *child) proc(name string) string {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.pid, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

func (c *child) link(name string) string {
	c.t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", c.pid, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return to
}

func (c *child) status(key string) string {
	c.t.Helper()
	for line := range strings.Lines(c.proc("status")) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	c.t.Fatalf("no %s in status", key)
	return ""
}

// stat returns field number n of /proc/PID/stat, counted from 1 as proc(5) does.
func (c *child) stat(n int) int {
	c.t.Helper()
	text := c.proc("stat")
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	v, err := strconv.Atoi(fields[n-3])
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

func (c *child) limit(name string) string {
	c.t.Helper()
	for line := range strings.Lines(c.proc("limits")) {
		if value, ok := strings.CutPrefix(line, name); ok {
			f := strings.Fields(value)
			return f[0] + ":" + f[1]
		}
	}
	c.t.Fatalf("no limit %q", name)
	return ""
}

func (c *child) environ() map[string]string {
	env := map[string]string{}
	for v := range strings.SplitSeq(strings.TrimSuffix(c.proc("environ"), "\x00"), "\x00") {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return env
}

func onEveryRung(t *testing.T, f func(t *testing.T, r rung)) {
	for _, r := range rungs {
		t.Run(r.name, func(t *testing.T) { f(t, r) })
	}
}
