package contain

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/cgroupfs"
	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// group is a Group: with a leaf a control group, else traced, or nothing without
// proc.
type group struct {
	m    *Manager
	name string
	run  uint64
	leaf leaf // base is nil without a control group

	foreign  bool        // the main process is no child of a keeper
	formerly key         // the run of an earlier life that its processes name
	killed   atomic.Bool // KILL was sent to something of the run

	mu     sync.Mutex
	dirFD  int
	main   proc
	mainFD int    // pidfd of the main process, for as long as the group is known
	reaper int    // who the main process's orphans go to, when that is not the keeper
	known  []proc // descendants of the main process when Snapshot was last called
}

// proc is a process that cannot be mistaken for another of the same number.
type proc struct {
	pid   int
	start uint64
}

func (g *group) Kind() string {
	switch {
	case g.leaf.base != nil:
		return Cgroup
	case g.m.proc != "":
		return Traced
	}
	return None
}

func (g *group) DirFD() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.m.v1 != "" {
		return -1
	}
	return g.dirFD
}

func (g *group) CloseDir() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dirFD >= 0 {
		unix.Close(g.dirFD)
		g.dirFD = -1
	}
}

func (g *group) JoinPaths() []string {
	if g.leaf.base == nil {
		return nil
	}
	return []string{filepath.Join(g.leaf.base.Path, g.leaf.name, "cgroup.procs")}
}

func (g *group) SetMain(pid int, start uint64) {
	g.mu.Lock()
	g.main = proc{pid, start}
	if g.Kind() == Traced && g.mainFD < 0 {
		// Only a pidfd opened in time can stand for the process group later, when its
		// leader is gone.
		if fd, err := pidfd.Open(pid); err == nil {
			if stat, err := proctree.ReadStat(g.m.proc, pid); err == nil && stat.Start == start && !pidfd.Ended(fd) {
				g.mainFD = fd
			} else {
				pidfd.Close(fd)
			}
		}
	}
	g.mu.Unlock()
	g.m.mu.Lock()
	g.m.mains[pid] = g
	g.findReaper()
	g.m.mu.Unlock()
}

// findReaper sets who the orphans of the run go to when that is not the keeper: a
// main process that is older than the keeper was started by another one, and is
// now the child of whatever adopted it. Once it has ended that can only be the
// process above the keeper. It is called with the manager locked.
func (g *group) findReaper() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reaper = 0
	if g.Kind() != Traced || !g.foreign && g.main.start != 0 && g.main.start >= g.m.keeperStart {
		return
	}
	stat, err := proctree.ReadStat(g.m.proc, g.main.pid)
	if err != nil || stat.Start != g.main.start {
		if stat, err = proctree.ReadStat(g.m.proc, g.m.keeper); err != nil {
			return
		}
	}
	if stat.Ppid != g.m.keeper && stat.Ppid > 0 {
		g.reaper = stat.Ppid
	}
}

func (g *group) Snapshot() {
	if g.Kind() != Traced || !g.m.children {
		return
	}
	main := g.mainProc()
	if main.pid == 0 {
		return
	}
	var known []proc
	g.descend(main, func(p proc) { known = append(known, p) })
	g.mu.Lock()
	defer g.mu.Unlock()
	// The main process may have ended during the walk: what was known stays.
	for _, p := range g.known {
		if !slices.Contains(known, p) {
			known = append(known, p)
		}
	}
	g.known = known
}

func (g *group) mainProc() proc {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.main
}

func (g *group) Empty(mainGone bool) bool {
	if !mainGone && g.mainLives() {
		return false
	}
	switch g.Kind() {
	case Cgroup:
		populated, err := g.populated()
		return err == nil && !populated
	case Traced:
		return g.noOrphans() || g.nothingFound()
	}
	return true
}

func (g *group) mainLives() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.main.pid == 0 {
		return false
	}
	if g.mainFD >= 0 {
		return !pidfd.Ended(g.mainFD)
	}
	if g.m.proc == "" {
		return false
	}
	stat, err := proctree.ReadStat(g.m.proc, g.main.pid)
	return err == nil && stat.Start == g.main.start && !stat.Gone()
}

// noOrphans is the usual case at the end of a run: the keeper has no child but
// the engine, so nothing can be left of any run.
func (g *group) noOrphans() bool {
	g.m.mu.Lock()
	keeper := g.m.keeper
	g.m.mu.Unlock()
	g.mu.Lock()
	other := g.reaper
	g.mu.Unlock()
	if !g.m.children || keeper <= 0 || other != 0 {
		return false
	}
	children, err := proctree.ThreadChildren(g.m.proc, keeper, keeper)
	if err != nil {
		return false
	}
	for _, pid := range children {
		if !g.m.own(pid) {
			return false
		}
	}
	return true
}

// maxGlances bounds how long Empty looks before it leaves the answer to a hunt.
const maxGlances = 8

