package link

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// Patience with the keeper where a caller waits for it.
const (
	greetTime  = 60 * time.Second // it may still be adopting
	answerTime = 10 * time.Second
)

// Link is a connection to the keeper. Its methods may be called from any
// goroutine. The order of requests is the order of the calls.
type Link struct {
	file    *os.File
	conn    syscall.RawConn
	handler Handler

	mu      sync.Mutex
	seq     uint32
	version uint32 // of the exchanges, as the keeper's welcome says
	asked   map[uint32]request
	queue   []packet // what did not fit yet, oldest first
	writing bool     // a goroutine sends the queue
	lost    error
	out     []byte

	in      []byte
	oob     []byte
	early   [][]byte // news from before the reader started
	started bool
	custody custody
}

// request is one that has no answer yet.
type request struct {
	what  string
	since time.Time
	reply chan reply // nil: nobody waits
	// What the keeper holds less or more once it is answered.
	of      holder
	gives   []kept
	drops   bool // tag
	tag     uint32
	forgets bool // whatever is held for the service
}

type reply struct {
	kind wire.Type
	body []byte
	fd   int
	err  error
}

// packet is a message that waits for room, with descriptors of its own.
type packet struct {
	msg []byte
	fds []int
}

// Open greets the keeper on its socket, which the link takes over. The handler is
// called after List.
func Open(fd int, handler Handler) (*Link, Welcome, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, Welcome{}, fmt.Errorf("cannot use descriptor %d as the keeper's socket: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "keeper")
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, Welcome{}, fmt.Errorf("cannot use descriptor %d as the keeper's socket: %w", fd, err)
	}
	l := &Link{
		file: file, conn: conn, handler: handler, asked: map[uint32]request{}, custody: newCustody(),
		version: wire.MinVersion, out: make([]byte, 0, 4096), in: make([]byte, wire.MaxMessage), oob: make([]byte, unix.CmsgSpace(4*4)),
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	w, err := l.greet()
	if err != nil {
		file.Close()
		return nil, Welcome{}, fmt.Errorf("cannot talk to the keeper: %w", err)
	}
	return l, w, nil
}

func (l *Link) greet() (Welcome, error) {
	body, err := l.hello(wire.Version)
	var refused *Error
	if errors.As(err, &refused) && refused.Code == wire.CodeVersion {
		// A keeper of version 1 knows no other and takes no hello but its own.
		body, err = l.hello(wire.MinVersion)
	}
	if err != nil {
		return Welcome{}, err
	}
	var m wire.Welcome
	if code := m.Decode(body); code != wire.CodeNone {
		return Welcome{}, fmt.Errorf("its welcome is malformed: %v", code)
	}
	if m.Version < wire.MinVersion || m.Version > wire.Version {
		return Welcome{}, fmt.Errorf("it speaks version %d; from %d to %d are known here", m.Version, wire.MinVersion, wire.Version)
	}
	l.mu.Lock()
	l.version = m.Version
	l.mu.Unlock()
	is := func(flag uint32) bool { return m.Flags&flag != 0 }
	build, _, _ := bytes.Cut(m.Build[:], []byte{0})
	return Welcome{
		Version: m.Version, Build: string(build), OnTrial: is(wire.OnTrial), KeeperPid: int(m.KeeperPid), EnginePid: int(m.EnginePid), BootID: string(m.Boot[:]), RunID: string(m.ID[:]), Rung: uint8(m.Rung),
		PID1: is(wire.PID1), Machine: is(wire.Machine), Subreaper: is(wire.Subreaper), Adopted: is(wire.Adopted),
		RecordsNew: is(wire.RecordsNew), RecordsSet: is(wire.RecordsSet), RecordsDamaged: is(wire.RecordsDamaged), Unrecorded: is(wire.Unrecorded),
		NofileSoft: m.NofileSoft, NofileHard: m.NofileHard, Slots: int(m.Slots), Used: int(m.Used), Engines: int(m.Engines),
	}, nil
}

func (l *Link) hello(version uint32) ([]byte, error) {
	m := wire.Hello{Version: version}
	seq, err := l.ask("greet", nil, m.Append, nil)
	if err != nil {
		return nil, err
	}
	return l.expect(seq, wire.TypeWelcome)
}

// expect reads until the answer to seq has come and keeps news for later. It is
// for the time before the reader runs.
func (l *Link) expect(seq uint32, want wire.Type) ([]byte, error) {
	body, fd, err := l.expectFD(seq, want)
	if fd >= 0 {
		unix.Close(fd)
	}
	return body, err
}

// expectFD is expect for an answer that may come with a descriptor; -1: it did
// not.
func (l *Link) expectFD(seq uint32, want wire.Type) ([]byte, int, error) {
	if err := l.file.SetReadDeadline(time.Now().Add(greetTime)); err != nil {
		return nil, -1, err
	}
	defer func() { _ = l.file.SetReadDeadline(time.Time{}) }()
	for {
		n, fd, err := l.receive()
		if err != nil {
			return nil, -1, err
		}
		h, body, code := wire.Parse(l.in[:n])
		if code != wire.CodeNone {
			return nil, fd, fmt.Errorf("malformed message: %v", code)
		}
		if h.Seq != seq || h.Seq == 0 {
			if fd >= 0 {
				unix.Close(fd)
			}
			l.early = append(l.early, append([]byte(nil), l.in[:n]...))
			continue
		}
		what := l.answered(seq).what
		if h.Type == wire.TypeError {
			return nil, fd, refusal(what, body)
		}
		if h.Type != want {
			return nil, fd, fmt.Errorf("unexpected answer %#x to %s", h.Type, what)
		}
		return body, fd, nil
	}
}

// List returns every service the keeper knows and starts the calls of the
// handler. An exit is in the list or becomes an event, never both. Call it once,
// right after Open.
func (l *Link) List() ([]Record, error) {
	if l.started {
		return nil, fmt.Errorf("cannot list services: they have been listed")
	}
	var list []Record
	for from := uint32(0); ; {
		m := wire.List{From: from}
		seq, err := l.ask("list services", nil, func(b []byte, seq uint32) []byte { return m.Append(b, seq) }, nil)
		if err != nil {
			return nil, err
		}
		body, err := l.expect(seq, wire.TypeInventory)
		if err != nil {
			return nil, fmt.Errorf("cannot list services: %w", err)
		}
		var part wire.Inventory
		if code := part.Decode(body); code != wire.CodeNone {
			return nil, fmt.Errorf("cannot list services: %v", code)
		}
		if list == nil {
			list = make([]Record, 0, 2*part.Count)
		}
		var r wire.Record
		for part.Count > 0 {
			if code := part.Record(&r); code != wire.CodeNone {
				return nil, fmt.Errorf("cannot list services: %v", code)
			}
			list = append(list, recordFrom(&r))
		}
		if part.Next == 0 {
			break
		}
		from = part.Next
	}
	l.started = true
	l.collect(list)
	go l.read()
	return list, nil
}

// Spawn asks for a run. The answer is a call of Spawned or Refused with the seq
// returned here. An error means that nothing was asked.
func (l *Link) Spawn(a *SpawnArgs) (uint32, error) {
	what := describe("start", a.Name, a.Run)
	if len(a.Hold) > wire.MaxHolds || len(a.Pass) > wire.MaxPass {
		return 0, fmt.Errorf("cannot %s: too many descriptors", what)
	}
	m := wire.Spawn{Name: []byte(a.Name), Run: a.Run, AckRun: a.AckRun, NTags: len(a.Hold), Pass: uint32(len(a.Pass))}
	if !wire.GoodName(m.Name) {
		return 0, fmt.Errorf("cannot %s: malformed name", what)
	}
	memfd, err := seal(a.Program)
	if err != nil {
		return 0, fmt.Errorf("cannot %s: %w", what, err)
	}
	defer unix.Close(memfd)
	var room [2 + wire.MaxHolds + wire.MaxPass]int
	fds := append(room[:0], memfd)
	if a.Slow {
		m.Flags |= wire.SpawnSlow
	}
	if a.CgroupFD >= 0 {
		m.Flags |= wire.SpawnCgroup
		fds = append(fds, a.CgroupFD)
	}
	var gives []kept
	for i, h := range a.Hold {
		m.Tags[i] = h.Tag
		fds = append(fds, h.FD)
		gives = append(gives, l.copyOf(h.Tag, h.FD))
	}
	fds = append(fds, a.Pass...)
	return l.request(request{what: what, of: holder{a.Name, a.Run}, gives: gives}, fds, m.Append)
}

// seal puts a program into a memory file that nobody can change any more.
func seal(program []byte) (int, error) {
	fd, err := unix.MemfdCreate("abide program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, fmt.Errorf("no memory file for its program: %w", err)
	}
	for off := 0; off < len(program); {
		n, err := unix.Pwrite(fd, program[off:], int64(off))
		if err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("no memory for its program: %w", err)
		}
		off += n
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot seal its program: %w", err)
	}
	return fd, nil
}

