package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/abide-project/abide/internal/core"
)

// A page is what RUN/engine.state holds of one service, little endian:
//
//	0    version u16, length u16 of all that follows the two
//	4    core.State, encoded, see core.EncodedSize
//	228  when the state was entered, when the run began: CLOCK_REALTIME, ns
//	244  pid u32, stop step whose signal was sent plus one u32
//	252  start time of the process u64, uid u32, gid u32
//	268  last exit: run u64, CLOCK_REALTIME ns u64, wait status u32
//	288  flags u32
//	292  number of the last request that was carried out u64
//	300  cursor of the last event of the history about it u64
//	308  CLOCK_BOOTTIME, ns, since when it is up if a roll brought the run about u64
//
// It only grows at its end: an older abide passes over what it does not know, and
// what a shorter page lacks is zero. A name that begins with a slash is no
// service's, nor is one that begins with a plus, see pastPage. No page is longer
// than state.MaxSnapshotBlob was in abide 0.1.
const (
	pageVersion = 2
	pageHeader  = 4
	pageInfo    = pageHeader + core.EncodedSize
	pageSize    = pageInfo + 88

	// The shortest page of this version that was ever written.
	pageLeast = pageInfo + 72
)

// The flags of a page.
const (
	pageExitKnown = 1 << iota
	pageExitOOM
	pageGone
	pageComing  // hidden half of a roll: the next run
	pageLeaving // hidden half of a roll: the run before
	pageStops   // it is to be stopped when its turn comes
	pageAgain   // it is to be stopped then, and started again
	pageNamed   // it is wanted because an operator named it
	pageErred   // its last run, or start, ended in a fault
	pageStopped // by an operator
)

// persist writes the service's page. It costs a copy of a few hundred bytes.
func (e *Engine) persist(s *service) {
	e.persistPast(s) // first: from a state that says less an engine finds the rest out again
	putPage(&e.page, &s.st, &s.info)
	if err := e.ports.Snapshot.Put(s.slot, e.page[:]); err != nil {
		e.complainOnce("snapshot", fmt.Sprintf("Cannot keep the state of %s: %v", s.name, err))
	}
}

func putPage(p *[pageSize]byte, st *core.State, i *info) {
	le := binary.LittleEndian
	le.PutUint16(p[0:], pageVersion)
	le.PutUint16(p[2:], pageSize-pageHeader)
	st.Encode((*[core.EncodedSize]byte)(p[pageHeader:]))
	b := p[pageInfo:]
	le.PutUint64(b[0:], uint64(i.Since))
	le.PutUint64(b[8:], uint64(i.Began))
	le.PutUint32(b[16:], uint32(i.Pid))
	le.PutUint32(b[20:], uint32(i.SentStep))
	le.PutUint64(b[24:], i.StartTime)
	le.PutUint32(b[32:], uint32(i.UID))
	le.PutUint32(b[36:], uint32(i.GID))
	le.PutUint64(b[40:], i.Last.Run)
	le.PutUint64(b[48:], uint64(i.Last.At))
	le.PutUint32(b[56:], i.Last.Status)
	flags := uint32(0)
	if i.Last.Known {
		flags |= pageExitKnown
	}
	if i.Last.OOM {
		flags |= pageExitOOM
	}
	if i.Gone {
		flags |= pageGone
	}
	switch i.Roll {
	case rollComing:
		flags |= pageComing
	case rollLeaving:
		flags |= pageLeaving
	}
	switch i.Ending {
	case endStop:
		flags |= pageStops
	case endRestart:
		flags |= pageAgain
	case endRedefine:
		flags |= pageStops | pageAgain
	}
	if i.Named {
		flags |= pageNamed
	}
	if i.Erred {
		flags |= pageErred
	}
	if i.Stopped {
		flags |= pageStopped
	}
	le.PutUint32(b[60:], flags)
	le.PutUint64(b[64:], i.Request)
	le.PutUint64(b[72:], i.Chain)
	le.PutUint64(b[80:], uint64(i.Upheld))
}

