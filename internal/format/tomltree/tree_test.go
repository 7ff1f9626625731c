package tomltree

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// dump writes a tree with the place of every key and value.
func dump(v *Value) string {
	var b strings.Builder
	var walk func(path string, v *Value)
	walk = func(path string, v *Value) {
		switch v.Kind {
		case Table:
			for _, f := range v.Fields {
				fmt.Fprintf(&b, "%s%s %d:%d", path, f.Key, f.Pos.Line, f.Pos.Col)
				if f.Value.Kind != Table && f.Value.Kind != Array {
					fmt.Fprintf(&b, " = %s %q %d:%d", f.Value.Describe(), f.Value.Text, f.Value.Pos.Line, f.Value.Pos.Col)
				}
				b.WriteByte('\n')
				walk(path+f.Key+".", f.Value)
			}
		case Array:
			for i, item := range v.Items {
				fmt.Fprintf(&b, "%s%d %s %q %d:%d\n", path, i, item.Describe(), item.Text, item.Pos.Line, item.Pos.Col)
				walk(fmt.Sprintf("%s%d.", path, i), item)
			}
		}
	}
	walk("", v)
	return b.String()
}

func TestEveryKeyAndValueKnowsItsPlace(t *testing.T) {
	tree, diags := Parse("f", []byte("\ufeffa = 1\r\n  b.\"c\" = 'x'\r\n[t]\r\nlist = [ true,\r\n  \"y\" ]\r\ni = { k = 2.5, d = 2020-01-02 }\r\n[[t.u]]\r\nv = -inf\r\n"))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := `a 1:1 = a number "1" 1:5
b 2:3
b.c 2:5 = a text "x" 2:11
t 3:2
t.list 4:1
t.list.0 true "true" 4:10
t.list.1 a text "y" 5:3
t.i 6:1
t.i.k 6:7 = a fraction "2.5" 6:11
t.i.d 6:16 = a date or time "2020-01-02" 6:20
t.u 7:5
t.u.0 a table "" 7:3
t.u.0.v 8:1 = -inf "-inf" 8:5
`
	if got := dump(tree); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if list := tree.Get("t").Value.Get("list").Value; list.Pos.Line != 4 || list.Pos.Col != 8 {
		t.Errorf("list at %v", list.Pos)
	}
}

func TestSlipsAreExplainedAtTheirPlace(t *testing.T) {
	for _, c := range []struct{ source, want, hint string }{
		{"umask = 022", "f:1:9: error: cannot read TOML: a number cannot begin with 0 [syntax]", `write "022" or 0o22 for an octal number`},
		{"a = 1\na = 2", "f:2:1: error: duplicate key a: it is already set in line 1 [duplicate]", ""},
		{"[t]\nx = 1\n[t]\ny = 2", "f:3:2: error: cannot read [t]: t is already set in line 1 [duplicate]", ""},
		{"t = 1\n[t.u]", "f:2:2: error: cannot read [t.u]: t is already set in line 1 [duplicate]", ""},
		{"t = {a = 1}\nt.b = 1", "f:2:1: error: cannot read t.b: t is already set in line 1 [duplicate]", ""},
		{"[t]\na.b = 1\n[t.a]\nc = 1", "f:3:4: error: cannot read [t.a]: a is already set in line 2 [duplicate]", ""},
		{"t = [1]\n[[t]]", "f:2:3: error: cannot read [[t]]: t is already set in line 1 [duplicate]", ""},
		{"timeout = 20s", "f:1:13: error: cannot read TOML: a text must stand in quotes [syntax]", ""},
		{"user = www", "f:1:8: error: cannot read TOML: a text must stand in quotes [syntax]", ""},
		{"enabled = yes", "f:1:11: error: cannot read TOML: a text must stand in quotes [syntax]", ""},
		{"enabled = no", "f:1:11: error: cannot read TOML: a text must stand in quotes [syntax]", ""},
		{"a = \"x", "f:1:6: error: cannot read TOML: unterminated basic string [syntax]", ""},
		{"a = [1,", "f:1:7: error: cannot read TOML: array is incomplete [syntax]", ""},
		{"a", "f:1:1: error: cannot read TOML: = is missing behind the key [syntax]", ""},
		{"a = 99999999999999999999", "f:1:5: error: cannot use number 99999999999999999999: it is too large [bad-value]", ""},
		{"a = 1\nb = \xff", "f:2:5: error: cannot read the file: byte 0xff is not UTF-8 [encoding]", ""},
		{"a = \x001", "f:1:5: error: cannot read the file: it holds a NUL character [encoding]", ""},
		{"\xff\xfea\x00", "f:1:1: error: cannot read the file: it is UTF-16, definitions are UTF-8 [encoding]", ""},
		{"a = " + strings.Repeat("[", 500000), "f:1:21: error: cannot read the file: lists and tables are nested more than 16 deep [too-deep]", ""},
		{"[" + strings.Repeat("a.", 20) + "a]", "f:1:2: error: cannot read the table: its name has more than 16 parts [too-deep]", ""},
		{strings.Repeat("#", MaxSize+1), "f:1:1: error: cannot read f: it has 1048577 bytes, at most 1048576 are allowed [too-large]", ""},
	} {
		_, diags := Parse("f", []byte(c.source))
		if len(diags) != 1 || diags[0].String() != c.want || c.hint != "" && diags[0].Hint != c.hint {
			t.Errorf("%.40q: got %v (hint %q)\nwant %s", c.source, diags, diags[0].Hint, c.want)
		}
	}
}

