package svlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// goneID stands for "a source that no longer is" as the owner of an unfinished
// line. It equals no source's id.
const goneID = 1

// How long a log that cannot be written is left alone before it is tried again.
const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 10 * time.Second
	lookEvery  = time.Second // how often a busy log's path is compared with its descriptor
	// trustFor is how long a log is taken to be as it was left: what happens to
	// it within that time is seen after the next write, and mended then.
	trustFor = time.Millisecond
	// disturbances is how often a write is repeated that others undo.
	disturbances = 8
)

// state is a place as plain data: a copy to work on.
type state struct {
	offset, open         uint64
	last                 int64
	lostBytes, lostLines uint64
	errno                unix.Errno
	allBytes, allLines   uint64
	written              uint64
}

func (p *place) load() state {
	return state{
		offset: p.offset.Load(), open: p.open.Load(), last: int64(p.last.Load()),
		lostBytes: p.lostBytes.Load(), lostLines: p.lostLines.Load(), errno: unix.Errno(p.errno.Load()),
		allBytes: p.allBytes.Load(), allLines: p.allLines.Load(), written: p.written.Load(),
	}
}

func (p *place) store(s *state) {
	p.offset.Store(s.offset)
	p.open.Store(s.open)
	p.last.Store(uint64(s.last))
	p.lostBytes.Store(s.lostBytes)
	p.lostLines.Store(s.lostLines)
	p.errno.Store(uint64(s.errno))
	p.allBytes.Store(s.allBytes)
	p.allLines.Store(s.allLines)
	p.written.Store(s.written)
}

// sink is one log file. It belongs to the Manager's thread.
type sink struct {
	slot    uint32
	rec     *sinkRec
	path    string
	service string // the first one that wrote here, for reports
	own     bool   // the path is the default one: folders are made as needed
	hostile bool
	uid     int // owner of a path of a definition's own, -1: abide's
	gid     int
	rules   rules

	fd       int
	attached bool // leftovers of an earlier life have been looked after
	refs     int  // sources that write here

	lastRun uint64

	troubleText atomic.Pointer[string] // trouble, for others to read

	trouble   error         // why it cannot be written, nil if all is well
	retryAt   time.Duration // on the Manager's clock, while trouble
	retryWait time.Duration
	lookAt    time.Duration // when to compare path and descriptor next
	seenAt    time.Duration // when it was last as it should be
	rotateAt  time.Duration // not before this is a failed rotation tried again
	sweepAt   time.Duration // when the oldest rotated log is too old, 0: never

	parked  *take         // a take that waits until this log can be written
	waiting []*source     // that wait for the parked take
	notes   []pendingNote // that do, too
}

type pendingNote struct {
	run  uint64
	text string
}

// rules are the part of a [log] table that concerns a file.
type rules struct {
	form
	size      int64
	every     time.Duration
	keep      int
	keepFor   time.Duration
	keepTotal int64
	zstd      bool
	block     bool
}

func rulesOf(spec *model.Log) rules {
	return rules{
		form: form{stamp: spec.Stamp, json: spec.JSON},
		size: spec.Size, every: spec.Every, keep: spec.Keep, keepFor: spec.KeepFor,
		keepTotal: spec.KeepTotal, zstd: spec.Compress == "zstd", block: spec.Block,
	}
}

// setRules changes the rules, which a crash must not undo within a take: it is
// called between takes only.
func (k *sink) setRules(r rules) {
	k.rules = r
	flags := uint64(r.stamp) & flagStamp
	if r.json {
		flags |= flagJSON
	}
	if r.block {
		flags |= flagBlock
	}
	if k.hostile {
		flags |= flagHostile
	}
	if k.own {
		flags |= flagOwn
	}
	k.rec.flags.Store(flags)
	k.rec.limit.Store(uint64(max(r.size, 0)))
}

// errUnusable says that a log's path cannot be used, so that its output goes
// elsewhere; other errors are of the disk and its output is dropped.
type errUnusable struct{ error }

func (e errUnusable) Unwrap() error { return e.error }

// open opens the log and finds its end.
func (k *sink) open(now time.Time) error {
	fd, _, err := k.openFile()
	if err != nil {
		return judged(err)
	}
	return k.install(fd, now)
}

// judged tells the errors of a path that cannot be used from those of a disk, or
// of the system, that will be over.
func judged(err error) error {
	for _, passing := range []error{unix.ENOSPC, unix.EDQUOT, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EIO, unix.EINTR} {
		if errors.Is(err, passing) {
			return err
		}
	}
	return errUnusable{err}
}

func (k *sink) openFile() (fd int, made bool, err error) {
	dir, base := splitPath(k.path)
	if k.own {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return -1, false, err
		}
	}
	dirFD, err := openDir(dir, k.hostile)
	if err != nil {
		return -1, false, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(dirFD)
	if lastDescriptors(dirFD) {
		return -1, false, &os.PathError{Op: "open", Path: k.path, Err: unix.EMFILE}
	}
	fd, made, err = openLog(dirFD, base, 0o640, k.uid, k.gid)
	if err != nil {
		err = &os.PathError{Op: "open", Path: k.path, Err: err}
	}
	return fd, made, err
}

