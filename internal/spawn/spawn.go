// Package spawn compiles a definition into a spawn program: the system calls that
// turn a fresh child into the service, in the order that privileges demand. It
// reads accounts, environment files, mounts and PATH at each call, so that a
// start sees the machine as it is; it starts nothing and changes nothing. A path
// on a mount that is not known to be local is left to the child, which then runs
// by abide-exec, so that a dead file server cannot hold up anybody else.
package spawn

import (
	"slices"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/model"
)

// Compiler holds what all services have in common. Its methods may be called
// from several goroutines once the fields are set.
type Compiler struct {
	Accounts *Accounts
	Mounts   *Mounts
	Environ  []string // abide's own environment
	UID      int      // abide's own effective user
	GID      int
	Host     string // for ${host}
	// Directory is where a service without one runs; "" means "/".
	Directory string
	Bases     Bases
	// Credentials is the folder that those of all runs lie in, which others may
	// enter and not list. "" if there is none.
	Credentials string
	// Nofile is what services get for RLIMIT_NOFILE unless they say otherwise:
	// the limit from before the keeper raised it. Nil leaves the keeper's.
	Nofile *model.Rlimit
	// OOMScore is what services get that say nothing; nil leaves the keeper's.
	OOMScore *int

	opening sync.Mutex // the folder of credentials
}

// Bases are the folders below which ${run_dir} and its likes lie, each with the
// service's name behind it. An empty one leaves its variable unset. Log is where
// abide's logs of services are, Logs where a service's own are.
type Bases struct{ Run, State, Cache, Log, Logs, Config string }

// Run is what a compiler must know of one run beside its definition.
type Run struct {
	Number uint64
	ID     string // ABIDE_RUN_ID: instance, service and run number
	Stdout Stdio
	Stderr Stdio
	// Joins are cgroup.procs files that the child enters by writing to them.
	Joins []string
	// Scratch is a folder of the service's own in RUN, only needed for
	// stdin = "open".
	Scratch string
	// Notify is what NOTIFY_SOCKET is to be, "" for none; Watchdog how often the
	// program has to say there that it works, 0: it need not.
	Notify   string
	Watchdog time.Duration
	// Stored are the names of the descriptors that are handed over for the program to
	// find from 3 on by LISTEN_FDS. None may be handed over for Stdout and Stderr then.
	Stored []string
	// Record makes the child store its pid where the keeper says.
	Record bool
	// Environment is what this run has beside the definition's, and instead of it.
	Environment []model.EnvVar
	// Stdin is a file to read from instead of what the definition says; "" is none.
	// Only auxiliary commands have one.
	Stdin string
	// Ready is the FIFO that the program has as descriptor [ready] fd, to say on it
	// that it is ready; "" if there is none.
	Ready string
}

// StdioKind says where a descriptor of a service comes from.
type StdioKind uint8

// StdioNull is /dev/null; StdioInherit is the keeper's own descriptor; StdioPath
// is opened by the child, before it changes root or drops privileges; StdioSlot
// is a descriptor that is handed over (vspawn.Request.Pass).
const (
	StdioNull StdioKind = iota
	StdioInherit
	StdioPath
	StdioSlot
)

// Stdio is the plan for stdout or stderr.
type Stdio struct {
	Kind StdioKind
	Path string
	// Flags are O_RDWR or O_WRONLY for StdioPath. A FIFO that is opened for
	// writing only never blocks the child, reader or not.
	Flags int
	Slot  int // index of the descriptor handed over, for StdioSlot
}

// Program is a compiled run.
type Program struct {
	Bytes  []byte   // what the keeper is given
	Labels []string // what each op does: "change user to shop (uid 998)"
	Slow   bool     // it runs by abide-exec, because it may block for long
	Argv   []string // as executed
	Env    []string // sorted; holds secrets

	notes []note
}

// Compile returns the program that starts a service. The error names what the
// definition asks for and the machine does not have: an unknown user, a missing
// program with the path tried, a variable that is not set, an environment file
// that cannot be read. Nothing was started then.
func (c *Compiler) Compile(svc *model.Service, run Run) (*Program, error) {
	return c.compile(svc, run)
}

// Command returns the program for an auxiliary command of a service, such as
// [reload] command: the same user, environment, directory and limits, but no
// terminal and no open stdin.
func (c *Compiler) Command(svc *model.Service, argv []string, run Run) (*Program, error) {
	plain := *svc
	plain.Shell, plain.Script, plain.Command = false, "", argv
	plain.Stdin, plain.TTY = model.StdinNull, ""
	run.Ready = ""
	return c.compile(&plain, run)
}

// Expand replaces the ${NAME} of a text that is no command, as in the given run.
func (c *Compiler) Expand(svc *model.Service, text string, run uint64) (string, error) {
	id, err := c.identity(svc)
	if err != nil {
		return "", err
	}
	return model.Expand(text, c.names(svc, run, id))
}

// Account returns the user and group a service runs under.
func (c *Compiler) Account(svc *model.Service) (uid, gid int, err error) {
	id, err := c.identity(svc)
	return id.uid, id.gid, err
}

// MayBlock reports whether what comes before a start could block for long, because
// a file of the definition's lies on a mount that is not known to be local: do it in
// a goroutine of its own then.
func (c *Compiler) MayBlock(svc *model.Service) bool {
	remote := func(path string) bool { return !c.Mounts.Local(path) }
	return slices.ContainsFunc(svc.EnvironmentFiles, func(f model.EnvFile) bool { return remote(f.Path) }) ||
		slices.ContainsFunc(svc.Credentials, func(f model.Credential) bool { return remote(f.Path) }) ||
		slices.ContainsFunc(svc.Conditions.PathExists, remote) || slices.ContainsFunc(svc.Conditions.PathMissing, remote) ||
		slices.ContainsFunc(c.folders(svc), func(f folder) bool { return remote(f.base) })
}
