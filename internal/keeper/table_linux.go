//go:build amd64 || arm64

package keeper

import (
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
	"syscall"
)

const (
	hashSize = 2 * maxSlots
	maxHolds = 4 * maxSlots
	none     = 0 // end of a list; slots and holds are linked by index+1
)

// private is what the keeper knows of a slot and forgets when it dies.
type private struct {
	pidfd   int32  // -1: none; valid while a run lives
	report  int32  // -1: none; where abide-exec says why it failed
	state   uint32 // flags below
	next    uint32 // in the queue of unsent exits
	due     int64  // CLOCK_MONOTONIC ns, with stFading or stBlind
	dueNext uint32 // in the list of slots with a deadline
	holds   uint32 // first held descriptor
	nheld   uint32
}

const (
	stQueued  uint32 = 1 << iota // in the queue of unsent exits
	stAdopted                    // not our child
	stFading                     // it has ended, its status may still be learnt
	stBlind                      // its pidfd could not be watched
	stDue                        // in the list of slots with a deadline
	stLeaders                    // a child of the main thread, which sees its end as well
)

type hold struct {
	run  uint64
	tag  uint32
	fd   int32
	next uint32
}

// table finds slots by name and holds what lives beside the records. It is one
// anonymous mapping: pages that no service needs cost nothing, and the garbage
// collector never sees it.
type table struct {
	hash    [hashSize]uint32 // slot+1, linear probing
	private [maxSlots]private
	holds   [maxHolds]hold
	free    [maxSlots]uint32 // slots below fresh that are free again
	nfree   uint32
	fresh   uint32 // slots from here on were never used
	used    uint32
	live    uint32
	nheld   uint32
	hfree   uint32 // list of free holds
	hfresh  uint32

	released [maxReleased]released
	rfree    uint32 // list of free entries of released
	rfresh   uint32
}

func newTable() (*table, syscall.Errno) {
	p, e := raw.MapAnonymous(int(unsafe.Sizeof(table{})))
	if e != 0 {
		return nil, e
	}
	return (*table)(p), 0
}

func hashOf(name []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range name {
		h = (h ^ uint32(c)) * 16777619
	}
	return (h ^ h>>15) % hashSize
}

// find returns the slot of a name.
func (k *keeper) find(name []byte) (uint32, bool) {
	t := k.table
	for i := hashOf(name); t.hash[i] != none; i = (i + 1) % hashSize {
		s := t.hash[i] - 1
		if string(k.records.slots[s].name()) == string(name) {
			return s, true
		}
	}
	return 0, false
}

func (k *keeper) index(s uint32) {
	t := k.table
	i := hashOf(k.records.slots[s].name())
	for t.hash[i] != none {
		i = (i + 1) % hashSize
	}
	t.hash[i] = s + 1
	t.used++
	p := &t.private[s]
	p.pidfd, p.report = -1, -1
}

// unindex takes a slot out and moves up what its place had pushed on.
func (k *keeper) unindex(s uint32) {
	t := k.table
	i := hashOf(k.records.slots[s].name())
	for t.hash[i] != s+1 {
		i = (i + 1) % hashSize
	}
	for j := (i + 1) % hashSize; t.hash[j] != none; j = (j + 1) % hashSize {
		home := hashOf(k.records.slots[t.hash[j]-1].name())
		if (j-home)%hashSize >= (j-i)%hashSize {
			t.hash[i] = t.hash[j]
			i = j
		}
	}
	t.hash[i] = none
	t.used--
}

// obtain returns the slot of a name, a new one if need be.
func (k *keeper) obtain(name []byte) (uint32, wire.Code, syscall.Errno) {
	if s, ok := k.find(name); ok {
		return s, wire.CodeNone, 0
	}
	t := k.table
	var s uint32
	if t.nfree > 0 {
		s = t.free[t.nfree-1]
	} else {
		s = t.fresh
	}
	if s >= maxSlots {
		return 0, wire.CodeFull, 0
	}
	if e := k.records.prepare(s); e != 0 {
		return 0, wire.CodeSystem, e
	}
	if t.nfree > 0 {
		t.nfree--
	} else {
		t.fresh++
	}
	r := &k.records.slots[s]
	r.nameLen = uint32(copy(r.nameBuf[:], name))
	r.run.Store(0)
	r.pid.Store(0)
	r.once = [2]uint64{}
	r.next.run.Store(0)
	r.setPhase(wire.Idle)
	k.index(s)
	return s, wire.CodeNone, 0
}

// release frees a slot in which nothing runs and closes what is held for it.
func (k *keeper) release(s uint32) {
	k.dropHolds(s, func(*hold) bool { return true })
	k.unindex(s)
	k.records.slots[s].setPhase(wire.Free)
	k.table.free[k.table.nfree] = s
	k.table.nfree++
}

// keep holds a descriptor for a run; it is closed when there is no room.
func (k *keeper) keep(s uint32, run uint64, tag uint32, fd int) bool {
	t, p := k.table, &k.table.private[s]
	var i uint32
	switch {
	case tag == wire.AllTags || p.nheld >= wire.MaxHeld || k.held(s, run, tag) != nil:
	case t.hfree != none:
		i = t.hfree
		t.hfree = t.holds[i-1].next
	case t.hfresh < maxHolds:
		t.hfresh++
		i = t.hfresh
	}
	if i == none {
		raw.Close(fd)
		return false
	}
	t.holds[i-1] = hold{run: run, tag: tag, fd: int32(fd), next: p.holds}
	p.holds = i
	p.nheld++
	t.nheld++
	return true
}

func (k *keeper) held(s uint32, run uint64, tag uint32) *hold {
	for i := k.table.private[s].holds; i != none; i = k.table.holds[i-1].next {
		if h := &k.table.holds[i-1]; h.run == run && h.tag == tag {
			return h
		}
	}
	return nil
}

// dropHolds closes the held descriptors that match and returns how many.
func (k *keeper) dropHolds(s uint32, match func(*hold) bool) int {
	t, p := k.table, &k.table.private[s]
	n := 0
	for link := &p.holds; *link != none; {
		i := *link
		h := &t.holds[i-1]
		if !match(h) {
			link = &h.next
			continue
		}
		raw.Close(int(h.fd))
		*link = h.next
		h.next = t.hfree
		t.hfree = i
		p.nheld--
		t.nheld--
		n++
	}
	return n
}
