// Package conditions judges what a definition asks of the machine before a start:
// [conditions]. It decides by what a Machine tells it and touches nothing itself; it
// never says the value of a variable, which may be a secret.
package conditions

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/model"
)

// Machine is what is judged.
type Machine interface {
	// Matches reports whether something of this path exists. The path may be a glob
	// as path.Match has it. A path that cannot be looked at is an error.
	Matches(glob string) (bool, error)
	Host() string   // its name
	Kernel() string // the release, as uname -r says it
	// Variable is one of abide's own environment.
	Variable(name string) (value string, set bool)
	// Runs reports whether abide runs as this user, a name or a number.
	Runs(user string) bool
}

// Unmet returns the first condition that does not hold, in words that follow
// "condition:", or "" when all hold. The paths of a list must all be there, or all be
// missing; of any other list one entry is enough.
func Unmet(c *model.Conditions, m Machine) string {
	for _, glob := range c.PathExists {
		if found, err := m.Matches(glob); err != nil {
			return fmt.Sprintf("cannot look for %s: %v", glob, err)
		} else if !found {
			return missing(glob)
		}
	}
	for _, glob := range c.PathMissing {
		if found, err := m.Matches(glob); err != nil {
			return fmt.Sprintf("cannot look for %s: %v", glob, err)
		} else if found {
			return present(glob)
		}
	}
	if !oneOf(c.Host, func(glob string) bool { return matches(glob, m.Host()) }) {
		return fmt.Sprintf("the host is called %s, not %s", m.Host(), either(c.Host))
	}
	if !oneOf(c.Kernel, func(text string) bool { return kernel(text, m.Kernel()) }) {
		return fmt.Sprintf("the kernel is %s, not %s", m.Kernel(), either(c.Kernel))
	}
	if !oneOf(c.Environment, func(text string) bool { return variable(text, m) }) {
		return "of abide's environment: " + either(describeAll(c.Environment))
	}
	if !oneOf(c.User, m.Runs) {
		return "abide does not run as " + either(c.User)
	}
	return ""
}

// Paths are the globs that a change of the file system may decide about.
func Paths(c *model.Conditions) []string {
	return slices.Concat(c.PathExists, c.PathMissing)
}

func oneOf(list []string, holds func(string) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, holds)
}

func either(list []string) string { return strings.Join(list, " or ") }

func missing(glob string) string {
	if IsGlob(glob) {
		return "nothing matches " + glob
	}
	return glob + " does not exist"
}

func present(glob string) string {
	if IsGlob(glob) {
		return "something matches " + glob
	}
	return glob + " exists"
}

// IsGlob reports whether a path has characters that stand for others.
func IsGlob(text string) bool { return strings.ContainsAny(text, `*?[\`) }

func matches(glob, text string) bool {
	ok, err := path.Match(glob, text)
	return err == nil && ok
}

// variable judges "NAME", "NAME=VALUE" and "!NAME".
func variable(text string, m Machine) bool {
	if name, negated := strings.CutPrefix(text, "!"); negated {
		_, set := m.Variable(name)
		return !set
	}
	name, want, valued := strings.Cut(text, "=")
	value, set := m.Variable(name)
	return set && (!valued || value == want)
}

func describeAll(list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		name, negated := strings.CutPrefix(text, "!")
		name, _, valued := strings.Cut(name, "=")
		switch {
		case negated:
			out[i] = name + " is set"
		case valued:
			out[i] = name + " has another value or none"
		default:
			out[i] = name + " is not set"
		}
	}
	return out
}
