package svlog

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// logReader reads one log forward through its files, the rotated ones and then
// the current one, and goes on from there when more has been written.
type logReader struct {
	log   Log
	after int64 // the name time of the last file that is done with

	file   *os.File // nil: none open
	dec    *zstd.Decoder
	from   io.Reader
	ino    uint64 // of the plain file, also where it was compressed since; 0: not known
	name   int64  // the name time of file, current for the current one
	again  bool   // the current file was found renamed: read to its end once more
	base   []byte // what buf is cut from
	buf    []byte // read and not yet given
	offset int64  // of buf[0] in the file, uncompressed
	eof    bool

	line    Record // what stands before the rest of a line too long for one record
	inLine  bool
	lineAt  int64     // where the line of buf[0] begins
	end     fileID    // the file that the last piece was in
	endAt   int64     // and where it ended
	stamped time.Time // of the last record that had a stamp
	skip    time.Time // records up to this time are not wanted
	given   []givenPieces
	note    *Record // to be given first
	window  window
	join    joiner
}

const current = math.MaxInt64

func newLogReader(log Log, after int64) *logReader { return &logReader{log: log, after: after} }

// listLog lists a log's rotated files in order of time. Of one that is there in
// two forms only the plain one is listed.
func listLog(path string) ([]rotatedLog, error) {
	dir, base := splitPath(path)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var logs []rotatedLog
	for _, e := range entries {
		if log, tmp, ok := parseRotated(base, e.Name()); ok && !tmp && e.Type().IsRegular() {
			logs = append(logs, log)
		}
	}
	sortRotated(logs)
	kept := logs[:0]
	for i, log := range logs {
		if i == 0 || logs[i-1].time != log.time {
			kept = append(kept, log)
		}
	}
	return kept, nil
}

// openNext opens the file behind the last one. It reports false if there is none.
func (l *logReader) openNext() (bool, error) {
	for range 16 {
		logs, err := listLog(l.log.Path)
		if err != nil {
			return false, err
		}
		path, name := l.log.Path, int64(current)
		packed := false
		for _, log := range logs {
			if log.time > l.after {
				path, name, packed = filepath.Join(filepath.Dir(l.log.Path), log.name), log.time, log.packed
				break
			}
		}
		ok, err := l.openFile(path, name, packed)
		if err == nil && name == current && ok {
			// A rotation between listing and opening would be skipped.
			if again, err := listLog(l.log.Path); err != nil || (len(again) > 0 && again[len(again)-1].time > l.after) {
				l.shut()
				continue
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return ok, err
		}
		if name == current {
			return false, nil
		}
		// It was compressed or removed meanwhile: look again.
	}
	return false, nil
}

func (l *logReader) openFile(path string, name int64, packed bool) (bool, error) {
	f, err := openRead(path)
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return false, err
	}
	l.file, l.from, l.name, l.ino = f, f, name, inode(info)
	l.buf, l.offset, l.eof, l.again, l.inLine, l.lineAt = l.buf[:0], 0, false, false, false, 0
	if packed {
		if l.dec, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20)); err != nil {
			l.shut()
			return false, err
		}
		l.from = l.dec
		l.ino = origin(f)
	}
	return true, nil
}

