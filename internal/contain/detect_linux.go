package contain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/cgroupfs"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// useV2 takes a group of ours in the unified hierarchy, if it can be used.
func (m *Manager) useV2() bool {
	dir, ok := m.hierarchyDir(nil, cgroupfs.V2)
	if !ok {
		dir, ok = m.searchV2()
	}
	if !ok {
		m.note("no cgroup v2 hierarchy is mounted")
		return false
	}
	if err := m.tryBase(dir, true); err != nil {
		m.note("cgroup v2 cannot be used: %v", err)
		return false
	}
	return true
}

// v1Hierarchies are those that can hold a run together, the best first: freezer
// and pids can stop a program that forks as fast as it is killed.
var v1Hierarchies = []string{"freezer", "pids", "name=systemd"}

func (m *Manager) useV1() bool {
	var failed error
	for _, hierarchy := range v1Hierarchies {
		dir, ok := m.hierarchyDir(nil, hierarchy)
		if !ok {
			continue
		}
		if failed = m.tryBase(dir, false); failed == nil {
			m.v1 = hierarchy
			return true
		}
	}
	if failed != nil {
		m.note("cgroup v1 cannot be used: %v", failed)
	}
	return false
}

// hierarchyDir returns the directory of paths (nil: our own) in a hierarchy.
func (m *Manager) hierarchyDir(paths map[string]string, hierarchy string) (string, bool) {
	if m.proc == "" {
		return "", false
	}
	mountinfo, err := os.ReadFile(m.proc + "/self/mountinfo")
	if err != nil {
		return "", false
	}
	if paths == nil {
		data, err := os.ReadFile(m.proc + "/self/cgroup")
		if err != nil {
			return "", false
		}
		paths = cgroupfs.ParseOwn(data)
	}
	return cgroupfs.Find(cgroupfs.ParseMounts(mountinfo), paths, hierarchy)
}

// maxSearch bounds the search for our own group where proc does not tell it.
const maxSearch = 4096

// searchV2 finds our own group without proc: it is the one that lists us.
func (m *Manager) searchV2() (string, bool) {
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if !cgroupfs.IsV2(top) {
			continue
		}
		todo := []string{top}
		for visited := 0; len(todo) > 0 && visited < maxSearch; visited++ {
			at := todo[0]
			todo = todo[1:]
			dir, err := cgroupfs.Open(at)
			if err != nil {
				continue
			}
			if data, err := dir.Read("cgroup.procs"); err == nil {
				if pids, err := proctree.ParsePids(data); err == nil && slices.Contains(pids, os.Getpid()) {
					dir.Close()
					return at, true
				}
			}
			names, _ := dir.Groups()
			for _, name := range names {
				todo = append(todo, filepath.Join(at, name))
			}
			dir.Close()
		}
	}
	return "", false
}

// tryBase makes our group below our own one at dir, and a leaf in it to see that
// this works.
func (m *Manager) tryBase(dir string, v2 bool) error {
	own, err := cgroupfs.Open(dir)
	if err != nil {
		return err
	}
	defer own.Close()
	// Who moves a process needs to write to the group above both places.
	if err := own.Writable("cgroup.procs"); err != nil {
		return err
	}
	if v2 {
		if data, err := own.Read("cgroup.type"); err == nil && strings.TrimSpace(string(data)) == "threaded" {
			return fmt.Errorf("%s is threaded", dir)
		}
	}
	base, err := openBase(own, baseName(m.id))
	if err != nil {
		return err
	}
	if err := tryLeaf(base); err != nil {
		base.Close()
		return err
	}
	m.base = base
	return nil
}

func openBase(own *cgroupfs.Dir, name string) (*cgroupfs.Dir, error) {
	if err := own.Make(name); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	base, err := own.Sub(name)
	if err != nil {
		return nil, err
	}
	// Held until this process ends: it tells those who tidy up that we live. Where
	// locks do not work nobody tidies up either.
	_ = base.Lock(false)
	return base, nil
}

func tryLeaf(base *cgroupfs.Dir) error {
	const name = "try"
	if err := base.Make(name); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	leaf, err := base.Sub(name)
	if err != nil {
		return err
	}
	err = leaf.Writable("cgroup.procs")
	leaf.Close()
	return errors.Join(err, base.Remove(name))
}

// reopenBase makes the base again after it was removed under us.
func (m *Manager) reopenBase() error {
	own, err := cgroupfs.Open(filepath.Dir(m.base.Path))
	if err != nil {
		return err
	}
	defer own.Close()
	base, err := openBase(own, filepath.Base(m.base.Path))
	if err != nil {
		return err
	}
	// The old descriptor stays open: groups of older runs may be using it.
	m.base = base
	return nil
}

// Sweep removes, in the background, leaves of runs that nobody adopted and the
// groups of instances that are no more. It is to be called when adoption is over.
func (m *Manager) Sweep() { go m.sweep() }

func (m *Manager) sweep() {
	m.mu.Lock()
	base := m.base
	m.mu.Unlock()
	if base == nil {
		return
	}
	names, err := base.Groups()
	if err == nil {
		m.mu.Lock()
		known := make(map[string]bool, len(m.groups))
		for _, g := range m.groups {
			known[g.leaf.name] = true
		}
		m.mu.Unlock()
		for _, name := range names {
			// A leaf that was made after the list was read is not in the list.
			if !known[name] {
				_ = base.Remove(name)
			}
		}
	}
	sweepOthers(filepath.Dir(base.Path), filepath.Base(base.Path))
}

// sweepOthers removes empty groups of other instances that are not locked: their
// engine is gone.
func sweepOthers(parent, own string) {
	dir, err := cgroupfs.Open(parent)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Groups()
	for _, name := range names {
		if name == own || !strings.HasPrefix(name, baseName("")) {
			continue
		}
		other, err := dir.Sub(name)
		if err != nil {
			continue
		}
		if other.Lock(true) == nil {
			_ = dir.Remove(name)
		}
		other.Close()
	}
}
