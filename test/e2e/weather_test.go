//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// tmpfs mounts a small file system of its own below the instance's folder.
func tmpfs(t *testing.T, path, options string) {
	t.Helper()
	harness.Check(t, os.MkdirAll(path, 0o755))
	harness.Check(t, unix.Mount("tmpfs", path, "tmpfs", 0, options))
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
}

func readOnly(t *testing.T, path string, yes bool) {
	t.Helper()
	flags := uintptr(unix.MS_REMOUNT)
	if yes {
		flags |= unix.MS_RDONLY
	}
	harness.Check(t, unix.Mount("tmpfs", path, "tmpfs", flags, ""))
}

// fill writes until nothing fits any more, and returns what empties it again.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	file, err := os.Create(path)
	harness.Check(t, err)
	for block := make([]byte, 4096); len(block) > 0; {
		if _, err := file.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	file.Close()
	return func() { os.Remove(path) }
}

// limit changes a soft resource limit of the instance's own processes and
// returns what changes it back. It does so as the instance's user: root may not
// be allowed to set the limits of others.
func limit(t *testing.T, a *harness.Abide, option string, value func(pid int) uint64) (restore func()) {
	t.Helper()
	about, err := a.About()
	harness.Check(t, err)
	set := func(pid int, soft uint64) {
		t.Helper()
		c := exec.Command("prlimit", "--pid", fmt.Sprint(pid), fmt.Sprintf("--%s=%d:", option, soft))
		if a.Account != nil {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: a.Account}
		}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("cannot limit process %d: %v: %s", pid, err, out)
		}
	}
	before := map[int]uint64{}
	for _, pid := range []int{about.Keeper, about.Pid} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		harness.Check(t, err)
		before[pid] = softLimit(t, string(limits), option)
		set(pid, value(pid))
	}
	return func() {
		t.Helper()
		for pid, soft := range before {
			set(pid, soft)
		}
	}
}

// softLimit reads the soft value of a resource out of /proc/PID/limits.
func softLimit(t *testing.T, limits, option string) uint64 {
	t.Helper()
	head := map[string]string{"nproc": "Max processes", "nofile": "Max open files"}[option]
	for line := range strings.Lines(limits) {
		if rest, ok := strings.CutPrefix(line, head); ok {
			soft, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			harness.Check(t, err)
			return soft
		}
	}
	t.Fatalf("no %s among the limits:\n%s", head, limits)
	return 0
}

// threads counts what RLIMIT_NPROC counts of a user: threads of all processes.
func threads(t *testing.T, uid int) (n uint64) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	harness.Check(t, err)
	for _, path := range tasks {
		if info, err := os.Stat(path); err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == uid {
			n++
		}
	}
	return n
}

func TestOutOfProcesses(t *testing.T) {
	t.Parallel()
	// A user of our own: others of nobody's processes come and go meanwhile.
	const uid = 54321
	a := harness.New(t)
	check := a.Healthy()
	a.Define("late", sleeper+"enabled = false\n")
	a.As(uid, uid)
	a.Start()
	check()
	now := threads(t, uid)
	restore := limit(t, a, "nproc", func(int) uint64 { return now })
	a.Refused(1, "resource temporarily unavailable", "start", "late")
	check()
	restore()
	// It has been tried again all the time, and comes by itself.
	a.AwaitStatus("late", "runs", running)
	check()
}

func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	const services = 30
	for n := range services {
		a.Define(fmt.Sprintf("late%d", n), sleeper+"enabled = false\n")
	}
	a.Start()
	check()
	restore := limit(t, a, "nofile", func(pid int) uint64 {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		harness.Check(t, err)
		return uint64(len(open)) + 12
	})
	said := ""
	for n := range services {
		r := a.Do("start", "--no-wait", fmt.Sprintf("late%d", n))
		said += r.Out + r.Err
	}
	harness.Eventually(t, "a lack of descriptors is told", func() error {
		if out := said + a.Do("events").Out + a.Do("status").Out; !strings.Contains(out, "too many open files") {
			return fmt.Errorf("said is: %s", out)
		}
		return nil
	})
	check()
	restore()
	for n := range services {
		name := fmt.Sprintf("late%d", n)
		if s, err := a.Peek(name); err == nil && !s.Wanted {
			a.OK("start", name)
		}
		a.AwaitStatus(name, "runs", running)
	}
	check()
}

// A full disk never blocks a program; what is dropped is counted and shown.
func TestAFullLogFolderDropsAndCounts(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	tmpfs(t, a.Log, "size=256k,mode=0755")
	check := a.Healthy()
	a.Define("writes", "command = \"while [ ! -e go ]; do sleep 0.02; done; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); echo a line that will not fit, number $i; done; touch written; while :; do echo there is room; sleep 0.05; done\"\nshell = true\n"+fmt.Sprintf("directory = %q\n[log]\nsize = \"0\"\n", a.Dir))
	a.Start()
	a.Await("writes", "running")
	check()
	empty := fill(t, a.Log)
	a.NewFile("go", "", 0o644)
	harness.Eventually(t, "the program has written everything", func() error {
		_, err := os.Stat(filepath.Join(a.Dir, "written"))
		return err
	})
	s := a.AwaitStatus("writes", "has lost lines", func(s client.Status) bool { return s.Log.DroppedBytes > 0 })
	if s.Run != 1 || s.State != "running" {
		t.Errorf("the program on a full disk is %s in run %d", s.State, s.Run)
	}
	check()
	empty()
	// There is room again: what is written from now on is kept, and the gap is
	// told at its place.
	a.AwaitLogged("writes", "there is room")
	harness.Contains(t, a.Logged("writes"), "no space left on device")
	check()
}

