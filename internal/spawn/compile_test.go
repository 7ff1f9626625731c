//go:build linux && (amd64 || arm64)

package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

func ptr[T any](v T) *T { return &v }

// Each attribute is seen by the kernel, on every rung.
func TestAttributesReachTheProgram(t *testing.T) {
	cases := []struct {
		name  string
		set   func(svc *model.Service)
		check func(c *child) string // "" or what is wrong
	}{
		{"umask", func(s *model.Service) { s.Umask = 0o027 }, want("0027", func(c *child) string { return c.status("Umask") })},
		{"nice", func(s *model.Service) { s.Nice = ptr(7) }, want("7", func(c *child) string { return strconv.Itoa(c.stat(19)) })},
		{"negative nice", func(s *model.Service) { s.Nice = ptr(-5) }, want("-5", func(c *child) string { return strconv.Itoa(c.stat(19)) })},
		{"oom_score", func(s *model.Service) { s.OOMScore = ptr(417) }, want("417", func(c *child) string { return strings.TrimSpace(c.proc("oom_score_adj")) })},
		{"io_priority", func(s *model.Service) { s.IOPriority = &model.IOPriority{Class: "best-effort", Level: 6} },
			want("16390", func(c *child) string {
				v, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(c.pid), 0)
				return strconv.Itoa(int(v))
			})},
		{"scheduler batch", func(s *model.Service) { s.Scheduler = &model.Scheduler{Policy: "batch"} }, want("3", func(c *child) string { return strconv.Itoa(c.stat(41)) })},
		{"scheduler fifo", func(s *model.Service) { s.Scheduler = &model.Scheduler{Policy: "fifo", Priority: 3} },
			want("1 3", func(c *child) string { return fmt.Sprint(c.stat(41), c.stat(40)) })},
		{"cpus", func(s *model.Service) { s.CPUs = []int{0} }, want("0", func(c *child) string { return c.status("Cpus_allowed_list") })},
		{"user by name", func(s *model.Service) { s.User = "nobody" }, want("65534 65534 65534 65534", func(c *child) string { return c.status("Uid") })},
		{"group of the user", func(s *model.Service) { s.User = "nobody" },
			want("65534 65534 65534 65534", func(c *child) string { return c.status("Gid") })},
		{"user and group by number", func(s *model.Service) { s.User, s.Group = "12345", "54321" },
			want("12345 54321 54321", func(c *child) string {
				return strings.Fields(c.status("Uid"))[1] + " " + strings.Fields(c.status("Gid"))[1] + " " + c.status("Groups")
			})},
		{"groups", func(s *model.Service) { s.User, s.Groups, s.GroupsSet = "nobody", []string{"daemon", "7"}, true },
			want("1 7", func(c *child) string { return c.status("Groups") })},
		{"no groups", func(s *model.Service) { s.User, s.Groups, s.GroupsSet = "nobody", nil, true }, want("", func(c *child) string { return c.status("Groups") })},
		{"no capabilities left", func(s *model.Service) { s.User = "nobody" }, want("0000000000000000", func(c *child) string { return c.status("CapPrm") })},
		{"no_new_privileges", func(s *model.Service) { s.NoNewPrivileges = true }, want("1", func(c *child) string { return c.status("NoNewPrivs") })},
		{"directory", func(s *model.Service) { s.Directory = "/usr/share" }, want("/usr/share", func(c *child) string { return c.link("cwd") })},
		{"directory by default", func(*model.Service) {}, want("/", func(c *child) string { return c.link("cwd") })},
		{"chroot", func(s *model.Service) { s.Chroot, s.Directory = "/usr", "/share" },
			want("/usr /usr/share", func(c *child) string { return c.link("root") + " " + c.link("cwd") })},
		{"chroot and user", func(s *model.Service) { s.Chroot, s.User = "/usr", "nobody" }, want("/usr 65534", func(c *child) string { return c.link("root") + " " + strings.Fields(c.status("Uid"))[0] })},
		{"rlimit nofile", func(s *model.Service) { s.Rlimits = []model.Rlimit{{Name: "nofile", Soft: 100, Hard: 200}} },
			want("100:200", func(c *child) string { return c.limit("Max open files") })},
		{"rlimit core", func(s *model.Service) {
			s.Rlimits = []model.Rlimit{{Name: "core", Soft: 0, Hard: model.Unlimited}}
		}, want("0:unlimited", func(c *child) string { return c.limit("Max core file size") })},
		{"rlimit memlock", func(s *model.Service) { s.Rlimits = []model.Rlimit{{Name: "memlock", Soft: 4096, Hard: 8192}} },
			want("4096:8192", func(c *child) string { return c.limit("Max locked memory") })},
		{"a session of its own", func(*model.Service) {}, func(c *child) string {
			if c.stat(5) != c.pid || c.stat(6) != c.pid || c.stat(7) != 0 {
				return fmt.Sprintf("group %d session %d terminal %d of %d", c.stat(5), c.stat(6), c.stat(7), c.pid)
			}
			return ""
		}},
		{"signals", func(*model.Service) {}, want("0000000000000000 0000000000000000", func(c *child) string { return c.status("SigBlk") + " " + c.status("SigIgn") })},
		{"three descriptors", func(*model.Service) {}, func(c *child) string {
			list, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", c.pid))
			if err != nil || len(list) != 3 || c.link("fd/0") != "/dev/null" || c.link("fd/2") != "/dev/null" {
				return fmt.Sprint(list, err, c.link("fd/0"), c.link("fd/2"))
			}
			return ""
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			onEveryRung(t, func(t *testing.T, r rung) {
				svc := service()
				tc.set(svc)
				if wrong := tc.check(r.run(t, compiler(t), svc, Run{Number: 1})); wrong != "" {
					t.Error(wrong)
				}
			})
		})
	}
}

