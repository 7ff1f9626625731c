//go:build linux

package contain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/proctree"
)

func init() {
	roles["chain"] = chainRole
	roles["reuse"] = reuseRole
	roles["noproc"] = noProcRole
}

// chainRole forks a successor that leaves the session, and ends, as fast as system
// calls allow. Its 100th link reports.
func chainRole() {
	fd, err := unix.Open(os.Args[1], unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		os.Exit(1)
	}
	text := []byte("1\n")
	for n := 0; ; n++ {
		pid, _, _ := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if pid != 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
		if n == 100 {
			syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafePointer(text)), uintptr(len(text)))
		}
	}
}

func TestAProgramThatForksAsFastAsTheKernelAllowsIsEnded(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, _ := w.start("chain", 1, order{
			Argv: []string{testBinary(t), w.readyAt},
			Env:  []string{roleVar + "=chain"},
		})
		w.report()
		w.wantClean(g, g.Kill(context.Background()))
	})
}

func TestOrphansOfADeadKeeperAreFoundAtItsParent(t *testing.T) {
	// What the keeper's death orphans comes to us.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	w := newWorld(t, Traced)
	g, main := w.perl("web", 1, report+`use POSIX "setsid"; $SIG{USR1} = sub { exit }; if (!fork) { setsid; report; `+forever+` } report; `+alertly)
	all := []int{w.watch(w.report()), w.watch(w.report())}
	mainFD := w.watch(main)
	other, otherMain := w.perl("db", 1, report+`report; `+forever)
	w.report()
	others := w.watch(otherMain)
	dead := w.watch(w.keeper.pid())
	syscall.Kill(w.keeper.pid(), syscall.SIGKILL)
	awaitEnd(dead)
	syscall.Kill(w.keeper.engine, syscall.SIGKILL)

	w.keeper = startKeeper(t)
	w.manager.config.Own = []int{w.keeper.engine}
	w.manager.SetKeeper(w.keeper.pid())
	if g.Empty(false) {
		t.Error("the group is empty while its main process lives")
	}
	syscall.Kill(main, syscall.SIGUSR1)
	awaitEnd(mainFD)
	if g.Empty(true) {
		t.Error("the group is empty, but an orphan of it lives")
	}
	r := g.Clean(context.Background(), Options{})
	w.wantGone("a process of the run", all...)
	w.wantClean(g, r)
	w.wantAlive("a process of another run", others)
	w.wantClean(other, other.Kill(context.Background()))
	reapAll(t)
}

