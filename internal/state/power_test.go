package state

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// recorder is a file system that notes what it is asked for, and refuses one of
// the calls if it is told to.
type recorder struct {
	calls  []call
	refuse int // the number of the call that finds no space, -1: none
	asked  int
	next   int
	named  map[string]int // what programs see
	data   map[int]string
}

// call is one step that reaches the disk at some time.
type call struct {
	kind     string // "create", "write", "sync", "rename", "remove", "syncdir"
	inode    int
	name, to string
	data     string
}

func (r *recorder) note(c call) error {
	r.asked++
	if r.asked-1 == r.refuse {
		return syscall.ENOSPC
	}
	r.calls = append(r.calls, c)
	return nil
}

func (r *recorder) create(name string, _ fs.FileMode) (file, error) {
	r.next++
	if err := r.note(call{kind: "create", inode: r.next, name: name}); err != nil {
		return nil, err
	}
	r.named[name], r.data[r.next] = r.next, ""
	return &recordedFile{r, r.next}, nil
}

func (r *recorder) rename(from, to string) error {
	if err := r.note(call{kind: "rename", inode: r.named[from], name: from, to: to}); err != nil {
		return err
	}
	r.named[to] = r.named[from]
	delete(r.named, from)
	return nil
}

func (r *recorder) remove(name string) error {
	r.calls = append(r.calls, call{kind: "remove", name: name})
	delete(r.named, name)
	return nil
}

func (r *recorder) syncDir() error { return r.note(call{kind: "syncdir"}) }

type recordedFile struct {
	r     *recorder
	inode int
}

// Write is two calls, so that each half may be refused or lost.
func (f *recordedFile) Write(data []byte) (int, error) {
	half := len(data) / 2
	for _, part := range []string{string(data[:half]), string(data[half:])} {
		if err := f.r.note(call{kind: "write", inode: f.inode, data: part}); err != nil {
			return 0, err
		}
		f.r.data[f.inode] += part
	}
	return len(data), nil
}

func (f *recordedFile) Sync() error  { return f.r.note(call{kind: "sync", inode: f.inode}) }
func (f *recordedFile) Close() error { return nil }

// afterPowerCut calls fn with every directory that may be there when power goes
// after the first n calls: changes of names since the directory was last synced
// are there or not, each for itself; of data that was not synced any part is
// there, or zeros of its length.
func (r *recorder) afterPowerCut(n int, before map[string]string, fn func(dir map[string]string)) {
	names, contents := map[string]int{}, map[int][]string{}
	for name, text := range before {
		inode := -1 - len(names)
		names[name], contents[inode] = inode, []string{text}
	}
	var loose []call
	written, synced := map[int]string{}, map[int]string{}
	for _, c := range r.calls[:n] {
		switch c.kind {
		case "write":
			written[c.inode] += c.data
		case "sync":
			synced[c.inode] = written[c.inode]
		case "syncdir":
			for _, l := range loose {
				apply(names, l)
			}
			loose = nil
		default:
			loose = append(loose, c)
		}
	}
	for inode := 1; inode <= r.next; inode++ {
		all, safe := written[inode], synced[inode]
		variants := []string{all}
		if all != safe {
			for at := len(safe); at < len(all); at += max(1, (len(all)-len(safe))/5) {
				variants = append(variants, all[:at])
			}
			variants = append(variants, all[:len(all)-1], safe+string(make([]byte, len(all)-len(safe))))
		}
		contents[inode] = variants
	}
	for subset := range 1 << len(loose) {
		there := maps.Clone(names)
		for i, l := range loose {
			if subset>>i&1 == 1 {
				apply(there, l)
			}
		}
		each(there, contents, fn)
	}
}

func apply(names map[string]int, c call) {
	switch c.kind {
	case "create":
		names[c.name] = c.inode
	case "rename":
		names[c.to] = c.inode
		if names[c.name] == c.inode {
			delete(names, c.name)
		}
	case "remove":
		delete(names, c.name)
	}
}

