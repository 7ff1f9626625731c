// Package link is the engine's end of the keeper's socket: requests as method
// calls, answers and news as calls of a Handler, in the order in which the keeper
// sent them. No method blocks on a full socket: what does not fit is kept in
// order and sent when there is room. It knows what messages mean on the wire and
// nothing of what the engine does with them; package wire has the format.
package link

import (
	"errors"
	"fmt"
	"time"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// Handler is told what the keeper says. Its functions are called from one
// goroutine, one at a time, after List has returned. They may take their time and
// may call any method of Link but the waiting ones (Take, Count, Exit).
// A nil function is not called.
type Handler struct {
	Spawned  func(Spawned)
	Refused  func(Refused)
	Exited   func(Exited)
	Signaled func(Signaled)
	// Failed is told when the keeper refuses any other request, by the seq that
	// the method returned; a signal for a run that has ended, for example.
	Failed func(seq uint32, err *Error)
	// Alive is asked when the keeper doubts that the engine works. Call answer from
	// the engine's own loop; without Alive, the link answers by itself. An
	// engine that does not answer for 10 s is replaced.
	Alive func(answer func())
	// Finds says that Held will find the descriptors of a tag when a new keeper needs
	// them. Of any other that the keeper is given the link keeps a copy.
	Finds func(tag uint32) bool
	// Held returns a copy of a descriptor that the keeper held, which the link closes,
	// or -1. It is called by HandOver, from the goroutine that called that.
	Held func(name string, run uint64, tag uint32) int
	// Lost is called once, last, when the keeper is gone or talks nonsense.
	Lost func(error)
}

// Welcome is what the keeper says of itself.
type Welcome struct {
	Version        uint32 // of the exchanges: the highest both ends know
	Build          string // which abide the keeper is, "" when it is too old to say
	OnTrial        bool   // an upgrade waits for us to say that we are in charge
	KeeperPid      int
	EnginePid      int
	BootID         string
	RunID          string // of the run directory, 16 hex digits
	Rung           uint8  // as package vspawn counts
	PID1           bool
	Machine        bool // process 1 of the machine: it may power off
	Subreaper      bool
	Adopted        bool // runs of an earlier keeper live on
	RecordsNew     bool // there were no earlier records: a first start, or they are gone
	RecordsSet     bool // earlier records could not be used and were set aside
	RecordsDamaged bool // single records could not be used
	Unrecorded     bool // there are no records
	NofileSoft     uint64
	NofileHard     uint64
	Slots          int
	Used           int
	Engines        int // engines this keeper has started, this one included
}

// Record is one service as the keeper knows it. Run is the last run number used.
type Record struct {
	Name  string
	Run   uint64
	Phase wire.Phase
	Pid   int
	Start uint64 // field 22 of /proc/PID/stat, 0: not known
	Began int64  // CLOCK_BOOTTIME, nanoseconds
	Exit  Exited // in phase wire.Ended
	Held  []wire.HeldTag
}

// Hold is a descriptor that the keeper is to hold for a run.
type Hold struct {
	Tag uint32
	FD  int
}

// SpawnArgs is a run to start. The link copies what it needs: all descriptors
// stay the caller's.
type SpawnArgs struct {
	Name     string
	Run      uint64
	AckRun   uint64 // the exit of this run is dealt with; 0: none
	Program  []byte
	Slow     bool
	CgroupFD int // -1: none
	Hold     []Hold
	Pass     []int // descriptors for the slots of the program
}

// Spawned says that a run has become its program.
type Spawned struct {
	Seq   uint32
	Name  string
	Run   uint64
	Pid   int
	Start uint64 // field 22 of /proc/PID/stat, 0: not known
	Began int64  // CLOCK_BOOTTIME, nanoseconds
}

// Refused says that nothing runs. Op is the operation of the program that failed,
// negative as package vspawn counts what comes before. Burned: the run number is
// used up all the same.
type Refused struct {
	Seq    uint32
	Name   string
	Run    uint64
	Code   wire.Code
	Op     int
	Errno  int
	Burned bool
}

// Exited is the end of a run. Status is the word of wait4(2), if Known.
type Exited struct {
	Name       string
	Run        uint64
	Pid        int
	Known      bool
	Status     uint32
	NotStarted bool // the program never ran: the keeper died before
	ExecFailed bool // abide-exec could not become the program: Op and Errno say why
	Op         int
	Errno      int
	Adopted    bool // started by an earlier keeper
	User       time.Duration
	System     time.Duration
	MaxRSS     int64 // bytes
	Boot       int64 // CLOCK_BOOTTIME, nanoseconds
	Real       time.Time
}

// Signaled says that the keeper got a signal. Count is how many of its kind came
// since the keeper started. Until Handled, the next engine is told as well.
type Signaled struct {
	Signo int
	Count uint32
}

// Estate is what an engine has from its keeper, beside what the link knows: -1 for
// what there is not.
type Estate struct {
	Listener int // of RUN/control.sock
	Lock     int // RUN/lock, the descriptor that the keeper gave
	Lease    int // the pipe of `abide up`
}

// Successor is how to start a keeper in the place of one that has ended.
type Successor struct {
	Path string   // of the program; /proc/self/fd/N for one that has no name any more
	Argv []string // of the keeper that is replaced, the program's name first
	Env  []string
	// Nofile is the soft and the hard limit of open descriptors that the first
	// keeper was started with; services get them.
	Nofile [2]uint64
}

// Counters are the keeper's, since it started.
type Counters = wire.Stats

// Error is a request that the keeper refused.
type Error struct {
	Request string
	Code    wire.Code
	Errno   int
}

// OldKeeper is why a request cannot be made to a keeper that does not know it.
type OldKeeper struct{ Version uint32 }

func (e *OldKeeper) Error() string {
	return fmt.Sprintf("the keeper is older (version %d): abide upgrade", e.Version)
}

// ErrLost is why a request fails when the keeper is gone.
var ErrLost = errors.New("the keeper is gone")
