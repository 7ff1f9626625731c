// Package tomltree reads TOML into a tree in which every key and every value
// knows its file, line and column. It promises that what it accepts is TOML 1.0
// (duplicates, tables closed or defined twice are refused), that it is bounded
// in size and depth, and that it never panics. It must know nothing of services.
package tomltree

import (
	"sort"
	"strings"

	"github.com/abide-project/abide/internal/diag"
)

// Limits of one document.
const (
	MaxSize  = 1 << 20 // bytes
	MaxDepth = 16      // arrays and tables inside each other
)

// Kind is what a value is.
type Kind uint8

// The kinds. Date stands for all of TOML's dates and times.
const (
	Table Kind = iota
	Array
	String
	Integer
	Float
	Bool
	Date
)

// Value is one value with its place. Only the fields of its kind are set.
type Value struct {
	Kind Kind
	Pos  diag.Pos // of the value; of the header for a [table]

	Text  string  // String: decoded; other scalars: as written
	Int   int64   // Integer
	Float float64 // Integer and Float
	Bool  bool

	Items  []*Value // Array
	Fields []*Field // Table, in order of the document
	Header bool     // a Table that a [header] opened

	literal []byte // String: as written, with its quotes
	form    form
	index   map[string]*Field // once a table has many fields
}

// Field is one key of a table.
type Field struct {
	Key   string
	Pos   diag.Pos // of the key
	Value *Value
}

// form is how a table came to be: it decides what may still be added to it.
type form uint8

const (
	implicit      form = iota // named on the way to a deeper [header]
	headed                    // by its own [header]
	dotted                    // by a dotted key
	closed                    // inline, or an array written out
	arrayOfTables             // by [[header]]
)

// manyFields is when a table gets an index instead of a search.
const manyFields = 12

// Get is the field of that key, or nil.
func (v *Value) Get(key string) *Field {
	if v == nil {
		return nil
	}
	if v.index != nil {
		return v.index[key]
	}
	for _, f := range v.Fields {
		if f.Key == key {
			return f
		}
	}
	return nil
}

func (v *Value) add(f *Field) {
	v.Fields = append(v.Fields, f)
	switch {
	case v.index != nil:
		v.index[f.Key] = f
	case len(v.Fields) > manyFields:
		v.index = make(map[string]*Field, 2*manyFields)
		for _, f := range v.Fields {
			v.index[f.Key] = f
		}
	}
}

// Describe names the kind in the words of a reader: "a number", "a list".
func (v *Value) Describe() string {
	switch v.Kind {
	case Table:
		return "a table"
	case Array:
		return "a list"
	case String:
		return "a text"
	case Integer:
		return "a number"
	case Bool:
		return v.Text
	case Date:
		return "a date or time"
	default:
		if strings.HasSuffix(v.Text, "inf") || strings.HasSuffix(v.Text, "nan") {
			return v.Text
		}
		return "a fraction"
	}
}

// Merge lays over on top of base: tables merge key by key, everything else is
// replaced. Neither argument is changed; the result shares their values.
func Merge(base, over *Value) *Value {
	if base == nil {
		return over
	}
	if over == nil {
		return base
	}
	if base.Kind != Table || over.Kind != Table {
		return over
	}
	out := &Value{Kind: Table, Pos: over.Pos, Header: over.Header}
	for _, f := range base.Fields {
		if o := over.Get(f.Key); o != nil {
			out.add(&Field{Key: f.Key, Pos: o.Pos, Value: Merge(f.Value, o.Value)})
		} else {
			out.add(f)
		}
	}
	for _, f := range over.Fields {
		if base.Get(f.Key) == nil {
			out.add(f)
		}
	}
	return out
}

// Without is a copy of a table that lacks the given keys.
func (v *Value) Without(keys ...string) *Value {
	out := &Value{Kind: v.Kind, Pos: v.Pos, Header: v.Header}
next:
	for _, f := range v.Fields {
		for _, k := range keys {
			if f.Key == k {
				continue next
			}
		}
		out.add(f)
	}
	return out
}

// lines maps byte offsets to places.
type lines struct {
	file   string
	starts []int
}

func newLines(file string, data []byte) *lines {
	l := &lines{file: file, starts: make([]int, 1, 1+len(data)/24)}
	for i, c := range data {
		if c == '\n' {
			l.starts = append(l.starts, i+1)
		}
	}
	return l
}

func (l *lines) pos(offset int) diag.Pos {
	n := sort.SearchInts(l.starts, offset+1)
	return diag.Pos{File: l.file, Line: n, Col: offset - l.starts[n-1] + 1}
}
