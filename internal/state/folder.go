package state

import (
	"io/fs"
	"os"
	"sync/atomic"
)

// folder is an open directory that can be exchanged for another of the same path
// while others use it: after somebody removed it.
type folder struct{ root atomic.Pointer[os.Root] }

func newFolder(root *os.Root) *folder {
	f := &folder{}
	f.root.Store(root)
	return f
}

// exchange takes another directory into use and closes the one before.
func (f *folder) exchange(root *os.Root) {
	if old := f.root.Swap(root); old != nil {
		old.Close()
	}
}

func (f *folder) OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error) {
	return f.root.Load().OpenFile(name, flag, mode)
}

func (f *folder) Open(name string) (*os.File, error)        { return f.root.Load().Open(name) }
func (f *folder) OpenRoot(name string) (*os.Root, error)    { return f.root.Load().OpenRoot(name) }
func (f *folder) Mkdir(name string, mode fs.FileMode) error { return f.root.Load().Mkdir(name, mode) }
func (f *folder) Lstat(name string) (fs.FileInfo, error)    { return f.root.Load().Lstat(name) }
func (f *folder) Stat(name string) (fs.FileInfo, error)     { return f.root.Load().Stat(name) }
func (f *folder) Link(oldName, newName string) error        { return f.root.Load().Link(oldName, newName) }
func (f *folder) Rename(oldName, newName string) error      { return f.root.Load().Rename(oldName, newName) }
func (f *folder) Remove(name string) error                  { return f.root.Load().Remove(name) }
func (f *folder) Chmod(name string, mode fs.FileMode) error { return f.root.Load().Chmod(name, mode) }
func (f *folder) Close() error                              { return f.root.Load().Close() }
