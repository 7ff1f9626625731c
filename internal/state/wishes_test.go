package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)

func load(t *testing.T, run, state *Dir, boot string) *Wishes {
	t.Helper()
	w, problems := LoadWishes(run, state, boot)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return w
}

func TestWishesSurviveTheEngineAndEnabledSurvivesTheBoot(t *testing.T) {
	run, state := openRun(t).Dir, openState(t)
	w := load(t, run, state, "boot 1")
	want := map[string]Wish{
		"held":     {Stopped: true, By: 1000, At: noon},
		"disabled": {Enabled: No, By: 0, At: noon},
		"both":     {Enabled: Yes, Stopped: true, By: 7, At: noon},
		"released": {Stopped: true, Released: Released{Pid: 411, Start: 98765, Run: 3}, By: 7, At: noon},
		"started":  {Enabled: No, Started: true, By: 7, At: noon},
	}
	for name, wish := range want {
		if err := w.Set(name, wish); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"gone", "never"} {
		if err := w.Set(name, Wish{Stopped: true, Enabled: No, At: noon}); err != nil {
			t.Fatal(err)
		}
		if err := w.Set(name, Wish{}); err != nil {
			t.Fatal(err)
		}
	}
	w = load(t, run, state, "boot 1")
	for name, wish := range want {
		if got := w.Get(name); got != wish {
			t.Errorf("%s: got %+v, want %+v", name, got, wish)
		}
	}
	if got := w.Names(); len(got) != len(want) {
		t.Errorf("there are wishes about %v", got)
	}

	w = load(t, run, state, "boot 2")
	for name, wish := range want {
		if got := w.Get(name); got.Enabled != wish.Enabled || got.Stopped || got.Started || got.Released != (Released{}) {
			t.Errorf("after a boot %s: got %+v", name, got)
		}
	}
	if err := w.Set("held", Wish{Stopped: true, At: noon}); err != nil {
		t.Fatal(err)
	}
	if w = load(t, run, state, "boot 2"); !w.Get("held").Stopped || w.Get("both").Stopped {
		t.Error("wishes of the boot before are mixed with those of this one")
	}
}

