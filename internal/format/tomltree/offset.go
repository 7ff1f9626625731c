package tomltree

import (
	"bytes"
	"unicode/utf8"

	"github.com/abide-project/abide/internal/diag"
)

// At is the place of byte n of a String's decoded text, or that of the value if
// it is not one. Escapes and lines of the text as it was written are counted.
func (v *Value) At(n int) diag.Pos {
	if v.Kind != String || len(v.literal) < 2 {
		return v.Pos
	}
	pos, s := v.Pos, v.literal
	skip := func(k int) {
		for _, c := range s[:k] {
			if c == '\n' {
				pos.Line++
				pos.Col = 1
			} else {
				pos.Col++
			}
		}
		s = s[k:]
	}
	escapes := s[0] == '"'
	if len(s) >= 6 && s[1] == s[0] && s[2] == s[0] {
		skip(3)
		switch {
		case bytes.HasPrefix(s, []byte("\r\n")):
			skip(2)
		case bytes.HasPrefix(s, []byte("\n")):
			skip(1)
		}
	} else {
		skip(1)
	}
	for done := 0; done < n && len(s) > 1; {
		if !escapes || s[0] != '\\' {
			skip(1)
			done++
			continue
		}
		written, decoded := escape(s)
		skip(written)
		done += decoded
	}
	return pos
}

// escape tells how many bytes the escape at the start of s takes and how many it
// stands for.
func escape(s []byte) (written, decoded int) {
	digits := 0
	switch s[1] {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case ' ', '\t', '\r', '\n':
		n := 1
		for n < len(s) && bytes.IndexByte([]byte(" \t\r\n"), s[n]) >= 0 {
			n++
		}
		return n, 0
	default:
		return 2, 1
	}
	r := rune(0)
	for _, c := range s[2:min(2+digits, len(s))] {
		r = r<<4 | rune(hex(c))
	}
	return min(2+digits, len(s)), max(utf8.RuneLen(r), 1)
}

func hex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	default:
		return c - '0'
	}
}
