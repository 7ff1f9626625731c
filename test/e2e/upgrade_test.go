//go:build linux

package e2e

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/svlog/svlogtest"
	"github.com/abide-project/abide/test/internal/harness"
)

// nextBuild is the version of the programs that tests upgrade to.
const nextBuild = "next-of-the-tests"

// buildNext makes programs of that version, once.
var buildNext = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "abide-next-")
	if err != nil {
		return "", err
	}
	builtForTests = append(builtForTests, dir)
	build := exec.Command("go", "build", "-trimpath", "-tags", "osusergo,netgo",
		"-ldflags", "-s -w -X github.com/abide-project/abide/internal/version.Version="+nextBuild,
		"-o", dir+"/", "./cmd/abide-keeper", "./cmd/abide-engine", "./cmd/abide-exec")
	build.Dir = harness.Root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the next version: %w\n%s", err, out)
	}
	return dir, os.Chmod(dir, 0o755)
})

// nextPrograms are a test's own, which it may spoil.
func nextPrograms(t *testing.T, a *harness.Abide) string {
	t.Helper()
	from, err := buildNext()
	harness.Check(t, err)
	dir := filepath.Join(a.Dir, "next")
	copyPrograms(t, from, dir)
	return dir
}

func copyPrograms(t *testing.T, from, to string) {
	t.Helper()
	harness.Check(t, os.MkdirAll(to, 0o755))
	for _, name := range []string{"abide-keeper", "abide-engine", "abide-exec"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		harness.Check(t, err)
		// As a package manager does it: the name passes to a new file.
		fresh := filepath.Join(to, name+".new")
		harness.Check(t, os.WriteFile(fresh, data, 0o755))
		harness.Check(t, os.Rename(fresh, filepath.Join(to, name)))
	}
}

// script puts a shell script in the place of a program. It says the right version.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	harness.Check(t, os.RemoveAll(path))
	body := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != --version ] || { echo %s broken; exit 0; }\n%s\n", name, text)
	harness.Check(t, os.WriteFile(path, []byte(body), 0o755))
}

func TestTenUpgradesAreNoticedByNobody(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	w := newAuthor(t, a, "author", rotating)
	names := append(sleepers(a, 50), "author")
	a.Start()
	pids := pidsOf(t, a, names)
	next, pid := nextPrograms(t, a), keeper(t, a)
	f := follow(t, a, "author")
	said := regexp.MustCompile(`keeper pid (\d+): \S+ -> (\S+); engine pid \d+ -> (\d+): \S+ -> (\S+)\n`)
	for n := range 10 {
		w.order("go")
		dir, build := next, nextBuild
		if n%2 == 1 {
			dir, build = harness.Bin, ""
		}
		out := a.OK("upgrade", dir)
		about, err := a.About()
		harness.Check(t, err)
		m := said.FindStringSubmatch(out)
		if m == nil || m[1] != fmt.Sprint(pid) || m[3] != fmt.Sprint(about.Pid) || m[2] != about.Version || m[4] != about.Version || build != "" && m[2] != build {
			t.Errorf("upgrade %d says %q; the keeper was %d, the engine is %d of %s", n, out, pid, about.Pid, about.Version)
		}
		w.order("stop")
		w.answer()
	}
	same(t, a, pids)
	if now := keeper(t, a); now != pid || a.DaemonPid() != pid {
		t.Errorf("the keeper is %d, was %d", now, pid)
	}
	f.has(t, w)
	var c svlogtest.Check
	w.proves(&c)
	// What was the loop's child is seen to its end as before.
	syscall.Kill(pids["sleeper7"], syscall.SIGUSR1)
	s := a.AwaitStatus("sleeper7", "runs again", func(s client.Status) bool { return running(s) && s.Restarts == 1 })
	if exit := harness.Describe(s.LastExit); exit != "USR1" {
		t.Errorf("its last exit is %s", exit)
	}
	t.Logf("%v lines", w.lines)
}

func TestUpgradeOfProcessOne(t *testing.T) {
	t.Parallel()
	a := container(t)
	next := nextPrograms(t, a)
	a.Launch(initArguments(a, "/bin/sh", "-c", `trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done`)...)
	a.AwaitDaemon()
	before := a.AwaitStatus("main", "runs", running)
	for n := range 4 {
		dir := next
		if n%2 == 1 {
			dir = harness.Bin
		}
		harness.Contains(t, a.OK("upgrade", dir), "keeper pid 1: ")
	}
	if s := a.AwaitStatus("main", "runs", running); s.Pid != before.Pid || s.Run != 1 {
		t.Errorf("main is run %d with pid %d, was %d", s.Run, s.Pid, before.Pid)
	}
	// A program that does not prove itself is never executed: there would be no way
	// back from it.
	script(t, next, "abide-keeper", "exit 3")
	a.Refused(1, "did not prove itself: it ended with code 3; nothing has changed", "upgrade", next)
	a.OK("signal", "USR1", "main")
	if code := a.DaemonExit(); code != 5 {
		t.Errorf("init ends with %d, want main's 5", code)
	}
}

func TestUpgradeRefusesWhatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Start()
	check := a.Healthy()
	a.OK("apply")
	about, err := a.About()
	harness.Check(t, err)
	for _, c := range []struct {
		says  string
		spoil func(path string)
	}{
		{"no such file or directory", func(path string) { os.Remove(path) }},
		{"it is not executable", func(path string) { os.Chmod(path, 0o644) }},
		{"others may write to", func(path string) { os.Chmod(path, 0o777) }},
		{"belongs to neither root nor uid 0", func(path string) { os.Chown(path, nobody, nogroup) }},
		{"it is not a regular file", func(path string) { os.Remove(path); os.Mkdir(path, 0o755) }},
		{"it is not abide-engine", func(path string) { os.Remove(path); os.Symlink("/bin/true", path) }},
		{"it cannot be run: exec format error", func(path string) { os.WriteFile(path, []byte("\x7fELF"), 0o755) }},
	} {
		dir := nextPrograms(t, a)
		path := filepath.Join(dir, "abide-engine")
		c.spoil(path)
		a.Refused(1, c.says, "upgrade", dir)
		os.RemoveAll(dir)
	}
	a.Refused(1, "cannot upgrade to /nonexistent", "upgrade", "/nonexistent")
	if now, err := a.About(); err != nil || now.Pid != about.Pid || now.Keeper != about.Keeper {
		t.Errorf("%+v, %v; was %+v", now, err, about)
	}
	check()
}

func TestUpgradeThatFailsIsUndone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, program, text, says string }{
		{"the keeper fails its proof", "abide-keeper", "exit 3", "did not prove itself: it ended with code 3; nothing has changed"},
		{"the keeper lies about its proof", "abide-keeper", "exit 0", "it reads other records than there are; nothing has changed"},
		{"the keeper dies at once", "abide-keeper", `[ "$1" != --prove ] || exec NEXT/abide-keeper.real "$@"; kill -9 $$`, "it was cut short"},
		{"the engine dies", "abide-engine", "exit 3", "the new engine died before it was in charge, the last time with code 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := harness.New(t)
			names := sleepers(a, 5)
			a.Start()
			pids := pidsOf(t, a, names)
			next := nextPrograms(t, a)
			harness.Check(t, os.Rename(filepath.Join(next, c.program), filepath.Join(next, c.program+".real")))
			script(t, next, c.program, strings.ReplaceAll(c.text, "NEXT", next))
			before, err := a.About()
			harness.Check(t, err)
			a.Refused(1, c.says, "upgrade", next)
			after, err := a.About()
			harness.Check(t, err)
			if after.Version != before.Version {
				t.Errorf("the engine is %s now, was %s", after.Version, before.Version)
			}
			same(t, a, pids)
			// Nothing stands in the way of one that works.
			harness.Check(t, os.Rename(filepath.Join(next, c.program+".real"), filepath.Join(next, c.program)))
			harness.Contains(t, a.OK("upgrade", next), "-> "+nextBuild)
			same(t, a, pids)
			a.OK("shutdown")
		})
	}
}

func TestUpgradeWhenThePackageHasReplacedTheFiles(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	installed := filepath.Join(a.Dir, "installed")
	copyPrograms(t, harness.Bin, installed)
	data, err := os.ReadFile(filepath.Join(harness.Bin, "abide"))
	harness.Check(t, err)
	harness.Check(t, os.WriteFile(filepath.Join(installed, "abide"), data, 0o755))
	a.Program = installed
	names := sleepers(a, 5)
	a.Start()
	pids := pidsOf(t, a, names)
	from, err := buildNext()
	harness.Check(t, err)
	copyPrograms(t, from, installed) // the files of the running programs have no name now
	harness.Contains(t, a.OK("upgrade"), "-> "+nextBuild)
	same(t, a, pids)
	// And now one whose engine is broken: the way back leads to a file without a name.
	copyPrograms(t, harness.Bin, installed)
	script(t, installed, "abide-engine", "exit 3")
	a.Refused(1, "the new engine died before it was in charge", "upgrade")
	if about, err := a.About(); err != nil || about.Version != nextBuild {
		t.Errorf("the engine is %q, %v", about.Version, err)
	}
	same(t, a, pids)
	copyPrograms(t, from, installed)
	a.OK("upgrade")
	same(t, a, pids)
}

// nobodyLives tells whether no process of abide holds the run directory.
func nobodyLives(t *testing.T, a *harness.Abide) bool {
	t.Helper()
	lock, err := os.Open(filepath.Join(a.Run, "lock"))
	harness.Check(t, err)
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// TestUpgradesAndKills kills keeper and engine at random moments of upgrades.
func TestUpgradesAndKills(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	w := newAuthor(t, a, "author", rotating)
	names := append(sleepers(a, 10), "author")
	a.Start()
	pids := pidsOf(t, a, names)
	next := nextPrograms(t, a)
	rounds := 10
	if full() {
		rounds = 100
	}
	done, alone := 0, 0
	for n := range rounds {
		about, err := a.About()
		harness.Check(t, err)
		dir := next
		if n%2 == 1 {
			dir = harness.Bin
		}
		w.order("go")
		victim := []int{about.Keeper, about.Pid}[rand.Intn(2)]
		delay := time.Duration(rand.Intn(50)) * time.Millisecond
		time.AfterFunc(delay, func() { syscall.Kill(victim, syscall.SIGKILL) })
		r := a.Do("upgrade", dir)
		switch {
		case r.Code == 0:
			done++
		case r.Code != 1 && !nobodyLives(t, a):
			t.Errorf("round %d: upgrade ends with %d: %s%s", n, r.Code, r.Out, r.Err)
		}
		time.Sleep(delay)
		harness.Eventually(t, "abide answers", func() error {
			_, err := a.About()
			if err != nil && nobodyLives(t, a) {
				// The keeper was killed between two engines, which is the death of both:
				// the next start finds everything.
				alone++
				a.Start()
			}
			return err
		})
		w.order("stop")
		w.answer()
	}
	same(t, a, pids)
	var c svlogtest.Check
	w.proves(&c)
	t.Logf("%d of %d upgrades were done, %d kills left nobody, %v lines", done, rounds, alone, w.lines)
	a.OK("shutdown")
}
