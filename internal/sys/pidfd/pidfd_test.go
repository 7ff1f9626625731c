//go:build linux

package pidfd

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
)

func TestASignalReachesTheProcessAndNoOtherLater(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	if Ended(fd) {
		t.Error("a living process has ended")
	}
	if err := Send(fd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if !Ended(fd) {
		t.Error("a process that was waited for has not ended")
	}
	if err := Send(fd, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a signal to an ended process gives %v", err)
	}
}
