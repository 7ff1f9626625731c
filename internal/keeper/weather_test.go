//go:build linux

package keeper

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/prog"
)

func TestThirtyThousandOrphansAreReaped(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	const services, each = 10, 3000
	forker := forkerOf(t, r.dir, each)
	for i := range uint64(services) {
		e.up("fork", i+1, i, forker...)
		if x := next(e, e.exited); x.Status != 0 {
			t.Fatalf("exit %+v", x)
		}
	}
	until(t, "all orphans are reaped", func() bool { return e.sync().Orphans >= services*each })
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.keeper.Process.Pid, r.keeper.Process.Pid))
	if err != nil || strings.TrimSpace(string(children)) != strconv.Itoa(e.pid) {
		t.Errorf("children %q, engine %d, %v", children, e.pid, err)
	}
}

// footprint is what must not grow with work done.
type footprint struct{ threads, fds, rss int }

func footprintOf(t *testing.T, pid int) (f footprint) {
	t.Helper()
	status := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))))
	for _, l := range strings.Split(status, "\n") {
		fmt.Sscanf(l, "Threads: %d", &f.threads)
		fmt.Sscanf(l, "VmRSS: %d", &f.rss)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	f.fds = len(fds)
	return f
}

func TestNothingGrowsWithTwentyThousandRuns(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	const services = 16
	blocks := map[string][]byte{}
	for i := range services {
		name := fmt.Sprint("short", i)
		blocks[name] = r.program(name, tinyProgram(t, r.dir))
	}
	spawn := func(name string, run uint64) {
		if _, err := e.Spawn(&link.SpawnArgs{Name: name, Run: run, AckRun: run - 1, CgroupFD: -1, Program: blocks[name]}); err != nil {
			t.Fatal(err)
		}
	}
	// respawn takes every service from one run to another, all at once.
	respawn := func(from, to uint64) {
		for name := range blocks {
			spawn(name, from)
		}
		for left := services * int(to-from+1); left > 0; left-- {
			if s, x := next(e, e.spawned), next(e, e.exited); x.Status != 0 || s.Pid == 0 {
				t.Fatalf("spawned %+v, exit %+v", s, x)
			} else if x.Run < to {
				spawn(x.Name, x.Run+1)
			}
		}
	}
	respawn(1, 100)
	keeper := r.keeper.Process.Pid
	// The keeper tells an exit before it lets go of the process; after a round trip
	// it has.
	counted := e.sync()
	before := footprintOf(t, keeper)
	respawn(101, 1350)
	now := e.sync()
	after := footprintOf(t, keeper)
	if after.fds != before.fds || after.threads > before.threads+1 || after.rss > before.rss+1024 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if now.Collections != 0 || now.Mallocs > counted.Mallocs+200 {
		t.Errorf("the keeper allocated %d objects in %d runs and collected %d times",
			now.Mallocs-counted.Mallocs, now.Spawns-counted.Spawns, now.Collections)
	}
}

// tinyProgram writes the smallest static program: it ends with 0 at once.
func tinyProgram(t testing.TB, dir string) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		return "/bin/true"
	}
	return writeProgram(t, filepath.Join(dir, "tiny"), exitZero)
}

// forkerOf returns a command that leaves n dead children behind.
func forkerOf(t testing.TB, dir string, n int) []string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		return []string{must(os.Executable()), "orphans", strconv.Itoa(n)}
	}
	code := []byte{0xbb, byte(n), byte(n >> 8), byte(n >> 16), 0} // mov ebx, n
	code = append(code, 0xb8, 57, 0, 0, 0, 0x0f, 0x05)            // again: fork()
	code = append(code, 0x85, 0xc0, 0x74, 4)                      // the child leaves
	code = append(code, 0xff, 0xcb, 0x75, 0xf1)                   // dec ebx; jnz again
	return []string{writeProgram(t, filepath.Join(dir, "forker"), append(code, exitZero...))}
}

// exitZero is exit_group(0).
var exitZero = []byte{0xb8, 0xe7, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}

