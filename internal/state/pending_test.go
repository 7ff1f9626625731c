//go:build linux

package state

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
)

func somethingHappened(i int) control.Event {
	ev := control.Event{Time: time.Unix(int64(i), 5), Service: "web", Run: uint64(i), Kind: "state", Text: fmt.Sprint("text ", i)}
	if i%2 == 0 {
		ev.Fields = map[string]string{"a": "b", "verb": "start"}
	}
	return ev
}

func openPending(t *testing.T, run *Dir, boot string) *Pending {
	t.Helper()
	p, err := OpenPending(run, boot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestEventsThatAreNotInTheHistoryOutliveTheirWriter(t *testing.T) {
	run := openRun(t).Dir
	p := openPending(t, run, "boot")
	p.Clear(41)
	var want []control.Event
	for i := range 10 {
		ev := somethingHappened(i)
		if !p.Note(&ev) {
			t.Fatal("no room")
		}
		ev.Cursor = uint64(42 + i)
		want = append(want, ev)
	}
	p = openPending(t, run, "boot")
	if got := p.Left(); !reflect.DeepEqual(got, want) {
		t.Errorf("left are %+v\nwant %+v", got, want)
	}
	p.Clear(51)
	if got := openPending(t, run, "boot").Left(); got != nil {
		t.Errorf("left are %+v after they were written", got)
	}
	ev := somethingHappened(1)
	p.Note(&ev)
	if got := openPending(t, run, "next boot").Left(); got != nil {
		t.Errorf("the next boot finds %+v", got)
	}
}

func TestAFullBufferOfEventsSaysSo(t *testing.T) {
	p := openPending(t, openRun(t).Dir, "boot")
	ev := control.Event{Text: strings.Repeat("x", 1000)}
	n := 0
	for p.Note(&ev) {
		n++
	}
	if n < 200 || len(p.Left()) != n {
		t.Errorf("%d fit, %d are left", n, len(p.Left()))
	}
	p.Clear(7)
	if !p.Note(&ev) || p.Left()[0].Cursor != 8 {
		t.Error("an emptied buffer takes nothing")
	}
}

func TestNotingAnEventAllocatesNothing(t *testing.T) {
	p := openPending(t, openRun(t).Dir, "boot")
	ev := somethingHappened(2)
	if n := testing.AllocsPerRun(100, func() { p.Note(&ev); p.Clear(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestABufferOfNoSenseIsBegunAnew(t *testing.T) {
	run := openRun(t).Dir
	if err := os.WriteFile(filepath.Join(run.Path(), "events"), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := openPending(t, run, "boot")
	ev := somethingHappened(1)
	if p.Left() != nil || !p.Note(&ev) || len(p.Left()) != 1 {
		t.Errorf("left are %+v", p.Left())
	}
}

func FuzzNextPending(f *testing.F) {
	for i := range 2 {
		p := pendingStore{make([]byte, 4096)}
		ev := somethingHappened(i)
		p.Note(&ev)
		f.Add(p.data[pendingHead : pendingHead+*p.used()])
	}
	f.Add([]byte("abide"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ev, _, ok := nextPending(data)
		if !ok {
			return
		}
		p := pendingStore{make([]byte, len(data)+pendingHead+100)}
		if !p.Note(&ev) {
			t.Fatalf("%+v does not fit where it came from", ev)
		}
		if got := p.Left(); len(got) != 1 || got[0].Text != ev.Text || !reflect.DeepEqual(got[0].Fields, ev.Fields) {
			t.Errorf("%+v comes back as %+v", ev, got)
		}
	})
}

func BenchmarkNote(b *testing.B) {
	p := pendingStore{make([]byte, pendingBytes)}
	ev := somethingHappened(2)
	for b.Loop() {
		p.Note(&ev)
		p.Clear(1)
	}
}
