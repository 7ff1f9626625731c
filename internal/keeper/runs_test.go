//go:build linux

package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
)

func TestWelcomeTellsWhoTheKeeperIs(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	w := e.welcome
	if w.KeeperPid != r.keeper.Process.Pid || w.EnginePid != e.pid || w.Engines != 1 {
		t.Errorf("welcome %+v, keeper %d, engine %d", w, r.keeper.Process.Pid, e.pid)
	}
	boot := strings.TrimSpace(string(must(os.ReadFile("/proc/sys/kernel/random/boot_id"))))
	id := strings.TrimSpace(string(must(os.ReadFile(r.run() + "/id"))))
	if w.BootID != boot || w.RunID != id || len(id) != 16 {
		t.Errorf("boot %q want %q, id %q want %q", w.BootID, boot, w.RunID, id)
	}
	if !w.Subreaper || w.PID1 || w.Machine || w.Adopted || w.RecordsSet || w.Unrecorded || w.Slots != maxSlots {
		t.Errorf("flags of %+v", w)
	}
	lock := string(must(os.ReadFile(r.run() + "/lock")))
	if !strings.HasPrefix(lock, fmt.Sprint(r.keeper.Process.Pid, " ")) {
		t.Errorf("lock file says %q", lock)
	}
}

func TestExitIsToldWithItsTrueStatus(t *testing.T) {
	e := startRig(t).connected()
	s := e.up("code", 1, 0, "/bin/sh", "-c", "exit 42")
	x := next(e, e.exited)
	if x.Name != "code" || x.Run != 1 || x.Pid != s.Pid || !x.Known || x.Status != 42<<8 || x.Adopted {
		t.Errorf("exit %+v of pid %d", x, s.Pid)
	}
	if x.MaxRSS <= 0 || x.Boot <= s.Began || x.Real.Year() < 2020 {
		t.Errorf("facts of exit %+v", x)
	}
	e.up("signal", 7, 0, "/bin/sh", "-c", "kill -KILL $$")
	if x := next(e, e.exited); x.Status != uint32(syscall.SIGKILL) || x.Run != 7 {
		t.Errorf("exit %+v", x)
	}
}

func TestRunNumbersOnlyRise(t *testing.T) {
	e := startRig(t).connected()
	refused := func(run, ack uint64, want wire.Code) {
		t.Helper()
		_, no := e.ask(link.SpawnArgs{Name: "web", Run: run, AckRun: ack, CgroupFD: -1, Program: e.rig.program("web", "/bin/sleep", "1000")})
		if no == nil || no.Code != want || no.Burned {
			t.Errorf("run %d after %d: %+v, want %v", run, ack, no, want)
		}
	}
	first := e.up("web", 5, 0, "/bin/sleep", "1000")
	refused(6, 0, wire.CodeLives)
	refused(6, 5, wire.CodeLives)
	must(e.Signal("web", 5, 9, wire.ToMain))
	if x := next(e, e.exited); x.Pid != first.Pid {
		t.Fatalf("exit %+v", x)
	}
	refused(6, 0, wire.CodeUnacknowledged)
	refused(6, 4, wire.CodeUnacknowledged)
	refused(5, 5, wire.CodeOlder) // acknowledges all the same
	refused(4, 5, wire.CodeOlder)
	e.up("web", 6, 0, "/bin/sleep", "1000")
	until(t, "one copy runs", func() bool { return len(e.rig.marked("web")) == 1 })
}

func TestAFailedOpIsToldAndUsesUpTheRun(t *testing.T) {
	e := startRig(t).connected()
	ask := func(run uint64, path string) *link.Refused {
		_, no := e.ask(link.SpawnArgs{Name: "web", Run: run, CgroupFD: -1, Program: e.rig.program("web", path)})
		return no
	}
	no := ask(1, "/no/such/program")
	if no == nil || no.Code != wire.CodeSystem || no.Op != 4 || no.Errno != int(syscall.ENOENT) || !no.Burned {
		t.Errorf("refused %+v", no)
	}
	if no := ask(1, "/bin/true"); no == nil || no.Code != wire.CodeOlder {
		t.Errorf("run 1 again: %+v", no)
	}
	if no := ask(2, "/bin/true"); no != nil {
		t.Errorf("run 2: %+v", no)
	}
}

func TestWrongProgramsAreRefusedBeforeTheRunBegins(t *testing.T) {
	e := startRig(t).connected()
	for name, block := range map[string][]byte{"empty": {}, "noise": []byte("not a program"), "cut": e.rig.program("x", "/bin/true")[:200]} {
		_, no := e.ask(link.SpawnArgs{Name: "web", Run: 1, CgroupFD: -1, Program: block})
		if no == nil || no.Code != wire.CodeProgram || no.Burned {
			t.Errorf("%s: %+v", name, no)
		}
	}
	e.up("web", 1, 0, "/bin/true")
}

