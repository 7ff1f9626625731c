package contain

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/waitset"
)

// hunt ends the processes of one run.
type hunt struct {
	g      *group
	set    *waitset.Set
	held   map[int]*held // found and waited for, by process
	byFD   map[int]*held // the same, by pidfd
	denied map[int]*held // we may not signal them
	strays []Stray
	motion motion
	moving bool // something vanished at the latest look that had not before
	events int  // cgroup.events, -1 without
	limit  int  // pidfds from this number on are not kept
	ended  int
	failed error
}

// maxHeld bounds the pidfds of one hunt, so that a program with very many
// processes takes no other service's descriptors.
const maxHeld = 1024

func newHunt(g *group) *hunt {
	h := &hunt{g: g, held: make(map[int]*held), byFD: make(map[int]*held), denied: make(map[int]*held), events: -1}
	h.limit = descriptors() - 2*spareFDs
	h.set, h.failed = waitset.New()
	if h.failed == nil && g.Kind() == Cgroup && g.m.v1 == "" {
		fd, err := unix.Openat(g.leaf.base.FD, g.leaf.name+"/cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			h.events = fd
			h.failed = h.set.Add(fd, waitset.Changed)
		}
	}
	return h
}

func (h *hunt) close() {
	for _, one := range h.held {
		pidfd.Close(one.fd)
	}
	for _, one := range h.denied {
		pidfd.Close(one.fd)
	}
	if h.set != nil {
		h.set.Close()
	}
	if h.events >= 0 {
		unix.Close(h.events)
	}
}

func (h *hunt) result() Result {
	r := Result{Ended: h.ended, NeededKill: h.g.killed.Load(), Strays: h.strays, Err: h.failed}
	for _, one := range h.held {
		if pidfd.Ended(one.fd) {
			r.Ended++
		} else {
			r.Left = append(r.Left, Stray{Pid: one.pid, Start: one.start, Comm: one.comm, Why: "it has not ended yet"})
		}
	}
	for _, one := range h.denied {
		if !pidfd.Ended(one.fd) {
			r.Left = append(r.Left, Stray{Pid: one.pid, Start: one.start, Comm: one.comm, Why: "abide may not signal it"})
		}
	}
	return r
}

// holds reports whether a process is held and lives; one that has ended is let go.
func (h *hunt) holds(pid int) bool {
	if one := h.denied[pid]; one != nil {
		return !pidfd.Ended(one.fd)
	}
	one := h.held[pid]
	if one == nil {
		return false
	}
	if pidfd.Ended(one.fd) {
		h.drop(one)
		h.ended++
		return false
	}
	return true
}

func (h *hunt) hold(one *held) bool {
	if len(h.held) >= maxHeld || one.fd >= h.limit || h.set.Add(one.fd, waitset.Readable) != nil {
		return false
	}
	h.held[one.pid], h.byFD[one.fd] = one, one
	return true
}

func (h *hunt) drop(one *held) {
	h.release(one)
	pidfd.Close(one.fd)
}

func (h *hunt) release(one *held) {
	h.set.Remove(one.fd)
	delete(h.held, one.pid)
	delete(h.byFD, one.fd)
}

// send signals a process that was just found. It returns true when the process is
// to be kept: it will be waited for, or we may not signal it.
func (h *hunt) send(one *held, signals ...syscall.Signal) (keep bool) {
	for _, sig := range signals {
		err := pidfd.Send(one.fd, sig)
		if errors.Is(err, unix.EPERM) {
			h.denied[one.pid] = one
			return true
		}
	}
	return h.hold(one)
}

// find is group.find for what is not held yet. It keeps what else was seen.
func (h *hunt) find(visit func(*held) bool) (fresh int) {
	var seen sight
	seen, h.failed = h.g.find(func(one *held) bool {
		fresh++
		return visit(one)
	}, h.holds)
	h.strays, h.moving = seen.strays, h.motion.since(seen)
	return fresh
}

// maxMoving is how often in a row a look that found nothing is repeated because
// processes come and go. Most of them are other runs' short-lived orphans.
const maxMoving = 1000

// ask sends TERM and CONT to everything and waits. It returns true when nothing
// is left, false when there is something to kill.
func (h *hunt) ask(ctx context.Context, deadline time.Time) bool {
	if h.set == nil {
		return false
	}
	if h.g.Kind() == Cgroup {
		_ = h.g.freezer(false) // a paused run would not see the signal
	}
	for moving := 0; ; {
		fresh := h.find(func(one *held) bool {
			return h.send(one, syscall.SIGTERM, syscall.SIGCONT)
		})
		if fresh == 0 && len(h.held) == 0 && h.moving && moving < maxMoving {
			moving++
			continue
		}
		if len(h.held) == 0 && !h.populated() && (fresh == 0 || h.failed != nil) {
			return h.failed == nil
		}
		if fresh > 0 && len(h.held) == 0 && h.events < 0 {
			return false // no room to wait for a single one
		}
		if !h.wait(ctx, deadline) {
			return false
		}
	}
}

// populated reports whether the control group, if there is one, has processes.
func (h *hunt) populated() bool {
	if h.g.Kind() != Cgroup {
		return false
	}
	populated, err := h.g.populated()
	return err == nil && populated
}

