package definitions

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/all"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/model"
)

// Check judges files and folders of any format as `abide check` shows them,
// whoever owns them. A path that is not there is an error.
func Check(paths []string) diag.List {
	var list diag.List
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			var perr *os.PathError
			if errors.As(err, &perr) {
				err = perr.Err
			}
			list.Add(diag.Error, diag.Pos{File: path}, "unreadable", "", "cannot read %s: %s", path, err)
		case info.IsDir() && strings.HasSuffix(filepath.Clean(path), dropInSuffix):
			list = append(list, checkDropIns(path)...)
		default:
			list = append(list, checkPath(path, info.IsDir())...)
		}
	}
	list = native.Unique(list)
	list.Sort()
	return list
}

func checkPath(path string, isDir bool) diag.List {
	root := path
	if !isDir {
		root = filepath.Dir(path)
	}
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	return Load(Options{Root: root, Config: []string{path}, lint: true}).Diags
}

func checkDropIns(path string) diag.List {
	var list diag.List
	entries, err := os.ReadDir(path)
	if err != nil {
		list.Add(diag.Error, diag.Pos{File: path}, "unreadable", "", "cannot read %s", path)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") {
			list = append(list, checkPath(filepath.Join(path, e.Name()), false)...)
		}
	}
	return list
}

// Parse reads one definition from memory; file is its path, whose last part
// names the service and tells the format.
func Parse(data []byte, file string, settings format.Settings) ([]*model.Service, diag.List) {
	reader := format.Find(all.Formats, file, data[:min(len(data), 512)])
	if reader == nil {
		return nil, diag.List{{Pos: top(file), Severity: diag.Error, Code: "unreadable", Message: "cannot read " + file + ": it is of no format that abide knows"}}
	}
	out := reader.Read(format.Input{Path: file, Data: data, Settings: settings})
	return out.Services, out.Diags
}
