package state

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

func TestFilesThatAreNoFilesAreNotRead(t *testing.T) {
	d := openState(t)
	if err := syscall.Mkfifo(filepath.Join(d.Path(), "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteFile("large", make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "large", "../state", "missing"} {
		if data, err := d.ReadFile(name, 99); err == nil {
			t.Errorf("%s is read as %q", name, data)
		}
	}
	if _, err := d.ReadFile("missing", 99); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file is %v", err)
	}
}
