//go:build linux && (amd64 || arm64)

package spawn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
)

// file makes a file in a folder that everybody may enter.
func file(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "abide-spawn-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every attribute that fails is named with its value and the reason, on every
// rung.
func TestFailuresNameAttributeValueAndReason(t *testing.T) {
	script := file(t, "script", "#!/usr/bin/python9 -u\n", 0o755)
	dos := file(t, "dos", "#!/bin/sh\r\n", 0o755)
	plain := file(t, "plain", "#!/bin/sh\n", 0o644)
	secret := file(t, "secret", "#!/bin/sh\n", 0o700)
	empty := file(t, "empty", "", 0o755)
	noise := file(t, "noise", "hello", 0o755)
	folder := filepath.Dir(script)
	command := func(argv ...string) func(*model.Service) {
		return func(s *model.Service) { s.Shell, s.Command = false, argv }
	}
	cases := []struct {
		name string
		set  func(s *model.Service)
		want string
		hint string
	}{
		{"missing program", command("/nowhere/prog"), "cannot run /nowhere/prog: it does not exist", ""},
		{"not executable", command(plain), "cannot run " + plain + ": it is not executable (mode 0644)", ""},
		{"a folder", command(folder), "cannot run " + folder + ": it is a directory", ""},
		{"an empty file", command(empty), "cannot run " + empty + ": it is empty", ""},
		{"neither binary nor script", command(noise), "cannot run " + noise + ": it is neither a binary nor a script that begins with #!", ""},
		{"missing interpreter", command(script), "cannot run " + script + ": its interpreter /usr/bin/python9 (line 1) does not exist", ""},
		{"a script with carriage returns", command(dos), "cannot run " + dos + ": its interpreter /bin/sh (line 1) does not exist: the line ends in a carriage return", ""},
		{"not for this user", func(s *model.Service) { command(secret)(s); s.User = "nobody" },
			"cannot run " + secret + ": user nobody may not (mode 0700, or its folders, or a mount with noexec)", ""},
		{"missing directory", func(s *model.Service) { s.Directory = "/nowhere" }, "cannot change directory to /nowhere: no such file or directory", "create /nowhere"},
		{"directory of somebody else", func(s *model.Service) { s.Directory, s.User = "/root", "nobody" }, "cannot change directory to /root: permission denied", "own user"},
		{"missing root", func(s *model.Service) { s.Chroot, s.Command, s.Shell = "/nowhere", []string{"/x"}, false }, "cannot change root to /nowhere: no such file or directory", ""},
		{"limit above the hard one", func(s *model.Service) { s.Rlimits = []model.Rlimit{{Name: "nofile", Soft: 65536, Hard: 4096}} },
			"cannot set RLIMIT_NOFILE to 65536:4096: invalid argument", "soft limit is above"},
		{"limit above the kernel's", func(s *model.Service) { s.Rlimits = []model.Rlimit{{Name: "nofile", Soft: 1, Hard: 1 << 40}} },
			"cannot set RLIMIT_NOFILE to 1:1099511627776: operation not permitted", "fs.nr_open"},
		{"no such processor", func(s *model.Service) { s.CPUs = []int{8000} }, "cannot set cpus to 8000: invalid argument", "none of these processors"},
		{"oom score out of range", func(s *model.Service) { s.OOMScore = ptr(5000) }, "cannot set oom_score to 5000: invalid argument", ""},
		{"bad scheduler priority", func(s *model.Service) { s.Scheduler = &model.Scheduler{Policy: "other", Priority: 3} },
			"cannot set scheduler to other with priority 3: invalid argument", ""},
		{"arguments too long", func(s *model.Service) { s.Script = strings.Repeat("x", 200_000) }, "cannot run /bin/sh: arguments and environment are too long", ""},
		{"missing terminal", func(s *model.Service) { s.Stdin, s.TTY = model.StdinTTY, "/dev/tty999" }, "cannot open /dev/tty999 for stdin: no such file or directory", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			onEveryRung(t, func(t *testing.T, r rung) {
				svc := service()
				tc.set(svc)
				p, err := compiler(t).Compile(svc, Run{Record: true})
				if err != nil {
					t.Fatal(err)
				}
				op, errno := r.start(t, p).failure()
				if got := p.Explain(op, int(errno)); got != tc.want {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
				if got := p.Hint(op, int(errno)); !strings.Contains(got, tc.hint) || tc.hint == "" && got != "" {
					t.Errorf("hint %q", got)
				}
			})
		})
	}
}

// setresuid(2): a user above its limit is found out by execve.
func TestUserWithTooManyProcessesIsNamed(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r rung) {
		svc := service()
		svc.User, svc.Group = "23456", "23456"
		r.run(t, compiler(t), svc, Run{})
		svc.Rlimits = []model.Rlimit{{Name: "nproc", Soft: 0, Hard: 0}}
		p, err := compiler(t).Compile(svc, Run{})
		if err != nil {
			t.Fatal(err)
		}
		op, errno := r.start(t, p).failure()
		if got := p.Explain(op, int(errno)); got != "cannot run /bin/sh: resource temporarily unavailable" {
			t.Error(got)
		}
		if got := p.Hint(op, int(errno)); got != "user 23456 has as many processes as RLIMIT_NPROC allows" {
			t.Error(got)
		}
	})
}

