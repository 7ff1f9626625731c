package state

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func stateHolding(t *testing.T, files map[string]string) *Dir {
	t.Helper()
	path := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func loadFaults(t *testing.T, dir *Dir, boot string) *Faults {
	t.Helper()
	f, err := LoadFaults(dir, boot)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAFaultSurvivesAReboot(t *testing.T) {
	dir := stateHolding(t, nil)
	want := Fault{
		Cause: "limit", Reason: "exited with code 3", Run: 7, Exit: FaultExit{Status: 768, Known: true, OOM: true, At: 5}, At: time.Unix(1e9, 5).UTC(), Definition: "d",
		Output: []string{"one", "two"}, Boot: "first",
	}
	f := loadFaults(t, dir, "first")
	f.Set("web", &want)
	f.Set("db", &Fault{})
	f.Set("db", nil)
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	f = loadFaults(t, dir, "second")
	if got, same, ok := f.Get("web"); !ok || same || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v (same boot %v, %v), want %+v", got, same, ok, want)
	}
	if _, same, _ := loadFaults(t, dir, "first").Get("web"); !same {
		t.Error("a fault of this boot counts as one of another")
	}
	if got, _, ok := f.Get("db"); ok {
		t.Errorf("a fault that was forgotten is read: %+v", got)
	}
}

func TestFaultsThatMakeNoSenseAreKeptAside(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "torn": `{"version":1,"faults":{"a"`, "of another version": `{"version":2}`, "a list": "[]",
	} {
		dir := stateHolding(t, map[string]string{faultsFile: text})
		f, err := LoadFaults(dir, "boot")
		if err == nil {
			t.Errorf("%s: nobody is told", name)
		}
		if kept, _ := os.ReadFile(filepath.Join(dir.Path(), faultsFile+".bad")); string(kept) != text {
			t.Errorf("%s: %q is kept", name, kept)
		}
		f.Set("web", &Fault{Cause: "limit"})
		if err := f.Save(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, ok := loadFaults(t, dir, "boot").Get("web"); !ok {
			t.Errorf("%s: a new fault is not stored", name)
		}
	}
}

func TestAPowerCutLeavesTheOldOrTheNewFaults(t *testing.T) {
	named := func(f *Faults) string {
		var names []string
		for _, name := range []string{"a", "b"} {
			if fault, _, ok := f.Get(name); ok {
				names = append(names, name+fault.Cause)
			}
		}
		return strings.Join(names, " ")
	}
	files, old := map[string]string{}, ""
	for i, fault := range []*Fault{{Cause: "1"}, {Cause: "2"}, nil} {
		f := loadFaults(t, stateHolding(t, files), "boot")
		r := &recorder{refuse: -1, named: map[string]int{}, data: map[int]string{}}
		f.dir = &Dir{path: "/state", durable: true, files: r}
		f.Set("a", fault)
		f.Set("b", &Fault{Cause: fmt.Sprint(i)})
		if err := f.Save(); err != nil {
			t.Fatal(err)
		}
		want := named(f)
		for n := 0; n <= len(r.calls); n++ {
			r.afterPowerCut(n, files, func(dir map[string]string) {
				got := named(loadFaults(t, stateHolding(t, dir), "boot"))
				if got != old && got != want || n == len(r.calls) && got != want {
					t.Errorf("cut after %d of %d calls: %q, before it was %q, now %q", n, len(r.calls), got, old, want)
				}
			})
		}
		files, old = map[string]string{}, want
		r.afterPowerCut(len(r.calls), files, func(dir map[string]string) {
			for name, text := range dir {
				files[name] = text
			}
		})
	}
}

func TestAFaultThatFindsNoSpaceIsStoredByTheNextSave(t *testing.T) {
	dir := stateHolding(t, nil)
	f := loadFaults(t, dir, "boot")
	r := &recorder{refuse: 0, named: map[string]int{}, data: map[int]string{}}
	f.dir = &Dir{path: "/state", durable: true, files: r}
	f.Set("a", &Fault{Cause: "limit"})
	if err := f.Save(); err == nil {
		t.Fatal("a refused write is no error")
	}
	f.dir = dir
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := loadFaults(t, dir, "boot").Get("a"); !ok {
		t.Error("it is lost")
	}
}

func FuzzLoadFaults(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"version":1,"faults":{"web":{"cause":"limit","at":"2026-01-02T03:04:05Z","output":["a"]}}}`, "null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := stateHolding(t, map[string]string{faultsFile: text})
		faults, err := LoadFaults(dir, "boot")
		if err != nil {
			return
		}
		faults.Set("x", &Fault{})
		if err := faults.Save(); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadFaults(dir, "boot"); err != nil {
			t.Fatal(err)
		}
	})
}
