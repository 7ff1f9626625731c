package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func someMirror() Mirror {
	return Mirror{
		Boot: "boot key", RunDir: "/run/abide", ID: "0123456789abcdef", Keeper: Process{Pid: 12, Start: 34}, Written: 56,
		Runs: []MirrorRun{
			{Name: "a", Run: 1, Process: Process{Pid: 100, Start: 200, Inode: 300}},
			{Name: "web@2", Run: 1 << 60, Process: Process{Pid: 4194303, Start: 1 << 50}},
		},
	}
}

func TestAMirrorIsReadAsItWasWritten(t *testing.T) {
	m := someMirror()
	got, err := DecodeMirror(m.Encode())
	if err != nil || !reflect.DeepEqual(*got, m) {
		t.Errorf("got %+v, %v, want %+v", got, err, m)
	}
}

func TestAMirrorOfAnotherVersionOrADamagedOneIsRefused(t *testing.T) {
	m := someMirror()
	good := m.Encode()
	for n := range good {
		if _, err := DecodeMirror(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(good))
		}
		bad := bytes.Clone(good)
		bad[n] ^= 0x10
		if _, err := DecodeMirror(bad); err == nil {
			t.Errorf("a flip in byte %d is accepted", n)
		}
	}
	if _, err := DecodeMirror(append(good, 0)); err == nil {
		t.Error("a byte too many is accepted")
	}
}

// The bytes that abide 0.2 writes: what it wrote must be read for ever.
func TestTheFirstVersionOfAMirrorStaysReadable(t *testing.T) {
	m := Mirror{Boot: "b", RunDir: "/r", ID: "0123456789abcdef", Keeper: Process{Pid: 1, Start: 2}, Written: 3,
		Runs: []MirrorRun{{Name: "w", Run: 4, Process: Process{Pid: 5, Start: 6, Inode: 7}}}}
	const golden = "6162696465" + "6d6972" + "0100" + "010062" + "02002f72" + "100030313233343536373839616263646566" +
		"01000000" + "0200000000000000" + "0300000000000000" + "01000000" +
		"010077" + "0400000000000000" + "05000000" + "0600000000000000" + "0700000000000000"
	got := fmt.Sprintf("%x", m.Encode())
	if got[:len(golden)] != golden || len(got) != len(golden)+8 {
		t.Errorf("got  %s\nwant %s and a checksum", got, golden)
	}
}

func TestAMirrorOfAnotherBootOrRunDirectorySaysNothing(t *testing.T) {
	dir := openState(t)
	m := someMirror()
	if got, err := dir.ReadMirror(m.Boot, m.RunDir); got != nil || err != nil {
		t.Errorf("where there is none: %+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir.Path(), mirrorFile), m.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		boot, run string
		found     bool
	}{{m.Boot, m.RunDir, true}, {"other", m.RunDir, false}, {m.Boot, "/run/other", false}} {
		if got, err := dir.ReadMirror(c.boot, c.run); err != nil || (got != nil) != c.found {
			t.Errorf("boot %s, run directory %s: %+v, %v", c.boot, c.run, got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir.Path(), mirrorFile), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.ReadMirror(m.Boot, m.RunDir); got != nil || err == nil {
		t.Errorf("noise is read as %+v, %v", got, err)
	}
}

func TestTheMirrorFollowsInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := openState(t)
		head := someMirror()
		asked := 0
		w := NewMirrorWriter(dir, head, func() int64 { return 99 }, func(p Process) Process {
			asked++
			p.Inode = 1000 + uint64(p.Pid)
			return p
		}, func(err error) { t.Error(err) })
		path := filepath.Join(dir.Path(), mirrorFile)
		exists := func() bool { _, err := os.Stat(path); return err == nil }
		settle := func() { time.Sleep(2 * mirrorLater); synctest.Wait() }

		w.Set("web", 1, 10, 20)
		settle()
		if exists() {
			t.Fatal("it is written before all that lives is known")
		}
		w.Begin()
		w.Set("db", 1, 11, 21)
		if exists() {
			t.Fatal("it is written at once")
		}
		settle()
		m, err := dir.ReadMirror(head.Boot, head.RunDir)
		if err != nil || m == nil || len(m.Runs) != 2 || m.Written != 99 || m.ID != head.ID || m.Keeper != head.Keeper {
			t.Fatalf("got %+v, %v", m, err)
		}
		if want := (MirrorRun{"db", 1, Process{11, 21, 1011}}); m.Runs[0] != want {
			t.Errorf("got %+v, want %+v", m.Runs[0], want)
		}

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w.Set("web", 1, 10, 20)
		w.Set("gone", 1, 0, 0)
		settle()
		if exists() {
			t.Error("it is written although nothing changed")
		}
		w.Set("web", 1, 0, 0)
		w.Set("db", 2, 12, 22)
		settle()
		if m, err = dir.ReadMirror(head.Boot, head.RunDir); err != nil || len(m.Runs) != 1 || m.Runs[0].Run != 2 {
			t.Errorf("got %+v, %v", m, err)
		}
		if asked != 3 {
			t.Errorf("%d processes were looked at, want 3", asked)
		}
		w.Set("db", 3, 13, 23)
		w.Flush()
		if m, err = dir.ReadMirror(head.Boot, head.RunDir); err != nil || m.Runs[0].Run != 3 {
			t.Errorf("after a flush %+v, %v", m, err)
		}
	})
}

func TestAMirrorThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := openState(t)
		fake := &failingFiles{files: dir.files, err: errors.New("no space left on device")}
		dir.files = fake
		said := 0
		w := NewMirrorWriter(dir, someMirror(), func() int64 { return 1 }, func(p Process) Process { return p }, func(error) { said++ })
		w.Begin()
		for n := range 3 {
			w.Set("web", uint64(n+1), n+1, 1)
			time.Sleep(2 * mirrorLater)
			synctest.Wait()
		}
		if said != 1 {
			t.Errorf("said %d times, want once", said)
		}
		fake.err = nil
		w.Set("web", 9, 9, 9)
		w.Flush()
		if m, err := dir.ReadMirror(someMirror().Boot, someMirror().RunDir); err != nil || m == nil || m.Runs[0].Run != 9 {
			t.Errorf("when it can be written again: %+v, %v", m, err)
		}
	})
}

type failingFiles struct {
	files
	err error
}

func (f *failingFiles) rename(from, to string) error {
	if f.err != nil {
		return f.err
	}
	return f.files.rename(from, to)
}

func FuzzMirror(f *testing.F) {
	m := someMirror()
	f.Add(m.Encode())
	m.Runs = nil
	f.Add(m.Encode())
	f.Add([]byte(mirrorMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMirror(data)
		if err != nil {
			return
		}
		again, err := DecodeMirror(m.Encode())
		if err != nil || again.ID != m.ID || len(again.Runs) != len(m.Runs) {
			t.Errorf("what was read is not read again: %v", err)
		}
	})
}
