package svlog

import (
	"cmp"
	"slices"
	"strings"
)

// fileID tells a log's files apart. Inodes are used again soon after a file is
// gone, but never by the next file of the same log.
type fileID struct {
	after int64  // the name time of the rotated log before it
	ino   uint64 // as it was when the file was written, 0: not known
}

// pieceKey says whose a piece of a line is.
type pieceKey struct {
	run    uint64
	stream string
}

// piece is a physical line that was read, or a part of a very long one.
type piece struct {
	file   fileID
	offset int64 // of the line
	key    pieceKey
	begun  bool // the end of the log as it is now: the line may go on
	bytes  int  // of its text so far, if it is begun
	given  bool
}

// window is what has been read of a log and may not all have been given yet: a
// line that another stream interrupts is held back until its rest has come, and
// then given before what was read in between. A cursor therefore says two things:
// before which line everything was given, and how many pieces of each stream
// behind it were, too.
type window struct {
	list  []piece
	first uint64 // the number of list[0]
	given map[pieceKey]int
}

func (w *window) add(p piece) (number uint64) {
	w.list = append(w.list, p)
	return w.first + uint64(len(w.list)) - 1
}

// give marks a piece as given. Those at the front are forgotten, unless keep says
// that their line is still being read.
func (w *window) give(number uint64, keep func(piece) bool) {
	if number < w.first {
		return
	}
	p := &w.list[number-w.first]
	p.given = true
	if p.begun {
		return // it stays the last one
	}
	if w.given == nil {
		w.given = map[pieceKey]int{}
	}
	w.given[p.key]++
	n := 0
	for n < len(w.list) && w.list[n].given && !keep(w.list[n]) {
		key := w.list[n].key
		if w.given[key]--; w.given[key] == 0 {
			delete(w.given, key)
		}
		n++
	}
	w.first += uint64(n)
	if w.list = w.list[n:]; len(w.list) == 0 {
		w.list = nil
	}
}

// clear forgets everything.
func (w *window) clear() {
	w.first += uint64(len(w.list))
	w.list, w.given = nil, nil
}

// start is the first line that was not given whole, or whoever reads on if there
// is none, and what was given behind it.
func (w *window) start(next fileID, offset int64) (fileID, int64, []givenPieces) {
	if len(w.list) == 0 {
		return next, offset, nil
	}
	var given []givenPieces
	for key, n := range w.given {
		given = append(given, givenPieces{pieceKey: key, count: n})
	}
	if last := w.list[len(w.list)-1]; last.begun && last.given {
		i := slices.IndexFunc(given, func(g givenPieces) bool { return g.pieceKey == last.key })
		if i < 0 {
			i, given = len(given), append(given, givenPieces{pieceKey: last.key})
		}
		given[i].begun, given[i].bytes = true, last.bytes
	}
	slices.SortFunc(given, func(a, b givenPieces) int {
		return cmp.Or(cmp.Compare(a.run, b.run), strings.Compare(a.stream, b.stream))
	})
	return w.list[0].file, w.list[0].offset, given
}
