package spawn

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/abide-project/abide/internal/model"
)

// Check says why a start of svc would certainly fail now: its program is not there or
// cannot be executed, its user is unknown, a file of variables is missing. It touches
// nothing on mounts that are not known to be local, so nil promises nothing.
func (c *Compiler) Check(svc *model.Service) error {
	if svc.Kind == model.Target || c.MayBlock(svc) {
		return nil
	}
	p, err := c.Compile(svc, Run{Number: 1})
	if err != nil {
		return err
	}
	program := p.Argv[0]
	if !filepath.IsAbs(program) || !c.Mounts.Local(filepath.Join("/", svc.Chroot, program)) {
		return nil // found on the way, or named from a folder that may be made by then
	}
	mode, err := statIn(svc.Chroot, program)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notFound("cannot find program %s", program)
	case err != nil:
		return &programError{"cannot run " + program + ": " + err.Error(), exitNoProgram}
	case mode&0o170000 != 0o100000:
		return &programError{"cannot run " + program + ": it is no regular file", exitNoProgram}
	case mode&0o111 == 0:
		return &programError{"cannot run " + program + ": it is not executable", exitNoProgram}
	}
	return nil
}
