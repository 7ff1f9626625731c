//go:build linux && (amd64 || arm64)

package vspawn

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// tiny writes a static program of a few instructions that exits with 0: spawning
// it measures and tests the spawner, not the dynamic linker.
func tiny(t testing.TB) string {
	t.Helper()
	code := []byte{0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05} // xor edi,edi; mov eax,231; syscall
	machine := uint16(62)
	if runtime.GOARCH == "arm64" {
		code = []byte{0, 0, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4} // mov x0,0; mov x8,94; svc 0
		machine = 183
	}
	const base, header = 0x400000, 64 + 56
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	b = le.AppendUint16(b, 2) // executable
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+header) // entry
	b = le.AppendUint64(b, 64)          // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, 64)
	b = le.AppendUint16(b, 56)
	b = le.AppendUint16(b, 1)
	b = append(b, make([]byte, 6)...)
	b = le.AppendUint32(b, 1) // load
	b = le.AppendUint32(b, 5) // read and execute
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, base)
	b = le.AppendUint64(b, base)
	b = le.AppendUint64(b, uint64(header+len(code)))
	b = le.AppendUint64(b, uint64(header+len(code)))
	b = le.AppendUint64(b, 0x1000)
	b = append(b, code...)
	path := filepath.Join(t.TempDir(), "tiny")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
