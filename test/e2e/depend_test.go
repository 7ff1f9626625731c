//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// journal is a file that programs tell of their beginning ("+name") and their end by
// TERM ("-name") in.
type journal struct {
	a    *harness.Abide
	path string
}

func newJournal(a *harness.Abide) *journal {
	j := &journal{a, filepath.Join(a.Dir, "journal")}
	harness.Check(a.T, os.WriteFile(j.path, nil, 0o666))
	harness.Check(a.T, os.Chmod(j.path, 0o666))
	return j
}

// define makes a service that is ready a tenth of a second after its start.
func (j *journal) define(name, keys string) { j.defineSlow(name, "true", keys) }

// defineSlow makes one that does something between TERM and its end.
func (j *journal) defineSlow(name, last, keys string) {
	if !strings.Contains(keys, "\n[") {
		keys += "\n[ready]\nafter = \"100ms\"\n"
	}
	script := fmt.Sprintf(`echo +%[1]s >>%[2]s; trap : HUP; trap '%[3]s; echo -%[1]s >>%[2]s; exit 0' TERM; while :; do sleep 1000 & wait; done`, name, j.path, last)
	j.a.Define(name, fmt.Sprintf("command = %q\nshell = true\n%s", script, keys))
}

func (j *journal) words() []string {
	text, err := os.ReadFile(j.path)
	harness.Check(j.a.T, err)
	return strings.Fields(string(text))
}

func (j *journal) clear() { harness.Check(j.a.T, os.Truncate(j.path, 0)) }

// await waits until what was told is what is wanted, and fails as soon as it cannot
// become that.
func (j *journal) await(want string) {
	j.a.T.Helper()
	harness.Eventually(j.a.T, "the order "+want, func() error {
		got := strings.Join(j.words(), " ")
		switch {
		case got == want:
			return nil
		case !strings.HasPrefix(want, got):
			return harness.Final(fmt.Errorf("the order is %q, want %q", got, want))
		}
		return fmt.Errorf("the order is %q so far", got)
	})
}

// after tells whether one word comes after all others, in what was told so far.
func (j *journal) after(word string, others ...string) {
	j.a.T.Helper()
	words := j.words()
	at := slices.Index(words, word)
	for _, other := range others {
		if i := slices.Index(words, other); i < 0 || at < i {
			j.a.T.Errorf("%s does not come after %s: %q", word, other, words)
		}
	}
}

func requires(names ...string) string {
	for i, n := range names {
		names[i] = fmt.Sprintf("%q", n)
	}
	return "requires = [" + strings.Join(names, ", ") + "]\n"
}

func TestAChainComesUpInOrderAndGoesDownInReverse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		uid, gid int
	}{{"root", 0, 0}, {"a plain user", nobody, nogroup}} {
		t.Run(c.name, func(t *testing.T) {
			a := harness.New(t)
			j := newJournal(a)
			j.define("db", "enabled = false\n")
			j.define("app", requires("db"))
			j.define("web", requires("app"))
			if c.uid != 0 {
				a.As(c.uid, c.gid)
			}
			a.Start()
			a.Await("web", "running")
			j.await("+db +app +web")
			j.clear()

			// Dependents end first, stay wanted, and say what they wait for.
			a.OK("stop", "db")
			j.await("-web -app -db")
			s := a.Await("web", "waiting")
			if !s.Wanted || len(s.WaitingFor) != 1 || !strings.HasPrefix(s.WaitingFor[0], "app, ") {
				t.Errorf("web is wanted: %v, waits for %q", s.Wanted, s.WaitingFor)
			}
			harness.Contains(t, a.Do("status", "app").Out, fmt.Sprintf("db, stopped by uid %d at ", c.uid))
			j.clear()
			a.OK("start", "db")
			a.Await("web", "running")
			j.await("+db +app +web")
			j.clear()
			harness.Contains(t, a.OK("stop", "db", "web"), "stopped")
			j.await("-web -app -db")
			harness.Contains(t, a.OK("start", "web"), "db was stopped and is started, too")
			j.await("-web -app -db +db +app +web")
			j.clear()
			a.OK("shutdown")
			j.await("-web -app -db")
			if code := a.DaemonExit(); code != 0 {
				t.Errorf("the daemon exits %d", code)
			}
		})
	}
}

func TestADiamondAndAFanKeepTheirOrder(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	j := newJournal(a)
	j.define("base", "")
	var arms []string
	for i := range 8 {
		arms = append(arms, fmt.Sprintf("arm%d", i))
		j.define(arms[i], requires("base"))
	}
	j.define("top", requires(slices.Clone(arms)...))
	a.Start()
	a.Await("top", "running")
	words := j.words()
	if len(words) != 10 || words[0] != "+base" || words[9] != "+top" {
		t.Errorf("the order is %q", words)
	}
	j.clear()
	a.OK("shutdown")
	words = j.words()
	if len(words) != 10 || words[0] != "-top" || words[9] != "-base" {
		t.Errorf("the order at the end is %q", words)
	}
}

