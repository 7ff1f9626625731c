package model

import (
	"math"
	"slices"
	"time"
)

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
	v.span("restart.spacing", r.Spacing)
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
	v.counted("restart.limit.failures_in_a_row", r.Limit.InRow, 0)
	v.short(&r.Short)
	if r.Limit.Count > 0 && r.Limit.Window <= 0 {
		v.fail("restart.limit.window", "bad-value", "", "cannot use restart.limit: its window is empty")
	}
	for _, t := range []struct {
		key   string
		given bool
	}{{"counts", r.Limit.Starts}, {"from_first", r.Limit.FromFirst}} {
		if t.given && r.Limit.Count == 0 {
			v.warn("restart.limit."+t.key, "no-effect", "", "restart.limit.%s does nothing: restart.limit.count is not given", t.key)
		}
	}
	if r.When == RestartNever && r.Limit.Count > 0 && !r.Limit.Starts {
		v.warn("restart.limit.count", "no-effect", "", "restart.limit does nothing: %s is never restarted by itself", v.s.Name)
	}
}

// counted refuses what a byte of the state cannot count to.
func (v *validator) counted(key string, n, least int) {
	if n < least || n > math.MaxUint8 {
		v.fail(key, "bad-value", "", "cannot use %s = %d: it must be from %d to %d", key, n, least, math.MaxUint8)
	}
}

func (v *validator) short(s *Short) {
	v.span("restart.short.under", s.Under)
	v.span("restart.short.delay", s.Delay)
	v.counted("restart.short.after", s.After, 0)
	if s.Under > 0 {
		return
	}
	for _, t := range []struct {
		key   string
		given bool
	}{{"delay", s.Delay > 0}, {"after", s.After > 0}, {"counted", s.Counted}} {
		if t.given {
			v.fail("restart.short."+t.key, "missing", `as in short = { under = "2m", delay = "5m" }`, "cannot use restart.short.%s: below what age a run is short is not said", t.key)
		}
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
	v.span("stop.timeout", s.Timeout)
	v.span("stop.crash_grace", s.CrashGrace)
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
