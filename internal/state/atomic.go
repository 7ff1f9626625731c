package state

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// files is what an atomic write asks of the file system. Tests put a disk behind
// it that loses power after each of these steps.
type files interface {
	create(name string, mode fs.FileMode) (file, error)
	rename(from, to string) error
	remove(name string) error
	syncDir() error
}

type file interface {
	io.WriteCloser
	Sync() error
}

// WriteFile replaces the file name by data: a reader, and a process killed at any
// instruction, meets the old content or the new. In a state directory this holds
// for a power cut as well. When it fails (a full disk) the old content stays.
//
// Two writers of the same name must not work at the same time.
func (d *Dir) WriteFile(name string, data []byte, mode fs.FileMode) error {
	fresh := "." + name + ".new"
	if err := d.write(fresh, data, mode); err != nil {
		return d.failed("write", name, err)
	}
	if err := d.files.rename(fresh, name); err != nil {
		d.files.remove(fresh)
		return d.failed("replace", name, err)
	}
	if d.durable {
		if err := d.files.syncDir(); err != nil {
			return d.failed("sync the directory of", name, err)
		}
	}
	return nil
}

// write makes the file name with data in it and removes it again on failure.
func (d *Dir) write(name string, data []byte, mode fs.FileMode) error {
	f, err := d.files.create(name, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && d.durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		d.files.remove(name)
	}
	return err
}

// rootFiles is the real thing.
type rootFiles struct{ root *folder }

func (r rootFiles) create(name string, mode fs.FileMode) (file, error) {
	// A leftover of a write that was cut short may be in the way.
	if err := r.root.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, mode)
}

func (r rootFiles) rename(from, to string) error { return r.root.Rename(from, to) }
func (r rootFiles) remove(name string) error     { return r.root.Remove(name) }

func (r rootFiles) syncDir() error {
	dir, err := r.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
