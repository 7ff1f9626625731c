//go:build linux && (amd64 || arm64)

package vspawn

import (
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/spawn/prog"
)

// Probe finds the best rung by making a child on each that does nothing but end.
// It is safe at the start of any process and leaves nothing behind.
func Probe() Rung {
	s, err := New()
	if err != nil {
		return RungNone
	}
	defer s.Close()
	for r := RungClone3; r < RungNone; r++ {
		if s.works(r) {
			return r
		}
	}
	return RungNone
}

// probeStatus is what the child of a probe exits with.
const probeStatus = 77

func (s *Spawner) works(r Rung) bool {
	end := (*prog.Op)(unsafe.Pointer(&s.memory[pageSize])) // the far end of the stack is free
	*end = prog.Op{Nr: sysExitGroup, Args: [6]uint64{probeStatus}}
	pid, pidfd, _, errno := s.run(&Request{Rung: r, CgroupFD: -1}, uint64(uintptr(unsafe.Pointer(end))), 1)
	if errno != 0 {
		return false
	}
	var status syscall.WaitStatus
	var err error
	for {
		_, err = syscall.Wait4(pid, &status, syscall.WALL, nil)
		if err != syscall.EINTR {
			break
		}
	}
	if pidfd >= 0 {
		_ = syscall.Close(pidfd)
	}
	return pidfd >= 0 && err == nil && status.ExitStatus() == probeStatus
}