// lastDescriptors tells whether the lowest free number was one of the last that this
// process may have. A log keeps its descriptor, and without these few nobody could
// even ask what is wrong.
func lastDescriptors(fd int) bool {
	const few = 16
	var files unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && uint64(fd)+few >= files.Cur
}

// install makes fd the log's file.
func (k *sink) install(fd int, now time.Time) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if k.fd >= 0 {
		unix.Close(k.fd)
	}
	k.fd = fd
	if k.rec.ino.Load() == st.Ino && k.rec.dev.Load() == st.Dev {
		return nil
	}
	// The inode is what makes the rest of the record valid, so it goes first
	// and comes last.
	k.rec.ino.Store(0)
	at("install: record invalid")
	k.rec.place.offset.Store(uint64(st.Size))
	k.rec.place.open.Store(k.openAt(st.Size))
	born := now.UnixNano()
	if st.Size > 0 {
		born = min(born, st.Ctim.Nano())
	}
	k.rec.born.Store(uint64(born))
	k.rec.dev.Store(st.Dev)
	k.rec.ino.Store(st.Ino)
	at("install: record valid")
	return nil
}

// openAt tells who has an unfinished line at the end of a file that others wrote.
func (k *sink) openAt(size int64) uint64 {
	var last [1]byte
	if size == 0 {
		return 0
	}
	if n, err := unix.Pread(k.fd, last[:], size-1); n == 1 && err == nil && last[0] == '\n' {
		return 0
	}
	return goneID
}

// look finds out what others did to the log since the last take. With again, what
// stands beyond the recorded end is a part of this take, written before a crash.
func (k *sink) look(now time.Time, mono time.Duration, again bool) error {
	if k.fd < 0 {
		if err := k.open(now); err != nil {
			return err
		}
		k.lookAt = mono + lookEvery
	}
	var st unix.Stat_t
	if err := unix.Fstat(k.fd, &st); err != nil {
		return err
	}
	if mono >= k.lookAt || st.Nlink == 0 {
		k.lookAt = mono + lookEvery
		var named unix.Stat_t
		err := unix.Lstat(k.path, &named)
		if err == unix.ENOENT || (err == nil && (named.Ino != st.Ino || named.Dev != st.Dev)) {
			if err := k.reopen(now, st.Nlink == 0); err != nil {
				return err
			}
			if err := unix.Fstat(k.fd, &st); err != nil {
				return err
			}
		}
	}
	end := k.rec.place.offset.Load()
	if size := uint64(st.Size); size < end || (size > end && !again) {
		k.rec.place.open.Store(k.openAt(st.Size))
		k.rec.place.offset.Store(size)
	}
	return nil
}

// expect looks at a log that was not looked at just now and that is there. What is
// wrong with it is the business of the write that follows.
func (k *sink) expect(t *take) {
	if k.trouble != nil || k.parked != nil || k.fd >= 0 && t.mono-k.seenAt < trustFor {
		return
	}
	var st unix.Stat_t
	if k.fd < 0 && unix.Lstat(k.path, &st) != nil {
		return
	}
	if k.look(t.now, t.mono, false) == nil {
		k.seenAt = t.mono
	}
}

// reopen follows the log's name to a new file, after somebody renamed or removed
// the old one. Where that fails for want of descriptors the old file is still the
// best place for the bytes; so it is when it was only renamed.
func (k *sink) reopen(now time.Time, removed bool) error {
	fd, _, err := k.openFile()
	switch {
	case err == nil:
		return k.install(fd, now)
	case !removed, errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return nil
	}
	unix.Close(k.fd)
	k.fd = -1
	return judged(err)
}

