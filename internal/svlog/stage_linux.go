package svlog

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	takeMax   = 256 << 10 // bytes of one take
	stageTrim = 512 << 10 // the stage is emptied when it has grown to this
	stageMap  = stageTrim + takeMax
)

// stage is the file that bytes are spliced into on their way to a log, and the
// take they belong to. Its size tells how many were taken. It is emptied only
// once per many takes, because that costs more than a take.
type stage struct {
	path string
	fd   int
	mem  []byte
	size int64 // of the file
	rec  *takeRec
}

func stagePath(dir string, i int) string {
	if i == 0 {
		return filepath.Join(dir, "stage")
	}
	return filepath.Join(dir, fmt.Sprintf("stage.%d", i))
}

func openStage(dir string, i int, rec *takeRec) (*stage, error) {
	path := stagePath(dir, i)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	st := &stage{path: path, fd: fd, rec: rec}
	if st.mem, err = unix.Mmap(fd, 0, stageMap, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	if st.size, err = unix.Seek(fd, 0, unix.SEEK_END); err != nil || st.size > stageMap {
		st.size = 0
		err = unix.Ftruncate(fd, 0)
	}
	if err != nil {
		st.close()
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st, nil
}

func (st *stage) close() {
	unix.Munmap(st.mem)
	unix.Close(st.fd)
}

// trim makes room for a take. It must be called between takes only.
func (st *stage) trim() error {
	if st.size < stageTrim {
		return nil
	}
	if _, err := ignoringEINTR(func() (int, error) { return 0, unix.Ftruncate(st.fd, 0) }); err != nil {
		return err
	}
	at("stage emptied")
	st.size = 0
	return nil
}

// splice moves what the pipe has, up to takeMax bytes, to the end of the stage.
// 0 without an error means that nobody has the pipe open for writing.
func (st *stage) splice(pipe int) (int, error) {
	size := st.size
	for {
		n, err := unix.Splice(pipe, nil, st.fd, &st.size, takeMax, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err == unix.EINTR {
			st.size = size
			continue
		}
		st.size = size + max(n, 0)
		return int(max(n, 0)), err
	}
}

// put appends bytes that come from memory.
func (st *stage) put(b []byte) error {
	n, err := unix.Pwrite(st.fd, b, st.size)
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	if err != nil {
		unix.Ftruncate(st.fd, st.size)
		return err
	}
	st.size += int64(n)
	return nil
}