func want(value string, get func(c *child) string) func(c *child) string {
	return func(c *child) string {
		if got := get(c); got != value {
			return fmt.Sprintf("got %q, want %q", got, value)
		}
		return ""
	}
}

func TestEveryRlimitHasAName(t *testing.T) {
	for name := range resources {
		svc := service()
		svc.Rlimits = []model.Rlimit{{Name: name, Soft: 0, Hard: 1 << 40}}
		p, err := compiler(t).Compile(svc, Run{})
		if err != nil {
			t.Error(err)
			continue
		}
		if label := "set RLIMIT_" + strings.ToUpper(name) + " to 0:1099511627776"; !slices.Contains(p.Labels, label) {
			t.Errorf("no %q in %q", label, p.Labels)
		}
	}
}

// The keeper raises its own limit of descriptors; a service must not see that.
func TestDescriptorLimitIsPutBack(t *testing.T) {
	c := compiler(t)
	c.Nofile = &model.Rlimit{Soft: 321, Hard: 654}
	onEveryRung(t, func(t *testing.T, r rung) {
		if got := r.run(t, c, service(), Run{}).limit("Max open files"); got != "321:654" {
			t.Error(got)
		}
	})
}

func TestCgroupIsJoinedByWriting(t *testing.T) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"} {
		if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
			continue
		}
		dir, err := os.MkdirTemp(root, "abide-spawn-test-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(dir)
		onEveryRung(t, func(t *testing.T, r rung) {
			svc := service()
			svc.User = "nobody" // joined before privileges drop
			c := r.run(t, compiler(t), svc, Run{Joins: []string{dir + "/cgroup.procs"}})
			if got := c.proc("cgroup"); !strings.Contains(got, filepath.Base(dir)) {
				t.Errorf("cgroup %s", got)
			}
		})
	}
}