// write brings one part of a take into the log and returns what follows from it
// for the record, without storing it. It reports false when the take must wait.
func (m *Manager) write(t *take, k *sink, src []byte) (state, bool) {
	if k.trouble != nil && t.mono < k.retryAt && !t.again {
		p := k.rec.place.load()
		return m.refuse(t, k, p, src)
	}
	if k.fd < 0 || t.again || k.trouble != nil || m.append == nil || t.mono >= k.lookAt || t.mono-k.seenAt >= trustFor {
		if err := k.look(t.now, t.mono, t.again); err != nil {
			m.failed(k, err, t.mono)
			return m.refuse(t, k, k.rec.place.load(), src)
		}
	}
	p := k.rec.place.load()
	e := &m.enc
	run, label := shown(t.src.name, t.src.number, t.src.stream)
	*e = encoder{
		form: k.rules.form, service: serviceOf(t.src.name), run: run, label: label, id: t.src.id,
		open: p.open, mid: t.mid, stamp: follow(t.stamp, p.last),
	}
	disturbed := 0
	for first := true; first || len(src) > 0; first = false {
		before, out := *e, m.out[:0]
		if p.lostBytes > 0 {
			out = e.note(out, t.runNumber(), lostText(m.text[:0], &p))
		}
		noted, after := len(out), *e
		var used int
		switch t.kind {
		case takeData:
			out, used = e.encode(out, src)
		case takeNote:
			out, used = e.note(out, t.run, src), len(src)
		case takeFinish:
			out = e.finish(out)
		}
		n, end, err := m.writeLog(k.fd, out, int64(p.offset), t.again)
		if err == nil {
			p.offset = uint64(end)
			p.written += uint64(n)
			p.lostBytes, p.lostLines, p.errno = 0, 0, 0
			p.open, p.last = e.open, e.stamp-1
			src = src[used:]
			k.seenAt = t.mono
			continue
		}
		if disturbed++; err == errDisturbed && disturbed < disturbances {
			if err = k.look(t.now, t.mono, false); err == nil {
				*e = before
				p.offset, p.open = k.rec.place.offset.Load(), k.rec.place.open.Load()
				e.open = p.open
				continue
			}
			n = 0
		}
		m.failed(k, err, t.mono)
		if k.rules.block {
			return p, false
		}
		// Keep what was written as far as it makes sense, drop the rest.
		if n >= noted && noted > 0 {
			p.lostBytes, p.lostLines, p.errno = 0, 0, 0
		}
		if n >= noted && t.kind == takeData {
			*e = after
			out, used = e.encode(m.out[:noted:n], src)
			src = src[used:]
			p.offset += uint64(len(out))
			p.written += uint64(len(out))
			p.open, p.last = e.open, e.stamp-1
		}
		k.cut(int64(p.offset))
		return m.refuse(t, k, p, src)
	}
	if k.trouble != nil {
		m.mended(k)
	}
	return p, true
}

// cut takes back what stands behind the end of what is kept.
func (k *sink) cut(end int64) {
	var st unix.Stat_t
	if k.fd >= 0 && unix.Fstat(k.fd, &st) == nil && st.Size > end {
		unix.Ftruncate(k.fd, end)
	}
}

// follow gives the stamp of a line that stands behind one of stamp last: later by
// a nanosecond where the clock has not moved or went back by less than a second.
func follow(stamp, last int64) int64 {
	if stamp <= last && last-stamp < int64(time.Second) {
		return last + 1
	}
	return stamp
}

// refuse is what becomes of bytes that the log does not take: they wait, go to
// the console, or are counted.
func (m *Manager) refuse(t *take, k *sink, p state, src []byte) (state, bool) {
	if k.rules.block {
		return p, false
	}
	switch t.kind {
	case takeFinish:
		if p.open == t.src.id {
			p.open = goneID
		}
	case takeData:
		if errors.As(k.trouble, &errUnusable{}) && m.console != nil {
			if !t.src.console {
				m.console.take(t, src)
			}
			break
		}
		lines := uint64(bytes.Count(src, newline))
		p.lostBytes += uint64(len(src))
		p.lostLines += lines
		p.allBytes += uint64(len(src))
		p.allLines += lines
		var errno unix.Errno
		if errors.As(k.trouble, &errno) {
			p.errno = errno
		}
	}
	return p, true
}

// lostText is the line that stands where bytes are missing.
func lostText(dst []byte, p *state) []byte {
	dst = append(dst, lostPrefix...)
	dst = strconv.AppendUint(dst, p.lostBytes, 10)
	dst = append(dst, " bytes in "...)
	dst = strconv.AppendUint(dst, max(p.lostLines, 1), 10)
	dst = append(dst, " lines"...)
	switch p.errno {
	case 0:
	case slowErrno:
		dst = append(dst, ": "+slowReason...)
	default:
		dst = append(dst, ": "...)
		dst = append(dst, p.errno.Error()...)
	}
	return dst
}

// failed notes that the log cannot be written now, and says so once.
func (m *Manager) failed(k *sink, err error, mono time.Duration) {
	if k.trouble == nil {
		k.retryWait = retryFirst
		what := "what is written meanwhile is dropped and counted"
		switch {
		case k.rules.block:
			what = "the program waits"
		case errors.As(err, &errUnusable{}) && m.console != nil:
			what = "its output goes to the console"
		}
		m.report(k.service, fmt.Sprintf("cannot write log %s: %v; %s", k.path, reason(err), what))
	} else {
		k.retryWait = min(2*k.retryWait, retryMax)
	}
	k.trouble = err
	text := reason(err).Error()
	k.troubleText.Store(&text)
	k.retryAt = mono + k.retryWait
	// Without this a program that waits for the disk would wait until another
	// log has something to do.
	m.deadline(k.retryAt)
}

func (m *Manager) mended(k *sink) {
	k.trouble = nil
	k.troubleText.Store(nil)
	m.report(k.service, fmt.Sprintf("log %s is written again", k.path))
}

// reason is the bare cause: the path is named already.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// pwriteAll writes b at off, going on after short writes.
func (m *Manager) pwriteAll(fd int, b []byte, off int64) (int, error) {
	return writeAll(m.pwrite, fd, b, off)
}

func writeAll(pwrite func(int, []byte, int64) (int, error), fd int, b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		w, err := pwrite(fd, b[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if w == 0 {
			return n, unix.ENOSPC
		}
		n += w
	}
	return n, nil
}
