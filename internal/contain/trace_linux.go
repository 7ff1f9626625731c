package contain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// held is a process of a run behind an open pidfd.
type held struct {
	proc
	comm string
	fd   int
}

func (h *held) failed(verb string, err error) error {
	return fmt.Errorf("cannot %s process %d (%s): %w", verb, h.pid, h.comm, err)
}

var errNone = errors.New("nothing here tells which processes belong to a run")

// find calls visit with every process of the run; visit returns true to keep the
// pidfd. A process for which known returns true, because the caller holds it and
// it lives, is passed over, but what descends from it is not.
func (g *group) find(visit func(*held) bool, known func(pid int) bool) (sight, error) {
	switch g.Kind() {
	case Cgroup:
		return g.findListed(visit, known)
	case Traced:
		t := tracer{g: g, visit: visit, known: known, done: make(map[int]bool)}
		err := t.run()
		return t.sight, err
	}
	return sight{}, errNone
}

// sight is what a look saw besides the processes of the run.
type sight struct {
	// strays are orphans that may have come from the run and show nothing of it.
	strays []Stray

	// vanished are processes that were listed and had ended when they were looked
	// at. Each may have left a successor that is not in the list.
	vanished []int
}

// motion compares looks that follow each other.
type motion struct{ gone map[int]bool }

// since reports whether a process vanished in a look that had not in the one
// before. A zombie that nobody reaps vanishes in each and moves nothing.
func (m *motion) since(seen sight) bool {
	gone := make(map[int]bool, len(seen.vanished))
	moving := false
	for _, pid := range seen.vanished {
		gone[pid] = true
		moving = moving || !m.gone[pid]
	}
	m.gone = gone
	return moving
}

// own reports whether a process is one of abide's.
func (m *Manager) own(pid int) bool {
	if pid == os.Getpid() || slices.Contains(m.config.Own, pid) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return pid == m.keeper
}

// tracer is one look at the processes of a run.
type tracer struct {
	g     *group
	main  proc
	visit func(*held) bool
	known func(int) bool
	table map[int][]int // children by parent, where proc has no children files
	done  map[int]bool
	todo  []node
	sight
	full error // there was no room to look at everything
}

// node is a process to look at.
type node struct {
	pid    int
	start  uint64 // it must have begun then; 0: whenever
	parent int    // it must have this parent; 0: any
	member bool   // by descent
	orphan bool   // it became a child of the keeper because its parent ended
}

func (t *tracer) run() error {
	g := t.g
	g.mu.Lock()
	t.main = g.main
	reaper, known := g.reaper, g.known
	g.mu.Unlock()
	g.m.mu.Lock()
	keeper := g.m.keeper
	g.m.mu.Unlock()
	if !g.m.children {
		if err := t.readTable(); err != nil {
			return err
		}
	}
	if reaper > 0 {
		for _, pid := range t.children(reaper) {
			t.todo = append(t.todo, node{pid: pid, parent: reaper})
		}
	}
	for _, pid := range t.orphans(keeper) {
		t.todo = append(t.todo, node{pid: pid, parent: keeper, orphan: true})
	}
	for _, p := range known {
		t.todo = append(t.todo, node{pid: p.pid, start: p.start, member: true})
	}
	if t.main.pid > 0 {
		t.todo = append(t.todo, node{pid: t.main.pid, start: t.main.start, member: true})
	}
	// The last one is looked at first: what belongs to the run for sure, then what
	// may, each with its descendants before the next.
	for len(t.todo) > 0 && t.full == nil {
		n := t.todo[len(t.todo)-1]
		t.todo = t.todo[:len(t.todo)-1]
		t.look(n)
	}
	return t.full
}

