package svlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

func TestLinesCarryTimeRunAndStream(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 7, fileSpec())
	p.out.WriteString("hello\n")
	p.err.WriteString("oops\n")
	in.end("web", 7, p)
	got := in.texts("web")
	slices.Sort(got)
	if want := []string{"7 err oops", "7 out hello"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	line, _, _ := strings.Cut(in.content("web"), "\n")
	if ns, n, form := parseStamp([]byte(line)); n != rfcLen || form != model.StampRFC3339 || ns == 0 {
		t.Errorf("line %q has no RFC 3339 stamp", line)
	}
	if info, err := os.Stat(filepath.Dir(in.path("web"))); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
}

func TestInterruptedLineIsContinuedAndJoinedWhenRead(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("one, ")
	in.barrier()
	p.err.WriteString("an error\n")
	in.barrier()
	p.out.WriteString("two\n")
	in.end("web", 1, p)
	if c := in.content("web"); !strings.Contains(c, " 1 out one, \n") || !strings.Contains(c, " 1 out+ two\n") {
		t.Errorf("log:\n%s", c)
	}
	if got, want := in.texts("web"), []string{"1 out one, two", "1 err an error"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLineGrowsOnOnePhysicalLineWhileNobodyInterrupts(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	for range 5 {
		p.out.WriteString("ab")
		in.barrier()
	}
	p.out.WriteString("\n")
	in.end("web", 1, p)
	if c := in.content("web"); strings.Count(c, "\n") != 1 || !strings.HasSuffix(c, " 1 out ababababab\n") {
		t.Errorf("log: %q", c)
	}
}

func TestUnterminatedLastLineIsNotJoinedToTheNextRun(t *testing.T) {
	for _, stamp := range []model.Stamp{model.StampRFC3339, model.StampNone} {
		in := newInstance(t)
		in.open()
		spec := fileSpec(func(l *model.Log) { l.Stamp = stamp })
		p := in.begin("web", 1, spec)
		p.out.WriteString("the end")
		in.barrier()
		next := in.begin("web", 2, spec)
		in.end("web", 1, p)
		next.out.WriteString("the start\n")
		in.end("web", 2, next)
		if c := in.content("web"); strings.Count(c, "\n") != 2 || !strings.Contains(c, "the end\n") {
			t.Errorf("stamp %d: log %q", stamp, c)
		}
	}
}

func TestBinaryAndTenMegabyteLinesPassUnchanged(t *testing.T) {
	for i, form := range []func(*model.Log){
		func(*model.Log) {}, func(l *model.Log) { l.JSON = true }, func(l *model.Log) { l.Size = 1 << 20 },
	} {
		in := newInstance(t)
		in.open()
		p := in.begin("web", 3, fileSpec(form))
		long := make([]byte, 10<<20)
		for i := range long {
			if long[i] = byte(i * 7); long[i] == '\n' {
				long[i] = 0
			}
		}
		p.out.Write(long)
		p.out.WriteString("\nshort\n")
		in.end("web", 3, p)
		got := streamOf(in.records("web"), 3, "out")
		if want := string(long) + "\nshort\n"; got != want {
			at := 0
			for at < min(len(got), len(want)) && got[at] == want[at] {
				at++
			}
			t.Errorf("form %d: %d bytes came back of %d, the first different is number %d", i, len(got), len(want), at)
		}
		if in.m.stage.size > stageMap {
			t.Errorf("the stage grew to %d bytes", in.m.stage.size)
		}
	}
}

func TestStampNoneIsTheProgramsBytes(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Stamp = model.StampNone }))
	p.out.WriteString("a\x00b")
	in.barrier()
	p.err.WriteString("c\n")
	in.barrier()
	in.end("web", 1, p)
	if c := in.content("web"); c != "a\x00bc\n" {
		t.Errorf("log: %q", c)
	}
}

