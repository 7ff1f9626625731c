package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// crasher ends the Manager's thread at the n-th step, which leaves exactly what a
// SIGKILL there would leave: the files, and what was stored in the mapped journal.
type crasher struct {
	left  int
	where string // the step it happened at
}

func (c *crasher) step(name string) {
	if c.left--; c.left == 0 {
		c.where = name
		runtime.Goexit()
	}
}

// halves writes in two pieces, with a step between them.
func halves(fd int, p []byte, off int64) (int, error) {
	half := len(p) / 2
	n, err := unix.Pwrite(fd, p[:half], off)
	if err != nil || n < half {
		return n, err
	}
	at("half written")
	n, err = unix.Pwrite(fd, p[half:], off+int64(half))
	return half + max(n, 0), err
}

// openCrashing opens a Manager that may crash while it is opened: then m is nil.
func openCrashing(t *testing.T, opt Options) (m *Manager) {
	t.Helper()
	done := make(chan error, 1)
	opening := &Manager{}
	go func() {
		var err error
		defer func() { done <- err }()
		m, err = openInto(opening, opt, halves)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if m == nil {
		opening.drop()
	}
	return m
}

// drop closes what the kernel would close after a SIGKILL.
func (m *Manager) drop() {
	if m.relief.timer != nil {
		m.relief.idle.Store(true)
		m.relief.timer.Stop()
	}
	for _, src := range m.sources {
		unix.Close(src.fd)
	}
	stages := m.spare
	if m.stage != nil {
		stages = append(stages, m.stage)
	}
	for _, k := range m.sinks {
		if k.fd >= 0 {
			unix.Close(k.fd)
		}
		if k.parked != nil && k.parked.st != nil {
			stages = append(stages, k.parked.st)
		}
	}
	for _, st := range stages {
		st.close()
	}
	m.journal.close()
	unix.Close(m.epoll)
	unix.Close(m.wakeFD)
}

// crashRun is one program's whole output through Managers that crash at the given
// steps, and one that does not. It returns where the crashes happened: fewer than
// asked for when the work was done before.
func crashRun(t *testing.T, base string, spec *model.Log, out, errs []string, crashes ...int) (where []string) {
	t.Helper()
	dir, err := os.MkdirTemp(base, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	in := &instance{t: t, run: filepath.Join(dir, "run"), log: filepath.Join(dir, "log")}
	opt := Options{RunDir: in.run, LogDir: in.log}
	spec.Stdout = []model.LogTarget{{Kind: model.LogFile}, {Kind: model.LogPath, Path: filepath.Join(dir, "second")}}

	// The pipes and what is in them are older than the first crash; a keeper
	// holds them.
	fifos := [2]string{}
	var holds []int
	if err := os.MkdirAll(filepath.Join(in.run, "services/web"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, text := range [][]string{out, errs} {
		fifos[i] = filepath.Join(in.run, "services/web", "5."+streamNames[i])
		if err := unix.Mkfifo(fifos[i], 0o600); err != nil {
			t.Fatal(err)
		}
		hold, err := unix.Open(fifos[i], unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		holds = append(holds, hold)
		w, err := os.OpenFile(fifos[i], os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.WriteString(strings.Join(text, ""))
		w.Close()
	}
	defer func() {
		for _, fd := range holds {
			unix.Close(fd)
		}
	}()

	for _, n := range append(slices.Clone(crashes), 0) {
		c := &crasher{left: n}
		step = c.step
		m := openCrashing(t, opt)
		ended := make(chan struct{})
		if m != nil {
			if _, err := m.Adopt("web", 5, spec); err != nil {
				t.Fatal(err)
			}
			m.Note("web", 5, "a note")
			m.Ended("web", 5, func() { close(ended) })
			select {
			case <-ended:
				m.Close()
			case <-m.done:
				m.drop()
			}
		}
		step = nil
		if c.where == "" {
			break
		}
		where = append(where, c.where)
	}
	for _, path := range []string{in.path("web"), filepath.Join(dir, "second")} {
		var records []Record
		if err := Read(Query{Logs: []Log{{"web", path}}, Lines: -1}, func(r Record) error {
			records = append(records, r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got, want := streamOf(records, 5, "out"), strings.Join(out, ""); got != want {
			t.Fatalf("crash at %q: out in %s\n got %q\nwant %q", where, path, got, want)
		}
		if path == in.path("web") {
			if got, want := streamOf(records, 5, "err"), wantErr(errs, spec); got != want {
				t.Fatalf("crash at %q: err\n got %q\nwant %q", where, got, want)
			}
		}
		for _, r := range records {
			if r.Stream == "" {
				t.Fatalf("crash at %q: torn line %q in %s", where, r.Text, path)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(in.run, "services/web/[0-9r]*")); len(left) > 0 {
		t.Fatalf("crash at %q: %v left", where, left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "log/web/*.new")); len(left) > 0 {
		t.Fatalf("crash at %q: %v left", where, left)
	}
	return where
}

// fastDir is a folder in memory where there is one.
func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "svlog")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// wantErr is what a run that ends in the middle of a line leaves: as text, the
// line is ended; as JSON its last object says that it is not whole.
func wantErr(errs []string, spec *model.Log) string {
	if spec.JSON {
		return strings.Join(errs, "")
	}
	return strings.Join(errs, "") + "\n"
}

func crashInput() (out, errs []string) {
	for i := range 12 {
		out = append(out, fmt.Sprintf("out line %d %s\n", i, strings.Repeat("x", i*7)))
	}
	return out, []string{"first\n", "second\n", "unfinished"}
}

func TestCrashAtAnyStepNeitherLosesNorDoublesABytes(t *testing.T) {
	specs := map[string]func() *model.Log{
		"rotated by size": func() *model.Log { return fileSpec(func(l *model.Log) { l.Size = 300 }) },
		"json":            func() *model.Log { return fileSpec(func(l *model.Log) { l.JSON, l.Size = true, 900 }) },
		"tai64n":          func() *model.Log { return fileSpec(func(l *model.Log) { l.Stamp = model.StampTAI64N }) },
	}
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			out, errs := crashInput()
			base := fastDir(t)
			steps := map[string]int{}
			for n := 1; ; n++ {
				where := crashRun(t, base, spec(), out, errs, n)
				if len(where) == 0 {
					break
				}
				steps[where[0]]++
			}
			t.Logf("%d places: %v", len(steps), steps)
			if len(steps) < 14 {
				t.Errorf("only %d places were tried", len(steps))
			}
		})
	}
}

// A crash may be followed by another while the first is being mended.
func TestCrashWhileRecoveringFromACrash(t *testing.T) {
	out, errs := crashInput()
	base := fastDir(t)
	began := time.Now()
	for n := 3; ; n += 11 {
		for again := 1; ; again++ {
			where := crashRun(t, base, fileSpec(func(l *model.Log) { l.Size = 300 }), out, errs, n, again)
			if len(where) == 0 {
				t.Logf("%d crashes deep in %v", n, time.Since(began).Round(time.Millisecond))
				return
			}
			if len(where) < 2 || again > 12 {
				break
			}
		}
	}
}

// What stands behind the recorded end of a log is taken for a part of the take that
// a kill interrupted, so nothing that others wrote before it may stand there.
func TestAKillNeverCoversWhatOthersWrote(t *testing.T) {
	base := fastDir(t)
	for n := 1; ; n++ {
		dir := filepath.Join(base, fmt.Sprint(n))
		in := &instance{t: t, run: filepath.Join(dir, "run"), log: filepath.Join(dir, "log")}
		folder := filepath.Join(in.run, "services/web")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		// deliver takes what is in the pipe of a run to the log.
		deliver := func(number uint64, at int) (crashed bool) {
			c := &crasher{left: at}
			step = c.step
			defer func() { step = nil }()
			m := openCrashing(t, Options{RunDir: in.run, LogDir: in.log})
			if m == nil {
				return true
			}
			if _, err := m.Adopt("web", number, fileSpec()); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			m.Ended("web", number, func() { close(ended) })
			select {
			case <-ended:
				m.Close()
			case <-m.done:
				m.drop()
			}
			return c.where != ""
		}
		fill := func(number uint64, text string) (hold int) {
			path := filepath.Join(folder, fmt.Sprintf("%d.out", number))
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			hold, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			w, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			w.WriteString(text)
			w.Close()
			return hold
		}
		unix.Close(holdAfter(fill(4, "one\n"), func() { deliver(4, 0) }))
		f, err := os.OpenFile(in.path("web"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(logLine(1, "out", strings.Repeat("x", 300)))
		f.Close()
		crashed := false
		unix.Close(holdAfter(fill(5, "two\n"), func() {
			if crashed = deliver(5, n); crashed {
				deliver(5, 0)
			}
		}))
		if got, want := strings.Join(in.texts("web"), "|"), "4 out one|1 out "+strings.Repeat("x", 300)+"|5 out two"; got != want {
			t.Fatalf("crash at step %d: the log has %s, want %s", n, got, want)
		}
		if !crashed {
			if n < 8 {
				t.Errorf("there are only %d steps", n)
			}
			return
		}
	}
}

func holdAfter(fd int, f func()) int {
	f()
	return fd
}
