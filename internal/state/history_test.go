package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abide-project/abide/internal/control"
)

func event(i int) control.Event {
	return control.Event{Time: noon, Service: "web", Run: uint64(i), Kind: "state", Text: fmt.Sprintf("event %d", i), Fields: map[string]string{"n": fmt.Sprint(i)}}
}

func readFrom(t *testing.T, h *History, cursor uint64) []control.Event {
	t.Helper()
	var all []control.Event
	err := h.Read(context.Background(), cursor, false, func(ev control.Event) error {
		all = append(all, ev)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantRun checks that events are those appended from first to last, in order.
func wantRun(t *testing.T, got []control.Event, first, last int) {
	t.Helper()
	if len(got) != last-first+1 {
		t.Fatalf("read %d events, want %d to %d", len(got), first, last)
	}
	for i, ev := range got {
		if ev.Cursor != uint64(first+i) || ev.Run != ev.Cursor || ev.Text != fmt.Sprintf("event %d", first+i) || !ev.Time.Equal(noon) {
			t.Fatalf("event %d is %+v", first+i, ev)
		}
	}
}

// silent is a say that nothing may be said to.
func silent(t *testing.T) func(string) {
	return func(text string) { t.Errorf("said %q", text) }
}

func TestCursorsGoOnOverEngines(t *testing.T) {
	state := openState(t)
	n := 0
	for range 5 {
		h := OpenHistory(state, silent(t))
		for range 400 {
			n++
			if got := h.Append(event(n)); got != uint64(n) {
				t.Fatalf("event %d has cursor %d", n, got)
			}
		}
		wantRun(t, readFrom(t, h, 0), 1, n)
		wantRun(t, readFrom(t, h, uint64(n-300)), n-299, n)
		wantRun(t, readFrom(t, h, uint64(n-3)), n-2, n)
		if h.Close(); len(readFrom(t, OpenHistory(state, silent(t)), uint64(n))) != 0 {
			t.Error("events are read that nobody appended")
		}
	}
	h := OpenHistory(state, silent(t))
	defer h.Close()
	if err := h.Read(context.Background(), uint64(n+1), false, nil); err == nil {
		t.Error("a cursor of the future is accepted")
	}
}

func TestOldSegmentsAreRemovedAndTheRestHasNoGap(t *testing.T) {
	state := openState(t)
	h := OpenHistory(state, silent(t))
	defer h.Close()
	large := strings.Repeat("x", 100<<10)
	const events = 10 * (keptSegments + 4)
	for i := range events {
		ev := event(i + 1)
		ev.Text = large
		h.Append(ev)
	}
	got := readFrom(t, h, 0)
	for i, ev := range got {
		if ev.Cursor != uint64(events-len(got)+i+1) || len(ev.Text) != len(large) {
			t.Fatalf("event %d has cursor %d", i, ev.Cursor)
		}
	}
	if len(got) < 10*(keptSegments-1) || len(h.segments) != keptSegments {
		t.Errorf("%d events in %d segments are kept", len(got), len(h.segments))
	}
}

func TestATornTailIsCutOffAtAnyByte(t *testing.T) {
	state := openState(t)
	h := OpenHistory(state, silent(t))
	var sizes []int64
	for i := range 4 {
		h.Append(event(i + 1))
		sizes = append(sizes, h.size)
	}
	h.Close()
	path := filepath.Join(state.Path(), historyFolder, segmentName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= len(whole); n++ {
		kept := 0
		for kept < len(sizes) && sizes[kept] <= int64(n) {
			kept++
		}
		for _, tail := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "rubbish"} {
			if err := os.WriteFile(path, append(bytes.Clone(whole[:n]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			said := 0
			h := OpenHistory(state, func(string) { said++ })
			wantRun(t, readFrom(t, h, 0), 1, kept)
			if got := h.Append(event(kept + 1)); got != uint64(kept+1) {
				t.Fatalf("cut to %d bytes: the next event has cursor %d, want %d", n, got, kept+1)
			}
			h.Close()
			wantRun(t, readFrom(t, OpenHistory(state, silent(t)), 0), 1, kept+1)
			if whole := kept > 0 && sizes[kept-1] == int64(n) || n == 0; tail == "" && whole && said != 0 {
				t.Errorf("cut to %d bytes: something was said", n)
			}
		}
	}
}

func TestADamagedSegmentHidesOnlyItsOwnEvents(t *testing.T) {
	state := openState(t)
	h := OpenHistory(state, silent(t))
	for i := range 30 {
		ev := event(i + 1)
		ev.Text = strings.Repeat("x", 100<<10)
		h.Append(ev)
	}
	if len(h.segments) != 3 {
		t.Fatalf("there are %d segments", len(h.segments))
	}
	second := h.segments[1]
	third := h.segments[2]
	h.Close()
	path := filepath.Join(state.Path(), historyFolder, segmentName(second))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[20] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h = OpenHistory(state, silent(t))
	defer h.Close()
	var cursors []uint64
	for _, ev := range readFrom(t, h, 0) {
		cursors = append(cursors, ev.Cursor)
	}
	if len(cursors) != int(second-1)+int(30-third+1) || cursors[second-1] != third {
		t.Errorf("read %v", cursors)
	}
}

// fullDisk is a segment on a disk without room.
type fullDisk struct {
	appender
	room int
}

func (f *fullDisk) Write(data []byte) (int, error) {
	if f.room >= len(data) {
		f.room -= len(data)
		return f.appender.Write(data)
	}
	n, _ := f.appender.Write(data[:f.room])
	f.room = 0
	return n, syscall.ENOSPC
}

func TestEventsOfAFullDiskAreStoredWhenThereIsRoomAgain(t *testing.T) {
	state := openState(t)
	var said []string
	h := OpenHistory(state, func(text string) { said = append(said, text) })
	disk := &fullDisk{appender: h.file, room: 1000}
	h.file = disk
	n := 0
	for range 600 {
		n++
		h.Append(event(n))
	}
	if len(said) != 1 || !strings.Contains(said[0], "memory only") || !strings.Contains(said[0], "no space left") {
		t.Errorf("said %q", said)
	}
	wantRun(t, readFrom(t, h, 0), 1, n)
	disk.room = 1 << 30
	n++
	h.Append(event(n))
	if len(said) != 2 || !strings.Contains(said[1], "again") {
		t.Errorf("said %q", said)
	}
	wantRun(t, readFrom(t, h, 0), 1, n)
	h.Close()
	h = OpenHistory(state, silent(t))
	defer h.Close()
	wantRun(t, readFrom(t, h, 0), 1, n)
}

func TestWithoutAStateDirectoryTheLastEventsAreKeptInMemory(t *testing.T) {
	for name, open := range map[string]func(say func(string)) *History{
		"none": func(say func(string)) *History { say("kept in memory only"); return OpenHistory(nil, say) },
		"unwritable": func(say func(string)) *History {
			state := openState(t)
			if err := os.WriteFile(filepath.Join(state.Path(), historyFolder), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return OpenHistory(state, say)
		},
	} {
		var said []string
		h := open(func(text string) { said = append(said, text) })
		const events = 3 * ringInMemory
		for i := range events {
			h.Append(event(i + 1))
		}
		got := readFrom(t, h, 0)
		if len(got) < ringInMemory || len(got) > 2*ringInMemory {
			t.Errorf("%s: %d events are kept", name, len(got))
		}
		wantRun(t, got, events-len(got)+1, events)
		if len(said) != 1 || !strings.Contains(said[0], "memory only") {
			t.Errorf("%s: said %q", name, said)
		}
	}
}

func TestAnEventThatHasNoFormLeavesARemark(t *testing.T) {
	state := openState(t)
	h := OpenHistory(state, silent(t))
	h.Append(event(1))
	huge := event(2)
	huge.Text = strings.Repeat("x", maxRecordLine)
	h.Append(huge)
	odd := event(3)
	odd.Time = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
	h.Append(odd)
	h.Append(event(4))
	h.Close()
	h = OpenHistory(state, silent(t))
	defer h.Close()
	got := readFrom(t, h, 0)
	if len(got) != 4 || got[3].Text != "event 4" || !strings.Contains(got[1].Text, "cannot encode event 2") || !strings.Contains(got[2].Text, "cannot encode event 3") {
		t.Errorf("read %+v", got)
	}
}

func TestFollowersGetEveryEventOnce(t *testing.T) {
	state := openState(t)
	synctest.Test(t, func(t *testing.T) {
		h := OpenHistory(state, silent(t))
		const events = 5 * ringOnDisk
		for i := range 10 {
			h.Append(event(i + 1))
		}
		ctx, cancel := context.WithCancel(context.Background())
		counts := make([]uint64, 3)
		for f := range counts {
			go func() {
				err := h.Read(ctx, 0, true, func(ev control.Event) error {
					if ev.Cursor != counts[f]+1 {
						return fmt.Errorf("event %d after %d", ev.Cursor, counts[f])
					}
					counts[f] = ev.Cursor
					return nil
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("follower %d: %v", f, err)
				}
			}()
		}
		for i := 10; i < events; i++ {
			h.Append(event(i + 1))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		for f, n := range counts {
			if n != events {
				t.Errorf("follower %d got %d events, want %d", f, n, events)
			}
		}
		if len(h.watchers) != 0 {
			t.Errorf("%d followers are still known", len(h.watchers))
		}
		h.Close()
	})
}

func TestAReaderThatFailsEndsTheRead(t *testing.T) {
	h := OpenHistory(nil, nil)
	h.Append(event(1))
	full := errors.New("client is gone")
	if err := h.Read(context.Background(), 0, true, func(control.Event) error { return full }); !errors.Is(err, full) {
		t.Errorf("the error is %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	state, err := OpenState(filepath.Join(b.TempDir(), "state"))
	if err != nil {
		b.Fatal(err)
	}
	h := OpenHistory(state, nil)
	defer h.Close()
	ev := event(1)
	b.ReportAllocs()
	for b.Loop() {
		h.Append(ev)
	}
}

func FuzzReadSegment(f *testing.F) {
	ev := event(1)
	ev.Cursor = 1
	data, err := appendRecord(nil, &ev)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(append(bytes.Clone(data), data[:len(data)-3]...))
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		read := 0
		whole, err := readSegment(data, func(*control.Event) error { read++; return nil })
		if whole > len(data) || whole == len(data) != (err == nil) {
			t.Errorf("%d of %d bytes are whole: %v", whole, len(data), err)
		}
		if _, n := lastCursor(data); n < whole {
			t.Errorf("%d bytes are whole, then %d", whole, n)
		}
	})
}