// nothingFound looks at all orphans. One that ended meanwhile may have left
// something, so it looks until nothing else has vanished.
func (g *group) nothingFound() bool {
	var m motion
	for range maxGlances {
		found := false
		seen, err := g.find(func(*held) bool {
			found = true
			return false
		}, nil)
		switch {
		case err != nil || found:
			return false
		case !m.since(seen):
			return true
		}
	}
	return false
}

func (g *group) Members() []int {
	var pids []int
	_, _ = g.find(func(h *held) bool {
		pids = append(pids, h.pid)
		return false
	}, nil)
	return pids
}

func (g *group) SignalAll(signo int) error {
	var errs []error
	_, err := g.find(func(h *held) bool {
		if err := pidfd.Send(h.fd, syscall.Signal(signo)); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, h.failed("signal", err))
		}
		return false
	}, nil)
	return errors.Join(append(errs, err)...)
}

func (g *group) Freeze() error {
	if g.Kind() == Cgroup {
		return g.freezer(true)
	}
	return g.stopAll()
}

func (g *group) Thaw() error {
	if g.Kind() == Cgroup {
		return g.freezer(false)
	}
	return g.SignalAll(int(syscall.SIGCONT))
}

// stopAll stops what it finds until nothing new appears: what forked before it was
// stopped has left something new.
func (g *group) stopAll() error {
	stopped := make(map[proc]bool)
	for quiet := 0; quiet < 2; {
		var errs []error
		fresh := false
		_, err := g.find(func(h *held) bool {
			if !stopped[h.proc] {
				stopped[h.proc], fresh = true, true
				if err := pidfd.Send(h.fd, syscall.SIGSTOP); err != nil && !errors.Is(err, unix.ESRCH) {
					errs = append(errs, h.failed("stop", err))
				}
			}
			return false
		}, nil)
		if err = errors.Join(append(errs, err)...); err != nil {
			return err
		}
		if quiet++; fresh {
			quiet = 0
		}
	}
	return nil
}

func (g *group) Kill(ctx context.Context) Result { return g.end(ctx, 0) }

func (g *group) Clean(ctx context.Context, o Options) Result { return g.end(ctx, o.Grace) }

func (g *group) end(ctx context.Context, grace time.Duration) Result {
	if g.Kind() == None {
		return Result{}
	}
	h := newHunt(g)
	defer h.close()
	if grace > 0 && h.ask(ctx, time.Now().Add(grace)) {
		return h.result()
	}
	h.kill(ctx)
	return h.result()
}

func (g *group) Leave() { g.Remove() }

func (g *group) Remove() {
	g.CloseDir()
	m := g.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.groups[key{g.name, g.run}] != g {
		return
	}
	delete(m.groups, key{g.name, g.run})
	g.mu.Lock()
	if m.mains[g.main.pid] == g {
		delete(m.mains, g.main.pid)
	}
	if g.mainFD >= 0 {
		pidfd.Close(g.mainFD)
		g.mainFD = -1
	}
	g.mu.Unlock()
	maps.DeleteFunc(m.strays, func(_ proc, owner *group) bool { return owner == g })
	if g.leaf.base != nil {
		m.done = append(m.done, g.leaf)
		if !m.busy {
			m.busy = true
			go m.remove()
		}
	}
}

// remove removes the leaves that are done with. One that has a process in it yet
// is tried again when the next one is done.
func (m *Manager) remove() {
	m.mu.Lock()
	var kept []leaf
	for len(m.done) > 0 {
		next := m.done[0]
		m.done = m.done[1:]
		m.mu.Unlock()
		err := next.base.Remove(next.name)
		m.mu.Lock()
		if errors.Is(err, unix.EBUSY) {
			kept = append(kept, next)
		}
	}
	m.done, m.busy = kept, false
	settled := m.settled
	m.mu.Unlock()
	if settled != nil {
		settled()
	}
}

func (g *group) Usage() Usage {
	var u Usage
	dir, err := g.openLeaf()
	if err != nil || g.m.v1 != "" {
		return u
	}
	defer dir.Close()
	if usec, err := dir.Field("cpu.stat", "usage_usec"); err == nil {
		u.CPU = time.Duration(usec) * time.Microsecond
	}
	u.Memory = number(dir, "memory.current")
	u.MemoryPeak = number(dir, "memory.peak")
	return u
}

func (g *group) OOMKilled() bool {
	if g.leaf.base == nil || g.m.v1 != "" || g.m.noMemory.Load() {
		return false
	}
	kills, err := g.leaf.base.Field(g.leaf.name+"/memory.events", "oom_kill")
	if errors.Is(err, unix.ENOENT) {
		// The controller is not ours to use, and this is on the way of every restart.
		g.m.noMemory.Store(true)
	}
	return err == nil && kills > 0
}

var _ Group = (*group)(nil)

func number(dir *cgroupfs.Dir, file string) int64 {
	data, err := dir.Read(file)
	if err != nil {
		return 0
	}
	pids, err := proctree.ParsePids(data)
	if err != nil || len(pids) != 1 {
		return 0
	}
	return int64(pids[0])
}