// look decides about one process and goes on with its children.
func (t *tracer) look(n node) {
	if t.done[n.pid] || t.g.m.own(n.pid) {
		return
	}
	if t.known != nil && t.known(n.pid) {
		t.done[n.pid] = true
		t.descend(n.pid, true)
		return
	}
	fd, err := pidfd.Open(n.pid)
	if err != nil {
		t.check(err)
		t.vanished = append(t.vanished, n.pid)
		return
	}
	keep := false
	defer func() {
		if !keep {
			pidfd.Close(fd)
		}
	}()
	// All that is read from here on is about the process behind the pidfd if that
	// one still lives afterwards.
	stat, err := proctree.ReadStat(t.g.m.proc, n.pid)
	t.check(err)
	switch {
	case n.start != 0 && (err != nil || stat.Start != n.start):
		return // it was remembered, not listed
	case err != nil || stat.Gone() || n.parent != 0 && stat.Ppid != n.parent:
		t.vanished = append(t.vanished, n.pid)
		return
	}
	t.done[n.pid] = true
	member := n.member
	if !member {
		if stat.Start < t.main.start {
			return // neither it nor what descends from it can come from this run
		}
		var elsewhere bool
		if member, elsewhere = t.judge(&stat); elsewhere || t.full != nil {
			return
		}
	}
	h := &held{proc: proc{stat.Pid, stat.Start}, comm: stat.Comm, fd: fd}
	switch {
	case pidfd.Ended(fd):
		t.vanished = append(t.vanished, n.pid)
		return
	case member:
		keep = t.visit(h)
	case n.orphan && t.g.m.isStray(h.proc, t.g):
		t.strays = append(t.strays, Stray{
			Pid: h.pid, Start: h.start, Comm: h.comm,
			Why: "it has no session, process group, log pipe or ABIDE_RUN_ID of any run",
		})
	}
	t.descend(n.pid, member)
}

func (t *tracer) descend(pid int, member bool) {
	for _, child := range t.children(pid) {
		if !t.done[child] {
			t.todo = append(t.todo, node{pid: child, parent: pid, member: member})
		}
	}
}

func (t *tracer) children(pid int) []int {
	if t.table != nil {
		return t.table[pid]
	}
	children, err := proctree.Children(t.g.m.proc, pid)
	t.check(err)
	return children
}

// check ends the look when an error says that descriptors or memory are short: a
// process that could not be looked at must not be taken for one that has gone.
func (t *tracer) check(err error) {
	if noRoom(err) {
		t.full = err
	}
}

func noRoom(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// orphans returns the children of the keeper's first thread, which are those that
// it adopted, and the engine. The list is read until it has nothing new: one read
// may leave a process out.
func (t *tracer) orphans(keeper int) []int {
	if t.table != nil {
		return t.table[keeper]
	}
	var all []int
	for {
		children, err := proctree.ThreadChildren(t.g.m.proc, keeper, keeper)
		t.check(err)
		if err != nil {
			return all
		}
		fresh := false
		for _, pid := range children {
			if !slices.Contains(all, pid) {
				all, fresh = append(all, pid), true
			}
		}
		if !fresh || len(all) == 1 {
			return all
		}
	}
}

// readTable reads the whole process table, where proc does not list children.
func (t *tracer) readTable() error {
	pids, err := proctree.Pids(t.g.m.proc)
	if err != nil {
		return fmt.Errorf("cannot list the processes: %w", err)
	}
	t.table = make(map[int][]int, len(pids))
	for _, pid := range pids {
		stat, err := proctree.ReadStat(t.g.m.proc, pid)
		t.check(err)
		if err == nil {
			t.table[stat.Ppid] = append(t.table[stat.Ppid], pid)
		}
	}
	return nil
}

// judge says of a process that does not descend from the run whether it is one of
// its processes, or one of another run's.
func (t *tracer) judge(stat *proctree.Stat) (member, elsewhere bool) {
	m, g := t.g.m, t.g
	if other := m.mainOf(stat.Pid, stat.Start); other != nil && other != g {
		return false, true
	}
	of := t.claimOf(stat)
	switch {
	case of == key{g.name, g.run}, of != key{} && of == g.formerly:
		return true, false
	case of != key{} && m.knows(of):
		return false, true
	}
	if t.main.pid > 0 && (stat.Session == t.main.pid || stat.Pgrp == t.main.pid) && t.numberIsMains() {
		return true, false
	}
	for _, leader := range []int{stat.Session, stat.Pgrp} {
		if other := m.ledBy(leader, stat.Start); other != nil && other != g {
			return false, true
		}
	}
	return false, of != key{}
}

// numberIsMains reports whether the main process's number has not been given to
// another process since, whose session would have the same number.
func (t *tracer) numberIsMains() bool {
	stat, err := proctree.ReadStat(t.g.m.proc, t.main.pid)
	return errors.Is(err, fs.ErrNotExist) || err == nil && stat.Start == t.main.start
}

func (m *Manager) knows(k key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.groups[k] != nil
}

// mainOf returns the group whose main process this is.
func (m *Manager) mainOf(pid int, start uint64) *group {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.mains[pid]
	if g == nil || g.mainProc().start != start {
		return nil
	}
	return g
}

// ledBy returns the group whose main process had the number of a session or group
// that a process which began at start is in.
func (m *Manager) ledBy(leader int, start uint64) *group {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.mains[leader]
	if g == nil || g.mainProc().start > start {
		return nil
	}
	return g
}

// isStray reports whether a process without any mark is to be named for g: it is
// named once, for the run at whose end it was first seen.
func (m *Manager) isStray(p proc, g *group) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	owner := m.strays[p]
	if owner == nil {
		m.strays[p] = g
		return true
	}
	return owner == g
}