// Adopt asks to make a process that runs already a run of a service, by pid and
// field 22 of its /proc/PID/stat. pidfd names it beyond doubt; -1: there is none.
// The answer is a call of Spawned or Refused, as for Spawn.
func (l *Link) Adopt(name string, run uint64, pid int, start uint64, pidfd int) (uint32, error) {
	m := wire.Adopt{Name: []byte(name), Run: run, Pid: uint32(pid), Start: start}
	var fds []int
	if pidfd >= 0 {
		fds = []int{pidfd}
	}
	return l.ask(describe("adopt", name, run), fds, m.Append, nil)
}

// Main makes another process of a run's, by pid and start time as for Adopt, its main
// process: of a run that lives, or whose exit is not acknowledged. The answer is a
// call of Spawned or Refused, as for Spawn.
func (l *Link) Main(name string, run uint64, pid int, start uint64, pidfd int) (uint32, error) {
	m := wire.Main{Name: []byte(name), Run: run, Pid: uint32(pid), Start: start}
	var fds []int
	if pidfd >= 0 {
		fds = []int{pidfd}
	}
	return l.ask(describe("change the main process of", name, run), fds, m.Append, nil)
}

// Release lets the process of a live run go on without us: the service has no run
// any more, and the end of this one is told to nobody.
func (l *Link) Release(name string, run uint64) (uint32, error) {
	m := wire.ServiceRun{Name: []byte(name), Run: run}
	l.custody.ended(name, run)
	return l.ask(describe("release", name, run), nil, func(b []byte, seq uint32) []byte {
		return m.Append(b, wire.TypeRelease, seq)
	}, nil)
}

