package link

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// Rebuild asks the keeper to make those of the run directory's files again that
// are missing and are its own: lock, id, keeper.state, control.sock. It returns
// what is wanted, a copy of the listener (wire.RebuildListener) or of the lock
// (wire.RebuildLock), and waits for the answer. It may be called before List.
func (l *Link) Rebuild(want uint32) (int, error) {
	const what = "make the run directory's files again"
	m := wire.Rebuild{Want: want}
	if l.started {
		r, err := l.wait(what, wire.TypeFD, m.Append)
		if err == nil && r.fd < 0 {
			err = fmt.Errorf("cannot %s: no descriptor came", what)
		}
		if err != nil {
			return -1, err
		}
		return r.fd, nil
	}
	seq, err := l.ask(what, nil, m.Append, nil)
	if err != nil {
		return -1, err
	}
	_, fd, err := l.expectFD(seq, wire.TypeFD)
	if err == nil && fd < 0 {
		err = fmt.Errorf("cannot %s: no descriptor came", what)
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return -1, err
	}
	return fd, nil
}
