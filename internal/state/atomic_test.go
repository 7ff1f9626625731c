package state

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
)

// disk is a file system that can lose power. What was written is on it for sure
// only after a sync; a name, only after its directory was synced.
type disk struct {
	live    map[string]*inode // what programs see
	durable map[string]*inode // names that would be there after a power cut
	steps   int
	crashAt int // the step that does not happen any more, -1: never
	full    int // bytes until the disk is full, -1: never
}

type inode struct{ data, synced string }

var errPower = errors.New("power is off")

func newDisk(old string) *disk {
	d := &disk{live: map[string]*inode{}, crashAt: -1, full: -1}
	if old != "" {
		d.live["f"] = &inode{data: old, synced: old}
	}
	d.durable = maps.Clone(d.live)
	return d
}

func (d *disk) step() error {
	if d.steps == d.crashAt {
		return errPower
	}
	d.steps++
	return nil
}

func (d *disk) create(name string, _ fs.FileMode) (file, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	d.live[name] = &inode{}
	return &diskFile{d, d.live[name]}, nil
}

func (d *disk) rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.live[to] = d.live[from]
	delete(d.live, from)
	return nil
}

func (d *disk) remove(name string) error {
	if err := d.step(); err != nil {
		return err
	}
	delete(d.live, name)
	return nil
}

func (d *disk) syncDir() error {
	if err := d.step(); err != nil {
		return err
	}
	d.durable = maps.Clone(d.live)
	return nil
}

type diskFile struct {
	d *disk
	i *inode
}

// Write is two steps, so that a cut can come between them.
func (f *diskFile) Write(data []byte) (int, error) {
	for half := range 2 {
		if err := f.d.step(); err != nil {
			return 0, err
		}
		part := data[half*len(data)/2 : (half+1)*len(data)/2]
		if f.d.full >= 0 && len(part) > f.d.full {
			f.i.data += string(part[:f.d.full])
			f.d.full = 0
			return half*len(data)/2 + len(part), syscall.ENOSPC
		}
		f.d.full -= len(part)
		f.i.data += string(part)
	}
	return len(data), nil
}

func (f *diskFile) Sync() error {
	if err := f.d.step(); err != nil {
		return err
	}
	f.i.synced = f.i.data
	return nil
}

func (f *diskFile) Close() error { return f.d.step() }

// afterCut lists what the file may hold when power comes back: the directory may
// have been written at any time since it was last synced, a file's data up to any
// byte beyond what was synced.
func (d *disk) afterCut() []string {
	var contents []string
	for _, names := range []map[string]*inode{d.durable, d.live} {
		i := names["f"]
		if i == nil {
			contents = append(contents, "")
			continue
		}
		if i.synced == i.data {
			contents = append(contents, i.data)
			continue
		}
		for n := len(i.synced); n <= len(i.data); n++ {
			contents = append(contents, i.data[:n])
		}
	}
	return contents
}

func TestAPowerCutAtAnyStepLeavesTheOldOrTheNewFile(t *testing.T) {
	for _, old := range []string{"", "the old content"} {
		for cut := 0; ; cut++ {
			d := newDisk(old)
			d.crashAt = cut
			dir := &Dir{path: "/state", durable: true, files: d}
			err := dir.WriteFile("f", []byte("the new content!"), 0o600)
			for _, got := range d.afterCut() {
				if got != old && got != "the new content!" {
					t.Errorf("a cut before step %d leaves %q", cut, got)
				}
				if err == nil && got != "the new content!" {
					t.Errorf("WriteFile succeeded, and after a cut there is %q", got)
				}
			}
			if err == nil {
				break
			}
		}
	}
}

func TestAProcessKilledAtAnyStepLeavesTheOldOrTheNewFile(t *testing.T) {
	for cut := 0; ; cut++ {
		d := newDisk("old")
		d.crashAt = cut
		dir := &Dir{path: "/run", files: d} // nothing is synced: the kernel lives on
		err := dir.WriteFile("f", []byte("new content"), 0o600)
		if got := d.live["f"].data; got != "old" && got != "new content" || err == nil && got != "new content" {
			t.Errorf("killed before step %d: %q, %v", cut, got, err)
		}
		if err == nil {
			break
		}
	}
}

func TestAFullDiskLeavesTheOldFileAndNoLitter(t *testing.T) {
	for room := range len("the new content!") {
		d := newDisk("old")
		d.full = room
		dir := &Dir{path: "/state", durable: true, files: d}
		err := dir.WriteFile("f", []byte("the new content!"), 0o600)
		if !errors.Is(err, syscall.ENOSPC) || err.Error() != "cannot write /state/f: no space left on device" {
			t.Errorf("room for %d bytes: %v", room, err)
		}
		if len(d.live) != 1 || d.live["f"].data != "old" {
			t.Errorf("room for %d bytes leaves %v", room, d.live)
		}
	}
}

func TestALeftoverOfAWriteThatWasCutShortIsReplaced(t *testing.T) {
	d := openState(t)
	if err := os.Symlink("/etc/passwd", d.Path()+"/.f.new"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		want := strings.Repeat("x", 10*i)
		if err := d.WriteFile("f", []byte(want), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := d.ReadFile("f", 100); err != nil || string(got) != want {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
	if entries, _ := os.ReadDir(d.Path()); len(entries) != 1 {
		t.Errorf("left are %v", fmt.Sprint(entries))
	}
}
