//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// playInit does for abide what an init does: it runs the command line of its
// arguments, runs it again whenever it ends but with code 0, and reaps everything
// that becomes an orphan.
func playInit() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "cannot become a subreaper:", err)
		return 1
	}
	os.Unsetenv(partVariable)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ends := make(chan end, 64)
	go reap(ends)
	for {
		began := time.Now()
		child, err := syscall.ForkExec(os.Args[1], os.Args[1:], &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
		if err != nil {
			fmt.Fprintln(os.Stderr, "cannot start abide:", err)
			return 1
		}
		for lives := true; lives; {
			select {
			case s := <-signals:
				syscall.Kill(child, s.(syscall.Signal))
			case e := <-ends:
				if lives = e.pid != child; !lives && e.status.Exited() && e.status.ExitStatus() == 0 {
					return 0
				}
			}
		}
		if time.Since(began) < 100*time.Millisecond {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// end is that of a child or an orphan.
type end struct {
	pid    int
	status syscall.WaitStatus
}

// reap takes note of every end at once: how an orphan ended can be asked for only
// when its reaper has done so.
func reap(ends chan<- end) {
	for {
		var status syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &status, 0, nil); err {
		case nil:
			go func() { ends <- end{pid, status} }()
		case syscall.ECHILD:
			time.Sleep(time.Millisecond)
		}
	}
}
