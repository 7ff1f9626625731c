// Package wire is what travels over RUN/control.sock: the paths, bodies and
// answers of the HTTP API, and the fast encoding of the few that are large. The
// server and the client both build on it, so neither links the other. It opens
// no socket and judges nobody.
package wire

import "github.com/abide-project/abide/internal/control"

// The media types of answers.
const (
	JSON   = "application/json"
	NDJSON = "application/x-ndjson"
	TOML   = "application/toml; charset=utf-8"
)

// The fixed paths. A service's own are ServicePrefix + NAME, and below that the
// verbs and "definition".
const (
	PathAbout     = "/v1/about"
	PathServices  = "/v1/services"
	ServicePrefix = "/v1/services/"
	PathActions   = "/v1/actions"
	PathWait      = "/v1/wait"
	PathApply     = "/v1/apply"
	PathPlan      = "/v1/plan"
	PathShutdown  = "/v1/shutdown"
	PathRunlevel  = "/v1/runlevel"
	PathRun       = "/v1/run"
	PathAdopt     = "/v1/adopt"
	PathUpgrade   = "/v1/upgrade"
	PathEvents    = "/v1/events"
	PathLogs      = "/v1/logs"
	PathGraph     = "/v1/graph"
)

// MaxBody is the largest request body in bytes: ten thousand names and some.
const MaxBody = 2 << 20

// ServiceVerbs are the verbs that act on services, in the order they are shown.
var ServiceVerbs = []control.Verb{
	control.Start, control.Stop, control.Restart, control.Reload, control.Enable,
	control.Disable, control.Clear, control.Signal, control.Pause, control.Resume,
	control.Release, control.Roll, control.Rollback, control.Scale,
}

// Action is the body of every action. Verb and Names are read by PathActions
// only: elsewhere the path says them.
type Action struct {
	// ID makes the request repeatable: a second one with the same ID gets the
	// first one's outcome and executes nothing.
	ID    string       `json:"id,omitempty"`
	Verb  control.Verb `json:"verb,omitempty"`
	Names []string     `json:"names,omitempty"`
	// Once starts without restarting afterwards.
	Once bool `json:"once,omitempty"`
	// Now makes enable start and disable stop.
	Now    bool `json:"now,omitempty"`
	NoWait bool `json:"no_wait,omitempty"`
	// Timeout is a duration such as "20s"; empty means as long as it takes.
	Timeout string `json:"timeout,omitempty"`
	// Signal is a name with or without SIG, or a number.
	Signal string `json:"signal,omitempty"`
	// Number is the snapshot for rollback, and how many copies for scale.
	Number *int `json:"number,omitempty"`
	// Reset scales to what the file says.
	Reset bool `json:"reset,omitempty"`
	// Unpin lets apply take the files of pinned services again.
	Unpin bool `json:"unpin,omitempty"`
}

// Run is the body of PathRun: a transient service.
type Run struct {
	ID          string   `json:"id,omitempty"`
	Name        string   `json:"name,omitempty"`
	Command     []string `json:"command"`
	Directory   string   `json:"directory,omitempty"`
	Environment []string `json:"environment,omitempty"`
	NoWait      bool     `json:"no_wait,omitempty"`
	Timeout     string   `json:"timeout,omitempty"`
}

// Adopt is the body of PathAdopt: a process that runs already. Start is field 22 of
// its /proc/PID/stat as the asker saw it, so that no other process of the same
// number can be meant.
type Adopt struct {
	ID      string `json:"id,omitempty"`
	Pid     int    `json:"pid"`
	Start   uint64 `json:"start"`
	As      string `json:"as"`
	NoWait  bool   `json:"no_wait,omitempty"`
	Timeout string `json:"timeout,omitempty"`
}

// Upgrade is the body of PathUpgrade. Directory holds the programs to move to; empty
// means where the present ones came from.
type Upgrade struct {
	ID        string `json:"id,omitempty"`
	Directory string `json:"directory,omitempty"`
}

// Wait is the body of PathWait. For is a state; empty means any end of the run.
type Wait struct {
	Names   []string `json:"names"`
	For     string   `json:"for,omitempty"`
	Timeout string   `json:"timeout,omitempty"`
}

// Outcomes answers an action.
type Outcomes struct {
	Outcomes []control.Outcome `json:"outcomes"`
}

// ErrorBody is the one form of a refusal.
type ErrorBody struct {
	Error control.Error `json:"error"`
}

// Progress is a line of an action's answer when NDJSON was asked for: any number
// of lines with Waiting, then one with Outcomes or Error.
type Progress struct {
	Waiting  string            `json:"waiting,omitempty"`
	Outcomes []control.Outcome `json:"outcomes,omitempty"`
	Error    *control.Error    `json:"error,omitempty"`
}

// StreamError is the last line of a stream that was cut short.
type StreamError struct {
	Error *control.Error `json:"error"`
}
