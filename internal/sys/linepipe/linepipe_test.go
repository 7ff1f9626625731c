//go:build linux

package linepipe

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe makes one and returns its name and its read end.
func pipe(t *testing.T) (path string, fd int) {
	t.Helper()
	path, fd, err := Make(filepath.Join(t.TempDir(), "services", "web"), "7")
	if err != nil {
		t.Fatal(err)
	}
	return path, fd
}

func writer(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func await(t *testing.T, fd int) chan bool {
	t.Helper()
	told := make(chan bool, 10)
	cancel, err := Await(fd, func(line bool) { told <- line })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return told
}

func expect(t *testing.T, told chan bool, want bool) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Errorf("told %t, want %t", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is told")
	}
}

func TestANewlineIsHeard(t *testing.T) {
	path, fd := pipe(t)
	told := await(t, fd)
	w := writer(t, path)
	w.WriteString("on my way")
	w.WriteString(", nearly")
	w.WriteString(" there\n")
	expect(t, told, true)
}

func TestANewlineThatNobodyListenedToIsHeardLater(t *testing.T) {
	path, fd := pipe(t)
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	w := writer(t, path)
	w.WriteString("\n")
	w.Close()
	expect(t, await(t, fd), true)
	expect(t, await(t, copied), true) // whoever heard it may have died before it counted
}

func TestAnEndWithoutANewlineIsTold(t *testing.T) {
	path, fd := pipe(t)
	told := await(t, fd)
	w := writer(t, path)
	w.WriteString("no newline")
	w.Close()
	expect(t, told, false)
}

// Before the program has opened its end there is no writer, either.
func TestNobodyYetIsNoEnd(t *testing.T) {
	path, fd := pipe(t)
	if line, over := look(fd); line || over {
		t.Errorf("before anybody wrote: %t, %t", line, over)
	}
	w := writer(t, path)
	if line, over := look(fd); line || over {
		t.Errorf("while somebody may write: %t, %t", line, over)
	}
	w.Close()
	if line, over := look(fd); line || !over {
		t.Errorf("when nobody may any more: %t, %t", line, over)
	}
	unix.Close(fd)
}

func TestMuchBeforeANewlineDoesNotFillThePipe(t *testing.T) {
	path, fd := pipe(t)
	told := await(t, fd)
	w := writer(t, path)
	noise := make([]byte, 1<<20)
	w.Write(noise)
	w.WriteString("\n")
	expect(t, told, true)
}

func TestWhoDoesNotWaitAnyMoreIsNotTold(t *testing.T) {
	path, fd := pipe(t)
	w := writer(t, path)
	told := make(chan bool, 1)
	cancel, err := Await(fd, func(bool) { told <- true })
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	cancel()
	if _, err := w.WriteString("\n"); err == nil {
		t.Error("somebody still listens")
	}
	if len(told) != 0 {
		t.Error("told all the same")
	}
}

func TestPipesOfOtherRunsAreRemoved(t *testing.T) {
	path, fd := pipe(t)
	defer unix.Close(fd)
	next, other, err := Make(filepath.Dir(path), "8")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is there: %v", path, err)
	}
	if next == path {
		t.Error("both have one name")
	}
	if _, _, err := Make("/proc/nowhere", "1"); err == nil {
		t.Error("a pipe was made in no folder")
	}
}

func TestANewlineThatWasWrittenWhileNobodyHadThePipeIsFoundByItsName(t *testing.T) {
	path, fd := pipe(t)
	w, err := os.OpenFile(path, os.O_RDWR, 0) // as the program has it
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	unix.Close(fd)
	if _, err := w.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	again, err := Open(filepath.Dir(path), "7")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, await(t, again), true)
	Remove(filepath.Dir(path), "7")
	if _, err := Open(filepath.Dir(path), "7"); err == nil {
		t.Error("it is still there")
	}
}
