package svlog

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// writeLines is the body of a writer process: lines of 100 bytes, numbered,
// perWrite of them a write, to standard output.
func writeLines(lines, perWrite int) {
	buf := make([]byte, 0, 100*perWrite)
	for i := 0; i < lines; {
		buf = buf[:0]
		for range perWrite {
			if i == lines {
				break
			}
			buf = fmt.Appendf(buf, "%09d ", i)
			for len(buf)%100 != 99 {
				buf = append(buf, 'x')
			}
			buf = append(buf, '\n')
			i++
		}
		for b := buf; len(b) > 0; {
			n, err := os.Stdout.Write(b)
			if err != nil {
				os.Exit(3)
			}
			b = b[n:]
		}
	}
}

func writer(b testing.TB, path string, lines, perWrite int) *exec.Cmd {
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "SVLOG_ROLE=write", "SVLOG_LINES="+strconv.Itoa(lines), "SVLOG_PER_WRITE="+strconv.Itoa(perWrite))
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return cmd
}

func cpuTime() time.Duration {
	var ru unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

var benchSpec = model.Log{Stdout: []model.LogTarget{{}}, Stderr: []model.LogTarget{{}}, Size: 16 << 20, Keep: 3}

func benchWriters(b *testing.B, base string, writers, lines, perWrite int) {
	dir, err := os.MkdirTemp(base, "svlog")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	m, err := Open(Options{RunDir: dir + "/run", LogDir: dir + "/log"})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	b.SetBytes(int64(writers * lines * 100))
	var cpu time.Duration
	run := uint64(0)
	for b.Loop() {
		before := cpuTime()
		done := make(chan struct{}, writers)
		var cmds []*exec.Cmd
		run++
		for w := range writers {
			p, err := m.Begin("w"+strconv.Itoa(w), run, 0, 0, &benchSpec)
			if err != nil {
				b.Fatal(err)
			}
			cmds = append(cmds, writer(b, p.Out.Path, lines, perWrite))
		}
		for w, cmd := range cmds {
			cmd.Wait()
			m.Ended("w"+strconv.Itoa(w), run, func() { done <- struct{}{} })
		}
		for range writers {
			<-done
		}
		cpu += cpuTime() - before
	}
	total := float64(b.N * writers * lines)
	b.ReportMetric(total/b.Elapsed().Seconds()/1e6, "Mlines/s")
	b.ReportMetric(cpu.Seconds()/(total*100/1e9), "cpu-s/GB")
}

func BenchmarkLog(b *testing.B) {
	for _, base := range []string{"/dev/shm", "/tmp"} {
		b.Run("one"+base, func(b *testing.B) { benchWriters(b, base, 1, 2_000_000, 40) })
		b.Run("line-per-write"+base, func(b *testing.B) { benchWriters(b, base, 1, 500_000, 1) })
		b.Run("hundred"+base, func(b *testing.B) { benchWriters(b, base, 100, 20_000, 10) })
	}
}

// BenchmarkPeer measures s6-log and cat with the same writer.
func BenchmarkPeer(b *testing.B) {
	for _, base := range []string{"/dev/shm", "/tmp"} {
		for _, peer := range [][]string{{"s6-log", "-b", "n3", "s16000000", "t"}, {"cat"}} {
			for _, per := range []int{40, 1} {
				b.Run(fmt.Sprintf("%s-%d%s", peer[0], per, base), func(b *testing.B) { benchPeer(b, base, peer, per) })
			}
		}
	}
}

func benchPeer(b *testing.B, base string, peer []string, perWrite int) {
	const lines = 1_000_000
	if _, err := exec.LookPath(peer[0]); err != nil {
		b.Skipf("%s is not installed", peer[0])
	}
	dir, err := os.MkdirTemp(base, "svlog")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b.SetBytes(lines * 100)
	var cpu time.Duration
	for b.Loop() {
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		log := exec.Command(peer[0], peer[1:]...)
		if peer[0] == "s6-log" {
			log.Args = append(log.Args, dir)
		} else {
			out, err := os.Create(filepath.Join(dir, "out"))
			if err != nil {
				b.Fatal(err)
			}
			log.Stdout = out
			defer out.Close()
		}
		log.Stdin = r
		if err := log.Start(); err != nil {
			b.Fatal(err)
		}
		cmd := writer(b, fmt.Sprintf("/proc/self/fd/%d", w.Fd()), lines, perWrite)
		w.Close()
		r.Close()
		cmd.Wait()
		log.Wait()
		cpu += log.ProcessState.UserTime() + log.ProcessState.SystemTime()
	}
	total := float64(b.N * lines)
	b.ReportMetric(total/b.Elapsed().Seconds()/1e6, "Mlines/s")
	b.ReportMetric(cpu.Seconds()/(total*100/1e9), "cpu-s/GB")
}

// BenchmarkBegin is what capturing costs a start: two FIFOs made, opened and
// watched. What ending a run costs is not counted.
func BenchmarkBegin(b *testing.B) {
	for _, base := range []string{"/dev/shm", "/tmp"} {
		b.Run(base[1:], func(b *testing.B) {
			dir, err := os.MkdirTemp(base, "svlog")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			m, err := Open(Options{RunDir: dir + "/run", LogDir: dir + "/log"})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			var spent []time.Duration
			for b.Loop() {
				run := uint64(len(spent)) + 1
				began := time.Now()
				p, err := m.Begin("web", run, 0, 0, &benchSpec)
				if err != nil {
					b.Fatal(err)
				}
				spent = append(spent, time.Since(began))
				for _, path := range []string{p.Out.Path, p.Err.Path} {
					f, err := os.OpenFile(path, os.O_RDWR, 0)
					if err != nil {
						b.Fatal(err)
					}
					f.Close()
				}
				done := make(chan struct{})
				m.Ended("web", run, func() { close(done) })
				<-done
			}
			slices.Sort(spent)
			b.ReportMetric(float64(spent[len(spent)/2].Nanoseconds()), "median-ns/begin")
		})
	}
}

// BenchmarkOpen is what it takes a new Manager to have adopted 1,000 runs.
func BenchmarkOpen(b *testing.B) {
	in := newInstance(b)
	m := in.open()
	for i := range 1000 {
		if _, err := m.Begin("w"+strconv.Itoa(i), 1, 0, 0, &benchSpec); err != nil {
			b.Fatal(err)
		}
	}
	m.Close()
	for b.Loop() {
		m := in.open()
		for i := range 1000 {
			if _, err := m.Adopt("w"+strconv.Itoa(i), 1, &benchSpec); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		m.Close()
		b.StartTimer()
	}
}
