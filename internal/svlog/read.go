package svlog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Log names one log: the service whose it is and the path of its current file.
type Log struct {
	Service string
	Path    string
}

// Query selects records.
type Query struct {
	Logs []Log
	// Lines is how many of the last records of all logs together are wanted,
	// negative for all.
	Lines int
	// Since leaves out what is older, and logs without stamps that were last
	// written before.
	Since time.Time
	// After resumes behind the place a Record's Cursor tells; for several logs,
	// the last cursor of each, with commas between them. A log that has none
	// resumes at the time of the newest cursor. Lines does not count then.
	After string
}

// Notifier tells when logs have changed; a Manager is one.
type Notifier interface {
	Subscribe(paths ...string) (changed <-chan struct{}, cancel func())
}

// Read calls fn for the records that q selects, in order of time, until fn
// returns an error, which Read returns. A log that does not exist has no records.
func Read(q Query, fn func(Record) error) error {
	readers, err := start(q)
	defer shutAll(readers)
	if err != nil {
		return err
	}
	if q.tail() {
		return lastOf(q.Lines, readers, true, fn)
	}
	merge := merger{readers: readers, end: true}
	_, err = merge.give(time.Time{}, fn)
	return err
}

// settleTime is how old a record must be before it is given beside those of other
// logs: by then an older one of theirs has been written, too.
const settleTime = 50 * time.Millisecond

// Follow is Read that goes on with what is written later, until ctx is done or fn
// returns an error. A line is given when it is finished. Where several logs are
// followed, their order of time is kept, at the price of settleTime.
func Follow(ctx context.Context, q Query, n Notifier, fn func(Record) error) error {
	paths := make([]string, len(q.Logs))
	for i, log := range q.Logs {
		paths[i] = log.Path
	}
	changed, cancel := n.Subscribe(paths...)
	defer cancel()
	readers, err := start(q)
	defer shutAll(readers)
	if err != nil {
		return err
	}
	if q.tail() {
		if err := lastOf(q.Lines, readers, false, fn); err != nil {
			return err
		}
	}
	merge := merger{readers: readers}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Stop()
		var until time.Time
		if len(readers) > 1 {
			until = time.Now().Add(-settleTime)
		}
		wait, err := merge.give(until, fn)
		if err != nil {
			return err
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-timer.C:
		}
	}
}

// tail tells whether only the last lines are wanted.
func (q *Query) tail() bool { return q.Lines >= 0 && q.After == "" }

func shutAll(readers []*logReader) {
	for _, l := range readers {
		l.shut()
	}
}

// start puts a reader on each log, at the first record that may be wanted.
func start(q Query) ([]*logReader, error) {
	cursors, err := parseCursors(q.After)
	if err != nil {
		return nil, err
	}
	var newest time.Time
	for _, c := range cursors {
		if c.time.After(newest) {
			newest = c.time
		}
	}
	readers := make([]*logReader, 0, len(q.Logs))
	for _, log := range q.Logs {
		l := newLogReader(log, -1)
		readers = append(readers, l)
		c, ok := cursors[log.Service]
		switch {
		case ok:
			err = l.resume(c)
		case !newest.IsZero():
			l.skip = newest
			err = l.skipTo(newest)
		case !q.Since.IsZero():
			l.skip = q.Since.Add(-1)
			err = l.skipTo(q.Since)
		}
		if err == nil && q.Lines >= 0 && q.After == "" {
			err = l.tail(q.Lines)
		}
		if err != nil {
			return readers, fmt.Errorf("cannot read log %s: %w", log.Path, err)
		}
	}
	return readers, nil
}

// merger gives the records of several logs in order of time.
type merger struct {
	readers []*logReader
	end     bool // nothing will be written any more
	// heads has a record of each reader that has one; the newest comes first, so
	// that the next one is taken off the end. A few dozen logs need no heap.
	heads []head
}

type head struct {
	r Record
	l *logReader
}

