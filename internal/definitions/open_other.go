//go:build !linux

package definitions

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// reader opens definitions. Judging who could have written them is done on Linux
// only; asked for elsewhere it refuses everything.
type reader struct{ check bool }

func newReader(check bool) *reader { return &reader{check} }

// dir is a folder.
type dir struct {
	r    *reader
	path string
	at   stamp
}

func (d *dir) close() {}

func (r *reader) openDir(path string) (*dir, error) {
	if r.check {
		return nil, fmt.Errorf("cannot trust %s: who may write to it cannot be judged on this system", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason(path, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("cannot read %s: it is no folder", path)
	}
	return &dir{r, path, stampOf(info)}, nil
}

func (d *dir) names() ([]string, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, reason(d.path, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, reason(d.path, err)
	}
	slices.Sort(names)
	return names, nil
}

func (d *dir) stampOf(name string) stamp {
	info, err := os.Lstat(filepath.Join(d.path, name))
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return stampOf(info)
}

func (d *dir) sub(name string) (*dir, error) { return d.r.openDir(filepath.Join(d.path, name)) }

func (d *dir) read(name string) ([]byte, stamp, error) {
	path := filepath.Join(d.path, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, reason(path, err)
	}
	switch {
	case info.IsDir():
		return nil, 0, fmt.Errorf("cannot read %s: it is a folder", path)
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("cannot read %s: it is no regular file", path)
	case info.Size() > maxFile:
		return nil, 0, fmt.Errorf("cannot read %s: it has %d bytes, at most %d are allowed", path, info.Size(), maxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, reason(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, reason(path, err)
	}
	return data, stampOf(info), nil
}

func reason(path string, err error) error {
	var perr *os.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return fmt.Errorf("cannot read %s: %w", path, err)
}

func stampOf(info os.FileInfo) stamp {
	return mix(uint64(info.Size()), uint64(info.Mode()), uint64(info.ModTime().UnixNano()))
}

func stampAt(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return stampOf(info)
}
