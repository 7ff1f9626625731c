package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog/svlogtest"
)

// interrupted is a log in several files, of two streams that interrupt each
// other's lines, with notes.
func interrupted(t *testing.T, in *instance, change func(*model.Log)) {
	t.Helper()
	p := in.begin("web", 1, fileSpec(change))
	for i := range 40 {
		out := append(svlogtest.Line(nil, "out", i, true), '\n')
		errs := append(svlogtest.Line(nil, "err", i, true), '\n')
		for _, piece := range []struct {
			to   *end
			text []byte
		}{{p.out, out[:2]}, {p.err, errs[:len(errs)-3]}, {p.out, out[2:5]}, {p.err, errs[len(errs)-3:]}, {p.out, out[5:]}} {
			piece.to.Write(piece.text)
			in.barrier()
			if i%9 == 8 && len(piece.text) == 3 {
				in.m.Rotate("web")
				in.barrier()
			}
		}
	}
	in.end("web", 1, p)
}

// A reader that stops behind any record, and another that goes on at its cursor,
// have everything between them, once; also when logs were compressed meanwhile.
func TestReadersResumeBehindAnyRecordWithNothingTwice(t *testing.T) {
	forms := map[string]func(*model.Log){
		"text": func(*model.Log) {}, "json": func(l *model.Log) { l.JSON = true },
		"tai64n": func(l *model.Log) { l.Stamp = model.StampTAI64N },
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			in := newInstance(t)
			in.open()
			interrupted(t, in, form)
			whole := in.records("web")
			resume := func() {
				for i, r := range whole {
					n := i + 1
					err := Read(Query{Logs: []Log{{"web", in.path("web")}}, After: r.Cursor}, func(again Record) error {
						if n == len(whole) || string(again.Text) != string(whole[n].Text) || again.Stream != whole[n].Stream {
							return fmt.Errorf("record %d behind record %d is %s %q", n, i, again.Stream, again.Text)
						}
						n++
						return nil
					})
					if err != nil || n != len(whole) {
						t.Fatalf("behind record %d (%s): %d of %d, %v", i, r.Cursor, n, len(whole), err)
					}
				}
			}
			resume()
			for _, log := range rotated(t, in.path("web")) {
				if err := CompressFile(filepath.Join(filepath.Dir(in.path("web")), log.name)); err != nil {
					t.Fatal(err)
				}
			}
			resume()
		})
	}
}

// A line that was not finished when it was read is gone on with, wherever it was
// cut.
func TestReaderGoesOnWithinALine(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	after, got := "", ""
	for _, text := range []string{"first\nbeg", "un and", "", " ended\n", "next\n\n", "la", "st\n"} {
		p.out.WriteString(text)
		in.barrier()
		if err := Read(Query{Logs: []Log{{"web", in.path("web")}}, After: after, Lines: -1}, func(r Record) error {
			if r.Continued {
				got += "+"
			}
			if got += string(r.Text); r.Partial {
				got += "-"
			}
			got += "|"
			after = r.Cursor
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	in.end("web", 1, p)
	if want := "first|beg-|+un and-|+ ended|next||la-|+st|"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCursorIntoARemovedLogSaysSoAndGoesOn(t *testing.T) {
	in := newInstance(t)
	in.open()
	interrupted(t, in, func(*model.Log) {})
	whole := in.records("web")
	logs := rotated(t, in.path("web"))
	if len(logs) < 3 {
		t.Fatalf("%d rotated logs", len(logs))
	}
	dir := filepath.Dir(in.path("web"))
	for _, log := range logs[:2] {
		os.Remove(filepath.Join(dir, log.name))
	}
	rest := in.records("web")
	var got []Record
	if err := Read(Query{Logs: []Log{{"web", in.path("web")}}, After: whole[1].Cursor}, func(r Record) error {
		got = append(got, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(rest)+1 || got[0].Stream != "abide" || !strings.Contains(string(got[0].Text), "may be missing") {
		t.Fatalf("%d records, want %d and a note; the first is %+v", len(got), len(rest), got[0])
	}
	for i, r := range rest {
		if string(got[i+1].Text) != string(r.Text) {
			t.Fatalf("record %d is %q, want %q", i, got[i+1].Text, r.Text)
		}
	}
	// A reader that was at the very end of what is gone still learns of it.
	if !got[1].Time.After(got[0].Time) {
		t.Errorf("the note is of %s, what follows of %s", got[0].Time, got[1].Time)
	}
}

// The inode of a removed log is soon another's.
func TestCursorIsNotMistakenForAPlaceInALaterFile(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec(func(l *model.Log) { l.Keep = 1 }))
	p.out.WriteString("the first\n")
	in.barrier()
	at := in.records("web")[0].Cursor
	for i := range 20 {
		fmt.Fprintf(p.out, "line %d and some more of it\n", i)
		in.barrier()
		in.m.Rotate("web")
		in.barrier()
	}
	p.out.WriteString("the last\n")
	in.end("web", 1, p)
	var got []string
	if err := Read(Query{Logs: []Log{{"web", in.path("web")}}, After: at}, func(r Record) error {
		got = append(got, string(r.Text))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != goneText || got[1] != "line 19 and some more of it" || got[2] != "the last" {
		t.Errorf("got %q", got)
	}
}
