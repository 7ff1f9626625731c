//go:build linux

package keeper

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startStranger starts a process that is no service.
func startStranger(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// mapRecords maps the records of a dead keeper.
func mapRecords(t *testing.T, r *rig) *records {
	t.Helper()
	fd, err := unix.Open(filepath.Join(r.run(), "keeper.state"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b, err := syscall.Mmap(fd, 0, recordsSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(b) })
	rec := &records{fd: -1}
	rec.place(unsafe.Pointer(&b[0]))
	return rec
}

// patchRecords changes the first slot of a dead keeper's records.
func patchRecords(t *testing.T, r *rig, change func(*slot)) {
	t.Helper()
	change(&mapRecords(t, r).slots[0])
}
