package svlog

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A FIFO whose run is over is kept for the next run of the service, because on
// some file systems an inode costs more than a process. It is the same inode, but
// nobody has it open any more: every run opens it freshly. It is never given to
// another service or another user.
const (
	sparePrefix = "spare-"
	sparesMax   = 4
)

type spare struct {
	path string
	uid  int
}

// openFIFO opens the read end of a run's FIFO, and makes the FIFO when it is fresh.
func (m *Manager) openFIFO(r *run, path string, fresh bool) (int, error) {
	if fresh {
		if err := m.makeFIFO(r, path); err != nil {
			return -1, err
		}
	}
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		err = errors.New("it is not a FIFO")
	}
	if err == nil && !fresh {
		r.uid, r.gid = int(st.Uid), int(st.Gid)
	}
	if err == nil && (r.uid >= 0 && r.uid != int(st.Uid) || r.gid >= 0 && r.gid != int(st.Gid)) {
		err = unix.Fchown(fd, r.uid, r.gid)
	}
	if err == nil && st.Mode&0o777 != 0o600 {
		err = unix.Fchmod(fd, 0o600)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (m *Manager) makeFIFO(r *run, path string) error {
	if old, ok := m.takeSpare(r); ok {
		if renameNew(unix.AT_FDCWD, old, path) == nil {
			return nil
		}
		unix.Unlink(old)
	}
	err := unix.Mkfifo(path, 0o600)
	if err == unix.ENOENT {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = unix.Mkfifo(path, 0o600)
	}
	if err == unix.EEXIST {
		if err := os.Remove(path); err != nil {
			return err
		}
		err = unix.Mkfifo(path, 0o600)
	}
	return err
}

func (m *Manager) takeSpare(r *run) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, s := range r.svc.spares {
		if s.uid == r.uid {
			r.svc.spares = append(r.svc.spares[:i], r.svc.spares[i+1:]...)
			return s.path, true
		}
	}
	return "", false
}

// retire takes a FIFO's name away. It becomes a spare one if nobody can write to
// it any more.
func (m *Manager) retire(src *source) {
	if src.path == "" {
		return
	}
	if src.released {
		unix.Rename(src.path, src.path+ReleasedSuffix)
		return
	}
	svc := src.svc
	m.mu.Lock()
	keep := src.eof && len(svc.spares) < sparesMax && !svc.forgotten
	m.spareNumber++
	number := m.spareNumber
	m.mu.Unlock()
	path := filepath.Join(filepath.Dir(src.path), sparePrefix+strconv.FormatUint(number, 10))
	if !keep || unix.Rename(src.path, path) != nil {
		unix.Unlink(src.path)
		return
	}
	m.mu.Lock()
	svc.spares = append(svc.spares, spare{path, src.run.uid})
	m.mu.Unlock()
}

// isSpare tells whether a file in a service's folder was a spare FIFO once.
func isSpare(name string) bool { return strings.HasPrefix(name, sparePrefix) }

// removeSpares must be called with mu held.
func (svc *service) removeSpares() {
	for _, s := range svc.spares {
		unix.Unlink(s.path)
	}
	svc.spares = nil
}
