//go:build amd64 || arm64

package keeper

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/abide-project/abide/internal/sys/raw"
)

// catchSignals takes every signal that can be taken away from the Go runtime,
// which would otherwise die of it, process 1 included. Left out are those the
// runtime needs for itself and SIGCHLD, whose handler would cost 40 us an exit.
func catchSignals() chan os.Signal {
	caught := make(chan os.Signal, 128)
	for signo := syscall.Signal(1); signo <= 64; signo++ {
		switch signo {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPROF, 32, 33:
			continue
		}
		signal.Notify(caught, signo)
	}
	raw.DefaultSignal(int(syscall.SIGCHLD))
	return caught
}

// forwardSignals counts signals for the loop, which tells the engine.
func (s *shared) forwardSignals(caught chan os.Signal) {
	for sig := range caught {
		signo, ok := sig.(syscall.Signal)
		if !ok || signo < 1 || signo > 64 || !told(signo) {
			continue
		}
		s.received[signo].Add(1)
		s.wakeLoop()
	}
}

// told says whether a signal is news for the engine. The others come from the
// terminal or from our own writes and mean nothing to a supervisor.
func told(signo syscall.Signal) bool {
	switch signo {
	case syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGTSTP, syscall.SIGCONT:
		return false
	}
	return true
}

// noteSignals ends the keeper when it is asked twice to end and there is no
// engine that could do it properly. Running services stay as they are: the next
// keeper adopts them.
func (k *keeper) noteSignals() {
	s := &k.shared
	if s.streak.Load() < hopelessStreak || k.engine.hello || s.ending.Load() != endNo {
		return
	}
	asked := s.received[syscall.SIGTERM].Load() + s.received[syscall.SIGINT].Load()
	if asked < 2 {
		return
	}
	say("no engine can be started and the end is asked for: leaving, with ").n(int64(k.table.live)).s(" services running").end()
	s.end(exitSystem, 0)
	if k.engine.pidfd >= 0 {
		raw.PidfdSignal(k.engine.pidfd, int(syscall.SIGKILL), 0)
	}
}
