package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/pidfd"
)

// succession is what it takes to put a new keeper in the place of one that was
// killed. It is gathered while that lives: a dead process has no command line.
type succession struct {
	parent int      // pid of the keeper, 0: it did not say
	keeper int      // pidfd of it, -1: none
	exe    *os.File // its program, whatever stands under the name by then; nil: not known
	path   string
	start  link.Successor
	estate link.Estate
	// listener is that of the estate: what nobody refers to is closed.
	listener *os.File
	// plain: the keeper is too old to take anything over. What stands under its name
	// by now finds it by the records.
	plain   bool
	clients atomic.Pointer[net.UnixListener] // accepts from it, nil: not yet
	begun   sync.Mutex
}

// newSuccession begins with what the keeper told its engine before it started it.
func newSuccession(lease int) *succession {
	s := &succession{keeper: -1, estate: link.Estate{Listener: listenerFD, Lock: lockFD, Lease: lease}}
	s.listener = os.NewFile(listenerFD, "control.sock")
	s.start.Env = os.Environ()
	heir, ok := wire.ParseHeir(os.Getenv(wire.HeirVariable))
	if !ok {
		return s // of an older keeper
	}
	s.parent, s.path = heir.Pid, heir.Words[0]
	s.start.Argv, s.start.Nofile = heir.Words, [2]uint64{heir.Soft, heir.Hard}
	return s
}

// orphaned tells that the keeper died before it was greeted.
func (s *succession) orphaned() bool { return s.parent != 0 && os.Getppid() != s.parent }

// meet looks at the keeper, which is our parent and has answered.
func (s *succession) meet(w link.Welcome) {
	s.plain = w.Version < 2
	if fd, err := pidfd.Open(w.KeeperPid); err == nil {
		s.keeper = fd
	}
	dir := "/proc/" + strconv.Itoa(w.KeeperPid)
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil && len(line) > 0 {
		s.start.Argv = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	}
	s.start.Nofile = [2]uint64{w.NofileSoft, w.NofileHard}
	if path, err := os.Readlink(dir + "/exe"); err == nil {
		s.path = path
		s.exe, _ = os.Open(dir + "/exe")
	}
}

// program is the path of the keeper's program. One that was replaced or removed
// meanwhile is run by our descriptor of it: the successor must understand what
// this engine hands over.
func (s *succession) program() string {
	if s.exe == nil {
		return s.path
	}
	ours, err := s.exe.Stat()
	if named, e := os.Stat(s.path); err == nil && e == nil && os.SameFile(ours, named) {
		return s.path
	}
	return "/proc/self/fd/" + strconv.Itoa(int(s.exe.Fd()))
}

// killKeeper ends a keeper that hangs. What follows is told by the end of its
// connection.
func (s *succession) killKeeper() {
	if s.keeper >= 0 {
		_ = pidfd.Send(s.keeper, syscall.SIGKILL)
	}
}

// deathTime is how long a keeper whose connection has ended may take to die: the
// kernel closes a process's descriptors before it tells of its end.
const deathTime = 5 * time.Second

// pauses stand before the attempts to start a keeper. A program that is just
// being installed is there a moment later.
var pauses = []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second}

// keeperLost puts a new keeper in the place of one that was killed, and ends this
// engine: the new keeper starts the next one.
func (s *succession) keeperLost(l *link.Link, cause error) {
	s.begun.Lock() // whoever else notices waits for the end
	// Who connects from here on waits for the next engine.
	if l := s.clients.Load(); l != nil {
		_ = l.SetDeadline(time.Unix(1, 0))
	}
	out := console{}
	if s.keeper >= 0 && !pidfd.Await(s.keeper, deathTime) {
		out.Say(fmt.Sprintf("Cannot understand the keeper any more: %v; ending, for it to start another engine", cause))
		os.Exit(1)
	}
	out.Say(fmt.Sprintf("The keeper is gone (%v), starting another", cause))
	if len(s.start.Argv) == 0 || s.path == "" {
		out.Say("Cannot start a keeper: /proc did not say how; services run on, `abide daemon` takes them over")
		os.Exit(1)
	}
	tries := pauses
	if s.plain {
		s.start.Path, tries = strings.TrimSuffix(s.path, " (deleted)"), nil
	}
	for _, pause := range tries {
		time.Sleep(pause)
		s.start.Path = s.program()
		err := l.Replace(s.start, s.estate)
		if err == nil {
			os.Exit(0)
		}
		out.Say(fmt.Sprintf("%s; services run on", capital(err)))
	}
	// A keeper that cannot take anything over still finds it.
	if err := s.start.Start(); err != nil {
		out.Say(fmt.Sprintf("%s; services run on, `abide daemon` takes them over", capital(err)))
	}
	os.Exit(1)
}

func capital(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
