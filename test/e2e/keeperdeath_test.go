//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/test/internal/harness"
)

// reaperPart is a parent of abide as an init is: everything that abide leaves
// behind becomes its child. It reaps, or with idleReaperPart never does.
const (
	reaperPart     = "reaper"
	idleReaperPart = "idle-reaper"
)

func beReaper(reaps bool) int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "reaper:", err)
		return 1
	}
	os.Unsetenv(helperVariable)
	_, err := syscall.ForkExec(os.Args[1], os.Args[1:], &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "reaper:", err)
		return 1
	}
	for {
		if !reaps {
			time.Sleep(time.Hour)
			continue
		}
		if _, err := syscall.Wait4(-1, nil, 0, nil); errors.Is(err, syscall.ECHILD) {
			return 0
		}
	}
}

// childOf makes an instance the child of a part of this program.
func childOf(t *testing.T, a *harness.Abide, part string) {
	t.Helper()
	self, err := os.Executable()
	harness.Check(t, err)
	a.Wrap = []string{"/usr/bin/env", helperVariable + "=" + part, self}
	t.Cleanup(func() { a.Do("shutdown") })
}

// lockHolder is the pid in the lock of the run directory.
func lockHolder(a *harness.Abide) int {
	text, _ := os.ReadFile(filepath.Join(a.Run, "lock"))
	word, _, _ := strings.Cut(string(text), " ")
	pid, _ := strconv.Atoi(word)
	return pid
}

// killKeeper kills the keeper and waits until another one has taken over.
func killKeeper(t *testing.T, a *harness.Abide) {
	t.Helper()
	old := keeper(t, a)
	harness.Check(t, syscall.Kill(old, syscall.SIGKILL))
	awaitKeeper(t, a, old)
}

func awaitKeeper(t *testing.T, a *harness.Abide, old int) {
	t.Helper()
	harness.Eventually(t, "there is a new keeper", func() error {
		about, err := a.About()
		if err == nil && (about.Keeper == old || !harness.Alive(about.Keeper)) {
			err = fmt.Errorf("the keeper is %d", about.Keeper)
		}
		return err
	})
}

// connect connects once, waiting for room in the queue, and hangs up.
func connect(socket string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != unix.EINTR {
			return err
		}
	}
}

func TestNothingIsMissedWhileKeepersAreKilled(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 5)
	// It is ended by a write that meets EPIPE.
	a.Define("writes", "command = \"i=0; while :; do i=$((i + 1)); echo line $i || exit 3; done\"\nshell = true\n[log]\npipe = \"write\"\nsize = \"1G\"\n")
	a.Start()
	t.Cleanup(func() { a.Do("shutdown") })
	pids := pidsOf(t, a, append(names, "writes"))

	// Two clients: one only connects, the other wants an answer.
	var done atomic.Bool
	var dials, answers int
	ended := make(chan error, 2)
	go func() {
		for !done.Load() {
			if err := connect(filepath.Join(a.Run, "control.sock")); err != nil {
				ended <- fmt.Errorf("after %d connections one is refused: %w", dials, err)
				return
			}
			dials++
			time.Sleep(time.Millisecond) // the queue has room for 4,096, and for the other client
		}
		ended <- nil
	}()
	go func() {
		for !done.Load() {
			if _, err := a.About(); err != nil {
				ended <- fmt.Errorf("after %d answers there is none: %w", answers, err)
				return
			}
			answers++
		}
		ended <- nil
	}()
	for range 20 {
		killKeeper(t, a)
	}
	done.Store(true)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	same(t, a, pids)
	a.OK("stop", "writes")
	last := 0
	for line := range strings.Lines(a.OK("log", "-n", "100000000", "writes")) {
		at := strings.LastIndex(line, "line ")
		if at < 0 {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(line[at+len("line "):]))
		if err != nil || n != last+1 {
			t.Fatalf("behind line %d comes %q", last, line)
		}
		last = n
	}
	if last == 0 || dials < 20 || answers < 20 {
		t.Errorf("%d lines, %d connections, %d answers", last, dials, answers)
	}
}

