package model

import (
	"reflect"
	"slices"
	"strings"
)

// Class says what a change of a definition means for a service that runs.
type Class uint8

// An Unchanged definition asks for nothing. A change that Applies takes effect
// without touching the process: at once, or where it concerns the next start
// (rlimits, log.pipe) with that. One that Restarts needs a new process.
const (
	Unchanged Class = iota
	Applies
	Restarts
)

// String is the class in one word.
func (c Class) String() string {
	return [...]string{"unchanged", "applies", "restarts"}[c]
}

// Change is one key of the definition whose value differs.
type Change struct {
	Key   string
	Class Class
}

// field is one comparable part of a service. Where it came from (Origin, Files)
// and what it is called are no parts.
type field struct {
	key   string
	class Class
	get   func(*Service) any
}

var fields = []field{
	{"description", Applies, func(s *Service) any { return s.Description }},
	{"command", Restarts, func(s *Service) any { return s.Command }},
	{"command", Restarts, func(s *Service) any { return s.Script }},
	{"shell", Restarts, func(s *Service) any { return s.Shell }},
	{"kind", Restarts, func(s *Service) any { return s.Kind }},
	{"enabled", Applies, func(s *Service) any { return s.Enabled }},
	{"essential", Applies, func(s *Service) any { return s.Essential }},
	{"fd_store", Applies, func(s *Service) any { return s.FDStore }},
	{"pid_file", Applies, func(s *Service) any { return s.PidFile }},
	{"directory", Restarts, func(s *Service) any {
		if s.Directory == "" {
			return s.Root
		}
		return s.Directory
	}},
	{"user", Restarts, func(s *Service) any { return s.User }},
	{"group", Restarts, func(s *Service) any { return s.Group }},
	{"groups", Restarts, func(s *Service) any { return s.Groups }},
	{"groups", Restarts, func(s *Service) any { return s.GroupsSet }},
	{"umask", Restarts, func(s *Service) any { return s.Umask }},
	{"environment", Restarts, func(s *Service) any { return s.Environment }},
	{"environment_files", Restarts, func(s *Service) any { return s.EnvironmentFiles }},
	{"inherit_environment", Restarts, func(s *Service) any { return s.Inherit.All }},
	{"inherit_environment", Restarts, func(s *Service) any { return s.Inherit.Globs }},
	{"path", Restarts, func(s *Service) any { return s.Path }},
	{"stdin", Restarts, func(s *Service) any { return s.Stdin }},
	{"tty", Restarts, func(s *Service) any { return s.TTY }},
	{"nice", Restarts, func(s *Service) any { return s.Nice }},
	{"oom_score", Restarts, func(s *Service) any { return s.OOMScore }},
	{"io_priority", Restarts, func(s *Service) any { return s.IOPriority }},
	{"scheduler", Restarts, func(s *Service) any { return s.Scheduler }},
	{"cpus", Restarts, func(s *Service) any { return s.CPUs }},
	{"chroot", Restarts, func(s *Service) any { return s.Chroot }},
	{"no_new_privileges", Restarts, func(s *Service) any { return s.NoNewPrivileges }},
	{"kill_leftovers", Applies, func(s *Service) any { return s.KillLeftovers }},
	{"requires", Applies, func(s *Service) any { return s.Needs.Requires }},
	{"wants", Applies, func(s *Service) any { return s.Needs.Wants }},
	{"after", Applies, func(s *Service) any { return s.Needs.After }},
	{"before", Applies, func(s *Service) any { return s.Needs.Before }},
	{"conflicts", Applies, func(s *Service) any { return s.Needs.Conflicts }},
	{"part_of", Applies, func(s *Service) any { return s.Needs.PartOf }},
	{"wanted_by", Applies, func(s *Service) any { return s.Needs.WantedBy }},
	{"required_by", Applies, func(s *Service) any { return s.Needs.RequiredBy }},
	{"any_of", Applies, func(s *Service) any { return s.Needs.AnyOf }},
	{"optional_all", Applies, func(s *Service) any { return s.Needs.OptionalAll }},
	{"exclude_all", Applies, func(s *Service) any { return s.Needs.ExcludeAll }},
	{"before_start", Applies, func(s *Service) any { return s.Hooks.BeforeStart }},
	{"after_start", Applies, func(s *Service) any { return s.Hooks.AfterStart }},
	{"before_stop", Applies, func(s *Service) any { return s.Hooks.BeforeStop }},
	{"after_stop", Applies, func(s *Service) any { return s.Hooks.AfterStop }},
	{"restart.when", Applies, func(s *Service) any { return s.Restart.When }},
	{"restart.success_codes", Applies, func(s *Service) any { return [2][]int{s.Restart.SuccessCodes.Codes, s.Restart.SuccessCodes.Signals} }},
	{"restart.give_up_codes", Applies, func(s *Service) any { return [2][]int{s.Restart.GiveUpCodes.Codes, s.Restart.GiveUpCodes.Signals} }},
	{"restart.delay", Applies, func(s *Service) any { return s.Restart.Delay }},
	{"restart.spacing", Applies, func(s *Service) any { return s.Restart.Spacing }},
	{"restart.short", Applies, func(s *Service) any { return s.Restart.Short }},
	{"restart.backoff", Applies, func(s *Service) any { return s.Restart.Backoff }},
	{"restart.limit", Applies, func(s *Service) any { return s.Restart.Limit }},
	{"ready", Applies, func(s *Service) any { return s.Ready }},
	{"health", Applies, func(s *Service) any { return s.Health }},
	{"stop.signal", Applies, func(s *Service) any { return s.Stop.Steps }},
	{"stop.command", Applies, func(s *Service) any { return s.Stop.Command }},
	{"stop.timeout", Applies, func(s *Service) any { return s.Stop.Timeout }},
	{"stop.to", Applies, func(s *Service) any { return s.Stop.ToAll }},
	{"stop.crash_grace", Applies, func(s *Service) any { return s.Stop.CrashGrace }},
	{"stop.leave_children", Applies, func(s *Service) any { return s.Stop.LeaveChildren }},
	{"reload.signal", Applies, func(s *Service) any { return s.Reload.Signal }},
	{"reload.command", Applies, func(s *Service) any { return s.Reload.Command }},
	{"directories", Restarts, func(s *Service) any { return s.Directories }},
	{"credentials", Restarts, func(s *Service) any { return s.Credentials }},
	{"conditions", Applies, func(s *Service) any { return s.Conditions }},
	{"log.stdout", Applies, func(s *Service) any { return s.Log.Stdout }},
	{"log.stderr", Applies, func(s *Service) any { return s.Log.Stderr }},
	{"log.size", Applies, func(s *Service) any { return s.Log.Size }},
	{"log.every", Applies, func(s *Service) any { return s.Log.Every }},
	{"log.keep", Applies, func(s *Service) any { return s.Log.Keep }},
	{"log.keep_for", Applies, func(s *Service) any { return s.Log.KeepFor }},
	{"log.keep_total", Applies, func(s *Service) any { return s.Log.KeepTotal }},
	{"log.compress", Applies, func(s *Service) any { return s.Log.Compress }},
	{"log.stamp", Applies, func(s *Service) any { return s.Log.Stamp }},
	{"log.format", Applies, func(s *Service) any { return s.Log.JSON }},
	{"log.when_full", Applies, func(s *Service) any { return s.Log.Block }},
	{"log.pipe", Applies, func(s *Service) any { return s.Log.PipeWrite }},
	{"rlimits", Applies, func(s *Service) any { return s.Rlimits }},
	{"on_failure", Applies, func(s *Service) any { return s.OnFailure }},
	{"operators", Applies, func(s *Service) any { return s.Operators }},
	{"operators", Applies, func(s *Service) any { return s.Grants }},
}

