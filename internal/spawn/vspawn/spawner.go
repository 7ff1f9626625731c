//go:build linux && (amd64 || arm64)

package vspawn

import (
	"runtime"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/spawn/prog"
)

// How a child is made, in call.how.
const (
	howClone3 = iota
	howClone
	howHere
)

const (
	cloneVM           = 0x100
	cloneFiles        = 0x400
	clonePidfd        = 0x1000
	cloneVfork        = 0x4000
	cloneClearSighand = 0x1_0000_0000
	cloneIntoCgroup   = 0x2_0000_0000

	closeRangeUnshare = 2
	fDupfdCloexec     = 1030
	sigSetmask        = 2

	allSignals = ^uint64(0)

	pageSize   = 4096
	stackSize  = 4 * pageSize
	passMax    = prog.MaxSlots + 2     // abide-exec has two of its own
	preludeMax = 1 + 2 + 2*passMax + 1 // to record, to join a cgroup, to hand over, to close
)

// cloneArgs is struct clone_args of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize, cgroup uint64
}

// call is everything the assembler reads and writes. It lives outside the Go
// heap, shared between processes, so that a child with a copy of our memory can
// report as well.
type call struct {
	how      uint64
	flags    uint64
	stack    uint64
	args     cloneArgs
	prelude  uint64 // address of the ops that run before the program's
	nprelude uint64
	ops      uint64
	nops     uint64
	record   uint64
	failAt   uint64 // address of the op that failed, 0 if none did
	errno    uint64
	action   [4]uint64 // a struct sigaction of zeros: SIG_DFL
	reset    uint64    // the signals that OpDefSig has to reset, bit 0 is signal 1
	scratch  [24]byte
	pidfd    int32
	_        int32
	oldMask  uint64
	allMask  uint64
	noMask   uint64
	early    [preludeMax]prog.Op
	procs    [16]byte // "cgroup.procs"
	zero     [8]byte  // "0"
}

// enter makes the child and returns its pid or a negative errno; for howHere it
// runs the ops on this thread and returns 0 when one failed.
//
//go:noescape
func enter(c *call) int64

// Spawner makes children. It has one stack for them: use one Spawner for each
// thread that spawns, never one from two threads at once. Make it after the
// process has sized its tables: it never allocates later.
type Spawner struct {
	c          *call
	memory     []byte
	closeRange bool   // the kernel has close_range(2)
	ignored    uint64 // the signals this process ignores
}

// New returns a Spawner with a guarded stack of its own. The signals that this
// process ignores must not change later.
func New() (*Spawner, error) {
	size := (pageSize + stackSize + int(unsafe.Sizeof(call{})) + pageSize - 1) &^ (pageSize - 1)
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	if err := syscall.Mprotect(memory[:pageSize], syscall.PROT_NONE); err != nil {
		_ = syscall.Munmap(memory)
		return nil, err
	}
	s := &Spawner{memory: memory, c: (*call)(unsafe.Pointer(&memory[pageSize+stackSize]))}
	c := s.c
	c.stack = uint64(uintptr(unsafe.Pointer(c)))
	c.allMask = ^uint64(0)
	copy(c.procs[:], "cgroup.procs")
	c.zero[0] = '0'
	// Out of the range of descriptors, this closes nothing where it exists.
	_, _, errno := syscall.RawSyscall(number(prog.CloseRange), 1<<31-2, 1<<31-2, 0)
	s.closeRange = errno == 0
	s.ignored = ignoredSignals()
	return s, nil
}

// ignoredSignals asks for every signal's action. Handlers end at exec, and with
// clone3 at birth; what is ignored stays so.
func ignoredSignals() (set uint64) {
	const ignore = 1
	for signo := uintptr(1); signo <= 64; signo++ {
		var action [4]uint64
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, signo, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
		if errno == 0 && action[0] == ignore {
			set |= 1 << (signo - 1)
		}
	}
	return set
}

// Close gives the stack back.
func (s *Spawner) Close() error {
	s.c = nil
	return syscall.Munmap(s.memory)
}

// Spawn makes a child and runs a program in it. It returns when the child has
// executed its program: with its pid and a pidfd (close-on-exec), failedOp 0 and
// errno 0. Otherwise errno is not 0, failedOp is the index of the op that failed
// or one of the Fail values, and no child is left.
func (s *Spawner) Spawn(r *Request) (pid, pidfd, failedOp int, errno syscall.Errno) {
	if r.Prog == nil || len(r.Pass) < r.Prog.Slots() || len(r.Pass) > passMax {
		return 0, -1, FailPass, badRequest
	}
	ops, nops := r.Prog.Ops()
	pid, pidfd, failedOp, errno = s.run(r, uint64(uintptr(ops)), uint64(nops))
	runtime.KeepAlive(r.Prog)
	runtime.KeepAlive(r.Record)
	return pid, pidfd, failedOp, errno
}