func TestSignalsReachWhomTheyAreFor(t *testing.T) {
	e := startRig(t).connected()
	s := e.up("tree", 1, 0, "/bin/sh", "-c", "sleep 1000 & wait")
	until(t, "the child runs", func() bool { return len(e.rig.marked("tree")) == 2 })
	must(e.Signal("tree", 1, int(syscall.SIGTERM), wire.ToGroup))
	if x := next(e, e.exited); x.Pid != s.Pid || x.Status != uint32(syscall.SIGTERM) {
		t.Errorf("exit %+v", x)
	}
	until(t, "the whole group has ended", func() bool { return len(e.rig.marked("tree")) == 0 })

	must(e.Signal("tree", 1, 9, wire.ToMain))
	if err := next(e, e.failed); err.Code != wire.CodeNotLive {
		t.Errorf("signal to an ended run: %v", err)
	}
	must(e.Signal("nobody", 1, 9, wire.ToMain))
	if err := next(e, e.failed); err.Code != wire.CodeUnknown {
		t.Errorf("signal to nobody: %v", err)
	}
	e.up("tree", 2, 1, "/bin/sleep", "1000")
	must(e.Signal("tree", 1, 9, wire.ToMain))
	if err := next(e, e.failed); err.Code != wire.CodeNotLive {
		t.Errorf("signal to an older run: %v", err)
	}
	must(e.Signal("tree", 2, 65, wire.ToMain))
	if err := next(e, e.failed); err.Code != wire.CodeSignal {
		t.Errorf("signal 65: %v", err)
	}
	must(e.Signal("tree", 2, int(syscall.SIGHUP), wire.ToSession))
	if x := next(e, e.exited); x.Status != uint32(syscall.SIGHUP) {
		t.Errorf("exit %+v", x)
	}
}

// An engine that was killed cannot know whether its last signal was sent. The next
// one asks again.
func TestASignalIsSentOnceHoweverOftenItIsAskedFor(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	out := filepath.Join(t.TempDir(), "caught")
	e.up("web", 1, 0, "/bin/sh", "-c", "trap 'echo caught >>"+out+"' HUP; echo ready >>"+out+"; while :; do sleep 0.01; done")
	caught := func(want string) {
		t.Helper()
		until(t, "the program has written "+want, func() bool { data, _ := os.ReadFile(out); return string(data) == want })
	}
	hup := int(syscall.SIGHUP)
	caught("ready\n")
	must(e.SignalOnce("web", 1, hup, wire.ToMain, 7))
	caught("ready\ncaught\n")
	must(e.SignalOnce("web", 1, hup, wire.ToMain, 7))
	e.sync()
	e.kill()
	e = r.connected()
	must(e.SignalOnce("web", 1, hup, wire.ToMain, 7))
	must(e.SignalOnce("web", 1, hup, wire.ToMain, 8))
	caught("ready\ncaught\ncaught\n")
	// A stop step of the engine's own and a request do not displace each other.
	const own = 1<<63 | 1
	must(e.SignalOnce("web", 1, hup, wire.ToMain, own))
	caught("ready\ncaught\ncaught\ncaught\n")
	must(e.SignalOnce("web", 1, hup, wire.ToMain, 8))
	must(e.SignalOnce("web", 1, hup, wire.ToMain, own))
	e.sync()
	caught("ready\ncaught\ncaught\ncaught\n")
	must(e.SignalOnce("web", 2, hup, wire.ToMain, 9))
	if err := next(e, e.failed); err.Code != wire.CodeNotLive {
		t.Errorf("signal to a run that is not there: %v", err)
	}
	must(e.SignalOnce("web", 1, hup, wire.ToMain, 0))
	if err := next(e, e.failed); err.Code != wire.CodeBody {
		t.Errorf("signal without a name: %v", err)
	}
	must(e.Signal("web", 1, 9, wire.ToMain))
	next(e, e.exited)
	must(e.SignalOnce("web", 1, hup, wire.ToMain, 8))
	e.sync()
	select {
	case err := <-e.failed:
		t.Errorf("the repeat of a signal that was sent: %v", err)
	default:
	}
	caught("ready\ncaught\ncaught\ncaught\n")
}

func TestForgetFreesTheSlotOnlyWhenNothingIsLeft(t *testing.T) {
	e := startRig(t).connected()
	e.up("web", 3, 0, "/bin/sleep", "1000")
	must(e.Forget("web"))
	if err := next(e, e.failed); err.Code != wire.CodeLives {
		t.Errorf("forget a live service: %v", err)
	}
	must(e.Signal("web", 3, 9, wire.ToMain))
	next(e, e.exited)
	must(e.Forget("web"))
	if err := next(e, e.failed); err.Code != wire.CodeUnacknowledged {
		t.Errorf("forget an unacknowledged exit: %v", err)
	}
	must(e.Ack("web", 3))
	must(e.Forget("web"))
	e.sync()
	e.noFailure()
	must(e.Forget("web"))
	if err := next(e, e.failed); err.Code != wire.CodeUnknown {
		t.Errorf("forget twice: %v", err)
	}
	e.up("web", 1, 0, "/bin/true") // a new slot counts from the start
}

func TestAServiceInheritsThreeDescriptorsOnly(t *testing.T) {
	e := startRig(t).connected()
	s := e.up("web", 1, 0, "/bin/sleep", "1000")
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range entries {
		names = append(names, f.Name())
	}
	if got := strings.Join(names, " "); got != "0 1 2" {
		t.Errorf("descriptors %s", got)
	}
}

func TestServicesAreToldTheLimitsWeWereGiven(t *testing.T) {
	r := newRig(t)
	r.wrap = []string{"prlimit", "--nofile=3000:9000"}
	r.start()
	if w := r.connected().welcome; w.NofileSoft != 3000 || w.NofileHard != 9000 {
		t.Errorf("limits %d:%d", w.NofileSoft, w.NofileHard)
	}
}
