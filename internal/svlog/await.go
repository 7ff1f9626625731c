package svlog

import "bytes"

// maxAwaited is how much of a line is looked at. What is longer is cut there.
const maxAwaited = 16 << 10

// lineWatch looks at the lines of a run while somebody waits for one of them. It
// belongs to the Manager's thread.
type lineWatch struct {
	match func(line []byte) bool
	done  func(line string)
	cut   [2][]byte // by stream: the line that is not finished
}

// look takes bytes of a stream. It reports whether a line was the one.
func (w *lineWatch) look(s stream, p []byte) bool {
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, newline)
		p = rest
		whole := line
		if kept := w.cut[s]; len(kept) > 0 || !ended {
			room := maxAwaited - len(kept)
			w.cut[s] = append(kept, line[:min(len(line), room)]...)
			whole = w.cut[s]
		} else if len(line) > maxAwaited {
			whole = line[:maxAwaited]
		}
		if !ended {
			return false
		}
		whole = bytes.TrimSuffix(whole, []byte{'\r'})
		if w.match(whole) {
			w.done(string(whole))
			return true
		}
		w.cut[s] = w.cut[s][:0]
	}
	return false
}
