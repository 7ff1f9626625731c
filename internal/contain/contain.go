// Package contain keeps the processes of each run together, so that nothing is
// left behind when the run is over: by a control group where one can be had, else
// by tracing who descends from whom.
//
// It promises that only a process of the run is ever signalled: each signal goes
// through a pidfd, and what makes the process one of the run was read while that
// pidfd was open and its process alive. What may have come from a service but
// cannot be shown to is named as a stray and left alone. It starts no process,
// decides nothing about services, and polls nothing.
package contain

import (
	"context"
	"time"
)

// The kinds of containment, as status shows them.
const (
	Cgroup = "cgroup" // the kernel knows every process of the run
	Traced = "traced" // processes are found by what can be seen of them
	None   = "none"   // only the main process is known
)

// Config says for whom processes are kept together.
type Config struct {
	Run    string // the run directory; FIFOs are RUN/services/NAME/NUMBER.out and .err
	Keeper int    // process id of the keeper, which orphans become children of
	Own    []int  // further processes of abide, which are never touched
	Proc   string // where proc is mounted; "" is /proc

	// Force takes away what is better than Cgroup ("cgroup", or "cgroup-v1" for
	// the old hierarchies only), Traced or None; "" takes the best there is.
	Force string
}

// Options for Clean.
type Options struct {
	// Grace is how long the rest may take after TERM and CONT, before KILL. 0
	// sends KILL at once.
	Grace time.Duration
}

// Result says what became of a run's processes.
type Result struct {
	Ended      int     // processes that were there and have ended
	NeededKill bool    // some of them only by KILL
	Strays     []Stray // processes that were left alone
	Left       []Stray // processes of the run that still exist: not to be killed, or ctx ended first
	Err        error   // why it cannot be told whether something is left; nil if it can
}

// Stray is a process that was not signalled, or could not be.
type Stray struct {
	Pid   int
	Start uint64 // clock ticks after boot; 0 if it could not be read
	Comm  string
	Why   string
}

// Usage is what a run has taken. A value is 0 where the system does not tell.
type Usage struct {
	CPU        time.Duration // user and system, of all processes that ever were in it
	Memory     int64         // bytes now
	MemoryPeak int64         // bytes at most
}

// Group is the processes of one run. Its methods may be called from any
// goroutine; those that take a context block, all others answer at once.
type Group interface {
	// Kind is Cgroup, Traced or None.
	Kind() string

	// DirFD is the directory for CLONE_INTO_CGROUP, -1 without one. CloseDir closes
	// it once the process has been asked for.
	DirFD() int
	CloseDir()

	// JoinPaths are the cgroup.procs files that a child has to write "0" to before
	// it runs the program, unless it was cloned into DirFD.
	JoinPaths() []string

	// SetMain tells which process the run began with: its number and its start
	// time, field 22 of /proc/PID/stat.
	SetMain(pid int, start uint64)

	// Snapshot remembers who descends from the main process. It is to be called
	// before anything that may end the main process, since its death cuts the
	// descent.
	Snapshot()

	// Empty reports whether nothing of the run is left. It costs a few
	// microseconds when that is so. Without mainGone the main process counts.
	Empty(mainGone bool) bool

	// Members lists the processes of the run.
	Members() []int

	// SignalAll sends a signal to every process of the run.
	SignalAll(signo int) error

	// Freeze stops every process of the run, Thaw lets them go on.
	Freeze() error
	Thaw() error

	// Kill ends every process of the run, the main one included, and returns when
	// nothing is left or ctx has ended.
	Kill(ctx context.Context) Result

	// Clean ends what is left of the run after its main process, and returns when
	// nothing is left or ctx has ended.
	Clean(ctx context.Context, o Options) Result

	// Leave lets the processes of the run live: they are not the next run's
	// leftovers. Remove forgets the group; what it had in the system is removed as
	// soon as no process is in it.
	Leave()
	Remove()

	Usage() Usage

	// OOMKilled reports whether the kernel ended a process of the run because its
	// memory limit was reached.
	OOMKilled() bool
}
