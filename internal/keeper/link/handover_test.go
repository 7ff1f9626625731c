//go:build linux

package link

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// heir is a new keeper that says what the test makes it say.
func heir(t *testing.T) (sock int, f *fake) {
	t.Helper()
	sock, f = pair(t)
	t.Cleanup(func() { unix.Close(sock) })
	return sock, f
}

// legacy receives a hand-over to its end, and returns what it was as text.
func (f *fake) legacy() (parts []string) {
	f.t.Helper()
	for {
		h, body, fds := f.recvFDs()
		for _, fd := range fds {
			unix.Close(fd)
		}
		text := fmt.Sprintf("%d+%d", h.Type, len(fds))
		switch h.Type {
		case wire.TypeHeld:
			var m wire.Held
			m.Decode(body)
			text = fmt.Sprintf("held %s %d %d", m.Name, m.Run, m.Tag)
		case wire.TypePidfd:
			var m wire.LiveRun
			m.Decode(body)
			text = fmt.Sprintf("run %s %d", m.Name, m.Run)
		}
		parts = append(parts, text)
		if h.Type == wire.TypeDone || h.Type == 0 {
			return parts
		}
	}
}

// answer is what a keeper says to each request.
func (f *fake) answerAll(requests int, refuse wire.Type) {
	for range requests {
		h, body := f.recv()
		switch {
		case h.Type == refuse && h.Type == wire.TypeSpawn:
			f.say((&wire.Refused{Name: []byte("x"), Run: 1}).Append(nil, h.Seq))
		case h.Type == refuse:
			f.say((&wire.Failure{Code: wire.CodeHeld}).Append(nil, h.Seq))
		case h.Type == wire.TypeSpawn:
			var m wire.Spawn
			m.Decode(body)
			f.say((&wire.Spawned{Name: m.Name, Run: m.Run, Pid: uint32(os.Getpid())}).Append(nil, h.Seq))
		default:
			f.say(wire.Bare(nil, wire.TypeOK, h.Seq))
		}
	}
}

func TestWhatTheKeeperHoldsIsHandedOver(t *testing.T) {
	spawned, failed := make(chan Spawned, 4), make(chan *Error, 4)
	asked := map[string]bool{}
	l, f := open(t, Handler{
		Finds:   func(tag uint32) bool { return tag < 10 },
		Spawned: func(s Spawned) { spawned <- s },
		Failed:  func(_ uint32, err *Error) { failed <- err },
		Held: func(name string, run uint64, tag uint32) int {
			asked[fmt.Sprint(name, " ", run, " ", tag)] = true
			if tag == 2 {
				return -1 // closed by now
			}
			fd, err := unix.Dup(0)
			if err != nil {
				return -1
			}
			return fd
		},
	})
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	fd := int(file.Fd())
	done := make(chan struct{})
	go func() { defer close(done); f.answerAll(6, 0) }()
	for _, err := range []error{
		second(l.Spawn(&SpawnArgs{Name: "new", Run: 4, CgroupFD: -1, Program: []byte("x"), Hold: []Hold{{1, fd}, {2, fd}, {11, fd}}})),
		second(l.Keep("web", 0, 12, fd)),
		second(l.Keep("web", 3, 13, fd)),
		second(l.Keep("db", 0, 14, fd)),
		second(l.Drop("web", 3, 13)),
		second(l.Forget("db")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	after(t, spawned)
	<-done
	go f.answerAll(1, wire.TypeKeep)
	if _, err := l.Keep("web", 0, 15, fd); err != nil {
		t.Fatal(err)
	}
	after(t, failed)
	file.Close() // what is handed over are copies

	sock, h := heir(t)
	parts := make(chan []string, 1)
	go func() {
		parts <- h.legacy()
		h.say(wire.Bare(nil, wire.TypeOK, 0))
	}()
	if err := l.HandOver(sock, Estate{Listener: 0, Lock: 1, Lease: 2}); err != nil {
		t.Fatal(err)
	}
	got := after(t, parts)
	begin, rest := got[:3], slices.Sorted(slices.Values(got[3:len(got)-1]))
	want := []string{"held new 4 1", "held new 4 11", "held web 0 0", "held web 0 12", "run new 4"}
	if !slices.Equal(begin, []string{"65+1", "64+1", "68+1"}) || !slices.Equal(rest, want) || got[len(got)-1] != "69+0" {
		t.Errorf("handed over: %q, want %q", got, want)
	}
	if !asked["new 4 1"] || !asked["new 4 2"] || asked["new 4 11"] {
		t.Errorf("asked for %v", asked)
	}
}

func second(_ uint32, err error) error { return err }

// What the keeper was asked for when it died may have happened: its successor's
// records say.
func TestWhatWasAskedOfADeadKeeperIsHandedOverToo(t *testing.T) {
	lost := make(chan error, 1)
	l, f := open(t, Handler{Lost: func(err error) { lost <- err }})
	if _, err := l.Spawn(&SpawnArgs{Name: "new", Run: 4, CgroupFD: -1, Program: []byte("x"), Hold: []Hold{{1, 0}}}); err != nil {
		t.Fatal(err)
	}
	l.custody.mu.Lock()
	l.handler.Held = func(string, uint64, uint32) int { fd, _ := unix.Dup(0); return fd }
	l.custody.mu.Unlock()
	unix.Close(f.sock)
	after(t, lost)
	f.sock = -1
	if !l.Gone() {
		t.Error("the link is not gone")
	}
	sock, h := heir(t)
	parts := make(chan []string, 1)
	go func() {
		parts <- h.legacy()
		h.say(wire.Bare(nil, wire.TypeOK, 0))
	}()
	if err := l.HandOver(sock, Estate{Listener: -1, Lock: -1, Lease: -1}); err != nil {
		t.Fatal(err)
	}
	if got := after(t, parts); !slices.Contains(got, "held new 4 1") {
		t.Errorf("handed over: %q", got)
	}
}

func TestAHandOverThatIsNotTakenFails(t *testing.T) {
	l, _ := open(t, Handler{})
	for what, answer := range map[string]func(*fake){
		"ended":   func(f *fake) { unix.Close(f.sock); f.sock = -1 },
		"answers": func(f *fake) { f.legacy(); f.say(wire.Bare(nil, wire.TypePing, 0)) },
		"noise":   func(f *fake) { f.legacy(); f.say([]byte("noise")) },
	} {
		sock, h := heir(t)
		done := make(chan struct{})
		go func() { defer close(done); answer(h) }()
		if err := l.HandOver(sock, Estate{Listener: -1, Lock: -1, Lease: -1}); err == nil {
			t.Errorf("%s: no error", what)
		}
		<-done
	}
}

func TestASuccessorIsToldOnceWhereToInherit(t *testing.T) {
	s := Successor{Argv: strings.Fields("keeper --run /r --inherit-fd 3 --nofile 1:2 --mode up -- engine --inherit-fd 9"), Nofile: [2]uint64{5, 6}}
	const plain = "keeper --run /r --mode up"
	for inherit, want := range map[bool]string{
		true:  plain + " --inherit-fd 3 --nofile 5:6 -- engine --inherit-fd 9",
		false: plain + " --nofile 5:6 -- engine --inherit-fd 9",
	} {
		if got := strings.Join(s.argv(inherit), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
