package proctree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const line = "411 (web) S 1 411 410 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 7 0 98765 1000 200\n"

func TestAStatFileIsRead(t *testing.T) {
	got, err := ParseStat([]byte(line))
	want := Stat{Pid: 411, Comm: "web", State: 'S', Ppid: 1, Pgrp: 411, Session: 410, Flags: 4194560, Threads: 7, Start: 98765}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestANameMayLookLikeTheRest(t *testing.T) {
	for _, name := range []string{"a) R 9 9 9", "", ")", "(", "a b\n", ") Z 1 1 1 (x"} {
		got, err := ParseStat([]byte(strings.Replace(line, "(web)", "("+name+")", 1)))
		if err != nil || got.Comm != name || got.Ppid != 1 || got.Start != 98765 {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
}

func TestWhatIsNoStatFileIsRefused(t *testing.T) {
	for _, bad := range []string{"", "411", "411 (web", "411 (web)", "411 (web) S 1", "x (web) S 1", "411 web S 1", "-1 (web) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"} {
		if got, err := ParseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func TestAZombieWithThreadsIsNotGone(t *testing.T) {
	for _, c := range []struct {
		state   byte
		threads int
		gone    bool
	}{{'S', 1, false}, {'Z', 1, true}, {'Z', 0, true}, {'Z', 2, false}, {'X', 1, true}} {
		if s := (Stat{State: c.state, Threads: c.threads}); s.Gone() != c.gone {
			t.Errorf("state %c with %d threads: gone is %v", c.state, c.threads, s.Gone())
		}
	}
}

func TestEnvironmentEntriesAreFoundWhole(t *testing.T) {
	block := []byte("A=1\x00RUN=x:web:3\x00XRUN=x:web:4\x00RUN=second\x00")
	for entry, want := range map[string]bool{"A=1": true, "RUN=x:web:3": true, "RUN=x:web": false, "RUN=x:web:4": false, "": false} {
		if got := HasEnv(block, entry); got != want {
			t.Errorf("%q is found: %v", entry, got)
		}
	}
	if got := EnvPrefix(block, "RUN="); got != "RUN=x:web:3" {
		t.Errorf("the first RUN is %q", got)
	}
	if got := EnvPrefix(block, "NONE="); got != "" {
		t.Errorf("found %q", got)
	}
}

// tree writes a recorded proc.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestChildrenOfAllThreadsAreListed(t *testing.T) {
	root := tree(t, map[string]string{
		"10/task/10/children": "11 12 ",
		"10/task/15/children": "16 ",
		"10/stat":             strings.Replace(line, "411 ", "10 ", 1),
		"self":                "",
	})
	children, err := Children(root, 10)
	slices.Sort(children)
	if err != nil || !slices.Equal(children, []int{11, 12, 16}) {
		t.Errorf("children are %v, %v", children, err)
	}
	if pids, err := Pids(root); err != nil || !slices.Equal(pids, []int{10}) {
		t.Errorf("processes are %v, %v", pids, err)
	}
	if stat, err := ReadStat(root, 10); err != nil || stat.Pid != 10 {
		t.Errorf("got %+v, %v", stat, err)
	}
	for _, err := range []error{second(ReadStat(root, 9)), second(Children(root, 9)), second(Environ(root, 9))} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a missing process is %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(line))
	f.Add([]byte("1 (a) b) Z 0 0 0"))
	f.Add([]byte("1 () S"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseStat(data); err == nil && s.Pid <= 0 {
			t.Errorf("%q is process %d", data, s.Pid)
		}
	})
}

func FuzzParsePids(f *testing.F) {
	f.Add([]byte("1 2 3 "))
	f.Add([]byte("0\n17\n"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pids, _ := ParsePids(data)
		for _, pid := range pids {
			if pid <= 0 {
				t.Errorf("%q has process %d", data, pid)
			}
		}
	})
}

func FuzzEnv(f *testing.F) {
	f.Add([]byte("A=1\x00B=2\x00"), "B=")
	f.Add([]byte("\x00\x00B"), "B")
	f.Fuzz(func(t *testing.T, block []byte, prefix string) {
		entry := EnvPrefix(block, prefix)
		if entry != "" && (!strings.HasPrefix(entry, prefix) || !HasEnv(block, entry)) {
			t.Errorf("entry %q of %q", entry, block)
		}
	})
}
