package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// candidate is a file that the child is to try.
type candidate struct {
	path   string
	remote bool // not on a mount known to be local: nobody but the child touches it
}

// The exit codes of what cannot start a program, as POSIX has them for a shell
// (Shell Command Language, 2.8.2) and env.
const (
	exitNotStarted = 125 // the program is not what is at fault
	exitNoProgram  = 126 // it exists and cannot be executed
	exitNotFound   = 127
)

// programError is an error about the program's file itself.
type programError struct {
	text string
	code int
}

func (e *programError) Error() string { return e.text }

// ExitCode is what a shell would end with for this error: 126 or 127.
func (e *programError) ExitCode() int { return e.code }

func notFound(format string, args ...any) error {
	return &programError{fmt.Sprintf(format, args...), exitNotFound}
}

// search finds the file of a program. The answer is what the child tries in
// order: one file as a rule, more when folders of the path lie on mounts that we
// do not touch.
func (c *Compiler) search(name, path, root, directory string) ([]candidate, error) {
	remote := func(p string) bool { return !c.Mounts.Local(filepath.Join("/", root, p)) }
	if name == "" {
		return nil, errors.New("cannot run a program without a name")
	}
	if strings.Contains(name, "/") {
		full := name
		if !filepath.IsAbs(name) {
			full = filepath.Join(directory, name)
		}
		return []candidate{{full, remote(full)}}, nil
	}
	var found []candidate
	var refused string
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(directory, folder)
		}
		full := filepath.Join(folder, name)
		if remote(full) {
			found = append(found, candidate{full, true})
			continue
		}
		mode, err := statIn(root, full)
		switch {
		case err != nil:
			if !errors.Is(err, fs.ErrNotExist) && refused == "" {
				refused = fmt.Sprintf("cannot run %s: %v", full, err)
			}
		case mode&0o170000 != 0o100000:
		case mode&0o111 == 0:
			if refused == "" {
				refused = fmt.Sprintf("cannot run %s: it is not executable (mode %04o)", full, mode&0o7777)
			}
		default:
			return append(found, candidate{full, false}), nil
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case refused != "":
		return nil, &programError{refused, exitNoProgram}
	case root != "":
		return nil, notFound("cannot find program %s in %s below %s", name, path, root)
	}
	return nil, notFound("cannot find program %s in %s", name, path)
}