func TestJSONLinesAreObjects(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 4, fileSpec(func(l *model.Log) { l.JSON = true }))
	p.out.WriteString("say \"hi\"\t\x01\n\xff\xfe\n")
	in.end("web", 4, p)
	var texts []string
	for _, line := range strings.Split(strings.TrimSpace(in.content("web")), "\n") {
		var v struct {
			Service, Stream, Text string
			Run                   int
			Base64                []byte
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if v.Service != "web" || v.Run != 4 || v.Stream != "out" {
			t.Errorf("object %q", line)
		}
		texts = append(texts, v.Text+string(v.Base64))
	}
	if want := []string{"say \"hi\"\t\x01", "\xff\xfe"}; !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
}

func TestSeveralTargetsEachHaveEverything(t *testing.T) {
	in := newInstance(t)
	second := filepath.Join(t.TempDir(), "second.log")
	in.open()
	spec := fileSpec()
	spec.Stdout = []model.LogTarget{{Kind: model.LogFile}, {Kind: model.LogPath, Path: second}, {Kind: model.LogNull}}
	spec.Stderr = []model.LogTarget{{Kind: model.LogNull}}
	p, err := in.m.Begin("web", 1, 12345, 12346, spec)
	if err != nil {
		t.Fatal(err)
	}
	if p.Err.Kind != PipeNull || p.Err.ReadFD != -1 {
		t.Errorf("stderr: %+v", p.Err)
	}
	var st unix.Stat_t
	if unix.Stat(p.Out.Path, &st); st.Uid != 12345 || st.Gid != 12346 || st.Mode&0o777 != 0o600 {
		t.Errorf("the FIFO belongs to %d:%d, mode %o", st.Uid, st.Gid, st.Mode)
	}
	prog := in.program(p)
	prog.out.WriteString("twice\n")
	in.end("web", 1, prog)
	for _, path := range []string{in.path("web"), second} {
		if b, err := os.ReadFile(path); err != nil || !bytes.HasSuffix(b, []byte(" 1 out twice\n")) {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	if unix.Stat(second, &st); st.Uid != 12345 || st.Gid != 12346 {
		t.Errorf("the file belongs to %d:%d", st.Uid, st.Gid)
	}
}

func TestPathsOfDefinitionsFollowNoLinks(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	os.WriteFile(secret, []byte("secret\n"), 0o600)
	os.Symlink(secret, filepath.Join(dir, "link"))
	os.Mkdir(filepath.Join(dir, "real"), 0o755)
	os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "linked"))
	os.Link(secret, filepath.Join(dir, "hard"))
	unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)
	for _, path := range []string{"link", "linked/log", "hard", "fifo"} {
		for _, old := range []bool{false, true} {
			noOpenat2.Store(old)
			in := newInstance(t)
			in.open()
			spec := fileSpec()
			spec.Stdout = []model.LogTarget{{Kind: model.LogPath, Path: filepath.Join(dir, path)}}
			p := in.begin("web", 1, spec)
			p.out.WriteString("an attack\n")
			in.end("web", 1, p)
			if !in.reported("cannot write log " + filepath.Join(dir, path)) {
				t.Errorf("%s: nothing was reported: %q", path, in.reports)
			}
			if s := in.m.Stats("web"); s.DroppedLines != 1 || s.Trouble == "" {
				t.Errorf("%s: %+v", path, s)
			}
		}
	}
	noOpenat2.Store(false)
	if b, _ := os.ReadFile(secret); string(b) != "secret\n" {
		t.Errorf("the secret is now %q", b)
	}
	if _, err := os.Stat(filepath.Join(dir, "real/log")); err == nil {
		t.Error("a file was made behind a linked folder")
	}
}

