package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// smallDisk is a file system of its own with room for a few pages.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill takes all room of a disk until the file it returns is removed.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for {
		if _, err := f.Write(page); err != nil {
			return path
		}
	}
}

// retryNow makes the Manager try its troubled logs at once.
func (in *instance) retryNow() {
	in.t.Helper()
	done := make(chan struct{})
	in.m.do(func() {
		now := in.m.now()
		for _, k := range in.m.sinks {
			k.retryAt = 0
		}
		in.m.tick(now, in.m.mono(now))
		close(done)
	})
	<-done
	in.barrier()
}

func TestFullDiskDropsCountsAndSaysSoAtThePlace(t *testing.T) {
	for _, form := range []func(*model.Log){
		func(*model.Log) {}, func(l *model.Log) { l.JSON = true },
		func(l *model.Log) { l.Stamp = model.StampNone }, func(l *model.Log) { l.Stamp = model.StampTAI64N },
	} {
		in := newInstance(t)
		in.log = smallDisk(t, "256k")
		in.opt.LogDir = in.log
		in.open()
		p := in.begin("web", 1, fileSpec(form))
		p.out.WriteString("before\n")
		in.barrier()
		filler := fill(t, in.log)
		written := uint64(0)
		for i := range 100 {
			n, _ := fmt.Fprintf(p.out, "line %d %s\n", i, strings.Repeat("x", 200))
			written += uint64(n)
			in.barrier()
		}
		s := in.m.Stats("web")
		if s.DroppedBytes == 0 || s.DroppedLines == 0 || s.Trouble == "" {
			t.Fatalf("a full disk shows as %+v", s)
		}
		os.Remove(filler)
		in.retryNow()
		p.out.WriteString("after\n")
		in.end("web", 1, p)
		c := in.content("web")
		note := fmt.Sprintf("dropped %d bytes in %d lines: no space left on device", s.DroppedBytes, s.DroppedLines)
		if !strings.Contains(c, note) {
			t.Errorf("the log does not say %q:\n%s", note, c[max(0, len(c)-400):])
		}
		var kept uint64
		for _, r := range in.records("web") {
			if text := string(r.Text); strings.HasPrefix(text, "line ") {
				kept += uint64(len(text)) + 1
			}
		}
		if diff := int64(written) - int64(kept+s.DroppedBytes); diff < -1 || diff > 1 {
			t.Errorf("%d bytes written, %d kept and %d dropped", written, kept, s.DroppedBytes)
		}
		if s := in.m.Stats("web"); s.Trouble != "" {
			t.Errorf("the trouble is over, but %+v", s)
		}
		if !in.reported("is written again") {
			t.Errorf("reports: %q", in.reports)
		}
	}
}

func TestFullDiskBlocksOnlyWhoAskedForIt(t *testing.T) {
	in := newInstance(t)
	in.log = smallDisk(t, "256k")
	in.opt.LogDir = in.log
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Block = true }))
	elsewhere := filepath.Join(t.TempDir(), "other.log")
	other := in.begin("other", 1, &model.Log{Stdout: []model.LogTarget{{Kind: model.LogPath, Path: elsewhere}}})
	p.out.WriteString("before\n")
	in.barrier()
	filler := fill(t, in.log)
	var want strings.Builder
	want.WriteString("before\n")
	blocked := false
	for i := range 3000 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 200))
		if n, err := p.out.try([]byte(line)); err != nil {
			want.WriteString(line[:max(n, 0)])
			blocked = true
			break
		}
		want.WriteString(line)
		if i%100 == 0 {
			in.barrier()
		}
	}
	if !blocked {
		t.Error("the program was not made to wait")
	}
	other.out.WriteString("not concerned\n")
	in.barrier()
	if b, _ := os.ReadFile(elsewhere); !strings.Contains(string(b), "not concerned") {
		t.Errorf("the other log: %q", b)
	}
	// A Manager that takes over meanwhile has the same patience.
	in.m.Close()
	in.open()
	for name := range map[string]bool{"web": true, "other": true} {
		spec := fileSpec(func(l *model.Log) { l.Block = true })
		if name == "other" {
			spec = &model.Log{Stdout: []model.LogTarget{{Kind: model.LogPath, Path: elsewhere}}}
		}
		if _, err := in.m.Adopt(name, 1, spec); err != nil {
			t.Fatal(err)
		}
	}
	in.barrier()
	os.Remove(filler)
	in.retryNow()
	in.retryNow()
	// The log does not fit as a whole: what is needed is the room of a bigger disk.
	if err := unix.Mount("", in.log, "", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	in.retryNow()
	in.retryNow()
	in.end("web", 1, p)
	in.end("other", 1, other)
	got := streamOf(in.records("web"), 1, "out")
	if strings.TrimRight(got, "\n") != strings.TrimRight(want.String(), "\n") {
		t.Errorf("%d bytes came back of %d", len(got), want.Len())
	}
	if s := in.m.Stats("web"); s.DroppedBytes != 0 {
		t.Errorf("dropped: %+v", s)
	}
}

