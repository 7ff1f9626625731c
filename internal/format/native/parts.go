package native

import (
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// This file makes keys of the simple types: each pairs a reader with the writer
// that it reads back.

type dur = time.Duration

type readFunc = func(r *reader, path string, v *tomltree.Value)
type writeFunc = func(s *model.Service) string

func text(field func(*model.Service) *string) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		if s, ok := r.text(path, v); ok {
			*field(r.svc) = s
		}
	}
}

// expandable is a text in which ${...} may stand.
func expandable(field func(*model.Service) *string) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		if s, ok := r.text(path, v); ok {
			r.list = append(r.list, model.CheckExpand(s, false, v.At)...)
			*field(r.svc) = s
		}
	}
}

func textOut(get func(*model.Service) string) writeFunc {
	return func(s *model.Service) string {
		if t := get(s); t != "" {
			return quote(t)
		}
		return ""
	}
}

func boolean(field func(*model.Service) *bool) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		if b, ok := r.bool(path, v); ok {
			*field(r.svc) = b
		}
	}
}

func boolOut(get func(*model.Service) bool) writeFunc {
	return func(s *model.Service) string { return strconv.FormatBool(get(s)) }
}

func account(field func(*model.Service) *string) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		if s, ok := r.account(path, v); ok {
			*field(r.svc) = s
		}
	}
}

func duration(path, doc string, field func(*model.Service) *dur) Key {
	return Key{Path: path, Type: "duration", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			if d, ok := r.duration(path, v); ok {
				*field(r.svc) = d
			}
		},
		write: func(s *model.Service) string { return quote(model.FormatDuration(*field(s))) },
	}
}

func size(path, doc string, field func(*model.Service) *int64) Key {
	return Key{Path: path, Type: "size", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			if n, ok := r.size(path, v); ok {
				*field(r.svc) = n
			}
		},
		write: func(s *model.Service) string { return quote(model.FormatSize(*field(s))) },
	}
}

func number(path, doc string, field func(*model.Service) *int) Key {
	return Key{Path: path, Type: "number", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			if n, ok := r.int(path, v); ok {
				*field(r.svc) = n
			}
		},
		write: func(s *model.Service) string { return strconv.Itoa(*field(s)) },
	}
}

func fraction(path, doc string, field func(*model.Service) *float64) Key {
	return Key{Path: path, Type: "number", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			if f, ok := r.float(path, v); ok {
				*field(r.svc) = f
			}
		},
		write: func(s *model.Service) string { return floatOut(*field(s)) },
	}
}

func floatOut(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func optionalInt(field func(*model.Service) **int) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		if n, ok := r.int(path, v); ok {
			*field(r.svc) = &n
		}
	}
}

func optionalIntOut(get func(*model.Service) *int) writeFunc {
	return func(s *model.Service) string {
		if n := get(s); n != nil {
			return strconv.Itoa(*n)
		}
		return ""
	}
}

// choice reads one of a few words.
func choice(words map[string]func(*model.Service)) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		names := make([]string, 0, len(words))
		for w := range words {
			names = append(names, w)
		}
		if w, ok := r.word(path, v, names); ok {
			words[w](r.svc)
		}
	}
}

func oneOf(second bool, yes, no string) string {
	if second {
		return quote(yes)
	}
	return quote(no)
}

// quote writes s as a TOML basic string on one line.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x20 || r == 0x7f:
			b.WriteString(`\u00`)
			b.WriteString(strconv.FormatInt(int64(r)>>4, 16))
			b.WriteString(strconv.FormatInt(int64(r)&15, 16))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// keyOut writes a key bare where TOML allows it.
func keyOut(s string) string {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

func listOf(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func listOrNothing(items []string) string {
	if len(items) == 0 {
		return ""
	}
	return listOf(items)
}