// Ack says that an exit is dealt with: nobody will be told of it again.
func (l *Link) Ack(name string, run uint64) (uint32, error) {
	m := wire.ServiceRun{Name: []byte(name), Run: run}
	return l.ask(describe("acknowledge", name, run), nil, func(b []byte, seq uint32) []byte {
		return m.Append(b, wire.TypeAck, seq)
	}, nil)
}

// Signal sends a signal to a live run; to is wire.ToMain, ToGroup or ToSession.
func (l *Link) Signal(name string, run uint64, signo int, to uint32) (uint32, error) {
	m := wire.Signal{Name: []byte(name), Run: run, Signo: uint32(signo), To: to}
	return l.ask(describe("signal", name, run), nil, m.Append, nil)
}

// SignalOnce is Signal with a name, once, that is not 0: when it is the name of
// the last one sent to the service, it is not sent again. A keeper of version 1
// knows no names: there it is Signal.
func (l *Link) SignalOnce(name string, run uint64, signo int, to uint32, once uint64) (uint32, error) {
	if l.version < wire.TypeSignalOnce.Since() {
		return l.Signal(name, run, signo, to)
	}
	m := wire.SignalOnce{Signal: wire.Signal{Name: []byte(name), Run: run, Signo: uint32(signo), To: to}, Once: once}
	return l.ask(describe("signal", name, run), nil, m.Append, nil)
}

