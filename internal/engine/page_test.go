package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/state"
)

// somePage is a page with no field left out.
func somePage(t testing.TB) (core.State, info, []byte) {
	t.Helper()
	cfg := core.Config{StopSteps: 1}
	st, _ := core.Step(&cfg, core.State{}, core.Event{Kind: core.EvStart}, 7)
	st, _ = core.Step(&cfg, st, core.Event{Kind: core.EvSpawned, Run: 1}, 8)
	i := info{
		Since: 1, Began: 2, Pid: 3, SentStep: 4, StartTime: 5, UID: 6, GID: 7, Request: 8, Gone: true, Stopped: true, Chain: 12,
		Ending: endRestart, Named: true, Erred: true,
		Last: lastExit{Run: 9, At: 10, Status: 11, Known: true, OOM: true},
	}
	var p [pageSize]byte
	putPage(&p, &st, &i)
	return st, i, p[:]
}

func TestAPageHoldsAllThatIsKnownOfAService(t *testing.T) {
	st, i, page := somePage(t)
	gotState, got, err := readPage(page)
	if err != nil || gotState != st || got != i {
		t.Fatalf("stored %+v %+v\nread %+v %+v: %v", st, i, gotState, got, err)
	}
	// A later abide adds at the end.
	longer := append(bytes.Clone(page), 1, 2, 3, 4, 5, 6, 7, 8)
	binary.LittleEndian.PutUint16(longer[2:], uint16(len(longer)-pageHeader))
	if gotState, got, err := readPage(longer); err != nil || gotState != st || got != i {
		t.Errorf("a longer page reads as %+v %+v: %v", gotState, got, err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"cut off":              func(p []byte) []byte { return p[:len(p)-1] },
		"longer than it says":  func(p []byte) []byte { return append(p, 0) },
		"of another version":   func(p []byte) []byte { p[0]++; return p },
		"with a damaged state": func(p []byte) []byte { p[pageHeader+9]++; return p },
		"empty":                func([]byte) []byte { return nil },
	} {
		if gotState, got, err := readPage(damage(bytes.Clone(page))); err == nil {
			t.Errorf("%s it reads as %+v %+v", name, gotState, got)
		}
	}
}

func TestStoringAPageAllocatesNothing(t *testing.T) {
	e := New(Options{}, Ports{Snapshot: noSnapshot{}})
	s := &service{name: "web"}
	if n := testing.AllocsPerRun(100, func() { e.persist(s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type noSnapshot struct{}

func (noSnapshot) Put(string, []byte) error { return nil }
func (noSnapshot) Delete(string)            {}
func (noSnapshot) All() map[string][]byte   { return nil }

// firstPage is a page that abide 0.1 wrote.
func firstPage(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/page-0.1.hex")
	if err != nil {
		t.Fatal(err)
	}
	page, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestAPageOfTheFirstVersionIsRead(t *testing.T) {
	st, got, err := readPage(firstPage(t))
	if err != nil {
		t.Fatal(err)
	}
	want := info{
		Since: 1, Began: 2, Pid: 3, SentStep: 4, StartTime: 5, UID: 6, GID: 7,
		Last: lastExit{Run: 9, At: 10, Status: 11, Known: true, OOM: true},
	}
	if wantState, _, _ := somePage(t); st != wantState || got != want {
		t.Errorf("read %+v %+v\nwant %+v %+v", st, got, wantState, want)
	}
}

func FuzzReadPage(f *testing.F) {
	_, _, page := somePage(f)
	f.Add(page)
	f.Add(firstPage(f))
	f.Add([]byte{pageVersion, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		st, i, err := readPage(data)
		if err != nil {
			return
		}
		var again [pageSize]byte
		putPage(&again, &st, &i)
		if gotState, got, err := readPage(again[:]); err != nil || gotState != st || got != i {
			t.Errorf("%+v %+v comes back as %+v %+v: %v", st, i, gotState, got, err)
		}
	})
}

func TestASecondPageHoldsThePast(t *testing.T) {
	p := past{WantedSince: 1, BeganAt: 2, ReadyAt: 3, Ended: 4, Reloaded: 5}
	var s service
	if s.recall(p.encode()); s.info.past != p {
		t.Errorf("stored %+v, read %+v", p, s.info.past)
	}
	var other service
	if other.recall(p.encode()[:pastSize-1]); other.info.past != (past{}) {
		t.Errorf("a page that is cut off reads as %+v", other.info.past)
	}
}

// What no file of this boot can hold must not be found out by an operator.
func TestPagesFitIntoTheFile(t *testing.T) {
	if pageSize > state.MaxSnapshotBlob || pastSize > state.MaxSnapshotBlob {
		t.Errorf("pages have %d and %d bytes, the file has room for %d", pageSize, pastSize, state.MaxSnapshotBlob)
	}
}
