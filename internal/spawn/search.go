package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// search finds the file of a program. The answer is a list of paths for the
// child to try in order: one as a rule, more when folders of the path lie on
// mounts that we do not touch.
func (c *Compiler) search(name, path, root, directory string) (candidates []string, slow bool, err error) {
	local := func(p string) bool {
		if root != "" {
			p = filepath.Join(root, p)
		}
		return c.Mounts.Local(p)
	}
	if strings.Contains(name, "/") {
		full := name
		if !filepath.IsAbs(name) {
			full = filepath.Join(directory, name)
		}
		return []string{full}, !local(full), nil
	}
	if name == "" {
		return nil, false, errors.New("cannot run a program without a name")
	}
	var refused string
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(directory, folder)
		}
		full := filepath.Join(folder, name)
		if !local(full) {
			candidates, slow = append(candidates, full), true
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
			return append(candidates, full), slow, nil
		}
	}
	switch {
	case len(candidates) > 0:
		return candidates, slow, nil
	case refused != "":
		return nil, false, errors.New(refused)
	case root != "":
		return nil, false, fmt.Errorf("cannot find program %s in %s below %s", name, path, root)
	}
	return nil, false, fmt.Errorf("cannot find program %s in %s", name, path)
}
