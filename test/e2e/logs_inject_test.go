//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/svlog"
	"github.com/abide-project/abide/internal/svlog/svlogtest"
	"github.com/abide-project/abide/test/internal/harness"
)

// fault is what happens to the n-th call of a kind that the engine's log thread
// makes.
type fault struct {
	call string
	what string // as strace has it: "signal=KILL", "error=EIO"
	n    int
}

func (f fault) String() string { return fmt.Sprintf("%s:%s:when=%d", f.call, f.what, f.n) }

// logThread is the thread of the engine that writes logs.
func logThread(t *testing.T, a *harness.Abide) (tid string) {
	t.Helper()
	harness.Eventually(t, "the engine has a log thread", func() error {
		about, err := a.About()
		if err != nil {
			return err
		}
		names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", about.Pid))
		for _, name := range names {
			if comm, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(comm)) == "abide-log" {
				tid = filepath.Base(filepath.Dir(name))
				return nil
			}
		}
		return fmt.Errorf("none of the %d threads of %d is", len(names), about.Pid)
	})
	return tid
}

// inject makes a fault happen while during runs.
func inject(t *testing.T, a *harness.Abide, f fault, during func()) {
	t.Helper()
	c := exec.Command("strace", "-p", logThread(t, a), "-e", "trace="+f.call, "-e", "inject="+f.String(), "-o", filepath.Join(a.Dir, "strace"))
	said, err := c.StderrPipe()
	harness.Check(t, err)
	harness.Check(t, c.Start())
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.Contains(lines.Text(), "attached") {
		t.Logf("strace: %s", lines.Text())
	}
	during()
	c.Process.Signal(syscall.SIGINT)
	for lines.Scan() {
	}
	c.Wait()
}

// injected has a service write while each of the faults happens, and proves its
// log after each.
func injected(t *testing.T, log string, faults []fault, c *svlogtest.Check, streams ...string) {
	t.Helper()
	a := harness.New(t)
	w := newAuthor(t, a, "author", log)
	a.Start()
	a.Await("author", "running")
	w.writes(10)
	after, tried, happened := "", 0, 0
	missed := map[string]int{}
	for _, f := range faults {
		if missed[f.call] > 3 {
			continue // the thread makes no more calls of this kind
		}
		tried++
		inject(t, a, f, func() { w.writes(1500) })
		if trace, err := os.ReadFile(filepath.Join(a.Dir, "strace")); err == nil &&
			(strings.Contains(string(trace), "INJECTED") || strings.Contains(string(trace), "killed by")) {
			happened++
			missed[f.call] = 0
		} else {
			missed[f.call]++
			t.Logf("%s does not happen", f)
		}
		harness.Eventually(t, fmt.Sprintf("after %s the log has everything", f), func() error {
			q := svlog.Query{Logs: []svlog.Log{w.log()}, Lines: -1, After: after}
			if err := svlog.Read(q, func(r svlog.Record) error {
				after = r.Cursor
				return add(c)(r)
			}); err != nil {
				return harness.Final(err)
			}
			for _, stream := range streams {
				if got := c.Lines(stream); got != w.lines[stream] {
					if c.Drops {
						// Only what comes after them tells where they were.
						w.writes(5)
					}
					return fmt.Errorf("%d lines of %s, want %d", got, stream, w.lines[stream])
				}
			}
			return nil
		})
	}
	// What the cursors led through must be what a reader of it all finds.
	whole := svlogtest.Check{Drops: c.Drops}
	harness.Check(t, svlog.Read(svlog.Query{Logs: []svlog.Log{w.log()}, Lines: -1}, add(&whole)))
	for _, stream := range streams {
		if whole.Lines(stream) != c.Lines(stream) {
			t.Errorf("%d lines of %s in all, %d by cursors", whole.Lines(stream), stream, c.Lines(stream))
		}
	}
	t.Logf("%d faults, %d happened; %d bytes dropped", tried, happened, c.Dropped)
	if happened < tried/2 {
		t.Errorf("only %d of %d faults happened", happened, tried)
	}
	if s := a.Status("author"); s.Run != 1 || s.State != "running" {
		t.Errorf("the service is %s in run %d", s.State, s.Run)
	}
}

// each makes faults of one kind at the calls up to n, or at a few of them.
func each(call, what string, n int, few ...int) (faults []fault) {
	if full() {
		few = nil
		for i := 1; i <= n; i++ {
			few = append(few, i)
		}
	}
	for _, i := range few {
		faults = append(faults, fault{call, what, i})
	}
	return faults
}

func together(lists ...[]fault) (all []fault) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

const smallFiles = "size = \"64KiB\"\nkeep = 0\ncompress = \"none\"\n"

func TestLogsAreExactWhereverTheEngineIsKilled(t *testing.T) {
	t.Parallel()
	const kill = "signal=KILL"
	injected(t, smallFiles, together(
		each("splice", kill, 40, 2),
		each("pwritev2", kill, 60, 1, 9),
		each("fstat", kill, 80, 3),
		each("renameat2", kill, 12, 1, 2),
		each("openat", kill, 12, 2),
		each("unlinkat", kill, 6, 1),
		each("close", kill, 12, 2),
		each("ftruncate", kill, 1, 1),
		each("epoll_pwait", kill, 10, 2),
	), &svlogtest.Check{}, "out", "err")
}

func TestLogsAreExactWhicheverCallFails(t *testing.T) {
	t.Parallel()
	var faults []fault
	for _, errno := range []string{"error=EIO", "error=ENOSPC", "error=EDQUOT", "error=EROFS", "error=EINTR"} {
		faults = append(faults, each("pwritev2", errno, 30, 2)...)
		if errno == "error=EDQUOT" || errno == "error=EROFS" {
			continue
		}
		faults = append(faults, together(
			each("splice", errno, 30, 3),
			each("fstat", errno, 30, 4),
			each("ftruncate", errno, 2, 1),
		)...)
	}
	// A rotation that failed is tried again after some time only.
	faults = append(faults, together(each("openat", "error=EIO", 1, 1), each("renameat2", "error=EIO", 2, 2))...)
	injected(t, smallFiles+"when_full = \"block\"\n", faults, &svlogtest.Check{}, "out", "err")
}

func TestDroppedBytesAreCountedWhereTheyAreMissing(t *testing.T) {
	t.Parallel()
	c := &svlogtest.Check{Drops: true}
	injected(t, smallFiles+"stderr = \"null\"\n", together(
		each("pwritev2", "error=ENOSPC", 30, 1, 2, 7),
		each("pwritev2", "error=EIO", 30, 1, 3),
		each("pwritev2", "error=EDQUOT", 30, 4),
		each("fstat", "error=EIO", 30, 2, 5),
	), c, "out")
	if c.Dropped == 0 {
		t.Error("nothing was dropped")
	}
}