func TestFieldsOfALaterAbideAreKept(t *testing.T) {
	run, state := openRun(t).Dir, openState(t)
	const stored = `{"version":9,"boot":"b","future":[1]}
{"name":"web","stopped":true,"by":1,"at":"2026-03-01T12:00:00Z","why":"later"}
{"name":"db","mood":"good"}
`
	if err := run.WriteFile("wishes", []byte(stored), 0o600); err != nil {
		t.Fatal(err)
	}
	w := load(t, run, state, "b")
	if !w.Get("web").Stopped {
		t.Error("the wish about web is not known")
	}
	for _, name := range []string{"web", "db"} {
		if err := w.Set(name, Wish{Stopped: true, By: 5, At: noon}); err != nil {
			t.Fatal(err)
		}
		if err := w.Set(name, Wish{}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := run.ReadFile("wishes", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	head, lines, err := parseWishes(data)
	if err != nil || string(head["version"]) != "9" || string(head["future"]) != "[1]" {
		t.Errorf("the first line became %s, %v", head, err)
	}
	want := map[string]json.RawMessage{"web": json.RawMessage(`{"why":"later"}`), "db": json.RawMessage(`{"mood":"good"}`)}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("lines became %s, want %s", lines, want)
	}
}

func TestAFileThatIsNotUnderstoodIsSetAside(t *testing.T) {
	const head = `{"version":1,"boot":"b"}` + "\n"
	const web = `{"name":"web","stopped":true,"by":1,"at":"2026-03-01T12:00:00Z"}` + "\n"
	for content, known := range map[string]bool{
		"":                            false,
		"\x00\x00\x00":                false,
		"null\n":                      false,
		"[]\n" + web:                  false,
		head + "{\"name\":7}\n" + web: true,
		head + web + "rubbish\n":      true,
		head + "{}\n" + web:           true,
	} {
		run := openRun(t).Dir
		if err := run.WriteFile("wishes", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		w, problems := LoadWishes(run, nil, "b")
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), "wishes.bad") {
			t.Errorf("%q: problems are %v", content, problems)
		}
		if got := w.Get("web").Stopped; got != known {
			t.Errorf("%q: web is stopped: %v, want %v", content, got, known)
		}
		if bad, err := run.ReadFile("wishes.bad", 1<<20); err != nil || string(bad) != content {
			t.Errorf("%q is kept as %q, %v", content, bad, err)
		}
		if w = load(t, run, nil, "b"); w.Get("web").Stopped != known {
			t.Errorf("%q: what was understood did not survive", content)
		}
	}
}

func TestAWriterKilledAtAnyByteLeavesTheOldOrTheNewWish(t *testing.T) {
	run := openRun(t).Dir
	w := load(t, run, nil, "b")
	var sizes []int
	for i := range 4 {
		if err := w.Set("web", Wish{Stopped: i%2 == 0, Started: i%2 == 1, By: i, At: noon}); err != nil {
			t.Fatal(err)
		}
		data, _ := run.ReadFile("wishes", 1<<20)
		sizes = append(sizes, len(data))
	}
	whole, err := run.ReadFile("wishes", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for n := sizes[0]; n <= len(whole); n++ {
		if last < 3 && n == sizes[last+1] {
			last++
		}
		if err := run.WriteFile("wishes", whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got := load(t, run, nil, "b").Get("web")
		if got.By != last && !(last < 3 && n == sizes[last+1]-1 && got.By == last+1) {
			t.Fatalf("cut to %d bytes: got %+v, want wish %d", n, got, last)
		}
	}
}

func TestAThousandWishesAtOnceCostOneAppendEach(t *testing.T) {
	run := openRun(t).Dir
	w := load(t, run, nil, "b")
	size := func() int64 {
		info, err := os.Stat(filepath.Join(run.Path(), "wishes"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for round := range 5 {
		for i := range 1000 {
			if err := w.Set(fmt.Sprint("s", i), Wish{Stopped: true, By: round, At: noon}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Never much more than what counts, and the thousand that may be spare.
	if limit := int64(100 * (2*1000 + 2*spareLines)); size() > limit {
		t.Errorf("the file has grown to %d bytes", size())
	}
	again := load(t, run, nil, "b")
	if got := again.Get("s999"); got.By != 4 || len(again.Names()) != 1000 {
		t.Errorf("got %+v of %d", got, len(again.Names()))
	}
}

func TestAWishHoldsWhenItCannotBeStored(t *testing.T) {
	// /dev/full stands for a full disk.
	run := openRun(t).Dir
	w := load(t, run, nil, "b")
	if err := w.Set("web", Wish{Stopped: true, At: noon}); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.orders.tail.Close()
	w.orders.tail = full
	if err := w.Set("db", Wish{Stopped: true, At: noon}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
	if !w.Get("db").Stopped {
		t.Error("the wish does not hold")
	}
	// There is room again: whatever is stored next stores this as well.
	if err := w.Set("web", Wish{Stopped: true, By: 3, At: noon}); err != nil {
		t.Fatal(err)
	}
	if !load(t, run, nil, "b").Get("db").Stopped {
		t.Error("the wish was not stored when there was room again")
	}
}

func TestWishesInMemoryNeedNoDirectory(t *testing.T) {
	w := load(t, nil, nil, "")
	if err := w.Set("web", Wish{Enabled: No, Stopped: true, At: noon}); err != nil {
		t.Fatal(err)
	}
	if got := w.Get("web"); got.Enabled != No || !got.Stopped {
		t.Errorf("got %+v", got)
	}
}

func FuzzParseWishes(f *testing.F) {
	f.Add([]byte("{\"version\":1,\"boot\":\"b\"}\n{\"name\":\"web\",\"stopped\":true}\n"))
	f.Add([]byte("{}\n{\"name\":\"web\"}\n{\"name\":"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		head, lines, err := parseWishes(data)
		if err != nil || head == nil {
			return
		}
		file := &wishFile{head: head, lines: lines}
		encoded, err := file.encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		_, again, err := parseWishes(encoded)
		if err != nil || !reflect.DeepEqual(lines, again) {
			t.Errorf("%q became %q: %v", data, encoded, err)
		}
	})
}
