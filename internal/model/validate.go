package model

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

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
	case s.Kind != Daemon && s.Kind != Task:
		v.fail("kind", "not-supported", "", "cannot use kind = %q: this version runs daemons and tasks", s.Kind)
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

func (v *validator) restart() {
	r := &v.s.Restart
	v.exits("restart.success_codes", r.SuccessCodes)
	v.exits("restart.give_up_codes", r.GiveUpCodes)
	for _, code := range r.GiveUpCodes.Codes {
		if code == 0 || slices.Contains(r.SuccessCodes.Codes, code) {
			v.fail("restart.give_up_codes", "conflict", "", "cannot give up at exit code %d: it counts as success", code)
		}
	}
	for _, sig := range r.GiveUpCodes.Signals {
		if slices.Contains(r.SuccessCodes.Signals, sig) {
			v.fail("restart.give_up_codes", "conflict", "", "cannot give up at signal %s: it counts as success", SignalName(sig))
		}
	}
	b := &r.Backoff
	v.span("restart.delay", r.Delay)
	v.span("restart.backoff.first", b.First)
	v.span("restart.backoff.max", b.Max)
	v.span("restart.backoff.healthy", b.Healthy)
	v.span("restart.backoff.reset_after", b.ResetAfter)
	v.span("restart.limit.window", r.Limit.Window)
	v.span("restart.limit.retry_after", r.Limit.RetryAfter)
	if b.First < time.Millisecond {
		v.fail("restart.backoff.first", "bad-value", "", "cannot use restart.backoff.first = %q: below 1ms a dying program would take the machine with it", FormatDuration(b.First))
	}
	if b.Max < b.First {
		v.fail("restart.backoff.max", "conflict", "", "cannot use restart.backoff.max = %q: it is below restart.backoff.first = %q", FormatDuration(b.Max), FormatDuration(b.First))
	}
	if !(b.Factor >= 1 && b.Factor <= 1000) {
		v.fail("restart.backoff.factor", "bad-value", "", "cannot use restart.backoff.factor = %g: it must be from 1 to 1000", b.Factor)
	}
	if !(b.Jitter >= 0 && b.Jitter <= 1) {
		v.fail("restart.backoff.jitter", "bad-value", "", "cannot use restart.backoff.jitter = %g: it must be from 0 to 1", b.Jitter)
	}
	if r.Limit.Count < 0 || r.Limit.Count > math.MaxInt32 {
		v.fail("restart.limit.count", "bad-value", "", "cannot use restart.limit.count = %d: it must not be negative nor above %d", r.Limit.Count, math.MaxInt32)
	}
	if r.Limit.Count > 0 && r.Limit.Window <= 0 {
		v.fail("restart.limit.window", "bad-value", "", "cannot use restart.limit: its window is empty")
	}
	if r.When == RestartNever && r.Limit.Count > 0 {
		v.warn("restart.limit.count", "no-effect", "", "restart.limit does nothing: %s is never restarted by itself", v.s.Name)
	}
}

func (v *validator) exits(key string, set ExitSet) {
	for _, code := range set.Codes {
		v.inRange(key, &code, 0, 255)
	}
	for _, sig := range set.Signals {
		v.inRange(key, &sig, 1, sigRTMax)
	}
}

// span refuses negative times, and those so long that they are slips.
func (v *validator) span(key string, d time.Duration) {
	if d < 0 || d > maxDelay {
		v.fail(key, "bad-value", "", "cannot use %s = %q: it must be from 0s to %s", key, FormatDuration(d), FormatDuration(maxDelay))
	}
}

func (v *validator) stop() {
	s := &v.s.Stop
	v.span("ready.after", v.s.Ready.After)
	v.span("stop.timeout", s.Timeout)
	v.span("stop.crash_grace", s.CrashGrace)
	if v.s.Kind == Task && v.s.Ready.After > 0 {
		v.warn("ready.after", "no-effect", "", "ready.after does nothing: a task is done when it ends")
	}
	if len(s.Command) > 0 {
		v.argv("stop.command", s.Command)
		if v.s.given("stop.signal") {
			v.fail("stop.command", "conflict", "", "cannot use both stop.signal and stop.command")
		}
	} else if len(s.Steps) == 0 {
		v.fail("stop.signal", "missing", "", "cannot stop %s: it has no stop signal", v.s.Name)
	}
	if len(s.Steps) > MaxStopSteps {
		v.fail("stop.signal", "bad-value", "", "cannot use %d stop signals: at most %d are allowed", len(s.Steps), MaxStopSteps)
	}
	var sum time.Duration
	for i, step := range s.Steps {
		v.inRange("stop.signal", &step.Signal, 1, sigRTMax)
		v.span("stop.signal", step.Wait)
		if step.Wait == 0 && i < len(s.Steps)-1 {
			v.fail("stop.signal", "bad-value", `write the time behind it, as in "TERM 5s"`, "cannot use stop signal %s: how long to wait before the next one is not said", SignalName(step.Signal))
		}
		sum += min(max(step.Wait, 0), maxDelay)
	}
	if sum > s.Timeout && v.s.given("stop.timeout") {
		v.fail("stop.timeout", "conflict", "", "cannot use stop.timeout = %q: the steps of stop.signal take %s", FormatDuration(s.Timeout), FormatDuration(sum))
	}
	if s.ToAll && s.LeaveChildren {
		v.fail("stop.leave_children", "conflict", "", `cannot use both stop.to = "all" and stop.leave_children`)
	}
	if s.CrashGrace > 0 && (s.LeaveChildren || !v.s.KillLeftovers) {
		v.warn("stop.crash_grace", "no-effect", "", "stop.crash_grace does nothing: what a dead run left is kept")
	}
}

