//go:build linux

// Package kernel is a Linux kernel for the keeper and the engine, as far as they
// use it: processes with parents, threads, pidfds, exit statuses and reapers;
// descriptors, epoll, sockets that carry descriptors, memory files, a run
// directory with locks and mapped files; three clocks. Pids are few and soon used
// again. Its entry points are system calls by number and address, so that the code
// above is compiled unchanged but for where it calls.
//
// It makes no difference between users and checks no permission. A write to a
// file is whole or fails.
package kernel

import (
	"math/rand/v2"
	"sort"
	"syscall"

	"github.com/abide-project/abide/internal/sim/sched"
)

// Kernel is the machine under simulation.
type Kernel struct {
	S     *sched.Schedule
	Init  *Proc
	procs map[int]*Proc // by pid; reaped ones are gone
	freed map[int]int64 // when a pid was last given back
	last  int
	inode uint64

	// PidfdInodes says that a pidfd's inode names the process (Linux 6.9), ExitInfo
	// that a pidfd tells the status of a reaped process (6.15).
	PidfdInodes, ExitInfo bool
	// SocketRoom is how many messages a socket holds.
	SocketRoom int
	// FullDisk makes fallocate and writes to files fail.
	FullDisk bool

	dir  map[string]*inode
	Said func(p *Proc, line string)
	// Spawning decides what becomes of a child: see Birth.
	Spawning func(b *Birth)
	// Signalled is told of each signal before it has any effect. KILL ends the
	// process after the nanoseconds that it returns.
	Signalled func(from, to *Proc, signo int) int64
	// Died is told of each process that has just ended.
	Died func(p *Proc)
	// Missing is told of calls that this kernel does not have.
	Missing func(what string, nr uintptr)
}

// The present machine.
var present *Kernel

// The range of pids: few, so that each is used again soon.
const (
	firstPid = 300
	lastPid  = 900
	// quarantine is the time after which a pid is used again at the earliest. The
	// rules by which a process is known again allow for less.
	quarantine = 8_000_000_000
)

type procState uint8

const (
	alive procState = iota
	zombie
	reaped
)

// Proc is one process.
type Proc struct {
	Pid    int
	Start  uint64 // clock ticks since boot
	Parent *Proc
	thread *sched.Task // of the parent, that made it; nil: the leader
	Inode  uint64      // of its pidfds
	Pgid   int
	Sid    int
	Status uint32
	Sub    bool // orphans among its descendants become its children
	Leader *sched.Task
	state  procState
	fds    map[int]*fdEntry
	maps   []mapping
	usage  syscall.Rusage

	// What it is, for those who check.
	Role Role
	Name string // of the service
	Run  uint64
	Tag  any
}

// Role is what a process is in the story.
type Role uint8

// The roles.
const (
	Stranger Role = iota
	Init
	Keeper
	Engine
	Main  // of a run
	Child // of a run
)

type fdEntry struct {
	file    *File
	cloexec bool
}

// New begins a machine on a schedule.
func New(s *sched.Schedule) *Kernel {
	k := &Kernel{
		S: s, procs: map[int]*Proc{}, freed: map[int]int64{}, last: firstPid, inode: 1000, SocketRoom: 1000,
		dir: map[string]*inode{},
	}
	k.Init = &Proc{Pid: 1, Pgid: 1, Sid: 1, fds: map[int]*fdEntry{}, Role: Init}
	k.procs[1] = k.Init
	present = k
	return k
}

// Rand is the schedule's random source.
func (k *Kernel) Rand() *rand.Rand { return k.S.Rand }

// Alive reports whether a process has not ended.
func (p *Proc) Alive() bool { return p.state == alive }

// Reaped reports whether its parent has taken its status.
func (p *Proc) Reaped() bool { return p.state == reaped }

// Open is how many descriptors it has.
func (p *Proc) Open() int { return len(p.fds) }

// Fork makes a child of parent; thread is the parent's thread that did, nil its
// leader.
func (k *Kernel) Fork(parent *Proc, thread *sched.Task) *Proc {
	k.inode++
	p := &Proc{
		Pid: k.pid(), Start: uint64(k.S.Boottime() / 10_000_000), Parent: parent, thread: thread, Inode: k.inode,
		Pgid: parent.Pgid, Sid: parent.Sid, fds: map[int]*fdEntry{}, Name: parent.Name, Run: parent.Run,
	}
	k.procs[p.Pid] = p
	return p
}

