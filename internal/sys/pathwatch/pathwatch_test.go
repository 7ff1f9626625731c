//go:build linux

package pathwatch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shop is a folder with a Watcher over it.
type shop struct {
	t    *testing.T
	dir  string
	w    *Watcher
	told chan struct{}
}

func newShop(t *testing.T, opt Options) *shop {
	t.Helper()
	s := &shop{t: t, dir: t.TempDir(), told: make(chan struct{}, 10000)}
	s.w = New(opt)
	t.Cleanup(s.w.Close)
	return s
}

func (s *shop) path(name string) string { return filepath.Join(s.dir, name) }

func (s *shop) watch(name string) func() {
	s.t.Helper()
	cancel, err := s.w.Watch(s.path(name), func() { s.told <- struct{}{} })
	if err != nil {
		s.t.Fatal(err)
	}
	return cancel
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) write(name string) {
	s.t.Helper()
	s.must(os.WriteFile(s.path(name), []byte("x"), 0o644))
}
func (s *shop) mkdir(name string) { s.t.Helper(); s.must(os.MkdirAll(s.path(name), 0o755)) }
func (s *shop) remove(name string) {
	s.t.Helper()
	s.must(os.RemoveAll(s.path(name)))
}
func (s *shop) move(from, to string) {
	s.t.Helper()
	s.must(os.Rename(s.path(from), s.path(to)))
}
func (s *shop) link(to, name string) { s.t.Helper(); s.must(os.Symlink(to, s.path(name))) }

// expect waits until somebody was told, after what was done. The fence is another
// watch: when it has been told, everything before it has been.
func (s *shop) expect(told bool, what string) {
	s.t.Helper()
	if got := s.settle() > 0; got != told {
		s.t.Errorf("%s: told is %t, want %t", what, got, told)
	}
}

// settle counts who was told of all that has happened. Those that are told of the
// same events are told in any order, so a second fence stands behind the first.
func (s *shop) settle() (n int) {
	s.t.Helper()
	s.fence()
	s.fence()
	for {
		select {
		case <-s.told:
			n++
		default:
			return n
		}
	}
}

// fence returns when somebody was told of something that happens now.
func (s *shop) fence() {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "fence")
	done := make(chan struct{}, 100)
	cancel, err := s.w.Watch(path, func() { done <- struct{}{} })
	if err != nil {
		s.t.Fatal(err)
	}
	defer cancel()
	s.must(os.WriteFile(path, nil, 0o600))
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		s.t.Fatal("the watcher does not come to rest")
	}
}

// marks are the folders and files that the kernel is asked about.
func (s *shop) marks() []string {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	var list []string
	for _, m := range s.w.marks {
		list = append(list, fmt.Sprintf("%s %x", m.path, m.mask))
	}
	slices.Sort(list)
	return list
}

func TestAPathIsToldWhenItAppearsChangesAndVanishes(t *testing.T) {
	s := newShop(t, Options{})
	s.watch("ready")
	s.expect(false, "at first")
	s.write("other")
	s.expect(false, "another file")
	s.write("ready")
	s.expect(true, "it appears")
	now := time.Now()
	s.must(os.Chtimes(s.path("ready"), now, now))
	s.expect(true, "it is touched")
	s.write("ready")
	s.expect(true, "it is written")
	s.move("other", "ready")
	s.expect(true, "another is renamed over it")
	f, err := os.OpenFile(s.path("ready"), os.O_WRONLY|os.O_APPEND, 0)
	s.must(err)
	s.must(errOf(f.WriteString("more")))
	s.expect(true, "it is written and stays open")
	f.Close()
	s.settle()
	_, err = os.ReadFile(s.path("ready"))
	s.must(err)
	s.expect(false, "it is read")
	s.move("ready", "gone")
	s.expect(true, "it is renamed away")
	s.move("gone", "ready")
	s.expect(true, "it comes back")
	s.remove("ready")
	s.expect(true, "it vanishes")
}

func errOf(_ int, err error) error { return err }

func TestWhatIsNotThereYetIsWaitedForFromTheFolderThatIs(t *testing.T) {
	s := newShop(t, Options{})
	s.watch("a/b/c/ready")
	s.expect(false, "at first")
	s.mkdir("a")
	s.mkdir("a/b/c")
	s.settle()
	s.write("a/b/c/ready")
	s.expect(true, "it appears")
	s.remove("a")
	s.expect(true, "all of it is removed")
	s.mkdir("a/b/c")
	s.write("a/b/c/ready")
	s.expect(true, "all of it is made again")
	s.move("a/b", "elsewhere")
	s.expect(true, "a folder on the way is renamed")
	s.mkdir("a/b/c")
	s.write("a/b/c/ready")
	s.expect(true, "there is another folder of its name")
	s.write("elsewhere/c/ready")
	s.expect(false, "the old one is nobody's")
}

