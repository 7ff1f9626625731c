package state

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func openKeyed(t *testing.T, path, head string) (*Keyed, map[string]string) {
	t.Helper()
	dir, err := openDir(path, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	k, values := OpenKeyed(dir, "values", head)
	text := map[string]string{}
	for key, value := range values {
		text[key] = string(value)
	}
	return k, text
}

func bytesOf(m map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for key, value := range m {
		out[key] = []byte(value)
	}
	return out
}

func TestTheLastValueOfAKeyCounts(t *testing.T) {
	path := t.TempDir()
	k, values := openKeyed(t, path, "head")
	if len(values) != 0 || !k.Stale() {
		t.Fatalf("a new file has %v", values)
	}
	want := map[string]string{"a": "1\n2\x00", "b": "", "c\td": "3"}
	if err := k.Replace(bytesOf(want)); err != nil {
		t.Fatal(err)
	}
	if err := k.Append(map[string][]byte{"a": []byte("new"), "b": nil, "e": []byte("5")}); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"a": "new", "c\td": "3", "e": "5"}
	if k, values = openKeyed(t, path, "head"); !maps.Equal(values, want) || k.Stale() {
		t.Errorf("read %v, want %v", values, want)
	}
	if _, values = openKeyed(t, path, "another head"); len(values) != 0 {
		t.Errorf("under another head there are %v", values)
	}
}

// A writer may be killed at any byte of an append, and noise may follow.
func TestEveryPrefixOfAnAppendIsTheOldOrTheNew(t *testing.T) {
	path := t.TempDir()
	k, _ := openKeyed(t, path, "head")
	if err := k.Replace(map[string][]byte{"a": []byte("old"), "b": []byte("kept")}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(path, "values")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Append(map[string][]byte{"a": []byte("new")}); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for size := len(before); size <= len(after); size++ {
		for _, noise := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\xff"} {
			if err := os.WriteFile(file, append(after[:size:size], noise...), 0o600); err != nil {
				t.Fatal(err)
			}
			k, values := openKeyed(t, path, "head")
			want := "old"
			if size == len(after) {
				want = "new"
			}
			if values["a"] != want || values["b"] != "kept" || len(values) != 2 {
				t.Fatalf("after %d bytes and %q: %v", size-len(before), noise, values)
			}
			// What cannot be appended to is written anew, and whole.
			if !k.Stale() {
				continue
			}
			if err := k.Replace(bytesOf(values)); err != nil {
				t.Fatal(err)
			}
			if k, again := openKeyed(t, path, "head"); !maps.Equal(again, values) || k.Stale() {
				t.Fatalf("written anew it has %v", again)
			}
		}
	}
}

func TestAnAppendThatFailsLeavesTheFileAsItWas(t *testing.T) {
	path := t.TempDir()
	k, _ := openKeyed(t, path, "head")
	if err := k.Append(map[string][]byte{"a": []byte("1")}); err == nil {
		t.Error("a file that is not there was appended to")
	}
	if err := k.Replace(map[string][]byte{"a": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	good := k.tail
	k.tail = full
	if err := k.Append(map[string][]byte{"a": []byte("2")}); err == nil {
		t.Error("a full disk is no error")
	}
	k.tail = good
	full.Close()
	if err := k.Append(map[string][]byte{"b": []byte("3")}); err != nil {
		t.Fatal(err)
	}
	if _, values := openKeyed(t, path, "head"); !maps.Equal(values, map[string]string{"a": "1", "b": "3"}) {
		t.Errorf("the file has %v", values)
	}
}

func FuzzKeyedIsReadWithoutPanic(f *testing.F) {
	f.Add([]byte("head\n"))
	f.Add(append([]byte("head\n"), appendKeyed(appendKeyed(nil, "a", []byte("b")), "a", nil)...))
	f.Add([]byte("head\n\xff\xff\xff\xff\xff\xff\xff\xfe\x00\x00\x00\x00"))
	path := f.TempDir()
	dir, err := openDir(path, 0o700)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(path, "values"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		k, values := OpenKeyed(dir, "values", "head")
		if len(values) > k.records {
			t.Errorf("%d values in %d records", len(values), k.records)
		}
		if k.tail != nil {
			k.tail.Close()
		}
	})
}
