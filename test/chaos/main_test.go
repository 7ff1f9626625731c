//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/test/internal/harness"
)

var (
	kills = flag.Int("kills", 100, "how many `processes` of abide are killed, in rounds of at most 200")
	seed  = flag.Uint64("seed", 0, "replay the choices of the round with this `seed`; 0 takes one from the clock")
	calls = flag.Int("calls", 1, "how many `moments` are taken for each kind of system call; 0 takes all")
)

// partVariable makes this program play a part: that of a service, or of the init
// that keeps abide itself running.
const partVariable = "ABIDE_TEST_PART"

func TestMain(m *testing.M) {
	if part := os.Getenv(partVariable); part != "" {
		os.Exit(play(strings.Fields(part)))
	}
	flag.Parse()
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "chaos: these tests run as root only")
		os.Exit(0)
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	os.Exit(harness.Main(m))
}
