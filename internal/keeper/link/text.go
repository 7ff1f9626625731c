package link

import (
	"strconv"
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
)

func (e *Error) Error() string {
	text := "cannot " + e.Request + ": "
	if e.Code == wire.CodeSystem {
		return text + syscall.Errno(e.Errno).Error()
	}
	return text + e.Code.String()
}

// Unwrap gives the errno of a failed system call.
func (e *Error) Unwrap() error {
	if e.Code == wire.CodeSystem {
		return syscall.Errno(e.Errno)
	}
	return nil
}

func describe(verb, name string, run uint64) string {
	if run == 0 {
		return verb + " " + name
	}
	return verb + " " + name + " (run " + strconv.FormatUint(run, 10) + ")"
}
