//go:build linux

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// alike checks that nothing has happened to the services that stay, and that no
// program has met a second copy of itself.
func (r *round) alike(when string) {
	r.t.Helper()
	for name, before := range r.began {
		if !harness.Alive(before.Pid) {
			r.t.Errorf("%s: %s, pid %d, is dead", when, name, before.Pid)
		}
	}
	if copies, _ := os.ReadFile(filepath.Join(r.notes, "copies")); len(copies) > 0 {
		r.t.Errorf("%s: second copies:\n%s", when, copies)
	}
	runs := map[string]map[string]bool{}
	for _, p := range r.Processes("") {
		if runs[p.Service] == nil {
			runs[p.Service] = map[string]bool{}
		}
		runs[p.Service][p.Run] = true
	}
	for name, before := range r.began {
		if of := runs[name]; len(of) != 1 || !of[fmt.Sprint(before.Run)] {
			r.t.Errorf("%s: %s has processes of the runs %v, want run %d alone", when, name, of, before.Run)
		}
	}
}

// same checks what abide says of the services that stay.
func (r *round) same() {
	r.t.Helper()
	for name, before := range r.began {
		s := r.AwaitStatus(name, "runs", running)
		if s.Pid != before.Pid || s.Run != before.Run || s.Restarts != 0 {
			r.t.Errorf("%s has pid %d in run %d after %d restarts, had pid %d in run %d", name, s.Pid, s.Run, s.Restarts, before.Pid, before.Run)
		}
	}
}

// starts returns the runs of a service that began, in order, and checks that each
// began once.
func (r *round) starts(name string) []int {
	r.t.Helper()
	var runs []int
	seen := map[int]bool{}
	for text := range strings.Lines(r.file("starts", name)) {
		run, err := strconv.Atoi(strings.Fields(text)[0])
		harness.Check(r.t, err)
		if seen[run] {
			r.t.Errorf("run %d of %s began twice", run, name)
		}
		seen[run] = true
		runs = append(runs, run)
	}
	if !sort.IntsAreSorted(runs) {
		r.t.Errorf("the runs of %s began out of order: %v", name, runs)
	}
	return runs
}

// startSlack is how long a program may need from its clone to the line in which it
// notes its start.
const startSlack = int64(200 * time.Millisecond)

// exits holds what abide says of the ends of a service's runs against what the
// program noted just before. An end may be unknown only while nobody could see it,
// and for a run that has outlived its keeper: the next one is not its parent, and
// learns the status only if the init above reaps at once.
func (r *round) exits(name string, told map[string][]string) (exact, unknown int) {
	r.t.Helper()
	ends, begins := r.file("ends", name), map[string]int64{}
	for text := range strings.Lines(r.file("starts", name)) {
		words := strings.Fields(text)
		begins[words[0]], _ = strconv.ParseInt(words[2], 10, 64)
	}
	for text := range strings.Lines(ends) {
		last := strings.HasSuffix(ends, text)
		words := strings.Fields(text)
		at, err := strconv.ParseInt(words[2], 10, 64)
		harness.Check(r.t, err)
		list := told[name+" "+words[0]]
		want := "exited with code " + words[1]
		if words[1] == "0" {
			want = "exited"
		} else if _, err := strconv.Atoi(words[1]); err != nil {
			want = "killed by " + words[1]
		}
		switch {
		case len(list) == 0:
			// The event is written after the deed: see the chain of runs instead.
		case list[len(list)-1] == want || strings.HasPrefix(list[len(list)-1], want+","):
			exact++
		case strings.Contains(list[len(list)-1], "unknown") || strings.Contains(list[len(list)-1], "not seen"):
			unknown++
			if !within(r.blind, at) && !across(r.blind, begins[words[0]]-startSlack, at) {
				r.t.Errorf("the end of run %s of %s is %q, though a keeper was there: it was %s, %s", words[0], name, list[len(list)-1], want, near(r.blind, at))
			}
		case (last || at < r.from) && strings.HasPrefix(list[len(list)-1], "killed by TERM"):
			// It was stopped by order just when it was about to end by itself.
		default:
			r.t.Errorf("the end of run %s of %s is told as %q, it was %s", words[0], name, list[len(list)-1], want)
		}
	}
	return exact, unknown
}

// told collects what the events say of each exit, by "NAME RUN".
func (r *round) told() map[string][]string {
	r.t.Helper()
	c, err := r.Client()
	harness.Check(r.t, err)
	defer c.Close()
	told := map[string][]string{}
	harness.Check(r.t, c.Events(context.Background(), 0, false, func(e client.Event) error {
		if e.Kind == "exit" {
			key := fmt.Sprintf("%s %d", e.Service, e.Run)
			told[key] = append(told[key], e.Text)
		}
		return nil
	}))
	return told
}

