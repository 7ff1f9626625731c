//go:build amd64 || arm64

package keeper

import (
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// The baton is a memory file with what a keeper knows and keeper.state does not
// hold. It passes from one program to the next in the same process. The file is a
// header {magic u64, version u32, sections u32} and sections {kind u32, bytes of an
// entry u32, entries u32, 0 u32, entries, padding to 8}, little endian. It only
// grows: an entry at its end, the list of words and of sections likewise. A reader
// skips what it does not know; what it misses is 0.
const (
	batonMagic   = 0x4e4f544142444941 // "AIDBATON"
	batonVersion = 1
	batonHeader  = 16
	sectionHead  = 16
	maxSections  = 64
)

// The kinds of sections.
const (
	sectionWords   = 1 + iota
	sectionSignals // {received, told, handled u32} of signal 0, 1, ...
	sectionRuns    // {slot u32, pidfd i32, report i32, bits u32}
	sectionHolds   // {slot u32, tag u32, run u64, fd i32, 0 u32}
	sectionUnsent  // slots whose end the engine has not been told, in order: u32
	sectionTexts   // bytes: id, engine's path, keeper's argv, each with a NUL
	knownSections
)

// entrySizes are those of this version, the least that a section must have.
var entrySizes = [knownSections]int{sectionWords: 8, sectionSignals: 12, sectionRuns: 16, sectionHolds: 24, sectionUnsent: 4, sectionTexts: 1}

// The words. A descriptor is 0 when there is none: ours begin at ownDescriptors.
const (
	wordPid = iota
	wordStage
	wordErrno // why a keeper went back
	wordSeq   // of the UPGRADE to answer
	wordFlags // of wire.Welcome
	wordLock
	wordListener
	wordRecords
	wordLease
	wordOldKeeper // its program file
	wordOldEngine
	wordNofileSoft
	wordNofileHard
	wordEngineSock
	wordEnginePidfd
	wordEnginePid
	wordEngineVersion // of the exchanges, 0: no hello yet
	wordEngineListed
	wordEngines
	wordOrphans
	wordMet
	wordSpawns
	wordRefusals
	wordExits
	wordWrong
	nWords
)

// The stages of a baton.
const (
	stageForward = 1 + iota // to the new keeper
	stageBack               // back to the old one, which could not be replaced
)

// The bits of a run.
const (
	bitAdopted = 1 << iota // not a child of this process
	bitFading
)

type batonSignal struct{ received, told, handled uint32 }

type batonRun struct {
	slot   uint32
	pidfd  int32
	report int32
	bits   uint32
}

type batonHold struct {
	slot uint32
	tag  uint32
	run  uint64
	fd   int32
}

// baton is one that was read. Its sections point into the bytes.
type baton struct {
	words    [nWords]uint64
	sections [knownSections]section
}

type section struct {
	entry, count int
	data         []byte
}

func (s *section) at(i int) []byte { return s.data[i*s.entry : (i+1)*s.entry] }

// fd returns a word that is a descriptor, -1 for none.
func (b *baton) fd(word int) int {
	if v := b.words[word]; v != 0 {
		return int(v)
	}
	return -1
}

func (b *baton) signal(i int) batonSignal {
	e := b.sections[sectionSignals].at(i)
	return batonSignal{get32(e), get32(e[4:]), get32(e[8:])}
}

func (b *baton) run(i int) batonRun {
	e := b.sections[sectionRuns].at(i)
	return batonRun{slot: get32(e), pidfd: int32(get32(e[4:])), report: int32(get32(e[8:])), bits: get32(e[12:])}
}

func (b *baton) hold(i int) batonHold {
	e := b.sections[sectionHolds].at(i)
	return batonHold{slot: get32(e), tag: get32(e[4:]), run: get64(e[8:]), fd: int32(get32(e[16:]))}
}

func (b *baton) unsent(i int) uint32 { return get32(b.sections[sectionUnsent].at(i)) }

// texts splits the section of texts.
func (b *baton) texts() (id, engine string, argv []string, ok bool) {
	var list []string
	rest := b.sections[sectionTexts].data
	for len(rest) > 0 {
		end := 0
		for end < len(rest) && rest[end] != 0 {
			end++
		}
		if end == len(rest) {
			return "", "", nil, false
		}
		list = append(list, string(rest[:end]))
		rest = rest[end+1:]
	}
	if len(list) < 3 || len(list[0]) != 16 {
		return "", "", nil, false
	}
	return list[0], list[1], list[2:], true
}

// parse reads a baton and checks everything that can be checked without the
// records and the descriptors.
func (b *baton) parse(file []byte) bool {
	*b = baton{}
	if len(file) < batonHeader || get64(file) != batonMagic || get32(file[8:]) != batonVersion {
		return false
	}
	n := get32(file[12:])
	if n > maxSections {
		return false
	}
	rest := file[batonHeader:]
	for range n {
		if len(rest) < sectionHead {
			return false
		}
		kind, entry, count := get32(rest), int(get32(rest[4:])), int(get32(rest[8:]))
		rest = rest[sectionHead:]
		if entry <= 0 || entry > 1<<16 || count < 0 || count > 1<<24 || (count*entry+7)&^7 > len(rest) {
			return false
		}
		if kind > 0 && kind < knownSections {
			if entry < entrySizes[kind] || b.sections[kind].data != nil {
				return false
			}
			b.sections[kind] = section{entry: entry, count: count, data: rest[: count*entry : count*entry]}
		}
		rest = rest[(count*entry+7)&^7:]
	}
	words := &b.sections[sectionWords]
	for i := range min(words.count, nWords) {
		b.words[i] = get64(words.at(i))
	}
	return b.sound()
}

// sound looks for what cannot be: slots and descriptors out of range.
func (b *baton) sound() bool {
	for _, word := range [...]int{wordLock, wordListener, wordRecords, wordLease, wordOldKeeper, wordOldEngine, wordEngineSock, wordEnginePidfd} {
		if v := b.words[word]; v != 0 && (v < 3 || v > 1<<30) {
			return false
		}
	}
	if b.words[wordLock] == 0 || b.words[wordListener] == 0 || b.words[wordRecords] == 0 ||
		b.sections[sectionSignals].count > 65 || b.sections[sectionRuns].count > maxSlots ||
		b.sections[sectionHolds].count > maxHolds || b.sections[sectionUnsent].count > maxSlots ||
		b.words[wordEngineListed] > maxSlots || b.words[wordEngineVersion] > wire.Version {
		return false
	}
	for i := range b.sections[sectionRuns].count {
		if r := b.run(i); r.slot >= maxSlots || r.pidfd < 3 && r.pidfd != -1 || r.report < 3 && r.report != -1 {
			return false
		}
	}
	for i := range b.sections[sectionHolds].count {
		if h := b.hold(i); h.slot >= maxSlots || h.fd < 3 {
			return false
		}
	}
	for i := range b.sections[sectionUnsent].count {
		if b.unsent(i) >= maxSlots {
			return false
		}
	}
	_, _, _, ok := b.texts()
	return ok
}

// each calls f for every descriptor that the baton passes on.
func (b *baton) each(f func(fd int)) {
	for _, word := range [...]int{wordLock, wordListener, wordRecords, wordLease, wordOldKeeper, wordOldEngine, wordEngineSock, wordEnginePidfd} {
		if fd := b.fd(word); fd >= 0 {
			f(fd)
		}
	}
	for i := range b.sections[sectionRuns].count {
		r := b.run(i)
		if r.pidfd >= 0 {
			f(int(r.pidfd))
		}
		if r.report >= 0 {
			f(int(r.report))
		}
	}
	for i := range b.sections[sectionHolds].count {
		f(int(b.hold(i).fd))
	}
}

// batonWriter builds a baton in a buffer that is large enough.
type batonWriter struct {
	b    []byte
	head int // of the open section
}

func newBatonWriter(b []byte) *batonWriter {
	w := &batonWriter{b: b[:0]}
	w.u64(batonMagic)
	w.u32(batonVersion)
	w.u32(0)
	return w
}

func (w *batonWriter) u32(v uint32) {
	w.b = append(w.b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func (w *batonWriter) u64(v uint64) {
	w.u32(uint32(v))
	w.u32(uint32(v >> 32))
}

// begin opens a section; end counts what was written since.
func (w *batonWriter) begin(kind int) {
	w.head = len(w.b)
	w.u32(uint32(kind))
	w.u32(uint32(entrySizes[kind]))
	w.u64(0)
}

func (w *batonWriter) end() {
	entry := int(get32(w.b[w.head+4:]))
	put32(w.b[w.head+8:], uint32((len(w.b)-w.head-sectionHead)/entry))
	for len(w.b)%8 != 0 {
		w.b = append(w.b, 0)
	}
	put32(w.b[12:], get32(w.b[12:])+1)
}

func (w *batonWriter) text(s string) {
	w.b = append(append(w.b, s...), 0)
}

func get32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func get64(b []byte) uint64 { return uint64(get32(b)) | uint64(get32(b[4:]))<<32 }

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

var batonName = [...]byte{'a', 'b', 'i', 'd', 'e', ' ', 'b', 'a', 't', 'o', 'n', 0}

// memoryFile makes a memory file of some bytes, out of the way of the descriptors
// that children get.
func memoryFile(data []byte) (int, syscall.Errno) {
	fd, e := raw.MemfdCreate(&batonName[0])
	if e != 0 {
		return -1, e
	}
	fd = above(fd)
	for len(data) > 0 {
		n, e := raw.Write(fd, data)
		if e != 0 {
			raw.Close(fd)
			return -1, e
		}
		data = data[n:]
	}
	return fd, 0
}

// readMemoryFile maps a file for reading; what is written to the mapping stays
// with us.
func readMemoryFile(fd int) ([]byte, syscall.Errno) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, errnoOf(err)
	}
	if st.Size <= 0 || st.Size > 1<<30 || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, syscall.EINVAL
	}
	p, e := raw.MapPrivate(fd, int(st.Size))
	if e != 0 {
		return nil, e
	}
	return unsafe.Slice((*byte)(p), int(st.Size)), 0
}