func (s *Spawner) run(r *Request, ops, nops uint64) (pid, pidfd, failedOp int, errno syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := s.c
	c.ops, c.nops = ops, nops
	c.record = uint64(uintptr(unsafe.Pointer(r.Record)))
	c.failAt, c.errno, c.pidfd = 0, 0, -1
	p := prelude{c: c}
	if r.Record != nil {
		p.record()
	}
	shared := s.plan(r, &p)
	if !shared {
		p.pass(r.Pass)
	}
	p.closeFrom(prog.FirstSlot+len(r.Pass), shared, s.closeRange)
	c.prelude, c.nprelude = uint64(uintptr(unsafe.Pointer(&c.early))), uint64(p.n)

	if c.how == howClone {
		s.mask(&c.allMask, &c.oldMask)
	}
	n := enter(c)
	if c.how == howClone {
		s.mask(&c.oldMask, nil)
	}
	if n < 0 {
		return 0, -1, FailClone, syscall.Errno(-n)
	}
	if c.errno == 0 {
		return int(n), int(c.pidfd), 0, 0
	}
	reap(int(n))
	if c.pidfd >= 0 {
		_ = syscall.Close(int(c.pidfd))
	}
	return 0, -1, c.failed(&p), syscall.Errno(c.errno)
}

// plan fills in how the child is made, and joins its cgroup by writing where it
// cannot be born in it. It reports whether the descriptor table starts shared.
func (s *Spawner) plan(r *Request, p *prelude) (shared bool) {
	c := s.c
	switch r.Rung {
	case RungClone3:
		shared = len(r.Pass) == 0
		c.how = howClone3
		c.reset = s.ignored
		c.args = cloneArgs{
			flags:      cloneVM | cloneVfork | clonePidfd | cloneClearSighand,
			pidfd:      uint64(uintptr(unsafe.Pointer(&c.pidfd))),
			exitSignal: uint64(syscall.SIGCHLD),
			stack:      uint64(uintptr(unsafe.Pointer(&s.memory[pageSize]))),
			stackSize:  stackSize,
		}
		if shared {
			c.args.flags |= cloneFiles
		}
		if r.CgroupFD >= 0 {
			c.args.flags |= cloneIntoCgroup
			c.args.cgroup = uint64(r.CgroupFD)
		}
		return shared
	case RungFork:
		c.flags = cloneVfork | clonePidfd | uint64(syscall.SIGCHLD)
	default:
		c.flags = cloneVM | cloneVfork | clonePidfd | uint64(syscall.SIGCHLD)
	}
	c.how = howClone
	c.reset = allSignals
	if r.CgroupFD >= 0 {
		p.join(r.CgroupFD)
	}
	return false
}

// failed translates the address of the op that failed.
func (c *call) failed(p *prelude) int {
	if c.failAt >= c.prelude && c.failAt < c.prelude+uint64(p.n)*prog.OpSize {
		return p.what[(c.failAt-c.prelude)/prog.OpSize]
	}
	return int((c.failAt - c.ops) / prog.OpSize)
}

func (s *Spawner) mask(set, old *uint64) {
	syscall.RawSyscall6(number(prog.Sigprocmask), sigSetmask, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}

// reap waits for a child that has failed and is about to end. It is nobody
// else's: no one knows its pid yet.
func reap(pid int) {
	for {
		_, err := syscall.Wait4(pid, nil, syscall.WALL, nil)
		if err != syscall.EINTR {
			return
		}
	}
}

func number(c prog.Call) uintptr {
	nr, _ := c.Number(prog.NativeArch)
	return uintptr(nr)
}

// Exec runs a program on this thread, in this process, and returns only when an
// op fails, with its index. The slots must be in place already. Lock the calling
// goroutine to the thread that leads the process before: attributes such as user
// and priority are a thread's, and the one that executes the program keeps them.
func (s *Spawner) Exec(p *prog.Loaded) (failedOp int, errno syscall.Errno) {
	c := s.c
	ops, nops := p.Ops()
	c.how, c.nprelude, c.record, c.reset = howHere, 0, 0, allSignals
	c.ops, c.nops = uint64(uintptr(ops)), uint64(nops)
	enter(c)
	runtime.KeepAlive(p)
	return int((c.failAt - c.ops) / prog.OpSize), syscall.Errno(c.errno)
}
