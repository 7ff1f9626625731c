//go:build linux

package keeper

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

func TestOptionsAreReadOrNamed(t *testing.T) {
	o, wrong := parseOptions([]string{"--run", "/r", "--mode", "up", "--lease-fd", "5", "--exec", "/x", "--", "/e", "--run", "y"})
	if wrong != "" || o.run != "/r" || o.mode != "up" || o.lease != 5 || o.exec != "/x" || len(o.engine) != 3 {
		t.Errorf("%+v %q", o, wrong)
	}
	for _, args := range [][]string{
		{}, {"--run", "/r"}, {"--run", "r", "--", "/e"}, {"--run", "/r", "--"}, {"--run"}, {"--mode", "x", "--run", "/r", "--", "e"},
		{"--what", "x", "--run", "/r", "--", "e"}, {"--lease-fd", "2", "--run", "/r", "--", "e"}, {"--lease-fd", "x", "--run", "/r", "--", "e"},
	} {
		if _, wrong := parseOptions(args); wrong == "" {
			t.Errorf("%q is accepted", args)
		}
	}
}

func FuzzLockText(f *testing.F) {
	f.Add([]byte("123 456\n"))
	f.Add([]byte("123\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if pid, _ := splitNumbers(text); pid < 0 {
			t.Errorf("pid %d of %q", pid, text)
		}
	})
}

// FuzzRecords: whatever stands in a slot, looking at it harms nobody, and only
// what could be a record is taken for one.
func FuzzRecords(f *testing.F) {
	good := slot{}
	good.nameLen = uint32(copy(good.nameBuf[:], "web"))
	good.run.Store(3)
	good.setPhase(wire.Idle)
	f.Add((*[slotSize]byte)(unsafe.Pointer(&good))[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var s slot
		copy((*[slotSize]byte)(unsafe.Pointer(&s))[:], b)
		if s.sound() && (s.nameLen == 0 || s.nameLen > wire.MaxName || s.at() > wire.Ended) {
			t.Errorf("%x is taken for a record", b)
		}
	})
}

// FuzzHeader: a file is mapped only if it is whole and ours.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("AIDEKPST"), false)
	f.Add([]byte{}, true)
	id := identity{pidns: 7}
	f.Fuzz(func(t *testing.T, content []byte, full bool) {
		dir := t.TempDir()
		path := filepath.Join(dir, "keeper.state")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if full {
			if err := os.Truncate(path, recordsSize); err != nil {
				t.Fatal(err)
			}
		}
		fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		r, what, e := openRecords(fd, id)
		if e != 0 {
			t.Fatal(e)
		}
		if what == recordsNew && len(content) > 0 && !full {
			t.Errorf("%x is taken for nothing", content)
		}
		if r.head.magic.Load() != recordsMagic || r.head.pidns != 7 {
			t.Error("the records have no header")
		}
		unix.Close(r.fd)
		_ = unix.MunmapPtr(unsafe.Pointer(r.head), recordsSize)
	})
}

func TestTheTableFindsEverySlotWhateverIsForgotten(t *testing.T) {
	table, e := newTable()
	if e != 0 {
		t.Fatal(e)
	}
	rec, e := memoryRecords(identity{})
	if e != 0 {
		t.Fatal(e)
	}
	k := &keeper{table: table, records: rec}
	name := func(i int) []byte { return []byte{'s', byte('a' + i/400%20), byte('a' + i/20%20), byte('a' + i%20)} }
	slots := map[int]uint32{}
	for round := range 30000 {
		i := round * 7919 % 3000
		if s, ok := slots[i]; ok {
			if found, ok := k.find(name(i)); !ok || found != s {
				t.Fatalf("round %d: %s is in slot %d, found %d %v", round, name(i), s, found, ok)
			}
			k.release(s)
			delete(slots, i)
			if _, ok := k.find(name(i)); ok {
				t.Fatalf("round %d: %s is found after its release", round, name(i))
			}
			continue
		}
		s, code, e := k.obtain(name(i))
		if code != wire.CodeNone || e != 0 {
			t.Fatal(code, e)
		}
		slots[i] = s
	}
	for i, s := range slots {
		if found, ok := k.find(name(i)); !ok || found != s {
			t.Errorf("%s is in slot %d, found %d %v", name(i), s, found, ok)
		}
	}
	if int(table.used) != len(slots) {
		t.Errorf("%d used, want %d", table.used, len(slots))
	}
}

func TestTheTableIsFullAtItsCapacity(t *testing.T) {
	table, _ := newTable()
	rec, _ := memoryRecords(identity{})
	k := &keeper{table: table, records: rec}
	var name [4]byte
	for i := range maxSlots + 1 {
		name = [4]byte{'s', byte('0' + i>>12), byte('0' + i>>6&63), byte('0' + i&63)}
		_, code, _ := k.obtain(name[:])
		if want := i == maxSlots; (code == wire.CodeFull) != want || (code != wire.CodeNone) != want {
			t.Fatalf("slot %d: %v", i, code)
		}
	}
}

// The layout is a contract with docs/keeper.md and with keepers of other builds.
func TestTheLayoutOfTheRecordsIsTheDocumentedOne(t *testing.T) {
	var h recordsHeader
	var s slot
	for what, at := range map[string][2]uintptr{
		"prepared": {unsafe.Offsetof(h.prepared), 20}, "keeper": {unsafe.Offsetof(h.keeper), 24},
		"pid namespace": {unsafe.Offsetof(h.pidns), 32}, "boot": {unsafe.Offsetof(h.boot), 40},
		"pid": {unsafe.Offsetof(s.pid), 4}, "run": {unsafe.Offsetof(s.run), 8}, "start": {unsafe.Offsetof(s.start), 16},
		"pidfd": {unsafe.Offsetof(s.pidfd), 24}, "began": {unsafe.Offsetof(s.began), 32}, "flags": {unsafe.Offsetof(s.flags), 40},
		"user": {unsafe.Offsetof(s.user), 48}, "boot time": {unsafe.Offsetof(s.boot), 72}, "op": {unsafe.Offsetof(s.op), 88},
		"name length": {unsafe.Offsetof(s.nameLen), 96}, "name": {unsafe.Offsetof(s.nameBuf), 104},
	} {
		if at[0] != at[1] {
			t.Errorf("%s is at %d, documented at %d", what, at[0], at[1])
		}
	}
}