func TestTheLossOfANeedIsFollowedAsItsEdgesSay(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	j := newJournal(a)
	j.define("db", "")
	for _, level := range []string{"none", "error", "restart", "reload"} {
		j.define("on-"+level, fmt.Sprintf("requires = [{ service = \"db\", restart = %q }]\n", level))
	}
	check := a.Healthy()
	a.Start()
	runs := func() map[string]uint64 {
		out := map[string]uint64{}
		for _, level := range []string{"none", "error", "restart", "reload"} {
			out[level] = a.Await("on-"+level, "running").Run
		}
		return out
	}
	before := runs()
	expect := func(deed string, followed ...string) {
		t.Helper()
		for level, run := range before {
			want := run
			if slices.Contains(followed, level) {
				want++
			}
			a.AwaitStatus("on-"+level, fmt.Sprintf("running in run %d after %s", want, deed), func(s client.Status) bool {
				return s.State == "running" && s.Run >= want
			})
			if got := a.Status("on-" + level).Run; got != want {
				t.Errorf("after %s on-%s is in run %d, want %d", deed, level, got, want)
			}
		}
		before = runs()
	}
	a.KillService("db")
	expect("a crash", "error", "restart", "reload")
	a.OK("restart", "db")
	expect("a restart", "restart", "reload")
	a.OK("reload", "db")
	expect("a reload", "reload")
	check()
}

func TestConflictsAndAlternatives(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	j := newJournal(a)
	j.define("exim", "")
	j.define("postfix", "enabled = false\nconflicts = [\"exim\"]\n")
	j.define("mailer", "any_of = [[\"exim\", \"postfix\"]]\n")
	a.Start()
	a.Await("mailer", "running")
	j.await("+exim +mailer")
	out := a.OK("start", "postfix")
	harness.Contains(t, out, "exim is stopped: they conflict")
	a.Await("postfix", "running")
	a.Await("mailer", "running")
	j.after("+postfix", "-exim")
	if s := a.Status("exim"); s.State != "stopped" || s.Wanted {
		t.Errorf("exim is %s, wanted %v", s.State, s.Wanted)
	}
}

func TestAShutdownWaitsInTurnAndASecondSignalHurriesIt(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	j := newJournal(a)
	j.define("db", "")
	j.define("app", requires("db"))
	j.defineSlow("web", "sleep 1000", requires("app")+"[ready]\nafter = \"100ms\"\n[stop]\ntimeout = \"20s\"\n")
	a.Start()
	a.Await("web", "running")
	j.clear()
	harness.Check(t, syscall.Kill(a.DaemonPid(), syscall.SIGTERM))
	harness.Eventually(t, "what is waited for", func() error {
		if out := a.Output(); !strings.Contains(out, "Waiting for web to stop (1s of 20s); then app, db") {
			return fmt.Errorf("it says\n%s", out)
		}
		return nil
	})
	if got := j.words(); len(got) != 0 {
		t.Errorf("ended before their turn: %q", got)
	}
	began := time.Now()
	harness.Check(t, syscall.Kill(a.DaemonPid(), syscall.SIGTERM))
	if code := a.DaemonExit(); code != 0 {
		t.Errorf("the daemon exits %d", code)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("hurried, it took %s", d)
	}
	a.NothingOf("")
}

func TestOrderOutlivesEnginesAndKeepers(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	j := newJournal(a)
	j.define("db", "")
	j.define("app", "requires = [{ service = \"db\", restart = \"restart\" }]\n")
	j.defineSlow("web", "sleep 1", "requires = [{ service = \"app\", restart = \"restart\" }]\n")
	a.Start()
	a.Await("web", "running")
	j.clear()
	a.OK("restart", "--no-wait", "db")
	awaitStopping(a, "web")
	about, err := a.About()
	harness.Check(t, err)
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
	j.await("-web -app -db +db +app +web")
	a.Await("web", "running")
	j.clear()
	harness.Check(t, syscall.Kill(a.DaemonPid(), syscall.SIGTERM))
	awaitStopping(a, "web")
	about, err = a.About()
	harness.Check(t, err)
	harness.Check(t, syscall.Kill(about.Pid, syscall.SIGKILL))
	if code := a.DaemonExit(); code != 0 {
		t.Errorf("the daemon exits %d", code)
	}
	j.await("-web -app -db")
}

func awaitStopping(a *harness.Abide, name string) {
	a.T.Helper()
	harness.Eventually(a.T, name+" being stopped", func() error {
		if s, err := a.Peek(name); err != nil || s.State != "stopping" {
			return fmt.Errorf("it is %s: %v", s.State, err)
		}
		return nil
	})
}

func TestRunlevels(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	j := newJournal(a)
	j.define("net", "enabled = false\n")
	j.define("shop", "enabled = false\n")
	a.Define("runlevel-2", "kind = \"target\"\nenabled = false\nwants = [\"net\"]\n")
	a.Define("runlevel-3", "kind = \"target\"\nenabled = false\nwants = [\"net\", \"shop\"]\n")
	a.Start()
	a.Refused(1, "", "runlevel")
	a.OK("runlevel", "3")
	a.Await("shop", "running")
	a.Await("net", "running")
	a.OK("runlevel", "2")
	a.NothingOf("shop")
	if got := strings.TrimSpace(a.OK("runlevel")); got != "3 2" {
		t.Errorf("the runlevel is %q, want 3 2", got)
	}
	a.Refused(4, "no target is called", "runlevel", "7")
}
