//go:build linux

package sockets

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/notify"
)

const nobody = 65534

// heard collects what the sockets tell.
type heard struct{ told chan Key }

func (h *heard) tell(name string, run uint64) { h.told <- Key{name, run} }

// opened makes a run directory that everybody can reach.
func opened(t *testing.T) (*Sockets, *heard) {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := &heard{make(chan Key, 100)}
	return New(dir, h.tell), h
}

func open(t *testing.T, s *Sockets, name string, run uint64, uid int, hidden bool) string {
	t.Helper()
	address, err := s.Open(name, run, uid, uid, hidden)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(name, run) })
	return address
}

func send(t *testing.T, address, text string, fds ...int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(fd, []byte(text), rights, &unix.SockaddrUnix{Name: address}, 0); err != nil {
		t.Fatal(err)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAMessageStaysUntilItsReaderIsDone(t *testing.T) {
	s, h := opened(t)
	address := open(t, s, "web", 7, os.Geteuid(), false)
	if err := s.Again("web", 7); err != nil {
		t.Fatal(err)
	}
	send(t, address, "READY=1")
	send(t, address, "STATUS=x")
	if key := <-h.told; key != (Key{"web", 7}) {
		t.Errorf("told of %+v", key)
	}
	for range 3 {
		d, waits := s.Next("web", 7)
		if !waits || string(d.Data) != "READY=1" || d.Pid != os.Getpid() || d.UID != os.Geteuid() || d.Cut {
			t.Fatalf("%q %+v %t", d.Data, d, waits)
		}
	}
	// Another process takes the socket over, with what waits in it.
	fd := s.Copy("web", 7)
	other := New(filepath.Dir(s.dir), h.tell)
	if err := other.Adopt("web", 7, fd); err != nil {
		t.Fatal(err)
	}
	if err := other.Again("web", 7); err != nil {
		t.Fatal(err)
	}
	<-h.told
	other.Done("web", 7)
	if d, _ := other.Next("web", 7); string(d.Data) != "STATUS=x" {
		t.Errorf("then %q", d.Data)
	}
	other.Done("web", 7)
	if d, waits := other.Next("web", 7); waits {
		t.Errorf("and then %q", d.Data)
	}
	// Its name goes with it.
	other.Close("web", 7)
	if _, err := os.Stat(address); !os.IsNotExist(err) {
		t.Errorf("its name is there still: %v", err)
	}
}

func TestOnlyItsUserReachesASocketByItsName(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root")
	}
	s, _ := opened(t)
	address := open(t, s, "web", 1, nobody, false)
	var st unix.Stat_t
	if err := unix.Lstat(address, &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != nobody || st.Mode&0o777 != 0o600 {
		t.Errorf("uid %d, mode %o", st.Uid, st.Mode)
	}
	if info, err := os.Stat(s.dir); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

func TestAProgramThatCannotReachANameGetsAnAbstractOne(t *testing.T) {
	s, _ := opened(t)
	seen := map[string]bool{}
	abstract := func(why, address string) {
		t.Helper()
		if !strings.HasPrefix(address, "@abide/") || seen[address] {
			t.Errorf("%s: %q", why, address)
		}
		seen[address] = true
		send(t, address, "READY=1")
	}
	abstract("hidden", open(t, s, "hidden", 1, os.Geteuid(), true))
	if err := os.Chmod(filepath.Dir(s.dir), 0o700); err != nil {
		t.Fatal(err)
	}
	abstract("behind a closed folder", open(t, s, "closed", 1, nobody, false))
	if address := open(t, s, "root", 1, 0, false); !strings.HasPrefix(address, s.dir) {
		t.Errorf("root's is %q", address)
	}
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 80))
	if err := os.Mkdir(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	abstract("too deep", open(t, New(deep, nil), "web", 1, os.Geteuid(), false))
}

func TestALongNameIsShortened(t *testing.T) {
	s, _ := opened(t)
	seen := map[string]bool{}
	for _, name := range []string{strings.Repeat("n", 128), strings.Repeat("n", 127) + "m", "web", "web/roll"} {
		address := open(t, s, name, 1<<63, os.Geteuid(), false)
		if !strings.HasPrefix(address, s.dir) || len(address) > longestPath || seen[address] {
			t.Errorf("%.20s...: %q", name, address)
		}
		seen[address] = true
		send(t, address, "READY=1")
		if d, _ := s.Next(name, 1<<63); string(d.Data) != "READY=1" {
			t.Errorf("%.20s...: %q", name, d.Data)
		}
	}
}

func TestWhatComesWithAMessageIsClosed(t *testing.T) {
	s, _ := opened(t)
	address := open(t, s, "web", 1, os.Geteuid(), false)
	// The pipe of a barrier: its other end hears when the last copy is closed.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := openFDs(t)
	send(t, address, "BARRIER=1", int(w.Fd()))
	w.Close()
	for range 2 {
		if d, _ := s.Next("web", 1); len(d.FDs) != 1 {
			t.Fatalf("%d descriptors", len(d.FDs))
		}
	}
	if HungUp(int(r.Fd())) {
		t.Error("the barrier is passed before its message is dealt with")
	}
	s.Done("web", 1)
	if !HungUp(int(r.Fd())) {
		t.Error("the barrier is not passed")
	}
	send(t, address, "FDSTORE=1", int(r.Fd()), int(r.Fd()))
	_, _ = s.Next("web", 1)
	s.Close("web", 1)
	if after := openFDs(t); after >= before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

func TestWhatDoesNotFitIsSaidToBeCut(t *testing.T) {
	s, _ := opened(t)
	address := open(t, s, "web", 1, os.Geteuid(), false)
	send(t, address, "STATUS="+strings.Repeat("x", notify.MaxDatagram))
	if d, _ := s.Next("web", 1); !d.Cut {
		t.Errorf("%d bytes are not said to be cut", len(d.Data))
	}
	s.Done("web", 1)
	send(t, address, "STATUS="+strings.Repeat("x", notify.MaxDatagram-len("STATUS=")))
	if d, _ := s.Next("web", 1); d.Cut || len(d.Data) != notify.MaxDatagram {
		t.Errorf("%d bytes, cut %t", len(d.Data), d.Cut)
	}
	s.Done("web", 1)
	// As many descriptors as the kernel lets come.
	list := make([]int, 253)
	for i := range list {
		list[i] = int(os.Stdout.Fd())
	}
	send(t, address, "FDSTORE=1", list...)
	d, _ := s.Next("web", 1)
	if d.Cut || len(d.FDs) != len(list) {
		t.Errorf("%d descriptors, cut %t", len(d.FDs), d.Cut)
	}
	s.Done("web", 1)
	// Without room for descriptors here, what came is not all.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	send(t, address, "FDSTORE=1", list...)
	small := limit
	small.Cur = uint64(openFDs(t) + 20)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &small); err != nil {
		t.Fatal(err)
	}
	d, _ = s.Next("web", 1)
	s.Done("web", 1)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !d.Cut {
		t.Errorf("%d descriptors are not said to be cut", len(d.FDs))
	}
}

func TestNamesThatNobodyReadsAreSweptAway(t *testing.T) {
	s, _ := opened(t)
	for run := uint64(1); run <= 3; run++ {
		open(t, s, "web", run, os.Geteuid(), false)
	}
	other := New(filepath.Dir(s.dir), nil)
	mine := open(t, other, "mine", 1, os.Geteuid(), false)
	if err := other.Keep("web", []byte("what it said")); err != nil {
		t.Fatal(err)
	}
	other.Sweep(func(name string, run uint64) bool { return name == "web" && run == 3 })
	left, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint([]string{mine, filepath.Join(s.dir, "web.3"), filepath.Join(s.dir, "web.state")})
	if fmt.Sprint(left) != want {
		t.Errorf("left are %v, want %v", left, want)
	}
}

func TestWhatIsKeptIsReadAgain(t *testing.T) {
	s, _ := opened(t)
	if blob, err := s.Kept("web/roll"); blob != nil || err != nil {
		t.Errorf("before: %q, %v", blob, err)
	}
	if err := s.Keep("web/roll", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep("web/roll", []byte("two")); err != nil {
		t.Fatal(err)
	}
	if blob, err := s.Kept("web/roll"); string(blob) != "two" || err != nil {
		t.Errorf("after: %q, %v", blob, err)
	}
	if err := s.Keep("web/roll", nil); err != nil {
		t.Fatal(err)
	}
	if blob, _ := s.Kept("web/roll"); blob != nil {
		t.Errorf("removed: %q", blob)
	}
	// The run directory may be wiped.
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep("web", []byte("again")); err != nil {
		t.Error(err)
	}
	open(t, s, "web", 1, os.Geteuid(), false)
}

func TestDescriptorsAreComparedByTheirFile(t *testing.T) {
	a, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(a)
	b, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(b)
	again, err := unix.Dup(a)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	if !Same(a, again) || Same(a, b) {
		t.Errorf("a copy is the same: %t, another file of the same inode: %t", Same(a, again), Same(a, b))
	}
}

// Many senders, one reader: what is told is enough to hear everything.
func TestEverythingIsHeardOnce(t *testing.T) {
	s, h := opened(t)
	const runs, each = 20, 50
	var senders sync.WaitGroup
	for run := uint64(1); run <= runs; run++ {
		address := open(t, s, "web", run, os.Geteuid(), false)
		if err := s.Again("web", run); err != nil {
			t.Fatal(err)
		}
		senders.Go(func() {
			c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for i := range each {
				if _, err := fmt.Fprintf(c, "STATUS=%d", i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := map[uint64]int{}
	for total := 0; total < runs*each; {
		key := <-h.told
		for range 3 {
			d, waits := s.Next(key.Name, key.Run)
			if !waits {
				break
			}
			if want := fmt.Sprintf("STATUS=%d", got[key.Run]); string(d.Data) != want {
				t.Fatalf("run %d says %q, not %q", key.Run, d.Data, want)
			}
			got[key.Run]++
			total++
			s.Done(key.Name, key.Run)
		}
		if err := s.Again(key.Name, key.Run); err != nil {
			t.Fatal(err)
		}
	}
	senders.Wait()
}
