package engine

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/abide-project/abide/internal/notify"
)

// fakeSockets is every notification socket there is. One lives as long as the engine
// or the keeper has it.
type fakeSockets struct {
	w       *world
	byFD    map[int]*fakeSocket
	next    int
	kept    map[string][]byte
	files   map[int]int    // descriptor -> what file it is of
	hungUp  map[int]bool   // files
	pidFile map[string]int // path -> what it holds
}

type fakeSocket struct {
	slot    string
	run     uint64
	waiting []notify.Datagram
	taken   int // messages that were done with
}

func newFakeSockets(w *world) *fakeSockets {
	return &fakeSockets{
		w: w, byFD: map[int]*fakeSocket{}, next: 5000, kept: map[string][]byte{}, files: map[int]int{}, hungUp: map[int]bool{},
		pidFile: map[string]int{},
	}
}

// send puts a message into the socket of the run that lives.
func (w *world) send(slot, text string, fds ...int) {
	w.sendAs(0, slot, text, fds...)
}

func (w *world) sendAs(uid int, slot, text string, fds ...int) {
	w.t.Helper()
	run := w.keeper.slots[slot].run
	for _, s := range w.sockets.byFD {
		if s.slot == slot && s.run == run {
			s.waiting = append(s.waiting, notify.Datagram{Data: []byte(text), Pid: 9, UID: uid, FDs: fds})
			w.keeper.outbox = append(w.keeper.outbox, func() { w.eng.Noticed(slot, run) })
			return
		}
	}
	w.t.Fatalf("%s has no notification socket\n%s", slot, w.story())
}

// fakeNotices is what one engine has of them.
type fakeNotices struct {
	*fakeSockets
	open map[PastRun]int
}

func key(slot string, run uint64) PastRun { return PastRun{Run: run, Inode: hash(slot)} }

func hash(text string) (h uint64) {
	for _, c := range []byte(text) {
		h = h*31 + uint64(c)
	}
	return h
}

func (n *fakeNotices) Open(slot string, run uint64, _, _ int, hidden bool) (string, error) {
	n.w.port()
	n.next++
	n.byFD[n.next] = &fakeSocket{slot: slot, run: run}
	n.open[key(slot, run)] = n.next
	if hidden {
		return "@" + slot, nil
	}
	return "/run/abide/notify/" + slot, nil
}

func (n *fakeNotices) Reopen(slot string, run uint64, _, _ int, address string) error {
	n.w.port()
	if address != "" && address != "@"+slot {
		return fmt.Errorf("%s was never at %s", slot, address)
	}
	n.next++
	n.byFD[n.next] = &fakeSocket{slot: slot, run: run}
	n.open[key(slot, run)] = n.next
	return nil
}

func (n *fakeNotices) Adopt(slot string, run uint64, fd int) error {
	n.w.port()
	if s := n.byFD[fd]; s == nil || s.slot != slot || s.run != run {
		return fmt.Errorf("%d is no socket of %s", fd, slot)
	}
	n.open[key(slot, run)] = fd
	return nil
}

func (n *fakeNotices) FD(slot string, run uint64) int {
	if fd, ok := n.open[key(slot, run)]; ok {
		return fd
	}
	return -1
}

func (n *fakeNotices) Again(slot string, run uint64) error {
	n.w.port()
	if s := n.byFD[n.FD(slot, run)]; s != nil && len(s.waiting) > 0 {
		eng := n.w.eng
		n.w.keeper.outbox = append(n.w.keeper.outbox, func() {
			if n.w.eng == eng {
				eng.Noticed(slot, run)
			}
		})
	}
	return nil
}

func (n *fakeNotices) Next(slot string, run uint64) (notify.Datagram, bool) {
	n.w.port()
	if s := n.byFD[n.FD(slot, run)]; s != nil && len(s.waiting) > 0 {
		return s.waiting[0], true
	}
	return notify.Datagram{}, false
}

func (n *fakeNotices) Done(slot string, run uint64) {
	n.w.port()
	if s := n.byFD[n.FD(slot, run)]; s != nil && len(s.waiting) > 0 {
		s.waiting = s.waiting[1:]
		s.taken++
	}
	n.w.port()
}

func (n *fakeNotices) Close(slot string, run uint64) {
	n.w.port()
	delete(n.open, key(slot, run))
}

func (n *fakeNotices) Sweep(func(string, uint64) bool) {}

func (n *fakeNotices) Keep(name string, blob []byte) error {
	n.w.port()
	if blob == nil {
		delete(n.kept, name)
	} else {
		n.kept[name] = slices.Clone(blob)
	}
	n.w.port()
	return nil
}

func (n *fakeNotices) Kept(name string) ([]byte, error) { return n.kept[name], nil }

// fakeDescriptors are numbers; files says which of them are of one file.
type fakeDescriptors struct{ *fakeSockets }

func (d fakeDescriptors) file(fd int) int {
	if f, ok := d.files[fd]; ok {
		return f
	}
	return fd
}
func (d fakeDescriptors) Same(a, b int) bool             { return d.file(a) == d.file(b) }
func (d fakeDescriptors) Inode(fd int) (dev, ino uint64) { return 1, 7 } // as eventfds have it
func (d fakeDescriptors) HungUp(fd int) bool             { return d.hungUp[d.file(fd)] }
func (d fakeDescriptors) Close(int)                      {}

func (p fakeProcesses) PidIn(path string) (int, error) {
	if pid := p.w.sockets.pidFile[path]; pid != 0 {
		return pid, nil
	}
	return 0, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
}
func (p fakeProcesses) PidOf(fd int) int               { return fd }
func (p fakeProcesses) IsPidfd(pid int, i uint64) bool { return uint64(pid) == i }

// AwaitAny sees the end of whatever a test has said is about to end.
func (p fakeProcesses) AwaitAny(_ context.Context, pids []int) bool {
	for _, pid := range pids {
		if slices.Contains(p.w.ending, pid) {
			delete(p.w.others, pid)
			return true
		}
	}
	return false
}
