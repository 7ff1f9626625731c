package control

import "time"

// PastRun is one process lifetime of a service. What is not known is zero: a run that
// lives has no End, one that began before the kept history has no Start.
type PastRun struct {
	Run        uint64    `json:"run"`
	Pid        int       `json:"pid"`
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
	Cause      string    `json:"cause"` // why it was started
	Exit       *Exit     `json:"exit"`
	Text       string    `json:"text"` // its end in words, or why it could not be started
	CPU        int64     `json:"cpu_ns"`
	PeakMemory int64     `json:"peak_memory_bytes"` // of its largest process
}

// Why is the explanation of a service's state: what is missing, who else is down
// because of it, and the chain of events that led here, the first cause first.
type Why struct {
	Name   string    `json:"name"`
	State  string    `json:"state"`
	Since  time.Time `json:"since"`
	Text   string    `json:"text"`  // the state in a sentence
	Unmet  []Unmet   `json:"unmet"` // what it waits for
	Impact []string  `json:"impact"`
	Chain  []Event   `json:"chain"`
}

// Unmet is one thing that keeps a service from starting, and what keeps that one in
// turn.
type Unmet struct {
	Kind  string  `json:"kind"` // "requires", "wants", "condition", "delay" ...
	Name  string  `json:"name"` // the other service or the file; "" if there is none
	State string  `json:"state"`
	Text  string  `json:"text"`
	Unmet []Unmet `json:"unmet"`
}
