package contain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/cgroupfs"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// Manager makes the groups of one instance. Its methods may be called from any
// goroutine.
type Manager struct {
	noMemory atomic.Bool // leaves have no memory.events
	id       string
	config   Config
	proc     string // "" without proc

	kind     string
	v1       string // the version 1 hierarchy that is used; "" for the unified one
	children bool   // proc tells who is whose child

	mu     sync.Mutex
	base   *cgroupfs.Dir // nil without a usable hierarchy
	notes  []string      // what is missing, and why
	keeper int
	// keeperStart is when the keeper began: a main process that is older has another
	// parent.
	keeperStart uint64
	groups      map[key]*group
	mains       map[int]*group // by the number of the main process
	claims      map[int]claim  // orphans that were looked at, by number
	strays      map[proc]*group
	done        []leaf // to be removed
	busy        bool   // a goroutine removes them
	settled     func() // told when that goroutine ends; for tests
}

// leaf is the control group of one run.
type leaf struct {
	base *cgroupfs.Dir
	name string
}

type key struct {
	name string
	run  uint64
}

// claim is what an orphan shows about the run it came from.
type claim struct {
	start uint64
	of    key
}

const defaultProc = "/proc"

// Detect finds out by trying what this system offers to the instance of this id,
// and takes the best. It always returns a manager; Describe says what is missing.
func Detect(id string, c Config) *Manager {
	m := &Manager{
		id: id, config: c, keeper: c.Keeper, proc: c.Proc,
		groups: make(map[key]*group),
		mains:  make(map[int]*group),
		claims: make(map[int]claim),
		strays: make(map[proc]*group),
	}
	if m.proc == "" {
		m.proc = defaultProc
	}
	if _, err := proctree.ReadStat(m.proc, os.Getpid()); err != nil {
		m.note("%s cannot be read: %v", m.proc, err)
		m.proc = ""
	} else {
		_, err := proctree.ThreadChildren(m.proc, os.Getpid(), os.Getpid())
		m.children = err == nil
	}
	m.lookAtKeeper()
	if real, err := filepath.EvalSymlinks(c.Run); err == nil {
		m.config.Run = real // as /proc/PID/fd names it
	}
	switch c.Force {
	case "":
		if !m.useV2() {
			m.useV1()
		}
	case Cgroup:
		m.useV2()
	case "cgroup-v1":
		m.useV1()
	case Traced:
		m.note("control groups are not used")
	case None:
		m.note("containment is switched off")
		m.proc = ""
	}
	switch {
	case m.base != nil:
		m.kind = Cgroup
	case m.proc != "":
		m.kind = Traced
	default:
		m.kind = None
	}
	return m
}

func (m *Manager) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(m.notes, text) {
		m.notes = append(m.notes, text)
	}
}

// Kind is the kind of containment of a run to come.
func (m *Manager) Kind() string { return m.kind }

// Describe says in one line what holds the runs together and what is missing.
func (m *Manager) Describe() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var text string
	switch m.kind {
	case Cgroup:
		text = "cgroup v2 at " + m.base.Path
		if m.v1 != "" {
			text = fmt.Sprintf("cgroup v1 (%s) at %s", m.v1, m.base.Path)
		}
	case Traced:
		text = "traced by ancestry, session, process group, log pipe and ABIDE_RUN_ID"
	case None:
		text = "none: only main processes are known"
	}
	if len(m.notes) > 0 {
		text += "; " + strings.Join(m.notes, "; ")
	}
	return text
}

// SetKeeper tells of another keeper. Orphans of runs that began under the one
// before go to the process above it, which is looked at from now on.
func (m *Manager) SetKeeper(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if pid == m.keeper {
		return
	}
	m.keeper = pid
	m.lookAtKeeper()
	for _, g := range m.groups {
		g.findReaper()
	}
}

func (m *Manager) lookAtKeeper() {
	m.keeperStart = 0
	if m.proc == "" || m.keeper <= 0 {
		return
	}
	if stat, err := proctree.ReadStat(m.proc, m.keeper); err == nil {
		m.keeperStart = stat.Start
	}
}

// Prepare makes the group of a run that is about to start. When the control group
// cannot be made the run is traced instead.
func (m *Manager) Prepare(name string, run uint64) (Group, error) {
	g := m.newGroup(name, run)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.groups[key{name, run}] != nil {
		return nil, fmt.Errorf("cannot prepare a group for run %d of %s: it has one", run, name)
	}
	if m.base != nil {
		if err := m.makeLeaf(g); err != nil {
			m.note("some runs are traced: %v", err)
		}
	}
	m.groups[key{name, run}] = g
	return g, nil
}

