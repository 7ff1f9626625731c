// Package control is what the outside may see and ask of an engine: plain types
// and one interface. The API serves it, the command line and compatibility
// endpoints speak to it through the API, the engine implements it. It knows
// neither HTTP nor the engine.
package control

import (
	"context"
	"time"
)

// Status is one service as CLI.md describes it for `status --json`: all keys are
// always present.
type Status struct {
	Name        string     `json:"name"`
	Service     string     `json:"service"`
	Instance    string     `json:"instance"`
	Kind        string     `json:"kind"`
	State       string     `json:"state"`
	Wanted      bool       `json:"wanted"`
	Enabled     bool       `json:"enabled"`
	Pid         int        `json:"pid"`
	Run         uint64     `json:"run"`
	Since       time.Time  `json:"since"`
	Ready       bool       `json:"ready"`
	Paused      bool       `json:"paused"`
	Restarts    uint64     `json:"restarts"`
	WaitingFor  []string   `json:"waiting_for"`
	Why         string     `json:"why"`
	Fault       string     `json:"fault"`
	Pinned      bool       `json:"pinned"`
	Definition  Definition `json:"definition"`
	LastExit    *Exit      `json:"last_exit"`
	Containment string     `json:"containment"`
	Strays      []int      `json:"strays"`
	Log         LogStatus  `json:"log"`
	LastOutput  []string   `json:"last_output"` // of a failed service
}

// Definition says which file a service comes from and whether that file differs
// from what was applied.
type Definition struct {
	Path    string `json:"path"`
	Changed bool   `json:"changed"`
}

// Exit is how a run ended. Code and Signal are nil where they do not apply.
type Exit struct {
	Run     uint64    `json:"run"`
	At      time.Time `json:"at"`
	Code    *int      `json:"code"`
	Signal  *string   `json:"signal"`
	Core    bool      `json:"core"`
	OOM     bool      `json:"oom"`
	Unknown bool      `json:"unknown"`
}

// LogStatus tells where a service's output goes and what was lost of it.
type LogStatus struct {
	Path         string `json:"path"`
	DroppedBytes uint64 `json:"dropped_bytes"`
	DroppedLines uint64 `json:"dropped_lines"`
}

// Who is the peer of a request, as the kernel names it.
type Who struct {
	UID    int
	GID    int
	PID    int
	Groups []int
}

// Verb is an action on services or on abide itself.
type Verb string

// The verbs of part one. Those on services take names; an empty list is a usage
// error but for Apply (everything) and Shutdown.
const (
	Start    Verb = "start"
	Stop     Verb = "stop"
	Restart  Verb = "restart"
	Reload   Verb = "reload"
	Enable   Verb = "enable"
	Disable  Verb = "disable"
	Clear    Verb = "clear"
	Signal   Verb = "signal"
	Pause    Verb = "pause"
	Resume   Verb = "resume"
	Apply    Verb = "apply"
	Shutdown Verb = "shutdown"
	Run      Verb = "run"
	Adopt    Verb = "adopt"   // a process that runs already becomes a service
	Release  Verb = "release" // its process goes on without abide
	Upgrade  Verb = "upgrade"
	Runlevel Verb = "runlevel" // the one name is the level
	Roll     Verb = "roll"     // the next run starts beside the present one and takes its place
	Rollback Verb = "rollback" // a service goes back to a definition that was in force, and stays there
	Scale    Verb = "scale"    // a template gets another number of copies
)

// Request asks for a verb. ID makes it repeatable: a second request with the
// same ID returns the first one's outcome and executes nothing.
type Request struct {
	ID      string
	Who     Who
	Verb    Verb
	Names   []string
	Once    bool          // start --once
	Now     bool          // enable/disable --now
	NoWait  bool          // do not wait until done
	Timeout time.Duration // 0: as long as it takes
	Signal  int           // for Signal
	Run     *RunSpec      // for Run
	Pid     int           // for Adopt: the process
	Start   uint64        // and its field 22 of /proc/PID/stat, as the asker saw it
	As      string        // the service it becomes
	// Directory holds the programs to upgrade to; "" is where the present ones are.
	Directory string
	Number    int               // for Rollback: of the snapshot; for Scale: of copies
	Reset     bool              // for Scale: as many copies as the file says
	Unpin     bool              // for Apply: Names are not pinned any more
	Trace     func(line string) `json:"-"` // told what is waited for, may be nil
}

// RunSpec is a transient service: `abide run -- CMD`.
type RunSpec struct {
	Name        string
	Command     []string
	Directory   string
	Environment []string
}

// Outcome is what became of one name of a request.
type Outcome struct {
	Name    string  `json:"name"`
	Done    bool    `json:"done"`
	Message string  `json:"message"` // "started, pid 411", "stopped; KILL was needed after 10s"
	Code    Code    `json:"code"`    // "" when done
	Hint    string  `json:"hint"`
	Status  *Status `json:"status"`
}

// Code is a stable word for a kind of failure; the CLI maps it to an exit code.
type Code string

// The codes.
const (
	Failed       Code = "failed"          // exit 1
	Usage        Code = "usage"           // exit 2
	NotRunning   Code = "not-running"     // exit 3
	Unknown      Code = "unknown-service" // exit 4
	NotPermitted Code = "not-permitted"   // exit 5
	NoDaemon     Code = "no-daemon"       // exit 6
	TimedOut     Code = "timed-out"       // exit 7
)

