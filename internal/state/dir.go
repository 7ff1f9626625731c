package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Dir is a directory that belongs to this instance alone. It is held open, and
// all work in it is relative to that descriptor, so replacing a parent directory
// changes nothing.
type Dir struct {
	path    string
	root    *folder
	durable bool
	files   files
}

// Run is the run directory: what lives until the next boot.
type Run struct {
	*Dir
	id string
}

// OpenRun opens the run directory at path and makes it (0755) when it is missing,
// with its id. A directory that belongs to another user, that others may write
// to, or that is a symbolic link is refused.
func OpenRun(path string) (*Run, error) {
	d, err := openDir(path, 0o755)
	if err != nil {
		return nil, err
	}
	id, err := d.makeID()
	if err != nil {
		d.Close()
		return nil, err
	}
	return &Run{Dir: d, id: id}, nil
}

// OpenState opens the state directory at path and makes it (0700) when it is
// missing, under the same conditions as OpenRun. Files written in it survive a
// power cut.
func OpenState(path string) (*Dir, error) {
	d, err := openDir(path, 0o700)
	if err != nil {
		return nil, err
	}
	d.durable = true
	return d, nil
}

// ID returns the 16 hexadecimal digits that name this run directory for as long
// as it exists.
func (r *Run) ID() string { return r.id }

// Path returns the path the directory was opened by.
func (d *Dir) Path() string { return d.path }

// Close gives the descriptor back.
func (d *Dir) Close() error { return d.root.Close() }

// Sub opens the directory name below d, and makes it with mode when it is
// missing. It has the durability of d.
func (d *Dir) Sub(name string, mode fs.FileMode) (*Dir, error) {
	full := filepath.Join(d.path, name)
	if err := d.root.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot make %s: %w", full, reason(err))
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", full, reason(err))
	}
	if err := checkDir(full, info); err != nil {
		return nil, err
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", full, reason(err))
	}
	at := newFolder(root)
	sub := &Dir{path: full, root: at, durable: d.durable, files: rootFiles{at}}
	if err := sub.sameAs(info); err != nil {
		return nil, err
	}
	return sub, nil
}

// ReadFile returns the content of the regular file name. One larger than limit
// bytes is an error.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, d.failed("read", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, d.failed("read", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, d.failed("read", name, errors.New("not a regular file"))
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, d.failed("read", name, err)
	}
	if int64(len(data)) > limit {
		return nil, d.failed("read", name, fmt.Errorf("larger than %d bytes", limit))
	}
	return data, nil
}

// SetAside renames the file name to name.bad, in place of an older one.
func (d *Dir) SetAside(name string) error {
	if err := d.files.rename(name, name+".bad"); err != nil {
		return d.failed("set aside", name, err)
	}
	return nil
}

func (d *Dir) failed(verb, name string, err error) error {
	return fmt.Errorf("cannot %s %s: %w", verb, filepath.Join(d.path, name), reason(err))
}

// reason strips the operation and path that the os package adds: the errors of
// this package name them once, in full.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	var linkError *os.LinkError
	if errors.As(err, &linkError) {
		return linkError.Err
	}
	return err
}

func openDir(path string, mode fs.FileMode) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", filepath.Dir(path), reason(err))
	}
	made := os.Mkdir(path, mode)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return nil, fmt.Errorf("cannot make %s: %w", path, reason(made))
	}
	return openMade(path, mode, made == nil)
}

// openMade opens a directory that exists; fresh says that we made it just now.
func openMade(path string, mode fs.FileMode, fresh bool) (*Dir, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", path, reason(err))
	}
	if err := checkDir(path, info); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, reason(err))
	}
	at := newFolder(root)
	d := &Dir{path: path, root: at, files: rootFiles{at}}
	if err := d.sameAs(info); err != nil {
		return nil, err
	}
	if fresh {
		// The umask of whoever starts abide must not decide who reaches the socket.
		if err := root.Chmod(".", mode); err != nil {
			d.Close()
			return nil, fmt.Errorf("cannot set the mode of %s: %w", path, reason(err))
		}
	}
	return d, nil
}

// sameAs closes d and fails when it is not the directory that was checked: it was
// exchanged in between.
func (d *Dir) sameAs(checked fs.FileInfo) error {
	opened, err := d.root.Stat(".")
	if err == nil && os.SameFile(checked, opened) {
		return nil
	}
	d.root.Close()
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", d.path, reason(err))
	}
	return fmt.Errorf("cannot use %s: it was exchanged while it was opened", d.path)
}

func checkDir(path string, info fs.FileInfo) error {
	refuse := func(why string) error { return fmt.Errorf("cannot use %s: %s", path, why) }
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("it is a symbolic link")
	case !info.IsDir():
		return refuse("it is not a directory")
	case info.Mode().Perm()&0o022 != 0:
		return refuse(fmt.Sprintf("others may write to it (mode %04o)", info.Mode().Perm()))
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return refuse(fmt.Sprintf("it belongs to uid %d, not to uid %d", stat.Uid, os.Geteuid()))
	}
	return nil
}

const idFile = "id"

// makeID reads the id, or makes one. Of several processes that make one at the
// same time the first wins: a link is never made over an existing name.
func (d *Dir) makeID() (string, error) {
	id, err := d.readID()
	if errors.Is(err, errNoID) {
		err = d.SetAside(idFile)
		if err == nil {
			err = fs.ErrNotExist
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	var random [8]byte
	rand.Read(random[:])
	id = hex.EncodeToString(random[:])
	name := "." + idFile + "." + id
	if err := d.write(name, []byte(id+"\n"), 0o644); err != nil {
		return "", d.failed("write", idFile, err)
	}
	err = d.root.Link(name, idFile)
	if rerr := d.root.Remove(name); err == nil {
		err = rerr
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", d.failed("make", idFile, err)
	}
	return d.readID()
}

func (d *Dir) readID() (string, error) {
	data, err := d.ReadFile(idFile, 64)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(data))
	if !goodID(id) {
		return "", d.failed("read", idFile, errNoID)
	}
	return id, nil
}

var errNoID = errors.New("it is not 16 hexadecimal digits")

func goodID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 8 && id == strings.ToLower(id)
}

// RestoreID gives the run directory the id that it had before its file was lost:
// the one that what runs carries in its environment. It reports whether that
// changed anything.
func (r *Run) RestoreID(id string) (bool, error) {
	if id == r.id || !goodID(id) {
		return false, nil
	}
	if err := r.WriteFile(idFile, []byte(id+"\n"), 0o644); err != nil {
		return false, err
	}
	r.id = id
	return true, nil
}

// BootID names the present boot of the machine. It is "" where the system does
// not tell (no /proc).
func BootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
