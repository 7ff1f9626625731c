package diag

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// window is how many bytes of a long source line are shown on either side of
// the column.
const window = 100

// Render writes each diagnostic with its source line, a caret below the column
// and its hint:
//
//	web.toml:2:1: error: unknown key "usr" [unknown-key]
//	    usr = "www"
//	    ^
//	hint: did you mean user?
//
// source returns the text of a file, or nil if it cannot be shown; it may be
// nil. Control characters of sources and messages never reach w. The only
// errors are those of w.
func Render(w io.Writer, l List, source func(file string) []byte) error {
	cache := map[string][]byte{}
	for _, d := range l {
		var b strings.Builder
		b.WriteString(d.String())
		b.WriteByte('\n')
		if source != nil && d.Pos.Line > 0 {
			text, seen := cache[d.Pos.File]
			if !seen {
				text = source(d.Pos.File)
				cache[d.Pos.File] = text
			}
			if line, ok := sourceLine(text, d.Pos.Line); ok {
				writeCaret(&b, line, d.Pos.Col)
			}
		}
		if d.Hint != "" {
			for i, line := range strings.Split(d.Hint, "\n") {
				if i == 0 {
					b.WriteString("hint: ")
				} else {
					b.WriteString("      ")
				}
				b.WriteString(clean(line))
				b.WriteByte('\n')
			}
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// sourceLine is line number n of text without its end.
func sourceLine(text []byte, n int) ([]byte, bool) {
	for ; n > 1; n-- {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return nil, false
		}
		text = text[i+1:]
	}
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	text = bytes.TrimSuffix(text, []byte("\r"))
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	return text, len(text) > 0
}

// writeCaret writes line and below it a caret under byte column col. A tab
// before the column stays a tab in the caret's line, so that both line up
// however wide tabs are.
func writeCaret(b *strings.Builder, line []byte, col int) {
	at := min(max(col-1, 0), len(line))
	start, end := max(at-window, 0), min(at+window, len(line))
	for start > 0 && !utf8.RuneStart(line[start]) {
		start--
	}
	for end < len(line) && !utf8.RuneStart(line[end]) {
		end++
	}
	before, after := clean(string(line[start:at])), clean(string(line[at:end]))
	lead := "    "
	if start > 0 {
		lead += "..."
	}
	b.WriteString(lead)
	b.WriteString(before)
	b.WriteString(after)
	if end < len(line) {
		b.WriteString("...")
	}
	b.WriteByte('\n')
	if col > 0 {
		b.WriteString(strings.Repeat(" ", len(lead)))
		for _, r := range before {
			if r == '\t' {
				b.WriteByte('\t')
			} else {
				b.WriteByte(' ')
			}
		}
		b.WriteString("^\n")
	}
}

// clean replaces what could steer a terminal. Tabs stay.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || (unicode.IsPrint(r) && r != utf8.RuneError) {
			return r
		}
		if r == ' ' || r == '\u00a0' {
			return ' '
		}
		return '?'
	}, s)
}