func TestAnExitAtTheKeepersDeathIsExact(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	childOf(t, a, reaperPart)
	a.Define("dies", "command = [\"/bin/sleep\", \"100000\"]\n[restart]\nbackoff = { first = \"1ms\", max = \"1ms\" }\n")
	a.Start()
	for round := range 50 {
		before := a.AwaitStatus("dies", "runs", running)
		keeper := keeper(t, a)
		// A stopped keeper sees nothing. A killed one dies a moment later, at whatever
		// it does then.
		first := syscall.SIGSTOP
		if round%2 == 1 {
			first = syscall.SIGKILL
		}
		harness.Check(t, syscall.Kill(keeper, first))
		harness.Check(t, syscall.Kill(before.Pid, syscall.SIGTERM))
		_ = syscall.Kill(keeper, syscall.SIGKILL)
		s := a.AwaitNext(before)
		// A keeper that dies in the middle of the next start uses its number up.
		if s.Run > before.Run+2 || s.LastExit == nil || s.LastExit.Run != before.Run {
			t.Fatalf("round %d: run %d after run %d, last exit %+v", round, s.Run, before.Run, s.LastExit)
		}
		if got := harness.Describe(s.LastExit); got != "TERM" {
			t.Fatalf("round %d: the last exit is %s", round, got)
		}
		awaitKeeper(t, a, keeper)
	}
}

func TestAnExitThatNobodyReapsIsUnknownAndRestarts(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	childOf(t, a, idleReaperPart)
	a.Define("dies", `command = ["/bin/sleep", "100000"]`)
	a.Start()
	before := a.AwaitStatus("dies", "runs", running)
	killKeeper(t, a)
	harness.Check(t, syscall.Kill(before.Pid, syscall.SIGTERM))
	s := a.AwaitNext(before)
	if got := harness.Describe(s.LastExit); got != "unknown" || s.Run != 2 {
		t.Errorf("the last exit is %s in run %d", got, s.Run)
	}
}

func TestKeepersKilledAsTheyComeUp(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 20)
	a.Start()
	t.Cleanup(func() { a.Do("shutdown") })
	pids := pidsOf(t, a, names)
	for round := range 8 {
		// The lock names the next keeper before it has taken everything.
		last := keeper(t, a)
		harness.Check(t, syscall.Kill(last, syscall.SIGKILL))
		for range 2 {
			next := last
			for next == last || next == 0 {
				if next = lockHolder(a); !held(a) {
					break // it had taken everything, and the engine was gone
				}
			}
			if next == last || next == 0 {
				break
			}
			for range round * 200 {
				_ = lockHolder(a)
			}
			_ = syscall.Kill(next, syscall.SIGKILL)
			last = next
		}
		// A killed one may have had no engine yet to replace it: that is the death of
		// both.
		restarted(t, a)
		same(t, a, pids)
	}
}

// restarted waits until abide answers again, and starts it when nothing of it is
// left.
func restarted(t *testing.T, a *harness.Abide) {
	t.Helper()
	harness.Eventually(t, "abide answers", func() error {
		about, err := a.About()
		if err == nil && harness.Alive(about.Keeper) && harness.Alive(about.Pid) {
			return nil
		}
		if held(a) {
			return fmt.Errorf("it is held and does not answer: %v", err)
		}
		a.Launch(a.DaemonArguments()...)
		return errors.New("started again")
	})
}

