package svlog

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// left is the journal of a Manager that had an unfinished line when it ended.
func left(t *testing.T) (in *instance, path string) {
	t.Helper()
	in = newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	p.out.WriteString("first\nbegun")
	in.barrier()
	in.m.Close()
	t.Cleanup(p.close)
	return in, filepath.Join(in.run, journalFile)
}

func patch(t *testing.T, path string, at int64, words ...uint64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b []byte
	for _, w := range words {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// takesOver opens another Manager and tells whether it knew about the line.
func takesOver(t *testing.T, in *instance) (knew bool) {
	t.Helper()
	in.open()
	if _, err := in.m.Adopt("web", 1, fileSpec()); err != nil {
		t.Fatal(err)
	}
	p := in.begin("web", 2, fileSpec())
	in.end("web", 2, p)
	fifo, err := os.OpenFile(filepath.Join(in.run, "services/web/1.out"), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	fifo.WriteString(" and ended\n")
	fifo.Close()
	in.barrier()
	got := streamOf(in.records("web"), 1, "out")
	switch got {
	case "first\nbegun and ended\n":
		return true
	case "first\nbegun\n and ended\n":
		return false
	}
	t.Fatalf("the log has %q", got)
	return false
}

func TestJournalOfOtherVersions(t *testing.T) {
	cases := map[string]struct {
		change func(t *testing.T, path string)
		knew   bool
		bad    bool
	}{
		"as the first version wrote it, without a number": {func(t *testing.T, path string) { patch(t, path, 8, 0, 0) }, true, false},
		"newer, and grown at its end": {func(t *testing.T, path string) {
			patch(t, path, 8, journalVersion+1, journalReader)
			if err := os.Truncate(path, journalSize+1<<20); err != nil {
				t.Fatal(err)
			}
		}, true, false},
		"newer, and not for us": {func(t *testing.T, path string) { patch(t, path, 8, journalVersion+1, journalVersion+1) }, false, true},
		"noise":                 {func(t *testing.T, path string) { patch(t, path, 0, 0x6e6f697365) }, false, true},
		"truncated":             {func(t *testing.T, path string) { os.Truncate(path, 5000) }, false, true},
		"empty":                 {func(t *testing.T, path string) { os.Truncate(path, 0) }, false, false},
		"removed":               {func(t *testing.T, path string) { os.Remove(path) }, false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in, path := left(t)
			c.change(t, path)
			if knew := takesOver(t, in); knew != c.knew {
				t.Errorf("the next Manager knew of the unfinished line: %v, want %v", knew, c.knew)
			}
			_, err := os.Stat(filepath.Join(in.run, journalBad))
			if said := in.reported("cannot use the log journal"); (err == nil) != c.bad || said != c.bad {
				t.Errorf("set aside: %v, said: %v, want %v", err == nil, said, c.bad)
			}
		})
	}
}

// Whatever stands in the records, no Manager falls over them, and what is written
// afterwards is logged.
func TestJournalOfNoiseHarmsNobody(t *testing.T) {
	for seed := range uint64(20) {
		in, path := left(t)
		noise := make([]uint64, 4096)
		x := seed*0x9e3779b97f4a7c15 + 1
		for i := range noise {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			if noise[i] = x; seed%2 == 0 {
				noise[i] &= 3 // small numbers pass more checks
			}
		}
		patch(t, path, 24, noise[:(runsAt-24)/8]...)
		patch(t, path, runsAt, noise...)
		patch(t, path, sinksAt, noise...)
		in.open()
		p := in.begin("db", 7, fileSpec())
		p.out.WriteString("still here\n")
		in.end("db", 7, p)
		if got := strings.Join(in.texts("db"), "|"); got != "7 out still here" {
			t.Fatalf("seed %d: the log has %s", seed, got)
		}
		in.m.Sweep()
		in.barrier()
		b, err := os.ReadFile(in.path("web"))
		if err != nil || !bytes.HasPrefix(b, []byte("2")) || !bytes.Contains(b, []byte("begun")) {
			t.Fatalf("seed %d: the other log is %q, %v", seed, b, err)
		}
	}
}