// story is what the events say of a service.
func (r *round) story(name string) string {
	var text strings.Builder
	for line := range strings.Lines(r.OK("events")) {
		if strings.Contains(line, name+"[") || strings.Contains(line, name+" ") || strings.Contains(line, " in charge of ") {
			text.WriteString(line)
		}
	}
	return text.String()
}

// logged checks that a writer's log holds each of its lines once, in order and
// whole, in files compressed or not.
func (r *round) logged(name string) (lines uint64) {
	r.t.Helper()
	written, err := strconv.ParseUint(strings.TrimSpace(r.file("written", name)), 10, 64)
	if err != nil {
		r.t.Errorf("%s did not end as it should: %v", name, err)
		return 0
	}
	data, remarks := r.text(name)
	var n uint64
	for text := range bytes.Lines(data) {
		n++
		if want := line(n); string(text) != want {
			r.t.Errorf("line %d of %s is %q, want %q", n, name, cut(string(text)), cut(want))
			return n
		}
	}
	if n != written {
		r.t.Errorf("the log of %s has %d lines, it wrote %d", name, n, written)
	}
	if len(remarks) > 0 {
		r.t.Errorf("abide remarks in the log of %s: %s", name, cut(strings.Join(remarks, "; ")))
	}
	return n
}

func cut(text string) string {
	if len(text) > 300 {
		return text[:300] + "..."
	}
	return text
}

// text puts a service's output together again from all files of its log, and
// returns abide's own remarks beside it.
func (r *round) text(name string) (data []byte, remarks []string) {
	r.t.Helper()
	dir := filepath.Join(r.Log, name)
	rotated, err := filepath.Glob(filepath.Join(dir, "@*"))
	harness.Check(r.t, err)
	sort.Strings(rotated)
	seen := map[string]bool{}
	var out []byte
	open := false // the last record's line may go on
	for _, path := range append(rotated, filepath.Join(dir, "current")) {
		if strings.HasSuffix(path, ".tmp") {
			continue
		}
		// A log that was being compressed when abide ended may be there in both forms.
		stem := strings.TrimSuffix(path, ".zst")
		if seen[stem] {
			continue
		}
		seen[stem] = true
		for record := range bytes.Lines(r.unpacked(path)) {
			fields := bytes.SplitN(record, []byte(" "), 4)
			if len(fields) < 4 {
				r.t.Fatalf("%s holds a torn record %q", path, record)
			}
			switch string(fields[2]) {
			case "out":
				if open {
					out = append(out, '\n')
				}
			case "out+":
			case "abide":
				remarks = append(remarks, strings.TrimSpace(string(fields[3])))
				continue
			default:
				r.t.Fatalf("%s holds a record of stream %q: %q", path, fields[2], cut(string(record)))
			}
			out = append(out, bytes.TrimSuffix(fields[3], []byte("\n"))...)
			open = true
		}
	}
	if open {
		out = append(out, '\n')
	}
	return out, remarks
}

func (r *round) unpacked(path string) []byte {
	r.t.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	harness.Check(r.t, err)
	if !strings.HasSuffix(path, ".zst") {
		return data
	}
	unpack, err := zstd.NewReader(bytes.NewReader(data))
	harness.Check(r.t, err)
	defer unpack.Close()
	if data, err = io.ReadAll(unpack); err != nil {
		r.t.Fatalf("%s cannot be unpacked: %v", path, err)
	}
	return data
}

// holding counts the descriptors and threads of a process. Those of processes are
// counted apart, because an engine gets them as it needs them, and logs are not: one
// is opened at the first line.
func holding(pid int) (descriptors, processes, threads int) {
	for _, name := range openFiles(pid) {
		switch {
		case strings.Contains(name, "[pidfd]"):
			processes++
		case filepath.Base(name) != "current":
			descriptors++
		}
	}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return descriptors, processes, len(tasks)
}

// openFiles lists what the descriptors of a process mean.
func openFiles(pid int) (names []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, _ := os.ReadDir(dir)
	for _, fd := range fds {
		name, _ := os.Readlink(filepath.Join(dir, fd.Name()))
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// pipes counts the FIFOs in the run directory that are not kept as spares.
func (r *round) pipes() (named, spare int) {
	filepath.Walk(filepath.Join(r.Run, "services"), func(path string, info os.FileInfo, err error) error {
		switch {
		case err != nil || info.Mode()&os.ModeNamedPipe == 0:
		case strings.HasPrefix(filepath.Base(path), "spare-"):
			spare++
		default:
			named++
		}
		return nil
	})
	return named, spare
}
