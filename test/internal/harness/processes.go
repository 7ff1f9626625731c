package harness

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Process is a living process of a service, told by ABIDE_RUN_ID in its
// environment.
type Process struct {
	Pid     int
	Parent  int
	Service string
	Run     string
	Command string // what /proc shows as its command line
}

// Processes returns the living processes of a service of this instance, of all
// its services for "". A process that changed its environment is not among them.
func (a *Abide) Processes(service string) []Process {
	if a.id == "" {
		return nil
	}
	mark := []byte("ABIDE_RUN_ID=" + a.id + ":")
	var found []Process
	for _, pid := range Pids() {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			rest, ok := bytes.CutPrefix(variable, mark)
			if !ok {
				continue
			}
			at := bytes.LastIndexByte(rest, ':')
			if at < 0 {
				continue
			}
			p := Process{Pid: pid, Service: string(rest[:at]), Run: string(rest[at+1:]), Command: CommandLine(pid)}
			var dead bool
			if p.Parent, dead = parent(pid); !dead && (service == "" || p.Service == service) {
				found = append(found, p)
			}
		}
	}
	return found
}

// Pids are those of all processes.
func Pids() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// CommandLine is a process's argv, joined by blanks.
func CommandLine(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
}

// Parent is the pid of a process's parent, 0 if it has ended.
func Parent(pid int) int {
	ppid, dead := parent(pid)
	if dead {
		return 0
	}
	return ppid
}

// parent returns the parent's pid and whether the process has ended.
func parent(pid int) (ppid int, dead bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	at := bytes.LastIndexByte(data, ')')
	if err != nil || at < 0 {
		return 0, true
	}
	fields := strings.Fields(string(data[at+1:]))
	ppid, _ = strconv.Atoi(fields[1])
	return ppid, fields[0] == "Z" || fields[0] == "X"
}

// Alive tells whether a process exists and is no zombie.
func Alive(pid int) bool {
	_, dead := parent(pid)
	return !dead
}

// Children returns the pids of a process's living children.
func Children(pid int) []int {
	var found []int
	for _, other := range Pids() {
		if ppid, dead := parent(other); ppid == pid && !dead {
			found = append(found, other)
		}
	}
	return found
}

// Zombies counts the ended children of a process that it has not taken note of.
func Zombies(pid int) int {
	n := 0
	for _, other := range Pids() {
		if ppid, dead := parent(other); ppid == pid && dead {
			n++
		}
	}
	return n
}

// Gone waits until nothing of a service lives.
func (a *Abide) Gone(service string) {
	a.T.Helper()
	Eventually(a.T, "nothing of "+service+" is left", func() error {
		if left := a.Processes(service); len(left) > 0 {
			return fmt.Errorf("%d processes are, the first is %d (%s)", len(left), left[0].Pid, left[0].Command)
		}
		return nil
	})
}

// NothingOf is an error if anything of a service lives at this moment.
func (a *Abide) NothingOf(service string) {
	a.T.Helper()
	for _, p := range a.Processes(service) {
		a.T.Errorf("process %d (%s) of run %s of %s still lives", p.Pid, p.Command, p.Run, p.Service)
	}
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. Ports are
// taken from below the range that the kernel gives to clients, so that nobody
// gets it by chance before the test uses it.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := nextPort()
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("cannot find a free port")
	return 0
}

// PortFree is an error if the port cannot be listened on.
func PortFree(t testing.TB, port int) {
	t.Helper()
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Errorf("port %d is not free: %v", port, err)
		return
	}
	l.Close()
}

// NewFile writes a file below the instance's folder and returns its path.
func (a *Abide) NewFile(name, text string, mode os.FileMode) string {
	a.T.Helper()
	path := filepath.Join(a.Dir, name)
	a.Write(path, text)
	Check(a.T, os.Chmod(path, mode))
	return path
}
