package model

import "time"

// Hook is a command that runs at a moment in the life of a run. Texts may hold
// ${...}.
type Hook struct {
	Command       []string // argv; nil when Script is used
	Script        string   // for /bin/sh -c
	User          string   // "" means the service's
	Timeout       time.Duration
	IgnoreFailure bool
}

// DefaultHookTimeout is how long a hook may run.
const DefaultHookTimeout = 30 * time.Second

// Hooks run in order, one after the other.
type Hooks struct {
	BeforeStart []Hook
	AfterStart  []Hook
	BeforeStop  []Hook
	AfterStop   []Hook
}

// Ready says when a started program counts as running. At most one of the signs is
// given; the zero value means at once. Timeout bounds the wait for all but After.
type Ready struct {
	After   time.Duration
	Notify  bool     // READY=1 by sd_notify(3)
	FD      int      // a newline on this descriptor, 0 if none
	TCP     string   // host:port accepts a connection
	HTTP    string   // a GET is answered with 2xx or 3xx
	Exec    []string // a command succeeds
	Log     string   // a line of output matches this regular expression (RE2)
	File    string   // a file exists that did not when the run began, or was touched since
	Timeout time.Duration
}

// DefaultReadyTimeout bounds the wait for a sign of readiness.
const DefaultReadyTimeout = 30 * time.Second

// Signed reports whether a sign is waited for.
func (r *Ready) Signed() bool {
	return r.Notify || r.FD != 0 || r.TCP != "" || r.HTTP != "" || r.Exec != nil || r.Log != "" || r.File != ""
}

// Health is the [health] table: at most one of the checks is given; none means
// that nothing is checked.
type Health struct {
	HTTP     string
	TCP      string
	Exec     []string
	Watchdog time.Duration // WATCHDOG=1 by sd_notify(3) at least this often
	Interval time.Duration // from the end of one check to the next
	Timeout  time.Duration // of one check
	Grace    time.Duration // after readiness, in which failures do not count
	Failures int           // in a row
	Restart  bool          // what Failures in a row lead to: a restart, else degraded
}

// Checks reports whether abide itself looks after the service's health.
func (h *Health) Checks() bool { return h.HTTP != "" || h.TCP != "" || h.Exec != nil }

// Directories are folders made for a service before it starts. A mode of 0 means
// that there is no such folder.
type Directories struct {
	Run, State, Cache, Logs, Config uint32
	Name                            string // below /run, /var/lib ...; "" means the service's name
}

// Credential is a file whose content is handed to a service in a folder of its own.
type Credential struct {
	Name string
	Path string
}

// Conditions must all hold before a start. The texts of one list are alternatives
// but for the paths, which must all be there, or all be missing.
type Conditions struct {
	PathExists  []string // globs
	PathMissing []string
	Host        []string // globs
	Kernel      []string // ">= 5.10", or a glob of the release
	Environment []string // of abide's own: "NAME", "NAME=VALUE", "!NAME"
	User        []string // names or numbers that abide runs as
}

// Any reports whether a condition is given.
func (c *Conditions) Any() bool {
	return len(c.PathExists)+len(c.PathMissing)+len(c.Host)+len(c.Kernel)+len(c.Environment)+len(c.User) > 0
}

// OnFailure is what happens once for each fault.
type OnFailure struct {
	Start   []string
	Command *Hook
	Webhook string // http or https address that a JSON object is posted to
}
