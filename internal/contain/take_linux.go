package contain

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/cgroupfs"
	"github.com/abide-project/abide/internal/sys/pidfd"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// maxMoves bounds how often Take looks for processes that were forked while it
// moved the others.
const maxMoves = 64

// Take makes the group of a run whose main process was there before: pid, which
// began at start. It and all that descends from it are moved into a control group;
// where that is not possible they are traced, and why says so. It blocks for as long
// as the kernel takes to move them, some milliseconds each.
func (m *Manager) Take(name string, run uint64, pid int, start uint64) (taken Group, why error, failed error) {
	g := m.newGroup(name, run)
	g.foreign = true
	m.mu.Lock()
	if m.groups[key{name, run}] != nil {
		m.mu.Unlock()
		return nil, nil, fmt.Errorf("cannot take process %d into a group for run %d of %s: it has one", pid, run, name)
	}
	if m.base != nil {
		why = m.makeLeaf(g)
	}
	m.groups[key{name, run}] = g
	m.mu.Unlock()
	if g.leaf.base != nil {
		if why = g.moveIn(proc{pid, start}); why != nil {
			g.CloseDir()
			m.mu.Lock()
			m.done = append(m.done, g.leaf)
			g.leaf = leaf{}
			m.mu.Unlock()
		}
	}
	if m.proc != "" {
		stat := proctree.Stat{Pid: pid, Start: start}
		t := tracer{g: g}
		g.formerly = t.claimOf(&stat)
	}
	g.SetMain(pid, start)
	g.Snapshot()
	return g, why, nil
}

// moveIn moves a process and its descendants into the leaf. What is in there has
// its children there, so it looks until everything it finds is in.
func (g *group) moveIn(main proc) error {
	dir, err := g.openLeaf()
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := g.move(dir, main); err != nil {
		return err
	}
	for range maxMoves {
		inside, err := dir.Procs()
		if err != nil {
			return err
		}
		fresh := false
		g.descend(main, func(p proc) {
			if slices.Contains(inside, p.pid) {
				return
			}
			fresh = true
			// One that has ended meanwhile need not be moved, and one that may not
			// be is found by its descent.
			_ = g.move(dir, p)
		})
		if !fresh {
			return nil
		}
	}
	return nil
}

// move moves one process, behind a pidfd that keeps its number from being given to
// another meanwhile as far as that can be seen.
func (g *group) move(dir *cgroupfs.Dir, p proc) error {
	fd, err := pidfd.Open(p.pid)
	if err != nil {
		return err
	}
	defer pidfd.Close(fd)
	stat, err := proctree.ReadStat(g.m.proc, p.pid)
	if err != nil {
		return err
	}
	if stat.Start != p.start || pidfd.Ended(fd) {
		return unix.ESRCH
	}
	if err := dir.Write("cgroup.procs", strconv.Itoa(p.pid)); err != nil {
		return fmt.Errorf("cannot move process %d into a control group: %w", p.pid, err)
	}
	return nil
}

// Owner says which living run a process belongs to, as far as can be seen: by
// descent, control group, ABIDE_RUN_ID, log pipe, session or process group. mark
// is how, "" if it belongs to none.
func (m *Manager) Owner(pid int) (name string, run uint64, mark string) {
	if m.proc == "" {
		return "", 0, ""
	}
	stat, err := proctree.ReadStat(m.proc, pid)
	if err != nil {
		return "", 0, ""
	}
	for at, depth := stat, 0; depth < maxDepth; depth++ {
		if g := m.mainOf(at.Pid, at.Start); g != nil {
			return g.name, g.run, "its descent"
		}
		if at.Ppid <= 1 {
			break
		}
		if at, err = proctree.ReadStat(m.proc, at.Ppid); err != nil {
			break
		}
	}
	if of := m.leafOf(pid); of != (key{}) {
		return of.name, of.run, "its control group"
	}
	t := tracer{g: m.newGroup("", 0)}
	if of := t.claimOf(&stat); of != (key{}) && m.knows(of) {
		return of.name, of.run, "ABIDE_RUN_ID or a log pipe"
	}
	for _, leader := range []int{stat.Session, stat.Pgrp} {
		if g := m.ledBy(leader, stat.Start); g != nil {
			return g.name, g.run, "its session or process group"
		}
	}
	return "", 0, ""
}

// maxDepth bounds the way up from a process to the first one.
const maxDepth = 1024

// leafOf returns the known run whose control group a process is in.
func (m *Manager) leafOf(pid int) key {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/cgroup", m.proc, pid))
	if err != nil {
		return key{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, path := range cgroupfs.ParseOwn(data) {
		_, below, ok := strings.Cut(path+"/", "/"+baseName(m.id)+"/")
		if !ok {
			continue
		}
		leaf, _, _ := strings.Cut(below, "/")
		for of, g := range m.groups {
			if g.leaf.base != nil && g.leaf.name == leaf {
				return of
			}
		}
	}
	return key{}
}

// Stranger returns the name of the group of another instance's run that a process
// is in, "" if it is in none.
func (m *Manager) Stranger(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/cgroup", m.proc, pid))
	if err != nil {
		return ""
	}
	for _, path := range cgroupfs.ParseOwn(data) {
		_, below, ok := strings.Cut(path, "/"+baseName(""))
		id, leaf, in := strings.Cut(below, "/")
		if ok && in && id != m.id && leaf != "" {
			return baseName(id) + "/" + leaf
		}
	}
	return ""
}
