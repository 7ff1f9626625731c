// Package model is the definition of a service as plain data, whatever file
// format it came from. It is pure: it imports no os, net, syscall, and knows no
// clock. Readers of formats fill a Service; spawn, core and engine only read it.
package model

import (
	"maps"
	"time"

	"github.com/abide-project/abide/internal/diag"
)

// Kind says how the program of a service behaves.
type Kind uint8

// A Daemon runs until stopped; a Task runs once and stays finished. The program
// of a Forking service ends after it has left its main process behind. A Target
// has no program: it is a name for a set.
const (
	Daemon Kind = iota
	Task
	Forking
	Target
)

// Service is one definition, complete: templates are instantiated, drop-ins and
// defaults merged. Texts that may hold ${...} keep it; spawn expands them at
// each start. Absent optional numbers are nil.
type Service struct {
	Name     string // with "@INSTANCE" for a copy
	Template string // "web@" when Name is an instance of a template, else ""
	Instance string // what stands behind the @, else ""

	Description string
	Command     []string // argv when Shell is false; never empty then
	Shell       bool     // Script goes to /bin/sh -c
	Script      string   // the command text when Shell is true
	Kind        Kind
	Enabled     bool
	Essential   bool
	FDStore     int    // how many descriptors it may leave with abide for its next run
	PidFile     string // Forking: where the program writes its main process's number; "" if nowhere

	Directory string // "" means the default of the instance's scope
	User      string // name or number, "" means abide's own
	Group     string
	Groups    []string // supplementary; nil means those of the user's account
	GroupsSet bool     // Groups was given, even as an empty list
	Umask     uint32

	Environment      []EnvVar // sorted by name
	EnvironmentFiles []EnvFile
	Inherit          Inherit
	Path             []string // directories searched for the program; nil means DefaultPath

	Stdin Stdin
	TTY   string // path of a terminal when Stdin is StdinTTY

	Nice            *int
	OOMScore        *int
	IOPriority      *IOPriority
	Scheduler       *Scheduler
	CPUs            []int // sorted, without repeats; nil means all
	Chroot          string
	NoNewPrivileges bool

	KillLeftovers bool

	Needs       Needs
	Hooks       Hooks
	Restart     Restart
	Ready       Ready
	Health      Health
	Stop        Stop
	Reload      Reload
	Directories Directories
	Credentials []Credential // sorted by name
	Conditions  Conditions
	Log         Log
	Rlimits     []Rlimit // sorted by name
	OnFailure   OnFailure
	Operators   Operators
	Grants      []Grant // which of Operators came by patterns of abide.toml

	// Origin tells for a key path ("restart.backoff.max") where its value came
	// from. A key that stands on its default has no entry.
	Origin map[string]diag.Pos
	// Files are all files the definition was made of, the main one first.
	Files []string
	// Root is the folder relative paths resolve against.
	Root string
}

// EnvVar is one variable; Value may hold ${...}.
type EnvVar struct{ Name, Value string }

// EnvFile is a file of variables read anew at each start. Optional files may be
// missing.
type EnvFile struct {
	Path     string
	Optional bool
}

// Inherit says which of abide's own variables a service sees.
type Inherit struct {
	All   bool
	Globs []string // matched as path.Match does
}

// Stdin is what a service reads from.
type Stdin uint8

// StdinNull is /dev/null; StdinOpen is an end of a pipe that never delivers;
// StdinTTY is the terminal TTY, made the controlling terminal.
const (
	StdinNull Stdin = iota
	StdinOpen
	StdinTTY
)

// IOPriority is ioprio_set(2)'s class and level.
type IOPriority struct {
	Class string // "realtime", "best-effort", "idle"
	Level int    // 0 (highest) to 7
}

// Scheduler is sched_setscheduler(2)'s policy and static priority.
type Scheduler struct {
	Policy   string // "other", "batch", "idle", "fifo", "rr"
	Priority int
}

// RestartWhen is the rule that decides whether an end is followed by a start.
type RestartWhen uint8

// OnCrash means: died of a signal that abide did not send.
const (
	RestartAlways RestartWhen = iota
	RestartNever
	RestartOnFailure
	RestartOnCrash
)

