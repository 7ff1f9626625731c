package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync/atomic"
	"unsafe"
)

// Limits of a snapshot.
const (
	MaxSnapshotName    = 160   // bytes of a name
	MaxSnapshotBlob    = 320   // bytes of a blob
	MaxSnapshotEntries = 32768 // entries
)

// The file: a header page, then slots of two copies each. A copy is
//
//	seq u64 | crc u32 | blob length u16 | name length u16 | name | blob
//
// and the one with the higher sequence and a right checksum counts. A name of
// length 0 in it says that the slot is free.
const (
	snapshotMagic   = "abide\x00snap"
	snapshotVersion = 1

	headerBytes = 4096
	copyBytes   = 512
	slotBytes   = 2 * copyBytes
	chunkSlots  = 128

	offCRC      = 8
	offBlobLen  = 12
	offNameLen  = 14
	offName     = 16
	offBlob     = offName + MaxSnapshotName
	usedOfCopy  = offBlob + MaxSnapshotBlob
	mappedBytes = headerBytes + MaxSnapshotEntries*slotBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrSnapshotFull is returned by Put when all entries are in use.
var ErrSnapshotFull = errors.New("all 32768 entries are in use")

// snapshotStore is the part of a snapshot that knows bytes and no files.
type snapshotStore struct {
	slots []byte           // all slots that may be touched
	index map[string]int32 // name -> slot
	free  []int32
	names []string // slot -> name, "" when free
}

// load reads every slot of s.slots.
func (s *snapshotStore) load() {
	n := len(s.slots) / slotBytes
	s.index = make(map[string]int32, n)
	s.names = make([]string, 0, n)
	s.free = s.free[:0]
	s.addSlots(n)
}

// addSlots takes slots up to number n into use, as they are in the file.
func (s *snapshotStore) addSlots(n int) {
	for i := len(s.names); i < n; i++ {
		name, _ := s.read(int32(i))
		if _, twice := s.index[name]; twice {
			name = ""
		}
		s.names = append(s.names, name)
		if name != "" {
			s.index[name] = int32(i)
		}
	}
	s.free = s.free[:0]
	for i := n - 1; i >= 0; i-- {
		if s.names[i] == "" {
			s.free = append(s.free, int32(i))
		}
	}
}

// read returns what slot holds; the blob is a view into it.
func (s *snapshotStore) read(slot int32) (name string, blob []byte) {
	current, _, seq := s.copies(slot)
	if seq == 0 {
		return "", nil
	}
	nameLen := int(binary.LittleEndian.Uint16(current[offNameLen:]))
	blobLen := int(binary.LittleEndian.Uint16(current[offBlobLen:]))
	return string(current[offName : offName+nameLen]), current[offBlob : offBlob+blobLen]
}

// copies returns the copy that counts, the other one, and the sequence of the
// first, 0 when none is valid.
func (s *snapshotStore) copies(slot int32) (current, other []byte, seq uint64) {
	a := s.slots[int(slot)*slotBytes:][:copyBytes:copyBytes]
	b := s.slots[int(slot)*slotBytes+copyBytes:][:copyBytes:copyBytes]
	seqA, seqB := validSeq(a), validSeq(b)
	if seqB > seqA {
		return b, a, seqB
	}
	return a, b, seqA
}

func validSeq(c []byte) uint64 {
	seq := atomic.LoadUint64(seqOf(c))
	if seq == 0 ||
		binary.LittleEndian.Uint16(c[offNameLen:]) > MaxSnapshotName ||
		binary.LittleEndian.Uint16(c[offBlobLen:]) > MaxSnapshotBlob ||
		binary.LittleEndian.Uint32(c[offCRC:]) != checksum(c, seq) {
		return 0
	}
	return seq
}

// checksum covers the sequence, the lengths, the name and the blob.
func checksum(c []byte, seq uint64) uint32 {
	nameLen := min(int(binary.LittleEndian.Uint16(c[offNameLen:])), MaxSnapshotName)
	blobLen := min(int(binary.LittleEndian.Uint16(c[offBlobLen:])), MaxSnapshotBlob)
	crc := uint32(seq) ^ uint32(seq>>32)*0x9e3779b1
	crc = crc32.Update(crc, castagnoli, c[offBlobLen:offName+nameLen])
	return crc32.Update(crc, castagnoli, c[offBlob:offBlob+blobLen])
}

// seqOf returns the sequence of a copy, which is on a multiple of 8 bytes because
// mappings begin on pages and copies are 512 bytes long.
func seqOf(c []byte) *uint64 { return (*uint64)(unsafe.Pointer(&c[0])) }

// put writes name and blob into slot. The copy that counts is untouched until the
// last store, which makes the new one count.
func (s *snapshotStore) put(slot int32, name string, blob []byte) {
	_, c, seq := s.copies(slot)
	seq++
	atomic.StoreUint64(seqOf(c), 0)
	copy(c[offName:offBlob], name)
	copy(c[offBlob:usedOfCopy], blob)
	binary.LittleEndian.PutUint16(c[offNameLen:], uint16(len(name)))
	binary.LittleEndian.PutUint16(c[offBlobLen:], uint16(len(blob)))
	binary.LittleEndian.PutUint32(c[offCRC:], checksum(c, seq))
	atomic.StoreUint64(seqOf(c), seq)
}

// Put stores blob under name, in place of an older one. It allocates nothing for
// a name that is there already, and returns after a few hundred nanoseconds: a
// death of this process at any instruction leaves the old blob or the new one.
//
// A Snapshot is used by one goroutine at a time.
func (s *Snapshot) Put(name string, blob []byte) error {
	if slot, known := s.index[name]; known && len(blob) <= MaxSnapshotBlob {
		s.put(slot, name, blob)
		return nil
	}
	switch {
	case name == "" || len(name) > MaxSnapshotName:
		return fmt.Errorf("cannot keep the state of %q: its name is not 1 to %d bytes long", name, MaxSnapshotName)
	case len(blob) > MaxSnapshotBlob:
		return fmt.Errorf("cannot keep the state of %q: %d bytes are more than %d", name, len(blob), MaxSnapshotBlob)
	}
	if len(s.free) == 0 {
		if err := s.grow(); err != nil {
			return fmt.Errorf("cannot keep the state of %q: %w", name, err)
		}
	}
	slot := s.free[len(s.free)-1]
	s.put(slot, name, blob)
	s.free = s.free[:len(s.free)-1]
	s.names[slot] = name
	s.index[name] = slot
	return nil
}

// Delete removes the entry of name, if there is one.
func (s *Snapshot) Delete(name string) {
	slot, known := s.index[name]
	if !known {
		return
	}
	s.put(slot, "", nil)
	delete(s.index, name)
	s.names[slot] = ""
	s.free = append(s.free, slot)
}

// All returns a copy of every entry.
func (s *Snapshot) All() map[string][]byte {
	all := make(map[string][]byte, len(s.index))
	for name, slot := range s.index {
		if stored, blob := s.read(slot); stored == name {
			all[name] = append([]byte(nil), blob...)
		}
	}
	return all
}

// Get returns a copy of the entry of name, nil when there is none.
func (s *Snapshot) Get(name string) []byte {
	slot, known := s.index[name]
	if !known {
		return nil
	}
	_, blob := s.read(slot)
	return append([]byte(nil), blob...)
}

// Len returns the number of entries.
func (s *Snapshot) Len() int { return len(s.index) }

// header returns the first page of a snapshot of this boot.
func snapshotHeader(bootID string) []byte {
	h := make([]byte, headerBytes)
	n := copy(h, snapshotMagic)
	binary.LittleEndian.PutUint32(h[n:], snapshotVersion)
	binary.LittleEndian.PutUint32(h[n+4:], slotBytes)
	copy(h[n+8:n+8+64], bootID)
	binary.LittleEndian.PutUint32(h[headerBytes-4:], crc32.Checksum(h[:headerBytes-4], castagnoli))
	return h
}

// checkHeader says why a file with this first page cannot be used; "" if it can.
func checkHeader(h []byte, bootID string) string {
	n := len(snapshotMagic)
	switch {
	case len(h) < headerBytes:
		return "it is cut off"
	case string(h[:n]) != snapshotMagic:
		return "it is not a snapshot"
	case binary.LittleEndian.Uint32(h[headerBytes-4:]) != crc32.Checksum(h[:headerBytes-4], castagnoli):
		return "its header is damaged"
	case binary.LittleEndian.Uint32(h[n:]) != snapshotVersion:
		return fmt.Sprintf("its version %d is not %d", binary.LittleEndian.Uint32(h[n:]), snapshotVersion)
	case binary.LittleEndian.Uint32(h[n+4:]) != slotBytes:
		return "its entries have another size"
	case string(h[n+8:n+8+64]) != string(snapshotHeader(bootID)[n+8:n+8+64]):
		return "it is of another boot"
	}
	return ""
}