// Nothing but the wait itself brings the log to life again.
func TestBlockedLogIsTriedAgainByItself(t *testing.T) {
	in := newInstance(t)
	fails := 1
	m, err := openInto(new(Manager), in.opt, func(fd int, p []byte, off int64) (int, error) {
		if fails > 0 {
			fails--
			return 0, unix.EIO
		}
		return unix.Pwrite(fd, p, off)
	})
	if err != nil {
		t.Fatal(err)
	}
	in.m = m
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Block = true }))
	p.out.WriteString("patience\n")
	in.end("web", 1, p)
	if got := strings.Join(in.texts("web"), "|"); got != "1 out patience" {
		t.Errorf("the log has %s", got)
	}
}

func TestHangingDiskMakesNoProgramWait(t *testing.T) {
	in := newInstance(t)
	hang := make(chan struct{})
	var hanging atomic.Bool
	m := new(Manager)
	m.relief.patience = 10 * time.Millisecond
	if _, err := openInto(m, in.opt, func(fd int, p []byte, off int64) (int, error) {
		if hanging.Load() {
			<-hang
		}
		return unix.Pwrite(fd, p, off)
	}); err != nil {
		t.Fatal(err)
	}
	in.m = m
	p := in.begin("web", 1, fileSpec())
	patient := in.begin("patient", 1, fileSpec(func(l *model.Log) { l.Block = true }))
	p.out.WriteString("before\n")
	patient.out.WriteString("before\n")
	in.barrier()
	hanging.Store(true)
	line := strings.Repeat("x", 999) + "\n"
	written := 0
	for range 1000 {
		n, err := p.out.WriteString(line)
		if err != nil {
			t.Fatal(err)
		}
		written += n
	}
	for {
		if _, err := patient.out.try([]byte(line)); err != nil {
			break
		}
	}
	hanging.Store(false)
	close(hang)
	p.out.WriteString("after\n")
	in.end("web", 1, p)
	in.end("patient", 1, patient)
	s := m.Stats("web")
	kept := len(streamOf(in.records("web"), 1, "out")) - len("before\nafter\n")
	if diff := written - kept - int(s.DroppedBytes); s.DroppedBytes == 0 || diff < -1 || diff > 1 {
		t.Errorf("%d bytes written, %d kept, %+v", written, kept, s)
	}
	if c := in.content("web"); !strings.Contains(c, fmt.Sprintf("dropped %d bytes in", s.DroppedBytes)) || !strings.HasSuffix(c, " 1 out after\n") {
		t.Errorf("the log ends %q", c[max(0, len(c)-300):])
	}
	if s := m.Stats("patient"); s.DroppedBytes != 0 {
		t.Errorf("patient: %+v", s)
	}
}

func TestFullRunDirectoryIsNoLoss(t *testing.T) {
	for _, late := range []bool{false, true} {
		in := newInstance(t)
		in.run = smallDisk(t, "1m")
		in.opt.RunDir = in.run
		in.open()
		p := in.begin("web", 1, fileSpec())
		if late {
			p.out.WriteString("a line while there is room\n")
			in.barrier()
		}
		fill(t, in.run)
		for i := range 100 {
			fmt.Fprintf(p.out, "line %d %s\n", i, strings.Repeat("x", 5000))
			in.barrier()
		}
		in.end("web", 1, p)
		if got := in.texts("web"); len(got) < 100 || !strings.HasPrefix(got[len(got)-1], "1 out line 99 ") {
			t.Errorf("%d lines, the last %.40q", len(got), got[len(got)-1])
		}
		if !in.reported("cannot stage log lines") {
			t.Errorf("reports: %q", in.reports)
		}
	}
}

