package model

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/diag"
)

// Limits of what surrounds a run.
const (
	MaxScale   = 10_000 // copies of a template
	MaxReadyFD = 1023   // the usual soft limit of open files, less one
	MaxMode    = 0o7777 // permissions of a folder
	MaxFDStore = 16     // what one message to the keeper can hand to a program

	maxHooks       = 64
	maxCredentials = 256
	maxPattern     = 4 << 10
	leastPause     = 100 * time.Millisecond // between checks
)

// hooksOf is a list of hooks and its key.
type hooksOf struct {
	key  string
	list []Hook
}

func (h *Hooks) byKey() [4]hooksOf {
	return [4]hooksOf{{"before_start", h.BeforeStart}, {"after_start", h.AfterStart}, {"before_stop", h.BeforeStop}, {"after_stop", h.AfterStop}}
}

func (d *Directories) any() bool {
	return d.Run|d.State|d.Cache|d.Logs|d.Config != 0 || d.Name != ""
}

func (v *validator) hooks() {
	for _, hooks := range v.s.Hooks.byKey() {
		if len(hooks.list) > maxHooks {
			v.fail(hooks.key, "bad-value", "put them into a script", "cannot use %d commands in %s: at most %d are allowed", len(hooks.list), hooks.key, maxHooks)
		}
		for i := range hooks.list {
			v.hook(hooks.key, &hooks.list[i])
		}
	}
}

func (v *validator) hook(key string, h *Hook) {
	switch {
	case h.Script != "":
		v.text(key, h.Script)
	case len(h.Command) == 0:
		v.fail(key, "missing", "", "cannot use %s: it has no command", key)
	default:
		v.argv(key, h.Command)
	}
	v.account(key, h.User)
	v.span(key, h.Timeout)
	if h.Timeout == 0 {
		v.fail(key, "bad-value", "", "cannot use %s with a timeout of 0s: it would end before it began", key)
	}
}

// shape is what a text must look like once ${...} in it is replaced. What holds
// one is judged when it is used.
func (v *validator) shape(key, text string, check func(string) error) {
	if text == "" || strings.Contains(text, "${") {
		return
	}
	if err := check(text); err != nil {
		v.fail(key, "bad-value", "", "cannot use %s = %q: %s", key, text, err)
	}
}

func (v *validator) ready() {
	r := &v.s.Ready
	signs := given([]sign{
		{"ready.notify", r.Notify}, {"ready.fd", r.FD != 0}, {"ready.tcp", r.TCP != ""}, {"ready.http", r.HTTP != ""},
		{"ready.exec", r.Exec != nil}, {"ready.log", r.Log != ""}, {"ready.file", r.File != ""}, {"ready.after", r.After > 0},
	})
	v.span("ready.after", r.After)
	v.span("ready.timeout", r.Timeout)
	for _, key := range signs {
		if v.s.Kind == Task {
			v.fail(key, "conflict", "those that need it wait until it has finished", "cannot use %s: a task is done when it ends", key)
		}
	}
	v.single(signs, "a service is ready by one sign")
	if r.Timeout <= 0 && (r.Signed() || v.s.given("ready.timeout")) {
		v.fail("ready.timeout", "bad-value", "", "cannot use ready.timeout = %q: no program is ready before it began", FormatDuration(r.Timeout))
	}
	if r.FD != 0 && (r.FD < 3 || r.FD > MaxReadyFD) {
		v.fail("ready.fd", "bad-value", "0, 1 and 2 are its input, output and errors", "cannot use ready.fd = %d: it must be from 3 to %d", r.FD, MaxReadyFD)
	}
	v.shape("ready.tcp", r.TCP, checkAddress)
	v.shape("ready.http", r.HTTP, checkProbeURL)
	if len(r.Exec) > 0 {
		v.argv("ready.exec", r.Exec)
	}
	if r.Log != "" {
		v.pattern(r.Log)
	}
	v.text("ready.file", r.File)
	v.absolute("ready.file", r.File)
}

func (v *validator) pattern(text string) {
	if _, err := regexp.Compile(text); err != nil || len(text) > maxPattern {
		v.fail("ready.log", "bad-value", "", "cannot use ready.log: it is no regular expression, or longer than %d bytes", maxPattern)
	}
	if !v.s.Log.read() {
		v.fail("ready.log", "conflict", `write stdout = "file" in [log]`, "cannot use ready.log: abide does not see the output of %s", v.s.Name)
	}
}

// read reports whether output passes through abide.
func (l *Log) read() bool {
	return slices.ContainsFunc(slices.Concat(l.Stdout, l.Stderr), func(t LogTarget) bool { return t.Kind != LogNull && t.Kind != LogInherit })
}

// sign is one of several keys that exclude each other.
type sign struct {
	key  string
	used bool
}

func given(signs []sign) []string {
	var keys []string
	for _, s := range signs {
		if s.used {
			keys = append(keys, s.key)
		}
	}
	return keys
}

func (v *validator) single(keys []string, why string) {
	for i, key := range keys {
		if i > 0 {
			v.fail(key, "conflict", "keep one of the two", "cannot use both %s and %s: %s", keys[0], key, why)
		}
	}
}