// shut closes the file.
func (l *logReader) shut() {
	if l.dec != nil {
		l.dec.Close()
		l.dec = nil
	}
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// seek goes to an offset of the open, plain file.
func (l *logReader) seek(offset int64) error {
	if _, err := l.file.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	l.buf, l.offset, l.eof, l.inLine, l.lineAt = l.buf[:0], offset, false, false, offset
	return nil
}

// discard reads over the first n bytes of a compressed file. It reports false if
// there are not as many.
func (l *logReader) discard(n int64) (bool, error) {
	got, err := io.CopyN(io.Discard, l.from, n)
	l.offset, l.lineAt = got, got
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return got == n, err
}

// next gives the next record, or io.EOF where there is none yet. With end, what
// is held back because it may go on is given too.
func (l *logReader) next(end bool) (Record, error) {
	if l.note != nil {
		r := *l.note
		l.note = nil
		return r, nil
	}
	for {
		if r, ok := l.pop(false); ok {
			return r, nil
		}
		r, err := l.piece(end)
		if err == nil {
			if !r.Time.IsZero() {
				l.stamped = r.Time
			} else {
				r.Time = l.stamped
			}
			if l.wasGiven(&r) || !r.Time.IsZero() && !r.Time.After(l.skip) {
				l.window.give(r.number, l.reading)
			} else {
				l.join.push(r)
			}
			continue
		}
		if err == io.EOF && end {
			if r, ok := l.pop(true); ok {
				return r, nil
			}
		}
		return Record{}, err
	}
}

// pop gives the next record that is whole; with all, whether it is or not.
func (l *logReader) pop(all bool) (Record, bool) {
	r, ok := l.join.pop(all)
	if !ok {
		return r, false
	}
	l.window.give(r.number, l.reading)
	for _, number := range r.more {
		l.window.give(number, l.reading)
	}
	r.number, r.more = 0, nil
	r.Cursor = l.cursor(r.Time)
	return r, true
}

// reading tells whether p is a piece of a line that goes on in the buffer.
func (l *logReader) reading(p piece) bool {
	return l.inLine && p.offset == l.lineAt && p.file == l.here()
}

// here is the open file.
func (l *logReader) here() fileID { return fileID{l.after, l.ino} }

// cursor is the place behind what was given, the last of it of the given time.
func (l *logReader) cursor(at time.Time) string {
	c := cursor{service: l.log.Service, known: true, time: at}
	if c.time.IsZero() {
		c.time = l.stamped
	}
	c.file, c.offset, c.given = l.window.start(l.end, l.endAt)
	c.given = alsoGiven(c.given, l.given)
	return c.String()
}

// alsoGiven adds what the cursor before knew to be given further on, and what was
// not read again yet.
func alsoGiven(given, ahead []givenPieces) []givenPieces {
	for _, a := range ahead {
		if a.count == 0 && !a.begun {
			continue
		}
		i := slices.IndexFunc(given, func(g givenPieces) bool { return g.pieceKey == a.pieceKey })
		if i < 0 {
			given = append(given, a)
			continue
		}
		given[i].count += a.count
		given[i].begun, given[i].bytes = a.begun, a.bytes
	}
	return given
}

// wasGiven tells whether a piece behind a cursor was given before. Of one that was
// begun it leaves the rest.
func (l *logReader) wasGiven(r *Record) bool {
	for i := range l.given {
		g := &l.given[i]
		switch {
		case g.run != r.Run || g.stream != r.Stream:
		case g.count > 0:
			g.count--
			return true
		case g.begun:
			g.begun = false
			r.Text, r.Continued = r.Text[min(g.bytes, len(r.Text)):], true
			return len(r.Text) == 0
		}
	}
	return false
}

// piece gives the next physical line, or a part of one that is too long.
func (l *logReader) piece(end bool) (Record, error) {
	for {
		if l.file == nil {
			if ok, err := l.openNext(); err != nil || !ok {
				if err == nil {
					err = io.EOF
				}
				return Record{}, err
			}
		}
		if i := bytes.IndexByte(l.buf, '\n'); i >= 0 && i <= textMax {
			return l.cut(i, 1, false), nil
		}
		if len(l.buf) >= textMax {
			return l.cut(textMax, 0, true), nil
		}
		if !l.eof {
			if err := l.fill(); err != nil {
				return Record{}, err
			}
			continue
		}
		if l.name == current && !l.again {
			renamed, err := l.isRenamed()
			if err != nil {
				return Record{}, err
			}
			if !l.eof {
				continue
			}
			l.eof = false
			if renamed {
				// Something may have been written to it before it was renamed.
				l.again = true
				continue
			}
			if end && len(l.buf) > 0 && !l.headless() {
				return l.begun(), nil
			}
			return Record{}, io.EOF
		}
		if len(l.buf) > 0 {
			return l.cut(len(l.buf), 0, true), nil
		}
		if l.name != current {
			l.after = l.name
		} else if name, ok := l.renamedTo(); ok {
			l.after = name
		}
		l.shut()
	}
}

// headless tells whether what stands at the end of the log is not even the
// beginning of a line's text: it is just being written.
func (l *logReader) headless() bool {
	return !l.inLine && !l.stamped.IsZero() && parseLine(l.buf).Stream == ""
}

// begun makes a record of the line that stands unfinished at the end of the log.
func (l *logReader) begun() Record {
	r := l.cut(len(l.buf), 0, true)
	p := &l.window.list[len(l.window.list)-1]
	p.begun, p.bytes = true, len(r.Text)
	return r
}

// cut makes a record of the first n bytes of the buffer and drops them, and the
// newline behind them.
func (l *logReader) cut(n, nl int, partial bool) Record {
	var r Record
	if l.inLine {
		r = l.line
		r.Text, r.Continued, r.Partial = l.buf[:n], true, false
	} else {
		r = parseLine(l.buf[:n])
	}
	r.Service = l.log.Service
	r.Partial = r.Partial || partial
	r.number = l.window.add(piece{file: l.here(), offset: l.lineAt, key: pieceKey{r.Run, r.Stream}})
	if l.inLine = partial; partial {
		l.line = r
	}
	l.offset += int64(n + nl)
	l.buf = l.buf[n+nl:]
	l.end, l.endAt = l.here(), l.offset
	if !partial {
		l.lineAt = l.offset
	}
	return r
}

// fill reads on. The buffer is moved or grown when it is used up.
func (l *logReader) fill() error {
	const chunk = 32 << 10
	if cap(l.buf)-len(l.buf) < chunk {
		if cap(l.base) < len(l.buf)+chunk {
			l.base = make([]byte, 0, 2*len(l.buf)+2*chunk)
		}
		l.buf = l.base[:copy(l.base[:len(l.buf)], l.buf)]
	}
	n, err := l.from.Read(l.buf[len(l.buf) : len(l.buf)+chunk])
	l.buf = l.buf[:len(l.buf)+n]
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		l.eof, err = true, nil
	}
	return err
}