// reapAll takes the zombies of this process that no test helper waits for.
func reapAll(t *testing.T) {
	t.Helper()
	children, err := proctree.Children("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range children {
		if stat, err := proctree.ReadStat("/proc", pid); err == nil && stat.Gone() {
			syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// inNamespaces runs a role of the test binary as the first process of namespaces.
func inNamespaces(t *testing.T, role string, flags uintptr) string {
	t.Helper()
	for {
		out, err := tryInNamespaces(t, role, flags)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == numberTaken {
			continue
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}
}

func tryInNamespaces(t *testing.T, role string, flags uintptr) (string, error) {
	cmd := exec.Command(testBinary(t))
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	// The thread that starts it must live as long, for Pdeathsig.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// numberTaken is the exit code of reuseRole when its own threads were in the way.
const numberTaken = 75

// reuseRole is the first process of a pid namespace, where it gives numbers of
// ended processes to others.
func reuseRole() {
	check(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	check(unix.Mount("proc", "/proc", "proc", 0, ""))
	dir, err := os.MkdirTemp("", "reuse")
	check(err)
	defer os.RemoveAll(dir)
	end := func(pid int) {
		syscall.Kill(pid, syscall.SIGKILL)
		_, err := syscall.Wait4(pid, nil, 0, nil)
		check(err)
	}
	spawn := func(pid int, args ...string) int {
		for range 50 {
			if pid > 0 {
				check(os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0))
			}
			got, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{
				Files: []uintptr{0, 1, 2},
				Sys:   &syscall.SysProcAttr{Setsid: true},
			})
			check(err)
			if pid == 0 || got == pid {
				return got
			}
			end(got) // a new thread of ours took the number in between
		}
		os.Exit(numberTaken)
		return 0
	}
	start := func(pid int) uint64 {
		stat, err := proctree.ReadStat("/proc", pid)
		check(err)
		return stat.Start
	}

	m := Detect("0123456789abcdef", Config{Run: dir, Keeper: 1, Force: Traced})
	g, err := m.Prepare("web", 1)
	check(err)
	main := spawn(0, "/usr/bin/perl", "-e", "fork; sleep 1000 while 1")
	g.SetMain(main, start(main))
	for len(g.Members()) < 2 {
		runtime.Gosched()
	}
	g.Snapshot()
	members := g.Members()
	child := members[0] + members[1] - main
	// Both numbers are given to strangers as soon as they are free. The start times
	// differ by a clock tick at least.
	childEnd, err := pidfd.Open(child)
	check(err)
	old := max(start(main), start(child))
	syscall.Kill(child, syscall.SIGKILL)
	awaitEnd(childEnd)
	end(main)
	for {
		pid, err := syscall.Wait4(child, nil, 0, nil)
		if pid == child || err != nil {
			break
		}
	}
	probe := spawn(0, "/bin/sleep", "1000")
	for start(probe) <= old+1 {
		end(probe)
		probe = spawn(0, "/bin/sleep", "1000")
	}
	end(probe)
	strangers := []int{
		spawn(main, "/usr/bin/perl", "-e", "fork; sleep 1000 while 1"),
		spawn(child, "/bin/sleep", "1000"),
	}
	var family []int
	for len(family) == 0 {
		family, _ = proctree.Children("/proc", strangers[0])
	}
	strangers = append(strangers, family...)
	if got := g.Members(); len(got) != 0 {
		panic(fmt.Sprintf("strangers %v are taken for members of the run: %v", strangers, got))
	}
	check(g.SignalAll(int(syscall.SIGKILL)))
	r := g.Kill(context.Background())
	for _, pid := range strangers {
		if stat, err := proctree.ReadStat("/proc", pid); err != nil || stat.Gone() {
			panic(fmt.Sprintf("stranger %d was ended: %+v", pid, r))
		}
	}
	if r.Ended != 0 {
		panic(fmt.Sprintf("result is %+v, want nothing ended", r))
	}
	fmt.Println("done")
}

func TestAReusedNumberIsNotSignalled(t *testing.T) {
	if os.Getuid() != 0 {
		return // needs a pid namespace
	}
	out := inNamespaces(t, "reuse", syscall.CLONE_NEWPID|syscall.CLONE_NEWNS)
	if strings.TrimSpace(out) != "done" {
		t.Error(out)
	}
}

// noProcRole looks at what is left without proc.
func noProcRole() {
	check(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	check(unix.Unmount("/proc", unix.MNT_DETACH))
	m := Detect("fedcba9876543210", Config{Keeper: os.Getppid()})
	fmt.Println(m.Kind(), Detect("fedcba9876543210", Config{Force: Traced}).Kind())
	fmt.Println(m.Describe())
	if m.Kind() != Cgroup {
		return
	}
	g, err := m.Prepare("web", 1)
	check(err)
	_, err = syscall.ForkExec("/usr/bin/perl", []string{"perl", "-e", "fork; fork; sleep 1000 while 1"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: g.DirFD()},
	})
	check(err)
	for len(g.Members()) < 4 {
		runtime.Gosched()
	}
	fmt.Println(g.Empty(true))
	r := g.Kill(context.Background())
	fmt.Println(r.Ended, r.NeededKill, len(r.Left), r.Err, g.Empty(true))
	for range 4 {
		syscall.Wait4(-1, nil, 0, nil)
	}
	check(m.base.Remove(g.(*group).leaf.name))
	check(os.Remove(m.base.Path))
}

func TestWithoutProcThereAreControlGroupsOrNothing(t *testing.T) {
	if os.Getuid() != 0 {
		return // needs a mount namespace
	}
	lines := strings.Split(strings.TrimSpace(inNamespaces(t, "noproc", syscall.CLONE_NEWNS)), "\n")
	if lines[0] != "cgroup none" {
		t.Fatalf("containment is %q", lines)
	}
	if !strings.Contains(lines[1], "/proc cannot be read") {
		t.Errorf("%q does not say what is missing", lines[1])
	}
	if !slices.Equal(lines[2:], []string{"false", "4 true 0 <nil> true"}) {
		t.Errorf("got %q", lines[2:])
	}
}

func TestContainmentNoneKnowsNothingAndSignalsNothing(t *testing.T) {
	m := Detect("id", Config{Force: None})
	g, err := m.Prepare("web", 1)
	if err != nil {
		t.Fatal(err)
	}
	g.SetMain(os.Getpid(), 0)
	g.Snapshot()
	if g.Kind() != None || !g.Empty(true) || g.DirFD() != -1 || g.JoinPaths() != nil || len(g.Members()) != 0 {
		t.Error("a group without containment claims to know something")
	}
	if g.SignalAll(int(syscall.SIGKILL)) == nil || g.Freeze() == nil {
		t.Error("a group without containment claims to have signalled")
	}
	if r := g.Kill(context.Background()); r.Ended != 0 {
		t.Errorf("result is %+v", r)
	}
	g.Remove()
}

// TestAsAnOrdinaryUser runs the tests of this package once more as a user who may
// not make control groups.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		m := Detect("id", Config{Keeper: os.Getpid()})
		if m.Kind() != Traced || !strings.Contains(m.Describe(), "permission denied") {
			t.Errorf("containment is %s: %s", m.Kind(), m.Describe())
		}
		return
	}
	dir, err := os.MkdirTemp("", "contain")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const user = 64998
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "tmp")
	path := filepath.Join(dir, "contain.test")
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(tmp, 0o700), os.Chown(tmp, user, user),
		os.WriteFile(path, binary, 0o755), os.Chmod(path, 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "-test.count=1", "-test.timeout=2m")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "ABIDE_CONTAIN_TEST_BINARY="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAShortageOfDescriptorsLeavesNothingBehind(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`for (1..60) { if (!fork) { close STDOUT; `+forever+` } } report; `+forever)
		w.report()
		syscall.Kill(main, syscall.SIGKILL)
		w.keeper.waitEnd(main)

		// A dozen descriptors are left.
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(next)
		few := syscall.Rlimit{Cur: uint64(next) + 12, Max: old.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		r := g.Clean(context.Background(), Options{})
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
		w.wantClean(g, r)
		if !r.NeededKill {
			t.Errorf("result is %+v", r)
		}
	})
}

func TestWhatMayNotBeSignalledIsNamed(t *testing.T) {
	if os.Getuid() == 0 {
		// A manager with fewer rights than the process: the test binary as another user
		// cannot start one, so the hunt is shown a process that denies everything.
		w := newWorld(t, Traced)
		g, main := w.perl("web", 1, daemonize)
		pid := w.report()
		w.keeper.waitEnd(main)
		h := newHunt(g.(*group))
		defer h.close()
		fd := w.watch(pid)
		dup, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		h.denied[pid] = &held{proc: proc{pid: pid}, comm: "perl", fd: dup}
		h.kill(context.Background())
		if r := h.result(); len(r.Left) != 1 || r.Left[0].Pid != pid {
			t.Errorf("result is %+v, want process %d left", r, pid)
		}
		w.wantAlive("the process", fd)
	}
}
