// Package self says which file this process runs. It asks the kernel and, where
// the kernel has no /proc to answer by, believes how the process was called. It
// promises an absolute path to a program that exists, not that the file is still
// the one that runs.
package self

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Path returns the absolute path of the program that runs.
func Path() (string, error) {
	path, err := os.Executable()
	if err == nil {
		return path, nil
	}
	if len(os.Args) == 0 || os.Args[0] == "" {
		return "", fmt.Errorf("cannot tell which program this is: %w, and it was called by no name", err)
	}
	found, searchErr := called(os.Args[0], os.Getenv("PATH"))
	if searchErr != nil {
		return "", fmt.Errorf("cannot tell which program this is: %w, and %w", err, searchErr)
	}
	return found, nil
}

// called finds the program that a shell runs for name: the file itself if name
// holds a slash, else the first of that name in search, which is a PATH.
func called(name, search string) (string, error) {
	folders := []string{""}
	if !strings.Contains(name, "/") {
		folders = filepath.SplitList(search)
	}
	for _, folder := range folders {
		path, err := filepath.Abs(filepath.Join(folder, name))
		if err == nil && runnable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program is called %s: %w", name, fs.ErrNotExist)
}

func runnable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return syscall.EACCES
	}
	return nil
}
