package state

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestPatternsAreReadAsTheyWereStored(t *testing.T) {
	dir := openState(t)
	if got, err := LoadPatterns(dir); got != nil || err != nil {
		t.Fatalf("before the first store it is %v, %v", got, err)
	}
	want := map[string]PatternUsers{"app*": {Grant: "restart=group:ops", Users: []string{"", "app"}}}
	if err := StorePatterns(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadPatterns(dir); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
	for name, text := range map[string]string{"nonsense": "{", "another version": `{"version":2}`} {
		if err := os.WriteFile(filepath.Join(dir.Path(), patternsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadPatterns(dir); err == nil || got != nil {
			t.Errorf("%s reads as %v, %v", name, got, err)
		}
		if _, err := os.Stat(filepath.Join(dir.Path(), patternsFile+".bad")); err != nil {
			t.Errorf("%s is not kept for who wants to know: %v", name, err)
		}
	}
}
