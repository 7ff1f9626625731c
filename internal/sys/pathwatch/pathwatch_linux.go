package pathwatch

import (
	"errors"
	"fmt"
	"os"
	"path"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Watcher watches paths. Its methods may be called from any goroutine.
type Watcher struct {
	opt     Options
	serving sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	file      *os.File // the inotify, nil: none yet
	fd        int      // its number, -1
	inherited bool
	mounts    *os.File // tells of mounts while somebody watches, nil if nothing does
	marks     map[int32]*mark
	watches   map[*watch]struct{}
}

// watch is one path or pattern that somebody asked for.
type watch struct {
	text   string
	steps  []step
	fn     func()
	marks  []*mark
	seen   string // what was at the path when it was looked at last
	failed bool   // why it cannot be watched was said
}

// step is one part of a path between slashes.
type step struct {
	text string
	glob bool
}

func (s step) matches(name string) bool {
	if !s.glob {
		return s.text == name
	}
	ok, _ := path.Match(s.text, name)
	return ok
}

// New returns a Watcher that has nothing open yet.
func New(opt Options) *Watcher {
	return &Watcher{opt: opt, fd: -1, marks: map[int32]*mark{}, watches: map[*watch]struct{}{}}
}

// Watch has fn called when an absolute path appears, vanishes, is written, touched
// or renamed over. Links are followed, also to where nothing is yet. fn is called
// from another goroutine, must not block, and may be called once more while cancel
// returns. It is an error if the kernel has no room for more watches (inotify(7),
// /proc/sys/fs/inotify).
func (w *Watcher) Watch(name string, fn func()) (cancel func(), err error) {
	return w.add(name, split(name, false), fn)
}

// WatchGlob is Watch for each path that matches a pattern (path.Match), now or
// later.
func (w *Watcher) WatchGlob(pattern string, fn func()) (cancel func(), err error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", pattern, err)
	}
	return w.add(pattern, split(pattern, true), fn)
}

func (w *Watcher) add(text string, steps []step, fn func()) (func(), error) {
	if len(steps) == 0 || text[0] != '/' {
		return nil, fmt.Errorf("cannot watch %q: it is not an absolute path", text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", text, err)
	}
	x := &watch{text: text, steps: steps, fn: fn}
	w.watches[x] = struct{}{}
	w.listenToMounts()
	if err := w.follow(x); err != nil {
		w.remove(x)
		return nil, err
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.remove(x)
	}, nil
}

func (w *Watcher) remove(x *watch) {
	if _, known := w.watches[x]; !known || w.closed {
		return
	}
	delete(w.watches, x)
	w.replace(x, nil)
	w.listenToMounts()
}

// open makes what is needed to watch anything.
func (w *Watcher) open() error {
	if w.closed {
		return errors.New("the watcher is closed")
	}
	if w.fd >= 0 {
		return nil
	}
	fd := -1
	if w.opt.Take != nil {
		if taken, err := w.opt.Take(); err == nil {
			fd = taken
		}
	}
	inherited := fd >= 0
	if !inherited {
		var err error
		if fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
			if err == unix.EMFILE {
				return errors.New("this user has too many inotify instances; see fs.inotify.max_user_instances")
			}
			return err
		}
	}
	if !inherited && w.opt.Keep != nil {
		w.opt.Keep(fd)
	}
	w.file, w.fd, w.inherited = os.NewFile(uintptr(fd), "inotify"), fd, inherited
	w.serving.Go(w.serve)
	return nil
}

// listenToMounts has changes of the mount table told while there is somebody to
// tell: what a mount hides or shows, inotify does not know.
func (w *Watcher) listenToMounts() {
	switch {
	case len(w.watches) == 0 && w.mounts != nil:
		w.mounts.Close()
		w.mounts = nil
	case len(w.watches) > 0 && w.mounts == nil:
		// Without /proc mounts go unseen, and nothing else does.
		f, err := os.Open("/proc/self/mountinfo")
		if err != nil {
			return
		}
		conn, err := f.SyscallConn()
		if err != nil {
			f.Close()
			return
		}
		w.mounts = f
		w.serving.Go(func() { w.serveMounts(conn) })
	}
}

// serveMounts sleeps until mounts change. The file tells the first poller that
// asks, once, so it must not be asked through a second epoll.
func (w *Watcher) serveMounts(conn syscall.RawConn) {
	for {
		slept := false
		err := conn.Read(func(uintptr) bool {
			defer func() { slept = true }()
			return slept
		})
		if err != nil {
			return
		}
		w.handle(func(h hits) {
			for x := range w.watches {
				h.look(x)
			}
		})
	}
}

// Close ends all watches. Nothing is called once it has returned.
func (w *Watcher) Close() {
	w.mu.Lock()
	if !w.closed && w.file != nil {
		w.file.Close()
		if w.mounts != nil {
			w.mounts.Close()
		}
	}
	w.closed = true
	w.mu.Unlock()
	w.serving.Wait()
}

// serve sleeps until the kernel tells something of what is marked.
func (w *Watcher) serve() {
	buf := make([]byte, 8192)
	for {
		n, err := w.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			w.report(fmt.Errorf("cannot watch any path any more: %w", err))
			return
		}
		w.handle(func(h hits) { w.events(buf[:n], h) })
	}
}

// handle takes something that happened and tells whom it concerns.
func (w *Watcher) handle(happened func(hits)) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	h := hits{}
	happened(h)
	fns, failures := w.lookAgain(h)
	w.mu.Unlock()
	for _, err := range failures {
		w.report(err)
	}
	for _, fn := range fns {
		fn()
	}
}

func (w *Watcher) report(err error) {
	if w.opt.Report != nil {
		w.opt.Report(err)
	}
}

// hits are the watches to look at again, and whether who watches is told even if
// nothing shows.
type hits map[*watch]bool

func (h hits) look(x *watch) {
	if !h[x] {
		h[x] = false
	}
}
func (h hits) tell(x *watch) { h[x] = true }

// lookAgain follows what may lead elsewhere by now. It returns whom to tell.
func (w *Watcher) lookAgain(h hits) (fns []func(), failures []error) {
	for x, tell := range h {
		if _, known := w.watches[x]; !known {
			continue
		}
		before := x.seen
		err := w.follow(x)
		if err != nil && !x.failed {
			failures = append(failures, err)
		}
		if tell || err != nil && !x.failed || x.seen != before {
			fns = append(fns, x.fn)
		}
		x.failed = err != nil
	}
	return fns, failures
}
