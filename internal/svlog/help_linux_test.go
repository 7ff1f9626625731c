package svlog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

var toFile = []model.LogTarget{{Kind: model.LogFile}}

func fileSpec(change ...func(*model.Log)) *model.Log {
	spec := &model.Log{Stdout: toFile, Stderr: toFile}
	for _, f := range change {
		f(spec)
	}
	return spec
}

// instance is a run directory and a log directory, and what was reported.
type instance struct {
	t        testing.TB
	run, log string
	opt      Options
	m        *Manager

	mu      sync.Mutex
	reports []string
}

func newInstance(t testing.TB) *instance {
	dir := t.TempDir()
	in := &instance{t: t, run: filepath.Join(dir, "run"), log: filepath.Join(dir, "log")}
	in.opt = Options{RunDir: in.run, LogDir: in.log, Report: func(service, text string) {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.reports = append(in.reports, service+": "+text)
	}}
	t.Cleanup(func() {
		if in.m != nil {
			in.m.Close()
		}
	})
	return in
}

func (in *instance) open() *Manager {
	in.t.Helper()
	m, err := Open(in.opt)
	if err != nil {
		in.t.Fatal(err)
	}
	in.m = m
	return m
}

func (in *instance) reported(part string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return strings.Contains(strings.Join(in.reports, "\n"), part)
}

// barrier returns when the thread has done all it was asked for, and has taken
// what was in the pipes when it was called.
func (in *instance) barrier() {
	in.t.Helper()
	done := make(chan struct{})
	if err := in.m.do(func() {
		in.m.mu.Lock()
		for _, src := range in.m.sources {
			in.m.queue(src)
		}
		in.m.mu.Unlock()
		for range 64 {
			in.m.serveReady()
		}
		close(done)
	}); err != nil {
		in.t.Fatal(err)
	}
	<-done
}

// end is a program's stdout or stderr.
type end struct{ fd int }

// Write waits until all is in the pipe.
func (e *end) Write(b []byte) (int, error) {
	for n := 0; ; {
		w, err := e.try(b[n:])
		if n += w; n == len(b) {
			return n, nil
		}
		if err == nil {
			continue
		}
		if err != unix.EAGAIN {
			return n, err
		}
		unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLOUT}}, -1)
	}
}

// try writes what the pipe has room for.
func (e *end) try(b []byte) (int, error) {
	n, err := unix.Write(e.fd, b)
	return max(n, 0), err
}

func (e *end) WriteString(s string) (int, error) { return e.Write([]byte(s)) }

func (e *end) Close() { unix.Close(e.fd) }

// program stands for a service's process: it has both ends of a run open.
type program struct{ out, err *end }

func (in *instance) program(p Pipes) program {
	in.t.Helper()
	open := func(p Pipe) *end {
		if p.Kind != PipeFIFO {
			return nil
		}
		fd, err := unix.Open(p.Path, p.Flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			in.t.Fatal(err)
		}
		return &end{fd}
	}
	return program{open(p.Out), open(p.Err)}
}

func (p program) close() {
	if p.out != nil {
		p.out.Close()
	}
	if p.err != nil {
		p.err.Close()
	}
}

func (in *instance) begin(name string, run uint64, spec *model.Log) program {
	in.t.Helper()
	p, err := in.m.Begin(name, run, os.Getuid(), os.Getgid(), spec)
	if err != nil {
		in.t.Fatal(err)
	}
	return in.program(p)
}

// end closes the program and waits until all it wrote is in its logs.
func (in *instance) end(name string, run uint64, p program) {
	in.t.Helper()
	p.close()
	done := make(chan struct{})
	if err := in.m.Ended(name, run, func() { close(done) }); err != nil {
		in.t.Fatal(err)
	}
	<-done
}

func (in *instance) path(name string) string { return DefaultPath(in.log, name) }

func (in *instance) content(name string) string {
	in.t.Helper()
	b, err := os.ReadFile(in.path(name))
	if err != nil {
		in.t.Fatal(err)
	}
	return string(b)
}

// records reads a whole log.
func (in *instance) records(name string) []Record {
	in.t.Helper()
	var all []Record
	err := Read(Query{Logs: []Log{{name, in.path(name)}}, Lines: -1}, func(r Record) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		in.t.Fatal(err)
	}
	return all
}

// texts is what stands in a log, as "RUN STREAM TEXT".
func (in *instance) texts(name string) []string {
	in.t.Helper()
	var all []string
	for _, r := range in.records(name) {
		all = append(all, fmt.Sprintf("%d %s %s", r.Run, r.Stream, r.Text))
	}
	return all
}

// stream is what a run wrote to one stream, put together again from its log.
func streamOf(records []Record, run uint64, stream string) string {
	var b bytes.Buffer
	for _, r := range records {
		if r.Run == run && r.Stream == stream {
			b.Write(r.Text)
			if !r.Partial {
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

func rotated(t testing.TB, path string) []rotatedLog {
	t.Helper()
	logs, err := listLog(path)
	if err != nil {
		t.Fatal(err)
	}
	return logs
}
