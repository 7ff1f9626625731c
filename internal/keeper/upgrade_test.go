//go:build linux

package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// another writes a program that is this test's keeper under another name. first is
// shell that runs before it.
func (r *rig) another(name, first string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	text := fmt.Sprintf("#!/bin/sh\n%s\n%s=keeper exec %s \"$@\"\n", first, roleVar, must(os.Executable()))
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// change asks for an upgrade to a keeper and an engine; "" stands for the present
// engine.
func (e *engine) change(keeper, engine string) wire.Upgraded {
	e.rig.t.Helper()
	self := must(os.Executable())
	if engine == "" {
		engine = self
	}
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		e.rig.t.Fatal(err)
	}
	defer program.Close()
	up, err := e.Upgrade(keeper, engine, "", int(program.Fd()))
	if err != nil {
		e.rig.t.Fatalf("%v; stderr:\n%s", err, e.rig.stderr)
	}
	return up
}

func TestUpgradeChangesTheKeeperAndNothingElse(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	keeper := e.welcome.KeeperPid
	var pids []int
	for i := range 5 {
		pids = append(pids, e.up(fmt.Sprint("s", i), 3, 0, "/bin/sleep", "100000").Pid)
	}
	pipe := [2]int{}
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	if _, err := e.Keep("s1", 3, 7, pipe[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Keep("idle", 0, 9, pipe[0]); err != nil {
		t.Fatal(err)
	}
	e.up("ended", 1, 0, "/bin/sh", "-c", "exit 7")
	if x := next(e, e.exited); x.Status != 7<<8 {
		t.Fatalf("%+v", x)
	}
	_ = syscall.Kill(keeper, syscall.SIGUSR1)
	if s := next(e, e.signaled); s.Signo != int(syscall.SIGUSR1) || s.Count != 1 {
		t.Fatalf("%+v", s)
	}
	e.sync()
	held := 0
	for round := range 5 {
		if up := e.change(r.another("next", ""), ""); up.Result != wire.UpgradeDone {
			t.Fatalf("%+v; stderr:\n%s", up, r.stderr)
		}
		if up, err := e.InCharge(); err != nil || up.Result != wire.UpgradeNone {
			t.Fatalf("the engine that asked is in charge: %+v, %v", up, err)
		}
		if up := e.change(r.another("next", ""), ""); up.Result != wire.UpgradeBusy {
			t.Fatalf("an upgrade within an upgrade: %+v", up)
		}
		// The engine that asked lived on; another takes its place.
		old := e
		old.kill()
		e = r.connected()
		if !e.welcome.OnTrial || e.welcome.KeeperPid != keeper {
			t.Fatalf("round %d: %+v; stderr:\n%s", round, e.welcome, r.stderr)
		}
		if up, err := e.InCharge(); err != nil || up.Result != wire.UpgradeDone {
			t.Fatalf("%+v, %v", up, err)
		}
		for i, pid := range pids {
			rec, ok := e.record(fmt.Sprint("s", i))
			if !ok || rec.Pid != pid || rec.Phase != wire.Live || rec.Run != 3 {
				t.Fatalf("round %d: %+v", round, rec)
			}
		}
		if rec, _ := e.record("ended"); rec.Phase != wire.Ended || rec.Exit.Status != 7<<8 {
			t.Fatalf("round %d: %+v", round, rec)
		}
		if s := next(e, e.signaled); s.Signo != int(syscall.SIGUSR1) || s.Count != 1 {
			t.Fatalf("round %d: %+v", round, s)
		}
		if round == 0 {
			held = openFiles(t, keeper)
		}
	}
	if now := openFiles(t, keeper); now != held {
		t.Errorf("the keeper has %d descriptors open, after the first upgrade it were %d", now, held)
	}
	for _, h := range []wire.Held{{Name: []byte("s1"), Run: 3, Tag: 7}, {Name: []byte("idle"), Tag: 9}} {
		fd, err := e.Take(string(h.Name), h.Run, h.Tag)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	// The ends of the runs are known as exactly as ever.
	for i, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGUSR2)
		if x := next(e, e.exited); !x.Known || x.Status != uint32(syscall.SIGUSR2) || x.Adopted || x.Name != fmt.Sprint("s", i) {
			t.Errorf("%+v", x)
		}
		until(t, "reaped", func() bool { _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); return err != nil })
	}
	e.up("s0", 4, 3, "/bin/sleep", "100000")
	if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", keeper)); strings.Contains(string(line), "baton") || strings.Contains(string(line), "prove") {
		t.Errorf("the command line is %q", line)
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAKeeperThatDoesNotProveItselfIsNotExecuted(t *testing.T) {
	r := newRig(t)
	r.env = []string{"ABIDE_TEST_PROOF=400"}
	r.start()
	e := r.connected()
	s := e.up("web", 1, 0, "/bin/sleep", "100000")
	truncated := filepath.Join(r.dir, "truncated")
	program := must(os.ReadFile(must(os.Executable())))
	if err := os.WriteFile(truncated, program[:64<<10], 0o755); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		keeper string
		want   wire.UpgradeResult
	}{
		"says nothing":   {r.another("mute", "exit 0"), wire.UpgradeDiffers},
		"fails":          {r.another("fails", "exit 3"), wire.UpgradeUnproven},
		"is killed":      {r.another("killed", "kill -9 $$"), wire.UpgradeUnproven},
		"hangs":          {r.another("hangs", "exec sleep 1000"), wire.UpgradeSlow},
		"is cut off":     {truncated, 0},
		"is /bin/false":  {"/bin/false", wire.UpgradeUnproven},
		"is not there":   {"/nonexistent", wire.UpgradeExec},
		"is no program":  {"/etc/passwd", wire.UpgradeExec},
		"is not a child": {r.another("stays", "sleep 1000 & exit 1"), wire.UpgradeUnproven},
	} {
		up := e.change(c.keeper, "")
		if up.Result != c.want && (c.want != 0 || up.Result == wire.UpgradeDone) {
			t.Errorf("a keeper that %s: %+v, want %d", what, up, c.want)
		}
		if now := e.sync(); now.Live != 1 || now.Engines != 1 {
			t.Fatalf("a keeper that %s: %+v", what, now)
		}
	}
	if dead(s.Pid) || e.welcome.KeeperPid != r.keeper.Process.Pid {
		t.Error("the service is gone")
	}
	children := must(os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.keeper.Process.Pid, r.keeper.Process.Pid)))
	for _, pid := range strings.Fields(string(children)) {
		// Only the orphan of the last is there for longer; a test ends it.
		if stat := must(os.ReadFile("/proc/" + pid + "/stat")); strings.Contains(string(stat), "(sleep)") {
			_ = syscall.Kill(must(strconv.Atoi(pid)), syscall.SIGKILL)
		}
	}
}

