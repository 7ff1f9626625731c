package sockets

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/waitset"
)

// longestPath is what sockaddr_un has room for beside the NUL that some clients
// count.
const longestPath = 107

// Sockets is the sockets of all runs. Its methods but Next and Done may be called
// from any goroutine.
type Sockets struct {
	dir  string
	tell func(name string, run uint64)

	mu     sync.Mutex
	set    *waitset.Set // nil: nothing is waited for yet
	open   map[Key]*socket
	byFD   map[int]Key
	folder bool // the folder is there as it must be

	in mailbox
}

type socket struct {
	fd      int
	path    string // "" if it has no name in the file system
	watched bool
	fds     []int // that came with the message that is being read
}

// New returns the sockets of a run directory. tell is called from a goroutine when
// something waits at one that is watched: once, until Again.
func New(run string, tell func(name string, run uint64)) *Sockets {
	return &Sockets{dir: filepath.Join(run, folder), tell: tell, open: map[Key]*socket{}, byFD: map[int]Key{}}
}

// Open makes the socket of a run whose program has the user uid and the group gid,
// and returns what NOTIFY_SOCKET is to say. It gets a name in the run directory that
// only that user and root can send to, or, where the program could not reach that
// because it is hidden from it, too deep, or behind a closed folder, a name of the
// network namespace.
func (s *Sockets) Open(name string, run uint64, uid, gid int, hidden bool) (address string, err error) {
	k, err := newSocket()
	if err != nil {
		return "", err
	}
	if address, err = s.bind(k, Key{name, run}, uid, gid, hidden); err != nil {
		unix.Close(k.fd)
		return "", fmt.Errorf("cannot make a notification socket: %w", err)
	}
	s.add(Key{name, run}, k)
	return address, nil
}

// Reopen makes the socket of a run again that nobody has any more, as Open did.
// address is what that returned if it was a name of the network namespace, else "".
func (s *Sockets) Reopen(name string, run uint64, uid, gid int, address string) error {
	k, err := newSocket()
	if err != nil {
		return err
	}
	if address != "" {
		err = unix.Bind(k.fd, &unix.SockaddrUnix{Name: address})
	} else if _, err = s.bind(k, Key{name, run}, uid, gid, false); err == nil && k.path == "" {
		err = errors.New("its address is not known any more")
	}
	if err != nil {
		unix.Close(k.fd)
		return fmt.Errorf("cannot make a notification socket again: %w", err)
	}
	s.add(Key{name, run}, k)
	return nil
}

func newSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a notification socket: %w", err)
	}
	return &socket{fd: fd}, nil
}

func (s *Sockets) bind(k *socket, key Key, uid, gid int, hidden bool) (string, error) {
	if !hidden {
		if err := s.makeFolder(); err != nil {
			return "", err
		}
		if path, ok := s.pathFor(key, uid, gid); ok {
			k.path = path
			return path, bindPath(k.fd, path, uid, gid)
		}
	}
	var random [16]byte
	_, _ = rand.Read(random[:])
	address := "@abide/" + hex.EncodeToString(random[:])
	return address, unix.Bind(k.fd, &unix.SockaddrUnix{Name: address})
}

func bindPath(fd int, path string, uid, gid int) error {
	_ = unix.Unlink(path)
	// The mode that the socket itself has is the one that its name gets.
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	if uid == os.Geteuid() && gid == os.Getegid() {
		return nil
	}
	if err := unix.Lchown(path, uid, gid); err != nil {
		_ = unix.Unlink(path)
		return err
	}
	return nil
}

// pathFor is the name of a socket that a user can reach.
func (s *Sockets) pathFor(key Key, uid, gid int) (path string, ok bool) {
	path = filepath.Join(s.dir, key.file())
	if len(path) > longestPath {
		short := fnv.New64a()
		_, _ = short.Write([]byte(key.Name))
		path = filepath.Join(s.dir, Key{strconv.FormatUint(short.Sum64(), 36), key.Run}.file())
	}
	return path, len(path) <= longestPath && (uid == 0 || uid == os.Geteuid() || reachable(s.dir, uid, gid))
}

