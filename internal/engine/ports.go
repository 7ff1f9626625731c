package engine

import (
	"context"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/outside"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
)

// Ports are the engine's only ways to touch anything. A test gives it others.
type Ports struct {
	Clock       Clock
	Keeper      Keeper
	Compiler    Compiler
	Logs        Logs
	Groups      Groups
	Processes   Processes
	Definitions Definitions
	Wishes      Wishes
	Snapshot    Snapshot
	Requests    Requests // nil: they are forgotten with the engine
	History     History
	Pending     Pending // nil: a turn's events die with the engine
	Console     Console
	Memory      Memory
	Upgrader    Upgrader // nil: this abide cannot be upgraded in place
	Past        Past     // nil: records are never lost
	Mirror      Mirror   // nil: there is none
	Faults      Faults   // nil: they are forgotten with the engine
	Patterns    Patterns // nil: for whom [operators] was given is forgotten with the engine
	Paths       Paths    // nil: none can be watched
	Setting     Setting  // nil: a run needs none
	Layers      Layers   // nil: there is no state folder
	Signs       Signs    // nil: programs are asked nothing
	Alarms      Alarms   // nil: on_failure does nothing
	Notices     Notices  // nil: no run can be heard
	Descriptors Descriptors
}

// Clock is the two times an engine knows, and how it lets time to others.
type Clock interface {
	Boot() int64 // CLOCK_BOOTTIME, nanoseconds
	Wall() time.Time
	Yield() // lets other processes run that wait for this processor
}

// Scope says whom a signal through the keeper reaches.
type Scope uint8

// ToMain reaches the main process only, by its pidfd.
const (
	ToMain Scope = iota
	ToGroup
)

// Order asks the keeper for a run. Acknowledging AckRun's exit and asking for
// Run are one message.
type Order struct {
	Name     string
	Run      uint64
	AckRun   uint64
	Program  []byte
	Slow     bool
	CgroupFD int    // -1: none
	Hold     []Hold // descriptors the keeper keeps for this run
	Pass     []int  // descriptors the program is given, from 3 on
}

// Hold is one descriptor that must survive the engine.
type Hold struct {
	Tag uint32
	FD  int
}

// The tags of what is held.
const (
	HoldOut    uint32 = 1 + iota
	HoldErr           // the other log pipe
	HoldNotify        // the socket that the run is heard on, see Notices
	HoldReady         // the read end of the pipe on which a run says that it is ready

	// HoldStore and above is what a service has stored. It is held for run 0: runs come
	// and go and find it again.
	HoldStore uint32 = 64
)

// Keeper is the keeper as the engine sees it. Answers come as events, see
// Engine.Spawned and its neighbours.
type Keeper interface {
	Spawn(Order) error
	Signal(name string, run uint64, signo int, to Scope) error
	// Adopt makes a process that runs already the run, by pid and field 22 of its
	// /proc/PID/stat. It is answered as Spawn is.
	Adopt(name string, run uint64, pid int, start uint64) error
	// Main makes another process of a run's its main process, by pid and start time as
	// for Adopt: of a run that lives, or whose exit is not acknowledged. It is answered
	// as Spawn is.
	Main(name string, run uint64, pid int, start uint64) error
	// Release lets the process of a run go on; its end is told to nobody.
	Release(name string, run uint64) error
	// SignalOnce is Signal with a name, once, that is not 0: asked for again under
	// the name of the last one sent to the service, also by another engine, it is
	// not sent again.
	SignalOnce(name string, run uint64, signo int, to Scope, once uint64) error
	Ack(name string, run uint64) error
	// Keep gives the keeper a copy of a descriptor to hold for a run.
	Keep(name string, run uint64, tag uint32, fd int) error
	Drop(name string, run uint64) error // all that is held for the run
	DropOne(name string, run uint64, tag uint32) error
	// Take returns a copy of a held descriptor. It waits for the keeper.
	Take(name string, run uint64, tag uint32) (fd int, err error)
	Forget(name string) error
	// List returns every record the keeper has. Without them an engine can do
	// nothing: one that cannot get them should end rather than return an error.
	List() ([]Record, error)
}

// Record is what the keeper knows of one slot.
type Record struct {
	Name      string
	Run       uint64 // the last run of the slot
	Live      bool
	Exited    bool // ended and not acknowledged: Exit is valid
	Pid       int
	StartTime uint64 // /proc/PID/stat field 22
	Began     int64  // CLOCK_BOOTTIME, nanoseconds
	Exit      Exit
	Held      []uint64 // the runs for which it holds descriptors
	Tags      []Tagged // what it holds
}

