package svlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The journal is a file in the run directory, mapped shared, so that what was
// stored in it stands there whichever instruction the process is killed at. It
// has takes (work that must be done again after a crash), runs (which of their
// streams stands in the middle of a line, and where it goes) and sinks (which
// file, how far it is written). All words are stored atomically and in an order
// that makes a half-done change either invisible or repeatable.

const (
	journalMagic   = 0x31_67_6f_6c_65_64_69_62
	journalVersion = 1 // of the layout below
	journalReader  = 1 // the least version of a program that may use it
	journalFile    = "log.journal"
	journalBad     = journalFile + ".bad"

	takeSlots = 15
	runSlots  = 1 << 14
	sinkSlots = 1 << 14

	takeSize = 256
	runSize  = 256
	sinkSize = 512

	runsAt      = takeSize * (takeSlots + 1)
	sinksAt     = runsAt + runSlots*runSize
	journalSize = sinksAt + sinkSlots*sinkSize

	journalStep = 64 << 10 // how much is given blocks at a time
)

// journalHeader is the first record of the file. The layout only ever grows, in
// what is zero now and at the end of the file, so that a Manager can go on with
// what an older one left, and an older one, after an upgrade was taken back, with
// what a newer one left. A change that an older Manager must not meet raises
// reader.
type journalHeader struct {
	magic   atomic.Uint64
	version atomic.Uint64 // 0 means 1
	reader  atomic.Uint64 // 0 means 1
}

// phase is what is being done with a take.
type phase uint64

const (
	phaseIdle   phase = iota
	phaseWrite        // stage bytes from pos on are to be written to sink number index
	phaseCommit       // after is to be copied into that sink's record
	phaseEnd          // the run's record and pos are to be moved on to end
)

// takeKind says what a take's stage bytes are.
type takeKind uint64

const (
	takeData   takeKind = iota // what a source wrote
	takeNote                   // the text of a line of abide's own
	takeFinish                 // nothing: the source has ended, its line is to be ended
)

// takeRec is one take. Word holds phase and index together, because they must
// change together.
type takeRec struct {
	word   atomic.Uint64 // phase | index<<8
	kind   atomic.Uint64
	source atomic.Uint64 // id of the source
	stamp  atomic.Uint64 // nanoseconds since 1970 of the first line
	sink   atomic.Uint64 // the only sink of a note + 1, 0: all of the source's
	run    atomic.Uint64 // run number of a note
	pos    atomic.Uint64 // stage bytes before it are done with
	end    atomic.Uint64 // the part under way reaches to here; 0: not decided
	mid    atomic.Uint64 // for phaseEnd: the source's next mid-line state

	after     place
	afterSlot atomic.Uint64 // the sink that after belongs to
	_         [takeSize - 20*8]byte
}

// place is how far a sink is written; it changes with every part of a take.
type place struct {
	offset    atomic.Uint64 // of the log's end
	open      atomic.Uint64 // id of the source whose line is unfinished there
	last      atomic.Uint64 // stamp of the last line
	lostBytes atomic.Uint64 // dropped and not yet noted in the log
	lostLines atomic.Uint64
	errno     atomic.Uint64 // why they were
	allBytes  atomic.Uint64 // dropped since the record was made
	allLines  atomic.Uint64
	written   atomic.Uint64
	_         uint64
}

// copyFrom is idempotent: a copy that was cut short is made again.
func (p *place) copyFrom(q *place) {
	p.offset.Store(q.offset.Load())
	p.open.Store(q.open.Load())
	p.last.Store(q.last.Load())
	p.lostBytes.Store(q.lostBytes.Load())
	p.lostLines.Store(q.lostLines.Load())
	p.errno.Store(q.errno.Load())
	p.allBytes.Store(q.allBytes.Load())
	p.allLines.Store(q.allLines.Load())
	p.written.Store(q.written.Load())
}

// runRec is what must be known of a run after a crash.
type runRec struct {
	used    atomic.Uint64
	number  atomic.Uint64
	mid     [2]atomic.Uint64           // by stream: its line goes on
	sinks   [2][maxSinks]atomic.Uint32 // by stream: sink slots + 1
	nameLen atomic.Uint64
	name    [maxName]byte
}

// Sink flags.
const (
	flagStamp   = 3 // model.Stamp
	flagJSON    = 4
	flagBlock   = 8
	flagHostile = 16 // the path is a definition's: follow no link
	flagOwn     = 32 // the path is the default one: make its folder
)

