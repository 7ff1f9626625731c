package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/diag"
)

// MaxStopSteps bounds the signals of one stop.
const MaxStopSteps = 8

// Limits of single values; they guard against slips, not against needs.
const (
	maxText    = 128 << 10 // one argument of execve, MAX_ARG_STRLEN
	maxCPU     = 8191
	minLogSize = 4 << 10
	maxDelay   = 366 * day
)

// Validate checks what no single key can tell: rules between keys, and the
// ranges that hold for every format. Each finding stands at the key's Origin or,
// if that is unknown, at the top of the service's first file.
func Validate(s *Service) diag.List {
	v := validator{s: s}
	if err := ValidName(s.Name); err != nil {
		v.fail("name", "bad-name", "", "%s", err)
	}
	v.program()
	v.process()
	v.environment()
	v.restart()
	v.stop()
	v.reload()
	v.log()
	v.rlimits()
	v.operators()
	v.needs()
	v.hooks()
	v.ready()
	v.health()
	v.surroundings()
	v.onFailure()
	return v.list
}

type validator struct {
	s    *Service
	list diag.List
}

// At is the place a key path's value came from: its Origin, that of the nearest
// table above, else the first file of s.
func (s *Service) At(key string) diag.Pos {
	for k := key; k != ""; {
		if pos, ok := s.Origin[k]; ok {
			return pos
		}
		i := strings.LastIndexByte(k, '.')
		if i < 0 {
			break
		}
		k = k[:i]
	}
	if len(s.Files) > 0 {
		return diag.Pos{File: s.Files[0], Line: 1, Col: 1}
	}
	return diag.Pos{}
}

// given reports whether the definition itself says something for key.
func (s *Service) given(key string) bool {
	_, ok := s.Origin[key]
	return ok
}

func (v *validator) fail(key, code, hint, format string, args ...any) {
	v.list.Add(diag.Error, v.s.At(key), code, hint, format, args...)
}

func (v *validator) warn(key, code, hint, format string, args ...any) {
	v.list.Add(diag.Warning, v.s.At(key), code, hint, format, args...)
}

// text refuses what no argument, path or variable of a process can hold.
func (v *validator) text(key, value string) {
	switch {
	case strings.IndexByte(value, 0) >= 0:
		v.fail(key, "bad-value", "", "cannot use %s: it holds a NUL character", key)
	case len(value) > maxText:
		v.fail(key, "bad-value", "", "cannot use %s: it has %d bytes, at most %d are allowed", key, len(value), maxText)
	}
}

func (v *validator) program() {
	s := v.s
	switch {
	case s.Kind > Target:
		v.fail("kind", "bad-value", "", "cannot use a kind numbered %d: there is none", s.Kind)
	case s.Kind == Target:
		v.target()
	case s.Shell && strings.TrimSpace(s.Script) == "":
		v.fail("command", "missing", "", "cannot run %s: its command is empty", s.Name)
	case s.Shell:
		v.text("command", s.Script)
	case len(s.Command) == 0:
		v.fail("command", "missing", `write command = "/path/of/program --option"`, "cannot run %s: it has no command", s.Name)
	case s.Command[0] == "":
		v.fail("command", "bad-value", "", "cannot run %s: the name of its program is empty", s.Name)
	}
	for _, arg := range s.Command {
		v.text("command", arg)
	}
	if s.FDStore < 0 || s.FDStore > MaxFDStore {
		v.fail("fd_store", "bad-value", "", "cannot use fd_store = %d: it must be from 0 to %d", s.FDStore, MaxFDStore)
	}
	if fd := s.Ready.FD; s.FDStore > 0 && fd >= 3 && fd < 3+s.FDStore {
		v.fail("fd_store", "conflict", fmt.Sprintf("let ready.fd be %d or more", 3+s.FDStore),
			"cannot use fd_store = %d beside ready.fd = %d: what is stored is given to the program from descriptor 3 on", s.FDStore, fd)
	}
	if s.PidFile != "" {
		v.text("pid_file", s.PidFile)
		v.absolute("pid_file", s.PidFile)
		if s.Kind != Forking {
			v.fail("pid_file", "missing", `write kind = "forking" if its program leaves the foreground`, "cannot use pid_file: %s is a %s", s.Name, s.Kind)
		}
	}
}