func (v *validator) argv(key string, argv []string) {
	if argv[0] == "" {
		v.fail(key, "bad-value", "", "cannot use %s: the name of its program is empty", key)
	}
	for _, arg := range argv {
		v.text(key, arg)
	}
}

func (v *validator) reload() {
	r := &v.s.Reload
	if len(r.Command) > 0 {
		v.argv("reload.command", r.Command)
		if v.s.given("reload.signal") {
			v.fail("reload.command", "conflict", "", "cannot use both reload.signal and reload.command")
		}
		return
	}
	v.inRange("reload.signal", &r.Signal, 1, sigRTMax)
	if slices.Contains([]int{9, 19}, r.Signal) {
		v.fail("reload.signal", "bad-value", "", "cannot reload with signal %s: no program can handle it", SignalName(r.Signal))
	}
}

func (v *validator) log() {
	l := &v.s.Log
	v.logTargets("log.stdout", l.Stdout)
	if !slices.Equal(l.Stdout, l.Stderr) {
		v.logTargets("log.stderr", l.Stderr)
	}
	if l.Size < 0 || l.Size > 0 && l.Size < minLogSize {
		v.fail("log.size", "bad-value", "", "cannot use log.size = %q: it must be at least %s, or 0 for no limit", FormatSize(l.Size), FormatSize(minLogSize))
	}
	if l.KeepTotal < 0 || l.KeepTotal > 0 && l.KeepTotal < l.Size {
		v.fail("log.keep_total", "conflict", "", "cannot use log.keep_total = %q: it is below log.size = %q", FormatSize(l.KeepTotal), FormatSize(l.Size))
	}
	if l.Every != 0 && l.Every < time.Second {
		v.fail("log.every", "bad-value", "", "cannot use log.every = %q: it must be at least 1s", FormatDuration(l.Every))
	}
	v.span("log.every", l.Every)
	if l.KeepFor < 0 {
		v.fail("log.keep_for", "bad-value", "", "cannot use log.keep_for: it is negative")
	}
	if l.Keep < 0 || l.Keep > 100_000 {
		v.fail("log.keep", "bad-value", "", "cannot use log.keep = %d: it must be from 0 (no limit) to 100000", l.Keep)
	}
	if l.Compress != "zstd" && l.Compress != "none" {
		v.fail("log.compress", "bad-value", "", `cannot use log.compress = %q: it is "zstd" or "none"`, l.Compress)
	}
}

func (v *validator) logTargets(key string, targets []LogTarget) {
	if len(targets) == 0 {
		v.fail(key, "bad-value", `write "null" to throw it away`, "cannot use %s: it names no place", key)
	}
	for i, t := range targets {
		if len(targets) > 1 && (t.Kind == LogNull || t.Kind == LogInherit) {
			v.fail(key, "conflict", "", "cannot use %q together with other places in %s", t, key)
		}
		if slices.Contains(targets[:i], t) {
			v.fail(key, "conflict", "", "cannot use %q twice in %s", t, key)
		}
		if t.Kind == LogPath {
			v.text(key, t.Path)
			v.absolute(key, t.Path)
		}
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
	"start", "stop", "restart", "reload", "enable", "disable", "clear", "signal", "pause", "resume",
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
	check := func(key, text string, anyName bool) {
		list = append(list, CheckExpand(text, anyName, func(int) diag.Pos { return s.At(key) })...)
	}
	for _, arg := range s.Command {
		check("command", arg, true)
	}
	for _, arg := range s.Stop.Command {
		check("stop.command", arg, true)
	}
	for _, arg := range s.Reload.Command {
		check("reload.command", arg, true)
	}
	check("directory", s.Directory, false)
	for _, e := range s.Environment {
		check("environment."+e.Name, e.Value, false)
	}
	for _, f := range s.EnvironmentFiles {
		check("environment_files", f.Path, false)
	}
	for _, t := range s.Log.Stdout {
		check("log.stdout", t.Path, false)
	}
	if !slices.Equal(s.Log.Stdout, s.Log.Stderr) {
		for _, t := range s.Log.Stderr {
			check("log.stderr", t.Path, false)
		}
	}
	return list
}
