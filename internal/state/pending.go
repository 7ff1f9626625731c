package state

import (
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/abide-project/abide/internal/control"
)

// The file: magic, version u32, 0 u32, cursor u64 of the last event in the history
// when the buffer was emptied, used bytes u32, 0 u32, boot 64 bytes; entries from
// byte 128 on, each
//
//	length u32 | CRC32C u32 | time ns i64 | run u64 | length of service u16,
//	kind u16, text u32, fields u16 | service | kind | text | each field: length of
//	name u16, of value u32, name, value
const (
	pendingMagic   = "abide\x00ev"
	pendingVersion = 1
	pendingBytes   = 256 << 10
	pendingHead    = 128
	pendingEntry   = 8 + 8 + 8 + 2 + 2 + 4 + 2

	offPendingCursor = 16
	offPendingUsed   = 24
	offPendingBoot   = 32
)

// pendingStore is the part of a Pending that knows bytes and no files.
type pendingStore struct{ data []byte }

func (p *pendingStore) used() *uint32 {
	return (*uint32)(unsafe.Pointer(&p.data[offPendingUsed]))
}

// begin makes an empty buffer.
func (p *pendingStore) begin(boot string) {
	clear(p.data[:pendingHead])
	copy(p.data[offPendingBoot:pendingHead], boot)
	binary.LittleEndian.PutUint32(p.data[8:], pendingVersion)
	copy(p.data, pendingMagic)
}

// usable tells whether this version wrote the buffer in this boot.
func (p *pendingStore) usable(boot string) bool {
	want := pendingStore{make([]byte, pendingHead)}
	want.begin(boot)
	return string(p.data[:offPendingCursor]) == string(want.data[:offPendingCursor]) &&
		string(p.data[offPendingBoot:pendingHead]) == string(want.data[offPendingBoot:])
}

// Note adds an event. It takes a fraction of a microsecond, allocates nothing, and
// the event is safe from the death of this process when Note returns. It reports
// false when there is no room: the buffer must be emptied first.
func (p *pendingStore) Note(ev *control.Event) bool {
	size := pendingEntry + len(ev.Service) + len(ev.Kind) + len(ev.Text)
	for name, value := range ev.Fields {
		size += 2 + 4 + len(name) + len(value)
	}
	used := int(*p.used())
	if size > len(p.data)-pendingHead-used {
		return false
	}
	le := binary.LittleEndian
	b := p.data[pendingHead+used:][:0]
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(ev.Time.UnixNano()))
	b = le.AppendUint64(b, ev.Run)
	b = le.AppendUint16(b, uint16(len(ev.Service)))
	b = le.AppendUint16(b, uint16(len(ev.Kind)))
	b = le.AppendUint32(b, uint32(len(ev.Text)))
	b = le.AppendUint16(b, uint16(len(ev.Fields)))
	b = append(b, ev.Service...)
	b = append(b, ev.Kind...)
	b = append(b, ev.Text...)
	for name, value := range ev.Fields {
		b = le.AppendUint16(b, uint16(len(name)))
		b = le.AppendUint32(b, uint32(len(value)))
		b = append(b, name...)
		b = append(b, value...)
	}
	le.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	atomic.StoreUint32(p.used(), uint32(used+size))
	return true
}

// Clear empties the buffer: the history has everything up to cursor.
func (p *pendingStore) Clear(cursor uint64) {
	if *p.used() != 0 {
		atomic.StoreUint32(p.used(), 0)
	}
	binary.LittleEndian.PutUint64(p.data[offPendingCursor:], cursor)
}

// Left returns the events of the buffer with the cursors that they have in the
// history, if they came to be in it.
func (p *pendingStore) Left() []control.Event {
	cursor := binary.LittleEndian.Uint64(p.data[offPendingCursor:])
	rest := p.data[pendingHead:]
	rest = rest[:min(int(*p.used()), len(rest))]
	var events []control.Event
	for {
		ev, after, ok := nextPending(rest)
		if !ok {
			return events
		}
		cursor++
		ev.Cursor = cursor
		events = append(events, ev)
		rest = after
	}
}

// nextPending splits the first entry off. What is malformed ends the list.
func nextPending(b []byte) (ev control.Event, rest []byte, ok bool) {
	le := binary.LittleEndian
	if len(b) < pendingEntry {
		return ev, nil, false
	}
	size := int(le.Uint32(b))
	if size < pendingEntry || size > len(b) || crc32.Checksum(b[8:size], castagnoli) != le.Uint32(b[4:]) {
		return ev, nil, false
	}
	body := b[pendingEntry:size]
	text := func(n int) (s string, ok bool) {
		if n > len(body) {
			return "", false
		}
		s, body = string(body[:n]), body[n:]
		return s, true
	}
	ev.Time, ev.Run = time.Unix(0, int64(le.Uint64(b[8:]))), le.Uint64(b[16:])
	var fine [3]bool
	ev.Service, fine[0] = text(int(le.Uint16(b[24:])))
	ev.Kind, fine[1] = text(int(le.Uint16(b[26:])))
	ev.Text, fine[2] = text(int(le.Uint32(b[28:])))
	if fine != [3]bool{true, true, true} {
		return ev, nil, false
	}
	for range le.Uint16(b[32:]) {
		if len(body) < 6 {
			return ev, nil, false
		}
		nameLen, valueLen := int(le.Uint16(body)), int(le.Uint32(body[2:]))
		body = body[6:]
		name, named := text(nameLen)
		value, valued := text(valueLen)
		if !named || !valued {
			return ev, nil, false
		}
		if ev.Fields == nil {
			ev.Fields = map[string]string{}
		}
		ev.Fields[name] = value
	}
	return ev, b[size:], true
}