// Tagged names one descriptor that the keeper holds.
type Tagged struct {
	Run uint64 // 0: the service's, whatever runs
	Tag uint32
}

// Exit is the end of a run as the keeper saw it.
type Exit struct {
	Name    string
	Run     uint64
	Pid     int
	Known   bool
	Status  uint32 // as wait(2) gives it
	At      time.Time
	Boot    int64 // the same on CLOCK_BOOTTIME, nanoseconds
	CPU     time.Duration
	MaxRSS  int64 // bytes
	ExecOp  int   // the op that failed in abide-exec, -1 if none did
	ExecErr int   // its errno
}

// Program is a spawn program. Explain puts the failure of one of its ops into
// words: "cannot set RLIMIT_NOFILE to 65536: operation not permitted".
type Program struct {
	Bytes   []byte
	Slow    bool // an op may block for long
	Explain func(op, errno int) string
	Hint    func(op, errno int) string // what to do about it, "" if nothing is known
	// ExitCode is what a shell would end with: 127 when the program is not there,
	// 126 when it cannot be executed, 125 when the fault is another. An error of a
	// Compiler may have a method of this name.
	ExitCode func(op, errno int) int
}

// Compiler turns a definition into a spawn program.
type Compiler interface {
	Compile(svc *model.Service, run RunContext) (*Program, error)
	// Command compiles an auxiliary command of a service.
	Command(svc *model.Service, argv []string, run RunContext) (*Program, error)
	// MayBlock tells whether compiling could block for long, because a file it
	// reads lies on a mount that is not known to be local.
	MayBlock(svc *model.Service) bool
	// Check says why a start of a service would certainly fail: its program is not
	// there, its user is unknown.
	Check(svc *model.Service) error
	// Expand replaces the ${NAME} of a text that is no command, as for a run.
	Expand(svc *model.Service, text string, run uint64) (string, error)
	// Account returns the ids a service runs under.
	Account(svc *model.Service) (uid, gid int, err error)
}

// RunContext is what a compiler must know of one run beside its definition.
type RunContext struct {
	Name   string
	Run    uint64
	RunID  string
	Out    svlog.Pipe
	Err    svlog.Pipe
	Joins  []string // cgroup.procs files the child enters by writing
	Record bool
	Ready  string // FIFO that the program has as its descriptor for readiness, "" if none
	// Notify is what NOTIFY_SOCKET is to be, "" for none; Watchdog how often the
	// program has to say there that it works; Stored the names of the descriptors that
	// it is given.
	Notify   string
	Watchdog time.Duration
	Stored   []string
	// Environment is added to the definition's; Stdin is a file that an auxiliary
	// command reads from, "" for none.
	Environment []model.EnvVar
	Stdin       string
}

// Alarms keeps what on_failure is at across our death, and tells others.
type Alarms interface {
	Set(key string, value []byte) error
	All() map[string][]byte
	// Write makes a file of lines that a command reads; Remove takes it away.
	Write(id string, lines []string) (path string, err error)
	Remove(id string)
	// Post sends JSON to an address, under an id by which a receiver knows what it was
	// sent before. After an error, again tells whether another try may succeed.
	Post(ctx context.Context, address, id string, body []byte) (again bool, err error)
}

// Setting is what a run needs beside its program.
type Setting interface {
	// Unmet is the first condition that does not hold, in words, "" if all do.
	Unmet(svc *model.Service) string
	// Make makes the directories of a service and places the credentials of a run.
	Make(svc *model.Service, run uint64) error
	// Clear removes the credentials of a run; ClearOthers those of all runs that keep
	// does not name.
	Clear(name string, run uint64)
	ClearOthers(keep func(name string, run uint64) bool)
	// RunDirectory is the folder that lives as long as the service is up, "" if it
	// has none. Remove removes it if it is the service's.
	RunDirectory(svc *model.Service) string
	Remove(svc *model.Service) error
}

// Stream is an output of a run.
type Stream uint8

// The streams, by the tag under which the keeper holds their pipes.
const (
	Stdout = Stream(HoldOut)
	Stderr = Stream(HoldErr)
)

