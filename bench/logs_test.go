//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLinesAreRecognisedBehindAnyStamp(t *testing.T) {
	filler := strings.Repeat("x", lineSize-14)
	whole := fmt.Sprintf("%012d %s\n", 7, filler)
	for _, stamp := range []string{"", "@400000006a1b2c3d0000000a ", "2026-11-22T17:39:00.000000001Z "} {
		if n, ok := lineNumber([]byte(stamp+whole), []byte(filler)); !ok || n != 7 {
			t.Errorf("line behind %q: %d, %v, want 7", stamp, n, ok)
		}
	}
	for _, line := range []string{"", "\n", whole[:50] + "\n", strings.TrimSuffix(whole, "\n"), strings.Replace(whole, "7 ", "7x", 1), strings.Replace(whole, "0", "a", 1)} {
		if n, ok := lineNumber([]byte(line), []byte(filler)); ok {
			t.Errorf("%q was taken for line %d", line, n)
		}
	}
}

func TestEveryLineIsCounted(t *testing.T) {
	var text bytes.Buffer
	for _, n := range []int{0, 1, 1, 3} {
		fmt.Fprintf(&text, "stamp %012d %s\n", n, strings.Repeat("x", lineSize-14))
	}
	text.WriteString("half a line\n")
	path := filepath.Join(t.TempDir(), "current")
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	seen := make([]uint8, 4)
	torn, err := countLines(path, seen)
	if err != nil || torn != 1 || fmt.Sprint(seen) != "[1 2 0 1]" {
		t.Errorf("counted %v with %d torn, %v, want [1 2 0 1] with 1", seen, torn, err)
	}
}