func TestAtCountsEscapesAndLines(t *testing.T) {
	for _, c := range []struct {
		source    string
		offset    int
		line, col int
	}{
		{`a = "xyz"`, 2, 1, 8},
		{`a = 'xyz'`, 0, 1, 6},
		{`a = "\txyz"`, 2, 1, 9},
		{`a = "\u00e4x"`, 2, 1, 12},
		{"a = \"\"\"\nx\ny\"\"\"", 2, 3, 1},
		{"a = \"\"\"x\\\n   y\"\"\"", 1, 1, 9},
		{"a = \"\"\"x\\\n   y\"\"\"", 2, 2, 5},
		{"a = '''\r\nx'''", 0, 2, 1},
		{`a = "x"`, 99, 1, 7},
		{`a = 17`, 1, 1, 5},
	} {
		tree, diags := Parse("f", []byte(c.source))
		if len(diags) > 0 {
			t.Fatal(diags)
		}
		if pos := tree.Get("a").Value.At(c.offset); pos.Line != c.line || pos.Col != c.col {
			t.Errorf("%q byte %d: got %v, want %d:%d", c.source, c.offset, pos, c.line, c.col)
		}
	}
}

func TestMergeLaysTablesOverEachOther(t *testing.T) {
	parse := func(s string) *Value {
		v, diags := Parse("f", []byte(s))
		if len(diags) > 0 {
			t.Fatal(diags)
		}
		return v
	}
	got := Merge(parse("a = 1\nl = [1, 2]\n[t]\nx = 1\ny = 2"), parse("l = [3]\nb = 2\n[t]\ny = 3\nz = 4"))
	want := "a 1:1 = a number \"1\" 1:5\nl 1:1\nl.0 a number \"3\" 1:6\nt 3:2\nt.x 4:1 = a number \"1\" 4:5\nt.y 4:1 = a number \"3\" 4:5\nt.z 5:1 = a number \"4\" 5:5\nb 2:1 = a number \"2\" 2:5\n"
	if d := dump(got); d != want {
		t.Errorf("got\n%s", d)
	}
	if d := dump(got.Without("t", "a")); strings.Contains(d, "t.x") || strings.Contains(d, "a ") && !strings.Contains(d, "b ") {
		t.Errorf("got\n%s", d)
	}
}

var seeds = []string{
	"", "a = 1", "[a]\nb.c = 1\n[a.d]\n[[e]]\n[[e]]\nf = {g = [1, {h = 2}], i.j = 3}", "a = \"\"\"\nx\\\n y\"\"\"", "a.b = 1\n[a]", "[a.b]\n[a]\nb.c = 1",
	"a = {b = {c = 1}}\n[a.b]", "[[a.b]]\n[a]\n[a.b]", "a = 'x'\r\n", "x = 1e5\ny = 0x1F_FF\nz = +1_0", "\"\" = 1\n'' = 2", "a = [[1], [2]]\nb = 10:00:00", "[a]\n[a.b.c]\n[a.b]", "[a]\nb.c=1\n[a.b.d]",
	"a=\"\\x41\\e\\U0001F600\"",
}

func FuzzParseAcceptsOnlyWhatAnotherReaderAccepts(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, diags := Parse("f", data)
		for _, d := range diags {
			if d.Pos.Line < 1 || d.Pos.Col < 1 {
				t.Errorf("no place: %v", d)
			}
		}
		hasDate := false
		var walk func(v *Value)
		walk = func(v *Value) {
			if v.Pos.Line < 1 || v.Pos.Col < 1 {
				t.Errorf("a value has no place")
			}
			hasDate = hasDate || v.Kind == Date
			v.At(len(v.Text) / 2)
			for _, i := range v.Items {
				walk(i)
			}
			for _, f := range v.Fields {
				walk(f.Value)
			}
		}
		walk(tree)
		var oracle map[string]any
		err := toml.Unmarshal(data, &oracle)
		if !diags.HasErrors() && err != nil && !hasDate && !strings.Contains(string(data), "\ufeff") {
			t.Errorf("accepted %q, which is wrong: %v", data, err)
		}
		if diags.HasErrors() && err == nil {
			switch diags[0].Code {
			case "too-deep", "too-large", "encoding":
			default:
				t.Errorf("refused %q: %v", data, diags)
			}
		}
	})
}