func TestStdinOpenNeverDelivers(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r rung) {
		svc := service()
		svc.Stdin = model.StdinOpen
		scratch := t.TempDir()
		c := r.run(t, compiler(t), svc, Run{Number: 5, Scratch: scratch})
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/0", c.pid), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			t.Errorf("stdin is %#o, %v", st.Mode, err)
		}
		if left, _ := os.ReadDir(scratch); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	svc := service()
	svc.Stdin = model.StdinOpen
	if _, err := compiler(t).Compile(svc, Run{}); err == nil {
		t.Error("compiled without a folder for the pipe")
	}
}

func TestTerminalControlsTheSession(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r rung) {
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
		if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
			t.Fatal(err)
		}
		n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
		if err != nil {
			t.Fatal(err)
		}
		svc := service()
		svc.Stdin, svc.TTY = model.StdinTTY, fmt.Sprintf("/dev/pts/%d", n)
		c := r.run(t, compiler(t), svc, Run{})
		if got := c.link("fd/0"); got != svc.TTY {
			t.Errorf("stdin is %s", got)
		}
		if c.stat(7) == 0 {
			t.Error("there is no controlling terminal")
		}
	})
}

// A FIFO opened for writing only waits for a reader. The child must not: its
// parent waits for it.
func TestWriteOnlyPipeWithoutReaderDoesNotBlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	to := Stdio{Kind: StdioPath, Path: path, Flags: os.O_WRONLY}
	svc := service()
	svc.Script = "kill -STOP $$"
	p, err := compiler(t).Compile(svc, Run{Stdout: to, Stderr: to})
	if err != nil {
		t.Fatal(err)
	}
	onEveryRung(t, func(t *testing.T, r rung) {
		c := r.start(t, p)
		if c.errno != 0 {
			t.Fatal(p.Explain(c.op, int(c.errno)))
		}
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		for _, fd := range []string{"fdinfo/1", "fdinfo/2"} {
			if !strings.Contains(c.proc(fd), "flags:\t0100001") && !strings.Contains(c.proc(fd), "flags:\t01\n") && !strings.Contains(c.proc(fd), "0100401") {
				t.Errorf("%s: %s", fd, c.proc(fd))
			}
		}
	})
}

func TestPlansForStdoutAndStderr(t *testing.T) {
	out, _ := fifo(t)
	cases := []struct {
		name       string
		out, err   Stdio
		want1      string
		sameAsOurs bool
	}{
		{"both null", Stdio{}, Stdio{}, "/dev/null", false},
		{"both inherited", Stdio{Kind: StdioInherit}, Stdio{Kind: StdioInherit}, "", true},
		{"one path", Stdio{Kind: StdioPath, Path: out, Flags: os.O_RDWR}, Stdio{Kind: StdioPath, Path: out, Flags: os.O_RDWR}, out, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			onEveryRung(t, func(t *testing.T, r rung) {
				svc := service()
				svc.Script = "kill -STOP $$"
				p, err := compiler(t).Compile(svc, Run{Stdout: tc.out, Stderr: tc.err})
				if err != nil {
					t.Fatal(err)
				}
				c := r.start(t, p)
				if c.errno != 0 {
					t.Fatal(p.Explain(c.op, int(c.errno)))
				}
				var info unix.Siginfo
				if err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
					t.Fatal(err)
				}
				expected := tc.want1
				if tc.sameAsOurs {
					expected, _ = os.Readlink("/proc/self/fd/1")
				}
				if got := c.link("fd/1"); got != expected {
					t.Errorf("stdout is %s, want %s", got, expected)
				}
			})
		})
	}
}

