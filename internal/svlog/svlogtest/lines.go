// Package svlogtest makes output that can be told apart byte by byte, and proves
// that a log has all of it, once, in order, with nothing torn. It is for tests of
// svlog, and of everything that carries logs, and knows none of their types.
package svlogtest

import (
	"bytes"
	"fmt"
	"io"
)

// Longest is the length of the longest lines, in bytes.
const Longest = 150 << 10

// Line appends line number i of a stream, without its newline. Most are short,
// some are longer than a page, few longer than a pipe; some have NUL bytes and
// bytes that are not UTF-8. Small leaves out the long ones.
func Line(dst []byte, stream string, i int, small bool) []byte {
	start := len(dst)
	dst = fmt.Appendf(dst, "%s %d ", stream, i)
	r := mix(uint64(i)*2 + uint64(len(stream)&1) + uint64(stream[0])<<32)
	size := int(r >> 8 % 200)
	switch {
	case small:
	case i%5000 == 4321:
		size = Longest - int(r%1000)
	case i%97 == 13:
		size = 3000 + int(r%9000)
	}
	for len(dst)-start < size {
		r = mix(r)
		for shift := 0; shift < 64; shift += 8 {
			c := byte(r >> shift)
			if i%11 != 5 {
				c = 'a' + c%26
			} else if c == '\n' {
				c = 0
			}
			dst = append(dst, c)
		}
	}
	return dst
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Writer writes lines to one stream in pieces that have nothing to do with where
// lines end.
type Writer struct {
	To     io.Writer
	Stream string
	Small  bool // no long lines
	Next   int  // the number of the next line
	buf    []byte
	chunk  uint64
}

// Lines writes n more lines and leaves nothing in a buffer.
func (w *Writer) Lines(n int) error {
	for range n {
		w.buf = append(Line(w.buf, w.Stream, w.Next, w.Small), '\n')
		w.Next++
		if len(w.buf) >= 64<<10 {
			if err := w.pieces(false); err != nil {
				return err
			}
		}
	}
	return w.pieces(true)
}

// pieces writes what is buffered; without all, it may leave the end.
func (w *Writer) pieces(all bool) error {
	b := w.buf
	for len(b) > 0 {
		w.chunk++
		n := [...]int{1, 4096, 117, 65536, 700, 30000, 13, 2500}[mix(w.chunk)%8]
		if n > len(b) {
			if !all {
				break
			}
			n = len(b)
		}
		if _, err := w.To.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	w.buf = append(w.buf[:0], b...)
	return nil
}

// Record is what a log has of a line.
type Record struct {
	Stream    string // "out", "err", or "abide" for a note
	Text      []byte
	Continued bool // it goes on with a line that was begun before
}

// Check proves, record by record, that a log has what Writers wrote.
type Check struct {
	Small bool // as the Writers
	// Drops allows bytes to be missing where a note counts them. Such a log may
	// have one stream only.
	Drops   bool
	Dropped int // bytes, as the notes said
	Gaps    int // notes that said that a log was removed: each allows a gap
	streams map[string]*progress
}

// progress is how far a stream was found.
type progress struct {
	next  int     // the line that is due, or was seen in part
	at    int     // how many bytes of it were seen
	line  []byte  // that line, without newline
	have  int     // the line that line is, -1: none
	maybe []place // after a drop: where the stream may go on
	gap   bool    // it may go on at any later line
}

// place is before a byte of a line; the byte behind its last one is its newline.
type place struct{ line, at int }

func (c *Check) stream(name string) *progress {
	if c.streams == nil {
		c.streams = map[string]*progress{}
	}
	p := c.streams[name]
	if p == nil {
		p = &progress{have: -1}
		c.streams[name] = p
	}
	return p
}

func (c *Check) text(name string, p *progress, line int) []byte {
	if p.have != line {
		p.line, p.have = Line(p.line[:0], name, line, c.Small), line
	}
	return p.line
}

// Lines is how many whole lines of a stream were found.
func (c *Check) Lines(name string) int {
	p := c.stream(name)
	if len(p.maybe) == 0 && p.at > 0 && p.at == len(c.text(name, p, p.next)) {
		return p.next + 1
	}
	return p.next
}

// Add checks the next record of the log.
func (c *Check) Add(r Record) error {
	switch r.Stream {
	case "abide":
		return c.note(string(r.Text))
	case "out", "err":
	default:
		return fmt.Errorf("a torn line: %.200q (%d bytes)", r.Text, len(r.Text))
	}
	p := c.stream(r.Stream)
	if p.gap && !r.Continued {
		var name string
		var n int
		if k, _ := fmt.Sscanf(string(r.Text), "%s %d", &name, &n); k == 2 && n >= p.next {
			p.next, p.at, p.gap = n, 0, false
		}
	}
	places := p.maybe
	if len(places) == 0 {
		places = []place{{p.next, p.at}}
		if !r.Continued && p.at > 0 && p.at == len(c.text(r.Stream, p, p.next)) {
			places[0] = place{p.next + 1, 0}
		}
	}
	for _, q := range places {
		if r.Continued != (q.at > 0) {
			continue
		}
		text := c.text(r.Stream, p, q.line)
		if !bytes.HasPrefix(text[min(q.at, len(text)):], r.Text) || len(r.Text) == 0 && !r.Continued {
			continue
		}
		p.next, p.at, p.maybe = q.line, q.at+len(r.Text), nil
		return nil
	}
	q := places[0]
	text := c.text(r.Stream, p, q.line)
	return fmt.Errorf("%s line %d from byte %d of %d on: the log has %.100q (%d bytes, continued: %v), want %.100q",
		r.Stream, q.line, q.at, len(text), r.Text, len(r.Text), r.Continued, text[min(q.at, len(text)):])
}

func (c *Check) note(text string) error {
	if bytes.HasPrefix([]byte(text), []byte("lines may be missing here")) {
		c.Gaps++
		for _, p := range c.streams {
			p.gap = true
		}
		return nil
	}
	var n, lines int
	if k, _ := fmt.Sscanf(text, "dropped %d bytes in %d lines", &n, &lines); k != 2 {
		return nil
	}
	if !c.Drops {
		return fmt.Errorf("the log says %q", text)
	}
	c.Dropped += n
	p := c.stream("out")
	from := p.maybe
	if len(from) == 0 {
		from = []place{{p.next, p.at}}
		if p.at > 0 && p.at == len(c.text("out", p, p.next)) {
			from = append(from, place{p.next + 1, 0}) // its newline is not among what was dropped
		}
	}
	p.maybe = nil
	for _, q := range from {
		for rest := n; rest > 0; {
			left := len(c.text("out", p, q.line)) + 1 - q.at
			if rest < left {
				q.at += rest
				break
			}
			rest -= left
			q = place{q.line + 1, 0}
		}
		p.maybe = append(p.maybe, q)
	}
	return nil
}
