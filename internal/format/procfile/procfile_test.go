package procfile_test

import (
	"testing"

	"github.com/abide-project/abide/internal/format/formattest"
	"github.com/abide-project/abide/internal/format/procfile"
)

func TestProcfilePassesTheSuite(t *testing.T) { formattest.Run(t, procfile.Format{}) }

func FuzzRead(f *testing.F) { formattest.Fuzz(f, procfile.Format{}, "Procfile") }

func TestClaimsProcfilesOnly(t *testing.T) {
	for path, want := range map[string]bool{"/a/Procfile": true, "Procfile.dev": true, "procfile": false, "Procfile~": false, "Procfile.toml~": false, "x.toml": false} {
		if got := (procfile.Format{}).Claims(path, nil); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
