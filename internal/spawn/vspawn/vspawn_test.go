//go:build linux && (amd64 || arm64)

package vspawn

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/abide-project/abide/internal/spawn/prog"
)

var rungs = []Rung{RungClone3, RungClone, RungFork}

// onEveryRung runs a test on each rung that this system has: on a real kernel
// all of them.
func onEveryRung(t *testing.T, f func(t *testing.T, r Rung)) {
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			s := spawner(t)
			if !s.works(r) {
				t.Fatalf("this system has no rung %v", r)
			}
			f(t, r)
		})
	}
}

func spawner(t testing.TB) *Spawner {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// aligned copies a program to where Load accepts it.
func aligned(block []byte) []byte {
	words := make([]uint64, (len(block)+7)/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(block))
	copy(b, block)
	return b
}

func load(t testing.TB, b *prog.Builder) *prog.Loaded {
	t.Helper()
	block, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	l := new(prog.Loaded)
	if err := l.Load(aligned(block)); err != nil {
		t.Fatal(err)
	}
	return l
}

// finish ends a program in argv with an environment.
func finish(b *prog.Builder, env []string, argv ...string) {
	b.Call(prog.Execve, prog.At(b.Text(argv[0])), prog.At(b.Texts(argv)), prog.At(b.Texts(env)))
}

// output directs descriptor fd into a file.
func output(b *prog.Builder, path string, fd int) {
	open := b.Call(prog.Openat, prog.Int(int64(-100)), prog.At(b.Text(path)), prog.Int(os.O_WRONLY|os.O_CREATE|prog.OCloexec), prog.Int(0o600))
	b.Keep(open, b.Call(prog.Dup3, prog.Int(0), prog.Int(fd), prog.Int(0)), 0)
}

func wait(t testing.TB, pid, pidfd int) syscall.WaitStatus {
	t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, syscall.WALL, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			t.Fatalf("wait for %d: %v", pid, err)
		}
	}
	if err := syscall.Close(pidfd); err != nil {
		t.Fatalf("close pidfd %d: %v", pidfd, err)
	}
	return status
}

func spawnOK(t testing.TB, s *Spawner, r *Request) syscall.WaitStatus {
	t.Helper()
	pid, pidfd, op, errno := s.Spawn(r)
	if errno != 0 {
		t.Fatalf("op %d failed: %v", op, errno)
	}
	return wait(t, pid, pidfd)
}

func TestProbeFindsTheBestRung(t *testing.T) {
	if got := Probe(); got != rungs[0] {
		t.Fatalf("Probe() = %v, wanted %v", got, rungs[0])
	}
}

func TestProgramRunsAndItsStatusIsSeen(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r Rung) {
		b := prog.NewBuilder(prog.NativeArch)
		finish(b, nil, "/bin/sh", "-c", "exit 42")
		if got := spawnOK(t, spawner(t), &Request{Prog: load(t, b), Rung: r, CgroupFD: -1}); got.ExitStatus() != 42 {
			t.Fatalf("status %#x", got)
		}
	})
}

func TestProgramCanRunAgain(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r Rung) {
		out := filepath.Join(t.TempDir(), "out")
		b := prog.NewBuilder(prog.NativeArch)
		output(b, out, 1)
		finish(b, nil, "/bin/sh", "-c", "echo x >>"+out)
		l, s := load(t, b), spawner(t)
		for range 3 {
			spawnOK(t, s, &Request{Prog: l, Rung: r, CgroupFD: -1})
		}
		if got, _ := os.ReadFile(out); string(got) != "x\nx\nx\n" {
			t.Fatalf("output %q", got)
		}
	})
}

func TestFailingOpReportsIndexAndErrno(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r Rung) {
		b := prog.NewBuilder(prog.NativeArch)
		b.Call(prog.Setsid)
		b.Call(prog.Chdir, prog.At(b.Text("/nowhere/at/all")))
		finish(b, nil, "/bin/true")
		s := spawner(t)
		before := descriptors(t)
		pid, pidfd, op, errno := s.Spawn(&Request{Prog: load(t, b), Rung: r, CgroupFD: -1})
		if pid != 0 || pidfd != -1 || op != 1 || errno != syscall.ENOENT {
			t.Fatalf("Spawn() = %d, %d, %d, %v", pid, pidfd, op, errno)
		}
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
			t.Fatalf("a child is left: %v", err)
		}
		if after := descriptors(t); !slices.Equal(before, after) {
			t.Fatalf("descriptors %v, then %v", before, after)
		}
	})
}