// Keep gives the keeper a copy of a descriptor to hold; run 0 is for the service,
// whatever runs.
func (l *Link) Keep(name string, run uint64, tag uint32, fd int) (uint32, error) {
	m := wire.Held{Name: []byte(name), Run: run, Tag: tag}
	r := request{what: describe("keep a descriptor of", name, run), of: holder{name, run}, gives: []kept{l.copyOf(tag, fd)}}
	return l.request(r, []int{fd}, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeKeep, seq) })
}

// Drop lets the keeper close a held descriptor, or with wire.AllTags every one of
// the run.
func (l *Link) Drop(name string, run uint64, tag uint32) (uint32, error) {
	m := wire.Held{Name: []byte(name), Run: run, Tag: tag}
	r := request{what: describe("drop a descriptor of", name, run), of: holder{name, run}, drops: true, tag: tag}
	return l.request(r, nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeDrop, seq) })
}

// Forget frees the slot of a service in which nothing runs and every exit is
// acknowledged, and closes what is held for it.
func (l *Link) Forget(name string) (uint32, error) {
	m := wire.ServiceRun{Name: []byte(name)}
	r := request{what: describe("forget", name, 0), of: holder{name, 0}, forgets: true}
	return l.request(r, nil, func(b []byte, seq uint32) []byte { return m.Append(b, wire.TypeForget, seq) })
}

// Handled says that signals up to this count are dealt with.
func (l *Link) Handled(signo int, count uint32) (uint32, error) {
	m := wire.Signaled{Signo: uint32(signo), Count: count}
	return l.ask("answer for a signal", nil, func(b []byte, seq uint32) []byte {
		return m.Append(b, wire.TypeHandled, seq)
	}, nil)
}

// Take returns a copy of a held descriptor, which the keeper goes on holding. It
// waits for the answer.
func (l *Link) Take(name string, run uint64, tag uint32) (int, error) {
	m := wire.Held{Name: []byte(name), Run: run, Tag: tag}
	r, err := l.wait(describe("take a descriptor of", name, run), wire.TypeFD, func(b []byte, seq uint32) []byte {
		return m.Append(b, wire.TypeTake, seq)
	})
	if err == nil && r.fd < 0 {
		err = fmt.Errorf("cannot take a descriptor of %s: none came", name)
	}
	if err != nil {
		return -1, err
	}
	return r.fd, nil
}

// Count returns the keeper's counters. It waits for the answer.
func (l *Link) Count() (Counters, error) {
	var m wire.Stats
	r, err := l.wait("count", wire.TypeStats, func(b []byte, seq uint32) []byte { return wire.Bare(b, wire.TypeCount, seq) })
	if err == nil {
		if code := m.Decode(r.body); code != wire.CodeNone {
			err = fmt.Errorf("cannot count: %v", code)
		}
	}
	return m, err
}

// Exit asks the keeper to end as soon as this process has ended, with a code, or
// by one of the wire.Action values as process 1 of the machine. It waits until
// the keeper has agreed; the engine must end then.
func (l *Link) Exit(code uint8, action uint32) error {
	m := wire.Exit{Code: uint32(code), Action: action}
	_, err := l.wait("end the keeper", wire.TypeOK, m.Append)
	return err
}

// Owed returns the oldest request without an answer, for an engine that wants to
// know whether its keeper is stuck, and since when.
func (l *Link) Owed() (what string, since time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.asked {
		if !ok || r.since.Before(since) {
			what, since, ok = r.what, r.since, true
		}
	}
	return what, since, ok
}

// Close ends the connection. The keeper then treats the engine as gone.
func (l *Link) Close() error {
	l.custody.release()
	return l.file.Close()
}