func TestTruncatedLogGoesOnAtItsNewEnd(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("one\n")
	in.barrier()
	if err := os.Truncate(in.path("web"), 0); err != nil {
		t.Fatal(err)
	}
	p.out.WriteString("two\n")
	in.barrier()
	f, _ := os.OpenFile(in.path("web"), os.O_WRONLY|os.O_APPEND, 0)
	f.WriteString("an admin's remark")
	f.Close()
	p.out.WriteString("three\n")
	in.end("web", 1, p)
	if got, want := in.texts("web"), []string{"1 out two", "0  an admin's remark", "1 out three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRemovedLogIsMadeAgain(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("one\n")
	in.barrier()
	os.RemoveAll(in.log)
	p.out.WriteString("two\n")
	in.end("web", 1, p)
	if got, want := in.texts("web"), []string{"1 out two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestShortWritesAreContinued(t *testing.T) {
	in := newInstance(t)
	m, err := openInto(new(Manager), in.opt, func(fd int, p []byte, off int64) (int, error) {
		return unix.Pwrite(fd, p[:min(len(p), 7)], off)
	})
	if err != nil {
		t.Fatal(err)
	}
	in.m = m
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("a line that is longer than one write\nand another\n")
	in.end("web", 1, p)
	want := []string{"1 out a line that is longer than one write", "1 out and another"}
	if got := in.texts("web"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDescriptorsAreConstant(t *testing.T) {
	in := newInstance(t)
	in.open()
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	var first int
	for run := range uint64(200) {
		p := in.begin("web", run+1, fileSpec(func(l *model.Log) { l.Size = 500 }))
		fmt.Fprintf(p.out, "run %d\n", run)
		in.end("web", run+1, p)
		if run == 3 {
			first = count()
		}
	}
	if now := count(); now != first {
		t.Errorf("%d descriptors, %d at first", now, first)
	}
	if used := int(in.m.journal.nextRun) - 1 - len(in.m.journal.freeRuns); used != 0 {
		t.Errorf("%d run records leaked", used)
	}
	in.m.Forget("web")
	in.barrier()
	if now := count(); now != first-1 {
		t.Errorf("%d descriptors after Forget, want %d", now, first-1)
	}
}

func TestTakesAllocateNothing(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	line := bytes.Repeat([]byte("0123456789abcdef\n"), 200)
	allocs := make(chan float64)
	in.barrier()
	in.m.do(func() {
		src := in.m.runs[runKey{"web", 1}].live[0]
		allocs <- testing.AllocsPerRun(50, func() {
			p.out.Write(line)
			in.m.serve(src)
			in.m.ready = in.m.ready[:0]
			src.queued = false
		})
	})
	if n := <-allocs; n > 0 {
		t.Errorf("%v allocations a take", n)
	}
	in.end("web", 1, p)
}

func TestRunsLeftBehindAreSweptIntoTheirLogs(t *testing.T) {
	in := newInstance(t)
	own := filepath.Join(t.TempDir(), "own.log")
	in.open()
	spec := fileSpec()
	spec.Stdout = []model.LogTarget{{Kind: model.LogPath, Path: own}}
	p := in.begin("web", 1, spec)
	kept := in.begin("keep", 4, fileSpec())
	aux := in.begin("web/reload", AuxNumber(9, 1), spec)
	p.out.WriteString("unfin")
	in.barrier()
	in.m.Close()
	p.out.WriteString("ished")
	kept.out.WriteString("kept\n")
	aux.out.WriteString("aux\n")
	m := in.open()
	if pipes, err := m.Adopt("keep", 4, fileSpec()); err != nil || pipes.Out.ReadFD < 0 {
		t.Fatalf("%+v, %v", pipes, err)
	}
	m.Sweep()
	in.barrier()
	p.close()
	aux.close()
	// What is left ends when its last writer does.
	in.barrier()
	in.barrier()
	if left, _ := filepath.Glob(filepath.Join(in.run, "services/web/[0-9r]*")); len(left) > 0 {
		t.Errorf("%v left", left)
	}
	b, _ := os.ReadFile(own)
	if c := string(b); !strings.Contains(c, "1 out unfinished\n") || !strings.Contains(c, "9 reload aux\n") {
		t.Errorf("own log: %q", c)
	}
	in.end("keep", 4, kept)
	if got := in.texts("keep"); !slices.Equal(got, []string{"4 out kept"}) {
		t.Errorf("kept: %q", got)
	}
}

func TestFIFOsAreUsedAgainButNotByAnotherUser(t *testing.T) {
	in := newInstance(t)
	in.open()
	inode := func(path string) uint64 {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&0o777 != 0o600 {
			t.Errorf("%s has mode %o", path, st.Mode&0o777)
		}
		return st.Ino
	}
	begin := func(run uint64, uid int) (Pipes, program) {
		p, err := in.m.Begin("web", run, uid, uid, fileSpec())
		if err != nil {
			t.Fatal(err)
		}
		return p, in.program(p)
	}
	pipes, p := begin(1, 1001)
	first := inode(pipes.Out.Path)
	os.Chmod(pipes.Out.Path, 0o666)
	p.out.WriteString("one")
	in.end("web", 1, p)

	pipes, p = begin(2, 1002)
	if inode(pipes.Out.Path) == first || inode(pipes.Err.Path) == first {
		t.Error("another user has the FIFO")
	}
	p.out.WriteString("two\n")
	in.end("web", 2, p)

	pipes, p = begin(3, 1001)
	if inode(pipes.Out.Path) != first && inode(pipes.Err.Path) != first {
		t.Error("the FIFO was not used again")
	}
	p.out.WriteString("three\n")
	in.end("web", 3, p)
	if got, want := in.texts("web"), []string{"1 out one", "2 out two", "3 out three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	in.m.Forget("web")
	in.barrier()
	if left, _ := filepath.Glob(filepath.Join(in.run, "services/web/*")); len(left) > 0 {
		t.Errorf("%v left", left)
	}
}

func TestAbandonedRunEndsThoughOthersHoldItsPipes(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("last words\n")
	done := make(chan struct{})
	in.m.Ended("web", 1, func() { close(done) })
	in.barrier()
	select {
	case <-done:
		t.Fatal("the run ended while its pipes were open")
	default:
	}
	in.m.Abandon("web", 1)
	<-done
	p.close()
	if got := in.texts("web"); !slices.Equal(got, []string{"1 out last words"}) {
		t.Errorf("got %q", got)
	}
}

func TestConfigureMovesARunningProgramsOutput(t *testing.T) {
	in := newInstance(t)
	second := filepath.Join(t.TempDir(), "second.log")
	in.open()
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("one\ntw")
	in.barrier()
	spec := fileSpec()
	spec.Stdout = []model.LogTarget{{Kind: model.LogPath, Path: second}}
	if err := in.m.Configure("web", spec); err != nil {
		t.Fatal(err)
	}
	in.barrier()
	p.out.WriteString("o\nthree\n")
	in.end("web", 1, p)
	if c := in.content("web"); !strings.HasSuffix(c, " 1 out tw\n") {
		t.Errorf("first log: %q", c)
	}
	if b, _ := os.ReadFile(second); !strings.Contains(string(b), " 1 out+ o\n") || !strings.HasSuffix(string(b), " 1 out three\n") {
		t.Errorf("second log: %q", b)
	}
}

func TestNotesAreLinesOfTheirOwn(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 2, fileSpec())
	p.out.WriteString("half a li")
	in.barrier()
	in.m.Note("web", 2, "two\nlines")
	p.out.WriteString("ne\n")
	in.end("web", 2, p)
	if got, want := in.texts("web"), []string{"2 out half a line", "2 abide two lines"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesThatAreNoFoldersAreRefused(t *testing.T) {
	in := newInstance(t)
	in.open()
	for _, name := range []string{"", "..", "a/b/c", "../x", "a/..", ".hidden", "x\x00", strings.Repeat("n", maxName+1)} {
		if _, err := in.m.Begin(name, 1, 0, 0, fileSpec()); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	if _, err := in.m.Begin("web", 1, 0, 0, fileSpec(func(l *model.Log) {
		l.Stdout = []model.LogTarget{{Kind: model.LogInherit}, {Kind: model.LogFile}}
	})); err == nil {
		t.Error("inherit with another target was accepted")
	}
}

func TestClosedManagerRefuses(t *testing.T) {
	in := newInstance(t)
	in.open().Close()
	if _, err := in.m.Begin("web", 1, 0, 0, fileSpec()); err != ErrClosed {
		t.Errorf("Begin: %v", err)
	}
	if err := in.m.Sweep(); err != ErrClosed {
		t.Errorf("Sweep: %v", err)
	}
}
