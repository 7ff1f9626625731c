package engine

import (
	"encoding/binary"
	"fmt"
)

// past is what the graph must know of a service's past. Times are on CLOCK_BOOTTIME
// in nanoseconds, 0: never.
type past struct {
	WantedSince int64
	BeganAt     int64 // of the present or last run
	ReadyAt     int64 // when it was ready last
	Ended       int64 // of the last run
	Reloaded    int64 // when it was told to read its configuration last
}

// A service that is part of the graph has a second page under its name behind a
// plus: version u16, length u16 of what follows, then past, u64 each. It only grows
// at its end. An abide that does not know it says that it cannot read it, and goes
// on.
const (
	pastMark = '+'
	pastSize = 4 + 5*8
)

func pastName(service string) string { return string(pastMark) + service }

func (p *past) encode() []byte {
	b := make([]byte, 0, pastSize)
	for _, at := range []int64{p.WantedSince, p.BeganAt, p.ReadyAt, p.Ended, p.Reloaded} {
		b = binary.LittleEndian.AppendUint64(b, uint64(at))
	}
	return ownPage(b)
}

// persistPast writes the second page of a service, if it says something new.
func (e *Engine) persistPast(s *service) {
	if s.node == nil || s.info.past == s.keptPast {
		return
	}
	s.keptPast = s.info.past
	if err := e.ports.Snapshot.Put(pastName(s.name), s.keptPast.encode()); err != nil {
		e.complainOnce("snapshot", fmt.Sprintf("Cannot keep the past of %s: %v", s.name, err))
	}
}

// recall takes up a second page.
func (s *service) recall(blob []byte) {
	b := ownBody(blob, pastSize-4)
	if b == nil {
		return
	}
	for i, at := range []*int64{&s.info.WantedSince, &s.info.BeganAt, &s.info.ReadyAt, &s.info.Ended, &s.info.Reloaded} {
		*at = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	s.keptPast = s.info.past
}
