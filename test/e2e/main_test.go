//go:build linux

package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(runHelper(os.Getenv(helperVariable)))
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: the end-to-end tests run as root only: they start programs of other users")
		os.Exit(0)
	}
	os.Exit(harness.Main(m))
}
