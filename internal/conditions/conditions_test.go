package conditions

import (
	"errors"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

type machine struct {
	paths  []string
	broken string
	env    map[string]string
	kernel string
}

func (m machine) Matches(glob string) (bool, error) {
	if glob == m.broken {
		return false, errors.New("permission denied")
	}
	for _, p := range m.paths {
		if matches(glob, p) {
			return true, nil
		}
	}
	return false, nil
}
func (m machine) Host() string { return "web1" }
func (m machine) Kernel() string {
	if m.kernel == "" {
		return "6.18.5-1-amd64"
	}
	return m.kernel
}
func (m machine) Variable(name string) (string, bool) { v, ok := m.env[name]; return v, ok }
func (m machine) Runs(user string) bool               { return user == "root" || user == "0" }

func TestTheFirstUnmetConditionIsNamed(t *testing.T) {
	m := machine{paths: []string{"/etc/shop.conf", "/etc/nologin"}, broken: "/secret/x", env: map[string]string{"STAGE": "test", "EMPTY": ""}}
	for _, c := range []struct {
		name string
		c    model.Conditions
		want string
	}{
		{"none", model.Conditions{}, ""},
		{"a path that is there", model.Conditions{PathExists: []string{"/etc/shop.conf"}}, ""},
		{"a path that is not", model.Conditions{PathExists: []string{"/etc/shop.conf", "/etc/other"}}, "/etc/other does not exist"},
		{"a glob with a match", model.Conditions{PathExists: []string{"/etc/*.conf"}}, ""},
		{"a glob without", model.Conditions{PathExists: []string{"/etc/*.toml"}}, "nothing matches /etc/*.toml"},
		{"a path that must not be there", model.Conditions{PathMissing: []string{"/etc/nologin"}}, "/etc/nologin exists"},
		{"a glob that must not match", model.Conditions{PathMissing: []string{"/etc/no*"}}, "something matches /etc/no*"},
		{"a path that is missing as it must", model.Conditions{PathMissing: []string{"/etc/other"}}, ""},
		{"a path that cannot be looked at", model.Conditions{PathExists: []string{"/secret/x"}}, "cannot look for /secret/x: permission denied"},
		{"a missing path that cannot be looked at", model.Conditions{PathMissing: []string{"/secret/x"}}, "cannot look for /secret/x: permission denied"},
		{"the host", model.Conditions{Host: []string{"db*", "web?"}}, ""},
		{"another host", model.Conditions{Host: []string{"db*", "web"}}, "the host is called web1, not db* or web"},
		{"the kernel", model.Conditions{Kernel: []string{">= 6.18"}}, ""},
		{"an older kernel", model.Conditions{Kernel: []string{"< 6", "7.*"}}, "the kernel is 6.18.5-1-amd64, not < 6 or 7.*"},
		{"a variable", model.Conditions{Environment: []string{"EMPTY"}}, ""},
		{"its value", model.Conditions{Environment: []string{"STAGE=live", "STAGE=test"}}, ""},
		{"another value", model.Conditions{Environment: []string{"STAGE=live"}}, "of abide's environment: STAGE has another value or none"},
		{"no such variable", model.Conditions{Environment: []string{"OTHER"}}, "of abide's environment: OTHER is not set"},
		{"a variable that must not be set", model.Conditions{Environment: []string{"!STAGE"}}, "of abide's environment: STAGE is set"},
		{"one that is not", model.Conditions{Environment: []string{"!OTHER"}}, ""},
		{"the user", model.Conditions{User: []string{"shop", "0"}}, ""},
		{"another user", model.Conditions{User: []string{"shop"}}, "abide does not run as shop"},
	} {
		if got := Unmet(&c.c, m); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNoValueOfAVariableIsSaid(t *testing.T) {
	c := model.Conditions{Environment: []string{"TOKEN=hunter2"}}
	if got := Unmet(&c, machine{env: map[string]string{"TOKEN": "swordfish"}}); strings.Contains(got, "hunter2") || strings.Contains(got, "swordfish") || got == "" {
		t.Errorf("it says %q", got)
	}
}

func TestKernelsAreComparedByNumber(t *testing.T) {
	for _, c := range []struct {
		text, release string
		want          bool
	}{
		{">= 5.10", "5.10.0-28-amd64", true},
		{">=5.10", "5.9.16", false},
		{"> 5.10", "5.10.3", false},
		{"> 5.10", "5.11", true},
		{"< 6", "5.15", true},
		{"< 6", "6.0.1", false},
		{"<= 6.1", "6.1.90", true},
		{"= 6.1", "6.1.90", true},
		{"== 6.1.91", "6.1.90", false},
		{"!= 6.1", "6.1.90", false},
		{">= 5.10.0-9", "5.10.0-28-amd64", true},
		{">= 6.18.1", "6.18", false},
		{">= 6.18.0", "6.18-rc4", true},
		{">= 6.09", "6.10", true},
		{"6.18.*", "6.18.5", true},
		{"*-amd64", "6.18.5-arm64", false},
		{"6.18", "6.18.5", false},
	} {
		if got := kernel(c.text, c.release); got != c.want {
			t.Errorf("%q for %s: %t, want %t", c.text, c.release, got, c.want)
		}
	}
}

func FuzzKernel(f *testing.F) {
	f.Add(">= 5.10", "6.18.5-1-amd64")
	f.Add("!=", "")
	f.Add("[", "6.1")
	f.Fuzz(func(t *testing.T, text, release string) {
		if kernel(">= "+text, release) == kernel("< "+text, release) {
			t.Errorf("%q is neither before nor after %q", release, text)
		}
	})
}