// each goes through all contents of one directory; at most one file has several.
func each(names map[string]int, contents map[int][]string, fn func(map[string]string)) {
	most := 1
	for _, inode := range names {
		most = max(most, len(contents[inode]))
	}
	for i := range most {
		dir := map[string]string{}
		for name, inode := range names {
			variants := contents[inode]
			dir[name] = variants[min(i, len(variants)-1)]
		}
		fn(dir)
	}
}

// wishesOn makes wishes that were read from these files and are written to a
// recorder.
func wishesOn(t *testing.T, files map[string]string, refuse int) (*Wishes, *recorder) {
	t.Helper()
	w, problems := readWishes(t, files)
	if problems != nil {
		t.Fatal(problems)
	}
	r := &recorder{refuse: refuse, named: map[string]int{}, data: map[int]string{}}
	w.enabled.dir = &Dir{path: "/state", durable: true, files: r}
	return w, r
}

func readWishes(t *testing.T, files map[string]string) (*Wishes, []error) {
	t.Helper()
	path, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(path)
	defer dir.Close()
	return LoadWishes(nil, dir, "boot")
}

// choices are what is enabled and disabled, as text.
func choices(w *Wishes) string {
	text := ""
	for _, name := range w.Names() {
		text += fmt.Sprint(name, w.Get(name).Enabled, " ")
	}
	return text
}

// changes are what operators do one after the other, with a wish more each time.
var changes = []struct {
	name   string
	choice Choice
	want   string
}{
	{"a", No, "a2 "}, {"b", Yes, "a2 b1 "}, {"a", Yes, "a1 b1 "}, {"b", Unset, "a1 "},
}

func TestAPowerCutLeavesTheOldOrTheNewWishes(t *testing.T) {
	files, old := map[string]string{}, ""
	for _, change := range changes {
		w, r := wishesOn(t, files, -1)
		if err := w.Set(change.name, Wish{Enabled: change.choice}); err != nil {
			t.Fatal(err)
		}
		if got := choices(w); got != change.want {
			t.Fatalf("after %+v there is %q", change, got)
		}
		seen := map[string]bool{}
		for n := 0; n <= len(r.calls); n++ {
			r.afterPowerCut(n, files, func(dir map[string]string) {
				key := fmt.Sprint(dir)
				if seen[key] {
					return
				}
				seen[key] = true
				got, problems := readWishes(t, dir)
				text := choices(got)
				if text != old && text != change.want || problems != nil {
					t.Errorf("%+v, power cut after %d calls: %q, %v, want %q or %q; the files are %q", change, n, text, problems, old, change.want, dir)
				}
				if n == len(r.calls) && text != change.want {
					t.Errorf("%+v was stored, and after a power cut there is %q", change, text)
				}
			})
		}
		if len(seen) < 3 {
			t.Errorf("%+v: only %d different ends", change, len(seen))
		}
		files, old = map[string]string{"wishes": r.data[r.named["wishes"]]}, change.want
	}
}

func TestAWishThatFindsNoSpaceLeavesTheOldOne(t *testing.T) {
	files, old := map[string]string{}, ""
	for _, change := range changes {
		for refuse := 0; ; refuse++ {
			w, r := wishesOn(t, files, refuse)
			err := w.Set(change.name, Wish{Enabled: change.choice})
			if r.asked <= refuse {
				files, old = map[string]string{"wishes": r.data[r.named["wishes"]]}, change.want
				break
			}
			if err == nil || choices(w) != old {
				t.Errorf("%+v, no space at call %d: %q, %v; want %q and an error", change, refuse, choices(w), err, old)
			}
			// Nothing of it comes back with what is asked for next.
			if err := w.Set("c", Wish{Enabled: No}); err != nil || choices(w) != old+"c2 " {
				t.Errorf("%+v, no space at call %d, then another wish: %q, %v", change, refuse, choices(w), err)
			}
			stored, problems := readWishes(t, map[string]string{"wishes": r.data[r.named["wishes"]]})
			if choices(stored) != old+"c2 " || problems != nil {
				t.Errorf("%+v, no space at call %d, then another wish: stored is %q, %v", change, refuse, choices(stored), problems)
			}
		}
	}
}
