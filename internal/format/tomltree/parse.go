package tomltree

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/abide-project/abide/internal/diag"
)

// Parse reads a document. The tree is never nil; after errors it holds what was
// understood, which no one should act upon.
func Parse(file string, data []byte) (*Value, diag.List) {
	p := &parser{root: &Value{Kind: Table, Pos: diag.Pos{File: file, Line: 1, Col: 1}, form: headed, Header: true}}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) > MaxSize {
		p.list.Add(diag.Error, p.root.Pos, "too-large", "", "cannot read %s: it has %d bytes, at most %d are allowed", file, len(data), MaxSize)
		return p.root, p.list
	}
	// The parser tells the place of a piece by what is left of its capacity.
	p.data = bytes.Clone(data)
	p.data = p.data[:len(p.data):len(p.data)]
	p.lines = newLines(file, p.data)
	if p.refuse() {
		return p.root, p.list
	}
	p.parse()
	return p.root, p.list
}

type parser struct {
	data    []byte
	lines   *lines
	toml    unstable.Parser
	root    *Value
	current *Value // the table of the last header
	list    diag.List
}

func (p *parser) fail(offset int, code, hint, format string, args ...any) {
	p.list.Add(diag.Error, p.lines.pos(offset), code, hint, format, args...)
}

// refuse finds what is better said before parsing: another encoding, and
// nesting so deep that only an attack needs it.
func (p *parser) refuse() bool {
	if bytes.HasPrefix(p.data, []byte("\xff\xfe")) || bytes.HasPrefix(p.data, []byte("\xfe\xff")) {
		p.fail(0, "encoding", "save the file as UTF-8", "cannot read the file: it is UTF-16, definitions are UTF-8")
		return true
	}
	if i := bytes.IndexByte(p.data, 0); i >= 0 {
		p.fail(i, "encoding", "", "cannot read the file: it holds a NUL character")
		return true
	}
	if !utf8.Valid(p.data) {
		i := 0
		for {
			r, size := utf8.DecodeRune(p.data[i:])
			if r == utf8.RuneError && size <= 1 {
				break
			}
			i += size
		}
		p.fail(i, "encoding", "save the file as UTF-8", "cannot read the file: byte 0x%02x is not UTF-8", p.data[i])
		return true
	}
	if i := tooDeep(p.data); i >= 0 {
		p.fail(i, "too-deep", "", "cannot read the file: lists and tables are nested more than %d deep", MaxDepth)
		return true
	}
	return false
}

// tooDeep is the offset of the first bracket beyond MaxDepth, or -1. It needs to
// be right only as far as a parser would come: a string that ends with its line
// stops the parser too.
func tooDeep(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '#':
			if n := bytes.IndexByte(data[i:], '\n'); n >= 0 {
				i += n
			} else {
				return -1
			}
		case '"', '\'':
			i = skipString(data, i)
		case '[', '{':
			if depth++; depth > MaxDepth {
				return i
			}
		case ']', '}':
			depth--
		}
	}
	return -1
}

// skipString returns the offset of the last byte of the string at i.
func skipString(data []byte, i int) int {
	quote := data[i]
	if n := i + 3; n <= len(data) && data[i+1] == quote && data[i+2] == quote {
		for ; n < len(data); n++ {
			if data[n] == '\\' && quote == '"' {
				n++
				continue
			}
			if data[n] == quote && n+2 < len(data) && data[n+1] == quote && data[n+2] == quote {
				n += 2
				for n+1 < len(data) && data[n+1] == quote {
					n++
				}
				return n
			}
		}
		return len(data)
	}
	for n := i + 1; n < len(data); n++ {
		switch {
		case data[n] == '\\' && quote == '"':
			n++
		case data[n] == quote, data[n] == '\n':
			return n
		}
	}
	return len(data)
}

func (p *parser) parse() {
	p.toml.Reset(p.data)
	p.current = p.root
	for p.toml.NextExpression() {
		node := p.toml.Expression()
		switch node.Kind {
		case unstable.KeyValue:
			p.keyValue(p.current, node)
		case unstable.Table:
			p.header(node, false)
		case unstable.ArrayTable:
			p.header(node, true)
		}
	}
	if err := p.toml.Error(); err != nil {
		p.syntax(err)
	}
}

