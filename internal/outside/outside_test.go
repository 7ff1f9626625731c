//go:build linux

package outside

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func start(t *testing.T, set func(*exec.Cmd), argv ...string) int {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	set(c)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c.Process.Pid
}

func TestAProcessIsSeenAsItIs(t *testing.T) {
	dir := t.TempDir()
	pid := start(t, func(c *exec.Cmd) { c.Dir, c.Env = dir, []string{"ABIDE_RUN_ID=x:web:1"} }, "/bin/sleep", "1000")
	p, err := Look("/proc", pid)
	if err != nil {
		t.Fatal(err)
	}
	if p.Pid != pid || p.Comm != "sleep" || p.Parent != os.Getpid() || !p.Only(os.Getuid()) || p.Kernel || p.Ended ||
		!slices.Equal(p.Command, []string{"/bin/sleep", "1000"}) || p.Directory != dir || p.RunID != "x:web:1" {
		t.Errorf("seen as %+v", p)
	}
	if s, err := Start("/proc", pid); err != nil || s != p.Start || s == 0 {
		t.Errorf("it began at %d, %v", s, err)
	}
	if up := Ancestors("/proc", pid); len(up) == 0 || up[0] != os.Getpid() {
		t.Errorf("its ancestors are %v", up)
	}
	if !SameNamespace("/proc", pid) {
		t.Error("its numbers are said to mean something else")
	}
	if _, err := Look("/proc", 1<<22); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
}

func TestAProcessInAnotherNamespaceIsToldApart(t *testing.T) {
	pid := start(t, func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID} }, "/bin/sleep", "1000")
	if SameNamespace("/proc", pid) {
		t.Error("it has numbers of its own")
	}
}

func TestKernelThreadsAreKnown(t *testing.T) {
	p, err := Look("/proc", 2)
	if err == nil && p.Comm == "kthreadd" && !p.Kernel {
		t.Errorf("seen as %+v", p)
	}
}

func TestOutputsAreNamed(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pid := start(t, func(c *exec.Cmd) { c.Stdout, c.Stderr = file, write }, "/bin/sleep", "1000")
	if o := OutputOf("/proc", pid, 1); o.Kind != File || o.String() != file.Name() {
		t.Errorf("stdout is %+v", o)
	}
	o := OutputOf("/proc", pid, 2)
	if o.Kind != Pipe || !strings.HasPrefix(o.String(), "a pipe (pipe:[") {
		t.Errorf("stderr is %+v", o)
	}
	if o := OutputOf("/proc", pid, 0); o.Kind != Null {
		t.Errorf("stdin is %+v", o)
	}
	if o := OutputOf("/proc", pid, 77); o.Kind != Closed {
		t.Errorf("descriptor 77 is %+v", o)
	}

	except := func(p int) bool { return p == pid }
	readers, err := Readers("/proc", o, except)
	if err != nil || len(readers) != 1 || readers[0].Pid != os.Getpid() {
		t.Errorf("read by %v, %v", readers, err)
	}
	read.Close()
	if readers, err := Readers("/proc", o, except); err != nil || len(readers) != 0 {
		t.Errorf("read by %v, %v", readers, err)
	}
	fd, err := OpenOutput("/proc", pid, 2, o)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	write.WriteString("hello")
	var b [16]byte
	if n, err := unix.Read(fd, b[:]); err != nil || string(b[:n]) != "hello" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if fd, err := OpenOutput("/proc", pid, 1, o); err == nil {
		unix.Close(fd)
		t.Error("another output was opened than the one that was seen")
	}
}
