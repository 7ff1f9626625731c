//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// The second demonstration keeps what it says: it checks pids and lines itself.
func TestTheDemonstrationOfAKilledAbide(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	c := exec.Command("sh", filepath.Join(harness.Root, "examples", "killed.sh"))
	c.Env = append(os.Environ(), "TMPDIR="+a.Dir, "PATH="+harness.Bin+":"+os.Getenv("PATH"))
	r := a.RunCommand(c)
	if r.Code != 0 {
		t.Fatalf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	harness.Contains(t, r.Out, "none missing, none twice")
	harness.Contains(t, r.Out, "everything is stopped")
	if left, _ := filepath.Glob(filepath.Join(a.Dir, "abide-killed.*")); len(left) > 0 {
		t.Errorf("it leaves %s", strings.Join(left, " "))
	}
}
