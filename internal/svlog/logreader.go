package svlog

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
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
	ino    uint64
	name   int64  // the name time of file, current for the current one
	again  bool   // the current file was found renamed: read to its end once more
	base   []byte // what buf is cut from
	buf    []byte // read and not yet given
	offset int64  // of buf[0] in the file, uncompressed
	eof    bool

	line    Record // what stands before the rest of a line too long for one record
	inLine  bool
	stamped time.Time // of the last record that had a stamp
	skip    time.Time // records up to this time are not wanted
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
	l.buf, l.offset, l.eof, l.again, l.inLine = l.buf[:0], 0, false, false, false
	if packed {
		if l.dec, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20)); err != nil {
			l.shut()
			return false, err
		}
		l.from = l.dec
		l.ino = 0
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
	l.buf, l.offset, l.eof = l.buf[:0], offset, false
	return nil
}

// next gives the next record, or io.EOF where there is none yet. With end, what
// is held back because it may go on is given too.
func (l *logReader) next(end bool) (Record, error) {
	for {
		if r, ok := l.join.pop(false); ok {
			return r, nil
		}
		r, err := l.piece(end)
		if err == nil {
			if !r.Time.IsZero() {
				l.stamped = r.Time
			} else {
				r.Time = l.stamped
			}
			if r.Time.IsZero() || r.Time.After(l.skip) {
				l.join.push(r)
			}
			continue
		}
		if err == io.EOF && end {
			if r, ok := l.join.pop(true); ok {
				return r, nil
			}
		}
		return Record{}, err
	}
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
		if i := bytes.IndexByte(l.buf, '\n'); i >= 0 {
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
			if end && len(l.buf) > 0 {
				return l.cut(len(l.buf), 0, true), nil
			}
			return Record{}, io.EOF
		}
		if len(l.buf) > 0 {
			return l.cut(len(l.buf), 0, true), nil
		}
		if l.name == current {
			l.after = l.renamedTo()
		} else {
			l.after = l.name
		}
		l.shut()
	}
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
	if l.inLine = partial; partial {
		l.line = r
	}
	l.offset += int64(n + nl)
	l.buf = l.buf[n+nl:]
	stamp := r.Time
	if stamp.IsZero() {
		stamp = l.stamped
	}
	r.Cursor = cursor{service: l.log.Service, ino: l.ino, offset: l.offset, time: stamp}.String()
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

// isRenamed tells whether the current file has lost its name to another. A file
// that was truncated is read from its start.
func (l *logReader) isRenamed() (bool, error) {
	info, err := os.Lstat(l.log.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if inode(info) != l.ino {
		return true, nil
	}
	if info.Size() < l.offset {
		return false, l.seek(0)
	}
	return false, nil
}

// renamedTo finds the name time of the file that was the current one: the first
// rotated after the last one known. Where there is none, an admin removed it.
func (l *logReader) renamedTo() int64 {
	logs, err := listLog(l.log.Path)
	if err != nil {
		return l.after
	}
	for _, log := range logs {
		if log.time > l.after {
			return log.time
		}
	}
	return l.after
}
