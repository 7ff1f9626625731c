// Abide-exec is the third rung: it runs a spawn program in a process of its own,
// where waiting for long harms nobody. It is started by abide-keeper with two
// descriptors as arguments: the program, and where to leave a report if an op
// fails. It prints nothing then and exits with 127 when the service's program
// does not exist, 126 when it exists and cannot be run, 125 otherwise.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/version"
)

const (
	exitOther       = 125
	exitNotRunnable = 126
	exitNotFound    = 127
)

// The main goroutine stays on the thread that leads the process: users,
// priorities and processors are a thread's own.
func init() { runtime.LockOSThread() }

func main() {
	debug.SetGCPercent(-1)
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		os.Stdout.WriteString("abide-exec " + version.Version + "\n")
		return
	}
	if len(os.Args) != 3 {
		os.Stderr.WriteString("usage: abide-exec PROGRAM-FD REPORT-FD\nabide-keeper runs it; it is of no use by hand.\n")
		os.Exit(exitOther)
	}
	program, err1 := strconv.Atoi(os.Args[1])
	report, err2 := strconv.Atoi(os.Args[2])
	if err1 != nil || err2 != nil {
		os.Stderr.WriteString("abide-exec: cannot use descriptors " + os.Args[1] + " and " + os.Args[2] + ": not numbers\n")
		os.Exit(exitOther)
	}
	os.Exit(run(program, report))
}

func run(program, report int) int {
	syscall.CloseOnExec(program)
	report = aside(report)
	block, errno := read(program)
	syscall.Close(program)
	if errno != 0 {
		return leave(report, prog.ReportNoProgram, errno, exitOther)
	}
	var loaded prog.Loaded
	if err := loaded.Load(block); err != nil {
		return leave(report, prog.ReportRefused, syscall.EINVAL, exitOther)
	}
	spawner, err := vspawn.New()
	if err != nil {
		return leave(report, prog.ReportNoProgram, syscall.ENOMEM, exitOther)
	}
	decoded, err := prog.Decode(block)
	if err != nil {
		return leave(report, prog.ReportRefused, syscall.EINVAL, exitOther)
	}
	op, errno := spawner.Exec(&loaded)
	status := exitOther
	if execve, _ := prog.Execve.Number(prog.NativeArch); op < len(decoded.Ops) && decoded.Ops[op].Nr == execve {
		status = exitNotRunnable
		if errno == syscall.ENOENT {
			status = exitNotFound
		}
	}
	return leave(report, uint32(op), errno, status)
}

// aside moves a descriptor out of the way of those that the program makes for the
// service, whose numbers are small; not so far that the table would have to grow.
func aside(fd int) int {
	const above = 60
	high, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, above)
	if errno != 0 {
		syscall.CloseOnExec(fd)
		return fd
	}
	syscall.Close(fd)
	return int(high)
}

// read copies the program to memory that is aligned and ours alone.
func read(fd int) ([]byte, syscall.Errno) {
	const limit = prog.HeaderSize + prog.MaxOps*prog.OpSize + 4*prog.MaxRelocs + prog.MaxData
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, err.(syscall.Errno)
	}
	if st.Size <= 0 || st.Size > limit {
		return nil, syscall.EFBIG
	}
	words := make([]uint64, (st.Size+7)/8)
	block := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), int(st.Size))
	for done := 0; done < len(block); {
		n, err := syscall.Pread(fd, block[done:], int64(done))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, err.(syscall.Errno)
		}
		if n == 0 {
			return nil, syscall.EIO
		}
		done += n
	}
	return block, 0
}

// leave writes the report. The user may have changed since the descriptor was
// opened; it is written to all the same.
func leave(fd int, op uint32, errno syscall.Errno, status int) int {
	r := prog.Report{Op: op, Errno: uint32(errno)}.Encode()
	for {
		_, err := syscall.Pwrite(fd, r[:], 0)
		if err != syscall.EINTR {
			return status
		}
	}
}
