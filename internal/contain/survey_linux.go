package contain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/cgroupfs"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// Survey looks at every process of the system for what came from runs of this
// instance. It is for the case that the records are lost: it takes some hundred
// microseconds for each process. names are the services there may be; a control
// group of another name is not recognised.
//
// A process shows its run by its control group, by ABIDE_RUN_ID in the environment
// it was started with, or by an open log pipe of ours. One that overwrote its
// environment, closed its output and has no control group shows nothing.
func (m *Manager) Survey(names []string) Survey {
	var s Survey
	if m.proc == "" {
		s.Err = errors.New("proc is not mounted")
		return s
	}
	pids, err := proctree.Pids(m.proc)
	if err != nil {
		s.Err = fmt.Errorf("cannot list the processes: %w", err)
		return s
	}
	if _, err := proctree.ReadStat(m.proc, 1); err != nil && os.Geteuid() == 0 {
		s.Err = fmt.Errorf("not all processes can be seen: %w", err)
	}
	leaves := make(map[string]string, len(names))
	for _, name := range names {
		leaves[leafPrefix(name)] = name
	}
	for _, pid := range pids {
		if m.own(pid) {
			continue
		}
		if err := m.examine(pid, leaves, &s); err != nil && s.Err == nil {
			s.Err = err
		}
	}
	return s
}

// examine looks at one process. What ends meanwhile is passed over. An error says
// that there was no room to look.
func (m *Manager) examine(pid int, leaves map[string]string, s *Survey) error {
	stat, err := proctree.ReadStat(m.proc, pid)
	if err != nil || stat.Gone() {
		return room(err)
	}
	of, mark := m.groupMark(pid, leaves), "control group"
	var closed error // why it cannot be looked into
	if of == (key{}) {
		of, closed = m.claimByEnvironment(pid)
		mark = "environment"
	}
	if of == (key{}) {
		var err error
		if of, err = m.claimByPipe(pid); err != nil {
			closed = err
		}
		mark = "log pipe"
	}
	leader := stat.Session == pid
	if of == (key{}) && leader && closed == nil {
		// Its descriptors may be listed and yet not be looked at.
		_, closed = os.Readlink(fmt.Sprintf("%s/%d/cwd", m.proc, pid))
	}
	switch {
	case of != key{}:
		if now, err := proctree.ReadStat(m.proc, pid); err != nil || now.Start != stat.Start {
			return room(err) // another process has the number by now
		}
		s.Found = append(s.Found, Found{Name: of.name, Run: of.run, Pid: pid, Start: stat.Start, Comm: stat.Comm, Leader: leader, Mark: mark})
	case errors.Is(closed, fs.ErrPermission) && leader && pid != 1 && m.kind != Cgroup:
		// With control groups each run is in one, and those can always be read.
		s.Hidden = append(s.Hidden, Hidden{Pid: pid, Start: stat.Start, Comm: stat.Comm, UIDs: m.uidsOf(pid)})
	}
	return room(closed)
}

// room passes on only the errors that say that something was short.
func room(err error) error {
	if noRoom(err) {
		return fmt.Errorf("cannot look at all processes: %w", err)
	}
	return nil
}

// groupMark returns the run whose control group a process is in.
func (m *Manager) groupMark(pid int, leaves map[string]string) key {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/cgroup", m.proc, pid))
	if err != nil {
		return key{}
	}
	for _, path := range cgroupfs.ParseOwn(data) {
		_, below, ok := strings.Cut(path, "/"+baseName(m.id)+"/")
		if !ok {
			continue
		}
		leaf, _, _ := strings.Cut(below, "/")
		dot := strings.LastIndexByte(leaf, '.')
		if dot < 0 {
			continue
		}
		if name, known := leaves[leaf[:dot]]; known {
			return parseKey(name, leaf[dot+1:])
		}
	}
	return key{}
}

// uidsOf returns the user ids of a process, which everybody may see; -1 where they
// cannot be read.
func (m *Manager) uidsOf(pid int) [4]int {
	uids := [4]int{-1, -1, -1, -1}
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/status", m.proc, pid))
	if err != nil {
		return uids
	}
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, "Uid:")
		if !ok {
			continue
		}
		for i, field := range strings.Fields(rest) {
			if n, err := strconv.Atoi(field); err == nil && i < len(uids) {
				uids[i] = n
			}
		}
	}
	return uids
}

// FormerID is the id that this run directory had before its file was lost, as the
// processes know it that have one of its log pipes open: ABIDE_RUN_ID begins with
// it. It is "" when none of them tells, or when they differ.
func (m *Manager) FormerID() string {
	if m.proc == "" {
		return ""
	}
	pids, err := proctree.Pids(m.proc)
	if err != nil {
		return ""
	}
	const variable = "ABIDE_RUN_ID="
	former := ""
	for _, pid := range pids {
		block, err := proctree.Environ(m.proc, pid)
		if err != nil {
			continue
		}
		id, _, tagged := strings.Cut(strings.TrimPrefix(proctree.EnvPrefix(block, variable), variable), ":")
		if !tagged || id == former {
			continue
		}
		if of, err := m.claimByPipe(pid); err != nil || of == (key{}) {
			continue
		}
		if former != "" {
			return ""
		}
		former = id
	}
	return former
}

// Traces reports, without looking at any process, whether something is left of
// runs: a control group of a run below ours or, with strangers, a group that
// belongs to another instance, which may be what this one was called before. Whose
// it is only its processes can tell: without proc it says nothing.
func (m *Manager) Traces(strangers bool) bool {
	m.mu.Lock()
	base := m.base
	m.mu.Unlock()
	if base == nil {
		return false
	}
	if names, err := base.Groups(); err != nil || len(names) > 0 {
		return true
	}
	if !strangers || m.proc == "" {
		return false
	}
	parent, err := cgroupfs.Open(filepath.Dir(base.Path))
	if err != nil {
		return false
	}
	defer parent.Close()
	names, err := parent.Groups()
	if err != nil {
		return false
	}
	for _, name := range names {
		if name == filepath.Base(base.Path) || !strings.HasPrefix(name, baseName("")) {
			continue
		}
		n, err := parent.Field(name+"/cgroup.events", "populated")
		if n > 0 || err != nil && !errors.Is(err, unix.ENOENT) {
			return true
		}
	}
	return false
}
