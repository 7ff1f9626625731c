package model

// Needs are the dependencies of a service: what has to be up, and how it follows
// others. Package graph gives them their meaning.
type Needs struct {
	Requires    []Dependency
	Wants       []Dependency
	After       []Dependency
	Before      []Dependency
	Conflicts   []Dependency
	PartOf      []Dependency
	WantedBy    []Dependency
	RequiredBy  []Dependency
	AnyOf       [][]Dependency // of each list one
	OptionalAll []Dependency   // waits for what comes by itself, starts nothing (SMF)
	ExcludeAll  []Dependency   // waits while one of these runs, stops nothing (SMF)
}

// Any reports whether there is a dependency.
func (n *Needs) Any() bool {
	return len(n.Requires)+len(n.Wants)+len(n.After)+len(n.Before)+len(n.Conflicts)+len(n.PartOf)+
		len(n.WantedBy)+len(n.RequiredBy)+len(n.AnyOf)+len(n.OptionalAll)+len(n.ExcludeAll) > 0
}

// Dependency is one other service, or a file that has to exist.
type Dependency struct {
	Service string // "" if File is set
	File    string // absolute; "" if Service is set
	Until   Until
	Restart RestartOn
}

// Until is what a service has to reach for those that depend on it.
type Until uint8

// UntilDefault is ready, for a task finished.
const (
	UntilDefault Until = iota
	UntilStarted
	UntilReady
	UntilFinished
)

// String is the word of FORMAT.md, "" for the default.
func (u Until) String() string { return [...]string{"", "started", "ready", "finished"}[u] }

// RestartOn is the least event of a needed service that ends the one in need, which
// starts again when it may. Each level includes those before it. They are SMF's
// restart_on: none, error, restart, refresh.
type RestartOn uint8

// RestartOnError: the needed one failed. RestartOnRestart: it ended for whatever
// reason. RestartOnReload: it was told to read its configuration again.
const (
	RestartOnNone RestartOn = iota
	RestartOnError
	RestartOnRestart
	RestartOnReload
)

// String is the word of FORMAT.md.
func (r RestartOn) String() string { return [...]string{"none", "error", "restart", "reload"}[r] }
