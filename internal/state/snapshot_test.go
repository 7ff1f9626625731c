//go:build linux

package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func openSnapshot(t *testing.T, run *Dir, boot string) (*Snapshot, string) {
	t.Helper()
	s, note, err := OpenSnapshot(run, boot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, note
}

func equal(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func TestASnapshotSurvivesItsWriter(t *testing.T) {
	run := openRun(t).Dir
	s, note := openSnapshot(t, run, "boot 1")
	want := make(map[string][]byte)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		name := fmt.Sprint("service-", r.IntN(400))
		if r.IntN(4) == 0 {
			s.Delete(name)
			delete(want, name)
			continue
		}
		blob := bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(MaxSnapshotBlob+1))
		if err := s.Put(name, blob); err != nil {
			t.Fatal(err)
		}
		want[name] = blob
	}
	if note != "" || !equal(s.All(), want) || s.Len() != len(want) {
		t.Errorf("%q: the snapshot holds %d entries, want %d", note, s.Len(), len(want))
	}
	// A second mapping is what the next engine sees when this one dies here.
	next, note := openSnapshot(t, run, "boot 1")
	if note != "" || !equal(next.All(), want) {
		t.Errorf("%q: the next engine reads something else", note)
	}
}

func TestASnapshotOfAnotherBootOrVersionIsEmptyAndSaid(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(data []byte) []byte
		why    string
	}{
		"boot":      {func(d []byte) []byte { return d }, "another boot"},
		"version":   {func(d []byte) []byte { d[10] = 99; return d }, "damaged"},
		"cut":       {func(d []byte) []byte { return d[:100] }, "cut off"},
		"empty":     {func(d []byte) []byte { return nil }, "cut off"},
		"something": {func(d []byte) []byte { return bytes.Repeat([]byte("x"), 9000) }, "not a snapshot"},
	} {
		run := openRun(t).Dir
		s, _ := openSnapshot(t, run, "boot 1")
		if err := s.Put("web", []byte("x")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(run.Path(), snapshotFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		boot := "boot 1"
		if name == "boot" {
			boot = "boot 2"
		} else if err := run.WriteFile(snapshotFile, c.damage(data), 0o600); err != nil {
			t.Fatal(err)
		}
		next, note := openSnapshot(t, run, boot)
		if next.Len() != 0 || !strings.Contains(note, c.why) {
			t.Errorf("%s: %d entries, note %q", name, next.Len(), note)
		}
		if err := next.Put("web", []byte("y")); err != nil {
			t.Error(err)
		}
	}
}

// TestAWriterKilledAtAnyInstructionLeavesTheOldOrTheNewEntry replaces every byte
// of the copy that is being written by rubbish in every order that matters: up to
// the last store, the copy that counts is not touched.
func TestAWriterKilledAtAnyInstructionLeavesTheOldOrTheNewEntry(t *testing.T) {
	s := snapshotStore{slots: make([]byte, slotBytes)}
	s.load()
	s.put(0, "web", []byte("one"))
	for _, next := range []struct{ name, blob string }{{"web", "two"}, {"", ""}, {"other", "three"}} {
		oldName, oldBlob := s.read(0)
		oldBlob = bytes.Clone(oldBlob)
		before := bytes.Clone(s.slots)
		s.put(0, next.name, []byte(next.blob))
		after := bytes.Clone(s.slots)
		for n := range slotBytes {
			// The sequence is stored last, so until then it is 0.
			mixed := append(bytes.Clone(after[:n]), before[n:]...)
			for _, c := range []int{0, copyBytes} {
				if !bytes.Equal(before[c:c+8], after[c:c+8]) {
					clear(mixed[c : c+8])
				}
			}
			torn := snapshotStore{slots: mixed}
			torn.load()
			if name, blob := torn.read(0); name != oldName || !bytes.Equal(blob, oldBlob) {
				t.Fatalf("torn at byte %d: %q %q, want %q %q", n, name, blob, oldName, oldBlob)
			}
		}
	}
}

func TestPuttingAKnownEntryAllocatesNothing(t *testing.T) {
	s, _ := openSnapshot(t, openRun(t).Dir, "b")
	blob := make([]byte, 200)
	if err := s.Put("web", blob); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { s.Put("web", blob) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestASnapshotIsBounded(t *testing.T) {
	s, _ := openSnapshot(t, openRun(t).Dir, "b")
	if err := s.Put("", nil); err == nil {
		t.Error("an empty name is accepted")
	}
	if err := s.Put(strings.Repeat("n", MaxSnapshotName+1), nil); err == nil {
		t.Error("a long name is accepted")
	}
	if err := s.Put("web", make([]byte, MaxSnapshotBlob+1)); err == nil {
		t.Error("a long blob is accepted")
	}
	for i := range MaxSnapshotEntries {
		if err := s.Put(fmt.Sprint(i), []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put("one more", nil); !errors.Is(err, ErrSnapshotFull) {
		t.Errorf("the error is %v", err)
	}
	s.Delete("17")
	if err := s.Put("one more", nil); err != nil {
		t.Error(err)
	}
}

func TestAFullFileSystemIsAnError(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("needs root to mount a file system of its own")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run, err := OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	s, _ := openSnapshot(t, run.Dir, "b")
	stored := 0
	for i := range 1000 {
		if err = s.Put(fmt.Sprint(i), []byte{1}); err != nil {
			break
		}
		stored++
	}
	if !errors.Is(err, syscall.ENOSPC) || stored < chunkSlots {
		t.Errorf("after %d entries the error is %v", stored, err)
	}
	if err := s.Put("0", []byte{2}); err != nil || s.All()["0"][0] != 2 {
		t.Errorf("an entry that has room cannot be changed: %v", err)
	}
}

func BenchmarkPut(b *testing.B) {
	run, err := OpenRun(filepath.Join(b.TempDir(), "run"))
	if err != nil {
		b.Fatal(err)
	}
	s, _, err := OpenSnapshot(run.Dir, "b")
	if err != nil {
		b.Fatal(err)
	}
	blob := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		s.Put("web", blob)
	}
}

func FuzzSnapshot(f *testing.F) {
	s := snapshotStore{slots: make([]byte, 2*slotBytes)}
	s.load()
	s.put(0, "web", []byte("blob"))
	s.put(0, "web", []byte("newer"))
	s.put(1, "db", nil)
	f.Add(s.slots)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		slots := make([]byte, 2*slotBytes)
		copy(slots, data)
		s := snapshotStore{slots: slots}
		s.load()
		for i := range int32(2) {
			if name, blob := s.read(i); len(name) > MaxSnapshotName || len(blob) > MaxSnapshotBlob {
				t.Errorf("entry %q of %d bytes", name, len(blob))
			}
			s.put(i, "x", []byte("y"))
			if name, blob := s.read(i); name != "x" || string(blob) != "y" {
				t.Errorf("read back %q %q", name, blob)
			}
		}
	})
}
