//go:build linux

package link

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// fake is a keeper that says what the test makes it say.
type fake struct {
	t    *testing.T
	sock int
}

const patient = 20 * time.Second

func pair(t *testing.T) (ours int, f *fake) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptTimeval(fds[1], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
	f = &fake{t: t, sock: fds[1]}
	t.Cleanup(func() { unix.Close(f.sock) })
	return fds[0], f
}

func (f *fake) recv() (wire.Header, []byte) {
	f.t.Helper()
	h, body, fds := f.recvFDs()
	for _, fd := range fds {
		unix.Close(fd)
	}
	return h, body
}

func (f *fake) recvFDs() (wire.Header, []byte, []int) {
	f.t.Helper()
	buf, oob := make([]byte, wire.MaxMessage), make([]byte, 512)
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(f.sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil || n == 0 {
		f.t.Errorf("nothing to receive: %v", err)
		return wire.Header{}, nil, nil
	}
	h, body, code := wire.Parse(buf[:n])
	if code != wire.CodeNone {
		f.t.Errorf("malformed: %v", code)
	}
	var fds []int
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) > 0 {
		fds, _ = unix.ParseUnixRights(&messages[0])
	}
	return h, body, fds
}

func (f *fake) say(msg []byte, fds ...int) {
	f.t.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(f.sock, msg, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		f.t.Error(err)
	}
}