// reachable reports whether a user may pass through every folder of a path.
func reachable(path string, uid, gid int) bool {
	for ; ; path = filepath.Dir(path) {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			return false
		}
		bit := uint32(0o001)
		switch {
		case st.Uid == uint32(uid):
			bit = 0o100
		case st.Gid == uint32(gid):
			bit = 0o010
		}
		if st.Mode&bit == 0 {
			return false
		}
		if path == "/" || path == "." {
			return true
		}
	}
}

// makeFolder makes the folder that everybody may pass through and nobody read.
func (s *Sockets) makeFolder() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder {
		if _, err := os.Lstat(s.dir); err == nil {
			return nil
		}
	}
	if err := os.Mkdir(s.dir, 0o711); err != nil && !os.IsExist(err) {
		return err
	}
	if err := os.Chmod(s.dir, 0o711); err != nil {
		return err
	}
	s.folder = true
	return nil
}

// Adopt takes over the socket of a run that another process made.
func (s *Sockets) Adopt(name string, run uint64, fd int) error {
	unix.CloseOnExec(fd)
	k := &socket{fd: fd}
	address, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("cannot take over a notification socket: %w", err)
	}
	if a, ok := address.(*unix.SockaddrUnix); ok && !strings.HasPrefix(a.Name, "@") {
		k.path = a.Name
	}
	s.add(Key{name, run}, k)
	return nil
}

func (s *Sockets) add(key Key, k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.open[key]; old != nil {
		if old.path == k.path {
			old.path = "" // the name is the new one's
		}
		s.remove(key, old)
	}
	s.open[key], s.byFD[k.fd] = k, key
}

// FD is the descriptor of a run's socket, -1 if there is none. It stays ours.
func (s *Sockets) FD(name string, run uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.open[Key{name, run}]; k != nil {
		return k.fd
	}
	return -1
}

// Copy is FD for who closes it.
func (s *Sockets) Copy(name string, run uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.open[Key{name, run}]; k != nil {
		if fd, err := unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			return fd
		}
	}
	return -1
}

// Again tells when something waits at a run's socket, also when it does already.
func (s *Sockets) Again(name string, run uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.open[Key{name, run}]
	if k == nil {
		return nil
	}
	if s.set == nil {
		set, err := waitset.New()
		if err != nil {
			return err
		}
		s.set = set
		go s.wait(set)
	}
	if k.watched {
		return s.set.Again(k.fd, waitset.Readable|waitset.Once)
	}
	k.watched = true
	return s.set.Add(k.fd, waitset.Readable|waitset.Once)
}

func (s *Sockets) wait(set *waitset.Set) {
	for {
		ready, err := set.Wait(context.Background(), time.Time{})
		if err != nil {
			return // only at the end of this process
		}
		for _, fd := range ready {
			s.mu.Lock()
			key, known := s.byFD[fd]
			s.mu.Unlock()
			if known {
				s.tell(key.Name, key.Run)
			}
		}
	}
}

// Close gives up the socket of a run and its name.
func (s *Sockets) Close(name string, run uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := Key{name, run}
	if k := s.open[key]; k != nil {
		s.remove(key, k)
	}
}

// remove is Close with s.mu held.
func (s *Sockets) remove(key Key, k *socket) {
	delete(s.open, key)
	delete(s.byFD, k.fd)
	if k.watched {
		s.set.Remove(k.fd)
	}
	closeAll(k.fds)
	unix.Close(k.fd)
	if k.path != "" {
		_ = unix.Unlink(k.path)
	}
}

// Sweep removes the names of sockets that nobody reads any more: of runs that ended
// while none of us lived.
func (s *Sockets) Sweep(lives func(name string, run uint64) bool) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		name, number, ok := cutLast(strings.ReplaceAll(entry.Name(), "+", "/"))
		run, err := strconv.ParseUint(number, 10, 64)
		if ok && err == nil && entry.Type()&os.ModeSocket != 0 && s.FD(name, run) < 0 && !lives(name, run) {
			_ = os.Remove(filepath.Join(s.dir, entry.Name()))
		}
	}
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