// Adopt finds the group of a run that an engine before this one prepared. pid and
// start are those of its main process, which need not live any more, or 0.
func (m *Manager) Adopt(name string, run uint64, pid int, start uint64) (Group, error) {
	g := m.newGroup(name, run)
	m.mu.Lock()
	if old := m.groups[key{name, run}]; old != nil {
		m.mu.Unlock()
		return old, nil
	}
	m.findLeaf(g, pid, start)
	g.foreign = g.leaf.base == nil && m.isForeign(pid, start)
	m.groups[key{name, run}] = g
	g.findReaper()
	m.mu.Unlock()
	if pid > 0 {
		g.SetMain(pid, start)
	}
	return g, nil
}

// isForeign says whether a main process was started by nobody of ours: it is
// younger than the keeper and not its child.
func (m *Manager) isForeign(pid int, start uint64) bool {
	if m.proc == "" || pid <= 0 || start < m.keeperStart {
		return false
	}
	stat, err := proctree.ReadStat(m.proc, pid)
	return err == nil && stat.Start == start && stat.Ppid != m.keeper
}

func (m *Manager) newGroup(name string, run uint64) *group {
	return &group{m: m, name: name, run: run, dirFD: -1, mainFD: -1}
}

// makeLeaf makes and opens the control group of g. The base may have been removed
// by someone who tidies up; then it is made again.
func (m *Manager) makeLeaf(g *group) error {
	name := leafName(g.name, g.run)
	err := m.base.Make(name)
	switch {
	case errors.Is(err, unix.EEXIST):
		// Of this run number, but not ours: a start that failed. A process in it would
		// be ended with the run, so it must be empty.
		if err = m.base.Remove(name); err == nil {
			err = m.base.Make(name)
		}
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV):
		if err = m.reopenBase(); err == nil {
			err = m.base.Make(name)
		}
	}
	if err != nil {
		return err
	}
	dir, err := m.base.Sub(name)
	if err != nil {
		return err
	}
	g.leaf, g.dirFD = leaf{m.base, name}, dir.FD
	return nil
}

// findLeaf looks for the control group of a run of an older engine: below our
// base, or where its main process is, since the engine before us may have been
// started from another group.
func (m *Manager) findLeaf(g *group, pid int, start uint64) {
	name := leafName(g.name, g.run)
	if m.base != nil {
		if dir, err := m.base.Sub(name); err == nil {
			dir.Close()
			g.leaf = leaf{m.base, name}
			return
		}
	}
	if m.proc == "" || pid <= 0 || m.v1 != "" {
		return
	}
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/cgroup", m.proc, pid))
	if err != nil {
		return
	}
	at := cgroupfs.ParseOwn(data)[cgroupfs.V2]
	parent, ok := strings.CutSuffix(at, "/"+name)
	if !ok || !strings.HasSuffix(parent, "/"+baseName(m.id)) {
		return
	}
	if stat, err := proctree.ReadStat(m.proc, pid); err != nil || stat.Start != start {
		return
	}
	path, ok := m.hierarchyDir(map[string]string{cgroupfs.V2: parent}, cgroupfs.V2)
	if !ok {
		return
	}
	if base, err := cgroupfs.Open(path); err == nil {
		g.leaf = leaf{base, name}
	}
}

func baseName(id string) string { return "abide-" + id }

// Longest name of a leaf before its end is replaced by a sum, below NAME_MAX.
const maxLeaf = 200

// leafName is NAME.RUN with every byte that a directory name cannot have, or that
// would be read as something else, as %XX.
func leafName(name string, run uint64) string {
	return fmt.Sprintf("%s.%d", leafPrefix(name), run)
}

func leafPrefix(name string) string {
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '_' || c == '@' || c == ':' || c == '-', c == '.' && i > 0:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	escaped := out.String()
	if len(escaped) > maxLeaf {
		sum := uint64(14695981039346656037) // FNV-1a
		for i := 0; i < len(name); i++ {
			sum = (sum ^ uint64(name[i])) * 1099511628211
		}
		escaped = fmt.Sprintf("%s%%%016x", escaped[:maxLeaf], sum)
	}
	return escaped
}
