//go:build linux && (amd64 || arm64)

package spawn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

func TestCheckTellsWhatCannotStart(t *testing.T) {
	c := compiler(t)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*model.Service)
		want   string
	}{
		"what is there":        {func(s *model.Service) { s.Command = []string{"/bin/sleep", "1"} }, ""},
		"found on the path":    {func(s *model.Service) { s.Command = []string{"sleep", "1"} }, ""},
		"a script":             {func(s *model.Service) { s.Shell, s.Script = true, "nonexistent" }, ""},
		"a target":             {func(s *model.Service) { s.Kind, s.Command = model.Target, nil }, ""},
		"a program that went":  {func(s *model.Service) { s.Command = []string{dir + "/gone"} }, "cannot find program " + dir + "/gone"},
		"not on the path":      {func(s *model.Service) { s.Command = []string{"no-such-program"} }, "cannot find program no-such-program"},
		"no program":           {func(s *model.Service) { s.Command = []string{plain} }, "not executable"},
		"a folder":             {func(s *model.Service) { s.Command = []string{dir} }, "no regular file"},
		"a user that went":     {func(s *model.Service) { s.Command, s.User = []string{"/bin/sleep"}, "no-such-user" }, "no-such-user"},
		"variables that went":  {func(s *model.Service) { s.EnvironmentFiles = []model.EnvFile{{Path: dir + "/gone"}} }, "gone"},
		"variables it may not": {func(s *model.Service) { s.EnvironmentFiles = []model.EnvFile{{Path: dir + "/gone", Optional: true}} }, ""},
	} {
		svc := model.Defaults(model.Daemon, false)
		svc.Name, svc.Command = "web", []string{"/bin/sleep"}
		test.change(&svc)
		err := c.Check(&svc)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
