//go:build linux

package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/prog"
)

func TestHeldDescriptorsSurviveTheEngine(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	p := make([]int, 2)
	if err := unix.Pipe2(p, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	_, no := e.ask(link.SpawnArgs{
		Name: "web", Run: 1, CgroupFD: -1, Program: r.program("web", "/bin/sleep", "1000"),
		Hold: []link.Hold{{Tag: 1, FD: p[0]}, {Tag: 2, FD: p[1]}},
	})
	if no != nil {
		t.Fatalf("refused: %+v", no)
	}
	if _, err := unix.Write(p[1], []byte("kept")); err != nil {
		t.Fatal(err)
	}
	unix.Close(p[0])
	unix.Close(p[1])
	e.kill()

	e = r.connected()
	if rec, _ := e.record("web"); len(rec.Held) != 2 {
		t.Fatalf("held %v", rec.Held)
	}
	fd, err := e.Take("web", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b := make([]byte, 10)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "kept" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	must(e.Drop("web", 1, 2))
	if c := e.sync(); c.Held != 1 {
		t.Errorf("%d held", c.Held)
	}
	// The last writer is gone with the drop: the pipe ends.
	if n, err := unix.Read(fd, b); n != 0 || err != nil {
		t.Errorf("read %d, %v: the write end is still open", n, err)
	}
	if _, err := e.Take("web", 1, 2); err == nil || !strings.Contains(err.Error(), "no such descriptor") {
		t.Errorf("take of a dropped descriptor: %v", err)
	}
	must(e.Drop("web", 1, 2))
	if err := next(e, e.failed); err.Code != wire.CodeNotHeld {
		t.Errorf("drop twice: %v", err)
	}
	must(e.Drop("web", 1, wire.AllTags))
	must(e.Drop("web", 1, wire.AllTags))
	if c := e.sync(); c.Held != 0 {
		t.Errorf("%d held", c.Held)
	}
	e.noFailure()
}

func TestHoldsAreBoundedAndTagsUnique(t *testing.T) {
	e := startRig(t).connected()
	null := must(os.Open("/dev/null"))
	defer null.Close()
	for tag := range uint32(wire.MaxHeld) {
		must(e.Keep("web", 0, tag, int(null.Fd())))
	}
	e.sync()
	e.noFailure()
	must(e.Keep("web", 0, wire.MaxHeld, int(null.Fd())))
	if err := next(e, e.failed); err.Code != wire.CodeHeld {
		t.Errorf("one too many: %v", err)
	}
	must(e.Drop("web", 0, 5))
	must(e.Keep("web", 0, 6, int(null.Fd())))
	if err := next(e, e.failed); err.Code != wire.CodeHeld {
		t.Errorf("the same tag twice: %v", err)
	}
	must(e.Forget("web"))
	if c := e.sync(); c.Held != 0 {
		t.Errorf("%d held after forget", c.Held)
	}
}

func TestDescriptorsArePassedIntoTheSlots(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	b := prog.NewBuilder(prog.NativeArch)
	b.SetSlots(1)
	b.Pseudo(prog.OpRecord)
	b.Pseudo(prog.OpDefSig)
	b.Call(prog.Fcntl, prog.Int(3), prog.Int(prog.FSetFD), prog.Int(0))
	args := b.Texts([]string{"/bin/sh", "-c", "echo passed >&3"})
	b.Call(prog.Execve, prog.At(b.Text("/bin/sh")), prog.At(args), prog.At(b.Texts([]string{r.mark("web")})))
	block := must(b.Bytes())
	path := filepath.Join(r.dir, "out")
	out := must(os.Create(path))
	defer out.Close()

	_, no := e.ask(link.SpawnArgs{Name: "web", Run: 1, CgroupFD: -1, Program: block})
	if no == nil || no.Code != wire.CodeDescriptors {
		t.Errorf("without the descriptor: %+v", no)
	}
	if _, no = e.ask(link.SpawnArgs{Name: "web", Run: 1, CgroupFD: -1, Program: block, Pass: []int{int(out.Fd())}}); no != nil {
		t.Fatalf("refused: %+v", no)
	}
	if x := next(e, e.exited); x.Status != 0 {
		t.Errorf("exit %+v", x)
	}
	if text := string(must(os.ReadFile(path))); text != "passed\n" {
		t.Errorf("the file holds %q", text)
	}
}

func TestSignalsWaitForAnEngineThatHandlesThem(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	keeper := r.keeper.Process.Pid
	for i := 1; i <= 2; i++ {
		if err := syscall.Kill(keeper, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for {
			s := next(e, e.signaled)
			if s.Signo != int(syscall.SIGTERM) {
				t.Fatalf("signal %+v", s)
			}
			if s.Count == uint32(i) {
				break
			}
		}
	}
	realtime := syscall.Signal(34 + 5)
	_ = syscall.Kill(keeper, realtime)
	if s := next(e, e.signaled); s.Signo != int(realtime) {
		t.Errorf("signal %+v", s)
	}
	must(e.Handled(int(realtime), 1))
	must(e.Handled(int(syscall.SIGTERM), 1))
	e.sync()
	e.kill()

	e = r.connected()
	if s := next(e, e.signaled); s.Signo != int(syscall.SIGTERM) || s.Count != 2 {
		t.Errorf("the next engine is told %+v", s)
	}
	must(e.Handled(int(syscall.SIGTERM), 2))
	e.sync()
	e.kill()

	e = r.connected()
	_ = syscall.Kill(keeper, syscall.SIGHUP)
	if s := next(e, e.signaled); s.Signo != int(syscall.SIGHUP) {
		t.Errorf("a handled signal is told again: %+v", s)
	}
}

func TestAnEngineThatDoesNotAnswerIsReplaced(t *testing.T) {
	r := newRig(t)
	r.env = []string{"ABIDE_TEST_PATIENCE=100"}
	r.start()
	e := r.connected()
	e.up("web", 1, 0, "/bin/true")
	next(e, e.exited)
	// The link answers for this engine: it stays, however long.
	e.sync()
	e.kill()

	silent := r.nextEngine()
	hello := wire.Hello{Version: wire.Version}
	list := wire.List{}
	send(t, silent.fd, hello.Append(nil, 1))
	send(t, silent.fd, list.Append(nil, 2))
	_ = syscall.Kill(r.keeper.Process.Pid, syscall.SIGHUP) // news that it never reads
	until(t, "the silent engine is ended", func() bool { return dead(silent.pid) })
	if !strings.Contains(r.stderr.String(), "does not answer") {
		t.Errorf("stderr %q", r.stderr)
	}
	unix.Close(silent.fd)
	e = r.connected()
	if rec, _ := e.record("web"); rec.Phase != wire.Ended {
		t.Errorf("web is %+v", rec)
	}
	if s := next(e, e.signaled); s.Signo != int(syscall.SIGHUP) {
		t.Errorf("signal %+v", s)
	}
}

func TestAnEngineThatHangsUpAndLivesOnIsReplaced(t *testing.T) {
	r := newRig(t)
	r.env = []string{"ABIDE_TEST_PATIENCE=100"}
	r.start()
	e := r.connected()
	e.Link.Close()
	r.connected().sync()
	if !dead(e.pid) {
		t.Error("the first engine lives")
	}
}

func send(t *testing.T, sock int, msg []byte, fds ...int) {
	t.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(sock, msg, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			poll := []unix.PollFd{{Fd: int32(sock), Events: unix.POLLOUT}}
			_, _ = unix.Poll(poll, 1000)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}
