package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/control"
)

// Limits of the history.
const (
	segmentBytes  = 1 << 20 // a segment this large is closed
	keptSegments  = 16      // older ones are removed
	ringOnDisk    = 256     // events kept in memory while the disk takes them
	ringInMemory  = 4096    // while it does not
	historyFolder = "history"
	readBatch     = 256 // events handed to a reader between two looks at the lock
)

// History is the list of events of one state directory, numbered from 1 without
// gaps over all engines that wrote to it. It keeps the last 16 segments of 1 MiB.
//
// An event is in the kernel's hands when Append returns: it outlives the engine,
// and a power cut costs the last seconds at most. While the disk refuses events
// they are kept in memory, the last 4096 of them, and are written as soon as it
// takes them again. Methods may be called from any goroutine; none waits for a
// reader.
type History struct {
	mu       sync.Mutex
	dir      *Dir // nil: memory only
	say      func(text string)
	file     appender
	size     int64  // whole records in file
	last     uint64 // cursor of the last event
	saved    uint64 // cursor of the last event on disk
	ring     []control.Event
	first    uint64 // cursor of ring[0]
	failing  bool
	segments []uint64 // first cursors, ascending
	watchers map[chan struct{}]struct{}
	buffer   []byte
	lost     uint64 // events that left the ring before the disk took them
}

// appender is the open segment; tests put a full disk behind it.
type appender interface {
	Write([]byte) (int, error)
	Truncate(int64) error
	Close() error
}

// OpenHistory opens the history below the state directory, or one in memory when
// state is nil or cannot be written to. say, which may be nil, is told once of
// every change between disk and memory, and of what a crash tore off. It is called
// with the history locked and must not call back.
func OpenHistory(state *Dir, say func(text string)) *History {
	if say == nil {
		say = func(string) {}
	}
	h := &History{say: say, first: 1, watchers: make(map[chan struct{}]struct{})}
	if state == nil {
		return h
	}
	if err := h.open(state); err != nil {
		h.failing = true
		say(fmt.Sprintf("events are kept in memory only: %v", err))
	}
	return h
}

func (h *History) open(state *Dir) error {
	dir, err := state.Sub(historyFolder, 0o700)
	if err != nil {
		return err
	}
	firsts, err := segments(dir)
	if err != nil {
		return errors.Join(dir.failed("list", ".", err), dir.Close())
	}
	h.dir, h.segments = dir, firsts
	if len(firsts) == 0 {
		return h.newSegment(1)
	}
	if err := h.resume(firsts[len(firsts)-1]); err != nil {
		// Without the last cursor nothing may be added to these segments.
		h.dir, h.segments = nil, nil
		return errors.Join(err, dir.Close())
	}
	return nil
}

// resume opens the last segment and cuts off what a crash left unfinished.
func (h *History) resume(first uint64) error {
	name := segmentName(first)
	data, err := h.dir.ReadFile(name, segmentBytes)
	if err != nil {
		return err
	}
	cursor, whole := lastCursor(data)
	f, err := h.dir.root.OpenFile(name, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return h.dir.failed("open", name, err)
	}
	if whole < len(data) {
		if err := f.Truncate(int64(whole)); err != nil {
			f.Close()
			return h.dir.failed("truncate", name, err)
		}
		if !isBlank(data[whole:]) {
			h.say(fmt.Sprintf("%s/%s: %d bytes of an unfinished event are cut off", h.dir.path, name, len(data)-whole))
		}
	}
	if cursor == 0 {
		// Nothing whole is in it; its name says which cursor comes next.
		cursor = first - 1
	}
	h.file, h.size = f, int64(whole)
	h.last, h.saved, h.first = cursor, cursor, cursor+1
	return nil
}

// newSegment closes the open segment and begins another.
func (h *History) newSegment(first uint64) error {
	name := segmentName(first)
	f, err := h.dir.root.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return h.dir.failed("make", name, err)
	}
	if h.file != nil {
		h.file.Close()
	}
	h.file, h.size = f, 0
	h.segments = append(h.segments, first)
	for len(h.segments) > keptSegments {
		old := h.segments[0]
		h.segments = h.segments[1:]
		// Freeing the blocks of a large file may take a while; nobody waits for it.
		go h.dir.root.Remove(segmentName(old))
	}
	return nil
}

// Append numbers events, keeps them and returns the last one's cursor. It makes
// one write.
func (h *History) Append(events ...control.Event) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range events {
		h.last++
		ev.Cursor = h.last
		h.ring = append(h.ring, ev)
	}
	if h.dir != nil {
		h.save()
	}
	h.trim()
	for c := range h.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return h.last
}

// save writes every event of the ring that is not on disk.
func (h *History) save() {
	err := h.write()
	switch {
	case err != nil && !h.failing:
		h.failing = true
		h.say(fmt.Sprintf("events are kept in memory only: %v", err))
	case err == nil && h.failing:
		h.failing = false
		h.say("events are written to disk again")
	}
}

// write works in pieces, so that no segment grows beyond its size.
func (h *History) write() error {
	out := h.buffer[:0]
	for cursor := max(h.saved+1, h.first); cursor <= h.last; cursor++ {
		var err error
		if out, err = appendEvent(out, &h.ring[cursor-h.first]); err != nil {
			return err
		}
		if len(out) >= maxRecordLine || cursor == h.last {
			if err := h.writeRecords(out, cursor); err != nil {
				return err
			}
			out = out[:0]
		}
	}
	if cap(out) <= maxRecordLine {
		h.buffer = out
	}
	if h.lost > 0 {
		h.say(fmt.Sprintf("%d events were lost while the disk refused them", h.lost))
		h.lost = 0
	}
	return nil
}