// open opens a link whose keeper has one service.
func open(t *testing.T, h Handler) (*Link, *fake) {
	t.Helper()
	ours, f := pair(t)
	if h.Finds == nil {
		h.Finds = func(uint32) bool { return true }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		hello, _ := f.recv()
		f.say((&wire.Welcome{Version: wire.Version, KeeperPid: 7, Flags: wire.Subreaper}).Append(nil, hello.Seq))
		list, _ := f.recv()
		// News that come during the listing are told after it.
		f.say((&wire.Exited{Name: []byte("early"), Run: 1}).Append(nil))
		record := wire.Record{Name: []byte("web"), Run: 3, Phase: wire.Live, Pid: 9, NHeld: 1}
		f.say(wire.FinishInventory(wire.AppendRecord(wire.BeginInventory(nil, list.Seq), &record), 5, 1))
		list, _ = f.recv()
		record.Name = []byte("db")
		f.say(wire.FinishInventory(wire.AppendRecord(wire.BeginInventory(nil, list.Seq), &record), 0, 1))
	}()
	l, w, err := Open(ours, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if w.KeeperPid != 7 || !w.Subreaper || w.PID1 {
		t.Errorf("welcome %+v", w)
	}
	records, err := l.List()
	if err != nil || len(records) != 2 || records[0].Name != "web" || records[1].Name != "db" || records[0].Pid != 9 || len(records[0].Held) != 1 {
		t.Fatalf("%+v, %v", records, err)
	}
	<-done
	return l, f
}

func after[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patient):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestNewsDuringTheListingComeAfterIt(t *testing.T) {
	exits := make(chan Exited, 4)
	_, f := open(t, Handler{Exited: func(x Exited) { exits <- x }})
	f.say((&wire.Exited{Name: []byte("late"), Run: 2, Status: 3 << 8, MaxRSS: 2}).Append(nil))
	if x := after(t, exits); x.Name != "early" {
		t.Errorf("first %+v", x)
	}
	if x := after(t, exits); x.Name != "late" || !x.Known || x.Status != 3<<8 || x.MaxRSS != 2048 {
		t.Errorf("second %+v", x)
	}
}

func TestRequestsNeverBlockAndKeepTheirOrder(t *testing.T) {
	l, f := open(t, Handler{})
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	const requests = 20000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range requests {
			var err error
			if i%1000 == 17 {
				_, err = l.Keep("web", uint64(i), 1, int(file.Fd()))
			} else {
				_, err = l.Ack("web", uint64(i))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
		file.Close() // the link has copies of what it has not sent
	}()
	after(t, sent)
	if what, _, ok := l.Owed(); !ok || !strings.HasPrefix(what, "acknowledge web") {
		t.Errorf("owed: %q %v", what, ok)
	}
	for i := range uint64(requests) {
		h, body, fds := f.recvFDs()
		if i%1000 == 17 {
			var m wire.Held
			if code := m.Decode(body); code != wire.CodeNone || h.Type != wire.TypeKeep || m.Run != i || len(fds) != 1 {
				t.Fatalf("request %d: %v %#x %+v, %d descriptors", i, code, h.Type, m, len(fds))
			}
			unix.Close(fds[0])
			continue
		}
		var m wire.ServiceRun
		if code := m.Decode(body); code != wire.CodeNone || h.Type != wire.TypeAck || m.Run != i {
			t.Fatalf("request %d: %v %#x %+v", i, code, h.Type, m)
		}
	}
}

func TestASpawnSendsASealedProgramFirst(t *testing.T) {
	spawned, refused := make(chan Spawned, 1), make(chan Refused, 1)
	l, f := open(t, Handler{Spawned: func(s Spawned) { spawned <- s }, Refused: func(r Refused) { refused <- r }})
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	seq, err := l.Spawn(&SpawnArgs{
		Name: "web", Run: 4, AckRun: 3, Program: []byte("program"), Slow: true, CgroupFD: fd,
		Hold: []Hold{{Tag: 5, FD: fd}}, Pass: []int{fd},
	})
	if err != nil {
		t.Fatal(err)
	}
	h, body, fds := f.recvFDs()
	var m wire.Spawn
	if code := m.Decode(body); code != wire.CodeNone || h.Seq != seq || m.Run != 4 || m.AckRun != 3 ||
		m.Flags != wire.SpawnSlow|wire.SpawnCgroup || m.NTags != 1 || m.Tags[0] != 5 || m.Pass != 1 || len(fds) != m.Descriptors() {
		t.Fatalf("%v %+v %v", code, m, fds)
	}
	b := make([]byte, 16)
	n, err := unix.Pread(fds[0], b, 0)
	if err != nil || string(b[:n]) != "program" {
		t.Errorf("program %q, %v", b[:n], err)
	}
	if _, err := unix.Pwrite(fds[0], b, 0); err != unix.EPERM {
		t.Errorf("the program can be changed: %v", err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	f.say((&wire.Spawned{Name: []byte("web"), Run: 4, Pid: 11}).Append(nil, seq))
	if s := after(t, spawned); s.Seq != seq || s.Pid != 11 || s.Run != 4 {
		t.Errorf("%+v", s)
	}
	f.say((&wire.Refused{Name: []byte("web"), Run: 5, Code: wire.CodeSystem, Op: -3, Errno: 2, Burned: 1}).Append(nil, 99))
	if r := after(t, refused); r.Op != -3 || r.Errno != 2 || !r.Burned {
		t.Errorf("%+v", r)
	}
	if _, _, ok := l.Owed(); ok {
		t.Error("an answered request is owed")
	}
	if _, err := l.Spawn(&SpawnArgs{Name: "a\nb", Run: 1, CgroupFD: -1}); err == nil {
		t.Error("a malformed name is sent")
	}
}

func TestRefusalsSayWhatWasAsked(t *testing.T) {
	failed := make(chan *Error, 1)
	l, f := open(t, Handler{Failed: func(_ uint32, err *Error) { failed <- err }})
	seq, _ := l.Signal("web", 3, 9, wire.ToMain)
	f.recv()
	f.say((&wire.Failure{Code: wire.CodeSystem, Errno: uint32(syscall.EPERM)}).Append(nil, seq))
	err := after(t, failed)
	if err.Error() != "cannot signal web (run 3): operation not permitted" || !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v", err)
	}
}

func TestAnEngineIsAskedWhetherItLives(t *testing.T) {
	asked := make(chan func(), 1)
	_, f := open(t, Handler{Alive: func(answer func()) { asked <- answer }})
	f.say(wire.Bare(nil, wire.TypeIsAlive, 0))
	after(t, asked)()
	if h, _ := f.recv(); h.Type != wire.TypePong {
		t.Errorf("answer %#x", h.Type)
	}
}

func TestALostKeeperFailsEveryoneWhoWaits(t *testing.T) {
	lost := make(chan error, 2)
	l, f := open(t, Handler{Lost: func(err error) { lost <- err }})
	waiting := make(chan error, 1)
	go func() {
		_, err := l.Count()
		waiting <- err
	}()
	f.recv()
	unix.Shutdown(f.sock, unix.SHUT_RDWR)
	if err := after(t, waiting); !errors.Is(err, ErrLost) {
		t.Errorf("waiting: %v", err)
	}
	if err := after(t, lost); !errors.Is(err, ErrLost) {
		t.Errorf("lost: %v", err)
	}
	if _, err := l.Ack("web", 1); !errors.Is(err, ErrLost) {
		t.Errorf("later: %v", err)
	}
}

func TestNonsenseOfTheKeeperEndsTheConnection(t *testing.T) {
	for name, msg := range map[string][]byte{
		"noise":   []byte("not a message at all"),
		"unknown": wire.Bare(nil, wire.Type(0x9999), 0),
		"cut":     wire.End(wire.Begin(nil, wire.TypeExited, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			lost := make(chan error, 1)
			_, f := open(t, Handler{Lost: func(err error) { lost <- err }})
			f.say(msg)
			if err := after(t, lost); errors.Is(err, ErrLost) {
				t.Errorf("%v does not say what was wrong", err)
			}
		})
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	ours, f := pair(t)
	go func() {
		for range 2 { // the newest and the oldest that we speak
			hello, _ := f.recv()
			f.say((&wire.Failure{Code: wire.CodeVersion}).Append(nil, hello.Seq))
		}
	}()
	_, _, err := Open(ours, Handler{})
	if err == nil || fmt.Sprint(err) != "cannot talk to the keeper: cannot greet: another protocol version" {
		t.Errorf("%v", err)
	}
}

func TestAKeeperOfVersion1IsSpokenToInItsWords(t *testing.T) {
	ours, f := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			h, body := f.recv()
			var hello wire.Hello
			if code := hello.Decode(body); code != wire.CodeNone || h.Type != wire.TypeHello {
				f.t.Errorf("greeted with %+v: %v", h, code)
				return
			}
			if hello.Version == 1 {
				f.say((&wire.Welcome{Version: 1, KeeperPid: 7}).Append(nil, h.Seq))
				break
			}
			// What version 1 answers to any other.
			f.say((&wire.Failure{Code: wire.CodeVersion}).Append(nil, h.Seq))
		}
		list, _ := f.recv()
		f.say(wire.FinishInventory(wire.BeginInventory(nil, list.Seq), 0, 0))
		if h, _ := f.recv(); h.Type != wire.TypeAck {
			f.t.Errorf("got %#x", h.Type)
		}
	}()
	l, w, err := Open(ours, Handler{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if w.Version != 1 || w.KeeperPid != 7 || w.Build != "" {
		t.Errorf("welcome %+v", w)
	}
	if _, err := l.List(); err != nil {
		t.Fatal(err)
	}
	var old *OldKeeper
	if _, err := l.Release("web", 1); !errors.As(err, &old) || old.Version != 1 {
		t.Errorf("a request of version 2: %v", err)
	}
	if what, _, owed := l.Owed(); owed {
		t.Errorf("an answer is owed to %s, which was never asked", what)
	}
	if _, err := l.Ack("web", 1); err != nil {
		t.Error(err)
	}
	after(t, done)
}