// give gives what the readers have, up to the given time if there is one. It
// returns how long to wait before more is to be given, 0 if nothing is held back.
func (m *merger) give(until time.Time, fn func(Record) error) (wait time.Duration, err error) {
	for _, l := range m.readers {
		if slices.ContainsFunc(m.heads, func(h head) bool { return h.l == l }) {
			continue
		}
		if err := m.pull(l); err != nil {
			return 0, err
		}
	}
	for len(m.heads) > 0 {
		h := m.heads[len(m.heads)-1]
		if !until.IsZero() && h.r.Time.After(until) {
			// A stamp may be ahead of a clock that was set back.
			return min(h.r.Time.Sub(until), time.Second), nil
		}
		m.heads = m.heads[:len(m.heads)-1]
		if err := fn(h.r); err != nil {
			return 0, err
		}
		if err := m.pull(h.l); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// pull makes the next record of a reader one of the heads.
func (m *merger) pull(l *logReader) error {
	r, err := l.next(m.end)
	if err == io.EOF && !m.end {
		// Nothing more for now: what is held back may as well be shown.
		if held, ok := l.pop(true); ok {
			r, err = held, nil
		}
	}
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read log %s: %w", l.log.Path, err)
	}
	at, _ := slices.BinarySearchFunc(m.heads, r.Time, func(h head, t time.Time) int {
		return cmp.Or(t.Compare(h.r.Time), 1)
	})
	m.heads = slices.Insert(m.heads, at, head{r, l})
	return nil
}

// lastOf gives the last n records of all readers together.
func lastOf(n int, readers []*logReader, end bool, fn func(Record) error) error {
	var best []Record
	for _, l := range readers {
		var own []Record
		for {
			r, err := l.next(end)
			if err == io.EOF && !end {
				if held, ok := l.pop(true); ok {
					r, err = held, nil
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return fmt.Errorf("cannot read log %s: %w", l.log.Path, err)
			}
			if own = append(own, r); len(own) >= 2*n+16 {
				own = append(own[:0], own[len(own)-n:]...)
			}
		}
		own = own[max(0, len(own)-n):]
		best = append(best, own...)
		slices.SortStableFunc(best, func(a, b Record) int { return a.Time.Compare(b.Time) })
		best = slices.Clone(best[max(0, len(best)-n):])
	}
	for _, r := range best {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// skipTo leaves out the rotated files that were done with before t.
func (l *logReader) skipTo(t time.Time) error {
	logs, err := listLog(l.log.Path)
	if err != nil {
		return err
	}
	for _, log := range logs {
		if log.time < t.UnixNano() {
			l.after = log.time
		}
	}
	return nil
}

// tail goes to a place from which at least n records follow, and not many more.
func (l *logReader) tail(n int) error {
	logs, err := listLog(l.log.Path)
	if err != nil {
		return err
	}
	logs = append(logs, rotatedLog{name: filepath.Base(l.log.Path), time: current})
	dir := filepath.Dir(l.log.Path)
	found := 0
	for i := len(logs) - 1; i >= 0; i-- {
		log := logs[i]
		if log.time <= l.after {
			break
		}
		before := l.after
		if i > 0 {
			before = max(before, logs[i-1].time)
		}
		ok, err := l.openFile(filepath.Join(dir, log.name), log.time, log.packed)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !ok {
			return err
		}
		var have int
		var at int64
		if log.packed {
			have, err = l.count()
			l.shut()
		} else {
			have, at, err = l.backward(n - found)
		}
		if err != nil {
			return err
		}
		if found += have; found >= n || i == 0 || logs[i-1].time <= l.after {
			l.after = before
			if l.file != nil {
				return l.seek(at)
			}
			return nil
		}
		l.shut()
	}
	return nil
}

// count counts the lines of a compressed file.
func (l *logReader) count() (int, error) {
	n := 0
	buf := make([]byte, 64<<10)
	for {
		got, err := l.from.Read(buf)
		n += bytes.Count(buf[:got], newline)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zstd.ErrMagicMismatch) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// backward finds the place in the open file where its last n lines begin that
// are not the rest of another, or its start.
func (l *logReader) backward(n int) (have int, at int64, err error) {
	info, err := l.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	const chunk = 64 << 10
	buf := make([]byte, chunk+prefixMax)
	end := info.Size()
	at = end
	if n <= 0 {
		return 0, at, nil
	}
	for end > 0 {
		start := max(0, end-chunk)
		// A little more than the chunk, to see what stands at the start of the
		// lines that begin in it.
		got, err := l.file.ReadAt(buf[:min(int64(len(buf)), info.Size()-start)], start)
		if err != nil && err != io.EOF {
			return 0, 0, err
		}
		b := buf[:got]
		for i := int(min(end-start, int64(got))) - 1; i >= 0; i-- {
			if b[i] != '\n' {
				continue
			}
			if line := b[i+1:]; start+int64(i)+1 < info.Size() && !continues(line) {
				have++
				if at = start + int64(i) + 1; have == n {
					return have, at, nil
				}
			}
		}
		end = start
	}
	return have + 1, 0, nil
}

// continues tells whether the beginning of a line says that it is the rest of
// another.
func continues(line []byte) bool {
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	return parseLine(line[:min(len(line), prefixMax)]).Continued
}
