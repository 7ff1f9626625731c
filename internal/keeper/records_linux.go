//go:build amd64 || arm64

package keeper

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// The file is a header page and MaxSlots slots, sparse; slots get disk space in
// chunks before they are used, because a store into a hole of a full file system
// is SIGBUS.
const (
	maxSlots      = 32768
	slotSize      = 512
	headerSize    = 4096
	recordsSize   = headerSize + maxSlots*slotSize
	chunkSlots    = 64
	recordsMagic  = 0x5453504b45444941 // "AIDEKPST"
	recordVersion = 1
)

// recordsHeader is the first page. Magic is stored last.
type recordsHeader struct {
	magic    atomic.Uint64
	version  uint32
	slotSize uint32
	slots    uint32
	prepared atomic.Uint32 // slots that have space
	keeper   atomic.Uint32 // pid of the keeper that writes
	_        uint32
	pidns    uint64 // inode of the pid namespace, 0 without /proc
	boot     [36]byte
}

// slot is one service. phase is stored last, with the meaning of wire.Phase: what
// the other fields hold is valid for the phase that is read, at any instruction at
// which we may be killed. pid is stored by the child itself.
type slot struct {
	phase   atomic.Uint32
	pid     atomic.Uint32
	run     atomic.Uint64
	start   uint64 // clock ticks since boot, 0: not known
	pidfd   uint64 // inode of the pidfd where that names the process, 0: not known
	began   uint64 // CLOCK_BOOTTIME ns just before the clone
	flags   uint32 // of wire.Exited
	status  uint32
	user    uint64
	system  uint64
	maxRSS  uint64
	boot    uint64
	real    uint64
	op      uint32
	errno   uint32
	nameLen uint32
	_       uint32
	nameBuf [wire.MaxName]byte
	once    [2]uint64 // name the last signals that are sent once, see signalOnce
	next    successor
	_       [slotSize - 152 - wire.MaxName]byte
}

// successor is the process that is becoming the main process of run, 0: none is.
// run is stored last, and 0 again when the slot has it all.
type successor struct {
	run   atomic.Uint64
	start uint64
	pidfd uint64
	pid   uint32
	_     uint32
}

// Both must hold, or the file's layout is not what docs/keeper.md says.
var (
	_ [slotSize - unsafe.Sizeof(slot{})]byte
	_ [unsafe.Sizeof(slot{}) - slotSize]byte
)

func (s *slot) name() []byte { return s.nameBuf[:s.nameLen] }

func (s *slot) at() wire.Phase { return wire.Phase(s.phase.Load()) }

func (s *slot) setPhase(p wire.Phase) { s.phase.Store(uint32(p)) }

// sound says whether what another keeper left in the slot can be used.
func (s *slot) sound() bool {
	return s.at() <= wire.Ended && s.nameLen <= wire.MaxName && wire.GoodName(s.nameBuf[:s.nameLen]) &&
		(s.run.Load() != 0 || s.at() == wire.Idle)
}

type records struct {
	head  *recordsHeader
	slots *[maxSlots]slot
	fd    int // -1: not on a file
}

// identity is what records of an earlier keeper are compared with.
type identity struct {
	boot  [36]byte
	pidns uint64
}

// fate says what became of an existing file.
type fate int

const (
	recordsNew fate = iota
	recordsKept
	recordsSetAside
	recordsNone // none possible: they live in memory only
)