// Error is the one error form of the API: {"error":{code,message,hint}}.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func (e *Error) Error() string { return e.Message }

// Event is one thing that happened, numbered without gaps in one state folder.
type Event struct {
	Cursor  uint64            `json:"cursor"`
	Time    time.Time         `json:"time"`
	Service string            `json:"service"` // "" for abide's own
	Run     uint64            `json:"run"`
	Kind    string            `json:"kind"` // "state", "spawn", "exit", "operator", "definition", "log", "abide"
	Text    string            `json:"text"`
	Fields  map[string]string `json:"fields,omitempty"`
}

// LogQuery selects what `abide log` prints.
type LogQuery struct {
	Names  []string // empty: all the asker may see
	Lines  int      // last N lines, -1: all
	Since  time.Time
	Follow bool
	Cursor string // resume after this place
}

// LogRecord is one line of a service's output.
type LogRecord struct {
	Service string    `json:"service"`
	Time    time.Time `json:"time"`
	Run     uint64    `json:"run"`
	Stream  string    `json:"stream"` // "out", "err", "abide", or a hook such as "before_start"
	Text    string    `json:"text"`
	Base64  bool      `json:"base64,omitempty"` // Text is base64: the line was not UTF-8
	Cursor  string    `json:"cursor,omitempty"`
}

// About describes the instance that answers.
type About struct {
	Version     string   `json:"version"`
	Pid         int      `json:"pid"`
	Keeper      int      `json:"keeper"`
	Run         string   `json:"run"`
	State       string   `json:"state"`
	Log         string   `json:"log"`
	Mode        string   `json:"mode"` // "daemon", "init", "up"
	Project     string   `json:"project"`
	Services    int      `json:"services"`
	Rung        string   `json:"rung"` // "clone3", "clone", "exec"
	Containment string   `json:"containment"`
	Stopping    bool     `json:"stopping"`
	Runlevel    string   `json:"runlevel"` // the level before and the present one, as runlevel(8) prints them; "" before the first
	Cursor      uint64   `json:"cursor"`   // of the newest event
	Notes       []string `json:"notes"`    // what works only in part here, said once
}

// Graph is services and what they have to do with each other.
type Graph struct {
	Nodes []GraphNode `json:"nodes"` // by name
	Edges []GraphEdge `json:"edges"`
}

// GraphNode is a service, or a file that one needs.
type GraphNode struct {
	Name  string    `json:"name"`
	Kind  string    `json:"kind"`  // "daemon", "task", "forking", "target", "file"; "" if it is not defined
	State string    `json:"state"` // as in Status; of a file "present" or "absent"
	Began time.Time `json:"began"` // its present or last run; zero if there was none
	Ready time.Time `json:"ready"` // when it was ready last
}

// GraphEdge is one dependency. It stands at From and points to what that needs,
// follows or avoids.
type GraphEdge struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Kind    string `json:"kind"`    // the key: "requires"
	Until   string `json:"until"`   // "started", "ready", "finished"
	Restart string `json:"restart"` // "none", "error", "restart", "reload"
}

// Supervisor is an engine as its clients see it. Every method may be called from
// any goroutine and judges Who itself.
type Supervisor interface {
	About(ctx context.Context, who Who) (About, error)
	// Status answers for the named services, or for all those who may see when
	// names is empty. A name stands for all its instances. An unknown name is an
	// *Error with code Unknown.
	Status(ctx context.Context, who Who, names []string) ([]Status, error)
	// Do executes a request and returns one outcome for each service it meant.
	Do(ctx context.Context, req Request) ([]Outcome, error)
	// Wait returns when each named service has reached state ("running",
	// "stopped", "finished", "failed"; "" means any end of its run).
	Wait(ctx context.Context, who Who, names []string, state string) ([]Status, error)
	// Events sends events after cursor to fn, and goes on when follow is set
	// until ctx ends or fn fails.
	Events(ctx context.Context, who Who, cursor uint64, follow bool, fn func(Event) error) error
	// Logs sends records, merged by time.
	Logs(ctx context.Context, who Who, q LogQuery, fn func(LogRecord) error) error
	// History returns the last runs of a service, the oldest first, as far as events
	// are kept; last 0 means all.
	History(ctx context.Context, who Who, name string, last int) ([]PastRun, error)
	// Why explains the state of a service.
	Why(ctx context.Context, who Who, name string) (Why, error)
	// Plan tells what Apply of these names would do, of everything without names. It
	// changes nothing.
	Plan(ctx context.Context, who Who, names []string) (Plan, error)
	// Snapshots returns the definitions of a service that were in force, the oldest
	// first.
	Snapshots(ctx context.Context, who Who, name string) ([]Kept, error)
	// Graph returns what services have to do with each other: those with these names
	// and all that they lead to, or all there are. What the asker may not see is
	// left out.
	Graph(ctx context.Context, who Who, names []string) (Graph, error)
	// Show returns a service as native TOML with comments that name origins.
	Show(ctx context.Context, who Who, name string) (string, error)
}
