package all

import (
	"testing"

	"github.com/abide-project/abide/internal/format"
)

func TestEachFormatIsListedOnceUnderItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats {
		if f.Name() == "" || seen[f.Name()] {
			t.Errorf("format %q is nameless or listed twice", f.Name())
		}
		seen[f.Name()] = true
	}
}

func TestAFileHasOneFormat(t *testing.T) {
	for path, want := range map[string]string{"/etc/abide/services/web.toml": "native", "abide.toml": "native", "Procfile": "procfile"} {
		if f := format.Find(Formats, path, nil); f == nil || f.Name() != want {
			t.Errorf("%s is read as %v", path, f)
		}
	}
	if f := format.Find(Formats, "README.md", nil); f != nil {
		t.Errorf("README.md is read as %s", f.Name())
	}
}
