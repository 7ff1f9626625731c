//go:build linux

package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
)

// wipe removes what is in the run directory, or the directory itself and makes a
// new one, as an engine would.
func (r *rig) wipe(whole bool) {
	r.t.Helper()
	entries := must(os.ReadDir(r.run()))
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(r.run(), e.Name())); err != nil {
			r.t.Fatal(err)
		}
	}
	if whole {
		if err := errors.Join(os.Remove(r.run()), os.Mkdir(r.run(), 0o755)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// rebuild returns the listener. The lock is given back at once: who holds a copy
// keeps the next keeper waiting.
func (e *engine) rebuild() (listener int) {
	e.rig.t.Helper()
	listener = must(e.Rebuild(wire.RebuildListener))
	e.rig.t.Cleanup(func() { unix.Close(listener) })
	unix.Close(must(e.Rebuild(wire.RebuildLock)))
	return listener
}

func TestAWipedRunDirectoryIsMadeAgain(t *testing.T) {
	for _, whole := range []bool{false, true} {
		r := startRig(t)
		e := r.connected()
		first := e.up("web", 1, 0, "/bin/sleep", "1000")
		id := must(os.ReadFile(filepath.Join(r.run(), "id")))
		r.wipe(whole)
		listener := e.rebuild()

		if got := must(os.ReadFile(filepath.Join(r.run(), "id"))); string(got) != string(id) {
			t.Errorf("the id is %q, was %q", got, id)
		}
		lock := must(os.OpenFile(filepath.Join(r.run(), "lock"), os.O_RDWR, 0))
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EWOULDBLOCK {
			t.Errorf("the lock can be had: %v", err)
		}
		if text := must(os.ReadFile(lock.Name())); !strings.HasPrefix(string(text), fmt.Sprintf("%d ", r.keeper.Process.Pid)) {
			t.Errorf("the lock names %q", text)
		}
		lock.Close()
		client := must(net.Dial("unix", filepath.Join(r.run(), "control.sock")))
		client.Close()
		if _, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC); err != nil {
			t.Errorf("a client does not reach the listener that was given: %v", err)
		}

		// Records go into the new file from now on.
		e.up("db", 5, 0, "/bin/sleep", "1000")
		e.kill()
		e = r.connected()
		r.killKeeper()
		e.kill()
		r.start()
		e = r.connected()
		for name, want := range map[string]link.Spawned{"web": first} {
			if rec, ok := e.record(name); !ok || rec.Phase != wire.Live || rec.Pid != want.Pid || rec.Run != want.Run {
				t.Errorf("the next keeper has %+v of %s, want %+v", rec, name, want)
			}
		}
		if rec, ok := e.record("db"); !ok || rec.Phase != wire.Live || rec.Run != 5 {
			t.Errorf("the next keeper has %+v of what came after the rebuild", rec)
		}
	}
}

func TestRebuildLeavesWhatIsInItsPlace(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("web", 1, 0, "/bin/sleep", "1000")
	files := map[string]uint64{}
	inode := func(name string) uint64 {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(r.run(), name), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	for _, name := range []string{"lock", "id", "keeper.state", "control.sock"} {
		files[name] = inode(name)
	}
	before := e.sync()
	for range 3 {
		e.rebuild()
	}
	for name, was := range files {
		if now := inode(name); now != was {
			t.Errorf("%s is another file", name)
		}
	}
	if after := e.sync(); after.Held != before.Held || after.Wrong != before.Wrong {
		t.Errorf("counters %+v, were %+v", after, before)
	}
	// One file alone is made again alone.
	if err := os.Remove(filepath.Join(r.run(), "control.sock")); err != nil {
		t.Fatal(err)
	}
	e.rebuild()
	if inode("keeper.state") != files["keeper.state"] || inode("lock") != files["lock"] {
		t.Error("with the socket other files were replaced")
	}
	e.noFailure()
}

func TestRebuildWithoutADirectoryIsRefusedAndHarmless(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	e.up("web", 1, 0, "/bin/sleep", "1000")
	r.wipe(false)
	if err := os.Remove(r.run()); err != nil {
		t.Fatal(err)
	}
	var refused *link.Error
	if _, err := e.Rebuild(wire.RebuildListener); !errors.As(err, &refused) || refused.Code != wire.CodeSystem || refused.Errno != int(syscall.ENOENT) {
		t.Errorf("without the directory: %v", err)
	}
	e.up("db", 1, 0, "/bin/sleep", "1000")
	if err := os.Mkdir(r.run(), 0o755); err != nil {
		t.Fatal(err)
	}
	// Somebody else was quicker: the directory is theirs.
	lock := must(os.Create(filepath.Join(r.run(), "lock")))
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Rebuild(wire.RebuildLock); !errors.As(err, &refused) || refused.Errno != int(syscall.EWOULDBLOCK) {
		t.Errorf("with another keeper's lock: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.run(), "keeper.state")); err == nil {
		t.Error("records were made in another keeper's directory")
	}
}
