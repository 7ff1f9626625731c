package contain

// Found is a process that shows which run it came from.
type Found struct {
	Name   string
	Run    uint64
	Pid    int
	Start  uint64 // field 22 of /proc/PID/stat
	Comm   string
	Leader bool   // of its session, as every main process is at first
	Mark   string // what shows it: "control group", "environment" or "log pipe"
}

// Hidden is the leader of a session that may not be looked into.
type Hidden struct {
	Pid   int
	Start uint64
	Comm  string
	UIDs  [4]int // real, effective, saved, of the file system
}

// Survey is one look at all processes.
type Survey struct {
	Found  []Found
	Hidden []Hidden
	Err    error // why not all processes can be seen; nil if they can
}