func TestUnusableLogFolderGoesToTheConsoleOnce(t *testing.T) {
	in := newInstance(t)
	in.log = smallDisk(t, "64k")
	in.opt.LogDir = in.log
	if err := unix.Mount("", in.log, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in.opt.Console = w
	in.open()
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("one\n")
	in.barrier()
	p.out.WriteString("two\n")
	in.end("web", 1, p)
	in.m.Close()
	w.Close()
	buf := make([]byte, 100)
	n, _ := r.Read(buf)
	if got, want := string(buf[:n]), "web | one\nweb | two\n"; got != want {
		t.Errorf("console: %q, want %q", got, want)
	}
	if len(in.reports) != 1 || !in.reported("read-only file system; its output goes to the console") {
		t.Errorf("reports: %q", in.reports)
	}
}

func TestSlowConsoleStallsNobody(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := newInstance(t)
	in.opt.Console = w
	in.open()
	console := fileSpec(func(l *model.Log) { l.Stdout = []model.LogTarget{{Kind: model.LogConsole}} })
	p := in.begin("loud", 1, console)
	quiet := in.begin("quiet", 1, fileSpec())
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 3000 {
		if _, err := p.out.try(line); err != nil {
			in.barrier()
		}
	}
	quiet.out.WriteString("heard\n")
	in.end("quiet", 1, quiet)
	if got := in.texts("quiet"); !slices.Equal(got, []string{"1 out heard"}) {
		t.Errorf("quiet: %q", got)
	}
	if s := in.m.Stats("loud"); s.DroppedBytes == 0 {
		t.Errorf("nothing was dropped: %+v", s)
	}
	in.end("loud", 1, p)
	in.m.Close()
	w.Close()
}

func TestRotationBySizeKeepsWhatItIsTold(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Size, l.Keep = 1000, 3 }))
	for i := range 200 {
		fmt.Fprintf(p.out, "line %d\n", i)
		if i%10 == 0 {
			in.barrier()
		}
	}
	in.end("web", 1, p)
	logs := rotated(t, in.path("web"))
	if len(logs) != 3 {
		t.Errorf("%d rotated logs, want 3", len(logs))
	}
	all := in.texts("web")
	if len(all) == 0 || all[len(all)-1] != "1 out line 199" {
		t.Fatalf("the end is %q", all)
	}
	for i := 1; i < len(all); i++ {
		a, _ := strconv.Atoi(strings.Fields(all[i-1])[3])
		if b, _ := strconv.Atoi(strings.Fields(all[i])[3]); b != a+1 {
			t.Errorf("%q follows %q", all[i], all[i-1])
		}
	}
	for _, log := range logs {
		b, _ := os.ReadFile(filepath.Join(filepath.Dir(in.path("web")), log.name))
		if len(b) < 1000 || len(b) > 1100 || b[len(b)-1] != '\n' {
			t.Errorf("%s has %d bytes", log.name, len(b))
		}
	}
}

func TestRetentionByTotalAndAge(t *testing.T) {
	in := newInstance(t)
	dir := filepath.Dir(in.path("web"))
	os.MkdirAll(dir, 0o750)
	old := rotatedName("current", time.Now().Add(-48*time.Hour).UnixNano())
	young := rotatedName("current", time.Now().Add(-time.Hour).UnixNano())
	for _, name := range []string{old, young, "@notes.log", "other@x"} {
		os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("x", 3000)), 0o640)
	}
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.KeepFor = 24 * time.Hour }))
	p.out.WriteString("x\n")
	in.barrier()
	in.m.Rotate("web")
	in.barrier()
	if logs := rotated(t, in.path("web")); len(logs) != 2 || logs[0].name != young {
		t.Errorf("by age: %v", logs)
	}
	in.m.Configure("web", fileSpec(func(l *model.Log) { l.KeepTotal = 1000 }))
	p.out.WriteString("y\n")
	in.barrier()
	in.m.Rotate("web")
	in.end("web", 1, p)
	if logs := rotated(t, in.path("web")); len(logs) != 2 || slices.ContainsFunc(logs, func(l rotatedLog) bool { return l.name == young }) {
		t.Errorf("by total: %v", logs)
	}
	for _, name := range []string{"@notes.log", "other@x"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("a stranger's file was removed: %v", err)
		}
	}
}

