// Package vspawn runs spawn programs. Between clone and exec the child runs only
// an assembler loop over the program's ops, on a stack of its own, in its
// parent's memory: no Go code, no allocation, no error pipe. The parent's thread
// waits until the child has executed its program or given up, so a failing op is
// known by index and errno when Spawn returns. Exec runs a program on the calling
// thread instead, which is what abide-exec does.
//
// While a child has not yet executed its program, its parent's thread cannot be
// preempted and a garbage collection waits for it: a program that may block for
// long belongs to abide-exec (prog.Slow). Once a child has changed its user, the
// kernel marks the memory it shares as not dumpable: /proc files of a parent that
// is root belong to root anyway.
package vspawn

import (
	"sync/atomic"
	"syscall"

	"github.com/abide-project/abide/internal/spawn/prog"
)

// Rung is a way to make a child; Probe finds the best one.
type Rung uint8

// The rungs, best first.
const (
	// RungClone3 is clone3(2) with VM, VFORK, PIDFD, CLEAR_SIGHAND, FILES and
	// INTO_CGROUP; the child's first act is close_range(CLOSE_RANGE_UNSHARE), so
	// that the number of descriptors of the parent does not matter. Linux 5.9.
	RungClone3 Rung = iota
	// RungClone is clone(2) with VM, VFORK and PIDFD, for where clone3 is refused,
	// as in every default container. All signals are blocked around it, and a
	// cgroup is joined by writing to its cgroup.procs. Linux 5.3.
	RungClone
	// RungFork is clone(2) with VFORK and PIDFD: memory is copied, which costs
	// more the larger the parent is. For where sharing memory is refused.
	RungFork
	// RungNone means that no child can be made here.
	RungNone
)

func (r Rung) String() string {
	switch r {
	case RungClone3:
		return "clone3"
	case RungClone:
		return "clone"
	case RungFork:
		return "fork"
	}
	return "none"
}

// What Spawn returns as failedOp when no op of the program failed.
const (
	FailClone  = -1 // no child could be made
	FailClose  = -2 // the child could not close the parent's descriptors
	FailCgroup = -3 // the child could not join its cgroup by writing
	FailPass   = -4 // a descriptor could not be handed over
)

// Request is one child to make. The parent has descriptors 0, 1 and 2 open: a
// program that opens files must not get those numbers by chance.
type Request struct {
	Prog *prog.Loaded
	Rung Rung
	// CgroupFD is a descriptor of the cgroup v2 directory the child is born in,
	// -1 for the parent's own. The cgroup must not be frozen: the parent would
	// wait for the thaw.
	CgroupFD int
	// Record is where the child stores its pid before it runs any program, nil
	// for nowhere. It must not be on a Go stack.
	Record *atomic.Uint32
	// Pass are the descriptors that the child has as prog.FirstSlot and up: at
	// least as many as the program has slots. Passing any costs a copy of the
	// parent's descriptor table.
	Pass []int
}

// errno of a request that cannot be carried out as it stands.
const badRequest = syscall.EINVAL