// target refuses what a set of services cannot have.
func (v *validator) target() {
	s := v.s
	for _, t := range []struct {
		key   string
		given bool
	}{
		{"command", len(s.Command) > 0 || s.Script != ""},
		{"essential", s.Essential},
		{"ready", s.Ready.Signed() || s.Ready.After > 0},
		{"health", s.Health.Checks() || s.Health.Watchdog > 0},
		{"directories", s.Directories.any()},
		{"credentials", len(s.Credentials) > 0},
	} {
		if t.given {
			v.fail(t.key, "conflict", "a target is a name for a set and runs nothing", "cannot use %s: %s is a target", t.key, s.Name)
		}
	}
	for _, hooks := range s.Hooks.byKey() {
		if len(hooks.list) > 0 {
			v.fail(hooks.key, "conflict", "a target is a name for a set and runs nothing", "cannot use %s: %s is a target", hooks.key, s.Name)
		}
	}
}

func (v *validator) process() {
	s := v.s
	for _, t := range []struct{ key, value string }{
		{"directory", s.Directory}, {"chroot", s.Chroot}, {"tty", s.TTY}, {"user", s.User}, {"group", s.Group},
	} {
		v.text(t.key, t.value)
	}
	v.absolute("directory", s.Directory)
	v.absolute("chroot", s.Chroot)
	v.account("user", s.User)
	v.account("group", s.Group)
	for _, g := range s.Groups {
		v.account("groups", g)
		if g == "" {
			v.fail("groups", "bad-value", "", "cannot use groups: a name is empty")
		}
	}
	for _, dir := range s.Path {
		v.text("path", dir)
		if !isAbsolute(dir) || strings.Contains(dir, ":") {
			v.fail("path", "bad-value", "", "cannot use path: %q is not an absolute folder", dir)
		}
	}
	switch {
	case s.Stdin == StdinTTY && s.TTY == "":
		v.fail("stdin", "missing", `write tty = "/dev/tty1"`, `cannot use stdin = "tty": the terminal is not named`)
	case s.Stdin == StdinTTY:
		v.absolute("tty", s.TTY)
	case s.TTY != "":
		v.fail("tty", "conflict", `write stdin = "tty"`, "cannot use tty: stdin is %q", s.Stdin)
	}
	if s.Umask > 0o777 {
		v.fail("umask", "bad-value", "", "cannot use umask %o: the highest is 777", s.Umask)
	}
	v.inRange("nice", s.Nice, -20, 19)
	v.inRange("oom_score", s.OOMScore, -1000, 1000)
	if p := s.IOPriority; p != nil {
		v.inRange("io_priority", &p.Level, 0, 7)
		if !slices.Contains([]string{"realtime", "best-effort", "idle"}, p.Class) {
			v.fail("io_priority", "bad-value", "", "cannot use I/O class %q: the classes are realtime, best-effort and idle", p.Class)
		}
	}
	if p := s.Scheduler; p != nil {
		switch p.Policy {
		case "fifo", "rr":
			v.inRange("scheduler", &p.Priority, 1, 99)
		case "other", "batch", "idle":
			v.inRange("scheduler", &p.Priority, 0, 0)
		default:
			v.fail("scheduler", "bad-value", "", "cannot use scheduler %q: the policies are other, batch, idle, fifo and rr", p.Policy)
		}
	}
	for _, cpu := range s.CPUs {
		v.inRange("cpus", &cpu, 0, maxCPU)
	}
}

func isAbsolute(path string) bool {
	return strings.HasPrefix(path, "/") || strings.HasPrefix(path, "${")
}

func (v *validator) absolute(key, path string) {
	if path != "" && !isAbsolute(path) {
		v.fail(key, "bad-value", "", "cannot use %s = %q: it is not an absolute path", key, path)
	}
}

func (v *validator) account(key, name string) {
	if strings.ContainsAny(name, ":,/ \t\n") {
		v.fail(key, "bad-value", "", "cannot use %s %q: this is no name of an account", key, name)
	}
}

func (v *validator) inRange(key string, n *int, low, high int) {
	if n != nil && (*n < low || *n > high) {
		v.fail(key, "bad-value", "", "cannot use %s %d: it must be from %d to %d", key, *n, low, high)
	}
}

// ownVariables are set by abide for every run; a definition that set them would
// lie to whoever reads them.
var ownVariables = []string{"ABIDE_NAME", "ABIDE_INSTANCE", "ABIDE_RUN_NUMBER", "ABIDE_RUN_ID"}