// openRecords opens keeper.state in the run directory, or begins it. A file that
// is not ours, of another boot or another pid namespace is renamed to
// keeper.state.bad.
//
// The file stays locked as long as this process lives, or a child of it that has
// not become its program yet: a keeper killed inside a clone leaves a child that
// is about to store its pid, and the lock of the run directory does not tell,
// because the engine has that as well.
func openRecords(dir int, id identity) (*records, fate, syscall.Errno) {
	what := recordsNew
	fd, err := syscall.Openat(dir, "keeper.state", syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, 0, err.(syscall.Errno)
	}
	if e := lockFile(fd, lockTime); e != 0 {
		raw.Close(fd)
		return nil, 0, e
	}
	if !usable(fd, id) {
		if blank(fd) {
			_ = syscall.Ftruncate(fd, 0)
		} else {
			what = recordsSetAside
			raw.Close(fd)
			if e := rename(dir, "keeper.state", "keeper.state.bad"); e != 0 {
				return nil, 0, e
			}
			fd, err = syscall.Openat(dir, "keeper.state", syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
			if err != nil {
				return nil, 0, err.(syscall.Errno)
			}
			if e := lockFile(fd, lockTime); e != 0 {
				raw.Close(fd)
				return nil, 0, e
			}
		}
	} else {
		what = recordsKept
	}
	high, e := raw.DupAbove(fd, ownDescriptors)
	raw.Close(fd)
	if e != 0 {
		return nil, 0, e
	}
	r := &records{fd: high}
	if what != recordsKept {
		if err := syscall.Ftruncate(high, recordsSize); err != nil {
			return nil, 0, err.(syscall.Errno)
		}
		if e := reserve(high, 0, headerSize+chunkSlots*slotSize); e != 0 {
			return nil, 0, e
		}
	}
	p, e := raw.MapShared(high, recordsSize)
	if e != 0 {
		return nil, 0, e
	}
	r.place(p)
	if what != recordsKept {
		r.begin(id)
	}
	r.head.keeper.Store(uint32(raw.Pid()))
	return r, what, 0
}

// memoryRecords are for a run directory that cannot be written.
func memoryRecords(id identity) (*records, syscall.Errno) {
	// A memory file can be handed to a keeper after us.
	fd, e := memoryFile(nil)
	if e != 0 {
		return nil, e
	}
	if err := syscall.Ftruncate(fd, recordsSize); err != nil {
		return nil, errnoOf(err)
	}
	p, e := raw.MapShared(fd, recordsSize)
	if e != 0 {
		return nil, e
	}
	r := &records{fd: fd}
	r.place(p)
	r.begin(id)
	return r, 0
}

func (r *records) place(p unsafe.Pointer) {
	r.head = (*recordsHeader)(p)
	r.slots = (*[maxSlots]slot)(unsafe.Add(p, headerSize))
}

func (r *records) begin(id identity) {
	h := r.head
	h.version, h.slotSize, h.slots = recordVersion, slotSize, maxSlots
	h.boot, h.pidns = id.boot, id.pidns
	h.prepared.Store(chunkSlots)
	h.magic.Store(recordsMagic)
}

// usable reads the header by pread: a truncated file must not be mapped.
func usable(fd int, id identity) bool {
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Size != recordsSize {
		return false
	}
	var h recordsHeader
	b := (*[unsafe.Sizeof(recordsHeader{})]byte)(unsafe.Pointer(&h))[:]
	if n, e := raw.Pread(fd, b, 0); e != 0 || n != len(b) {
		return false
	}
	return h.magic.Load() == recordsMagic && h.version == recordVersion && h.slotSize == slotSize &&
		h.slots == maxSlots && h.prepared.Load() <= maxSlots && h.boot == id.boot && h.pidns == id.pidns
}

// blank says that a file holds nothing: it is new, or its keeper was killed
// before the header was complete, and so before anything ran.
func blank(fd int) bool {
	var magic [8]byte
	n, e := raw.Pread(fd, magic[:], 0)
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return false
	}
	return e == 0 && (n == 0 || (st.Size == recordsSize && magic == [8]byte{}))
}

// prepare makes sure that slot i has space.
func (r *records) prepare(i uint32) syscall.Errno {
	have := r.head.prepared.Load()
	if i < have {
		return 0
	}
	to := (i/chunkSlots + 1) * chunkSlots
	if r.fd >= 0 {
		if e := reserve(r.fd, headerSize+int64(have)*slotSize, int64(to-have)*slotSize); e != 0 {
			return e
		}
	}
	r.head.prepared.Store(to)
	return 0
}

// reserve gives a range of the file its space, by zeros where the file system
// knows no other way; the range holds nothing yet.
func reserve(fd int, off, n int64) syscall.Errno {
	err := syscall.Fallocate(fd, 0, off, n)
	if err != syscall.EOPNOTSUPP && err != syscall.ENOSYS {
		if err != nil {
			return err.(syscall.Errno)
		}
		return 0
	}
	var zeros [4096]byte
	for n > 0 {
		part := zeros[:min(n, int64(len(zeros)))]
		w, err := syscall.Pwrite(fd, part, off)
		if err != nil {
			return err.(syscall.Errno)
		}
		off += int64(w)
		n -= int64(w)
	}
	return 0
}
