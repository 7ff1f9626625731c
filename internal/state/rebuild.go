package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// InPlace tells whether the path still leads to the directory that is open.
func (d *Dir) InPlace() bool {
	named, err := os.Lstat(d.path)
	if err != nil {
		return false
	}
	opened, err := d.root.Stat(".")
	return err == nil && os.SameFile(named, opened)
}

// Reopen takes the directory of the same path into use that somebody has put in
// the place of the one that is open, or makes it with mode when there is none;
// its parent must be there. The conditions are those of OpenRun.
func (d *Dir) Reopen(mode fs.FileMode) error {
	if d.InPlace() {
		return nil
	}
	made := os.Mkdir(d.path, mode)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return fmt.Errorf("cannot make %s: %w", d.path, reason(made))
	}
	fresh, err := openMade(d.path, mode, made == nil)
	if err != nil {
		return err
	}
	d.root.exchange(fresh.root.root.Load())
	return nil
}

// Rebuild writes the id into a run directory in which somebody has removed it.
func (r *Run) Rebuild() error {
	if _, err := r.root.Lstat(idFile); err == nil {
		return nil
	}
	return r.WriteFile(idFile, []byte(r.id+"\n"), 0o644)
}

// Rebuild writes anew the wishes of the run directory, after it was wiped.
func (w *Wishes) Rebuild() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.orders.dir == nil || w.orders.tail == nil && len(w.orders.lines) == 0 {
		return nil
	}
	return w.orders.rewrite()
}

// Lost says that somebody has removed the file: it is Stale now, and no value is
// appended to a file that nobody finds.
func (k *Keyed) Lost() {
	if k.tail != nil {
		k.tail.Close()
		k.tail = nil
	}
}
