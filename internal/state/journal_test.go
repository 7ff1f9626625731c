package state

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func openJournal(t *testing.T, run *Dir, boot string) (*Journal, []string) {
	t.Helper()
	j, records, problem, err := OpenJournal(run, "requests", boot)
	if err != nil || problem != nil {
		t.Fatal(problem, err)
	}
	t.Cleanup(func() { j.Close() })
	var texts []string
	for _, r := range records {
		texts = append(texts, string(r))
	}
	return j, texts
}

func TestAJournalGivesBackWhatWasWritten(t *testing.T) {
	run := openRun(t).Dir
	j, got := openJournal(t, run, "boot")
	if got != nil {
		t.Fatalf("a new journal holds %q", got)
	}
	for _, write := range []func() error{
		func() error { return j.Append([]byte("a"), []byte("bb")) },
		func() error { return j.Append([]byte("")) },
		func() error { return j.Append() },
		func() error { return j.Append(bytes.Repeat([]byte("c"), 100000)) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	if _, got = openJournal(t, run, "boot"); len(got) != 4 || got[0] != "a" || got[1] != "bb" || got[2] != "" || len(got[3]) != 100000 {
		t.Errorf("read %.80q", got)
	}
	j, _ = openJournal(t, run, "boot")
	if err := j.Rewrite([][]byte{[]byte("new")}); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("newer")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(run.Path(), "requests")); err != nil || info.Size() != j.Size() || info.Mode().Perm() != 0o600 {
		t.Errorf("size %d, stat %+v, %v", j.Size(), info, err)
	}
	if _, got = openJournal(t, run, "boot"); fmt.Sprint(got) != "[new newer]" {
		t.Errorf("read %q", got)
	}
	if _, got = openJournal(t, run, "next boot"); got != nil {
		t.Errorf("the next boot reads %q", got)
	}
}

func TestAJournalCutOffAtAnyByteKeepsWholeRecords(t *testing.T) {
	run := openRun(t).Dir
	path := filepath.Join(run.Path(), "requests")
	j, _ := openJournal(t, run, "boot")
	sizes := []int64{j.Size()}
	for i := range 3 {
		if err := j.Append(fmt.Appendf(nil, "record %d", i)); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, j.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := int(sizes[0]); cut <= len(data); cut++ {
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := 0
		for whole < 3 && sizes[whole+1] <= int64(cut) {
			whole++
		}
		j, got := openJournal(t, run, "boot")
		if len(got) != whole {
			t.Fatalf("cut after %d bytes: %q, want %d records", cut, got, whole)
		}
		if err := j.Append([]byte("next")); err != nil {
			t.Fatal(err)
		}
		if _, got = openJournal(t, run, "boot"); len(got) != whole+1 || got[whole] != "next" {
			t.Fatalf("cut after %d bytes, then written to: %q", cut, got)
		}
	}
}

func TestAJournalThatMakesNoSenseIsSetAside(t *testing.T) {
	run := openRun(t).Dir
	for _, noise := range []string{"", "noise", "abide\x00requestz\x00\x00xxxxxxxxxxx"} {
		if err := os.WriteFile(filepath.Join(run.Path(), "requests"), []byte(noise), 0o600); err != nil {
			t.Fatal(err)
		}
		j, records, problem, err := OpenJournal(run, "requests", "boot")
		if err != nil || problem == nil || records != nil {
			t.Fatalf("%q: %q, %v, %v", noise, records, problem, err)
		}
		if err := j.Append([]byte("goes on")); err != nil {
			t.Error(err)
		}
		j.Close()
		if kept, err := os.ReadFile(filepath.Join(run.Path(), "requests.bad")); err != nil || string(kept) != noise {
			t.Errorf("%q is kept as %q, %v", noise, kept, err)
		}
	}
}

func FuzzParseJournal(f *testing.F) {
	head := journalHead("requests")
	f.Add(appendItem(appendItem(head, []byte("boot")), []byte("record")))
	f.Add(head)
	f.Add([]byte("abide"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, whole, err := parseJournal(data, "requests")
		if err != nil {
			return
		}
		again := journalHead("requests")
		for _, r := range records {
			again = appendItem(again, r)
		}
		if !bytes.Equal(again, data[:whole]) {
			t.Errorf("%d records of %d bytes come back as %d", len(records), whole, len(again))
		}
	})
}