// readPage reads a page of this version, of a later one that has only grown, or
// of abide 0.1.
func readPage(blob []byte) (core.State, info, error) {
	le := binary.LittleEndian
	if len(blob) == firstPageSize && le.Uint32(blob) == firstPageVersion {
		return readFirstPage((*[firstPageSize]byte)(blob))
	}
	if len(blob) < pageLeast {
		return core.State{}, info{}, fmt.Errorf("cannot read the kept state: it has %d bytes, not %d", len(blob), pageLeast)
	}
	if version := le.Uint16(blob); version != pageVersion {
		return core.State{}, info{}, fmt.Errorf("cannot read the kept state: version %d, not %d", version, pageVersion)
	}
	if n := int(le.Uint16(blob[2:])); n != len(blob)-pageHeader {
		return core.State{}, info{}, fmt.Errorf("cannot read the kept state: %d bytes are announced, %d are there", n, len(blob)-pageHeader)
	}
	st, err := core.Decode((*[core.EncodedSize]byte)(blob[pageHeader:]))
	if err != nil {
		return core.State{}, info{}, err
	}
	var whole [pageSize - pageInfo]byte // zero where the page is shorter
	copy(whole[:], blob[pageInfo:])
	b := whole[:]
	flags := le.Uint32(b[60:])
	return st, info{
		Since: int64(le.Uint64(b[0:])), Began: int64(le.Uint64(b[8:])),
		Pid: int32(le.Uint32(b[16:])), SentStep: int32(le.Uint32(b[20:])),
		StartTime: le.Uint64(b[24:]), UID: int32(le.Uint32(b[32:])), GID: int32(le.Uint32(b[36:])),
		Last: lastExit{
			Run: le.Uint64(b[40:]), At: int64(le.Uint64(b[48:])), Status: le.Uint32(b[56:]),
			Known: flags&pageExitKnown != 0, OOM: flags&pageExitOOM != 0,
		},
		Request: le.Uint64(b[64:]), Gone: flags&pageGone != 0, Chain: le.Uint64(b[72:]),
		Upheld: int64(le.Uint64(b[80:])), Roll: rollOf(flags),
		Ending: endingOf(flags), Named: flags&pageNamed != 0, Erred: flags&pageErred != 0, Stopped: flags&pageStopped != 0,
	}, nil
}

func endingOf(flags uint32) ending {
	switch {
	case flags&pageStops != 0 && flags&pageAgain != 0:
		return endRedefine
	case flags&pageStops != 0:
		return endStop
	case flags&pageAgain != 0:
		return endRestart
	}
	return endNone
}

// A page of abide 0.1 was a struct in memory: version u32 and size u32, the
// State, then the rest at the places that 64-bit processors give it.
const (
	firstPageVersion = 1
	firstPageSize    = 8 + core.FirstSize + 64
)

func readFirstPage(blob *[firstPageSize]byte) (core.State, info, error) {
	le := binary.LittleEndian
	if n := le.Uint32(blob[4:]); n != firstPageSize {
		return core.State{}, info{}, fmt.Errorf("cannot read the kept state: %d bytes are announced, %d are there", n, firstPageSize)
	}
	st, err := core.DecodeFirst((*[core.FirstSize]byte)(blob[8:]))
	if err != nil {
		return core.State{}, info{}, err
	}
	b := blob[8+core.FirstSize:]
	return st, info{
		Since: int64(le.Uint64(b[0:])), Began: int64(le.Uint64(b[8:])),
		Pid: int32(le.Uint32(b[16:])), SentStep: int32(le.Uint32(b[20:])),
		StartTime: le.Uint64(b[24:]), UID: int32(le.Uint32(b[32:])), GID: int32(le.Uint32(b[36:])),
		Last: lastExit{
			Run: le.Uint64(b[40:]), At: int64(le.Uint64(b[48:])), Status: le.Uint32(b[56:]),
			Known: b[60] != 0, OOM: b[61] != 0,
		},
	}, nil
}

func rollOf(flags uint32) rollPart {
	switch {
	case flags&pageComing != 0:
		return rollComing
	case flags&pageLeaving != 0:
		return rollLeaving
	}
	return rollNone
}
