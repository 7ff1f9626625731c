package svlog

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/svlog/svlogtest"
)

// manage is the body of a process that tests kill: a Manager that adopts run 1 of
// "w" and ends when its standard input does and all is written.
func manage(dir string) {
	opt := Options{RunDir: dir + "/run", LogDir: dir + "/log"}
	spec := benchSpec
	spec.Size, spec.Keep = 2<<20, 0
	if size, err := strconv.Atoi(os.Getenv("SVLOG_SIZE")); err == nil {
		// Small files, and compressions that a kill interrupts.
		spec.Size, spec.Compress = int64(size), "zstd"
		paths := make(chan string, 1000)
		opt.Compress = func(path string) {
			select {
			case paths <- path:
			default:
			}
		}
		go func() {
			for path := range paths {
				if err := CompressFile(path); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(2)
				}
			}
		}()
	}
	m, err := Open(opt)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if _, err := m.Adopt("w", 1, &spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Stdout.WriteString("ready\n")
	io.Copy(io.Discard, os.Stdin)
	done := make(chan struct{})
	m.Ended("w", 1, func() { close(done) })
	<-done
	m.Close()
}

func startManage(t *testing.T, dir string, env ...string) (*exec.Cmd, io.Closer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "SVLOG_ROLE=manage", "SVLOG_DIR="+dir)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		t.Fatalf("the manager did not start: %v", err)
	}
	return cmd, in
}

func TestKillUnderAWriterAtFullSpeedLosesNothing(t *testing.T) {
	for _, perWrite := range []int{40, 1, 33} {
		t.Run(strconv.Itoa(perWrite), func(t *testing.T) {
			killUnderLoad(t, perWrite)
		})
	}
}

func killUnderLoad(t *testing.T, perWrite int) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "run/services/w/1.out")
	if err := os.MkdirAll(filepath.Dir(fifo), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, filepath.Join(filepath.Dir(fifo), "1.err")} {
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hold, err := unix.Open(fifo, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(hold)

	lines := 300_000
	if perWrite == 1 {
		lines = 100_000
	}
	program := writer(t, fifo, lines, perWrite)
	wrote := make(chan error, 1)
	go func() { wrote <- program.Wait() }()
	kills := 0
	for {
		cmd, stdin := startManage(t, dir)
		var next <-chan time.Time
		if kills < 15 {
			next = time.After(time.Duration(1+rand.IntN(15)) * time.Millisecond)
		}
		select {
		case err := <-wrote:
			if err != nil {
				t.Fatal(err)
			}
			stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			checkNumbered(t, dir, lines)
			t.Logf("%d kills, %d logs", kills, len(rotated(t, filepath.Join(dir, "log/w/current"))))
			if kills < 3 {
				t.Errorf("only %d kills", kills)
			}
			return
		case <-next:
			cmd.Process.Kill()
			stdin.Close()
			cmd.Wait()
			kills++
		}
	}
}

// checkNumbered proves that the logs have the numbered lines, each once, whole,
// in order, with rising stamps.
func checkNumbered(t *testing.T, dir string, lines int) {
	t.Helper()
	next := 0
	var last time.Time
	err := Read(Query{Logs: []Log{{"w", filepath.Join(dir, "log/w/current")}}, Lines: -1}, func(r Record) error {
		number, _, _ := bytes.Cut(r.Text, space)
		n, err := strconv.Atoi(string(number))
		if err != nil || len(r.Text) != 99 || r.Stream != "out" || r.Run != 1 || r.Partial {
			return fmt.Errorf("line %d is %q (%s, run %d)", next, r.Text, r.Stream, r.Run)
		}
		if n != next {
			return fmt.Errorf("line %d stands where line %d should", n, next)
		}
		if !r.Time.After(last) {
			return fmt.Errorf("line %d: stamp %v is not after %v", n, r.Time, last)
		}
		last = r.Time
		next++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if next != lines {
		t.Fatalf("%d lines, want %d", next, lines)
	}
}

// Two streams of one program, with lines longer than a pipe and writes that end
// anywhere, into logs that are rotated and compressed all the time.
func TestKillsUnderTwoStreamsAreNotSeenInTheLog(t *testing.T) {
	kills := 200
	if os.Getenv("ABIDE_FULL") != "" {
		kills = 1000
	}
	dir := fastDir(t)
	services := filepath.Join(dir, "run/services/w")
	if err := os.MkdirAll(services, 0o700); err != nil {
		t.Fatal(err)
	}
	writers := map[string]*svlogtest.Writer{}
	var stop atomic.Bool
	done := make(chan error, 2)
	for _, stream := range []string{"out", "err"} {
		path := filepath.Join(services, "1."+stream)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		// As a service has it: never without a reader, and held open by a keeper.
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := &svlogtest.Writer{To: f, Stream: stream}
		writers[stream] = w
		go func() {
			for !stop.Load() {
				if err := w.Lines(10); err != nil {
					done <- err
					return
				}
			}
			done <- f.Close()
		}()
	}
	for n := range kills {
		cmd, stdin := startManage(t, dir, "SVLOG_SIZE=65536")
		time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond)
		if n == kills-1 {
			stop.Store(true)
			for range writers {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			break
		}
		cmd.Process.Kill()
		stdin.Close()
		cmd.Wait()
	}
	var c svlogtest.Check
	check(t, &c, filepath.Join(dir, "log/w/current"))
	for stream, w := range writers {
		if got := c.Lines(stream); got != w.Next {
			t.Errorf("%d lines of %s, want %d", got, stream, w.Next)
		}
	}
	t.Logf("%d and %d lines, %d logs", writers["out"].Next, writers["err"].Next, len(rotated(t, filepath.Join(dir, "log/w/current"))))
}
