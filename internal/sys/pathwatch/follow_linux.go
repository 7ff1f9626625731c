package pathwatch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxLinks = 40   // symbolic links on the way, as in path_resolution(7)
	maxMarks = 4096 // inodes that one pattern may make us watch
)

func split(name string, glob bool) []step {
	var steps []step
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			steps = append(steps, step{text: part, glob: glob && strings.ContainsAny(part, `*?[\`)})
		}
	}
	return steps
}

// walk is one look at where a watch leads.
type walk struct {
	w     *Watcher
	x     *watch
	wide  bool // each folder on the way is asked for names
	links int
	uses  []use
	made  []*mark
	seen  strings.Builder
	found int
}

// follow looks where a watch leads and has the kernel tell of every change on the
// way there. A folder is always asked before what is in it is looked at, so that
// no change falls between the two.
//
// While the end of the path is there, a folder above it need only tell of its own
// removal. One that somebody is in does not even tell that: when the end is gone,
// all of them are asked for the names that lead to it. What a pattern matches is
// never all there.
func (w *Watcher) follow(x *watch) error {
	var err error
	var made []*mark
	defer func() { w.sweep(made) }()
	pattern := slices.ContainsFunc(x.steps, func(s step) bool { return s.glob })
	wide := pattern
	for range 4 {
		v := &walk{w: w, x: x, wide: wide}
		if w.opt.Local != nil && !w.opt.Local(x.fixed()) {
			err = errors.New("it is not on a file system of this machine, and changes elsewhere are not told")
		} else {
			err = v.enter("/", x.steps)
		}
		made = append(made, v.made...)
		if err != nil {
			err = fmt.Errorf("cannot watch %s: %w", x.text, err)
		}
		w.replace(x, v.uses)
		x.seen = v.seen.String()
		if err != nil || pattern || wide == (v.found == 0) {
			return err
		}
		wide = v.found == 0
	}
	return nil
}

// fixed is the part of the path before the first pattern.
func (x *watch) fixed() string {
	var b strings.Builder
	for _, s := range x.steps {
		if s.glob {
			break
		}
		b.WriteString("/" + s.text)
	}
	return b.String() + "/"
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}

// ask marks what is at a path, for this watch. what is left of the steps names
// what matters in it.
func (v *walk) ask(name string, mask, how uint32, steps []step) error {
	m, err := v.w.mark(name, mask, how)
	if err != nil {
		if err == unix.ENOSPC {
			err = errors.New("this user watches too many paths; see fs.inotify.max_user_watches")
		}
		return err
	}
	if v.made = append(v.made, m); len(v.made) > maxMarks {
		return fmt.Errorf("more than %d folders and files would have to be watched", maxMarks)
	}
	u := use{x: v.x, mark: m, mask: mask, last: len(steps) <= 1}
	if len(steps) > 0 {
		u.next = steps[0]
	}
	v.uses = append(v.uses, u)
	return nil
}

// missing reports whether an error says that a path leads nowhere.
func missing(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP
}

// enter goes on in a folder.
func (v *walk) enter(dir string, steps []step) error {
	mask := uint32(ofItself)
	switch {
	case len(steps) == 1:
		mask |= ofLast
	case v.wide || steps[0].glob:
		mask |= ofNames
	}
	err := v.ask(dir, mask, unix.IN_ONLYDIR, steps)
	if missing(err) {
		return nil
	}
	blind := err == unix.EACCES
	if err != nil && !blind {
		return err
	}
	if !steps[0].glob {
		there, err := v.step(dir, steps[0].text, steps[1:])
		if err == nil && !there && blind {
			return fmt.Errorf("%s cannot be read: %w", dir, unix.EACCES)
		}
		return err
	}
	if blind {
		return fmt.Errorf("%s cannot be read: %w", dir, unix.EACCES)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, entry := range entries {
		if steps[0].matches(entry.Name()) {
			if _, err := v.step(dir, entry.Name(), steps[1:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// step looks at one name in a folder and follows it. It reports whether anything
// is there.
func (v *walk) step(dir, base string, rest []step) (there bool, err error) {
	name := join(dir, base)
	err = v.ask(name, ofItself, unix.IN_DONT_FOLLOW, nil)
	if missing(err) {
		return false, nil
	}
	if err != nil && err != unix.EACCES {
		return false, err
	}
	hidden := err != nil
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); missing(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return true, v.link(dir, name, rest)
	case len(rest) > 0 && kind == unix.S_IFDIR:
		return true, v.enter(name, rest)
	case len(rest) > 0:
		return true, nil
	default:
		v.found++
		fmt.Fprintf(&v.seen, "%s %d %d %d %d.%d\n", name, st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec)
		if kind == unix.S_IFREG && !hidden {
			if err := v.ask(name, ofFile, unix.IN_DONT_FOLLOW, nil); err != nil && !missing(err) && err != unix.EACCES {
				return true, err
			}
		}
		return true, nil
	}
}

// link goes on where a symbolic link points to.
func (v *walk) link(dir, name string, rest []step) error {
	if v.links++; v.links > maxLinks {
		return nil
	}
	if err := v.ask(name, ofLink, unix.IN_DONT_FOLLOW, nil); err != nil {
		if missing(err) {
			return nil
		}
		return err
	}
	target, err := os.Readlink(name)
	if err != nil {
		return nil // it has changed, and we are told
	}
	steps := append(split(target, false), rest...)
	if strings.HasPrefix(target, "/") {
		dir = "/"
	}
	if len(steps) == 0 {
		return nil
	}
	return v.enter(dir, steps)
}
