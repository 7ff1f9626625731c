package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/sys/waitset"
)

// warden watches over the run directory: somebody may remove what is in it, or all
// of it, while we live, as logind does at a logout. It is told by the kernel and
// looks at nothing by itself.
type warden struct {
	path string
	// missing says what is not where it should be; repair makes it again.
	missing func() []string
	repair  func() error
	done    func(missing []string, err error) // told of each outcome, and of one failure in a row

	link    *link.Link
	inotify int
	on      string // what is watched: the run directory, or what is left above it
	failed  bool
}

const (
	inRun   = unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_UNMOUNT | unix.IN_ONLYDIR
	inAbove = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_UNMOUNT | unix.IN_ONLYDIR

	// Whoever wipes a directory removes one thing after the other.
	wipeQuiet = 50 * time.Millisecond
	wipeMost  = 500 * time.Millisecond
)

// isOurs tells whether a name in the run directory matters. Others come and go.
func isOurs(name string) bool {
	switch name {
	case "", "lock", "id", "keeper.state", "control.sock", "engine.state", "wishes", "applied", "services", "log.journal":
		return true
	}
	return strings.HasPrefix(name, "stage")
}

// watch ends with ctx, or when the kernel gives nothing to watch by.
func (w *warden) watch(ctx context.Context) error {
	if err := w.open(); err != nil {
		return err
	}
	defer unix.Close(w.inotify)
	set, err := waitset.New()
	if err != nil {
		return err
	}
	defer set.Close()
	if err := set.Add(w.inotify, waitset.Readable); err != nil {
		return err
	}
	// A mount over the directory, or one that is taken away with it, shows in no
	// other way.
	if mounts, err := os.Open("/proc/self/mountinfo"); err == nil {
		defer mounts.Close()
		_ = set.Add(int(mounts.Fd()), waitset.Changed)
	}
	if err := w.rewatch(); err != nil {
		return err
	}
	w.look()
	for {
		if _, err := set.Wait(ctx, time.Time{}); err != nil {
			if errors.Is(err, ctx.Err()) {
				return nil
			}
			return err
		}
		if !w.drain() && len(w.missing()) == 0 {
			continue
		}
		for end := time.Now().Add(wipeMost); time.Now().Before(end); {
			if ready, err := set.Wait(ctx, time.Now().Add(wipeQuiet)); err != nil || len(ready) == 0 {
				break
			}
			w.drain()
		}
		w.look()
	}
}

// open takes the inotify descriptor that the engine before us watched by, or makes
// one and gives the keeper a copy. The end of a process that has the last one waits
// some 20 ms for the kernel to forget its watches, and the next engine waits for
// that end. What happened while there was no engine is told as well.
func (w *warden) open() (err error) {
	if w.inotify, err = w.link.Take(wardenSlot, 0, wardenTag); err == nil {
		return nil
	}
	if w.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return err
	}
	_, _ = w.link.Keep(wardenSlot, 0, wardenTag, w.inotify)
	return nil
}

// The name under which the keeper holds the descriptor: abide's own, which no
// service may have.
const (
	wardenSlot = "abide/warden"
	wardenTag  = 1
)

// drain reads what inotify has and tells whether any of it matters.
func (w *warden) drain() (matters bool) {
	var buf [8192]byte
	for {
		n, err := unix.Read(w.inotify, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < unix.SizeofInotifyEvent {
			return matters
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			ev := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
			name := buf[at+unix.SizeofInotifyEvent : at+unix.SizeofInotifyEvent+int(ev.Len)]
			at += unix.SizeofInotifyEvent + int(ev.Len)
			matters = matters || w.on != w.path || isOurs(strings.TrimRight(string(name), "\x00"))
		}
	}
}

// look makes again what is missing.
func (w *warden) look() {
	missing := w.missing()
	if len(missing) == 0 {
		w.failed = false
		_ = w.rewatch()
		return
	}
	err := w.repair()
	if err == nil || !w.failed {
		w.done(missing, err)
	}
	w.failed = err != nil
	_ = w.rewatch()
	if err == nil && len(w.missing()) > 0 {
		// It was wiped again before it was watched: the events are lost.
		err = w.repair()
		w.failed = err != nil
	}
}

// rewatch watches the directory that has the path now, or what is left above it.
func (w *warden) rewatch() error {
	on, mask := w.path, uint32(inRun)
	for {
		_, err := unix.InotifyAddWatch(w.inotify, on, mask)
		if err == nil {
			w.on = on
			return nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.EACCES) || on == "/" {
			return err
		}
		on, mask = filepath.Dir(on), inAbove
	}
}

func watchOver(ctx context.Context, lk *link.Link, path string, missing func() []string, repair func() error, done func([]string, error)) error {
	w := &warden{link: lk, path: path, missing: missing, repair: repair, done: done}
	return w.watch(ctx)
}

// putInPlace gives a descriptor the number that others know, and takes it over.
func putInPlace(fd, number int) error {
	defer unix.Close(fd)
	return unix.Dup3(fd, number, unix.O_CLOEXEC)
}
