package svlog

import (
	"bytes"
	"slices"
)

const (
	textMax   = 1 << 20 // bytes of one record; longer lines are several
	joinMax   = 4096    // records held back to find the rest of a line
	joinBytes = 2 * textMax
)

// joiner puts the pieces of lines together that other streams interrupted. A
// record is held back until the next of its stream shows that it is whole, or
// until too much is held.
type joiner struct {
	held  []Record // in order; the text is the joiner's own
	whole []bool
	bytes int
}

// push adds the next record of a log.
func (j *joiner) push(r Record) {
	if r.Stream == "abide" && bytes.HasPrefix(r.Text, lostPrefix) {
		// What follows does not go on where the line before was left.
		for i := range j.whole {
			j.whole[i] = true
		}
	}
	last := -1
	if wrote(r.Stream) {
		for i := len(j.held) - 1; i >= 0; i-- {
			if !j.whole[i] && j.held[i].Stream == r.Stream && j.held[i].Run == r.Run {
				last = i
				break
			}
		}
	}
	j.bytes += len(r.Text)
	if last >= 0 {
		prev := &j.held[last]
		if (r.Continued || prev.Partial) && len(prev.Text)+len(r.Text) <= textMax {
			prev.Text = append(prev.Text, r.Text...)
			prev.more = append(prev.more, r.number)
			prev.Partial = r.Partial
			return
		}
		if r.Continued || prev.Partial {
			prev.Partial, r.Continued = true, true
		}
		j.whole[last] = true
	}
	r.Text = slices.Clone(r.Text)
	j.held = append(j.held, r)
	j.whole = append(j.whole, !wrote(r.Stream))
}

// wrote tells whether a line is a program's.
func wrote(stream string) bool { return stream != "" && stream != streamNames[streamOwn] }

// pop gives the next record that is whole; with all, whether it is or not.
func (j *joiner) pop(all bool) (Record, bool) {
	if len(j.held) == 0 || !(all || j.whole[0] || len(j.held) > joinMax || j.bytes > joinBytes) {
		return Record{}, false
	}
	r := j.held[0]
	j.bytes -= len(r.Text)
	j.held[0] = Record{}
	j.held, j.whole = j.held[1:], j.whole[1:]
	return r, true
}
