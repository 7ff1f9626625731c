package svlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog/svlogtest"
)

// check reads whole logs, one after the other, and proves them.
func check(t *testing.T, c *svlogtest.Check, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := Read(Query{Logs: []Log{{"web", path}}, Lines: -1}, func(r Record) error {
			return c.Add(svlogtest.Record{Stream: r.Stream, Text: r.Text, Continued: r.Continued})
		}); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

// speed has one program write both streams as fast as it can, calls meddle so many
// times meanwhile, and returns how many lines of each stream there are.
func speed(t *testing.T, in *instance, spec *model.Log, times int, meddle func(round int)) map[string]int {
	t.Helper()
	const perRound = 150
	p := in.begin("web", 1, spec)
	written := make(chan error, 2)
	for round := range times {
		for stream, to := range map[string]*end{"out": p.out, "err": p.err} {
			w := svlogtest.Writer{To: to, Stream: stream, Next: round * perRound}
			go func() { written <- w.Lines(perRound) }()
		}
		in.barrier()
		meddle(round)
		if err := errors.Join(<-written, <-written); err != nil {
			t.Fatal(err)
		}
	}
	in.end("web", 1, p)
	return map[string]int{"out": times * perRound, "err": times * perRound}
}

func all(t *testing.T, c *svlogtest.Check, lines map[string]int) {
	t.Helper()
	for stream, want := range lines {
		if got := c.Lines(stream); got != want {
			t.Errorf("%d lines of %s, want %d", got, stream, want)
		}
	}
}

func TestEverythingComesThroughRotationAndCompression(t *testing.T) {
	in := newInstance(t)
	in.opt.Compress = func(path string) {
		if err := CompressFile(path); err != nil {
			t.Error(err)
		}
	}
	in.open()
	lines := speed(t, in, fileSpec(func(l *model.Log) { l.Size, l.Compress = 64<<10, "zstd" }), 60, func(int) {
		in.m.Rotate("web")
	})
	var c svlogtest.Check
	check(t, &c, in.path("web"))
	all(t, &c, lines)
	if n := len(rotated(t, in.path("web"))); n < 20 {
		t.Errorf("only %d rotated logs", n)
	}
}

// An admin, or logrotate's "create", gives the log another name.
func TestLogRenamedByAnAdminLosesNothing(t *testing.T) {
	for _, create := range []bool{false, true} {
		t.Run(fmt.Sprint("new one made: ", create), func(t *testing.T) {
			in := newInstance(t)
			in.open()
			path := in.path("web")
			var names []string
			lines := speed(t, in, fileSpec(), 60, func(round int) {
				name := fmt.Sprintf("%s.%04d", path, round)
				if os.Rename(path, name) != nil {
					return
				}
				names = append(names, name)
				if create {
					if f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640); err == nil {
						f.Close()
					}
				}
				in.lookNow()
			})
			var c svlogtest.Check
			check(t, &c, append(names, path)...)
			all(t, &c, lines)
			if len(names) < 10 {
				t.Errorf("only %d were renamed", len(names))
			}
		})
	}
}

// lookNow makes the Manager compare paths with descriptors at the next take.
func (in *instance) lookNow() {
	in.t.Helper()
	done := make(chan struct{})
	if err := in.m.do(func() {
		for _, k := range in.m.sinks {
			k.lookAt = 0
		}
		close(done)
	}); err != nil {
		in.t.Fatal(err)
	}
	<-done
}

// What an admin cuts off is gone; what stays and what comes is whole, but for the
// line that the cut went through.
func TestLogTruncatedByAnAdminIsNeverTornByUs(t *testing.T) {
	for name, keep := range map[string]func(size int64) int64{
		"to nothing":    func(int64) int64 { return 0 },
		"to the middle": func(size int64) int64 { return size / 2 },
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstance(t)
			in.open()
			path := in.path("web")
			cuts := 0
			speed(t, in, fileSpec(), 100, func(int) {
				if info, err := os.Stat(path); err == nil && info.Size() > 0 {
					if os.Truncate(path, keep(info.Size())) == nil {
						cuts++
					}
				}
			})
			if cuts < 20 {
				t.Errorf("only %d cuts", cuts)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			torn, next := 0, map[string]int{}
			err = Read(Query{Logs: []Log{{"web", path}}, Lines: -1}, func(r Record) error {
				var stream string
				var n int
				if k, _ := fmt.Sscanf(string(r.Text), "%s %d", &stream, &n); k == 2 && stream == r.Stream && !r.Continued {
					whole := svlogtest.Line(nil, stream, n, false)
					if string(whole) == string(r.Text) {
						if n < next[stream] {
							return fmt.Errorf("%s line %d stands behind line %d", stream, n, next[stream])
						}
						next[stream] = n + 1
						seen[stream]++
						return nil
					}
				}
				torn++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if torn > 3*cuts {
				t.Errorf("%d torn lines after %d cuts", torn, cuts)
			}
			if hole, err := holeIn(path); err != nil || hole < int64(len(b)) {
				t.Errorf("a hole at %d of %d bytes, %v", hole, len(b), err)
			}
		})
	}
}

// holeIn is where the first hole of a file is: at its end, if it has none.
func holeIn(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() == 0 {
		return 0, err
	}
	return f.Seek(0, unix.SEEK_HOLE)
}

func TestLogFolderRemovedIsMadeAgain(t *testing.T) {
	in := newInstance(t)
	in.open()
	dir := filepath.Dir(in.path("web"))
	removed := 0
	lines := speed(t, in, fileSpec(func(l *model.Log) { l.Size = 256 << 10 }), 60, func(int) {
		if os.Rename(dir, fmt.Sprintf("%s.%04d", dir, removed)) == nil {
			removed++
		}
		in.lookNow()
	})
	var c svlogtest.Check
	for i := range removed {
		check(t, &c, fmt.Sprintf("%s.%04d/current", dir, i))
	}
	check(t, &c, in.path("web"))
	all(t, &c, lines)
	if removed < 5 {
		t.Errorf("only %d were removed", removed)
	}
}