// writeProgram writes a static program of one page for x86-64.
func writeProgram(t testing.TB, path string, code []byte) string {
	t.Helper()
	image := make([]byte, 0x1000)
	copy(image, "\x7fELF\x02\x01\x01")
	put := func(at, size int, v uint64) {
		for i := range size {
			image[at+i] = byte(v >> (8 * i))
		}
	}
	put(16, 2, 2)        // an executable
	put(18, 2, 62)       // for x86-64
	put(20, 4, 1)        // ELF version
	put(24, 8, 0x400078) // entry
	put(32, 8, 64)       // program headers follow
	put(52, 2, 64)       // size of this header
	put(54, 2, 56)       // size of a program header
	put(56, 2, 1)        // one of them
	put(64, 4, 1)        // load
	put(68, 4, 5)        // read, execute
	put(80, 8, 0x400000) // at
	put(88, 8, 0x400000) // at
	put(96, 8, 0x1000)   // bytes in the file
	put(104, 8, 0x1000)  // bytes in memory
	put(112, 8, 0x1000)  // alignment
	copy(image[0x78:], code)
	if err := os.WriteFile(path, image, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGarbageHarmsNobody(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 1, 0, "/bin/sleep", "1000")
	e.sync()
	e.kill()

	g := r.nextEngine()
	hello := wire.Hello{Version: wire.Version}
	send(t, g.fd, hello.Append(nil, 1))
	null := must(os.Open("/dev/null"))
	defer null.Close()
	program := must(memfd(r.program("web", "/bin/sleep", "1000")))
	defer unix.Close(program)
	before := footprintOf(t, r.keeper.Process.Pid)
	random := rand.New(rand.NewPCG(1, 2))
	answer := make([]byte, wire.MaxMessage)
	for range 20000 {
		msg, fds := garbage(random, []int{int(null.Fd()), program})
		send(t, g.fd, msg, fds...)
		for {
			if _, _, err := unix.Recvfrom(g.fd, answer, unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
	}
	unix.Close(g.fd)
	_ = syscall.Kill(g.pid, syscall.SIGKILL)
	e = r.connected()
	rec, ok := e.record("web")
	if !ok || rec.Phase != wire.Live || rec.Pid != s.Pid {
		t.Errorf("web is %+v, was pid %d", rec, s.Pid)
	}
	counted := e.sync()
	if counted.Wrong < 1000 {
		t.Errorf("only %d wrong messages counted", counted.Wrong)
	}
	for _, rec := range e.records {
		for _, h := range rec.Held {
			must(e.Drop(rec.Name, h.Run, h.Tag))
		}
	}
	e.sync()
	if after := footprintOf(t, r.keeper.Process.Pid); after.fds > before.fds+int(counted.Live)-1 {
		t.Errorf("descriptors leaked: before %+v, after %+v", before, after)
	}
}

// garbage makes a message: noise, or a request with a few bytes changed.
func garbage(random *rand.Rand, files []int) ([]byte, []int) {
	name := []byte([]string{"web", "db", "", "a\x00b", strings.Repeat("n", 160)}[random.IntN(5)])
	seq := random.Uint32()
	run := uint64(random.IntN(3))
	var msg []byte
	switch random.IntN(12) {
	case 0:
		msg = make([]byte, 1+random.IntN(200))
		for i := range msg {
			msg[i] = byte(random.Uint32())
		}
	case 1:
		m := wire.Spawn{Name: name, Run: run, AckRun: run, Flags: random.Uint32N(8), NTags: random.IntN(3)}
		msg = m.Append(nil, seq)
	case 2:
		msg = (&wire.List{From: random.Uint32()}).Append(nil, seq)
	case 3:
		// Signal 0 and those that a sleeping program ignores.
		msg = (&wire.Signal{Name: name, Run: run, Signo: 0, To: random.Uint32N(5)}).Append(nil, seq)
	case 4, 5, 6:
		t := []wire.Type{wire.TypeKeep, wire.TypeTake, wire.TypeDrop}[random.IntN(3)]
		msg = (&wire.Held{Name: name, Run: run, Tag: random.Uint32N(3)}).Append(nil, t, seq)
	case 7:
		t := []wire.Type{wire.TypeAck, wire.TypeForget}[random.IntN(2)]
		msg = (&wire.ServiceRun{Name: name, Run: run}).Append(nil, t, seq)
	case 8:
		msg = (&wire.Signaled{Signo: random.Uint32N(80), Count: random.Uint32()}).Append(nil, wire.TypeHandled, seq)
	case 9:
		msg = (&wire.Exit{Code: 300, Action: random.Uint32N(9)}).Append(nil, seq)
	default:
		msg = wire.Bare(nil, wire.Type(random.Uint32N(20)), seq)
		if wire.Type(msg[2]) == wire.TypeExit {
			msg[2] = 0
		}
	}
	if random.IntN(3) == 0 {
		// Never the type: a changed one could be a signal or an end in earnest.
		at := random.IntN(len(msg))
		if at != 2 && at != 3 && msg[min(2, len(msg)-1)] != byte(wire.TypeSignal) && msg[min(2, len(msg)-1)] != byte(wire.TypeExit) {
			msg[at] ^= byte(1 << random.IntN(8))
		}
	}
	if random.IntN(10) == 0 {
		msg = append(msg, make([]byte, random.IntN(60000))...)
	}
	var fds []int
	for range random.IntN(4) * random.IntN(2) {
		fds = append(fds, files[random.IntN(len(files))])
	}
	return msg, fds
}

func memfd(content []byte) (int, error) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, err
	}
	if _, err := unix.Write(fd, content); err != nil {
		return -1, err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	return fd, err
}

func TestNoExitIsLostOnAnEngineThatDoesNotRead(t *testing.T) {
	r := startRig(t)
	e := r.nextEngine()
	tiny := tinyProgram(t, r.dir)
	hello, list := wire.Hello{Version: wire.Version}, wire.List{}
	send(t, e.fd, hello.Append(nil, 1))
	send(t, e.fd, list.Append(nil, 2))
	const services = 3000
	program := must(memfd(r.program("flood", tiny)))
	defer unix.Close(program)
	_ = unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 64<<20)
	for i := range services {
		m := wire.Spawn{Name: fmt.Append(nil, "s", i), Run: 1}
		msg := m.Append(nil, uint32(3+i))
		if err := unix.Sendmsg(e.fd, msg, unix.UnixRights(program), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	// Only now is anything read.
	started, ended := 0, map[string]int{}
	buf := make([]byte, wire.MaxMessage)
	if err := unix.SetNonblock(e.fd, false); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptTimeval(e.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
	for started < services || len(ended) < services {
		n, _, err := unix.Recvfrom(e.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatalf("%d started, %d ended: %v", started, len(ended), err)
		}
		h, body, code := wire.Parse(buf[:n])
		if code != wire.CodeNone {
			t.Fatal(code)
		}
		switch h.Type {
		case wire.TypeSpawned:
			started++
		case wire.TypeExited:
			var m wire.Exited
			if code := m.Decode(body); code != wire.CodeNone || m.Status != 0 {
				t.Fatalf("%v %+v", code, m)
			}
			ended[string(m.Name)]++
		case wire.TypeIsAlive:
			send(t, e.fd, wire.Bare(nil, wire.TypePong, 0))
		case wire.TypeRefused:
			var m wire.Refused
			m.Decode(body)
			t.Fatalf("refused %+v", m)
		}
	}
	for name, n := range ended {
		if n != 1 {
			t.Errorf("exit of %s was told %d times", name, n)
		}
	}
}

func TestNoTasksLeftIsRefusedAndNothingElse(t *testing.T) {
	const user, tasks = 54321, 60
	r := newRig(t)
	for _, path := range []string{r.dir, r.run(), filepath.Join(r.dir, "desk")} {
		if err := os.Chown(path, user, user); err != nil {
			t.Fatal(err)
		}
	}
	// The test binary stands in a directory that is root's alone.
	r.binary = filepath.Join(r.dir, "binary")
	if err := os.WriteFile(r.binary, must(os.ReadFile(must(os.Executable()))), 0o755); err != nil {
		t.Fatal(err)
	}
	r.wrap = []string{"prlimit", fmt.Sprintf("--nproc=%d:%d", tasks, tasks)}
	r.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	r.start()
	e := r.connected()
	var no *link.Refused
	up := 0
	for ; no == nil && up <= tasks; up++ {
		name := fmt.Sprint("s", up)
		_, no = e.ask(link.SpawnArgs{Name: name, Run: 1, CgroupFD: -1, Program: r.program(name, "/bin/sleep", "1000")})
	}
	up--
	if no == nil || no.Op != -1 || no.Errno != int(syscall.EAGAIN) {
		t.Fatalf("after %d services: %+v", up, no)
	}
	must(e.Signal("s0", 1, 9, wire.ToMain))
	if x := next(e, e.exited); x.Name != "s0" {
		t.Errorf("exit %+v", x)
	}
	e.up(fmt.Sprint("s", up), 2, 0, "/bin/sleep", "1000")
	if c := e.sync(); c.Live != uint64(up) {
		t.Errorf("%d live, want %d", c.Live, up)
	}
}

func TestNoDescriptorsLeftIsRefusedAndNothingElse(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("web", 1, 0, "/bin/sleep", "1000")
	keeper := r.keeper.Process.Pid
	var old unix.Rlimit
	if err := unix.Prlimit(keeper, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(keeper, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 24, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	more := link.SpawnArgs{Name: "more", Run: 1, CgroupFD: -1, Program: r.program("more", "/bin/true")}
	null := must(os.Open("/dev/null"))
	defer null.Close()
	for tag := range uint32(30) {
		must(e.Keep("held", 0, tag, int(null.Fd())))
	}
	_, no := e.ask(more)
	if no == nil || no.Errno != int(syscall.EMFILE) {
		t.Errorf("without descriptors: %+v", no)
	}
	if c := e.sync(); c.Held == 0 || c.Held >= 30 {
		t.Errorf("%d descriptors held", c.Held)
	}
	if err := unix.Prlimit(keeper, unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	must(e.Drop("held", 0, wire.AllTags))
	if _, no := e.ask(more); no != nil {
		t.Errorf("with descriptors again: %+v", no)
	}
	must(e.Signal("web", 1, 9, wire.ToMain))
	for next(e, e.exited).Name != "web" {
	}
}

func TestAFullRunDirectoryIsRefusedAndNothingElse(t *testing.T) {
	r := newRig(t)
	if err := unix.Mount("tmpfs", r.run(), "tmpfs", 0, "size=128k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(r.run(), unix.MNT_DETACH) })
	r.start()
	e := r.connected()
	tiny := tinyProgram(t, r.dir)
	var no *link.Refused
	i := 0
	for ; no == nil && i < 1000; i++ {
		name := fmt.Sprint("s", i)
		_, no = e.ask(link.SpawnArgs{Name: name, Run: 1, CgroupFD: -1, Program: r.program(name, tiny)})
	}
	if no == nil || no.Code != wire.CodeSystem || no.Errno != int(syscall.ENOSPC) || no.Burned {
		t.Fatalf("after %d services: %+v", i, no)
	}
	for range i - 1 {
		x := next(e, e.exited)
		must(e.Ack(x.Name, x.Run))
	}
	e.up("s0", 2, 1, tiny) // a slot that is there goes on working
	must(e.Forget("s1"))
	e.up("new", 1, 0, tiny) // and a free one is used again
	e.sync()
	e.noFailure()
}

func TestRunsThatMayBlockGoThroughAbideExec(t *testing.T) {
	r := newRig(t)
	helper := filepath.Join(r.dir, "abide-exec")
	build := exec.Command("go", "build", "-o", helper, "github.com/abide-project/abide/cmd/abide-exec")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.args = []string{"--exec", helper}
	r.start()
	e := r.connected()
	s, no := e.ask(link.SpawnArgs{Name: "web", Run: 1, CgroupFD: -1, Slow: true, Program: r.programWith(prog.Slow, "web", "/bin/sh", "-c", "exit 6")})
	if no != nil {
		t.Fatalf("refused: %+v", no)
	}
	if x := next(e, e.exited); x.Pid != s.Pid || x.Status != 6<<8 || x.ExecFailed {
		t.Errorf("exit %+v", x)
	}
	if _, no = e.ask(link.SpawnArgs{Name: "web", Run: 2, AckRun: 1, CgroupFD: -1, Slow: true, Program: r.programWith(prog.Slow, "web", "/no/such/program")}); no != nil {
		t.Fatalf("refused: %+v", no)
	}
	if x := next(e, e.exited); !x.ExecFailed || x.Op != 4 || x.Errno != int(syscall.ENOENT) || x.Status != 127<<8 {
		t.Errorf("exit %+v", x)
	}
}

func TestProcessOneSurvivesEverySignal(t *testing.T) {
	r := newRig(t)
	r.wrap = []string{"unshare", "--pid", "--fork", "--mount-proc"}
	r.args = []string{"--mode", "init"}
	r.start()
	e := r.connected()
	if !e.welcome.PID1 || e.welcome.Machine || e.welcome.KeeperPid != 1 {
		t.Fatalf("welcome %+v", e.welcome)
	}
	shell := fmt.Sprintf("/proc/%d/task/%d/children", r.keeper.Process.Pid, r.keeper.Process.Pid)
	pid, err := strconv.Atoi(strings.TrimSpace(string(must(os.ReadFile(shell)))))
	if err != nil {
		t.Fatal(err)
	}
	e.up("fork", 1, 0, forkerOf(t, r.dir, 2000)...)
	for range 50 {
		for signo := 1; signo <= 64; signo++ {
			if signo == int(syscall.SIGKILL) || signo == int(syscall.SIGSTOP) {
				continue
			}
			_ = syscall.Kill(pid, syscall.Signal(signo))
		}
	}
	// The kernel shields process 1 from these two when they come from inside.
	e.up("inside", 1, 0, "/bin/sh", "-c", "kill -KILL 1; kill -STOP 1")
	missing := map[int]bool{64: true}
	for _, signo := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPWR, syscall.SIGWINCH, syscall.SIGSEGV} {
		missing[int(signo)] = true
	}
	for len(missing) > 0 {
		delete(missing, next(e, e.signaled).Signo)
	}
	until(t, "the orphans are reaped", func() bool { return e.sync().Orphans >= 2000 })
	next(e, e.exited)
	next(e, e.exited)
	if err := e.Exit(4, wire.ActionExit); err != nil {
		t.Fatal(err)
	}
	e.release()
	if code := r.waitKeeper(); code != 4 {
		t.Errorf("exit code %d; stderr:\n%s", code, r.stderr)
	}
}

func TestInitRunsWithoutAWritableRunDirectory(t *testing.T) {
	r := newRig(t)
	r.env = []string{"ABIDE_TEST_PATIENCE=60000"}
	if err := unix.Mount("tmpfs", r.run(), "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(r.run(), unix.MNT_DETACH) })
	r.start()
	if code := r.waitKeeper(); code != exitSystem || !strings.Contains(r.stderr.String(), "read-only file system") {
		t.Errorf("daemon: exit code %d, stderr %q", code, r.stderr)
	}
	r.args = []string{"--mode", "init"}
	r.start()
	e := r.connected()
	if !e.welcome.Unrecorded {
		t.Errorf("welcome %+v", e.welcome)
	}
	e.up("web", 1, 0, "/bin/sh", "-c", "exit 3")
	if x := next(e, e.exited); x.Status != 3<<8 {
		t.Errorf("exit %+v", x)
	}
}
