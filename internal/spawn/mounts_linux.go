package spawn

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// procMounts is /proc/self/mountinfo: the kernel marks it as urgent to read when
// a mount comes or goes.
type procMounts struct{ file *os.File }

// SystemMounts returns the mounts of this process.
func SystemMounts() (*Mounts, error) {
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read mounts: %w", err)
	}
	return &Mounts{source: procMounts{os.NewFile(uintptr(fd), "mountinfo")}}, nil
}

// Close lets the kernel's list go.
func (m *Mounts) Close() error {
	if p, ok := m.source.(procMounts); ok {
		return p.file.Close()
	}
	return nil
}

func (p procMounts) changed() bool {
	fds := []unix.PollFd{{Fd: int32(p.file.Fd()), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

func (p procMounts) read() (string, error) {
	text, err := io.ReadAll(io.NewSectionReader(p.file, 0, 1<<30))
	return string(text), err
}

func (procMounts) readlink(path string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink(path, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
