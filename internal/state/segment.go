package state

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/control"
)

// A segment is a file of records: length u32 of the line | CRC32C u32 of it | the
// event as one line of JSON, with its line feed. Its name is the cursor of its
// first event, as a decimal of 20 digits.
const (
	recordHeader  = 8
	maxRecordLine = 256 << 10
	segmentDigits = 20
)

var errTorn = errors.New("torn or damaged record")

// appendRecord adds the record of one event. A text that JSON cannot hold as it
// is (not UTF-8) is kept with replacement characters.
func appendRecord(out []byte, ev *control.Event) ([]byte, error) {
	line, err := json.Marshal(ev)
	if err != nil {
		return out, fmt.Errorf("cannot encode event %d: %w", ev.Cursor, err)
	}
	line = append(line, '\n')
	if len(line) > maxRecordLine {
		return out, fmt.Errorf("cannot encode event %d: %d bytes are more than %d", ev.Cursor, len(line), maxRecordLine)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(line)))
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(line, castagnoli))
	return append(out, line...), nil
}

// nextRecord splits the first record off data. What does not begin with a whole
// and undamaged record is errTorn.
func nextRecord(data []byte) (line, rest []byte, err error) {
	if len(data) < recordHeader {
		return nil, data, errTorn
	}
	n := binary.LittleEndian.Uint32(data)
	if n == 0 || n > maxRecordLine || int(n) > len(data)-recordHeader {
		return nil, data, errTorn
	}
	line = data[recordHeader : recordHeader+int(n)]
	if crc32.Checksum(line, castagnoli) != binary.LittleEndian.Uint32(data[4:]) || line[n-1] != '\n' {
		return nil, data, errTorn
	}
	return line, data[recordHeader+int(n):], nil
}

// readSegment calls fn with every event of data up to the first damage and
// returns how many bytes were whole.
func readSegment(data []byte, fn func(*control.Event) error) (whole int, err error) {
	rest := data
	for len(rest) > 0 {
		line, after, err := nextRecord(rest)
		if err != nil {
			return len(data) - len(rest), err
		}
		var ev control.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return len(data) - len(rest), errTorn
		}
		if err := fn(&ev); err != nil {
			return len(data) - len(rest), err
		}
		rest = after
	}
	return len(data), nil
}

// lastCursor returns the cursor of the last whole record, and how many bytes are
// whole. It decodes one record only.
func lastCursor(data []byte) (cursor uint64, whole int) {
	rest := data
	var last []byte
	for {
		line, after, err := nextRecord(rest)
		if err != nil {
			break
		}
		last, rest = line, after
	}
	var ev control.Event
	if last != nil && json.Unmarshal(last, &ev) == nil {
		cursor = ev.Cursor
	}
	return cursor, len(data) - len(rest)
}

func segmentName(first uint64) string { return fmt.Sprintf("%0*d", segmentDigits, first) }

// segmentFirst is the opposite of segmentName.
func segmentFirst(name string) (uint64, bool) {
	if len(name) != segmentDigits || strings.Trim(name, "0123456789") != "" {
		return 0, false
	}
	first, err := strconv.ParseUint(name, 10, 64)
	return first, err == nil
}

// segments returns the first cursors of all segments in d, ascending.
func segments(d *Dir) ([]uint64, error) {
	dir, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, name := range names {
		if first, ok := segmentFirst(name); ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

// isBlank reports whether what follows the last record is only zeros, as a file
// system may leave after a power cut.
func isBlank(data []byte) bool { return len(bytes.Trim(data, "\x00")) == 0 }
