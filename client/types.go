// Package client speaks to a running abide over its control socket. A Client is
// bound to one run directory; it makes sure that the server is who it should be
// before it sends anything, repeats a request whose answer was lost (each carries
// an id, so nothing is done twice), and resumes streams where they broke. It
// needs no configuration and keeps no state on disk.
package client

import (
	"time"

	"github.com/abide-project/abide/internal/control"
)

// What the API speaks of.
type (
	// Status is one service.
	Status = control.Status
	// Exit is how a run ended.
	Exit = control.Exit
	// Outcome is what became of one name of a request.
	Outcome = control.Outcome
	// Event is one thing that happened.
	Event = control.Event
	// LogRecord is one line of a service's output.
	LogRecord = control.LogRecord
	// LogQuery selects log records.
	LogQuery = control.LogQuery
	// About describes the instance that answers.
	About = control.About
	// PastRun is one process lifetime of a service, over or not.
	PastRun = control.PastRun
	// Why explains the state of a service.
	Why = control.Why
	// Graph is services and what they have to do with each other.
	Graph = control.Graph
	// GraphNode is a service, or a file that one needs.
	GraphNode = control.GraphNode
	// GraphEdge is one dependency.
	GraphEdge = control.GraphEdge
	// Unmet is one thing that keeps a service from starting.
	Unmet = control.Unmet
	// Plan is what Apply would do.
	Plan = control.Plan
	// PlanStep is what becomes of one service.
	PlanStep = control.PlanStep
	// PlanKey is a key of a definition whose value differs.
	PlanKey = control.PlanKey
	// Kept is a definition that was in force and can be again.
	Kept = control.Kept
	// Error is a refusal by abide; every error of a Client that is not the
	// context's is one.
	Error = control.Error
	// Code is the kind of an Error or of an Outcome that is not done.
	Code = control.Code
	// Verb is an action.
	Verb = control.Verb
)

// The verbs of Do.
const (
	Start    = control.Start
	Stop     = control.Stop
	Restart  = control.Restart
	Reload   = control.Reload
	Enable   = control.Enable
	Disable  = control.Disable
	Clear    = control.Clear
	Signal   = control.Signal
	Pause    = control.Pause
	Resume   = control.Resume
	Apply    = control.Apply
	Shutdown = control.Shutdown
	Release  = control.Release
	Roll     = control.Roll
	Runlevel = control.Runlevel
	Rollback = control.Rollback
	Scale    = control.Scale
)

// The codes of errors and outcomes.
const (
	Failed       = control.Failed
	Usage        = control.Usage
	NotRunning   = control.NotRunning
	Unknown      = control.Unknown
	NotPermitted = control.NotPermitted
	NoDaemon     = control.NoDaemon
	TimedOut     = control.TimedOut
)

// Request is an action on services, or on abide itself for Apply and Shutdown.
type Request struct {
	Verb  Verb
	Names []string
	// Once starts without restarting afterwards.
	Once bool
	// Now makes Enable start and Disable stop.
	Now bool
	// NoWait answers as soon as the request is taken.
	NoWait bool
	// Timeout ends the waiting, not the work; 0 waits as long as it takes.
	Timeout time.Duration
	// Signal is a name with or without SIG, or a number.
	Signal string
	// Number is the snapshot for Rollback, and how many copies for Scale.
	Number int
	// Reset scales to what the file says.
	Reset bool
	// Unpin lets Apply take the files of pinned services again.
	Unpin bool
	// Waiting, if not nil, is told what is waited for.
	Waiting func(text string)
}

// Adoption is a process that runs already and is to become a service.
type Adoption struct {
	Pid     int
	Start   uint64 // field 22 of its /proc/PID/stat (proc_pid_stat(5)), as it was seen
	As      string // the service's name
	NoWait  bool
	Timeout time.Duration
	Waiting func(text string)
}

// Command is a program to run as a transient service.
type Command struct {
	Name        string // "" lets abide choose
	Command     []string
	Directory   string
	Environment []string // NAME=VALUE
	NoWait      bool
	Timeout     time.Duration
	Waiting     func(text string)
}