// maxClaims bounds the memory of what orphans showed.
const maxClaims = 4096

// claimOf returns the run a process shows to come from by ABIDE_RUN_ID in its
// environment or by an open log pipe. What it showed once counts for its life.
func (t *tracer) claimOf(stat *proctree.Stat) key {
	m := t.g.m
	m.mu.Lock()
	old, seen := m.claims[stat.Pid]
	m.mu.Unlock()
	if seen && old.start == stat.Start {
		return old.of
	}
	of, err := m.claimByEnvironment(stat.Pid)
	if of == (key{}) {
		t.check(err)
		of, err = m.claimByPipe(stat.Pid)
		t.check(err)
	}
	if of != (key{}) {
		m.mu.Lock()
		if len(m.claims) >= maxClaims {
			clear(m.claims)
		}
		m.claims[stat.Pid] = claim{stat.Start, of}
		m.mu.Unlock()
	}
	return of
}

func (m *Manager) claimByEnvironment(pid int) (key, error) {
	block, err := proctree.Environ(m.proc, pid)
	if err != nil {
		return key{}, err
	}
	prefix := "ABIDE_RUN_ID=" + m.id + ":"
	entry := proctree.EnvPrefix(block, prefix)
	rest := strings.TrimPrefix(entry, prefix)
	colon := strings.LastIndexByte(rest, ':')
	if colon < 1 {
		return key{}, nil
	}
	return parseKey(rest[:colon], rest[colon+1:]), nil
}

func (m *Manager) claimByPipe(pid int) (of key, err error) {
	folder := m.config.Run + "/services/"
	_, err = proctree.Descriptors(m.proc, pid, func(link string, info fs.FileInfo) bool {
		if info.Mode()&fs.ModeNamedPipe == 0 {
			return false
		}
		target, err := os.Readlink(link)
		if err != nil {
			return false
		}
		rest, ok := strings.CutPrefix(strings.TrimSuffix(target, " (deleted)"), folder)
		if !ok {
			return false
		}
		name, pipe, _ := strings.Cut(rest, "/")
		number, end, _ := strings.Cut(pipe, ".")
		if end == "out" || end == "err" {
			of = parseKey(name, number)
		}
		return of != key{}
	})
	return of, err
}

func parseKey(name, run string) key {
	n, err := strconv.ParseUint(run, 10, 64)
	if err != nil || name == "" {
		return key{}
	}
	return key{name, n}
}

// descend calls fn with every process that descends from p now.
func (g *group) descend(p proc, fn func(proc)) {
	todo := []int{p.pid}
	done := map[int]bool{p.pid: true}
	for len(todo) > 0 {
		parent := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		children, err := proctree.Children(g.m.proc, parent)
		if err != nil {
			continue
		}
		for _, pid := range children {
			stat, err := proctree.ReadStat(g.m.proc, pid)
			if err != nil || stat.Ppid != parent || stat.Start < p.start || done[pid] || stat.Gone() {
				continue
			}
			done[pid] = true
			fn(proc{pid, stat.Start})
			todo = append(todo, pid)
		}
	}
}
