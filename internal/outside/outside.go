// Package outside tells what can be seen of a process that abide did not start:
// whose it is, what it runs, where its output goes and who reads that. It looks
// only, through a mounted proc; it signals and opens nothing but what OpenOutput
// is asked for. What it returns is old at once: whoever acts on it compares pid and
// start time again.
package outside

import "strconv"

// Process is one process as it was when it was looked at.
type Process struct {
	Pid       int
	Start     uint64 // field 22 of /proc/PID/stat: clock ticks after boot
	Comm      string
	Parent    int
	UIDs      [4]int // real, effective, saved, of the file system
	GIDs      [4]int
	Kernel    bool // a thread of the kernel
	Ended     bool // it only waits to be reaped
	Command   []string
	Directory string // where it works
	RunID     string // ABIDE_RUN_ID in the environment it was started with
}

// Only reports whether every user id of the process is uid.
func (p *Process) Only(uid int) bool {
	for _, id := range p.UIDs {
		if id != uid {
			return false
		}
	}
	return true
}

// Kind says what a descriptor leads to.
type Kind uint8

// The kinds. Hidden means that it may not be looked at.
const (
	Closed Kind = iota
	Pipe        // anonymous, or a FIFO
	File
	Terminal
	Socket
	Null
	Other
	Hidden
)

// Output is where a descriptor of a process leads.
type Output struct {
	Kind   Kind
	Target string // its name as proc gives it: a path, or "pipe:[4711]"
	Dev    uint64
	Ino    uint64
}

// String says where it goes, as the end of "its output goes to ...".
func (o Output) String() string {
	switch o.Kind {
	case Closed:
		return "nowhere: it is closed"
	case Pipe:
		return "a pipe (" + o.Target + ")"
	case Terminal:
		return "the terminal " + o.Target
	case Socket:
		return "a socket"
	case Hidden:
		return "a place that may not be looked at"
	}
	return o.Target
}

// Reader is a process that has a pipe open for reading.
type Reader struct {
	Pid  int
	Comm string
}

// String names it.
func (r Reader) String() string { return "process " + strconv.Itoa(r.Pid) + " (" + r.Comm + ")" }