// Logs captures what services write. See svlog.Manager.
type Logs interface {
	Begin(name string, run uint64, uid, gid int, spec *model.Log) (svlog.Pipes, error)
	// Adopt takes up the pipes of a run: by their names, or as the keeper holds them.
	Adopt(name string, run uint64, uid, gid int, spec *model.Log) error
	// AdoptFD takes up a stream by the read end of its pipe, which it takes over.
	AdoptFD(name string, run uint64, stream Stream, fd int, spec *model.Log) error
	// Detach lets others read the pipes of a run; done is told their names by then,
	// from any goroutine. Reclaim gives one of them the name of a run's again.
	Detach(name string, run uint64, done func(out, err string))
	Reclaim(path, name string, run uint64, stream Stream) error
	Ended(name string, run uint64, done func())
	// AwaitLine has done called from any goroutine, once or more, when a line that a
	// run writes from now on matches. Since a time that is not zero the run is under
	// way: what stands in its logs is looked at as well.
	AwaitLine(name string, run uint64, spec *model.Log, since time.Time, match func(line []byte) bool, done func(line string)) (cancel func())
	Configure(name string, spec *model.Log)
	Note(name string, run uint64, text string)
	Stats(name string) svlog.Stats
	Forget(name string)
	Sweep()
	Query(ctx context.Context, q control.LogQuery, fn func(control.LogRecord) error) error
	Close() error
}

// Group is the processes of one run.
type Group interface {
	Kind() string // cgroup, traced or none
	DirFD() int   // of the cgroup, -1 if there is none
	CloseDir()
	JoinPaths() []string // cgroup.procs files a child enters by writing "0"
	SetMain(pid int, start uint64)
	// Snapshot remembers who belongs to the run while its main process can tell.
	Snapshot()
	Members() []int
	SignalAll(signo int) error
	Freeze() error
	Thaw() error
	// Empty tells, fast, whether nothing of the run is left.
	Empty() bool
	// Kill ends everything with KILL, Clean what is left, with TERM first when
	// grace is above 0. Both block until nothing is left that they may touch.
	Kill(ctx context.Context) Cleaned
	Clean(ctx context.Context, grace time.Duration) Cleaned
	OOMKilled() bool
	// Leave says that what still lives of the run is to be let live. Remove
	// forgets the group.
	Leave()
	Remove()
}

// Cleaned is what a clean-up did.
type Cleaned struct {
	Ended  int
	Strays []Stray
	// Err says why it cannot be told whether anything is left.
	Err error
}

// Stray is a process that may have come from a run and cannot be shown to have.
type Stray struct {
	Pid  int
	Comm string
	Why  string
}

// Groups keeps each run's processes together. See contain.Manager.
type Groups interface {
	Prepare(name string, run uint64) (Group, error)
	Adopt(name string, run uint64, pid int, start uint64) (Group, error)
	// Take makes the group of a run whose main process nobody of ours started, and
	// moves its processes there. why says why they are only traced, if so. It may
	// block for milliseconds.
	Take(name string, run uint64, pid int, start uint64) (group Group, why, err error)
	// Owner says which known run a process belongs to, and what shows it; mark is ""
	// if it belongs to none. Stranger names the group of another abide's run.
	Owner(pid int) (name string, run uint64, mark string)
	Stranger(pid int) string
	Kind() string // of a run to come: cgroup, traced or none
	Describe() string
}

// Processes tells what can be seen of processes that abide did not start. See
// package outside.
type Processes interface {
	Look(pid int) (outside.Process, error)
	Ancestors(pid int) []int
	SameNamespace(pid int) bool
	Output(pid, fd int) outside.Output
	Readers(pipe outside.Output, except func(pid int) bool) ([]outside.Reader, error)
	OpenOutput(pid, fd int, seen outside.Output) (int, error)
	// PidIn reads a pid file, whose path is hostile. It may block.
	PidIn(path string) (int, error)
	// PidOf is the process that a pidfd names, 0 if it is none. IsPidfd tells whether
	// the pidfds of a process have this inode.
	PidOf(pidfd int) int
	IsPidfd(pid int, inode uint64) bool
	// AwaitAny waits until one of several processes has ended, false if the context
	// did before.
	AwaitAny(ctx context.Context, pids []int) bool
}

// Loaded is everything that was read from definition folders.
type Loaded struct {
	Services map[string]*model.Service
	Broken   map[string]diag.List
	Diags    diag.List
	Shutdown time.Duration
	Sources  []string
	DotEnv   string // the .env file variables come from, "" if none
	// Templates are those that can be used, by name ("web@").
	Templates map[string]Template
}

