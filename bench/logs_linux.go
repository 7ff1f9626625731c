package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lineSize    = 100     // of what the writers write, newline included
	writerEnded = 1000000 // is added to the slot in a writer's last stamp
)

// logger is a program that keeps one log: it reads its standard input and writes
// below a folder, stamped and rotated at 16 MiB where it can do that.
type logger struct {
	name    string
	prepare func(dir string) error
	command func(dir string) []string
}

func loggers() []logger {
	nothing := func(string) error { return nil }
	return []logger{
		{"cat", nothing, func(dir string) []string { return []string{"sh", "-c", `exec cat >"$1/current"`, "sh", dir} }},
		{"s6-log", nothing, func(dir string) []string { return []string{"s6-log", "n1000", "s16777216", "t", dir} }},
		{"multilog", nothing, func(dir string) []string { return []string{"multilog", "t", "n1000", "s16777215", dir} }},
		{"svlogd", func(dir string) error {
			return writeFile(filepath.Join(dir, "config"), "s16777216\nn1000\n", 0o644)
		}, func(dir string) []string { return []string{"svlogd", "-tt", dir} }},
	}
}

// logs measures how fast lines get from programs into files, with one writer
// and with a hundred, and looks at every line afterwards.
func (b *bench) logs() {
	many := min(100, b.services)
	for round := range b.logRounds {
		list := loggers()
		for at := range list {
			l := list[(at+round)%len(list)]
			if _, err := exec.LookPath(l.command("")[0]); err != nil {
				b.report.fault("cannot measure %s: not installed", l.name)
				continue
			}
			b.logRun(l.name, 1, b.logLines, func(r *logTrial) error { return r.pipes(l) })
			b.logRun(l.name, many, b.logLines/many, func(r *logTrial) error { return r.pipes(l) })
		}
		for _, k := range b.kinds {
			if k.name == "abide" {
				b.logRun(k.name, 1, b.logLines, (*logTrial).abide)
				b.logRun(k.name, many, b.logLines/many, (*logTrial).abide)
			}
		}
	}
}

// logTrial is one run of writers against one way of logging.
type logTrial struct {
	bench   *bench
	dir     string
	writers int
	lines   int // of each writer
	pipe    *stampPipe

	// What a way of logging fills in.
	took    time.Duration // first instruction of the first writer -> the last line is in a file
	cpu     time.Duration // of the logging processes
	folders []string      // of each writer's log
}