// isRenamed tells whether the current file has lost its name to another and is
// written no more: abide writes to a file of another's until it sees that it has
// another name, and to the next one only then. A file that was truncated is read
// from its start.
func (l *logReader) isRenamed() (bool, error) {
	info, err := os.Lstat(l.log.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if inode(info) != l.ino {
		if info.Size() > 0 {
			return true, nil
		}
		_, rotated := l.renamedTo()
		return rotated, nil
	}
	if info.Size() < l.offset+int64(len(l.buf)) {
		l.window.clear()
		l.skip = l.stamped
		return false, l.seek(0)
	}
	return false, nil
}

// renamedTo finds the name time of the file that was the current one: the first
// rotated after the last one known, unless that is another file, because an admin
// gave this one another name or it was removed again.
func (l *logReader) renamedTo() (int64, bool) {
	logs, err := listLog(l.log.Path)
	if err != nil {
		return 0, false
	}
	for _, log := range logs {
		if log.time > l.after {
			ino := l.originOf(log)
			return log.time, ino == l.ino || ino == 0
		}
	}
	return 0, false
}

// originOf is the inode that a rotated log's lines were written to, 0 if that
// cannot be told.
func (l *logReader) originOf(log rotatedLog) uint64 {
	f, err := openRead(filepath.Join(filepath.Dir(l.log.Path), log.name))
	if err != nil {
		return 0
	}
	defer f.Close()
	if log.packed {
		return origin(f)
	}
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return inode(info)
}