// sinkRec is what must be known of a log after a crash.
type sinkRec struct {
	used     atomic.Uint64
	dev      atomic.Uint64
	ino      atomic.Uint64
	flags    atomic.Uint64
	limit    atomic.Uint64 // rotate at this size, 0: never
	born     atomic.Uint64 // when the file was begun, nanoseconds since 1970
	rotating atomic.Uint64 // the time in the name that current is being renamed to, 0: not rotating
	rotated  atomic.Uint64 // the time in the last such name
	place    place
	pathLen  atomic.Uint64
	path     [maxPath]byte // of the file
}

// sound tells whether a record is in use, and could be one of ours.
func (r *runRec) sound() bool {
	return r.used.Load() == 1 && r.nameLen.Load() <= maxName && checkName(r.text()) == nil
}

func (k *sinkRec) sound() bool {
	return k.used.Load() == 1 && k.pathLen.Load() <= maxPath && filepath.IsAbs(k.text()) && !strings.ContainsRune(k.text(), 0)
}

// The layout is part of the format; these lines do not compile if it drifts.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(takeRec{})-takeSize]
	_ = [1]struct{}{}[runSize-unsafe.Sizeof(runRec{})]
)

const _ = uint(sinkSize - unsafe.Sizeof(sinkRec{}))

// journal hands out records. Records beyond what the file can hold, or all of
// them where there is no file, live in plain memory: logs go on, without the
// promise for the moment of a crash.
type journal struct {
	mem       []byte
	file      *os.File
	allocated [journalSize/journalStep + 1]bool
	freeRuns  []uint32
	freeSinks []uint32
	nextRun   uint32 // slots from here on were never used
	nextSink  uint32
	loose     map[uint32]*runRec // runs without a slot in the file
	nextLoose uint32
}

// errForeign tells that a journal cannot be made sense of. What it means must not
// be guessed: that would write bytes where they do not belong.
var errForeign = errors.New("it is damaged, or of a version that this abide does not know")

// openJournal maps the journal of dir, making it where it is missing. One that
// cannot be made sense of is set aside under another name, and trouble says so.
// With an error in trouble, too, the journal that it returns can be used; it works
// in memory if there can be no file.
func openJournal(dir string) (j *journal, trouble error) {
	path := filepath.Join(dir, journalFile)
	j, err := mapJournal(path)
	if errors.Is(err, errForeign) {
		trouble = fmt.Errorf("cannot use the log journal %s: %w; it is now called %s", path, err, journalBad)
		if err = unix.Rename(path, filepath.Join(dir, journalBad)); err == nil {
			j, err = mapJournal(path)
		}
	}
	if err != nil {
		j = newJournal()
		j.nextRun, j.nextSink = runSlots, sinkSlots
		trouble = fmt.Errorf("cannot open the log journal in %s: %w; log lines may be lost if abide is killed", dir, err)
	}
	return j, trouble
}

func newJournal() *journal {
	return &journal{nextRun: 1, loose: map[uint32]*runRec{}, nextLoose: runSlots}
}

func mapJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, reason(err)
	}
	j := newJournal()
	if err := j.attach(f); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