// ForkAs makes a child with a pid that was used before; nil if it cannot be had.
func (k *Kernel) ForkAs(parent *Proc, pid int) *Proc {
	if !k.free(pid) {
		return nil
	}
	last := k.last
	k.last = pid - 1
	p := k.Fork(parent, nil)
	k.last = last
	return p
}

// Setsid makes it the leader of a session of its own.
func (p *Proc) Setsid() { p.Pgid, p.Sid = p.Pid, p.Pid }

// pid is the next free one.
func (k *Kernel) pid() int {
	for range 4 * (lastPid - firstPid) {
		k.last++
		if k.last > lastPid {
			k.last = firstPid
		}
		if k.free(k.last) {
			return k.last
		}
	}
	panic("the simulated machine has no pid left")
}

func (k *Kernel) free(pid int) bool {
	at, was := k.freed[pid]
	return k.procs[pid] == nil && !k.inUse(pid) && (!was || k.S.Boottime()-at >= quarantine)
}

func (k *Kernel) inUse(id int) bool {
	for _, p := range k.procs {
		if p.Pgid == id || p.Sid == id {
			return true
		}
	}
	return false
}

// Procs are all processes that are not reaped, by pid.
func (k *Kernel) Procs() []*Proc {
	list := make([]*Proc, 0, len(k.procs))
	for _, p := range k.procs {
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Pid < list[j].Pid })
	return list
}

// Find returns the process with a pid.
func (k *Kernel) Find(pid int) *Proc { return k.procs[pid] }

// Exit ends a process with a wait status.
func (k *Kernel) Exit(p *Proc, status uint32) {
	if p.state != alive {
		return
	}
	p.state, p.Status = zombie, status
	p.usage.Utime.Sec, p.usage.Maxrss = 1, 1000
	for _, fd := range sortedFDs(p) {
		k.closeFD(p, fd)
	}
	p.unmap()
	for _, child := range k.Procs() {
		if child.Parent == p {
			child.Parent, child.thread = k.reaper(p), nil
			if child.state == zombie && child.Parent == k.Init {
				k.reapLater(child)
			}
		}
	}
	if k.Died != nil {
		k.Died(p)
	}
	if p.Parent == k.Init {
		k.reapLater(p)
	}
}

// reaper is who inherits the children of p.
func (k *Kernel) reaper(p *Proc) *Proc {
	for up := p.Parent; up != nil; up = up.Parent {
		if up.Sub && up.state == alive {
			return up
		}
	}
	return k.Init
}

// reapLater is init at work: it is not always quick.
func (k *Kernel) reapLater(p *Proc) {
	delay := int64(k.S.Rand.IntN(2_000_000))
	if k.S.Rand.IntN(8) == 0 {
		delay = int64(k.S.Rand.IntN(500_000_000))
	}
	k.S.After(delay, func() {
		if p.state == zombie && p.Parent == k.Init {
			k.reap(p)
		}
	})
}

func (k *Kernel) reap(p *Proc) {
	p.state = reaped
	delete(k.procs, p.Pid)
	k.freed[p.Pid] = k.S.Boottime()
}

// Signal sends a signal. What it does beyond the certain death of KILL is up to
// the story.
func (k *Kernel) Signal(from, to *Proc, signo int) {
	if signo == 0 || to.state != alive {
		return
	}
	delay := int64(0)
	if k.Signalled != nil {
		delay = k.Signalled(from, to, signo)
	}
	if signo != int(syscall.SIGKILL) {
		return
	}
	if delay == 0 {
		k.Exit(to, uint32(signo))
		return
	}
	k.S.After(delay, func() { k.Exit(to, uint32(signo)) })
}

func sortedFDs(p *Proc) []int {
	list := make([]int, 0, len(p.fds))
	for fd := range p.fds {
		list = append(list, fd)
	}
	sort.Ints(list)
	return list
}

// current is the process whose task runs.
func current() *Proc {
	if t := sched.Current(); t != nil {
		if p, ok := t.Owner.(*Proc); ok {
			return p
		}
	}
	panic("a system call of no process")
}
