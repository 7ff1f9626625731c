//go:build linux && (amd64 || arm64)

package vspawn

import (
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
	"unsafe"

	"github.com/abide-project/abide/internal/spawn/prog"
)

// A sandbox is a process in which the kernel refuses ways to make children, as
// the default profiles of containers do.
type sandbox struct {
	name string
	best Rung
	// refuse lists system calls and the errno they end with.
	refuse map[uint32]syscall.Errno
	// vm refuses clone with CLONE_VM for anything but threads.
	vm bool
}

const sysSeccomp = 317 - 40*(1-goarchIsAMD64) // 317 on amd64, 277 on arm64

var sandboxes = []sandbox{
	{name: "clone3 without an implementation", best: RungClone, refuse: map[uint32]syscall.Errno{435: syscall.ENOSYS}},
	{name: "clone3 not permitted", best: RungClone, refuse: map[uint32]syscall.Errno{435: syscall.EPERM}},
	{name: "no close_range", best: RungClone, refuse: map[uint32]syscall.Errno{436: syscall.ENOSYS}},
	{name: "no shared memory", best: RungFork, refuse: map[uint32]syscall.Errno{435: syscall.ENOSYS}, vm: true},
	{name: "no shared memory, no close_range", best: RungFork, refuse: map[uint32]syscall.Errno{435: syscall.ENOSYS, 436: syscall.EPERM}, vm: true},
}

const sandboxVariable = "ABIDE_TEST_SANDBOX"

func TestMain(m *testing.M) {
	if name := os.Getenv(sandboxVariable); name != "" {
		for _, s := range sandboxes {
			if s.name == name {
				if err := s.enter(); err != nil {
					fmt.Println("cannot enter the sandbox:", err)
					os.Exit(1)
				}
				rungs = []Rung{s.best}
			}
		}
	}
	os.Exit(m.Run())
}

type bpf struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// enter installs a seccomp filter in all threads.
func (s sandbox) enter() error {
	const (
		load, jumpEqual, jumpSet, ret = 0x20, 0x15, 0x45, 0x06
		allow, refuse                 = 0x7fff0000, 0x00050000
	)
	filter := []bpf{{load, 0, 0, 0}}
	for nr, errno := range s.refuse {
		filter = append(filter, bpf{jumpEqual, 0, 1, nr}, bpf{ret, 0, 0, refuse | uint32(errno)})
	}
	if s.vm {
		filter = append(filter,
			bpf{jumpEqual, 0, 4, syscall.SYS_CLONE},
			bpf{load, 0, 0, 16},
			bpf{jumpSet, 2, 0, syscall.CLONE_THREAD},
			bpf{jumpSet, 0, 1, syscall.CLONE_VM},
			bpf{ret, 0, 0, refuse | uint32(syscall.EPERM)})
	}
	filter = append(filter, bpf{ret, 0, 0, allow})
	program := struct {
		n uint16
		p *bpf
	}{uint16(len(filter)), &filter[0]}
	const setModeFilter, allThreads = 1, 1
	_, _, errno := syscall.RawSyscall(sysSeccomp, setModeFilter, allThreads, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return errno
	}
	return nil
}

// inside are the tests that run again in each sandbox.
const inside = "^(TestProbeFindsTheBestRung|TestProgramRunsAndItsStatusIsSeen|TestFailingOpReportsIndexAndErrno|TestIgnoredFailureGoesOn|" +
	"TestChildWritesItsPid|TestPidIsRecordedBeforeTheProgramRuns|TestSignalsAreDefaultAndUnblocked|TestChildIsBornInItsCgroup|TestDescriptorsAreHandedOverInOrder|TestMarkedDescriptorsDoNotLeak)$"

func TestRungsWhereTheKernelRefusesBetterOnes(t *testing.T) {
	for _, s := range sandboxes {
		t.Run(s.name, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "-test.run="+inside, "-test.v")
			cmd.Env = append(os.Environ(), sandboxVariable+"="+s.name)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "/"+s.best.String()) {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// Where close_range is missing, descriptors that are marked close-on-exec stay
// with the parent all the same.
func TestMarkedDescriptorsDoNotLeak(t *testing.T) {
	for _, d := range descriptors(t) { // whatever the test was started with
		number, _, _ := strings.Cut(d, " ")
		if fd, err := strconv.Atoi(number); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	for range 20 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	onEveryRung(t, func(t *testing.T, r Rung) {
		if names := opened(t, r); !slices.Equal(names, []string{"0", "1", "2"}) {
			t.Fatalf("the child has %v", names)
		}
	})
}

// Exec replaces this process, so a copy of it does.
func TestExecRunsAProgramInThisProcess(t *testing.T) {
	const role = "ABIDE_TEST_EXEC"
	out := os.Getenv(role)
	if out == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		out = filepath.Join(t.TempDir(), "out")
		cmd := exec.Command(self, "-test.run=^TestExecRunsAProgramInThisProcess$")
		cmd.Env = append(os.Environ(), role+"="+out)
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		got, _ := os.ReadFile(out)
		if want := fmt.Sprintf("%d ran\n", cmd.Process.Pid); string(got) != want {
			t.Fatalf("output %q, wanted %q\n%s", got, want, text)
		}
		return
	}
	runtime.LockOSThread()
	s := spawner(t)
	b := prog.NewBuilder(prog.NativeArch)
	b.Pseudo(prog.OpRecord)
	b.Call(prog.Umask, prog.Int(0o77))
	b.Call(prog.Chdir, prog.At(b.Text("/nowhere")))
	finish(b, nil, "/bin/true")
	if op, errno := s.Exec(load(t, b)); op != 2 || errno != syscall.ENOENT {
		t.Fatalf("Exec() = %d, %v", op, errno)
	}
	b = prog.NewBuilder(prog.NativeArch)
	b.Pseudo(prog.OpDefSig)
	script := b.Block([]byte(strings.Repeat("\x00", 16)))
	b.Pseudo(prog.OpPid, prog.At(script))
	output(b, out, 1)
	finish(b, nil, "/bin/sh", "-c", "echo $$ ran")
	op, errno := s.Exec(load(t, b))
	t.Fatalf("Exec() = %d, %v", op, errno)
}