func TestAnEngineThatIsNeverInChargeMakesRoomForTheOneBefore(t *testing.T) {
	for what, c := range map[string]struct {
		script string
		want   wire.UpgradeResult
	}{
		"dies":  {"#!/bin/sh\nexit 3\n", wire.UpgradeEngineDied},
		"hangs": {"#!/bin/sh\nexec sleep 1000\n", wire.UpgradeEngineSilent},
		"gone":  {"", wire.UpgradeEngineExec},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			r.env = []string{"ABIDE_TEST_TRIAL=500"}
			r.start()
			e := r.connected()
			s := e.up("web", 1, 0, "/bin/sleep", "100000")
			path := filepath.Join(r.dir, "new-engine")
			if c.script != "" {
				if err := os.WriteFile(path, []byte(c.script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if up := e.change(r.another("next", ""), path); up.Result != wire.UpgradeDone {
				t.Fatalf("%+v; stderr:\n%s", up, r.stderr)
			}
			// The way back needs no name.
			e.kill()
			e = r.connected()
			if !e.welcome.OnTrial {
				t.Error("the engine is not told that it ends an upgrade")
			}
			up, err := e.InCharge()
			if err != nil || up.Result != c.want || c.want == wire.UpgradeEngineDied && up.Status != 3<<8 || c.want == wire.UpgradeEngineExec && up.Errno != uint32(syscall.ENOENT) {
				t.Errorf("%+v, %v; stderr:\n%s", up, err, r.stderr)
			}
			if again, err := e.InCharge(); err != nil || again.Result != wire.UpgradeNone {
				t.Errorf("%+v, %v", again, err)
			}
			if rec, _ := e.record("web"); rec.Pid != s.Pid || rec.Phase != wire.Live {
				t.Errorf("%+v", rec)
			}
			// It stays the engine, and can be upgraded from.
			e.kill()
			e = r.connected()
			if up := e.change(r.another("next", ""), ""); up.Result != wire.UpgradeDone {
				t.Fatalf("%+v; stderr:\n%s", up, r.stderr)
			}
			e.kill()
			e = r.connected()
			if up, err := e.InCharge(); err != nil || up.Result != wire.UpgradeDone {
				t.Errorf("%+v, %v", up, err)
			}
		})
	}
}

// spoilVar makes a keeper find a baton for another process.
const spoilVar = "ABIDE_TEST_SPOIL"

// spoilBaton does that, and undoes it for the keeper that it goes back to.
func spoilBaton(fd int, file []byte) {
	const at = batonHeader + sectionHead
	pid := byte(1)
	if get64(file[at+8*wordStage:]) == stageForward && os.Getenv(spoilVar) == "" {
		return
	}
	_, _ = unix.Pwrite(fd, []byte{file[at+7+8*wordPid] ^ pid}, at+7+8*wordPid)
}

func TestAKeeperThatCannotTakeOverGoesBack(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	s := e.up("web", 1, 0, "/bin/sleep", "100000")
	// It proves itself, and then finds that the baton is not for it.
	next := r.another("next", `unset `+spoilVar+`; [ "$1" = --prove ] || [ -e `+r.dir+`/once ] || { touch `+r.dir+`/once; export `+spoilVar+`=1; }`)
	if up := e.change(next, ""); up.Result != wire.UpgradeResume || up.Errno != uint32(syscall.ESRCH) {
		t.Fatalf("%+v; stderr:\n%s", up, r.stderr)
	}
	if e.sync().Live != 1 || dead(s.Pid) || e.welcome.KeeperPid != r.keeper.Process.Pid {
		t.Error("the service is not as it was")
	}
	if up := e.change(next, ""); up.Result != wire.UpgradeDone {
		t.Fatalf("the second time: %+v; stderr:\n%s", up, r.stderr)
	}
}

// TestExitsDuringUpgradesHaveTheirStatus ends services all the time while keepers
// follow each other.
func TestExitsDuringUpgradesHaveTheirStatus(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	program := r.another("next", "")
	const runs = 40
	for round := range 3 {
		for i := range runs {
			pause := fmt.Sprintf("0.%03d", (i*7)%200)
			e.up(fmt.Sprint("s", i), uint64(round+1), uint64(round), "/bin/sh", "-c", fmt.Sprintf("sleep %s; exit %d", pause, i+1))
		}
		seen := map[string]uint32{}
		for range 2 {
			if up := e.change(program, ""); up.Result != wire.UpgradeDone {
				t.Fatalf("%+v; stderr:\n%s", up, r.stderr)
			}
			for len(e.exited) > 0 {
				x := <-e.exited
				seen[x.Name] = x.Status
			}
			e.kill()
			e = r.connected()
			if up, err := e.InCharge(); err != nil || up.Result != wire.UpgradeDone {
				t.Fatalf("%+v, %v", up, err)
			}
			for _, rec := range e.records {
				if rec.Phase == wire.Ended {
					if !rec.Exit.Known || rec.Exit.Adopted {
						t.Errorf("%+v", rec.Exit)
					}
					seen[rec.Name] = rec.Exit.Status
				}
			}
		}
		for len(seen) < runs {
			x := next(e, e.exited)
			if !x.Known || x.Adopted {
				t.Errorf("%+v", x)
			}
			seen[x.Name] = x.Status
		}
		for i := range runs {
			if got := seen[fmt.Sprint("s", i)]; got != uint32(i+1)<<8 {
				t.Errorf("round %d: s%d ended with %#x", round, i, got)
			}
		}
	}
}

func TestSignalsDuringAnUpgradeAreTold(t *testing.T) {
	r := startRig(t)
	e := r.connected()
	sent := uint32(0)
	for range 20 {
		_ = syscall.Kill(r.keeper.Process.Pid, syscall.SIGUSR2)
		sent++
	}
	until(t, "the signals are counted", func() bool { return next(e, e.signaled).Count > 0 })
	if up := e.change(r.another("next", ""), ""); up.Result != wire.UpgradeDone {
		t.Fatalf("%+v; stderr:\n%s", up, r.stderr)
	}
	// The runtime may merge signals of one kind, but the last is never lost.
	before := uint32(0)
	for len(e.signaled) > 0 {
		before = (<-e.signaled).Count
	}
	_ = syscall.Kill(r.keeper.Process.Pid, syscall.SIGUSR2)
	if s := next(e, e.signaled); s.Count <= before || s.Count > sent+1 {
		t.Errorf("%+v after %d, %d were sent", s, before, sent)
	}
}

func TestArgumentsOfTheNextKeeper(t *testing.T) {
	for before, want := range map[string]string{
		"--run /r --exec /old/x -- /old/e --run /r":        "--run /r --exec /new/x -- /new/e --run /r",
		"--run /r -- /old/e --main -- --exec":              "--run /r --exec /new/x -- /new/e --main -- --exec",
		"--run -- --mode init --lease-fd 3 -- /old/e":      "--run -- --mode init --lease-fd 3 --exec /new/x -- /new/e",
		"--run /r --inherit-fd 3 --nofile 1:2 -- /old/e a": "--run /r --nofile 1:2 --exec /new/x -- /new/e a",
	} {
		if got := strings.Join(argsFor(strings.Fields(before), "/new/e", "/new/x"), " "); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", before, got, want)
		}
	}
	if got := strings.Join(argsFor(strings.Fields("--exec /old/x --run /r -- /old/e"), "/new/e", ""), " "); got != "--exec /old/x --run /r -- /new/e" {
		t.Errorf("without abide-exec: %s", got)
	}
}
