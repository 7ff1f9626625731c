package svlog

import (
	"slices"
	"strings"
)

// commandNames are the auxiliary commands of services whose lines stand in the log
// under their own name in the place of the stream. Their runs are numbered
// AuxNumber(run of the service, n).
var commandNames = []string{
	"before_start", "after_start", "before_stop", "after_stop", "reload", "stop", "on_failure",
}

const auxShift = 16

// AuxNumber is the number under which the n-th auxiliary command of a kind is logged
// that belongs to a run of the service.
func AuxNumber(run uint64, n uint64) uint64 { return run<<auxShift | n&(1<<auxShift-1) }

// RunOfAux is the run of the service that a number of AuxNumber belongs to.
func RunOfAux(number uint64) uint64 { return number >> auxShift }

// shown is what stands before a line: the run of the service that it belongs to, and
// the stream, or the command that wrote it.
func shown(name string, number uint64, s stream) (run uint64, label string) {
	_, command, aux := strings.Cut(name, "/")
	if !aux || s == streamOwn || !slices.Contains(commandNames, command) {
		return number, streamNames[s]
	}
	return RunOfAux(number), command
}
