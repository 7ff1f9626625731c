package definitions

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever copies an example must not be told that it is wrong.
func TestTheExamplesAreValid(t *testing.T) {
	var files []string
	err := filepath.WalkDir("../../examples", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		if list := Check([]string{file}); len(list) > 0 {
			t.Errorf("%s: %v", file, list)
		}
	}
}
