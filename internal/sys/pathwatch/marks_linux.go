package pathwatch

import (
	"bytes"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mark is one watch descriptor: an inode that the kernel tells about.
type mark struct {
	wd   int32
	path string // by which it was found last
	mask uint32 // what the kernel was asked for
	uses []use
}

// use is what one watch wants of a mark.
type use struct {
	x    *watch
	mark *mark
	mask uint32
	next step // the name in this folder that matters, if names are asked for
	last bool // that name is the end of the path, or the mark is on what is there
}

const (
	ofItself = unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
	ofNames  = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	ofLast   = ofNames | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	ofFile   = ofItself | unix.IN_MODIFY | unix.IN_ATTRIB
	ofLink   = ofItself | unix.IN_ATTRIB
)

// mark asks the kernel to tell mask of the inode that name leads to.
func (w *Watcher) mark(name string, mask, how uint32) (*mark, error) {
	wd, err := w.ask(name, mask|how|unix.IN_MASK_ADD)
	if err != nil {
		return nil, err
	}
	m := w.marks[wd]
	if m == nil {
		m = &mark{wd: wd, mask: mask}
		w.marks[wd] = m
		if w.inherited {
			// Who watched before us may have asked for more.
			_, _ = w.ask(name, mask|how)
		}
	}
	m.path = name
	m.mask |= mask
	return m, nil
}

func (w *Watcher) ask(name string, mask uint32) (int32, error) {
	for {
		wd, err := unix.InotifyAddWatch(w.fd, name, mask)
		if err != unix.EINTR {
			return int32(wd), err
		}
	}
}

// replace gives a watch other uses. Marks that nobody uses any more are given
// back, and what nobody wants to know of the others is not told any more.
func (w *Watcher) replace(x *watch, uses []use) {
	old := x.marks
	for _, m := range old {
		m.uses = slices.DeleteFunc(m.uses, func(u use) bool { return u.x == x })
	}
	x.marks = nil
	for _, u := range uses {
		u.mark.uses = append(u.mark.uses, u)
		if !slices.Contains(x.marks, u.mark) {
			x.marks = append(x.marks, u.mark)
		}
	}
	for _, m := range append(old, x.marks...) {
		w.trim(m)
	}
}

func (w *Watcher) trim(m *mark) {
	if w.marks[m.wd] != m {
		return
	}
	wanted := uint32(0)
	for _, u := range m.uses {
		wanted |= u.mask
	}
	switch {
	case wanted == 0:
		delete(w.marks, m.wd)
		_, _ = unix.InotifyRmWatch(w.fd, uint32(m.wd))
	case wanted != m.mask:
		w.narrow(m, wanted)
	}
}

// narrow has less told of a mark. A new mask replaces the old one by path only, so
// the path is opened and shown to be the mark's first; if it is not, things stay as
// they are.
func (w *Watcher) narrow(m *mark, wanted uint32) {
	fd, err := unix.Open(m.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	switch wd, err := w.ask(name, wanted|unix.IN_MASK_ADD); {
	case err != nil:
	case wd != m.wd && w.marks[wd] == nil:
		_, _ = unix.InotifyRmWatch(w.fd, uint32(wd))
	case wd == m.wd:
		if _, err := w.ask(name, wanted); err == nil {
			m.mask = wanted
		}
	}
}

// sweep gives back marks that were made on the way and are used by nobody.
func (w *Watcher) sweep(marks []*mark) {
	for _, m := range marks {
		w.trim(m)
	}
}

// events takes what the kernel has to tell.
func (w *Watcher) events(buf []byte, h hits) {
	for at := 0; at+unix.SizeofInotifyEvent <= len(buf); {
		ev := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
		at += unix.SizeofInotifyEvent
		name := buf[at:min(at+int(ev.Len), len(buf))]
		at += int(ev.Len)
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		w.event(ev.Wd, ev.Mask, string(name), h)
	}
}

func (w *Watcher) event(wd int32, mask uint32, name string, h hits) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		for x := range w.watches {
			h.tell(x)
		}
		return
	}
	m := w.marks[wd]
	if m == nil {
		if mask&unix.IN_IGNORED == 0 {
			_, _ = unix.InotifyRmWatch(w.fd, uint32(wd)) // of who watched before us
		}
		return
	}
	if mask&unix.IN_IGNORED != 0 {
		delete(w.marks, wd)
	}
	for _, u := range m.uses {
		switch {
		case name != "" && !u.next.matches(name):
		case u.last && (name != "" || u.mask&unix.IN_MODIFY != 0):
			h.tell(u.x)
		default:
			h.look(u.x)
		}
	}
}
