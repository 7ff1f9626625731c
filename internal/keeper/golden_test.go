//go:build linux

package keeper

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/golden"
	"github.com/abide-project/abide/internal/keeper/wire"
)

// TestRecordsOfVersion1AreRead opens keeper.state of the first abide. Of its boot
// everything is known; today it is one that is set aside.
func TestRecordsOfVersion1AreRead(t *testing.T) {
	open := func(id identity) (*records, fate, string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "keeper.state"), golden.Read(t, "testdata/v1/keeper.state.gz", recordsSize), 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		r, what, e := openRecords(fd, id)
		if e != 0 {
			t.Fatal(e)
		}
		t.Cleanup(func() { syscall.Close(r.fd) })
		return r, what, dir
	}
	id := identity{pidns: 4026531836}
	copy(id.boot[:], "e1b29687-49f9-4618-b16d-edbd56c16fa5")
	r, what, _ := open(id)
	if what != recordsKept || r.head.prepared.Load() != 64 {
		t.Fatalf("fate %d, %d slots", what, r.head.prepared.Load())
	}
	for i, want := range []struct {
		name   string
		phase  wire.Phase
		pid    uint32
		run    uint64
		start  uint64
		pidfd  uint64
		began  uint64
		status uint32
	}{
		{"talker", wire.Live, 6864, 1, 1544607, 6056156, 15446076968906, 0},
		{"task", wire.Idle, 7233, 2, 1544702, 6056525, 15447023508916, 3 << 8},
		{"web", wire.Idle, 6888, 1, 1544611, 6056180, 15446119218809, uint32(syscall.SIGTERM)},
		{"off", wire.Live, 6896, 1, 1544613, 6056188, 15446139059877, 0},
	} {
		s := &r.slots[i]
		if string(s.name()) != want.name || s.at() != want.phase || s.pid.Load() != want.pid || s.run.Load() != want.run ||
			s.start != want.start || s.pidfd != want.pidfd || s.began != want.began || s.status != want.status || s.once != [2]uint64{} || !s.sound() {
			t.Errorf("slot %d is %s in phase %d: %+v", i, s.name(), s.at(), s)
		}
	}
	if at := r.slots[4].at(); at != wire.Free {
		t.Errorf("slot 4 is in phase %d", at)
	}
	other := id
	other.boot[0]++
	if _, what, dir := open(other); what != recordsSetAside {
		t.Errorf("records of another boot: fate %d in %s", what, dir)
	}
}