func (v *validator) health() {
	h := &v.s.Health
	checks := given([]sign{
		{"health.http", h.HTTP != ""}, {"health.tcp", h.TCP != ""}, {"health.exec", h.Exec != nil}, {"health.watchdog", h.Watchdog != 0},
	})
	for _, key := range checks {
		if v.s.Kind == Task {
			v.fail(key, "conflict", "stop.timeout and the exit code tell whether it is well", "cannot use %s: a task ends by itself", key)
		}
	}
	v.single(checks, "health is judged by one check")
	v.span("health.interval", h.Interval)
	v.span("health.timeout", h.Timeout)
	v.span("health.grace", h.Grace)
	v.span("health.watchdog", h.Watchdog)
	if h.Watchdog != 0 && h.Watchdog < leastPause {
		v.fail("health.watchdog", "bad-value", "", "cannot use health.watchdog = %q: it must be at least %s", FormatDuration(h.Watchdog), FormatDuration(leastPause))
	}
	if h.Checks() || v.s.given("health.interval") {
		if h.Interval < leastPause {
			v.fail("health.interval", "bad-value", "", "cannot use health.interval = %q: it must be at least %s", FormatDuration(h.Interval), FormatDuration(leastPause))
		}
	}
	if h.Timeout <= 0 && (h.Checks() || v.s.given("health.timeout")) {
		v.fail("health.timeout", "bad-value", "", "cannot use health.timeout = %q: no check could succeed", FormatDuration(h.Timeout))
	}
	if h.Checks() || v.s.given("health.failures") {
		v.counted("health.failures", h.Failures, 1)
	}
	v.shape("health.tcp", h.TCP, checkAddress)
	v.shape("health.http", h.HTTP, checkProbeURL)
	if len(h.Exec) > 0 {
		v.argv("health.exec", h.Exec)
	}
}

// surroundings are folders, credentials and conditions.
func (v *validator) surroundings() {
	d := &v.s.Directories
	for _, f := range []struct {
		key  string
		mode uint32
	}{{"run", d.Run}, {"state", d.State}, {"cache", d.Cache}, {"logs", d.Logs}, {"config", d.Config}} {
		if f.mode > MaxMode {
			v.fail("directories."+f.key, "bad-value", "", "cannot use directories.%s = %o: the highest is %o", f.key, f.mode, MaxMode)
		}
	}
	if d.Name != "" && !fileName(d.Name) {
		v.fail("directories.name", "bad-value", "", "cannot use directories.name = %q: it is no name of one folder", d.Name)
	}
	if len(v.s.Credentials) > 0 && v.s.Chroot != "" {
		v.fail("credentials", "conflict", "", "cannot use credentials with chroot: %s could not see their folder", v.s.Name)
	}
	if len(v.s.Credentials) > maxCredentials {
		v.fail("credentials", "bad-value", "", "cannot use %d credentials: at most %d are allowed", len(v.s.Credentials), maxCredentials)
	}
	for _, c := range v.s.Credentials {
		key := "credentials." + c.Name
		if !fileName(c.Name) {
			v.fail(key, "bad-name", "", "cannot use credential %q: it is no name of one file", c.Name)
		}
		if c.Path == "" {
			v.fail(key, "bad-value", "", "cannot use credential %s: its path is empty", c.Name)
		}
		v.text(key, c.Path)
		v.absolute(key, c.Path)
	}
	if len(v.s.Credentials) == 0 {
		v.s.expandable(func(key, text string, _ bool) {
			if !strings.Contains(text, "${") {
				return
			}
			vars, _ := Variables(text)
			for _, name := range vars {
				if name.Name == "credentials_dir" && !name.HasDefault {
					v.fail(key, "missing", "", "cannot expand ${credentials_dir}: %s has no [credentials]", v.s.Name)
				}
			}
		})
	}
	v.conditions()
}

// fileName reports whether text can name a file that is made in a folder.
func fileName(text string) bool {
	return text != "" && len(text) <= 255 && strings.Trim(text, ".") != "" && !strings.ContainsAny(text, "/\x00\n") && text[0] != '~'
}

func (v *validator) conditions() {
	c := &v.s.Conditions
	for _, l := range []struct {
		key   string
		texts []string
		check func(string) error
	}{
		{"path_exists", c.PathExists, checkPathGlob}, {"path_missing", c.PathMissing, checkPathGlob}, {"host", c.Host, checkGlob},
		{"kernel", c.Kernel, checkKernel}, {"environment", c.Environment, checkVariableCondition}, {"user", c.User, nil},
	} {
		if len(l.texts) == 0 {
			continue
		}
		key := "conditions." + l.key
		for _, text := range l.texts {
			at := key + "." + text
			v.text(key, text)
			if l.check == nil {
				v.account(at, text)
			} else if err := l.check(text); err != nil {
				v.fail(at, "bad-value", "", "cannot use %q in %s: %s", text, key, err)
			}
		}
	}
}

func (v *validator) onFailure() {
	f := &v.s.OnFailure
	for _, name := range f.Start {
		if ValidName(name) != nil {
			v.fail("on_failure.start", "bad-name", "", "cannot use service %q in on_failure.start: it is no name of a service", name)
		}
	}
	if f.Command != nil {
		v.hook("on_failure.command", f.Command)
	}
	if f.Webhook != "" {
		if err := checkURL(f.Webhook); err != nil {
			// The address may be a secret of its own, so it is not repeated.
			v.list.Add(diag.Error, v.s.At("on_failure.webhook"), "bad-value", "", "cannot use on_failure.webhook: %s", err)
		}
	}
}

func checkPathGlob(text string) error {
	if !strings.HasPrefix(text, "/") {
		return errText("it is not an absolute path")
	}
	return checkGlob(text)
}

func checkGlob(text string) error {
	if text == "" {
		return errText("it is empty")
	}
	if _, err := path.Match(text, ""); err != nil {
		return errText("the pattern is not complete")
	}
	return nil
}
