package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// wipe removes a run directory's content, as logind does at a logout.
func (in *instance) wipe() {
	in.t.Helper()
	if err := os.RemoveAll(in.run); err != nil {
		in.t.Fatal(err)
	}
	if err := os.Mkdir(in.run, 0o700); err != nil {
		in.t.Fatal(err)
	}
}

// hold is a read end as the keeper has it.
func hold(t *testing.T, p Pipe) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(p.ReadFD), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestRebuiltRunDirectoryServesAManagerThatTakesOver(t *testing.T) {
	in := newInstance(t)
	m := in.open()
	pipes, err := m.Begin("web", 1, os.Getuid(), os.Getgid(), fileSpec())
	if err != nil {
		t.Fatal(err)
	}
	held := [2]int{hold(t, pipes.Out), hold(t, pipes.Err)}
	p := in.program(pipes)
	fmt.Fprint(p.out, "one\ntw")
	in.barrier()
	in.wipe()
	p.out.WriteString("o\nthree\n")
	in.barrier()
	if err := m.Rebuild(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"services", "stage", journalFile} {
		if _, err := os.Stat(filepath.Join(in.run, name)); err != nil {
			t.Errorf("after the rebuild: %v", err)
		}
	}
	if err := m.Rebuild(); err != nil {
		t.Errorf("where nothing is missing: %v", err)
	}
	p.out.WriteString("four\nfi")
	p.err.WriteString("beside\n")
	in.barrier()
	another := in.begin("db", 3, fileSpec())
	another.out.WriteString("as ever\n")
	in.end("db", 3, another)
	m.Close()

	m = in.open()
	again, err := m.Adopt("web", 1, fileSpec())
	if err != nil {
		t.Fatal(err)
	}
	if again.Out.ReadFD != -1 || again.Err.ReadFD != -1 {
		t.Fatalf("pipes without a name were found: %+v", again)
	}
	for s, fd := range held {
		if err := m.AdoptFD("web", 1, Stream(s), fd, fileSpec()); err != nil {
			t.Fatal(err)
		}
	}
	m.Sweep()
	p.out.WriteString("ve\n")
	in.end("web", 1, p)
	records := in.records("web")
	if got := streamOf(records, 1, "out"); got != "one\ntwo\nthree\nfour\nfive\n" {
		t.Errorf("stdout came as %q", got)
	}
	if got := streamOf(records, 1, "err"); got != "beside\n" {
		t.Errorf("stderr came as %q", got)
	}
	if got := in.texts("db"); len(got) != 1 {
		t.Errorf("the other service's log: %q", got)
	}
}

// What waits for a full disk is in a stage; a wiped run directory must not cost it.
func TestRebuildKeepsWhatWaitsForADisk(t *testing.T) {
	in := newInstance(t)
	in.log = smallDisk(t, "256k")
	in.opt.LogDir = in.log
	m := in.open()
	block := func(l *model.Log) { l.Block = true }
	pipes, err := m.Begin("web", 1, os.Getuid(), os.Getgid(), fileSpec(block))
	if err != nil {
		t.Fatal(err)
	}
	held := hold(t, pipes.Out)
	p := in.program(pipes)
	p.out.WriteString("before\n")
	in.barrier()
	filler := fill(t, in.log)
	var want strings.Builder
	want.WriteString("before\n")
	for i := range 200 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 100))
		p.out.WriteString(line)
		want.WriteString(line)
	}
	in.barrier()
	in.wipe()
	if err := m.Rebuild(); err != nil {
		t.Fatal(err)
	}
	m.Close()
	m = in.open()
	if _, err := m.Adopt("web", 1, fileSpec(block)); err != nil {
		t.Fatal(err)
	}
	if err := m.AdoptFD("web", 1, Stdout, held, fileSpec(block)); err != nil {
		t.Fatal(err)
	}
	os.Remove(filler)
	in.retryNow()
	in.end("web", 1, p)
	if got := streamOf(in.records("web"), 1, "out"); got != want.String() {
		t.Errorf("%d bytes came back of %d", len(got), want.Len())
	}
}

func TestAdoptFDTakesPipesThatNeverHadAName(t *testing.T) {
	in := newInstance(t)
	m := in.open()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	both, err := unix.FcntlInt(uintptr(ends[0]), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.AdoptFD("old", 1, Stdout, ends[0], fileSpec()); err != nil {
		t.Fatal(err)
	}
	if err := m.AdoptFD("old", 1, Stderr, both, fileSpec()); err != nil {
		t.Errorf("one pipe as both streams: %v", err)
	}
	p := program{out: &end{ends[1]}}
	p.out.WriteString("hello\nlast")
	in.end("old", 1, p)
	if got := strings.Join(in.texts("old"), "|"); got != "1 out hello|1 out last" {
		t.Errorf("the log has %s", got)
	}
}

func TestAdoptFDRefusesWhatIsNoReadablePipe(t *testing.T) {
	in := newInstance(t)
	m := in.open()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	dup, _ := unix.Dup(int(file.Fd()))
	file.Close()
	if err := m.AdoptFD("web", 1, Stdout, dup, fileSpec()); err == nil || !strings.Contains(err.Error(), "no pipe") {
		t.Errorf("of a device: %v", err)
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	if err := m.AdoptFD("web", 1, Stdout, ends[1], fileSpec()); err == nil || !strings.Contains(err.Error(), "not open for reading") {
		t.Errorf("of a write end: %v", err)
	}
	if p := in.begin("web", 1, fileSpec()); p.out == nil {
		t.Error("a refused descriptor left the run taken")
	} else {
		in.end("web", 1, p)
	}
}