// part is one name of a dotted key.
type part struct {
	name string
	at   int
	end  int
}

func parts(it unstable.Iterator) []part {
	var out []part
	for it.Next() {
		n := it.Node()
		at := int(n.Raw.Offset)
		out = append(out, part{string(n.Data), at, at + int(n.Raw.Length)})
	}
	return out
}

// header opens [a.b] or [[a.b]].
func (p *parser) header(node *unstable.Node, array bool) {
	keys := parts(node.Key())
	table := p.root
	if len(keys) > MaxDepth {
		p.fail(keys[0].at, "too-deep", "", "cannot read the table: its name has more than %d parts", MaxDepth)
		p.current = &Value{Kind: Table}
		return
	}
	// Whatever is wrong with the header, its keys must not land elsewhere.
	p.current = &Value{Kind: Table, Pos: p.lines.pos(keys[0].at), form: headed, Header: true}
	for i, k := range keys {
		last := i == len(keys)-1
		field := table.Get(k.name)
		if field == nil {
			field = &Field{Key: k.name, Pos: p.lines.pos(k.at)}
			switch {
			case last && array:
				field.Value = &Value{Kind: Array, Pos: field.Pos, form: arrayOfTables, Items: []*Value{p.current}}
			case last:
				field.Value = p.current
			default:
				field.Value = &Value{Kind: Table, Pos: field.Pos, form: implicit, Header: true}
			}
			table.add(field)
			table = field.Value
			continue
		}
		v := field.Value
		switch {
		case last && array:
			if v.form != arrayOfTables {
				p.again(k, field, "[["+join(keys)+"]]")
				return
			}
			v.Items = append(v.Items, p.current)
		case last:
			if v.Kind != Table || v.form != implicit {
				p.again(k, field, "["+join(keys)+"]")
				return
			}
			v.form, v.Header, v.Pos = headed, true, p.current.Pos
			p.current = v
		case v.form == arrayOfTables:
			table = v.Items[len(v.Items)-1]
		case v.Kind != Table || v.form == closed:
			p.again(k, field, "["+join(keys)+"]")
			return
		default:
			table = v
		}
	}
}

func (p *parser) again(k part, first *Field, what string) {
	p.fail(k.at, "duplicate", "write everything in one place", "cannot read %s: %s is already set in line %d", what, k.name, first.Pos.Line)
}

func join(keys []part) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return strings.Join(names, ".")
}

// keyValue puts a key = value, the key perhaps dotted, below table.
func (p *parser) keyValue(table *Value, node *unstable.Node) {
	keys := parts(node.Key())
	if len(keys) > MaxDepth {
		p.fail(keys[0].at, "too-deep", "", "cannot read the key: it has more than %d parts", MaxDepth)
		return
	}
	for _, k := range keys[:len(keys)-1] {
		field := table.Get(k.name)
		switch {
		case field == nil:
			pos := p.lines.pos(k.at)
			field = &Field{Key: k.name, Pos: pos, Value: &Value{Kind: Table, Pos: pos, form: dotted}}
			table.add(field)
		case field.Value.Kind != Table || field.Value.form != dotted:
			p.again(k, field, join(keys))
			return
		}
		table = field.Value
	}
	k := keys[len(keys)-1]
	if first := table.Get(k.name); first != nil {
		p.fail(k.at, "duplicate", "keep one of the two", "duplicate key %s: it is already set in line %d", k.name, first.Pos.Line)
		return
	}
	table.add(&Field{Key: k.name, Pos: p.lines.pos(k.at), Value: p.value(node.Value(), p.valueOffset(k.end))})
}

// valueOffset is where the value behind the key that ends at i begins.
func (p *parser) valueOffset(i int) int {
	for i < len(p.data) && (p.data[i] == ' ' || p.data[i] == '\t' || p.data[i] == '=') {
		i++
	}
	return i
}