func TestAWholeTreeThatIsMovedIntoPlaceIsSeen(t *testing.T) {
	s := newShop(t, Options{})
	s.watch("a/b/ready")
	s.mkdir("new/b")
	s.write("new/b/ready")
	s.settle()
	s.move("new", "a")
	s.expect(true, "it appears with its folders")
}

// A folder that somebody is in does not tell of its removal itself.
func TestAFolderThatIsInUseIsSeenToBeReplaced(t *testing.T) {
	s := newShop(t, Options{})
	s.mkdir("a/b")
	s.write("a/b/ready")
	s.watch("a/b/ready")
	held, err := os.Open(s.path("a/b"))
	s.must(err)
	defer held.Close()
	s.remove("a")
	s.expect(true, "it is removed")
	s.mkdir("a/b")
	s.write("a/b/ready")
	s.expect(true, "it is there again")
}

func TestLinksOnTheWayAreFollowed(t *testing.T) {
	s := newShop(t, Options{})
	s.mkdir("one")
	s.mkdir("two")
	s.write("two/ready")
	s.link("one", "current")
	s.link(s.path("current"), "abs")
	s.watch("abs/ready")
	s.expect(false, "at first")
	s.write("one/ready")
	s.expect(true, "it appears behind the links")
	s.link("two", "next")
	s.settle()
	s.move("next", "current")
	s.expect(true, "a link is renamed over")
	s.write("two/ready")
	s.expect(true, "it is written where the new link leads")
	s.write("one/ready")
	s.expect(false, "it is written where the old one led")
	s.remove("current")
	s.expect(true, "the link is removed")
	s.link("one", "current")
	s.expect(true, "the link is made again")
}

func TestALinkThatLeadsNowhereIsWaitedFor(t *testing.T) {
	s := newShop(t, Options{})
	s.link("later/x", "ready")
	s.link("loop", "loop")
	s.watch("ready")
	s.watch("loop")
	s.expect(false, "at first")
	s.mkdir("later")
	s.write("later/x")
	s.expect(true, "what it leads to appears")
	s.remove("loop")
	s.write("loop")
	s.expect(true, "a link to itself becomes a file")
}

func TestTwoWhoWatchOnePathAreBothToldAndOneStaysWhenTheOtherLeaves(t *testing.T) {
	s := newShop(t, Options{})
	first, second := s.watch("ready"), s.watch("ready")
	s.write("ready")
	if n := s.settle(); n < 2 {
		t.Errorf("told %d times, want both", n)
	}
	first()
	first() // twice is no harm
	s.write("ready")
	s.expect(true, "one is left")
	second()
	s.write("ready")
	s.expect(false, "nobody is left")
	if marks := s.marks(); len(marks) != 0 {
		t.Errorf("nobody watches, the kernel is asked for %v", marks)
	}
	if s.w.mounts != nil {
		t.Error("nobody watches, mounts are listened to")
	}
}

func TestAFolderAboveWhatIsThereTellsNoNames(t *testing.T) {
	s := newShop(t, Options{})
	s.watch("a/b/ready")
	s.mkdir("a/b")
	s.write("a/b/ready")
	s.settle()
	for _, m := range s.marks() {
		var name string
		var mask uint32
		if _, err := fmt.Sscanf(m, "%s %x", &name, &mask); err != nil {
			t.Fatal(err)
		}
		if name != s.path("a/b") && mask&ofNames != 0 {
			t.Errorf("%s tells names (%x) although the path is there", name, mask)
		}
	}
	s.remove("a/b")
	s.expect(true, "it vanishes")
	s.mkdir("a/b")
	s.write("a/b/ready")
	s.expect(true, "it appears again")
}

func TestAPatternIsToldOfEachMatch(t *testing.T) {
	s := newShop(t, Options{})
	s.mkdir("spool/a")
	cancel, err := s.w.WatchGlob(s.path("spool/*/job-?"), func() { s.told <- struct{}{} })
	s.must(err)
	s.expect(false, "at first")
	s.write("spool/a/job-1")
	s.expect(true, "a match")
	s.write("spool/a/job-22")
	s.expect(false, "no match")
	s.mkdir("spool/b")
	s.settle()
	s.write("spool/b/job-1")
	s.expect(true, "a match in a new folder")
	s.remove("spool/a")
	s.expect(true, "a match vanishes")
	cancel()
	if marks := s.marks(); len(marks) != 0 {
		t.Errorf("nobody watches, the kernel is asked for %v", marks)
	}
}

