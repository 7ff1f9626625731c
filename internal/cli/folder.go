package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/control"
)

func notPermitted(err error, format string, args ...any) error {
	e := &control.Error{Code: control.Failed, Message: fmt.Sprintf(format, args...)}
	if errors.Is(err, fs.ErrPermission) {
		e.Code = control.NotPermitted
	}
	return e
}

// prepareRun makes the run directory of i and makes sure that nobody else can
// put things there.
func prepareRun(i instance) error {
	if i.uid != os.Geteuid() && os.Geteuid() != 0 {
		return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot run %s as uid %d", i, os.Geteuid())}
	}
	mode := os.FileMode(0o700)
	if i.scope == "system" || i.scope == "" && os.Geteuid() == 0 {
		mode = 0o755 // the socket in it judges who may do what
	}
	if err := makeFolder(i.run, mode, true); err != nil {
		return notPermitted(err, "cannot use run directory %s: %v", i.run, cause(err))
	}
	if err := private(i.run); err != nil {
		return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot use run directory %s: %v", i.run, err),
			Hint: fmt.Sprintf("chown %d %s; chmod %o %s; or choose another with --run", os.Geteuid(), i.run, mode, i.run)}
	}
	if err := unix.Access(i.run, unix.W_OK); err != nil {
		return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot use run directory %s: %v", i.run, err),
			Hint: "choose a folder on a tmpfs with --run DIR"}
	}
	return nil
}

// makeFolder makes dir and what is missing above it. The parents of a private
// folder are private as well.
func makeFolder(dir string, mode os.FileMode, exact bool) error {
	info, err := os.Lstat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil && info.Mode()&os.ModeSymlink != 0:
		if target, err := os.Stat(dir); err == nil && target.IsDir() && !exact {
			return nil
		}
		return errors.New("it is a symbolic link")
	case err == nil:
		return syscall.ENOTDIR
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeFolder(parent, mode, false); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(dir, mode) // whatever the umask
}

// private checks that dir belongs to us and can be written by nobody else.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return cause(err)
	}
	if !info.IsDir() {
		return errors.New("it is no folder")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to uid %d", st.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write to it (mode %04o)", info.Mode().Perm())
	}
	return nil
}

// prepareStore makes the state or log directory. One that cannot be used is said
// and left to the engine, which keeps in memory what it cannot write.
func (a *app) prepareStore(what, dir string, mode os.FileMode) {
	err := makeFolder(dir, mode, false)
	if err == nil {
		err = unix.Access(dir, unix.W_OK)
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "abide: cannot use %s directory %s: %v; going on without it\n", what, dir, cause(err))
	}
}
