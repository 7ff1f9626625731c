//go:build linux && (amd64 || arm64)

package spawn

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

// A shell's exit codes tell a program that is missing from one that cannot be
// run, and both from a failure of something else.
func TestExitCodesAreAShells(t *testing.T) {
	plain := file(t, "plain", "#!/bin/sh\n", 0o644)
	noise := file(t, "noise", "hello", 0o755)
	program := func(name string) func(*model.Service) {
		return func(s *model.Service) {
			s.Shell, s.Command, s.Path = false, []string{name}, []string{filepath.Dir(plain)}
		}
	}
	for name, c := range map[string]struct {
		set  func(*model.Service)
		want int
	}{
		"missing":                    {program("/nowhere/prog"), 127},
		"below a file":               {program(plain + "/prog"), 127},
		"not in the path":            {program("nginy"), 127},
		"not executable":             {program(plain), 126},
		"not executable in the path": {program("plain"), 126},
		"a folder":                   {program(filepath.Dir(plain)), 126},
		"no program":                 {program(noise), 126},
		"in a missing directory":     {func(s *model.Service) { s.Directory = "/nowhere" }, 125},
		"with a missing environment": {func(s *model.Service) { s.EnvironmentFiles = []model.EnvFile{{Path: "/nowhere/env"}} }, 125},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryRung(t, func(t *testing.T, r rung) {
				svc := service()
				c.set(svc)
				got := exitNotStarted
				p, err := compiler(t).Compile(svc, Run{})
				var known interface{ ExitCode() int }
				switch {
				case err == nil:
					op, errno := r.start(t, p).failure()
					got = p.ExitCode(op, int(errno))
				case errors.As(err, &known):
					got = known.ExitCode()
				}
				if got != c.want {
					t.Errorf("exit code %d, want %d (%v)", got, c.want, err)
				}
			})
		})
	}
}