func (j *journal) attach(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch size := info.Size(); {
	case size == 0:
		if err := f.Truncate(journalSize); err != nil {
			return err
		}
	case size < journalSize:
		return errForeign
	}
	if j.mem, err = unix.Mmap(int(f.Fd()), 0, journalSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	j.file = f
	h := (*journalHeader)(unsafe.Pointer(&j.mem[0]))
	// A file that its maker was killed at is all zero.
	if magic := h.magic.Load(); magic != 0 && magic != journalMagic || h.reader.Load() > journalVersion {
		unix.Munmap(j.mem)
		return errForeign
	}
	if err := j.back(0, runsAt); err != nil {
		unix.Munmap(j.mem)
		return err
	}
	h.version.Store(journalVersion)
	h.reader.Store(journalReader)
	h.magic.Store(journalMagic)
	return nil
}

// back gives blocks to a part of the file: a store into a hole of a full file
// system would be a SIGBUS.
func (j *journal) back(at, size int) error {
	for i := at / journalStep; i <= (at+size-1)/journalStep; i++ {
		if j.allocated[i] {
			continue
		}
		length := min(journalStep, journalSize-i*journalStep)
		if err := unix.Fallocate(int(j.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, int64(i)*journalStep, int64(length)); err != nil {
			return err
		}
		j.allocated[i] = true
	}
	return nil
}

func (j *journal) close() {
	if j.mem != nil {
		unix.Munmap(j.mem)
		j.file.Close()
		j.mem, j.file = nil, nil
	}
}

// take is the record of take number i; nil without a file.
func (j *journal) take(i int) *takeRec {
	if j.mem == nil {
		return nil
	}
	return (*takeRec)(unsafe.Pointer(&j.mem[takeSize*(i+1)]))
}

func (j *journal) run(slot uint32) *runRec {
	if slot >= runSlots {
		return j.loose[slot]
	}
	return (*runRec)(unsafe.Pointer(&j.mem[runsAt+int(slot)*runSize]))
}

func (j *journal) sink(slot uint32) *sinkRec {
	return (*sinkRec)(unsafe.Pointer(&j.mem[sinksAt+int(slot)*sinkSize]))
}

// newRun gives a cleared record that is not yet marked as used.
func (j *journal) newRun() (uint32, *runRec) {
	if n := len(j.freeRuns); n > 0 {
		slot := j.freeRuns[n-1]
		j.freeRuns = j.freeRuns[:n-1]
		return slot, j.run(slot)
	}
	if j.nextRun < runSlots && j.back(runsAt+int(j.nextRun)*runSize, runSize) == nil {
		slot := j.nextRun
		j.nextRun++
		return slot, j.run(slot)
	}
	slot := j.nextLoose
	j.nextLoose++
	rec := new(runRec)
	j.loose[slot] = rec
	return slot, rec
}

func (j *journal) dropRun(slot uint32) {
	if slot >= runSlots {
		delete(j.loose, slot)
		return
	}
	rec := j.run(slot)
	rec.used.Store(0)
	for s := range rec.mid {
		rec.mid[s].Store(0)
		for i := range rec.sinks[s] {
			rec.sinks[s][i].Store(0)
		}
	}
	j.freeRuns = append(j.freeRuns, slot)
}

// noSlot marks a sink whose record is not in the file.
const noSlot = ^uint32(0)

// newSink gives a cleared record that is not yet marked as used.
func (j *journal) newSink() (uint32, *sinkRec) {
	if n := len(j.freeSinks); n > 0 {
		slot := j.freeSinks[n-1]
		j.freeSinks = j.freeSinks[:n-1]
		return slot, j.sink(slot)
	}
	if j.nextSink < sinkSlots && j.back(sinksAt+int(j.nextSink)*sinkSize, sinkSize) == nil {
		slot := j.nextSink
		j.nextSink++
		return slot, j.sink(slot)
	}
	return noSlot, new(sinkRec)
}

func (j *journal) dropSink(slot uint32, rec *sinkRec) {
	if slot == noSlot {
		return
	}
	rec.used.Store(0)
	clear(j.mem[sinksAt+int(slot)*sinkSize:][:sinkSize])
	j.freeSinks = append(j.freeSinks, slot)
}

// recover lists the records that are in use, and makes the others available. A
// record in a hole of the file was never used: reading it would be a zero, but
// would also give it memory, so only what the file has blocks for is read.
func (j *journal) recover(run func(slot uint32, rec *runRec), sink func(slot uint32, rec *sinkRec)) {
	if j.mem == nil {
		return
	}
	j.nextSink = uint32((j.backed(sinksAt, journalSize) + sinkSize - 1) / sinkSize)
	for slot := uint32(0); slot < j.nextSink; slot++ {
		if rec := j.sink(slot); rec.sound() {
			sink(slot, rec)
		} else {
			clear(j.mem[sinksAt+int(slot)*sinkSize:][:sinkSize])
			j.freeSinks = append(j.freeSinks, slot)
		}
	}
	j.nextRun = max(1, uint32((j.backed(runsAt, sinksAt)+runSize-1)/runSize))
	for slot := uint32(1); slot < j.nextRun; slot++ {
		if rec := j.run(slot); rec.sound() {
			run(slot, rec)
		} else {
			clear(j.mem[runsAt+int(slot)*runSize:][:runSize])
			j.freeRuns = append(j.freeRuns, slot)
		}
	}
}

// backed says how many bytes from at on may have been written: slots are handed
// out from the front, so the first step without blocks ends them.
func (j *journal) backed(at, end int) int {
	var used int
	for i := at / journalStep; i*journalStep < end; i++ {
		hole, err := unix.Seek(int(j.file.Fd()), int64(i)*journalStep, unix.SEEK_DATA)
		if err == unix.ENXIO || (err == nil && hole >= int64((i+1)*journalStep)) {
			break
		}
		if j.back(i*journalStep, 1) != nil {
			break
		}
		used = min((i+1)*journalStep, end) - at
	}
	return used
}
