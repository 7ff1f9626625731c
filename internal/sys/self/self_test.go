package self

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestPathIsThisTest(t *testing.T) {
	want, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Path()
	if err != nil || got != want {
		t.Errorf("Path is %q, %v; want %q", got, err, want)
	}
}

func TestProgramIsFoundAsItWasCalled(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, folder := range []string{"first", "second", "second/folder"} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]fs.FileMode{"here": 0o755, "first/plain": 0o644, "second/plain": 0o755, "second/tool": 0o755} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	search := filepath.Join(dir, "first") + ":second"
	for name, want := range map[string]string{
		"./here":                     "here",
		filepath.Join(dir, "here"):   "here",
		"second/tool":                "second/tool",
		"tool":                       "second/tool",
		"plain":                      "second/plain", // the first is no program
		"here":                       "",             // a name without a slash is not looked for here
		"folder":                     "",
		"/nonexistent/no/such/thing": "",
	} {
		got, err := called(name, search)
		switch {
		case want == "" && !errors.Is(err, fs.ErrNotExist):
			t.Errorf("%s is %q, %v; want that there is none", name, got, err)
		case want != "" && (err != nil || got != filepath.Join(dir, want)):
			t.Errorf("%s is %q, %v; want %s", name, got, err, want)
		}
	}
}
