package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func openArchive(t *testing.T, dir *Dir) *Archive {
	t.Helper()
	return OpenArchive(dir, func(err error) { t.Errorf("reported: %v", err) })
}

func keep(t *testing.T, a *Archive, name, definition string) {
	t.Helper()
	if err := a.Keep(Version{Name: name, At: noon, By: 7, Verb: "apply", Keys: []string{"command"}, Definition: []byte(definition)}); err != nil {
		t.Fatal(err)
	}
}

// shelf is what an archive has of a service, as text.
func shelf(t *testing.T, a *Archive, name string) string {
	t.Helper()
	list, err := a.List(name)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, v := range list {
		whole, err := a.Get(name, v.Number)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%d=%s ", v.Number, whole.Definition)
	}
	return text
}

func TestAnArchiveKeepsWhatDiffersFromTheLastOne(t *testing.T) {
	dir := openState(t)
	a := openArchive(t, dir)
	for _, definition := range []string{"one", "one", "two", "one"} {
		keep(t, a, "web", definition)
	}
	keep(t, a, "db", "one")
	for _, a := range []*Archive{a, openArchive(t, dir)} {
		if got := shelf(t, a, "web") + shelf(t, a, "db") + shelf(t, a, "none"); got != "1=one 2=two 3=one 1=one " {
			t.Errorf("kept is %q", got)
		}
		v, err := a.Get("web", 2)
		if err != nil || !v.At.Equal(noon) || v.By != 7 || v.Verb != "apply" || len(v.Keys) != 1 || len(v.Digest) != 32 {
			t.Errorf("%+v, %v", v, err)
		}
		if _, err := a.Get("web", 4); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not there: %v", err)
		}
	}
}

func TestAnArchiveForgetsTheOldestAndItsFileStaysSmall(t *testing.T) {
	dir := openState(t)
	a := openArchive(t, dir)
	large := string(make([]byte, 50<<10))
	for i := range 200 {
		keep(t, a, "web", fmt.Sprint(i, large))
	}
	for _, a := range []*Archive{a, openArchive(t, dir)} {
		list, err := a.List("web")
		if err != nil || len(list) != ArchiveKeeps || list[0].Number != 181 || list[ArchiveKeeps-1].Number != 200 {
			t.Fatalf("%d are kept, %v", len(list), err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir.Path(), archiveName)); err != nil || info.Size() > 5<<20 || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// A record is behind those before it, so power that goes while it is written leaves
// a beginning of it, or zeros of its length.
func TestAPowerCutLeavesEverySnapshotThatWasKept(t *testing.T) {
	dir := openState(t)
	a := openArchive(t, dir)
	keep(t, a, "web", "one")
	path := filepath.Join(dir.Path(), archiveName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, a, "web", "two")
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(before); n <= len(after); n++ {
		for _, zeros := range []bool{false, true} {
			data := append([]byte(nil), after[:n]...)
			if zeros {
				data = append(data, make([]byte, len(after)-n)...)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			b := openArchive(t, dir)
			want := "1=one "
			if n == len(after) {
				want = "1=one 2=two "
			}
			if got := shelf(t, b, "web"); got != want {
				t.Fatalf("cut at %d of %d (zeros: %v): %q, want %q", n, len(after), zeros, got, want)
			}
			keep(t, b, "web", "three")
			if got := shelf(t, openArchive(t, dir), "web"); got[:len(want)] != want || len(got) != len(want)+len("3=three ") {
				t.Fatalf("cut at %d, then kept: %q", n, got)
			}
		}
	}
}

func TestAnArchiveThatMakesNoSenseIsSetAside(t *testing.T) {
	dir := openState(t)
	if err := os.WriteFile(filepath.Join(dir.Path(), archiveName), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	var reported []error
	a := OpenArchive(dir, func(err error) { reported = append(reported, err) })
	keep(t, a, "web", "one")
	if _, err := os.Stat(filepath.Join(dir.Path(), archiveName+".bad")); err != nil || len(reported) != 1 {
		t.Errorf("%v, reported %v", err, reported)
	}
	if got := shelf(t, a, "web"); got != "1=one " {
		t.Errorf("kept is %q", got)
	}
}

func TestWithoutAStateFolderNothingIsKeptAndThatIsSaid(t *testing.T) {
	a := openArchive(t, nil)
	l, problem := LoadLayer(nil)
	for what, err := range map[string]error{
		"keep":  a.Keep(Version{Name: "web", Definition: []byte("one")}),
		"pin":   l.SetPin("web", &Pin{Number: 1}),
		"scale": l.SetScale("web@", &Scale{Copies: 4}),
	} {
		if !errors.Is(err, ErrNoState) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if problem != nil || len(l.Pins())+len(l.Scales()) != 0 {
		t.Errorf("%v, %v, %v", problem, l.Pins(), l.Scales())
	}
}

func FuzzArchiveRecord(f *testing.F) {
	v := Version{Name: "web", Number: 3, At: noon, By: NoOne, Verb: "boot", Keys: []string{"user"}, Digest: make([]byte, 32), Definition: []byte("one")}
	f.Add(archiveRecord(&v))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		v, size := archiveVersion(data)
		if size > len(data) || size != 0 && (v.Name == "" || len(v.Digest) < 8) {
			t.Errorf("%d bytes: %+v, %d", len(data), v, size)
		}
	})
}