func (v *validator) environment() {
	for _, e := range v.s.Environment {
		key := "environment." + e.Name
		switch {
		case e.Name == "" || strings.ContainsAny(e.Name, "=\x00"):
			v.fail(key, "bad-value", "", "cannot set variable %q: a name must not be empty nor hold = or NUL", e.Name)
		case slices.Contains(ownVariables, e.Name):
			v.fail(key, "conflict", "", "cannot set variable %s: abide itself sets it for every run", e.Name)
		}
		v.text(key, e.Value)
	}
	for _, f := range v.s.EnvironmentFiles {
		v.text("environment_files", f.Path)
		v.absolute("environment_files", f.Path)
	}
}

// RlimitNames are the resource limits that setrlimit(2) knows on Linux.
var RlimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
	"rttime", "sigpending", "stack",
}

func (v *validator) rlimits() {
	for _, r := range v.s.Rlimits {
		key := "rlimits." + r.Name
		if !slices.Contains(RlimitNames, r.Name) {
			v.fail(key, "bad-value", "", "cannot limit %q: there is no such resource", r.Name)
		}
		if r.Soft > r.Hard {
			v.fail(key, "conflict", "", "cannot use %s: its soft limit is above its hard limit", key)
		}
	}
}

// OperatorRoles are the roles and single verbs that [operators] may grant.
var OperatorRoles = []string{
	"view", "log", "operate", "admin",
	"start", "stop", "restart", "reload", "roll", "enable", "disable", "clear", "signal", "pause", "resume",
}

func (v *validator) operators() {
	for _, role := range slices.Sorted(maps.Keys(v.s.Operators)) {
		who := v.s.Operators[role]
		key := "operators." + role
		if !slices.Contains(OperatorRoles, role) {
			v.fail(key, "bad-value", "", "cannot grant %q: the roles are view, log, operate, admin, or one verb", role)
		}
		for _, p := range who {
			if !ValidPrincipal(p) {
				v.fail(key, "bad-value", `write "*", "user:NAME" or "group:NAME"`, "cannot grant %s to %q", role, p)
			}
		}
	}
}

// ValidPrincipal reports whether p is "*", "user:NAME" or "group:NAME".
func ValidPrincipal(p string) bool {
	if p == "*" {
		return true
	}
	for _, prefix := range []string{"user:", "group:"} {
		if name, ok := strings.CutPrefix(p, prefix); ok {
			return name != "" && !strings.ContainsAny(name, ":,/ \t\n\x00")
		}
	}
	return false
}

// ValidateExpansions checks every text that is expanded at a start, so that a
// slip shows before it. A reader that knows the place inside the text calls
// CheckExpand instead.
func ValidateExpansions(s *Service) diag.List {
	var list diag.List
	s.expandable(func(key, text string, anyName bool) {
		list = append(list, CheckExpand(text, anyName, func(int) diag.Pos { return s.At(key) })...)
	})
	return list
}

// expandable visits every text in which ${...} is replaced at a start. With
// anyName it may name variables of the service's environment too.
func (s *Service) expandable(visit func(key, text string, anyName bool)) {
	argv := func(key string, argv []string) {
		for _, arg := range argv {
			visit(key, arg, true)
		}
	}
	argv("command", s.Command)
	argv("stop.command", s.Stop.Command)
	argv("reload.command", s.Reload.Command)
	argv("ready.exec", s.Ready.Exec)
	argv("health.exec", s.Health.Exec)
	for _, hooks := range s.Hooks.byKey() {
		for _, h := range hooks.list {
			argv(hooks.key, h.Command)
		}
	}
	if h := s.OnFailure.Command; h != nil {
		argv("on_failure.command", h.Command)
	}
	for _, t := range []struct{ key, text string }{
		{"directory", s.Directory},
		{"ready.tcp", s.Ready.TCP}, {"ready.http", s.Ready.HTTP}, {"ready.file", s.Ready.File},
		{"health.tcp", s.Health.TCP}, {"health.http", s.Health.HTTP},
	} {
		visit(t.key, t.text, false)
	}
	for _, e := range s.Environment {
		visit("environment."+e.Name, e.Value, false)
	}
	for _, f := range s.EnvironmentFiles {
		visit("environment_files", f.Path, false)
	}
	for _, c := range s.Credentials {
		visit("credentials."+c.Name, c.Path, false)
	}
	for _, t := range s.Log.Stdout {
		visit("log.stdout", t.Path, false)
	}
	if !slices.Equal(s.Log.Stdout, s.Log.Stderr) {
		for _, t := range s.Log.Stderr {
			visit("log.stderr", t.Path, false)
		}
	}
}
