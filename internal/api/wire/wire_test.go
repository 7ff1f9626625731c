package wire

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/abide-project/abide/internal/control"
)

func status(t *rapid.T) control.Status {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z<>&"\\\n\x00 ]*`))
	moment := func(label string) time.Time {
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, label), rapid.Int64Range(0, 999999999).Draw(t, label+"ns")).UTC()
	}
	s := control.Status{
		Name: text.Draw(t, "name"), Service: text.Draw(t, "service"), Instance: text.Draw(t, "instance"),
		Kind: text.Draw(t, "kind"), State: text.Draw(t, "state"), Wanted: rapid.Bool().Draw(t, "wanted"),
		Enabled: rapid.Bool().Draw(t, "enabled"), Pid: rapid.Int().Draw(t, "pid"), Run: rapid.Uint64().Draw(t, "run"),
		Since: moment("since"), Ready: rapid.Bool().Draw(t, "ready"), Paused: rapid.Bool().Draw(t, "paused"),
		Restarts: rapid.Uint64().Draw(t, "restarts"), WaitingFor: rapid.SliceOfN(text, 0, 3).Draw(t, "waiting"),
		Why: text.Draw(t, "why"), Fault: text.Draw(t, "fault"), Pinned: rapid.Bool().Draw(t, "pinned"),
		Definition:  control.Definition{Path: text.Draw(t, "path"), Changed: rapid.Bool().Draw(t, "changed")},
		Containment: text.Draw(t, "containment"), Strays: rapid.SliceOfN(rapid.Int(), 0, 3).Draw(t, "strays"),
		LastOutput: rapid.SliceOfN(text, 0, 3).Draw(t, "output"),
		Log:        control.LogStatus{Path: text.Draw(t, "log"), DroppedBytes: rapid.Uint64().Draw(t, "bytes"), DroppedLines: rapid.Uint64().Draw(t, "lines")},
	}
	if rapid.Bool().Draw(t, "exited") {
		s.LastExit = &control.Exit{Run: rapid.Uint64().Draw(t, "exitrun"), At: moment("at"), Core: rapid.Bool().Draw(t, "core"),
			OOM: rapid.Bool().Draw(t, "oom"), Unknown: rapid.Bool().Draw(t, "unknown")}
		if rapid.Bool().Draw(t, "coded") {
			code := rapid.IntRange(0, 255).Draw(t, "code")
			s.LastExit.Code = &code
		} else {
			name := text.Draw(t, "signal")
			s.LastExit.Signal = &name
		}
	}
	return s
}

// reencode is what encoding/json reads back from what it wrote itself: invalid
// UTF-8 is replaced on the way.
func reencode[T any](t *rapid.T, v T) T {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestStatusIsWrittenAndReadAsEncodingJSONWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(status), 0, 3).Draw(t, "list")
		data := []byte{'['}
		for i := range list {
			data = AppendStatus(comma(data, i), &list[i])
		}
		data = append(data, "]\n"...)
		want := reencode(t, list)
		var slow []control.Status
		if err := json.Unmarshal(data, &slow); err != nil {
			t.Fatalf("not JSON: %v\n%s", err, data)
		}
		if diff := cmp.Diff(want, slow); diff != "" {
			t.Fatalf("written differently (-want +got):\n%s", diff)
		}
		s := scanner{text: string(data)}
		fast, ok := s.statuses()
		if !ok {
			t.Fatalf("the fast reader gave up on its own writer's form at byte %d:\n%s", s.at, data)
		}
		if diff := cmp.Diff(want, fast); diff != "" {
			t.Fatalf("read differently (-want +got):\n%s", diff)
		}
	})
}

func TestLogRecordIsWrittenAsEncodingJSONWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := control.LogRecord{Service: rapid.String().Draw(t, "service"), Time: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), 5).UTC(),
			Run: rapid.Uint64().Draw(t, "run"), Stream: "out", Text: string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")),
			Base64: rapid.Bool().Draw(t, "base64"), Cursor: rapid.String().Draw(t, "cursor")}
		var got control.LogRecord
		if err := json.Unmarshal(AppendLogRecord(nil, &r), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(reencode(t, r), got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEmptyListsAreNeverNull(t *testing.T) {
	got := string(AppendStatus(nil, &control.Status{}))
	var keys map[string]json.RawMessage
	if err := json.Unmarshal([]byte(got), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"waiting_for", "strays", "last_output"} {
		if string(keys[key]) != "[]" {
			t.Errorf("%s is %s, want []", key, keys[key])
		}
	}
}

func TestKeysOfANewerServerAreRead(t *testing.T) {
	list, err := DecodeStatuses([]byte(`[ {"name":"web","colour":"red","pid":7} ]`))
	if err != nil || len(list) != 1 || list[0].Name != "web" || list[0].Pid != 7 {
		t.Fatalf("got %+v, %v", list, err)
	}
}

func FuzzFastReaderAgreesWithEncodingJSON(f *testing.F) {
	code := 3
	f.Add(append(append([]byte{'['}, AppendStatus(nil, &control.Status{Name: "web", WaitingFor: []string{"a\n"}, Strays: []int{1, 2},
		LastExit: &control.Exit{Code: &code}})...), ']'))
	f.Add([]byte(`[]`))
	f.Add([]byte(`[{"name":"a","name":"b"}]`))
	f.Add([]byte(`[{"Name":"a","pid":01}]`))
	f.Add([]byte(`[{"since":"2026-11-22T17:00:00.000000001+01:00"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := scanner{text: string(data)}
		fast, ok := s.statuses()
		if !ok {
			return
		}
		var slow []control.Status
		if err := json.Unmarshal(data, &slow); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if diff := cmp.Diff(slow, fast); diff != "" {
			t.Fatal(diff)
		}
	})
}

func thousand() []byte {
	data := []byte{'['}
	for i := range 1000 {
		code := 0
		s := control.Status{Name: "service-number", Service: "service-number", Kind: "daemon", State: "running", Pid: 1000 + i,
			Since: time.Now(), Definition: control.Definition{Path: "/etc/abide/services/service-number.toml"},
			LastExit: &control.Exit{At: time.Now(), Code: &code}, Containment: "cgroup", Log: control.LogStatus{Path: "/var/log/abide/x/current"}}
		data = AppendStatus(comma(data, i), &s)
	}
	return append(data, ']')
}

func BenchmarkAppendThousand(b *testing.B) {
	for b.Loop() {
		thousand()
	}
}

func BenchmarkDecodeThousand(b *testing.B) {
	data := thousand()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := DecodeStatuses(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeThousandByReflection(b *testing.B) {
	data := thousand()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var list []control.Status
		if err := json.Unmarshal(data, &list); err != nil {
			b.Fatal(err)
		}
	}
}
