package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
)

// Keyed is one file of the run directory with a value for each key. A change of
// a few keys is one small append, so it can be made before its effect is taken,
// even with thousands of keys; the last value of a key counts. It survives our
// death at any instruction, not a power cut: what lies in a run directory is worth
// nothing after one.
//
// The file is a head line and then records: length of the key u32, length of the
// value u32 (2^32-1: the key is taken away), CRC-32C of both u32, key, value. What
// stands behind a record that is not whole does not count.
//
// It belongs to one goroutine.
type Keyed struct {
	dir     *Dir
	name    string
	head    string
	keys    map[string]struct{} // with a value
	tail    *os.File            // open for appending; nil until the file is ours
	size    int64
	records int
}

const (
	keyedMost  = 256 << 20 // bytes that are read of such a file
	keyedFront = 12
	keyedGone  = 1<<32 - 1
)

// OpenKeyed reads a file that was written under the same head, a line of text
// that says what the values mean and for how long they are good. Of another head,
// or of no sense, it counts as empty. The values are parts of one buffer.
func OpenKeyed(dir *Dir, name, head string) (*Keyed, map[string][]byte) {
	k := &Keyed{dir: dir, name: name, head: head, keys: map[string]struct{}{}}
	data, err := dir.ReadFile(name, keyedMost)
	if err != nil {
		return k, nil
	}
	first, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok || string(first) != head {
		return k, nil
	}
	values := map[string][]byte{}
	for len(rest) > 0 {
		key, value, size := keyedRecord(rest)
		if size == 0 {
			break
		}
		rest = rest[size:]
		k.records++
		if value == nil {
			delete(values, key)
		} else {
			values[key] = value
		}
	}
	for key := range values {
		k.keys[key] = struct{}{}
	}
	if len(rest) == 0 {
		k.open(int64(len(data)))
	}
	return k, values
}

// keyedRecord reads the first record; its size is 0 when it is not whole.
func keyedRecord(b []byte) (key string, value []byte, size int) {
	if len(b) < keyedFront {
		return "", nil, 0
	}
	keyLen, valueLen := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	gone := valueLen == keyedGone
	if gone {
		valueLen = 0
	}
	end := keyedFront + keyLen + valueLen
	if keyLen == 0 || end > uint64(len(b)) || crc32.Checksum(b[keyedFront:end], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return "", nil, 0
	}
	key = string(b[keyedFront : keyedFront+keyLen])
	if !gone {
		value = b[keyedFront+keyLen : end : end]
	}
	return key, value, int(end)
}

func appendKeyed(b []byte, key string, value []byte) []byte {
	size := uint32(len(value))
	if value == nil {
		size = keyedGone
	}
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	b = binary.LittleEndian.AppendUint32(b, size)
	b = append(append(append(b, 0, 0, 0, 0), key...), value...)
	binary.LittleEndian.PutUint32(b[start+8:], crc32.Checksum(b[start+keyedFront:], castagnoli))
	return b
}

// open takes the file as it is, for appending. Without it the next change writes
// the file anew.
func (k *Keyed) open(size int64) {
	f, err := k.dir.root.OpenFile(k.name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != size {
		f.Close()
		return
	}
	k.tail, k.size = f, size
}

// Append stores values; nil takes a key away. When it fails the file is as it
// was.
func (k *Keyed) Append(values map[string][]byte) error {
	if k.tail == nil {
		return errNotOurs
	}
	var b []byte
	for key, value := range values {
		b = appendKeyed(b, key, value)
	}
	n, err := k.tail.Write(b)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, k.tail.Truncate(k.size))
		}
		return k.dir.failed("write", k.name, err)
	}
	k.size += int64(n)
	for key, value := range values {
		k.records++
		if value == nil {
			delete(k.keys, key)
		} else {
			k.keys[key] = struct{}{}
		}
	}
	return nil
}

var errNotOurs = errors.New("the file is not there yet")

// Stale tells whether the file should be written anew: it is not there, or most
// of its records no longer count.
func (k *Keyed) Stale() bool { return k.tail == nil || k.records > 2*len(k.keys)+spareLines }

// Replace writes the file anew with these values only.
func (k *Keyed) Replace(values map[string][]byte) error {
	b := append([]byte(k.head), '\n')
	for key, value := range values {
		b = appendKeyed(b, key, value)
	}
	// Nothing here is worth a sync: it is of no use after a power cut.
	fresh := k.name + ".new"
	if err := k.dir.root.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return k.dir.failed("write", k.name, err)
	}
	f, err := k.dir.root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return k.dir.failed("write", k.name, err)
	}
	if _, err = f.Write(b); err == nil {
		err = k.dir.root.Rename(fresh, k.name)
	}
	if err != nil {
		f.Close()
		return k.dir.failed("write", k.name, errors.Join(err, k.dir.root.Remove(fresh)))
	}
	if k.tail != nil {
		k.tail.Close()
	}
	k.tail, k.size, k.records = f, int64(len(b)), len(values)
	k.keys = make(map[string]struct{}, len(values))
	for key := range values {
		k.keys[key] = struct{}{}
	}
	return nil
}