func TestRotationByAge(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Every = time.Hour }))
	p.out.WriteString("old\n")
	in.barrier()
	done := make(chan struct{})
	in.m.do(func() {
		if in.m.next == 0 {
			t.Error("no deadline was set")
		}
		now := in.m.now().Add(59 * time.Minute)
		in.m.tick(now, in.m.mono(now))
		if logs := rotated(t, in.path("web")); len(logs) != 0 {
			t.Error("rotated too early")
		}
		now = now.Add(2 * time.Minute)
		in.m.tick(now, in.m.mono(now))
		if in.m.next != 0 {
			t.Error("a deadline is left for an empty log")
		}
		close(done)
	})
	<-done
	if logs := rotated(t, in.path("web")); len(logs) != 1 {
		t.Errorf("rotated logs: %v", logs)
	}
	in.end("web", 1, p)
}

func TestIdleManagerHasNoDeadline(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Size, l.Keep = 16<<20, 10 }))
	p.out.WriteString("hello\n")
	in.barrier()
	done := make(chan struct{})
	in.m.do(func() {
		if in.m.next != 0 || in.m.timeout() != -1 {
			t.Errorf("deadline %v, timeout %d", in.m.next, in.m.timeout())
		}
		close(done)
	})
	<-done
	in.end("web", 1, p)
}

func TestCompressionIsWholeAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	name := rotatedName("current", 1e18)
	path := filepath.Join(dir, name)
	text := strings.Repeat("2026-11-22T17:39:00.123456789Z 1 out hello\n", 1000)
	whole := func() bool {
		n := 0
		err := Read(Query{Logs: []Log{{"web", filepath.Join(dir, "current")}}, Lines: -1}, func(r Record) error {
			n++
			return nil
		})
		return err == nil && n == 1000
	}
	for crash := 1; ; crash++ {
		os.WriteFile(path, []byte(text), 0o640)
		c := &crasher{left: crash}
		step = c.step
		done := make(chan struct{})
		go func() {
			defer close(done)
			CompressFile(path)
		}()
		<-done
		step = nil
		if !whole() {
			t.Fatalf("the log is not whole after a crash at %q", c.where)
		}
		if err := CompressFile(path); err != nil {
			t.Fatal(err)
		}
		in := &instance{t: t, run: t.TempDir(), log: filepath.Dir(dir)}
		in.opt = Options{RunDir: in.run, LogDir: in.log}
		in.open()
		in.m.do(func() {
			now := in.m.now()
			k := &sink{path: filepath.Join(dir, "current"), fd: -1, rec: new(sinkRec)}
			in.m.tidy(k, now, in.m.mono(now))
		})
		in.m.Close()
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		if !whole() || len(names) != 1 {
			t.Fatalf("after a crash at %q there are %v", c.where, names)
		}
		os.Remove(names[0])
		if c.where == "" {
			return
		}
	}
}

// A compression that comes while another ends must not touch what that one has made.
func TestTwoCompressionsOfOneLogDoNoHarm(t *testing.T) {
	for _, moment := range []string{"compress: found", "compress: opened"} {
		path := filepath.Join(t.TempDir(), rotatedName("current", 1e18))
		os.WriteFile(path, []byte(strings.Repeat("2026-11-22T17:39:00.123456789Z 1 out hello\n", 1000)), 0o640)
		final := strings.TrimSuffix(path, suffixLog) + suffixZst
		var made []byte
		step = func(name string) {
			if name != moment {
				return
			}
			step = nil
			if err := CompressFile(path); err != nil {
				t.Error(err)
			}
			made, _ = os.ReadFile(final)
			step = func(name string) { t.Errorf("it goes on to %q after another has ended at %q", name, moment) }
		}
		err := CompressFile(path)
		step = nil
		if err != nil {
			t.Errorf("at %q: %v", moment, err)
		}
		if now, err := os.ReadFile(final); err != nil || len(made) == 0 || !slices.Equal(now, made) {
			t.Errorf("at %q: %d bytes were made, %d are left, %v", moment, len(made), len(now), err)
		}
		if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(names) != 1 {
			t.Errorf("at %q: there are %v", moment, names)
		}
	}
}

func TestCompressionIsAskedForAfterRotation(t *testing.T) {
	in := newInstance(t)
	asked := make(chan string, 4)
	in.opt.Compress = func(path string) { asked <- path }
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Compress = "zstd" }))
	p.out.WriteString("one\n")
	in.barrier()
	in.m.Rotate("web")
	path := <-asked
	if err := CompressFile(path); err != nil {
		t.Fatal(err)
	}
	p.out.WriteString("two\n")
	in.end("web", 1, p)
	if got := in.texts("web"); !slices.Equal(got, []string{"1 out one", "1 out two"}) {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the plain log is still there")
	}
}