func TestAReadOnlyLogFolderStopsNothing(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	tmpfs(t, a.Log, "size=1m,mode=0755")
	readOnly(t, a.Log, true)
	check := a.Healthy()
	a.Define("writes", "command = \"echo something; exec sleep 100000\"\nshell = true\n")
	a.Start()
	a.AwaitStatus("writes", "runs", running)
	check()
	harness.Contains(t, a.Output()+a.OK("status", "writes")+a.OK("events"), "read-only file system")
	a.KillService("writes")
	readOnly(t, a.Log, false)
	check()
}

func TestAReadOnlyOrFullStateFolderStopsNothing(t *testing.T) {
	t.Parallel()
	for _, weather := range []string{"read-only", "full"} {
		t.Run(weather, func(t *testing.T) {
			t.Parallel()
			a := harness.New(t)
			tmpfs(t, a.State, "size=64k,mode=0755")
			check := a.Healthy()
			a.Define("web", sleeper)
			want := "read-only file system"
			if weather == "full" {
				fill(t, a.State)
				want = "no space left on device"
			} else {
				readOnly(t, a.State, true)
			}
			a.Start()
			a.Await("web", "running")
			check()
			a.KillService("web")
			if weather == "full" {
				// What cannot be kept is refused, and what was before stands.
				a.Refused(1, want, "disable", "--now", "web")
				check()
				a.OK("stop", "web")
			} else {
				// It is good for now, and it is said that it will not outlive a reboot.
				a.OK("disable", "--now", "web")
				harness.Contains(t, a.Output(), want)
				harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
				if s := a.Status("web"); s.State != "disabled" {
					t.Errorf("for the next engine it is %s", s.State)
				}
			}
			a.NothingOf("web")
			check()
		})
	}
}

func TestAReadOnlyRunFolderIsRefused(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	tmpfs(t, a.Run, "size=64k,mode=0755")
	readOnly(t, a.Run, true)
	r := a.RunCommand(a.Command("abide", a.DaemonArguments()...))
	if r.Code == 0 {
		t.Error("a daemon on a read-only run folder starts")
	}
	harness.Contains(t, r.Out+r.Err, a.Run)
	harness.Contains(t, r.Out+r.Err, "read-only file system")
}

func TestAFullRunFolderKeepsWhatRuns(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	tmpfs(t, a.Run, "size=2m,mode=0755")
	check := a.Healthy()
	a.Define("late", sleeper+"enabled = false\n")
	a.Start()
	check()
	empty := fill(t, a.Run)
	r := a.Do("start", "late")
	if r.Code != 0 {
		harness.Contains(t, r.Out+r.Err, "no space left on device")
	}
	check()
	harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
	check()
	empty()
	a.OK("start", "late")
	a.Await("late", "running")
	check()
}

func TestWithoutProc(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Define("web", sleeper)
	a.Wrap = []string{"unshare", "--mount", "sh", "-c", "umount -l /proc && exec \"$0\" \"$@\""}
	a.Start()
	web := a.Await("web", "running")
	if web.Containment == "traced" {
		t.Errorf("containment is %s without /proc", web.Containment)
	}
	a.KillService("web")
	a.OK("stop", "web")
	a.NothingOf("web")
	check()
}

func TestAThousandClientsThatHangOrTalkGarbage(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	a.Define("web", sleeper)
	a.Start()
	a.Await("web", "running")
	c := helper(t, "hang "+filepath.Join(a.Run, "control.sock"))
	in, err := c.StdinPipe()
	harness.Check(t, err)
	out, err := c.StdoutPipe()
	harness.Check(t, err)
	c.Stderr = os.Stderr
	harness.Check(t, c.Start())
	said := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		said <- line
	}()
	// While it connects, and while it hangs on, root is served.
	for range 20 {
		a.OK("status", "web")
	}
	a.KillService("web")
	a.OK("stop", "web")
	a.OK("start", "web")
	select {
	case line := <-said:
		if !strings.HasPrefix(line, "hanging on") {
			t.Errorf("the helper says %q", line)
		}
	case <-time.After(harness.Patience):
		t.Error("the helper cannot connect a thousand times")
	}
	a.OK("status", "web")
	in.Close()
	c.Wait()
	check()
	about, err := a.About()
	harness.Check(t, err)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", about.Pid))
	harness.Check(t, err)
	if len(open) > 200 {
		t.Errorf("the engine holds %d descriptors after the clients have gone", len(open))
	}
}

// A file system that never answers: whoever touches it sleeps until it goes.
func TestAProgramOnADeadMount(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	check := a.Healthy()
	mount := filepath.Join(a.Dir, "dead")
	harness.Check(t, os.Mkdir(mount, 0o755))
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	harness.Check(t, err)
	harness.Check(t, unix.Mount("dead", mount, "fuse.dead", 0, fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fuse)))
	t.Cleanup(func() {
		unix.Close(fuse) // ends every wait
		unix.Unmount(mount, unix.MNT_DETACH)
	})
	a.Define("dead-program", fmt.Sprintf("command = [%q]\nenabled = false\n", filepath.Join(mount, "program")))
	a.Define("dead-folder", sleeper+fmt.Sprintf("directory = %q\nenabled = false\n", filepath.Join(mount, "folder")))
	a.Start()
	for _, name := range []string{"dead-program", "dead-folder"} {
		a.OK("start", "--no-wait", name)
	}
	// Neither the keeper nor the engine waits with them.
	for range 5 {
		check()
		a.OK("status", "dead-program")
	}
	a.Define("late", sleeper)
	a.OK("apply")
	a.AwaitStatus("late", "runs", running)
	a.KillService("late")
	for _, name := range []string{"dead-program", "dead-folder"} {
		a.OK("stop", "--timeout", "20s", name)
		a.Gone(name)
	}
	check()
}
