package graph

// ID names a service or file within one Graph.
type ID int32

// None is no service.
const None ID = -1

// Kind is what an edge means.
type Kind uint8

// The kinds of edges. An edge stands at the service that needs, follows or avoids
// another, and points to that other.
const (
	Requires    Kind = iota // must be there before it starts
	Wants                   // is waited for if it comes, and pulled up
	After                   // is waited for if it comes
	Before                  // After from the other end; stored as that
	AnyOf                   // one of a set must be there
	Conflicts               // the two never run together; holds both ways
	PartOf                  // its ends are followed
	OptionalAll             // is waited for if it comes by itself (SMF)
	ExcludeAll              // must not run when it starts (SMF)
	kinds
)

var kindWords = [kinds]string{"requires", "wants", "after", "before", "any_of", "conflicts", "part_of", "optional_all", "exclude_all"}

// String is the key of FORMAT.md.
func (k Kind) String() string { return word(kindWords[:], uint8(k)) }

// Orders reports whether the service that has the edge starts after the other
// and ends before it.
func (k Kind) Orders() bool {
	switch k {
	case Requires, Wants, After, AnyOf, OptionalAll:
		return true
	}
	return false
}

// Until is what the other has to reach.
type Until uint8

// A default is resolved by whoever builds the graph.
const (
	UntilStarted Until = iota
	UntilReady
	UntilFinished
)

// String is the word of FORMAT.md.
func (u Until) String() string { return word([]string{"started", "ready", "finished"}, uint8(u)) }

// Level is the least event of the other that ends the one with the edge, which
// starts again when it may.
type Level uint8

// Each level includes those before it. They are SMF's restart_on.
const (
	LevelNone Level = iota
	LevelError
	LevelRestart
	LevelReload
)

// String is the word of FORMAT.md.
func (l Level) String() string {
	return word([]string{"none", "error", "restart", "reload"}, uint8(l))
}

// Edge is one dependency as its owner gives it.
type Edge struct {
	To      string
	File    bool // To is the path of a file that has to exist
	Kind    Kind
	Until   Until
	Level   Level
	Set     int  // AnyOf: which of its owner's sets the edge belongs to
	Reverse bool // the edge stands at To and points to the owner: required_by, wanted_by
}

// Status is how far a service is.
type Status uint8

// The statuses. A file is Absent or Ready.
const (
	Absent   Status = iota // there is no such service
	Off                    // nothing lives, and nothing is on its way
	Coming                 // wanted, nothing lives: held, or in a delay
	Started                // lives and is not ready
	Ready                  // lives and is ready; a target that is reached
	Done                   // a task that succeeded
	Failed                 // will not be tried again by itself for now
	Going                  // ends, something lives
	Starting               // is being started and may live at any moment: satisfies nothing yet
	statuses
)

var statusWords = [statuses]string{"absent", "off", "coming", "started", "ready", "done", "failed", "going", "starting"}

// String is a word for messages.
func (s Status) String() string { return word(statusWords[:], uint8(s)) }

// Lives reports whether anything of the service runs, or may from this moment.
func (s Status) Lives() bool { return s.up() || s == Going }

func (s Status) up() bool { return s == Starting || s == Started || s == Ready }

// Reaches reports whether a service of this status is where an edge wants it.
func (s Status) Reaches(u Until) bool {
	switch u {
	case UntilStarted:
		return s == Started || s == Ready || s == Done
	case UntilReady:
		return s == Ready || s == Done
	}
	return s == Done
}

// Fact is what is known of one service. Times are CLOCK_BOOTTIME in nanoseconds,
// 0 if there was no such moment.
type Fact struct {
	Status   Status
	Wanted   bool // an operator, boot or another service wants it up
	Explicit bool // an operator started it by name: it displaces what it conflicts with
	Stopped  bool // an operator holds it stopped, or it is disabled and was not started by name: nothing pulls it
	End      bool // is to be brought down, and stay down, as soon as its dependents are (stop, shutdown, removal)
	Restart  bool // is to be brought down, and come back, as soon as those are down that follow that
	Erred    bool // its last run ended in a fault
	Held     bool // the last order that was carried out is Hold; looked at when the service is new to the graph

	Since    int64 // when it became wanted: of two that conflict the first one is let up
	Began    int64 // start of its present run
	Ended    int64 // end of its last run
	Reloaded int64 // when it was last told to read its configuration
}

// OrderKind is what an order asks for.
type OrderKind uint8

// Allow is in force for a service that is new, unless its Fact says Held. What is
// Off and not desired is told neither Allow nor Hold before it is.
const (
	Allow      OrderKind = iota // may start
	Hold                        // must not start; what runs goes on
	HoldAndEnd                  // must not start, and its run ends now; it stays wanted
	End                         // what Fact.End or Fact.Restart announced may be done now
	Need                        // is to be wanted, for By
	Displace                    // is to be stopped, and not wanted any more: By conflicts with it
	orderKinds
)

var orderWords = [orderKinds]string{"allow", "hold", "hold-and-end", "end", "need", "displace"}

// String is a word for tests and messages.
func (k OrderKind) String() string { return word(orderWords[:], uint8(k)) }

// Order is one order and the service it is due to, None if there is no single one.
type Order struct {
	Kind OrderKind
	By   ID
}

func word(words []string, i uint8) string {
	if int(i) < len(words) {
		return words[i]
	}
	return "?"
}