// Diff lists the keys in which b differs from a, in the order of FORMAT.md. An
// absent list and an empty one are the same. Each key stands once, with the
// weightier class.
func Diff(a, b *Service) []Change {
	var out []Change
	for _, f := range fields {
		if equal(f.get(a), f.get(b)) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].Key == f.key {
			continue
		}
		out = append(out, Change{f.key, f.class})
	}
	return out
}

// ClassOf is the class of a change of one key, "restart.limit.count" or "command".
// A key that Diff does not know is Unchanged by any value.
func ClassOf(key string) Class {
	class := Unchanged
	for _, f := range fields {
		if f.key == key || strings.HasPrefix(key, f.key+".") {
			class = max(class, f.class)
		}
	}
	return class
}

// Worst is the class of all changes together.
func Worst(changes []Change) Class {
	worst := Unchanged
	for _, c := range changes {
		worst = max(worst, c.Class)
	}
	return worst
}

func equal(a, b any) bool {
	switch x := a.(type) {
	case string:
		return x == b.(string)
	case bool:
		return x == b.(bool)
	case []string:
		return slices.Equal(x, b.([]string))
	case []int:
		return slices.Equal(x, b.([]int))
	case [2][]int:
		y := b.([2][]int)
		return slices.Equal(x[0], y[0]) && slices.Equal(x[1], y[1])
	case []EnvVar:
		return slices.Equal(x, b.([]EnvVar))
	case []EnvFile:
		return slices.Equal(x, b.([]EnvFile))
	case []StopStep:
		return slices.Equal(x, b.([]StopStep))
	case []LogTarget:
		return slices.Equal(x, b.([]LogTarget))
	case []Rlimit:
		return slices.Equal(x, b.([]Rlimit))
	default:
		return reflect.DeepEqual(a, b)
	}
}
