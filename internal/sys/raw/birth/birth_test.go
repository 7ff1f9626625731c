//go:build linux && (amd64 || arm64)

package birth_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/sys/raw/birth"
)

func TestMain(m *testing.M) {
	if os.Getenv("ABIDE_TEST_ROLE") == "limits" {
		var now syscall.Rlimit
		_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now)
		fmt.Println(birth.NofileSoft, birth.NofileHard, now.Cur > birth.NofileSoft)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLimitsAreThoseBeforeGoRaisedThem(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "ulimit -Sn 333; ulimit -Hn 999; exec "+os.Args[0])
	cmd.Env = append(os.Environ(), "ABIDE_TEST_ROLE=limits")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "333 999 true\n" {
		t.Errorf("%q, %v", out, err)
	}
}
