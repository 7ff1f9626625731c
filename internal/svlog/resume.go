package svlog

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// goneText is what a reader is told whose place is in a file that is no more.
const goneText = "lines may be missing here: the log that they were in has been removed"

// resume goes to the place of a cursor. Where its file is gone, a note says so,
// and what comes after it is read.
func (l *logReader) resume(c cursor) error {
	for range 16 {
		// A log that is compressed between listing and opening is looked for again.
		if err := l.tryResume(c); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (l *logReader) tryResume(c cursor) error {
	logs, err := listLog(l.log.Path)
	if err != nil {
		return err
	}
	logs = append(logs, rotatedLog{name: filepath.Base(l.log.Path), time: current})
	before := int64(-1)
	for _, log := range logs {
		if c.known && log.time <= c.file.after {
			before = log.time
			continue
		}
		ok, err := l.resumeIn(log, c)
		if errors.Is(err, fs.ErrNotExist) && log.time == current {
			break
		}
		if err != nil {
			return err
		}
		if ok {
			if l.after = before; c.known {
				l.after = c.file.after
			}
			l.stamped, l.end, l.endAt = c.time, l.here(), l.offset
			return nil
		}
		if c.known {
			// The first one behind is the cursor's, or its own is gone; but a
			// rotation between listing and opening hides it.
			if again, err := listLog(l.log.Path); log.time == current && err == nil && len(again) > 0 && again[len(again)-1].time > before {
				return fs.ErrNotExist
			}
			break
		}
		before = log.time
	}
	l.skip = c.time
	if !c.known {
		return l.skipTo(c.time)
	}
	l.after = before
	l.note = &Record{Service: l.log.Service, Time: c.time, Stream: streamNames[streamOwn], Text: []byte(goneText), Cursor: c.String()}
	return nil
}

// resumeIn opens a file at the place of a cursor if it is the cursor's.
func (l *logReader) resumeIn(log rotatedLog, c cursor) (ok bool, err error) {
	if ok, err = l.openFile(filepath.Join(filepath.Dir(l.log.Path), log.name), log.time, log.packed); err != nil || !ok {
		return false, err
	}
	defer func() {
		if !ok {
			l.given = nil
			l.shut()
		}
	}()
	switch {
	case log.packed && l.ino == 0 && c.known:
		// Compressed by the first version: its times must do.
		l.skip = c.time
		return true, nil
	case l.ino != c.file.ino || l.ino == 0:
		return false, nil
	case log.packed:
		l.given = c.given
		return l.discard(c.offset)
	}
	info, err := l.file.Stat()
	switch {
	case err != nil:
		return false, err
	case info.Size() >= c.offset:
		l.given = c.given
		return true, l.seek(c.offset)
	}
	// It was truncated: what has been written since is at its start.
	l.skip = c.time
	return c.known, nil
}
