package svlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/abide-project/abide/internal/model"
)

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// logLine is a line as a Manager writes it, second seconds after noon.
func logLine(second int, stream, text string) string {
	b := appendStamp(nil, model.StampRFC3339, day.Add(time.Duration(second)*time.Second).UnixNano())
	return string(b) + " 1 " + stream + " " + text + "\n"
}

func makeLog(t testing.TB, service string, files ...string) Log {
	t.Helper()
	path := filepath.Join(t.TempDir(), service, "current")
	os.MkdirAll(filepath.Dir(path), 0o755)
	for i, text := range files {
		name, data := path, []byte(text)
		if i < len(files)-1 {
			end := day.UnixNano()
			for line := range strings.Lines(text) {
				if ns, n, _ := parseStamp([]byte(line)); n > 0 {
					end = ns
				}
			}
			name = filepath.Join(filepath.Dir(path), rotatedName("current", end))
			if i == 0 && len(files) > 2 {
				var packed bytes.Buffer
				enc, _ := zstd.NewWriter(&packed)
				enc.Write(data)
				enc.Close()
				name, data = strings.TrimSuffix(name, ".log")+".log.zst", packed.Bytes()
			}
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Log{service, path}
}

func collect(t testing.TB, q Query) (texts []string, last Record) {
	t.Helper()
	if err := Read(q, func(r Record) error {
		texts = append(texts, string(r.Text))
		last = r
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return texts, last
}

func numbered(from, to int) (text string) {
	for i := from; i < to; i++ {
		text += logLine(i, "out", fmt.Sprint(i))
	}
	return text
}

func TestReadGoesThroughAllFilesOfALog(t *testing.T) {
	log := makeLog(t, "web", numbered(0, 5), numbered(5, 8), numbered(8, 10))
	got, _ := collect(t, Query{Logs: []Log{log}, Lines: -1})
	if want := "0 1 2 3 4 5 6 7 8 9"; strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
}

func TestReadLastLinesAndSince(t *testing.T) {
	log := makeLog(t, "web", numbered(0, 5), numbered(5, 8), numbered(8, 10))
	for n := range 13 {
		got, _ := collect(t, Query{Logs: []Log{log}, Lines: n})
		if want := min(n, 10); len(got) != want || (n > 0 && got[0] != fmt.Sprint(10-want)) {
			t.Errorf("last %d: %q", n, got)
		}
		got, _ = collect(t, Query{Logs: []Log{log}, Lines: -1, Since: day.Add(time.Duration(n) * time.Second)})
		if want := max(0, 10-n); len(got) != want {
			t.Errorf("since %d: %q", n, got)
		}
	}
	if got, _ := collect(t, Query{Logs: []Log{log}, Lines: 3, Since: day.Add(8 * time.Second)}); !slices.Equal(got, []string{"8", "9"}) {
		t.Errorf("last 3 since 8: %q", got)
	}
}

func TestReadLastLinesOfABigFile(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		b.WriteString(logLine(i, "out", fmt.Sprint(i, strings.Repeat("x", i%300))))
	}
	log := makeLog(t, "web", b.String())
	for _, n := range []int{1, 2, 100, 700, 4999, 5000, 6000} {
		got, last := collect(t, Query{Logs: []Log{log}, Lines: n})
		if len(got) != min(n, 5000) || !strings.HasPrefix(string(last.Text), "4999") {
			t.Errorf("last %d: %d lines", n, len(got))
		}
	}
}

func TestReadMergesServicesByTime(t *testing.T) {
	var odd, even string
	for i := range 10 {
		if line := logLine(i, "out", fmt.Sprint(i)); i%2 == 0 {
			even += line
		} else {
			odd += line
		}
	}
	logs := []Log{makeLog(t, "odd", odd), makeLog(t, "even", even), makeLog(t, "none"), {"missing", "/nonexistent/current"}}
	if got, _ := collect(t, Query{Logs: logs, Lines: -1}); strings.Join(got, "") != "0123456789" {
		t.Errorf("all: %q", got)
	}
	if got, _ := collect(t, Query{Logs: logs, Lines: 4}); strings.Join(got, "") != "6789" {
		t.Errorf("last 4: %q", got)
	}
}

func TestReadResumesBehindACursor(t *testing.T) {
	log := makeLog(t, "web", numbered(0, 5), numbered(5, 8), numbered(8, 10))
	var cursors []string
	Read(Query{Logs: []Log{log}, Lines: -1}, func(r Record) error {
		cursors = append(cursors, r.Cursor)
		return nil
	})
	for i, c := range cursors {
		got, _ := collect(t, Query{Logs: []Log{log}, After: c})
		if len(got) != 9-i || (len(got) > 0 && got[0] != fmt.Sprint(i+1)) {
			t.Errorf("after %d: %q", i, got)
		}
	}
	if err := Read(Query{Logs: []Log{log}, After: "web=nonsense"}, nil); err == nil {
		t.Error("a bad cursor was accepted")
	}
}

func TestReadJoinsPiecesAcrossFilesAndStreams(t *testing.T) {
	log := makeLog(t, "web",
		logLine(0, "out", "a")+logLine(1, "err", "e1"),
		logLine(2, "out+", "b")+logLine(3, "err", "e2")+logLine(4, "out+", "c")+logLine(5, "out", "d"))
	got, _ := collect(t, Query{Logs: []Log{log}, Lines: -1})
	if want := []string{"abc", "e1", "e2", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A reader that is cut off again before it has read as far as it had been given
// must not forget that.
func TestReadResumesBehindACursorOfAResumedReader(t *testing.T) {
	log := makeLog(t, "web",
		logLine(0, "out", "a")+logLine(1, "err", "e1")+logLine(2, "err", "e2"),
		logLine(3, "err", "e3")+logLine(4, "out+", "b")+logLine(5, "err", "e4")+logLine(6, "out+", "c")+logLine(7, "out", "d"))
	whole, _ := collect(t, Query{Logs: []Log{log}, Lines: -1})
	enough := errors.New("enough")
	for first := 1; first < len(whole); first++ {
		for second := 1; second < len(whole)-first; second++ {
			var got []string
			after, left := "", 0
			some := func(r Record) error {
				got, after = append(got, string(r.Text)), r.Cursor
				if left--; left == 0 {
					return enough
				}
				return nil
			}
			for _, left = range []int{first, second, -1} {
				q := Query{Logs: []Log{log}, Lines: -1, After: after}
				if err := Read(q, some); err != nil && err != enough {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, whole) {
				t.Errorf("cut off after %d and %d more: %q, want %q", first, second, got, whole)
			}
		}
	}
}

func TestReadGivesLinesOfUnknownForm(t *testing.T) {
	log := makeLog(t, "web", "plain\n2026-11-22 something\n{\"a\":1}\n@400 x\n\nend")
	got, last := collect(t, Query{Logs: []Log{log}, Lines: -1})
	if want := []string{"plain", "2026-11-22 something", "{\"a\":1}", "@400 x", "", "end"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if !last.Partial || last.Stream != "" {
		t.Errorf("last: %+v", last)
	}
}

func TestReadStopsWhenToldTo(t *testing.T) {
	log := makeLog(t, "web", numbered(0, 5))
	enough := errors.New("enough")
	if err := Read(Query{Logs: []Log{log}, Lines: -1}, func(Record) error { return enough }); err != enough {
		t.Errorf("got %v", err)
	}
}

// bell is a Notifier that a test rings.
type bell struct{ ch chan struct{} }

func (b *bell) ring() {
	select {
	case b.ch <- struct{}{}:
	default:
	}
}

func (b *bell) Subscribe(...string) (<-chan struct{}, func()) {
	return b.ch, func() {}
}

func TestFollowGivesWhatComesThroughRotation(t *testing.T) {
	log := makeLog(t, "web", numbered(0, 3))
	b := &bell{ch: make(chan struct{}, 1)}
	got := make(chan string)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- Follow(ctx, Query{Logs: []Log{log}, Lines: 2}, b, func(r Record) error {
			got <- string(r.Text)
			return nil
		})
	}()
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if g := <-got; g != w {
				t.Errorf("got %q, want %q", g, w)
			}
		}
	}
	add := func(text string) {
		f, err := os.OpenFile(log.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(text)
		f.Close()
	}
	expect("1", "2")
	add(logLine(3, "out", "3"))
	b.ring()
	expect("3")
	// Written and rotated, twice, before anyone looks; the first is packed away.
	add(logLine(4, "out", "4"))
	dir := filepath.Dir(log.Path)
	first := filepath.Join(dir, rotatedName("current", day.Add(4*time.Second).UnixNano()))
	os.Rename(log.Path, first)
	add(logLine(5, "out", "5"))
	os.Rename(log.Path, filepath.Join(dir, rotatedName("current", day.Add(5*time.Second).UnixNano())))
	add(logLine(6, "out", "6") + strings.TrimSuffix(logLine(7, "out", "unfin"), "\n"))
	if err := CompressFile(first); err != nil {
		t.Fatal(err)
	}
	b.ring()
	expect("4", "5", "6")
	add("ished\n")
	b.ring()
	expect("unfinished")
	cancel()
	for {
		select {
		case text := <-got:
			t.Errorf("got %q, want nothing more", text)
			continue
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Follow: %v", err)
			}
		}
		return
	}
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{
		logLine(1, "out", "x"), logLine(1, "err+", ""), "@400000006a1234560000000a 12 out tai\n",
		`{"time":"2026-11-22T17:39:00.123456789Z","service":"w","run":1,"stream":"out","text":"x","partial":true}`,
		`{"time":"2026-11-22T17:39:00.123456789Z","service":"w","run":1,"stream":"err","base64":"AAA="}`,
		"", "{", "2026-11-22T17:39:00.123456789Z", "@", "2026-11-22T17:39:00.123456789Z 18446744073709551616 out x",
	} {
		f.Add([]byte(strings.TrimSuffix(s, "\n")))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r := parseLine(line)
		if r.Stream == "" && !bytes.Equal(r.Text, line) {
			t.Errorf("%q became %q", line, r.Text)
		}
		// What is recognised says the same when it is written again.
		if r.Stream != "" && line[0] != '{' && r.Time.Year() > 1971 {
			form := model.StampRFC3339
			if line[0] == '@' {
				form = model.StampTAI64N
			}
			e := encoder{form: form2(form), run: r.Run, label: r.Stream, stamp: r.Time.UnixNano()}
			name, end := r.Stream, " "
			if r.Continued {
				end = "+ "
			}
			again := parseLine(append(e.head(nil, r.Run, name, end), r.Text...))
			if !again.Time.Equal(r.Time) || again.Run != r.Run || again.Stream != r.Stream || !bytes.Equal(again.Text, r.Text) {
				t.Errorf("%q became %+v, then %+v", line, r, again)
			}
		}
	})
}

func form2(s model.Stamp) form { return form{stamp: s} }

func FuzzParseCursors(f *testing.F) {
	f.Add("web=1.2.3")
	f.Add("web=1.2.3.-1.5~out~2.0~~1")
	f.Add("web=1.2.3.0.5~out~0~7")
	f.Add("a=zz.10.-5,b=0.0.0")
	f.Add(",=..")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseCursors(s)
		if err != nil {
			return
		}
		for name, c := range all {
			again, err := parseCursors(c.String())
			if err != nil || !reflect.DeepEqual(again[name], c) {
				t.Errorf("%q: %+v became %+v, %v", s, c, again[name], err)
			}
		}
	})
}

// Whatever is written, in whatever pieces, comes back as it was.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("hello\nworld\n\n\x00\xff"), uint8(3), uint8(0))
	f.Add([]byte("no end"), uint8(1), uint8(1))
	f.Add([]byte("{\"json\"}\n\t\\"), uint8(200), uint8(4))
	f.Fuzz(func(t *testing.T, data []byte, piece, kind uint8) {
		e := encoder{form: form{stamp: model.Stamp(kind % 2), json: kind&4 != 0}, service: "w", run: 3, label: "out", id: 2, stamp: 1e18 + 999_999_990}
		var log []byte
		for rest := data; len(rest) > 0; {
			chunk := rest[:min(len(rest), int(piece)+1)]
			rest = rest[len(chunk):]
			for len(chunk) > 0 {
				out, n := e.encode(make([]byte, 0, 2*jsonMax), chunk)
				if n == 0 {
					t.Fatal("no progress")
				}
				log = append(log, out...)
				chunk = chunk[n:]
			}
		}
		log = e.finish(log)
		var got []byte
		var last time.Time
		for line := range bytes.Lines(log) {
			r := parseLine(bytes.TrimSuffix(line, newline))
			if r.Stream != "out" || r.Run != 3 || !r.Time.After(last) {
				t.Fatalf("line %q became %+v after %v", line, r, last)
			}
			last = r.Time
			got = append(got, r.Text...)
			if !r.Partial {
				got = append(got, '\n')
			}
		}
		if want := bytes.TrimSuffix(data, newline); !bytes.Equal(bytes.TrimSuffix(got, newline), want) {
			t.Errorf("%q became %q", want, got)
		}
	})
}

func TestStampsRiseByANanosecondAcrossTheSecond(t *testing.T) {
	for _, form := range []model.Stamp{model.StampRFC3339, model.StampTAI64N} {
		start := int64(1e18 + 999_999_900)
		stamp := appendStamp(nil, form, start)
		for i := range int64(300) {
			want := appendStamp(nil, form, start+i)
			if string(stamp) != string(want) {
				t.Fatalf("form %d: %s, want %s", form, stamp, want)
			}
			if ns, n, _ := parseStamp(stamp); ns != start+i || n != len(stamp) {
				t.Fatalf("%s is read as %d, %d", stamp, ns, n)
			}
			if !bump(stamp, form) {
				stamp = appendStamp(stamp[:0], form, start+i+1)
			}
		}
	}
	if got := string(appendStamp(nil, model.StampTAI64N, 0)); got != "@400000000000000a00000000" {
		t.Errorf("the epoch is %s", got)
	}
}