// Template is what the files say of the copies of a template.
type Template struct {
	File  string
	Named []string // its instances have names; they are not to be numbered
	Scale int      // copies by its file, 0 if it does not say
}

// Definitions reads definitions; it parses, the engine decides.
type Definitions interface {
	// Load is Read, and Take of everything.
	Load(running map[string]*model.Service) Loaded
	// Read reads everything. Services in running whose files cannot be read are among
	// the broken ones, not gone. A definition whose files are as they were the last
	// time is the same one, not another that says the same.
	Read(running map[string]*model.Service) Loaded
	// Take makes what Read found last what Changed compares the files with: of the
	// services that are meant only, unless that is nil.
	Take(meant func(name string) bool)
	// Reread reads one service's files. A nil service without errors means that
	// its definition is gone.
	Reread(name string) (*model.Service, diag.List)
	Changed(name string) bool
	// Known is what the files said of a service when they were taken last, nil if
	// nothing that can be used.
	Known(name string) *model.Service
	// Look is Changed for many services at once, as of now.
	Look() (changed func(name string) bool)
	Render(svc *model.Service) string
	// Restored is Load for an engine that follows another one: what that one
	// applied, without a look at the files. False when only they can tell.
	Restored() (Loaded, bool)
	// KeepApplied stores what is applied, so that a new engine runs the same
	// definitions whatever the files say by then.
	KeepApplied(map[string]*model.Service) error
	// Applied returns what KeepApplied stored in this boot, nil if nothing.
	Applied() map[string]*model.Service
}

// Wishes are what operators asked for, kept across our death.
type Wishes interface {
	Get(name string) state.Wish
	Set(name string, w state.Wish) error
}

// Snapshot keeps a few hundred bytes for each service across our death.
type Snapshot interface {
	Put(name string, blob []byte) error
	Delete(name string)
	All() map[string][]byte
}

// Mirror copies what lives to where it survives the loss of the run directory. Set
// is called at each change, from the loop; pid 0: nothing lives.
type Mirror interface {
	Set(name string, run uint64, pid int, start uint64)
}

// History is the numbered list of what happened.
type History interface {
	Append(...control.Event) uint64
	Last() uint64 // the newest cursor
	Read(ctx context.Context, cursor uint64, follow bool, fn func(control.Event) error) error
}

// Pending keeps the events of a turn that is not over across our death, see
// state.Pending.
type Pending interface {
	Note(*control.Event) bool
	Clear(cursor uint64)
	Left() []control.Event
}

// Paths tells what becomes of files and folders, see pathwatch.Watcher. A port may
// call fn from any goroutine and at any time; the engine's own use of the port runs
// it in the loop, not after cancel.
type Paths interface {
	// Watch has fn called when path appears, vanishes, is written, touched or renamed
	// over, wherever its folders are by then. It may be called without a change: who
	// is told looks for himself, once more after Watch has returned.
	Watch(path string, fn func()) (cancel func(), err error)
	// WatchGlob is Watch for all that a pattern (path.Match) matches.
	WatchGlob(pattern string, fn func()) (cancel func(), err error)
	// Mark tells the states of a path apart: 0 while nothing is there, and another
	// number each time that what is there has changed. It must not block.
	Mark(path string) uint64
}

// Signs finds out from outside whether a program is ready, or well. What is told may
// be told from any goroutine.
type Signs interface {
	// TCP and HTTP ask once, see package probe, and give up after timeout.
	TCP(address string, timeout time.Duration, done func(error)) (cancel func())
	HTTP(address string, timeout time.Duration, done func(error)) (cancel func())
	// MakePipe makes the pipe of a run and opens it for reading; AwaitPipe has told
	// called when a newline is in it (true), which stays there, or nobody can write
	// one any more. fd is taken over. OpenPipe opens it again by its name, which
	// RemovePipe removes.
	MakePipe(name string, run uint64) (path string, fd int, err error)
	OpenPipe(name string, run uint64) (fd int, err error)
	AwaitPipe(fd int, told func(line bool)) (cancel func(), err error)
	RemovePipe(name string, run uint64)
}

// Console is abide's own output.
type Console interface{ Say(line string) }

// Memory is told when a burst of work is over, to give memory back and let the
// collector rest, and when there is work again. Both are called often.
type Memory interface {
	Quiet()
	Busy()
}
