// Package golden reads what earlier versions of abide wrote, for tests that hold
// today's code to reading it: files of a real instance, compressed, in a
// package's testdata/vN. They are never written again.
package golden

import (
	"compress/gzip"
	"io"
	"os"
	"testing"
)

// Read returns the content of a compressed file, filled up to size bytes with the
// zeros that were cut off.
func Read(t testing.TB, path string, size int) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return append(data, make([]byte, max(size-len(data), 0))...)
}