// value converts a node. Lists carry no place of their own, so the caller tells
// where they begin.
func (p *parser) value(node *unstable.Node, at int) *Value {
	if node.Raw.Length > 0 {
		at = int(node.Raw.Offset)
	}
	v := &Value{Pos: p.lines.pos(at)}
	switch node.Kind {
	case unstable.String:
		v.Kind, v.Text, v.literal = String, string(node.Data), p.toml.Raw(node.Raw)
	case unstable.Bool:
		v.Kind, v.Text = Bool, string(node.Data)
		v.Bool = v.Text == "true"
	case unstable.Integer:
		v.Kind, v.Text = Integer, string(node.Data)
		n, err := strconv.ParseInt(strings.TrimPrefix(v.Text, "+"), 0, 64)
		if err != nil {
			p.fail(at, "bad-value", "", "cannot use number %s: it is too large", v.Text)
		}
		v.Int, v.Float = n, float64(n)
	case unstable.Float:
		v.Kind, v.Text = Float, string(node.Data)
		f, err := strconv.ParseFloat(strings.ReplaceAll(v.Text, "_", ""), 64)
		if err != nil && !math.IsInf(f, 0) {
			p.fail(at, "bad-value", "", "cannot use number %s", v.Text)
		}
		v.Float = f
	case unstable.Array:
		v.Kind, v.form = Array, closed
		next := at
		for it := node.Children(); it.Next(); {
			item := p.value(it.Node(), next)
			next = at
			v.Items = append(v.Items, item)
		}
	case unstable.InlineTable:
		v.Kind = Table
		v.form = headed
		for it := node.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				p.keyValue(v, it.Node())
			}
		}
		v.form = closed
		seal(v)
	default:
		v.Kind, v.Text = Date, string(node.Data)
	}
	return v
}

// seal closes the tables that dotted keys made inside an inline table.
func seal(v *Value) {
	for _, f := range v.Fields {
		if f.Value.Kind == Table {
			f.Value.form = closed
			seal(f.Value)
		}
	}
}

// syntax turns the parser's error into one of ours at its place.
func (p *parser) syntax(err error) {
	offset := 0
	var perr *unstable.ParserError
	if errors.As(err, &perr) {
		offset = min(max(cap(p.data)-cap(perr.Highlight), 0), len(p.data))
	}
	if offset == len(p.data) && offset > 0 {
		offset--
	}
	message, hint := explain(err.Error(), p.data, offset)
	p.fail(offset, "syntax", hint, "cannot read TOML: %s", message)
}

// explain adds what to write instead to the slips that people make.
func explain(message string, data []byte, offset int) (string, string) {
	switch {
	case strings.Contains(message, "leading zeroes"):
		end := offset
		for end < len(data) && data[end] >= '0' && data[end] <= '9' {
			end++
		}
		digits := string(data[offset:end])
		return "a number cannot begin with 0", "write \"" + digits + "\" or 0o" + strings.TrimLeft(digits, "0") + " for an octal number"
	case strings.Contains(message, "strings must be quoted"):
		return "a text must stand in quotes", `as in timeout = "20s"`
	case strings.Contains(message, "at start of value"), strings.HasPrefix(message, "expected keyword"), strings.HasPrefix(message, "expected \"inf\""), strings.HasPrefix(message, "expected \"nan\""):
		return "a text must stand in quotes", `as in user = "www"; only true, false and numbers stand without`
	case strings.HasPrefix(message, "expected newline"):
		return message, "one key = value stands on one line; a text with quotes inside is best put in '...'"
	case strings.Contains(message, "basic strings cannot have new lines"), strings.Contains(message, "literal strings cannot have new lines"):
		return "a text in quotes ends before its line does", `close the quotes, or use """ for a text of several lines`
	case strings.Contains(message, "invalid escape"):
		return message, `write \\ for the character itself, or put the text in '...' where \ has no meaning`
	case strings.HasPrefix(message, "expected '=' after key"):
		return "= is missing behind the key", `as in user = "www"`
	}
	return message, ""
}
