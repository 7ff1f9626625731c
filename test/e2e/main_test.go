//go:build linux

package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// builtForTests are folders that a test made for others after it.
var builtForTests []string

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(runHelper(os.Getenv(helperVariable)))
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: the end-to-end tests run as root only: they start programs of other users")
		os.Exit(0)
	}
	code := harness.Main(m)
	for _, dir := range builtForTests {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}
