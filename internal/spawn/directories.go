package spawn

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/abide-project/abide/internal/model"
)

// folder is one of the [directories] of a service.
type folder struct {
	kind     string // as the definition calls it
	variable string // that the service finds it by, as in systemd.exec(5)
	base     string
	mode     uint32
}

// folders lists what [directories] asks for.
func (c *Compiler) folders(svc *model.Service) []folder {
	d := &svc.Directories
	all := []folder{
		{"run", "RUNTIME_DIRECTORY", c.Bases.Run, d.Run},
		{"state", "STATE_DIRECTORY", c.Bases.State, d.State},
		{"cache", "CACHE_DIRECTORY", c.Bases.Cache, d.Cache},
		{"logs", "LOGS_DIRECTORY", c.Bases.Logs, d.Logs},
		{"config", "CONFIGURATION_DIRECTORY", c.Bases.Config, d.Config},
	}
	var asked []folder
	for _, f := range all {
		if f.mode != 0 {
			asked = append(asked, f)
		}
	}
	return asked
}

// directoryName is where the folders of a service lie below their bases.
func directoryName(svc *model.Service) string {
	if svc.Directories.Name != "" {
		return svc.Directories.Name
	}
	return svc.Name
}

// MakeDirectories makes what [directories] asks for, owned by the service's user. A
// folder that is there keeps its content; its owner and mode are set right if it is
// the service's, or abide's and empty. Any other is refused: a service must not get
// a folder of somebody else's by naming it.
func (c *Compiler) MakeDirectories(svc *model.Service) error {
	folders := c.folders(svc)
	if len(folders) == 0 {
		return nil
	}
	id, err := c.identity(svc)
	if err != nil {
		return err
	}
	name := directoryName(svc)
	if !filepath.IsLocal(name) || name == "." {
		return fmt.Errorf("cannot make the directories of %s: %q is not a name below a folder", svc.Name, name)
	}
	for _, f := range folders {
		if f.base == "" {
			return fmt.Errorf("cannot make the %s directory of %s: this abide has no place for it, XDG_RUNTIME_DIR is not set", f.kind, svc.Name)
		}
		if err := makeFolder(f.base, strings.Split(filepath.Clean(name), "/"), f.mode, owner{id.uid, id.gid, c.UID}); err != nil {
			return fmt.Errorf("cannot use %s as the %s directory of %s: %w", filepath.Join(f.base, name), f.kind, svc.Name, err)
		}
	}
	return nil
}

// RunDirectory is the folder that [directories] run asks for, "" if it does not.
func (c *Compiler) RunDirectory(svc *model.Service) string {
	if svc.Directories.Run == 0 || c.Bases.Run == "" || !filepath.IsLocal(directoryName(svc)) {
		return ""
	}
	return filepath.Join(c.Bases.Run, directoryName(svc))
}

// RemoveRunDirectory removes that folder with what is in it and follows no link. One
// that is not the service's, because somebody has put it there, stays.
func (c *Compiler) RemoveRunDirectory(svc *model.Service) error {
	dir := c.RunDirectory(svc)
	if dir == "" {
		return nil
	}
	id, err := c.identity(svc)
	if err != nil {
		return err
	}
	return removeFolder(dir, id.uid)
}

// owner is who a folder is made for, and who makes it.
type owner struct{ uid, gid, maker int }

var (
	errFolderLink = errors.New("it is a symbolic link")
	errNoFolder   = errors.New("it is not a directory")
)

// setDirectories tells a service where its folders are.
func (c *Compiler) setDirectories(env map[string]string, svc *model.Service) {
	for _, f := range c.folders(svc) {
		if f.base != "" {
			env[f.variable] = filepath.Join(f.base, directoryName(svc))
		}
	}
}