func TestIgnoredFailureGoesOn(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r Rung) {
		b := prog.NewBuilder(prog.NativeArch)
		open := b.Call(prog.Openat, prog.Int(int64(-100)), prog.At(b.Text("/nowhere")), prog.Int(prog.OCloexec), prog.Int(0))
		b.Ignore(open)
		closing := b.Call(prog.Close, prog.Int(0))
		b.Keep(open, closing, 0)
		b.Ignore(closing)
		tries := b.Texts([]string{"true"})
		none := b.Texts(nil)
		b.Ignore(b.Call(prog.Execve, prog.At(b.Text("/nowhere/true")), prog.At(tries), prog.At(none)))
		b.Call(prog.Execve, prog.At(b.Text("/bin/true")), prog.At(tries), prog.At(none))
		spawnOK(t, spawner(t), &Request{Prog: load(t, b), Rung: r, CgroupFD: -1})
	})
}

func TestChildWritesItsPid(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r Rung) {
		out := filepath.Join(t.TempDir(), "out")
		b := prog.NewBuilder(prog.NativeArch)
		text := b.Block(make([]byte, 24))
		b.Pseudo(prog.OpPid, prog.At(text))
		open := b.Call(prog.Openat, prog.Int(int64(-100)), prog.At(b.Text(out)), prog.Int(os.O_WRONLY|os.O_CREATE|prog.OCloexec), prog.Int(0o600))
		b.Keep(open, b.Call(prog.Write, prog.Int(0), prog.At(text), prog.Int(prog.PidRoom)), 0)
		finish(b, nil, "/bin/true")
		pid, pidfd, op, errno := spawner(t).Spawn(&Request{Prog: load(t, b), Rung: r, CgroupFD: -1})
		if errno != 0 {
			t.Fatalf("op %d: %v", op, errno)
		}
		wait(t, pid, pidfd)
		got, _ := os.ReadFile(out)
		text2, _, _ := strings.Cut(string(got), "\x00")
		if text2 != strconv.Itoa(pid) {
			t.Fatalf("the child wrote %q, its pid is %d", got, pid)
		}
	})
}

func TestPidIsRecordedBeforeTheProgramRuns(t *testing.T) {
	page, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(page)
	record := (*atomic.Uint32)(unsafe.Pointer(&page[64]))
	onEveryRung(t, func(t *testing.T, r Rung) {
		for _, program := range []string{"/bin/true", "/nowhere"} {
			record.Store(0)
			b := prog.NewBuilder(prog.NativeArch)
			b.Pseudo(prog.OpRecord)
			finish(b, nil, program)
			pid, pidfd, _, errno := spawner(t).Spawn(&Request{Prog: load(t, b), Rung: r, CgroupFD: -1, Record: record})
			if errno == 0 {
				wait(t, pid, pidfd)
				if int(record.Load()) != pid {
					t.Fatalf("record %d, pid %d", record.Load(), pid)
				}
			}
			if record.Load() == 0 {
				t.Fatalf("%s: nothing recorded", program)
			}
		}
	})
}

// A parent's ignored signals, handlers and masks are its own business.
func TestSignalsAreDefaultAndUnblocked(t *testing.T) {
	signal.Ignore(syscall.SIGUSR1, syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGUSR1, syscall.SIGPIPE)
	onEveryRung(t, func(t *testing.T, r Rung) {
		status := childStatus(t, r, func(b *prog.Builder) {
			b.Pseudo(prog.OpDefSig)
			b.Call(prog.Sigprocmask, prog.Int(2), prog.At(b.Block(make([]byte, 8))), prog.Int(0), prog.Int(8))
		})
		for _, key := range []string{"SigBlk", "SigIgn", "SigCgt"} {
			if status[key] != "0000000000000000" {
				t.Errorf("%s %s", key, status[key])
			}
		}
	})
	if got := parseStatus(t, "/proc/thread-self/status")["SigBlk"]; got != "0000000000000000" {
		t.Errorf("the parent's thread was left with the mask %s", got)
	}
}

