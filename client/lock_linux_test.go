package client

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheLockOfARunDirectoryIsSeen(t *testing.T) {
	dir := t.TempDir()
	if lockHeld(dir) {
		t.Error("there is no lock, and it is held")
	}
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if lockHeld(dir) {
		t.Error("nobody locked it, and it is held")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if !lockHeld(dir) {
		locks, _ := os.ReadFile("/proc/locks")
		t.Errorf("it is locked, and not seen in\n%s", locks)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if lockHeld(dir) {
		t.Error("it was unlocked, and is held")
	}
}
