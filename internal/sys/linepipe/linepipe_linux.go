// Package linepipe is the pipe on which a program says one thing once: that it has
// begun to serve, by a newline (the notification descriptor of s6). What is heard is
// not taken from the pipe, so that whoever has the read end later hears it, too.
package linepipe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const suffix = ".ready"

func name(dir, run string) string { return filepath.Join(dir, run+suffix) }

// Remove removes the name of a pipe that Make made. Who has it open keeps it.
func Remove(dir, run string) { os.Remove(name(dir, run)) }

// Make makes a FIFO for a run in a folder of ours and opens it for reading, close on
// exec and without blocking. Those of other runs that are left there are removed:
// whoever is to write to them has them open.
func Make(dir, run string) (path string, fd int, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", -1, fmt.Errorf("cannot make a pipe for readiness: %w", err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	path = name(dir, run)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return "", -1, fmt.Errorf("cannot make a pipe for readiness: %w", &os.PathError{Op: "mkfifo", Path: path, Err: err})
	}
	if fd, err = Open(dir, run); err != nil {
		os.Remove(path)
		return "", -1, err
	}
	return path, fd, nil
}

// Open opens a pipe that Make made for reading. What was written while nobody had it
// open is there as long as whoever wrote it has not closed it.
func Open(dir, run string) (fd int, err error) {
	path := name(dir, run)
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open the pipe for readiness: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	return fd, nil
}

// Await has told called once, from another goroutine: with true when there is a
// newline in the pipe, with false when nobody can write one any more. fd is the
// read end of a pipe; it is taken over, whatever the outcome. told may be called
// once more while cancel returns.
func Await(fd int, told func(line bool)) (cancel func(), err error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot listen to a pipe for readiness: %w", err)
	}
	unix.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "ready")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot listen to a pipe for readiness: %w", err)
	}
	stop := sync.OnceFunc(func() { file.Close() })
	go func() {
		defer stop()
		line, over := false, false
		err := conn.Read(func(fd uintptr) bool {
			line, over = look(int(fd))
			return over
		})
		if err == nil {
			told(line)
		}
	}()
	return stop, nil
}

// look reports whether there is a newline in the pipe, and whether nothing else can
// come of it. What comes before a newline is nobody's.
func look(fd int) (line, over bool) {
	var scratch [2]int
	if err := unix.Pipe2(scratch[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return false, true
	}
	defer unix.Close(scratch[0])
	defer unix.Close(scratch[1])
	buf := make([]byte, 4096)
	for {
		n, err := unix.Tee(fd, scratch[1], len(buf), unix.SPLICE_F_NONBLOCK)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false, false
		case err != nil:
			return false, true
		case n == 0:
			return false, left(fd)
		}
		read, err := unix.Read(scratch[0], buf[:n])
		if err != nil || read < 1 {
			return false, true
		}
		if bytes.IndexByte(buf[:read], '\n') >= 0 {
			return true, true
		}
		if _, err := unix.Read(fd, buf[:read]); err != nil {
			return false, true
		}
	}
}

// left reports whether somebody had the pipe open for writing and nobody has it any
// more. Before the first one opens it the kernel does not say so.
func left(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(poll, 0)
		if err != unix.EINTR {
			return err != nil || poll[0].Revents&unix.POLLHUP != 0
		}
	}
}
