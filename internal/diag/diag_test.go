package diag

import (
	"bytes"
	"strings"
	"testing"
)

func render(t *testing.T, d Diagnostic, source string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, List{d}, func(string) []byte { return []byte(source) }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRenderShowsLineCaretAndHint(t *testing.T) {
	got := render(t, Diagnostic{Pos{"web.toml", 2, 1}, Error, "unknown-key", `unknown key "usr"`, "did you mean user?"},
		"command = \"x\"\nusr = \"www\"\n")
	want := "web.toml:2:1: error: unknown key \"usr\" [unknown-key]\n    usr = \"www\"\n    ^\nhint: did you mean user?\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestCaretKeepsTabsAndCountsRunes(t *testing.T) {
	got := render(t, Diagnostic{Pos: Pos{"f", 1, 7}, Message: "m"}, "\tä\tx y")
	want := "f:1:7: note: m\n    \tä\tx y\n    \t \t  ^\n"
	if got != want {
		t.Errorf("got %q want %q", got, want)
	}
}

func TestRenderCutsLongLinesAroundTheColumn(t *testing.T) {
	got := render(t, Diagnostic{Pos: Pos{"f", 1, 5001}, Message: "m"}, strings.Repeat("a", 5000)+"X"+strings.Repeat("b", 5000))
	lines := strings.Split(got, "\n")
	if len(lines[1]) > 2*window+20 || !strings.HasPrefix(lines[1], "    ...") || !strings.HasSuffix(lines[1], "...") {
		t.Errorf("line not cut: %d bytes", len(lines[1]))
	}
	if at := strings.Index(lines[2], "^"); lines[1][at] != 'X' {
		t.Errorf("caret below %q", lines[1][at])
	}
}

func TestRenderNeverPassesControlCharactersOn(t *testing.T) {
	got := render(t, Diagnostic{Pos: Pos{"a\x1b[2J", 1, 2}, Message: "bad \x1b[31m", Hint: "x\x07y\nsecond"}, "\x1b]0;title\x07 = 1\xff")
	if strings.ContainsAny(got, "\x1b\x07") || strings.Contains(got, "\xff") {
		t.Errorf("control characters in %q", got)
	}
}

func TestRenderWithoutSourceOrPlace(t *testing.T) {
	got := render(t, Diagnostic{Pos: Pos{"f", 9, 1}, Severity: Warning, Message: "m"}, "one line")
	if got != "f:9:1: warning: m\n" {
		t.Errorf("got %q", got)
	}
	var b bytes.Buffer
	if err := Render(&b, List{{Severity: Error, Message: "m"}}, nil); err != nil || b.String() != "error: m\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestSortIsByPlaceThenSeverity(t *testing.T) {
	l := List{{Pos: Pos{"b", 1, 1}}, {Pos: Pos{"a", 2, 1}}, {Pos: Pos{"a", 1, 9}}, {Pos: Pos{"a", 1, 9}, Severity: Error}}
	l.Sort()
	if l[0].Severity != Error || l[1].Pos.Line != 1 || l[2].Pos.Line != 2 || l[3].Pos.File != "b" {
		t.Errorf("got %v", l)
	}
}

func TestErrNamesTheFirstAndCountsTheRest(t *testing.T) {
	var l List
	l.Add(Warning, Pos{}, "", "", "w")
	if l.Err() != nil || l.HasErrors() {
		t.Error("a warning is no error")
	}
	l.Add(Error, Pos{"f", 1, 1}, "c", "", "first %d", 1)
	l.Add(Error, Pos{}, "", "", "second")
	if got := l.Err().Error(); got != "f:1:1: error: first 1 [c] (and 1 more)" {
		t.Error(got)
	}
}

func TestNearestFindsSlips(t *testing.T) {
	known := []string{"user", "umask", "command", "environment", "environment_files", "restart"}
	for word, want := range map[string]string{
		"usr": "user", "comand": "command", "Command": "command", "enviroment": "environment", "environment-files": "environment_files",
		"rsetart": "restart", "zzz": "", "x": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("a = 1\n\tb", "msg", 2, 2)
	f.Add("\xff\xfe\r\n", "\x1b", 1, 900)
	f.Fuzz(func(t *testing.T, source, msg string, line, col int) {
		if line > 1<<20 {
			return
		}
		got := render(t, Diagnostic{Pos: Pos{"f", line, col}, Message: msg}, source)
		if strings.ContainsAny(got, "\x1b\r\x00") {
			t.Errorf("control characters in %q", got)
		}
	})
}
