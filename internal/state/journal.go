package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A journal is a header of 16 bytes, "abide" NUL and the name of what it holds,
// NULs to the end, then records: length u32 | CRC32C u32 | bytes. The first
// record is the boot it belongs to.
const (
	journalMagic   = "abide\x00"
	journalHeader  = 16
	journalRecord  = 8
	maxJournalItem = 4 << 20
	maxJournal     = 64 << 20
)

// Journal is a file of records in the run directory. A record is there or it is
// not, whenever its writer is killed; what is written is in the kernel's hands and
// not synced, because the run directory does not outlive the boot.
//
// A Journal is used by one goroutine at a time.
type Journal struct {
	dir  *Dir
	name string
	boot string
	file *os.File // nil until the next Rewrite when writing failed
	size int64
}

// OpenJournal opens the journal name, of at most 10 bytes, and returns its records.
// One of another boot is replaced by an empty one. So is one that makes no sense,
// which is kept as name.bad; problem then says so. A last record that was not
// finished is cut off in silence.
func OpenJournal(run *Dir, name, bootID string) (j *Journal, records [][]byte, problem, err error) {
	j = &Journal{dir: run, name: name, boot: bootID}
	data, err := run.ReadFile(name, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil, nil, j.Rewrite(nil)
	}
	why := err
	if err == nil {
		records, j.size, why = parseJournal(data, name)
	}
	switch {
	case why != nil:
		problem = run.failed("understand", name, why)
		if err := run.SetAside(name); err != nil {
			return nil, nil, problem, err
		}
		return j, nil, problem, j.Rewrite(nil)
	case len(records) == 0 || string(records[0]) != bootID:
		return j, nil, nil, j.Rewrite(nil)
	}
	if err := j.open(); err != nil {
		return nil, nil, nil, err
	}
	if j.size < int64(len(data)) {
		if err := j.file.Truncate(j.size); err != nil {
			return nil, nil, nil, run.failed("truncate", name, err)
		}
	}
	return j, records[1:], nil, nil
}

// parseJournal returns the whole records and how many bytes they take. Only the
// end of the file may be damaged: that is where a writer was killed.
func parseJournal(data []byte, name string) (records [][]byte, whole int64, err error) {
	if len(data) < journalHeader || string(data[:journalHeader]) != string(journalHead(name)) {
		return nil, 0, errors.New("it does not begin like one")
	}
	rest := data[journalHeader:]
	for len(rest) >= journalRecord {
		n := binary.LittleEndian.Uint32(rest)
		if n > maxJournalItem || int64(n) > int64(len(rest)-journalRecord) {
			break
		}
		item := rest[journalRecord : journalRecord+n : journalRecord+n]
		if crc32.Checksum(item, castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			break
		}
		records = append(records, item)
		rest = rest[journalRecord+n:]
	}
	return records, int64(len(data) - len(rest)), nil
}

func journalHead(name string) []byte {
	head := make([]byte, journalHeader)
	copy(head[copy(head, journalMagic):], name)
	return head
}

func (j *Journal) open() error {
	f, err := j.dir.root.OpenFile(j.name, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return j.dir.failed("open", j.name, err)
	}
	j.file = f
	return nil
}

// Append adds records by one write. When that fails none of them counts.
func (j *Journal) Append(records ...[]byte) error {
	if j.file == nil {
		return j.dir.failed("write", j.name, errors.New("an earlier write failed"))
	}
	size := 0
	for _, r := range records {
		size += journalRecord + len(r)
	}
	out := make([]byte, 0, size)
	for _, r := range records {
		if len(r) > maxJournalItem {
			return j.dir.failed("write", j.name, fmt.Errorf("a record of %d bytes is longer than %d", len(r), maxJournalItem))
		}
		out = appendItem(out, r)
	}
	n, err := j.file.Write(out)
	if err == nil && n == len(out) {
		j.size += int64(n)
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	if terr := j.file.Truncate(j.size); terr != nil {
		// What is written behind half a record would never be read.
		err = errors.Join(err, terr, j.file.Close())
		j.file = nil
	}
	return j.dir.failed("write", j.name, err)
}

func appendItem(out, item []byte) []byte {
	out = binary.LittleEndian.AppendUint32(out, uint32(len(item)))
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(item, castagnoli))
	return append(out, item...)
}

// Rewrite replaces all records by these, at once. When it fails the old ones stay.
func (j *Journal) Rewrite(records [][]byte) error {
	out := appendItem(journalHead(j.name), []byte(j.boot))
	for _, r := range records {
		out = appendItem(out, r)
	}
	if err := j.dir.WriteFile(j.name, out, 0o600); err != nil {
		return err
	}
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
	j.size = int64(len(out))
	return j.open()
}

// Size returns the length of the file in bytes.
func (j *Journal) Size() int64 { return j.size }

// Close gives the file back.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	f := j.file
	j.file = nil
	return f.Close()
}