// childStatus returns /proc/self/status of a child that ran some ops first.
func childStatus(t *testing.T, r Rung, ops func(b *prog.Builder)) map[string]string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	b := prog.NewBuilder(prog.NativeArch)
	ops(b)
	output(b, out, 1)
	finish(b, nil, "/bin/cat", "/proc/self/status")
	spawnOK(t, spawner(t), &Request{Prog: load(t, b), Rung: r, CgroupFD: -1})
	return parseStatus(t, out)
}

func parseStatus(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.TrimSpace(value)
	}
	return status
}

func descriptors(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			list = append(list, e.Name()+" "+to)
		}
	}
	return list
}

// opened lists the descriptors of a child once its program runs: the parent goes
// on a little before exec closes what is marked.
func opened(t *testing.T, r Rung) (names []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	b := prog.NewBuilder(prog.NativeArch)
	output(b, path, 1)
	finish(b, nil, "/bin/sh", "-c", "echo; kill -STOP $$")
	pid, pidfd, op, errno := spawner(t).Spawn(&Request{Prog: load(t, b), Rung: r, CgroupFD: -1})
	if errno != 0 {
		t.Fatalf("op %d: %v", op, errno)
	}
	_, err = fifo.Read(make([]byte, 1))
	entries, err2 := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	syscall.Kill(pid, syscall.SIGKILL)
	wait(t, pid, pidfd)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestNoDescriptorLeaksIntoTheChild(t *testing.T) {
	var open []int
	defer func() {
		for _, fd := range open {
			syscall.Close(fd)
		}
	}()
	for range 1000 { // without close-on-exec, as a careless library would
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, fd)
	}
	onEveryRung(t, func(t *testing.T, r Rung) {
		names := opened(t, r)
		if !slices.Equal(names, []string{"0", "1", "2"}) {
			t.Fatalf("the child has %v", names)
		}
	})
	for _, fd := range open { // the parent's own are untouched
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); errno != 0 {
			t.Fatalf("the parent lost descriptor %d", fd)
		}
	}
}

func TestDescriptorsAreHandedOverInOrder(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r Rung) {
		dir := t.TempDir()
		var pass []int
		for i := range 5 {
			f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			pass = append(pass, int(f.Fd()))
		}
		slices.Reverse(pass) // targets that are sources of others
		b := prog.NewBuilder(prog.NativeArch)
		b.SetSlots(len(pass))
		script := ""
		for i := range pass {
			b.Call(prog.Fcntl, prog.Int(prog.FirstSlot+i), prog.Int(prog.FSetFD), prog.Int(0))
			script += fmt.Sprintf("echo slot %d >&%d; ", i, prog.FirstSlot+i)
		}
		finish(b, nil, "/bin/sh", "-c", script)
		spawnOK(t, spawner(t), &Request{Prog: load(t, b), Rung: r, CgroupFD: -1, Pass: pass})
		for i := range pass {
			got, _ := os.ReadFile(filepath.Join(dir, strconv.Itoa(len(pass)-1-i)))
			if string(got) != fmt.Sprintf("slot %d\n", i) {
				t.Errorf("slot %d got %q", i, got)
			}
		}
	})
}

func TestMissingAndBadDescriptorsAreRefused(t *testing.T) {
	b := prog.NewBuilder(prog.NativeArch)
	b.SetSlots(1)
	finish(b, nil, "/bin/true")
	l := load(t, b)
	onEveryRung(t, func(t *testing.T, r Rung) {
		s := spawner(t)
		if _, _, op, errno := s.Spawn(&Request{Prog: l, Rung: r, CgroupFD: -1}); op != FailPass || errno != syscall.EINVAL {
			t.Errorf("none given: %d, %v", op, errno)
		}
		if _, _, op, errno := s.Spawn(&Request{Prog: l, Rung: r, CgroupFD: -1, Pass: []int{99999}}); op != FailPass || errno != syscall.EBADF {
			t.Errorf("a closed one given: %d, %v", op, errno)
		}
	})
}