// Restart is the [restart] table.
type Restart struct {
	When         RestartWhen
	SuccessCodes ExitSet // what counts as success beside exit 0
	GiveUpCodes  ExitSet
	Delay        time.Duration
	Spacing      time.Duration // from the start of a run to the next automatic start at the least, 0: none
	Short        Short
	Backoff      Backoff
	Limit        Limit
}

// Short asks for Delay before the next start of a run that ended sooner than
// Under after its start; it replaces the back-off. Under 0: there is no such rule.
// The first After short runs in a row are let be. With Counted the delay counts as
// life of the run after it, as where the program itself sleeps before it begins.
type Short struct {
	Under   time.Duration
	Delay   time.Duration
	After   int
	Counted bool
}

// ExitSet is a set of exit codes and signals, both sorted.
type ExitSet struct {
	Codes   []int
	Signals []int
}

// Backoff paces the restarts of a program that keeps dying. A run that lived
// Healthy is restarted at once; after ResetAfter of life the next delay is
// First again.
type Backoff struct {
	First      time.Duration
	Factor     float64
	Max        time.Duration
	Jitter     float64 // 0.2 means +-20 %
	Healthy    time.Duration
	ResetAfter time.Duration
}

// Limit makes abide give up after Count restarts within Window, or after InRow
// failed runs without one between them that was ready. 0 never gives up.
// RetryAfter, if not 0, lifts the fault by itself.
type Limit struct {
	Count      int
	Window     time.Duration
	RetryAfter time.Duration
	InRow      int
	Starts     bool // what an operator starts is counted as well
	FromFirst  bool // Window begins with the first start that is counted, and the next with the first after its end
}

// StopStep is one signal and how long to wait before the next step. Wait 0 in
// the last step means "what is left of the timeout".
type StopStep struct {
	Signal int
	Wait   time.Duration
}

// Stop is the [stop] table.
type Stop struct {
	Steps         []StopStep
	Command       []string // instead of signals, nil if none
	Timeout       time.Duration
	ToAll         bool
	CrashGrace    time.Duration
	LeaveChildren bool
}

// Reload is the [reload] table: a signal, or a command when it is not nil.
type Reload struct {
	Signal  int
	Command []string
}

// LogTarget is one place that output goes to.
type LogTarget struct {
	Kind LogKind
	Path string // for LogPath
}

// LogKind is a sort of LogTarget.
type LogKind uint8

// LogInherit hands the program abide's own descriptor; LogConsole writes to
// abide's output with the service's name before each line.
const (
	LogFile LogKind = iota
	LogConsole
	LogNull
	LogInherit
	LogPath
)

// Stamp is the form of the time before each line.
type Stamp uint8

// The forms: RFC 3339 with nanoseconds in UTC, TAI64N, nothing.
const (
	StampRFC3339 Stamp = iota
	StampTAI64N
	StampNone
)

// Log is the [log] table. Zero sizes and times mean "no such limit".
type Log struct {
	Stdout    []LogTarget
	Stderr    []LogTarget
	Size      int64
	Every     time.Duration
	Keep      int
	KeepFor   time.Duration
	KeepTotal int64
	Compress  string // "zstd" or "none"
	Stamp     Stamp
	JSON      bool
	Block     bool // when_full = "block"
	PipeWrite bool // pipe = "write"
}

// Unlimited is the value of a resource limit that is not limited.
const Unlimited = ^uint64(0)

// Rlimit is one resource limit by its lower-case name ("nofile").
type Rlimit struct {
	Name string
	Soft uint64
	Hard uint64
}

// Operators says who may do what: role or verb to a list of "*", "user:x",
// "group:x".
type Operators map[string][]string

// Grant is what the table [operators."PATTERN"] of an abide.toml says for one
// role, where the service's own definition says nothing. Pattern is "" for what
// would hold without any pattern. Of one role the last grant counts.
type Grant struct {
	Pattern string
	Role    string
	Who     []string
}

// GrantedBy is who may do what if only those patterns count that holds is true
// for.
func (s *Service) GrantedBy(holds func(pattern string) bool) Operators {
	out := maps.Clone(s.Operators)
	for _, g := range s.Grants {
		if g.Pattern != "" && !holds(g.Pattern) {
			continue
		}
		if len(g.Who) == 0 && g.Pattern == "" {
			delete(out, g.Role)
			continue
		}
		out[g.Role] = g.Who
	}
	return out
}