// held tells whether anything of abide has the lock of the run directory.
func held(a *harness.Abide) bool {
	f, err := os.Open(filepath.Join(a.Run, "lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

func TestTheEngineKilledWhileItHandsOver(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 20)
	a.Start()
	t.Cleanup(func() { a.Do("shutdown") })
	pids := pidsOf(t, a, names)
	for round := range 12 {
		about, err := a.About()
		harness.Check(t, err)
		harness.Check(t, syscall.Kill(about.Keeper, syscall.SIGKILL))
		for range round * 300 {
			_ = lockHolder(a)
		}
		_ = syscall.Kill(about.Pid, syscall.SIGKILL)
		restarted(t, a)
		same(t, a, pids)
	}
}

func TestAStoppedKeeperIsReplaced(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 3)
	a.Start()
	t.Cleanup(func() { a.Do("shutdown") })
	pids := pidsOf(t, a, names[1:])
	old := keeper(t, a)
	harness.Check(t, syscall.Kill(old, syscall.SIGSTOP))
	// It owes an answer now.
	a.OK("restart", "--timeout", harness.Patience.String(), names[0])
	awaitKeeper(t, a, old)
	same(t, a, pids)
	if copies := a.Processes(names[0]); len(copies) != 1 {
		t.Errorf("%s has the processes %v", names[0], copies)
	}
}

func TestAnEngineThatHangsIsReplacedForTheClientThatWaits(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 3)
	a.Start()
	pids := pidsOf(t, a, names)
	old := engine(t, a)
	harness.Check(t, syscall.Kill(old, syscall.SIGSTOP))
	// Some of its threads may go on for a moment after kill(2).
	harness.Eventually(t, "another engine answers", func() error {
		if about, err := a.About(); err != nil || about.Pid == old {
			return fmt.Errorf("engine %d does, %v", about.Pid, err)
		}
		return nil
	})
	same(t, a, pids)
}

func TestHoweverAnEngineEndsTheNextOneGoesOn(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	names := sleepers(a, 3)
	a.Start()
	pids := pidsOf(t, a, names)
	for _, signal := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGBUS} {
		old := engine(t, a)
		harness.Check(t, syscall.Kill(old, signal))
		harness.Eventually(t, fmt.Sprintf("the engine ends by %v", signal), func() error {
			if harness.Alive(old) {
				return fmt.Errorf("%d lives", old)
			}
			return nil
		})
		same(t, a, pids)
	}
	// One that gets no memory any more ends by itself as soon as it needs some.
	old := engine(t, a)
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	harness.Check(t, unix.Prlimit(old, unix.RLIMIT_AS, &limit, nil))
	harness.Eventually(t, "the engine has run out of memory", func() error {
		var open []net.Conn
		for range 200 {
			conn, err := net.Dial("unix", filepath.Join(a.Run, "control.sock"))
			harness.Check(t, err)
			fmt.Fprintf(conn, "GET /v1/services HTTP/1.1\r\nHost: abide\r\nX-Long: %s\r\n", strings.Repeat("x", 100000))
			open = append(open, conn)
		}
		for _, conn := range open {
			conn.Close()
		}
		if harness.Alive(old) {
			return errors.New("it still has some")
		}
		return nil
	})
	same(t, a, pids)
}

func TestAThousandServicesOutliveTheirKeepers(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	const services = 1000
	for i := range services {
		a.Define(fmt.Sprintf("many%d", i), `command = ["/bin/sleep", "100000"]`)
	}
	a.Start()
	t.Cleanup(func() { a.Do("shutdown") })
	all := func() map[string]int {
		pids := map[string]int{}
		harness.Eventually(t, "all run", func() error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			defer c.Close()
			list, err := c.Status(t.Context())
			if err != nil {
				return err
			}
			for _, s := range list {
				if s.State == "running" && s.Run == 1 {
					pids[s.Name] = s.Pid
				}
			}
			if len(pids) != services {
				return fmt.Errorf("%d of %d do", len(pids), services)
			}
			return nil
		})
		return pids
	}
	before := all()
	for range 3 {
		killKeeper(t, a)
		for name, pid := range all() {
			if before[name] != pid {
				t.Fatalf("%s has pid %d, had %d", name, pid, before[name])
			}
		}
	}
	if n := len(a.Processes("")); n != services {
		t.Errorf("%d processes of %d services", n, services)
	}
}

