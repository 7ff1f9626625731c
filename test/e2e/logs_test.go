//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/svlog"
	"github.com/abide-project/abide/internal/svlog/svlogtest"
	"github.com/abide-project/abide/test/internal/harness"
)

// writerPart makes this program a service that writes numbered lines to both
// streams when the test says so: a number of them, or as many as it can between
// "go" and "stop". It answers each order with the numbers of the next lines.
const writerPart = "lines"

func writeLines(orders, answers string) int {
	in, err := os.OpenFile(orders, os.O_RDWR, 0)
	if err == nil {
		var out *os.File
		if out, err = os.OpenFile(answers, os.O_RDWR, 0); err == nil {
			err = obey(in, out)
		}
	}
	fmt.Fprintln(os.Stderr, "writer:", err)
	return 2
}

func obey(in, out *os.File) error {
	writers := []*svlogtest.Writer{{To: os.Stdout, Stream: "out"}, {To: os.Stderr, Stream: "err"}}
	var free sync.WaitGroup
	var stop atomic.Bool
	failed := make(chan error, 2)
	write := func(more func(*svlogtest.Writer) (int, bool)) {
		for _, w := range writers {
			free.Go(func() {
				for n, ok := more(w); ok; n, ok = more(w) {
					if err := w.Lines(n); err != nil {
						failed <- err
						return
					}
				}
			})
		}
	}
	orders := bufio.NewScanner(in)
	for orders.Scan() {
		switch order := orders.Text(); order {
		case "go":
			stop.Store(false)
			write(func(*svlogtest.Writer) (int, bool) { return 20, !stop.Load() })
			continue
		case "stop":
			stop.Store(true)
		default:
			var n int
			if _, err := fmt.Sscan(order, &n); err != nil {
				return err
			}
			left := map[*svlogtest.Writer]int{writers[0]: writers[0].Next + n, writers[1]: writers[1].Next + n}
			write(func(w *svlogtest.Writer) (int, bool) { return left[w] - w.Next, w.Next < left[w] })
		}
		free.Wait()
		select {
		case err := <-failed:
			return err
		default:
		}
		fmt.Fprintln(out, writers[0].Next, writers[1].Next)
	}
	return errors.New("no more orders")
}

// author is the service that writes.
type author struct {
	a       *harness.Abide
	name    string
	orders  *os.File
	answers *bufio.Reader
	lines   map[string]int // how many it has written, by stream
}

func newAuthor(t *testing.T, a *harness.Abide, name, log string) *author {
	t.Helper()
	self, err := os.Executable()
	harness.Check(t, err)
	w := &author{a: a, name: name, lines: map[string]int{}}
	var paths [2]string
	var files [2]*os.File
	for i, kind := range []string{"orders", "answers"} {
		paths[i] = filepath.Join(a.Dir, name+"."+kind)
		harness.Check(t, unix.Mkfifo(paths[i], 0o600))
		files[i], err = os.OpenFile(paths[i], os.O_RDWR, 0)
		harness.Check(t, err)
		t.Cleanup(func() { files[i].Close() })
	}
	w.orders, w.answers = files[0], bufio.NewReader(files[1])
	a.Define(name, fmt.Sprintf("command = [%q]\nenvironment = { %s = \"%s %s %s\" }\n[log]\n%s\n",
		self, helperVariable, writerPart, paths[0], paths[1], log))
	return w
}

func (w *author) order(what string) { fmt.Fprintln(w.orders, what) }

// answer waits until what was ordered is written.
func (w *author) answer() {
	w.a.T.Helper()
	answered := make(chan string, 1)
	go func() {
		text, _ := w.answers.ReadString('\n')
		answered <- text
	}()
	select {
	case text := <-answered:
		var out, err int
		if _, scan := fmt.Sscan(text, &out, &err); scan != nil {
			w.a.T.Fatalf("%s says %q", w.name, text)
		}
		w.lines["out"], w.lines["err"] = out, err
	case <-time.After(harness.Patience):
		w.a.T.Fatalf("%s does not get rid of its lines", w.name)
	}
}

// writes has it write some lines.
func (w *author) writes(n int) {
	w.a.T.Helper()
	w.order(fmt.Sprint(n))
	w.answer()
}

func (w *author) log() svlog.Log {
	return svlog.Log{Service: w.name, Path: svlog.DefaultPath(w.a.Log, w.name)}
}

// proves waits until the log has all that was written, and proves that it has it
// once, in order and whole.
func (w *author) proves(c *svlogtest.Check) {
	w.a.T.Helper()
	empty := *c
	harness.Eventually(w.a.T, w.name+"'s log has everything", func() error {
		*c = empty
		if err := svlog.Read(svlog.Query{Logs: []svlog.Log{w.log()}, Lines: -1}, add(c)); err != nil {
			return harness.Final(err)
		}
		return w.complete(c)
	})
}

func add(c *svlogtest.Check) func(svlog.Record) error {
	return func(r svlog.Record) error {
		return c.Add(svlogtest.Record{Stream: r.Stream, Text: r.Text, Continued: r.Continued})
	}
}

func (w *author) complete(c *svlogtest.Check) error {
	for stream, want := range w.lines {
		if got := c.Lines(stream); got != want {
			return fmt.Errorf("%d lines of %s, want %d", got, stream, want)
		}
	}
	return nil
}

// full tells whether the nightly sizes are asked for.
func full() bool { return os.Getenv("ABIDE_FULL") != "" }

// rotating keeps everything in many small files.
const rotating = "size = \"256KiB\"\nkeep = 0\ncompress = \"zstd\"\n"

func TestLogsAreExactWhoeverIsKilled(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	w := newAuthor(t, a, "author", rotating)
	a.Start()
	pid := a.AwaitStatus("author", "runs", running).Pid
	engines, all := 20, 3
	if full() {
		engines, all = 200, 50
	}
	for n := range engines {
		w.order("go")
		time.Sleep(time.Duration(n%7) * 3 * time.Millisecond)
		harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
		time.Sleep(time.Duration(n%5) * 5 * time.Millisecond)
		w.order("stop")
		w.answer()
	}
	for range all {
		w.order("go")
		killAll(t, a)
		a.Start()
		w.order("stop")
		w.answer()
	}
	var c svlogtest.Check
	w.proves(&c)
	if s := a.Status("author"); s.Pid != pid || s.Log.DroppedBytes != 0 {
		t.Errorf("pid %d, was %d; %d bytes dropped", s.Pid, pid, s.Log.DroppedBytes)
	}
	t.Logf("%v lines", w.lines)
	a.OK("stop", "author")
}