// appendEvent is appendRecord, but an event that has no record leaves a remark in
// its place: its cursor is taken.
func appendEvent(out []byte, ev *control.Event) ([]byte, error) {
	longer, err := appendRecord(out, ev)
	if err == nil {
		return longer, nil
	}
	return appendRecord(out, &control.Event{
		Cursor: ev.Cursor,
		Time:   time.Unix(0, 0).UTC(),
		Kind:   "abide",
		Text:   err.Error(),
	})
}

// writeRecords appends records whose last has the given cursor.
func (h *History) writeRecords(out []byte, cursor uint64) error {
	if h.file == nil || h.size > 0 && h.size+int64(len(out)) > segmentBytes {
		if err := h.newSegment(h.saved + 1); err != nil {
			return err
		}
	}
	n, err := h.file.Write(out)
	if err == nil && n == len(out) {
		h.size += int64(n)
		h.saved = cursor
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	if n > 0 {
		// Half a record must not stand in front of the next one.
		err = errors.Join(err, h.file.Truncate(h.size))
	}
	return h.dir.failed("write", segmentName(h.segments[len(h.segments)-1]), err)
}

// trim lets go of the oldest events in memory. The ring is cut in larger pieces,
// so that most calls move nothing.
func (h *History) trim() {
	limit := ringInMemory
	if h.saved == h.last {
		limit = ringOnDisk
	}
	if len(h.ring) <= limit+limit/4 {
		return
	}
	drop := len(h.ring) - limit
	if newFirst := h.first + uint64(drop); h.dir != nil && newFirst > h.saved+1 {
		h.lost += newFirst - max(h.first, h.saved+1)
	}
	kept := copy(h.ring, h.ring[drop:])
	clear(h.ring[kept:])
	h.ring = h.ring[:kept]
	h.first += uint64(drop)
}

// Last returns the cursor of the last event, 0 when there is none.
func (h *History) Last() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// Read calls fn with every event after cursor that is kept, in order, until fn
// fails. With follow it goes on with events as they come, until ctx ends; a slow
// reader falls back to the disk and delays nobody. A cursor that no event has had
// yet is an error.
func (h *History) Read(ctx context.Context, cursor uint64, follow bool, fn func(control.Event) error) error {
	if last := h.Last(); cursor > last {
		return fmt.Errorf("cannot read events after %d: the last one is %d", cursor, last)
	}
	changed, stop := h.Watch()
	defer stop()
	for {
		var err error
		if cursor, err = h.readAll(ctx, cursor, fn); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// readAll calls fn with what there is now and returns the cursor of the last event.
func (h *History) readAll(ctx context.Context, cursor uint64, fn func(control.Event) error) (uint64, error) {
	for ctx.Err() == nil {
		batch, disk := h.batch(cursor)
		if disk {
			before := cursor
			var err error
			if cursor, err = h.readDisk(cursor, fn); err != nil {
				return cursor, err
			}
			if cursor == before {
				// What the disk should hold is damaged or was removed meanwhile: go on
				// with what memory has.
				h.mu.Lock()
				cursor = max(cursor, h.first-1)
				h.mu.Unlock()
				if cursor == before {
					return cursor, nil
				}
			}
			continue
		}
		if len(batch) == 0 {
			return cursor, nil
		}
		for _, ev := range batch {
			if err := fn(ev); err != nil {
				return cursor, err
			}
			cursor = ev.Cursor
		}
	}
	return cursor, ctx.Err()
}

// batch returns the next events after cursor from memory, or says that they are
// on disk.
func (h *History) batch(cursor uint64) (events []control.Event, disk bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if cursor+1 < h.first {
		if h.dir != nil && len(h.segments) > 0 && cursor < h.saved {
			return nil, true
		}
		cursor = h.first - 1
	}
	from := h.ring[cursor+1-h.first:]
	return append(events, from[:min(len(from), readBatch)]...), false
}

// readDisk hands out the events after cursor of the segment that holds the next
// one, up to where memory takes over.
func (h *History) readDisk(cursor uint64, fn func(control.Event) error) (uint64, error) {
	h.mu.Lock()
	firsts := append([]uint64(nil), h.segments...)
	h.mu.Unlock()
	for i, first := range firsts {
		if i+1 < len(firsts) && firsts[i+1] <= cursor+1 {
			continue
		}
		data, err := h.dir.ReadFile(segmentName(first), segmentBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was the oldest, and others came meanwhile
		}
		if err != nil {
			return cursor, err
		}
		before := cursor
		var failed error
		_, err = readSegment(data, func(ev *control.Event) error {
			if ev.Cursor <= cursor {
				return nil
			}
			if failed = fn(*ev); failed != nil {
				return failed
			}
			cursor = ev.Cursor
			return nil
		})
		if failed != nil {
			return cursor, failed
		}
		if cursor > before {
			return cursor, nil
		}
		if err != nil && i+1 < len(firsts) {
			// The rest of a damaged segment is skipped, not the segments after it.
			cursor = max(cursor, firsts[i+1]-1)
			return cursor, nil
		}
	}
	return cursor, nil
}

// Watch returns a channel that receives after events were appended; several may be
// announced by one value. stop ends it.
func (h *History) Watch() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	h.watchers[c] = struct{}{}
	h.mu.Unlock()
	return c, func() {
		h.mu.Lock()
		delete(h.watchers, c)
		h.mu.Unlock()
	}
}

// Close gives the open segment back. Events appended later are kept in memory.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dir == nil {
		return nil
	}
	var err error
	if h.file != nil {
		err = h.file.Close()
	}
	err = errors.Join(err, h.dir.Close())
	h.dir, h.file = nil, nil
	return err
}