func TestAReplacedKeeperIsAsTheFirst(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(a.Dir, "notify"), Net: "unixgram"})
	harness.Check(t, err)
	defer told.Close()
	awaitTold := func(text string) {
		t.Helper()
		harness.Check(t, told.SetReadDeadline(time.Now().Add(harness.Patience)))
		b := make([]byte, 4096)
		for {
			n, err := told.Read(b)
			if err != nil {
				t.Fatalf("nobody says %q: %v", text, err)
			}
			if strings.Contains(string(b[:n]), text) {
				return
			}
		}
	}
	a.Env = append(a.Env, "NOTIFY_SOCKET="+filepath.Join(a.Dir, "notify"))
	a.Define("limits", "kind = \"task\"\nenabled = false\nshell = true\ncommand = \"ulimit -Sn; ulimit -Hn; grep -E 'Sig(Blk|Ign)' /proc/self/status\"\n")
	a.Define("orphans", "command = \"while :; do (sleep 0.01 &); sleep 0.1; done\"\nshell = true\n")
	a.Start()
	awaitTold(fmt.Sprintf("MAINPID=%d", keeper(t, a)))
	a.OK("start", "limits")
	first := a.Logged("limits")
	for range 2 {
		killKeeper(t, a)
		awaitTold(fmt.Sprintf("READY=1\nMAINPID=%d", keeper(t, a)))
	}
	if inherits := harness.CommandLine(keeper(t, a)); strings.Count(inherits, "--inherit-fd") != 1 || strings.Count(inherits, "--nofile") != 1 {
		t.Errorf("the keeper's command line is %q", inherits)
	}
	a.OK("restart", "orphans") // its processes are the new keeper's from here on
	a.OK("start", "limits")
	both := a.Logged("limits")
	plain := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			_, after, _ := strings.Cut(line, "] ")
			lines = append(lines, after)
		}
		return lines
	}
	one, two := plain(first), plain(both)
	if len(one) == 0 || len(two) != 2*len(one) {
		t.Fatalf("the log is\n%s, was\n%s", both, first)
	}
	for i := range one {
		if one[i] != two[len(one)+i] {
			t.Errorf("a service starts with %q, before %q", two[len(one)+i], one[i])
		}
	}
	if n := harness.Zombies(keeper(t, a)); n > 3 {
		t.Errorf("the keeper has %d zombies", n)
	}
	// TERM to it is the end of all, as before.
	pid := keeper(t, a)
	harness.Check(t, syscall.Kill(pid, syscall.SIGTERM))
	awaitTold("STOPPING=1")
	harness.Eventually(t, "the keeper has ended", func() error {
		if harness.Alive(pid) {
			return fmt.Errorf("%d lives", pid)
		}
		return nil
	})
	a.NothingOf("")
}

// An engine that has just been started is all that is left when its keeper dies
// before the two have met. It must know how to go on.
func TestAKeeperThatDiesBeforeItsEngineGreetsItIsReplaced(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Program = filepath.Join(a.Dir, "programs")
	copyPrograms(t, harness.Bin, a.Program)
	data, err := os.ReadFile(filepath.Join(harness.Bin, "abide"))
	harness.Check(t, err)
	harness.Check(t, os.WriteFile(filepath.Join(a.Program, "abide"), data, 0o755))
	engineFile := filepath.Join(a.Program, "abide-engine")
	harness.Check(t, os.Rename(engineFile, engineFile+".real"))
	slow := fmt.Sprintf("#!/bin/sh\ntest -e %[1]s/slow && echo $$ >%[1]s/started && sleep 0.3\nexec %[2]s.real \"$@\"\n", a.Dir, engineFile)
	harness.Check(t, os.WriteFile(engineFile, []byte(slow), 0o755))
	childOf(t, a, reaperPart)
	names := sleepers(a, 3)
	a.Start()
	before := pidsOf(t, a, names)
	for range 3 {
		first := keeper(t, a)
		harness.Check(t, os.WriteFile(filepath.Join(a.Dir, "slow"), nil, 0o644))
		harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
		harness.Eventually(t, "the next engine has been started", func() error {
			_, err := os.Stat(filepath.Join(a.Dir, "started"))
			return err
		})
		harness.Check(t, os.Remove(filepath.Join(a.Dir, "slow")))
		harness.Check(t, syscall.Kill(first, syscall.SIGKILL))
		harness.Check(t, os.Remove(filepath.Join(a.Dir, "started")))
		awaitKeeper(t, a, first)
		if after := pidsOf(t, a, names); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Fatalf("the services have pids %v, had %v", after, before)
		}
	}
}