func TestChildIsBornInItsCgroup(t *testing.T) {
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root += "/unified"
	}
	dir, err := os.MkdirTemp(root, "abide-vspawn-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	onEveryRung(t, func(t *testing.T, r Rung) {
		out := filepath.Join(t.TempDir(), "out")
		b := prog.NewBuilder(prog.NativeArch)
		output(b, out, 1)
		finish(b, nil, "/bin/grep", "0::", "/proc/self/cgroup")
		spawnOK(t, spawner(t), &Request{Prog: load(t, b), Rung: r, CgroupFD: fd})
		if got, _ := os.ReadFile(out); !strings.HasSuffix(strings.TrimSpace(string(got)), filepath.Base(dir)) {
			t.Fatalf("cgroup %q, wanted %s", got, dir)
		}
		if _, _, op, errno := spawner(t).Spawn(&Request{Prog: load(t, b), Rung: r, CgroupFD: 99999}); errno == 0 {
			t.Errorf("a bad cgroup descriptor was accepted, op %d", op)
		}
	})
}

// Ten thousand children while the collector runs and signals rain, on one and on
// four processors: the child's memory is its parent's.
func TestTenThousandSpawnsUnderCollectionAndSignals(t *testing.T) {
	path := tiny(t)
	notified := make(chan os.Signal, 1)
	signal.Notify(notified, syscall.SIGTERM)
	defer signal.Stop(notified)
	for _, procs := range []int{1, 4} {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			// Each spawn asks for both while the next one is under way.
			collect, strike := make(chan struct{}, 1), make(chan struct{}, 1)
			var background sync.WaitGroup
			background.Go(func() {
				var garbage [][]byte
				for range collect {
					garbage = append(garbage[:len(garbage)%64], make([]byte, 4096))
					runtime.GC()
				}
			})
			background.Go(func() {
				for range strike {
					for range 4 {
						syscall.Kill(os.Getpid(), syscall.SIGURG)
						syscall.Kill(os.Getpid(), syscall.SIGTERM)
					}
				}
			})
			var spawning sync.WaitGroup
			for thread := range 2 { // each with a Spawner of its own
				s := spawner(t)
				spawning.Go(func() {
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
					b := prog.NewBuilder(prog.NativeArch)
					b.Pseudo(prog.OpDefSig)
					b.Call(prog.Sigprocmask, prog.Int(2), prog.At(b.Block(make([]byte, 8))), prog.Int(0), prog.Int(8))
					b.Call(prog.Setsid)
					finish(b, []string{"A=1"}, path)
					l := load(t, b)
					for i := range 2500 {
						rung := Rung((i + thread) % 2)
						for _, c := range []chan struct{}{collect, strike} {
							select {
							case c <- struct{}{}:
							default:
							}
						}
						pid, pidfd, op, errno := s.Spawn(&Request{Prog: l, Rung: rung, CgroupFD: -1})
						if errno != 0 {
							t.Errorf("spawn %d on %v: op %d: %v", i, rung, op, errno)
							return
						}
						if got := wait(t, pid, pidfd); got != 0 {
							t.Errorf("spawn %d on %v: status %#x", i, rung, got)
							return
						}
					}
				})
			}
			spawning.Wait()
			close(collect)
			close(strike)
			background.Wait()
		})
	}
}

func TestSpawnAllocatesNothing(t *testing.T) {
	b := prog.NewBuilder(prog.NativeArch)
	finish(b, nil, tiny(t))
	s, l := spawner(t), load(t, b)
	request := &Request{Prog: l, CgroupFD: -1}
	var status syscall.WaitStatus
	if n := testing.AllocsPerRun(20, func() {
		pid, pidfd, _, errno := s.Spawn(request)
		if errno != 0 {
			panic(errno)
		}
		syscall.Wait4(pid, &status, 0, nil)
		syscall.Close(pidfd)
	}); n != 0 {
		t.Fatalf("%v allocations a spawn", n)
	}
}

func BenchmarkSpawn(b *testing.B) {
	path := tiny(b)
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			builder := prog.NewBuilder(prog.NativeArch)
			finish(builder, nil, path)
			s, request := spawner(b), &Request{Prog: load(b, builder), Rung: r, CgroupFD: -1}
			for b.Loop() {
				pid, pidfd, _, errno := s.Spawn(request)
				if errno != 0 {
					b.Fatal(errno)
				}
				wait(b, pid, pidfd)
			}
		})
	}
	b.Run("ForkExec", func(b *testing.B) {
		for b.Loop() {
			pidfd := -1
			pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{PidFD: &pidfd}})
			if err != nil {
				b.Fatal(err)
			}
			wait(b, pid, pidfd)
		}
	})
}
