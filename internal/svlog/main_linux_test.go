package svlog

import (
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also the programs that tests kill.
func TestMain(m *testing.M) {
	switch os.Getenv("SVLOG_ROLE") {
	case "write":
		lines, _ := strconv.Atoi(os.Getenv("SVLOG_LINES"))
		per, _ := strconv.Atoi(os.Getenv("SVLOG_PER_WRITE"))
		writeLines(lines, per)
		return
	case "manage":
		manage(os.Getenv("SVLOG_DIR"))
		return
	}
	goleak.VerifyTestMain(m)
}