// wait returns when everything that is held has ended, or the control group has
// become empty. It returns false when the deadline has passed or ctx has ended.
func (h *hunt) wait(ctx context.Context, deadline time.Time) bool {
	for {
		if h.events >= 0 {
			var buf [64]byte
			_, _ = unix.Pread(h.events, buf[:], 0) // what has changed until now is known
			if !h.populated() {
				h.reap()
				return true
			}
		} else if len(h.held) == 0 {
			return ctx.Err() == nil
		}
		ready, err := h.set.Wait(ctx, deadline)
		if err != nil || len(ready) == 0 {
			h.reap()
			return h.events < 0 && len(h.held) == 0
		}
		if h.ready(ready); len(h.held) == 0 {
			return true
		}
	}
}

// ready lets go of the processes whose pidfds are ready.
func (h *hunt) ready(fds []int) {
	for _, fd := range fds {
		if one := h.byFD[fd]; one != nil {
			h.drop(one)
			h.ended++
		}
	}
}

// reap lets go of everything that has ended.
func (h *hunt) reap() {
	for _, one := range h.held {
		if pidfd.Ended(one.fd) {
			h.drop(one)
			h.ended++
		}
	}
}

// kill ends everything. It returns when nothing is left or ctx has ended.
func (h *hunt) kill(ctx context.Context) {
	if h.set == nil {
		return
	}
	for failures := 0; ctx.Err() == nil; {
		if h.g.Kind() == Cgroup && h.killGroup(ctx) {
			return
		}
		if !h.killEach(ctx) {
			continue
		}
		if failures++; h.failed == nil || failures == maxFailures {
			return
		}
		// A look that failed for want of descriptors may have seen nothing but
		// processes that are about to be gone, so it is worth another after a while.
		_, _ = h.set.Wait(ctx, time.Now().Add(time.Millisecond<<min(failures, 8)))
	}
}

// maxFailures is how often a look may fail before the hunt is given up.
const maxFailures = 16

// killGroup has the kernel end a control group; what forks meanwhile dies too. It
// returns false where the kernel cannot.
func (h *hunt) killGroup(ctx context.Context) bool {
	if h.events < 0 {
		return false
	}
	for round := 0; ctx.Err() == nil; round++ {
		if round > 0 {
			resume, _ := h.g.halt()
			resume()
		}
		h.find(h.hold)
		if !h.populated() {
			break
		}
		if err := h.g.killLeaf(); err != nil {
			return false
		}
		h.g.killed.Store(true)
		// The kernel passes over a process whose first thread has exited before the
		// others (seen on Linux 6.18), so each one gets KILL from us as well.
		for _, one := range h.held {
			_ = pidfd.Send(one.fd, syscall.SIGKILL)
		}
		h.wait(ctx, time.Time{})
	}
	h.reap()
	h.failed = nil // the kernel found what we could not
	return true
}

// killEach stops everything, looks again until nothing new appears, and only then
// kills: a process that is killed too early takes with it what shows where its
// children came from. It returns true when nothing was left.
func (h *hunt) killEach(ctx context.Context) bool {
	resume, halted := func() {}, false
	if h.g.Kind() == Cgroup {
		// What is killed in a frozen version 1 group dies when the group is resumed.
		resume, halted = h.g.halt()
	}
	h.strike(syscall.SIGSTOP)
	unheld := 0
	for quiet, moving := 0, 0; quiet < 2 && ctx.Err() == nil; {
		fresh := h.find(func(one *held) bool {
			if halted && h.hold(one) || !halted && h.send(one, syscall.SIGSTOP) {
				return true
			}
			// There are too many to hold: this one dies now.
			unheld++
			_ = pidfd.Send(one.fd, syscall.SIGKILL)
			return false
		})
		if h.failed != nil || unheld > 0 {
			break // what is held is killed first, which gives descriptors back
		}
		switch {
		case fresh > 0:
			quiet, moving = 0, 0
		case h.moving && moving < maxMoving:
			quiet, moving = 0, moving+1
		default:
			quiet++
		}
	}
	nothing := len(h.held) == 0 && unheld == 0
	if !nothing {
		h.g.killed.Store(true)
	}
	for _, one := range h.held {
		if errors.Is(pidfd.Send(one.fd, syscall.SIGKILL), unix.EPERM) {
			h.release(one)
			h.denied[one.pid] = one
		}
	}
	if !nothing {
		h.strike(syscall.SIGKILL)
	}
	h.ended += unheld
	resume()
	for len(h.held) > 0 {
		ready, err := h.set.Wait(ctx, time.Time{})
		if err != nil || len(ready) == 0 {
			return true // ctx has ended, or the system cannot even wait any more
		}
		h.ready(ready)
	}
	return nothing && ctx.Err() == nil
}

// pidfdProcessGroup makes pidfd_send_signal(2) reach the process group that the
// process leads, or led: since Linux 6.9.
const pidfdProcessGroup = 1 << 2

// strike signals the main process's group in one step, which a program that forks
// faster than it is found cannot outrun. Its number cannot mean another group: the
// pidfd was opened while the main process lived.
func (h *hunt) strike(sig syscall.Signal) {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	if h.g.mainFD >= 0 {
		_ = unix.PidfdSendSignal(h.g.mainFD, sig, nil, pidfdProcessGroup)
	}
}