func TestAFailedJoinNamesTheCgroup(t *testing.T) {
	p, err := compiler(t).Compile(service(), Run{Joins: []string{"/sys/fs/cgroup/nowhere/cgroup.procs"}})
	if err != nil {
		t.Fatal(err)
	}
	op, errno := rungs[0].start(t, p).failure()
	if got := p.Explain(op, int(errno)); got != "cannot join the cgroup /sys/fs/cgroup/nowhere: no such file or directory" {
		t.Error(got)
	}
}

// What the machine does not have is said before anything is started.
func TestCompileRefuses(t *testing.T) {
	notExecutable := file(t, "tool", "", 0o644)
	cases := []struct {
		name string
		set  func(s *model.Service)
		want string
	}{
		{"unknown user", func(s *model.Service) { s.User = "shop" }, `cannot use user "shop": there is no such account in /etc/passwd`},
		{"unknown group", func(s *model.Service) { s.Group = "shop" }, `cannot use group "shop": there is no such group in /etc/group`},
		{"unknown supplementary group", func(s *model.Service) { s.Groups, s.GroupsSet = []string{"shop"}, true }, `cannot use group "shop"`},
		{"a number without group", func(s *model.Service) { s.User = "12345" }, "cannot use user 12345: the number has no account, so group must be given too"},
		{"a number that means nobody", func(s *model.Service) { s.User = "4294967295" }, `cannot use user "4294967295"`},
		{"program not in the path", func(s *model.Service) {
			s.Shell, s.Command, s.Path = false, []string{"nginy"}, []string{"/usr/bin", "/opt"}
		},
			"cannot find program nginy in /usr/bin:/opt"},
		{"program below a root", func(s *model.Service) { s.Shell, s.Command, s.Chroot = false, []string{"nginy"}, "/usr" }, "below /usr"},
		{"not executable in the path", func(s *model.Service) {
			s.Shell, s.Command, s.Path = false, []string{"tool"}, []string{filepath.Dir(notExecutable)}
		}, "cannot run " + notExecutable + ": it is not executable (mode 0644)"},
		{"variable not set", func(s *model.Service) { s.Shell, s.Command = false, []string{"echo", "${NOPE}"} }, "cannot use argument ${NOPE}: cannot expand ${NOPE}: it is not set"},
		{"relative directory", func(s *model.Service) { s.Directory = "srv" }, "cannot use directory srv: it is not an absolute path"},
		{"a NUL in an argument", func(s *model.Service) { s.Shell, s.Command = false, []string{"/bin/echo", "a\x00b"} }, "holds a NUL"},
		{"no command", func(s *model.Service) { s.Shell = false }, "cannot start web: it has no command"},
		{"unknown limit", func(s *model.Service) { s.Rlimits = []model.Rlimit{{Name: "files"}} }, "cannot set limit files"},
		{"unknown policy", func(s *model.Service) { s.Scheduler = &model.Scheduler{Policy: "deadline"} }, "cannot use scheduler"},
		{"unknown class", func(s *model.Service) { s.IOPriority = &model.IOPriority{Class: "high"} }, "cannot use io_priority"},
		{"negative processor", func(s *model.Service) { s.CPUs = []int{-1} }, "cannot use cpu -1"},
		{"missing environment file", func(s *model.Service) { s.EnvironmentFiles = []model.EnvFile{{Path: "/nowhere/env"}} },
			"cannot read environment file /nowhere/env: no such file or directory"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			svc := service()
			tc.set(svc)
			if _, err := compiler(t).Compile(svc, Run{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// As a plain user: what needs root fails by name, what does not works.
func TestPlainUser(t *testing.T) {
	const role = "ABIDE_TEST_PLAIN"
	if os.Getenv(role) == "" {
		path, err := abideExec()
		if err != nil {
			t.Fatal(err)
		}
		self := copied(t)
		cmd := exec.Command(self, "-test.run=^TestPlainUser$", "-test.v")
		cmd.Env = append(os.Environ(), role+"=1", execVariable+"="+path, "TMPDIR=/tmp")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	cases := map[string]func(s *model.Service){
		"cannot take the groups of user 1234 (65534): operation not permitted":     func(s *model.Service) { s.User, s.Group = "1234", "65534" },
		"cannot change root to /usr: operation not permitted":                      func(s *model.Service) { s.Chroot = "/usr" },
		"cannot set groups to 1: operation not permitted":                          func(s *model.Service) { s.Groups, s.GroupsSet = []string{"1"}, true },
		"cannot set nice to -3: permission denied":                                 func(s *model.Service) { s.Nice = ptr(-3) },
		"cannot set oom_score to -500: permission denied":                          func(s *model.Service) { s.OOMScore = ptr(-500) },
		"cannot set scheduler to fifo with priority 1: operation not permitted":    func(s *model.Service) { s.Scheduler = &model.Scheduler{Policy: "fifo", Priority: 1} },
		"cannot set io_priority to realtime, level 0: operation not permitted":     func(s *model.Service) { s.IOPriority = &model.IOPriority{Class: "realtime"} },
		"cannot set RLIMIT_NOFILE to 900000000:900000000: operation not permitted": func(s *model.Service) { s.Rlimits = []model.Rlimit{{Name: "nofile", Soft: 900000000, Hard: 900000000}} },
	}
	for want, set := range cases {
		onEveryRung(t, func(t *testing.T, r rung) {
			svc := service()
			set(svc)
			p, err := compiler(t).Compile(svc, Run{})
			if err != nil {
				t.Fatal(err)
			}
			op, errno := r.start(t, p).failure()
			got := p.Explain(op, int(errno))
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if p.Hint(op, int(errno)) == "" {
				t.Errorf("%s: no hint", got)
			}
		})
	}
	onEveryRung(t, func(t *testing.T, r rung) {
		svc := service()
		svc.User, svc.Group, svc.NoNewPrivileges, svc.Nice = "nobody", "nogroup", true, ptr(3)
		c := r.run(t, compiler(t), svc, Run{})
		if got := c.status("Uid"); got != "65534 65534 65534 65534" || c.stat(19) != 3 {
			t.Errorf("uid %s, nice %d", got, c.stat(19))
		}
	})
}

// copied returns a copy of the test binary that any user may run.
func copied(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "test", string(text), 0o755)
}

// A mount whose server never answers holds up neither the compiler nor whoever
// spawns; when it goes away the failure is told as any other.
func TestDeadMountHoldsUpOnlyTheServiceOnIt(t *testing.T) {
	const role = "ABIDE_TEST_DEAD_MOUNT"
	if os.Getenv(role) == "" {
		path, err := abideExec()
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run=^TestDeadMountHoldsUpOnlyTheServiceOnIt$", "-test.v")
		cmd.Env = append(os.Environ(), role+"="+t.TempDir(), execVariable+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	dir := filepath.Join(os.Getenv(role), "dead")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := compiler(t)
	if !c.Mounts.Local(dir) {
		t.Fatal("a plain folder is not local")
	}
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0) // and never reads a request
	if err != nil {
		t.Fatal(err)
	}
	options := "fd=" + itoa(int(server.Fd())) + ",rootmode=40000,user_id=0,group_id=0"
	if err := unix.Mount("dead", dir, "fuse", 0, options); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	link := filepath.Join(os.Getenv(role), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, svc := range []*model.Service{
		{Name: "a", Command: []string{filepath.Join(dir, "prog")}},
		{Name: "b", Command: []string{"prog"}, Path: []string{filepath.Join(link, "bin"), "/usr/bin"}},
		{Name: "c", Command: []string{"/bin/true"}, Directory: filepath.Join(link, "x")},
		{Name: "d", Command: []string{"/bin/true"}, Chroot: dir},
	} {
		p, err := c.Compile(svc, Run{})
		if err != nil {
			t.Fatalf("%s: %v", svc.Name, err)
		}
		if !p.Slow || !load(t, p.Bytes).Slow() {
			t.Errorf("%s is not slow", svc.Name)
		}
	}
	if svc := (&model.Service{EnvironmentFiles: []model.EnvFile{{Path: filepath.Join(link, "env")}}}); !c.MayBlock(svc) {
		t.Error("an environment file on a dead mount is taken for local")
	}
	svc := &model.Service{Name: "c", Command: []string{"/bin/true"}, Directory: dir}
	p, err := c.Compile(svc, Run{})
	if err != nil {
		t.Fatal(err)
	}
	ch := rung{"exec", vspawn.RungClone3, true}.start(t, p)
	if ch.errno != 0 {
		t.Fatal(ch.errno)
	}
	server.Close() // the mount is given up
	op, errno := ch.failure()
	if got := p.Explain(op, int(errno)); !strings.HasPrefix(got, "cannot change directory to "+dir+": ") {
		t.Error(got)
	}
}

// What is not about an op has words of its own, and no two share a number.
func TestFailuresThatAreNotAboutAnOp(t *testing.T) {
	p, err := compiler(t).Compile(service(), Run{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, op := range []int{vspawn.FailClone, vspawn.FailClose, vspawn.FailCgroup, vspawn.FailPass, prog.ReportNoProgram, prog.ReportRefused, prog.ReportNoExec, -99} {
		if int(int32(op)) != op {
			t.Errorf("%d does not survive the wire", op)
		}
		text := p.Explain(op, int(syscall.EAGAIN))
		if seen[text] || !strings.HasPrefix(text, "cannot ") {
			t.Errorf("%d: %s", op, text)
		}
		seen[text] = true
	}
	if got := p.Hint(vspawn.FailClone, int(syscall.EAGAIN)); !strings.Contains(got, "pids") {
		t.Error(got)
	}
}