func TestDescriptorHandedOverBecomesStdout(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r rung) {
		svc := service()
		svc.Script = "echo hello; echo /proc/$$/fd/* >&2"
		p, err := compiler(t).Compile(svc, Run{Stdout: Stdio{Kind: StdioSlot, Slot: 1}, Stderr: Stdio{Kind: StdioSlot, Slot: 0}})
		if err != nil {
			t.Fatal(err)
		}
		out, list := memfd(t, "out", nil), memfd(t, "err", nil)
		defer unix.Close(out)
		defer unix.Close(list)
		c := r.start(t, p, list, out)
		if c.errno != 0 {
			t.Fatal(p.Explain(c.op, int(c.errno)))
		}
		if status := c.wait(); status != 0 {
			t.Fatalf("status %#x", status)
		}
		text := func(fd int) string {
			b := make([]byte, 256)
			n, _ := unix.Pread(fd, b, 0)
			return string(b[:n])
		}
		if got := text(out); got != "hello\n" {
			t.Errorf("stdout %q", got)
		}
		// The fourth is the shell's own, for the folder it lists.
		if got := strings.Fields(text(list)); len(got) > 4 {
			t.Errorf("descriptors %q", got)
		}
	})
}

func TestCommandHasNoTerminal(t *testing.T) {
	svc := service()
	svc.Stdin, svc.TTY, svc.User = model.StdinTTY, "/dev/tty1", "nobody"
	svc.Environment = []model.EnvVar{{Name: "PORT", Value: "80"}}
	p, err := compiler(t).Command(svc, []string{"/bin/echo", "${PORT}"}, Run{Number: 4, ID: "x:web:4"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Argv, []string{"/bin/echo", "80"}) || !slices.Contains(p.Labels, "change user to nobody (uid 65534)") {
		t.Errorf("argv %q, labels %q", p.Argv, p.Labels)
	}
	if strings.Contains(strings.Join(p.Labels, "\n"), "tty1") {
		t.Errorf("labels %q", p.Labels)
	}
}

func BenchmarkCompile(b *testing.B) {
	c := compiler(b)
	svc := service()
	svc.Shell, svc.Command = false, []string{"sleep", "1000"}
	svc.User = "nobody"
	for b.Loop() {
		if _, err := c.Compile(svc, Run{Number: 1, Record: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestStoredDescriptorsAreFoundWhereSystemdsAre(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r rung) {
		c := compiler(t)
		c.Environ = append(c.Environ, "LISTEN_FDS=9", "NOTIFY_SOCKET=/run/other")
		out := memfd(t, "out", nil)
		defer unix.Close(out)
		path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), out)
		svc := service()
		svc.Inherit.All = true
		svc.Script = `echo $(($$ == LISTEN_PID)) $(($$ == WATCHDOG_PID)) $LISTEN_FDS $LISTEN_FDNAMES $NOTIFY_SOCKET $WATCHDOG_USEC $(cat /proc/$$/fd/3) $(cat /proc/$$/fd/4) >` + path
		p, err := c.Compile(svc, Run{
			Notify: "@abide/x", Watchdog: 1500 * time.Millisecond, Stored: []string{"one", "two"},
		})
		if err != nil {
			t.Fatal(err)
		}
		one, two := memfd(t, "one", []byte("first")), memfd(t, "two", []byte("second"))
		defer unix.Close(one)
		defer unix.Close(two)
		ch := r.start(t, p, one, two)
		if ch.errno != 0 {
			t.Fatal(p.Explain(ch.op, int(ch.errno)))
		}
		if status := ch.wait(); status != 0 {
			t.Fatalf("status %#x", status)
		}
		b := make([]byte, 256)
		n, _ := unix.Pread(out, b, 0)
		if got := string(b[:n]); got != "1 1 2 one:two @abide/x 1500000 first second\n" {
			t.Errorf("it says %q", got)
		}
	})
}

func TestANotificationSocketIsNobodyElses(t *testing.T) {
	c := compiler(t)
	c.Environ = append(c.Environ, "NOTIFY_SOCKET=/run/other", "WATCHDOG_USEC=1", "LISTEN_FDS=9")
	svc := service()
	svc.Inherit.All = true
	p, err := c.Compile(svc, Run{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range p.Env {
		if strings.HasPrefix(v, "NOTIFY_SOCKET=") || strings.HasPrefix(v, "WATCHDOG_") || strings.HasPrefix(v, "LISTEN_") {
			t.Errorf("it gets %s", v)
		}
	}
}