func TestAPatternBelowAMissingFolderIsWaitedFor(t *testing.T) {
	s := newShop(t, Options{})
	s.mkdir("x1/d")
	s.write("x1/d/f")
	_, err := s.w.WatchGlob(s.path("x*/d/f"), func() { s.told <- struct{}{} })
	s.must(err)
	s.mkdir("x2")
	s.settle()
	s.mkdir("x2/d")
	s.settle()
	s.write("x2/d/f")
	s.expect(true, "the second match")
}

func TestAQueueThatRanOverMakesEverybodyLookAgain(t *testing.T) {
	s := newShop(t, Options{})
	s.watch("a")
	s.watch("b/c")
	h := hits{}
	s.w.mu.Lock()
	s.w.event(-1, unix.IN_Q_OVERFLOW, "", h)
	fns, failures := s.w.lookAgain(h)
	s.w.mu.Unlock()
	if len(fns) != 2 || len(failures) != 0 {
		t.Errorf("%d are told and %v fails, want 2 and nothing", len(fns), failures)
	}
}

func TestAMountOverAPathIsSeen(t *testing.T) {
	s := newShop(t, Options{})
	s.mkdir("m")
	s.write("m/ready")
	s.watch("m/ready")
	s.settle()
	s.must(unix.Mount("none", s.path("m"), "tmpfs", 0, ""))
	defer unix.Unmount(s.path("m"), unix.MNT_DETACH)
	await(t, s.told, "the mount that hides it")
	s.settle()
	s.write("m/ready")
	s.expect(true, "it appears on the mount")
	s.must(unix.Unmount(s.path("m"), 0))
	await(t, s.told, "the end of the mount")
}

func await(t *testing.T, told chan struct{}, what string) {
	t.Helper()
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Fatalf("nobody was told of %s", what)
	}
}

func TestWhatCannotBeWatchedIsRefusedWithItsReason(t *testing.T) {
	s := newShop(t, Options{Local: func(p string) bool { return !strings.HasPrefix(p, "/net/") }})
	for _, c := range []struct{ path, want string }{
		{"/net/server/ready", "cannot watch /net/server/ready: it is not on a file system of this machine"},
		{"ready", `cannot watch "ready": it is not an absolute path`},
		{"/", `cannot watch "/": it is not an absolute path`},
		{"", `cannot watch "": it is not an absolute path`},
		{s.path(strings.Repeat("x", 300)), "file name too long"},
	} {
		if _, err := s.w.Watch(c.path, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
	if _, err := s.w.WatchGlob("/tmp/[", nil); err == nil || !strings.Contains(err.Error(), "cannot watch /tmp/[: syntax error in pattern") {
		t.Errorf("a broken pattern: %v", err)
	}
	if marks := s.marks(); len(marks) != 0 {
		t.Errorf("after refusals the kernel is asked for %v", marks)
	}
	s.w.Close()
	if _, err := s.w.Watch(s.path("x"), nil); err == nil {
		t.Error("a closed watcher watches")
	}
}

func TestTheNextWatcherTakesTheDescriptorOfTheLast(t *testing.T) {
	var kept int
	s := newShop(t, Options{Keep: func(fd int) { kept, _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3) }})
	s.mkdir("a")
	s.watch("a/ready")
	s.w.Close()
	next := &shop{t: t, dir: s.dir, told: s.told, w: New(Options{
		Take: func() (int, error) { return kept, nil },
		Keep: func(int) { t.Error("what was taken is kept twice") },
	})}
	defer next.w.Close()
	next.write("a/ready") // while nobody reads
	next.watch("a/new")
	next.expect(false, "what the last one watched")
	next.write("a/new")
	next.expect(true, "what it watches itself")
	refused := New(Options{Take: func() (int, error) { return -1, errors.New("there is none") }})
	defer refused.Close()
	if _, err := refused.Watch(s.path("x"), func() {}); err != nil {
		t.Error(err)
	}
}

func TestClosingTwiceAndBeforeAnythingIsNoHarm(t *testing.T) {
	w := New(Options{})
	w.Close()
	w.Close()
	s := newShop(t, Options{})
	cancel := s.watch("x")
	s.w.Close()
	cancel()
}
