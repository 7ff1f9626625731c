// Package arch holds the import rule of the source tree and what each binary may
// link, as data that a test compares with the code. It has no code of its own.
package arch

// Pure lists the packages that decide without touching anything: no files,
// network, system calls, clock or goroutine.
var Pure = []string{"internal/conditions", "internal/core", "internal/graph", "internal/model", "internal/diag", "internal/notify"}

var impure = map[string]string{
	"os":      "a pure package opens nothing",
	"net":     "a pure package connects to nothing",
	"syscall": "a pure package asks the kernel nothing",
	"os/exec": "a pure package runs nothing",
}

var keeperNever = map[string]string{
	"os/exec":       "the keeper spawns by its own programs",
	"fmt":           "it links reflect and allocates",
	"log":           "it links fmt",
	"net":           "the keeper's sockets are plain descriptors",
	"encoding/json": "it links reflect; the wire and the records are binary",
	"reflect":       "nothing in the keeper needs it, and it keeps dead code alive",
}

// mayExec are the packages that may start processes by os/exec.
var mayExec = []string{"internal/cli", "internal/sim", "bench", "test"}

// Rule forbids packages under From to import packages under To.
type Rule struct {
	From, To string
	Except   []string
	Siblings bool // From and To are the same folder: its members stay apart
	Why      string
}

var rules = []Rule{
	{From: "internal/format", To: "internal/engine", Why: "a format knows nothing of the engine"},
	{From: "internal/engine", To: "internal/format", Why: "the engine gets its definitions as models; only cmd wires formats to it"},
	{From: "internal/engine", To: "internal/definitions", Why: "the engine gets its definitions as models; only cmd wires the reader to it"},
	{From: "internal/engine", To: "internal/cli", Why: "the engine serves any client alike"},
	{From: "internal/engine", To: "internal/api", Why: "the API stands in front of control.Supervisor; cmd wires it"},
	{From: "internal/cli", To: "internal/engine", Why: "the command line is a client"},
	{From: "internal/cli", To: "internal/keeper", Why: "the command line is a client"},
	{From: "internal/api", To: "internal/engine", Why: "the API sees control only"},
	{From: "client", To: "internal/engine", Why: "the client sees control only"},
	{From: "internal", To: "cmd", Why: "mains wire packages, never the other way"},
	{From: "internal/keeper", To: "internal/engine", Why: "the keeper decides nothing"},
	{From: "internal/sys", To: "internal/engine", Why: "sys holds small things without knowledge of abide"},
}