func (b *bench) logRun(who string, writers, lines int, way func(*logTrial) error) {
	what := fmt.Sprintf("log, %d writer", writers)
	if writers > 1 {
		what += "s"
	}
	err := func() error {
		dir, err := os.MkdirTemp(b.dir, "log-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
		r := &logTrial{bench: b, dir: dir, writers: writers, lines: lines}
		if r.pipe, err = newStampPipe(dir); err != nil {
			return err
		}
		defer r.pipe.close()
		if err := way(r); err != nil {
			return err
		}
		total := float64(writers * lines)
		speed := b.report.measure(what, "M lines/s", ">= 2 x s6-log")
		speed.HigherBetter, speed.Floor = true, "cat"
		speed.add(who, total/r.took.Seconds()/1e6)
		cost := b.report.measure(what+": the logger's CPU", "s/GB", "half of s6-log's")
		cost.Floor = "cat"
		cost.add(who, r.cpu.Seconds()/(total*lineSize/1e9))
		lost, doubled, torn, err := r.verify()
		if err != nil {
			return err
		}
		faults := b.report.measure(what+": lines lost, doubled or torn", "", "0")
		faults.Single = true
		faults.add(who, float64(lost+doubled+torn))
		if lost+doubled+torn > 0 {
			b.report.fault("%s: %s: of %.0f lines %d were lost, %d doubled, %d torn", what, who, total, lost, doubled, torn)
		}
		return nil
	}()
	if err != nil {
		b.report.fault("cannot measure %s under %s: %v", what, who, err)
	}
}

// awaitWriters takes the two stamps of each writer and returns the earliest
// begin.
func (r *logTrial) awaitWriters() (int64, error) {
	first := int64(0)
	deadline := time.Now().Add(patience)
	for ended := 0; ended < r.writers; {
		s, err := r.pipe.next(deadline)
		if err != nil {
			return 0, err
		}
		if s.slot >= writerEnded {
			ended++
		} else if first == 0 || s.at < first {
			first = s.at
		}
	}
	return first, nil
}

// pipes runs each writer into a logger of its own.
func (r *logTrial) pipes(l logger) error {
	var writers, readers []*exec.Cmd
	for slot := range r.writers {
		folder := filepath.Join(r.dir, fmt.Sprintf("w%03d", slot))
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		r.folders = append(r.folders, folder)
		if err := l.prepare(folder); err != nil {
			return err
		}
		out, in, err := os.Pipe()
		if err != nil {
			return err
		}
		arguments := l.command(folder)
		reader := exec.Command(arguments[0], arguments[1:]...)
		reader.Dir = r.dir
		reader.Stdin = out
		if err := reader.Start(); err != nil {
			return err
		}
		out.Close()
		readers = append(readers, reader)
		writer := exec.Command(r.bench.programs.writer, strconv.Itoa(r.lines), r.pipe.path, strconv.Itoa(slot))
		writer.Stdout = in
		writers = append(writers, writer)
		defer in.Close()
	}
	for _, writer := range writers {
		if err := writer.Start(); err != nil {
			return err
		}
		writer.Stdout.(*os.File).Close()
	}
	first, err := r.awaitWriters()
	for _, writer := range writers {
		err = errors.Join(err, writer.Wait())
	}
	for _, reader := range readers {
		err = errors.Join(err, reader.Wait())
		r.cpu += reader.ProcessState.UserTime() + reader.ProcessState.SystemTime()
	}
	r.took = time.Duration(now() - first)
	return err
}

// abide runs the writers as tasks of one daemon. The end of its work is the
// time stamp of the file that was written last.
func (r *logTrial) abide() error {
	var names []string
	for slot := range r.writers {
		name := fmt.Sprintf("w%03d", slot)
		names = append(names, name)
		r.folders = append(r.folders, filepath.Join(r.dir, "log", name))
		text := fmt.Sprintf("command = [%q, \"%d\", %q, \"%d\"]\nkind = \"task\"\nenabled = false\n[log]\nsize = \"16MiB\"\nkeep = 1000\ncompress = \"none\"\n",
			r.bench.programs.writer, r.lines, r.pipe.path, slot)
		if err := writeFile(filepath.Join(r.dir, "services", name+".toml"), text, 0o644); err != nil {
			return err
		}
	}
	d, err := startDaemon(r.bench.bin, r.dir)
	if err != nil {
		return err
	}
	defer d.end()
	own := tree(d.process.Process.Pid, "writer")
	before := cpu(own)
	if err := d.abide(append([]string{"start", "--no-wait"}, names...)...); err != nil {
		return err
	}
	first, err := r.awaitWriters()
	if err != nil {
		return err
	}
	if err := d.abide(append([]string{"wait", "--for", "finished"}, names...)...); err != nil {
		return err
	}
	last, err := lastWrite(r.folders)
	if err != nil {
		return err
	}
	r.took = time.Duration(last - first)
	r.cpu = cpu(own) - before
	return nil
}

// lastWrite returns the monotonic time at which any file of the folders was last
// written, once that has stopped changing.
func lastWrite(folders []string) (int64, error) {
	var offset int64
	for previous := int64(-1); ; time.Sleep(100 * time.Millisecond) {
		latest := int64(0)
		for _, folder := range folders {
			entries, err := os.ReadDir(folder)
			if err != nil {
				return 0, err
			}
			for _, e := range entries {
				if info, err := e.Info(); err == nil {
					latest = max(latest, info.ModTime().UnixNano())
				}
			}
		}
		if latest == previous {
			var wall unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_REALTIME, &wall); err != nil {
				return 0, err
			}
			offset = wall.Nano() - now()
			return latest - offset, nil
		}
		previous = latest
	}
}

// verify reads every log and counts the numbers that are missing or come twice,
// and the lines that are not whole.
func (r *logTrial) verify() (lost, doubled, torn int, err error) {
	for _, folder := range r.folders {
		seen := make([]uint8, r.lines)
		entries, err := os.ReadDir(folder)
		if err != nil {
			return 0, 0, 0, err
		}
		for _, e := range entries {
			if e.Name() == "config" || e.Name() == "lock" || e.Name() == "state" || !e.Type().IsRegular() {
				continue // svlogd's and multilog's own
			}
			bad, err := countLines(filepath.Join(folder, e.Name()), seen)
			if err != nil {
				return 0, 0, 0, err
			}
			torn += bad
		}
		for _, times := range seen {
			switch {
			case times == 0:
				lost++
			case times > 1:
				doubled++
			}
		}
	}
	return lost, doubled, torn, nil
}

// countLines counts each numbered line of a file in seen and returns how many
// lines do not end in a whole one of ours.
func countLines(path string, seen []uint8) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	torn := 0
	filler := bytes.Repeat([]byte("x"), lineSize-14)
	for in := bufio.NewReaderSize(file, 1<<20); ; {
		line, err := in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return torn, nil
		}
		if err != nil && err != io.EOF {
			return torn, fmt.Errorf("cannot read %s: %w", path, err)
		}
		at, whole := lineNumber(line, filler)
		if !whole || at >= len(seen) {
			torn++
			continue
		}
		if seen[at] < 2 {
			seen[at]++
		}
	}
}

// lineNumber takes the number out of a line of the writer, whatever stamp a
// logger has put before it.
func lineNumber(line, filler []byte) (int, bool) {
	if len(line) < lineSize || line[len(line)-1] != '\n' {
		return 0, false
	}
	line = line[len(line)-lineSize : len(line)-1]
	if line[12] != ' ' || !bytes.Equal(line[13:], filler) {
		return 0, false
	}
	n := 0
	for _, c := range line[:12] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
