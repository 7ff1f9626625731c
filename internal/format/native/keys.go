package native

import (
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// Key is one key of a definition. The table of keys is the only source for the
// reader, the writer, suggestions, the support table and the page in docs.
type Key struct {
	Path    string // "restart.when"
	Type    string // what it takes, in words
	Default string // what holds without it, in words or as TOML
	Doc     string
	Refused string // why this version refuses it; "" if it is honoured

	read    func(r *reader, path string, v *tomltree.Value)
	write   func(s *model.Service) string  // as TOML; "" if there is nothing to write
	entries func(s *model.Service) []entry // instead of write: a table of free names
}

// entry is one line of a table of free names.
type entry struct{ name, value string }

// Reasons shared by keys that later versions will honour.
const (
	noTriggers   = "this version has no triggers yet"
	noCgroups    = "this version sets no cgroup limits yet"
	noCaps       = "this version sets no capabilities yet"
	noSources    = "this version reads no foreign sources yet"
	noWatch      = "this version picks up files with apply only"
	noUsers      = "this version starts no instances of users yet"
	pathsResolve = "relative paths resolve against directory"
)

// keys is built once, in the order of the page in docs.
var keys = slices.Concat(programKeys, processKeys, needKeys, hookKeys, laterKeys, restartKeys, readyKeys, healthKeys, stopKeys, reloadKeys, directoryKeys, conditionKeys, logKeys, failureKeys, openKeys, laterTables)

var (
	keyByPath = map[string]*Key{}
	tables    = map[string]bool{} // "restart", "restart.backoff"
	leaves    = map[string][]string{}
)

func init() {
	defaults := model.Defaults(model.Daemon, false)
	for i := range keys {
		k := &keys[i]
		keyByPath[k.Path] = k
		if k.Default == "" && k.write != nil {
			k.Default = k.write(&defaults)
		}
		prefix, leaf := "", k.Path
		if j := strings.LastIndexByte(k.Path, '.'); j >= 0 {
			prefix, leaf = k.Path[:j], k.Path[j+1:]
			tables[prefix] = true
		}
		leaves[prefix] = append(leaves[prefix], leaf)
	}
	for t := range tables {
		prefix, leaf := "", t
		if j := strings.LastIndexByte(t, '.'); j >= 0 {
			prefix, leaf = t[:j], t[j+1:]
		}
		leaves[prefix] = append(leaves[prefix], leaf)
	}
}

// Keys is the table of keys of a service, in the order of the manual.
func Keys() []Key { return slices.Clone(keys) }

// ProjectKeys is the table of what abide.toml may hold beside services.
func ProjectKeys() []Key { return slices.Clone(projectKeys) }

func support() []format.Support {
	var out []format.Support
	for _, list := range [][]Key{keys, projectKeys} {
		for _, k := range list {
			s := format.Support{Key: k.Path}
			if k.Refused != "" {
				s.Level, s.Note = format.Refused, k.Refused
			}
			out = append(out, s)
		}
	}
	return out
}

func later(path, typ, doc, why string) Key {
	return Key{Path: path, Type: typ, Doc: doc, Refused: why}
}

var programKeys = []Key{
	{Path: "description", Type: "text", Doc: "What it is, for people.", read: text(func(s *model.Service) *string { return &s.Description }), write: textOut(func(s *model.Service) string { return s.Description })},
	{Path: "command", Type: "list or text", Default: "required", Doc: "The program and its arguments. A list is taken as it is; a text is split as a shell splits words, and no shell is run.", read: readCommand, write: writeCommand},
	{Path: "shell", Type: "bool", Doc: "The text of command goes to /bin/sh -c; abide expands nothing in it.", read: boolean(func(s *model.Service) *bool { return &s.Shell }), write: boolOut(func(s *model.Service) bool { return s.Shell })},
	{Path: "kind", Type: `"daemon", "task", "forking" or "target"`, Default: `"daemon"`, Doc: "A daemon runs until stopped; a task runs once and stays finished; a forking program ends once it has left its main process behind; a target is a name for a set and runs nothing.", read: readKind, write: func(s *model.Service) string { return quote(s.Kind.String()) }},
	{Path: "pid_file", Type: "path", Default: "none", Doc: "Where a forking program writes the number of its main process; without it the one process that remains is taken.", read: ownName(func(s *model.Service) *string { return &s.PidFile }), write: ownNameOut(func(s *model.Service) string { return s.PidFile })},
	number("fd_store", "How many descriptors its program may leave with abide by sd_notify(3), FDSTORE=1, for its next run to find.", func(s *model.Service) *int { return &s.FDStore }),
	{Path: "enabled", Type: "bool", Doc: "Started at boot, and when abide starts.", read: boolean(func(s *model.Service) *bool { return &s.Enabled }), write: boolOut(func(s *model.Service) bool { return s.Enabled })},
	{Path: "essential", Type: "bool", Doc: "When it ends for good the rest is stopped and abide exits with its code. Changes the default of restart.when to never.", read: boolean(func(s *model.Service) *bool { return &s.Essential }), write: boolOut(func(s *model.Service) bool { return s.Essential })},
	{Path: "instances", Type: "list of names", Default: "[]", Doc: "The copies of a template NAME@.toml.", read: readInstances},
	{Path: "scale", Type: "0 to " + strconv.Itoa(model.MaxScale), Default: "none", Doc: "How many numbered copies a template NAME@.toml has: NAME@1 and so on.", read: readScale},
}

var processKeys = []Key{
	{Path: "directory", Type: "path", Default: "/, for a user the home, for a project its root", Doc: "The working directory.", read: expandable(func(s *model.Service) *string { return &s.Directory }), write: textOut(func(s *model.Service) string { return s.Directory })},
	{Path: "user", Type: "name or number", Default: "abide's own", Doc: "Whom it runs as.", read: account(func(s *model.Service) *string { return &s.User }), write: textOut(func(s *model.Service) string { return s.User })},
	{Path: "group", Type: "name or number", Default: "that of the user's account", Doc: "Its main group.", read: account(func(s *model.Service) *string { return &s.Group }), write: textOut(func(s *model.Service) string { return s.Group })},
	{Path: "groups", Type: "list of names or numbers", Default: "those of the user's account", Doc: "Its other groups; [] is none.", read: readGroups, write: writeGroups},
	{Path: "umask", Type: `"022" or 0o022`, Doc: "Permissions that files it makes lack.", read: readUmask, write: writeUmask},
	{Path: "environment", Type: "table of texts or numbers", Default: "{}", Doc: "Its variables. PATH, HOME, USER, LOGNAME, SHELL and ABIDE_NAME, ABIDE_INSTANCE, ABIDE_RUN_NUMBER are always set.", read: readEnvironment, entries: writeEnvironment},
	{Path: "environment_files", Type: "list of paths", Default: "[]", Doc: `Files of NAME=VALUE lines, read again at each start; "-" before a path: may be missing; ` + pathsResolve + ".", read: readEnvFiles, write: writeEnvFiles},
	{Path: "inherit_environment", Type: "bool or list of patterns", Default: "false; true for up and for init in a container", Doc: "Which of abide's own variables it gets.", read: readInherit, write: writeInherit},
	{Path: "path", Type: "list of folders", Default: listOf(model.DefaultPath), Doc: "Where the program is looked for, and its PATH.", read: readPath, write: func(s *model.Service) string { return listOrNothing(s.Path) }},
	{Path: "stdin", Type: `"null", "open" or "tty"`, Doc: `What it reads: nothing, a pipe that never delivers, the terminal named by tty.`, read: readStdin, write: func(s *model.Service) string { return quote(s.Stdin.String()) }},
	{Path: "tty", Type: "path", Default: "none", Doc: `The terminal it runs on, as "/dev/tty1"; means stdin = "tty".`, read: readTTY, write: textOut(func(s *model.Service) string { return s.TTY })},
	{Path: "nice", Type: "-20 to 19", Default: "abide's own", Doc: "Its priority; lower is more.", read: optionalInt(func(s *model.Service) **int { return &s.Nice }), write: optionalIntOut(func(s *model.Service) *int { return s.Nice })},
	{Path: "oom_score", Type: "-1000 to 1000", Default: "abide's own", Doc: "How soon the kernel ends it when memory runs out; higher is sooner.", read: optionalInt(func(s *model.Service) **int { return &s.OOMScore }), write: optionalIntOut(func(s *model.Service) *int { return s.OOMScore })},
	{Path: "io_priority", Type: `"realtime:0" to "best-effort:7" or "idle"`, Default: "by nice", Doc: "Class and level of its input and output; 0 is first.", read: readIOPriority, write: writeIOPriority},
	{Path: "scheduler", Type: `"other", "batch", "idle", "fifo:1" to "rr:99"`, Default: "abide's own", Doc: "Scheduling policy and real-time priority.", read: readScheduler, write: writeScheduler},
	{Path: "cpus", Type: `text as "0-3,7" or list of numbers`, Default: "all", Doc: "The processors it may run on.", read: readCPUs, write: writeCPUs},
	{Path: "chroot", Type: "path", Default: "none", Doc: "The folder that becomes its /. The program is looked for below it.", read: text(func(s *model.Service) *string { return &s.Chroot }), write: textOut(func(s *model.Service) string { return s.Chroot })},
	{Path: "no_new_privileges", Type: "bool", Doc: "Set-user-ID programs give it nothing.", read: boolean(func(s *model.Service) *bool { return &s.NoNewPrivileges }), write: boolOut(func(s *model.Service) bool { return s.NoNewPrivileges })},
	{Path: "kill_leftovers", Type: "bool", Doc: "End what a dead run left behind before the next start.", read: boolean(func(s *model.Service) *bool { return &s.KillLeftovers }), write: boolOut(func(s *model.Service) bool { return s.KillLeftovers })},
}

var laterKeys = []Key{
	later("capabilities", "list", "The privileges of root it keeps.", noCaps),
}

var restartKeys = []Key{
	{Path: "restart.when", Type: `"always", "never", "on-failure" or "on-crash"`, Default: `"always"; a task, an essential service: "never"`, Doc: "Which ends are followed by a start. A crash is an end by a signal that abide did not send.", read: readWhen, write: func(s *model.Service) string { return quote(s.Restart.When.String()) }},
	{Path: "restart.success_codes", Type: "list of codes and signals", Default: "[0]", Doc: "Ends that are no failures beside exit code 0.", read: exitSet(func(s *model.Service) *model.ExitSet { return &s.Restart.SuccessCodes }), write: exitSetOut(func(s *model.Service) model.ExitSet { return s.Restart.SuccessCodes })},
	{Path: "restart.give_up_codes", Type: "list of codes and signals", Default: "[]", Doc: "Ends after which it is not started again.", read: exitSet(func(s *model.Service) *model.ExitSet { return &s.Restart.GiveUpCodes }), write: exitSetOut(func(s *model.Service) model.ExitSet { return s.Restart.GiveUpCodes })},
	duration("restart.delay", "A wait before every automatic start.", func(s *model.Service) *dur { return &s.Restart.Delay }),
	duration("restart.spacing", "The least time from one start to the next automatic one.", func(s *model.Service) *dur { return &s.Restart.Spacing }),
	duration("restart.short.under", "A run that ended sooner waits restart.short.delay, whatever the back-off says; 0s is no such rule.", func(s *model.Service) *dur { return &s.Restart.Short.Under }),
	duration("restart.short.delay", "The wait after such a short run.", func(s *model.Service) *dur { return &s.Restart.Short.Delay }),
	number("restart.short.after", "So many short runs in a row are let be first.", func(s *model.Service) *int { return &s.Restart.Short.After }),
	{Path: "restart.short.counted", Type: "bool", Doc: "The wait counts as life of the run that follows it.", read: boolean(func(s *model.Service) *bool { return &s.Restart.Short.Counted }), write: boolOut(func(s *model.Service) bool { return s.Restart.Short.Counted })},
	duration("restart.backoff.first", "The first wait when it keeps dying.", func(s *model.Service) *dur { return &s.Restart.Backoff.First }),
	fraction("restart.backoff.factor", "What each further wait is multiplied by.", func(s *model.Service) *float64 { return &s.Restart.Backoff.Factor }),
	duration("restart.backoff.max", "The longest wait.", func(s *model.Service) *dur { return &s.Restart.Backoff.Max }),
	fraction("restart.backoff.jitter", "The share by which a wait varies at random.", func(s *model.Service) *float64 { return &s.Restart.Backoff.Jitter }),
	duration("restart.backoff.healthy", "A run that lived this long is followed by the next at once.", func(s *model.Service) *dur { return &s.Restart.Backoff.Healthy }),
	duration("restart.backoff.reset_after", "A run that lived this long makes the waits begin anew.", func(s *model.Service) *dur { return &s.Restart.Backoff.ResetAfter }),
	number("restart.limit.count", "Give up after so many restarts within the window; 0 never gives up.", func(s *model.Service) *int { return &s.Restart.Limit.Count }),
	duration("restart.limit.window", "The time in which they are counted.", func(s *model.Service) *dur { return &s.Restart.Limit.Window }),
	number("restart.limit.failures_in_a_row", "Give up after so many failed runs without a ready one between; 0 never gives up.", func(s *model.Service) *int { return &s.Restart.Limit.InRow }),
	{Path: "restart.limit.counts", Type: `"restarts" or "starts"`, Doc: "What restart.limit.count counts: automatic restarts, or every start, an operator's too.", read: choice(map[string]func(s *model.Service){"restarts": func(s *model.Service) { s.Restart.Limit.Starts = false }, "starts": func(s *model.Service) { s.Restart.Limit.Starts = true }}), write: func(s *model.Service) string { return oneOf(s.Restart.Limit.Starts, "starts", "restarts") }},
	{Path: "restart.limit.from_first", Type: "bool", Doc: "The window begins with the first start that is counted, and the next one with the first after its end. Otherwise it glides: what lies longer back is forgotten one by one.", read: boolean(func(s *model.Service) *bool { return &s.Restart.Limit.FromFirst }), write: boolOut(func(s *model.Service) bool { return s.Restart.Limit.FromFirst })},
	duration("restart.limit.retry_after", "Try again by itself after giving up; 0s does not.", func(s *model.Service) *dur { return &s.Restart.Limit.RetryAfter }),
}

var stopKeys = []Key{
	{Path: "stop.signal", Type: `signal, or list as ["QUIT 30s", "TERM 5s"]`, Doc: "What tells it to end; in a list each is waited for before the next.", read: readStopSignal, write: writeStopSignal},
	{Path: "stop.command", Type: "list or text", Default: "none", Doc: "A command that ends it, instead of signals. It runs as the service does.", read: auxCommand(func(s *model.Service) *[]string { return &s.Stop.Command }), write: func(s *model.Service) string { return listOrNothing(s.Stop.Command) }},
	duration("stop.timeout", "How long it may take; then KILL. With times in stop.signal it is their sum by default, plus 10s for a last one without.", func(s *model.Service) *dur { return &s.Stop.Timeout }),
	{Path: "stop.to", Type: `"main" or "all"`, Doc: "Who gets the signals: the main process or everything of the run.", read: choice(map[string]func(s *model.Service){"main": func(s *model.Service) { s.Stop.ToAll = false }, "all": func(s *model.Service) { s.Stop.ToAll = true }}), write: func(s *model.Service) string { return oneOf(s.Stop.ToAll, "all", "main") }},
	duration("stop.crash_grace", "How long what a dead run left may take to end after TERM; 0s: KILL at once.", func(s *model.Service) *dur { return &s.Stop.CrashGrace }),
	{Path: "stop.leave_children", Type: "bool", Doc: "Only the main process is ended, its children live on. What sshd needs.", read: boolean(func(s *model.Service) *bool { return &s.Stop.LeaveChildren }), write: boolOut(func(s *model.Service) bool { return s.Stop.LeaveChildren })},
}

var reloadKeys = []Key{
	{Path: "reload.signal", Type: "signal", Doc: "What abide reload sends to the main process.", read: readReloadSignal, write: writeReloadSignal},
	{Path: "reload.command", Type: "list or text", Default: "none", Doc: "A command that reloads it, instead of a signal. It runs as the service does.", read: auxCommand(func(s *model.Service) *[]string { return &s.Reload.Command }), write: func(s *model.Service) string { return listOrNothing(s.Reload.Command) }},
}

var logKeys = []Key{
	{Path: "log.stdout", Type: `"file", "console", "null", "inherit", a path, or a list of them`, Default: `"file"; "console" for up and for init in a container`, Doc: "Where its output goes. console: abide's own output, each line behind the name; inherit: the descriptor itself.", read: logTargets(func(s *model.Service) *[]model.LogTarget { return &s.Log.Stdout }), write: func(s *model.Service) string { return targetsOut(s.Log.Stdout) }},
	{Path: "log.stderr", Type: "as stdout", Default: "as stdout", Doc: "Where its errors go.", read: logTargets(func(s *model.Service) *[]model.LogTarget { return &s.Log.Stderr }), write: writeStderr},
	size("log.size", "A log that is larger is put aside; 0 is no limit.", func(s *model.Service) *int64 { return &s.Log.Size }),
	duration("log.every", "A log that is older is put aside; 0s is no limit.", func(s *model.Service) *dur { return &s.Log.Every }),
	number("log.keep", "How many old logs are kept; 0 is no limit.", func(s *model.Service) *int { return &s.Log.Keep }),
	duration("log.keep_for", "How long old logs are kept; 0s is no limit.", func(s *model.Service) *dur { return &s.Log.KeepFor }),
	size("log.keep_total", "How much all logs together may take; 0 is no limit.", func(s *model.Service) *int64 { return &s.Log.KeepTotal }),
	{Path: "log.compress", Type: `"zstd" or "none"`, Doc: "How old logs are packed.", read: choice(map[string]func(s *model.Service){"zstd": func(s *model.Service) { s.Log.Compress = "zstd" }, "none": func(s *model.Service) { s.Log.Compress = "none" }}), write: textOut(func(s *model.Service) string { return s.Log.Compress })},
	{Path: "log.stamp", Type: `"rfc3339", "tai64n" or "none"`, Doc: "The time before each line.", read: choice(map[string]func(s *model.Service){"rfc3339": func(s *model.Service) { s.Log.Stamp = model.StampRFC3339 }, "tai64n": func(s *model.Service) { s.Log.Stamp = model.StampTAI64N }, "none": func(s *model.Service) { s.Log.Stamp = model.StampNone }}), write: func(s *model.Service) string { return quote(s.Log.Stamp.String()) }},
	{Path: "log.format", Type: `"text" or "json"`, Doc: "Lines, or one JSON object for each.", read: choice(map[string]func(s *model.Service){"text": func(s *model.Service) { s.Log.JSON = false }, "json": func(s *model.Service) { s.Log.JSON = true }}), write: func(s *model.Service) string { return oneOf(s.Log.JSON, "json", "text") }},
	{Path: "log.when_full", Type: `"drop" or "block"`, Doc: "What happens when the disk is full: lines are dropped and counted, or the program waits.", read: choice(map[string]func(s *model.Service){"drop": func(s *model.Service) { s.Log.Block = false }, "block": func(s *model.Service) { s.Log.Block = true }}), write: func(s *model.Service) string { return oneOf(s.Log.Block, "block", "drop") }},
	{Path: "log.pipe", Type: `"read-write" or "write"`, Doc: "How the program's end of its log pipe is opened. write is for programs that poll their own output; it takes effect at the next start.", read: choice(map[string]func(s *model.Service){"read-write": func(s *model.Service) { s.Log.PipeWrite = false }, "write": func(s *model.Service) { s.Log.PipeWrite = true }}), write: func(s *model.Service) string { return oneOf(s.Log.PipeWrite, "write", "read-write") }},
}

var openKeys = []Key{
	{Path: "credentials", Type: "table of paths", Default: "{}", Doc: "Files whose content it finds under these names in the folder CREDENTIALS_DIRECTORY, which nobody else can read.", read: readCredentials, entries: writeCredentials},
	{Path: "rlimits", Type: `table of number, size, "unlimited" or "soft:hard"`, Default: "abide's own", Doc: "Resource limits of setrlimit(2): " + strings.Join(model.RlimitNames, " ") + ". They take effect at the next start.", read: readRlimits, entries: writeRlimits},
	{Path: "operators", Type: "table of lists", Default: `{ view = ["*"] }`, Doc: `Who may do what: view, log, operate, admin or one verb, each a list of "*", "user:NAME", "group:NAME". Root and whoever runs abide may do everything.`, read: readOperators, entries: writeOperators},
}

var laterTables = []Key{
	later("limits", "table", "Limits of memory, processors, processes and disks.", noCgroups),
	later("on", "list of tables", "What starts it beside boot.", noTriggers),
}
