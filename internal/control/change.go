package control

import "time"

// What becomes of a service's definition in a plan.
const (
	Added     = "added"
	Changed   = "changed"
	Removed   = "removed"
	Broken    = "broken" // the file cannot be used; what is in force stays
	Pinned    = "pinned" // the file is passed over
	Unchanged = "unchanged"
)

// What becomes of its processes.
const (
	WillStart   = "start"
	WillStop    = "stop"
	WillRestart = "restart"
	WillNothing = "none"
)

// Plan is what Apply would do, in the order in which it would begin it.
type Plan struct {
	Steps []PlanStep `json:"steps"`
}

// PlanStep is what becomes of one service.
type PlanStep struct {
	Name       string    `json:"name"`       // "" for a file that is no service's
	Definition string    `json:"definition"` // added, changed, removed, broken, pinned, unchanged
	Action     string    `json:"action"`     // start, stop, restart, none
	Keys       []PlanKey `json:"keys"`       // of the definition that differ
	Because    string    `json:"because"`    // the service that it follows, "" if it is for its own sake
	Note       string    `json:"note"`       // what else there is to say
	Hint       string    `json:"hint"`
}

// PlanKey is a key of a definition whose value differs.
type PlanKey struct {
	Key string `json:"key"`
	// Restarts says that a new process is needed to see the value; else it applies to
	// what runs.
	Restarts bool `json:"restarts"`
}

// Kept is a definition of a service that was in force and can be again.
type Kept struct {
	Number  uint64    `json:"number"`
	At      time.Time `json:"at"`  // when it came into force
	By      int       `json:"uid"` // who asked for that, -1: nobody
	Verb    string    `json:"verb"`
	Keys    []string  `json:"keys"` // that differ from the one before
	InForce bool      `json:"in_force"`
	Pinned  bool      `json:"pinned"`
}
