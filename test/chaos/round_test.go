//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// round is one instance of abide, what runs under it, and what has been done to it.
type round struct {
	*harness.Abide
	t     *testing.T
	rand  *rand.Rand // the killer's; the mover has its own
	notes string     // the folder in which the programs note what they do
	self  string

	mu      sync.Mutex
	blind   []span         // when no keeper was in charge, by the clock of the notes
	dark    []span         // when in addition no engine was
	ordered map[string]int // starts of the task that were taken, per name
	began   map[string]client.Status
	count   map[string]int // what was killed how often
	deeds   map[string]int // what was done to those that depend on each other
	failed  int            // how many of the services that fail were started
	from    int64          // when the kills began, by the clock of the notes
	ended   int64          // when they had ended and the services were about to be stopped
}

// span is a time from and to, in nanoseconds of the wall clock.
type span struct{ from, to int64 }

// Services that nothing may ever happen to, and those that write.
const sleepers, writers = 5, 3

func newRound(t *testing.T, seed uint64) *round {
	t.Helper()
	self, err := os.Executable()
	harness.Check(t, err)
	r := &round{Abide: harness.New(t), t: t, rand: rand.New(rand.NewPCG(seed, 0)), self: self,
		ordered: map[string]int{}, began: map[string]client.Status{}, count: map[string]int{}, deeds: map[string]int{}}
	r.notes = filepath.Join(r.Dir, "notes")
	harness.Check(t, os.Mkdir(r.notes, 0o755))
	r.Wrap = []string{self}
	r.Env = []string{partVariable + "=init"}
	// Worse ways of making processes have their turn, too: docs/keeper.md.
	if worse := []string{"", "", "clone", "fork"}[seed%4]; worse != "" {
		r.Env = append(r.Env, "ABIDE_RUNG="+worse)
	}

	for i := range sleepers {
		r.Define(fmt.Sprintf("sleeper%d", i), "command = [\"/bin/sleep\", \"100000\"]\n")
	}
	for i := range writers {
		how := []string{"compress = \"none\"\n", "size = \"1MiB\"\n", "pipe = \"write\"\n"}[i%3]
		r.define(fmt.Sprintf("writer%d", i), "writer", "[log]\nsize = \"256KiB\"\nkeep = 100000\n"+strings.Replace(how, "size = \"1MiB\"\n", "", 1))
	}
	const eager = "[restart]\nwhen = \"always\"\n[restart.backoff]\nfirst = \"1ms\"\nmax = \"20ms\"\n[log]\nkeep = 100000\n"
	for i := range 2 {
		r.define(fmt.Sprintf("crasher%d", i), "crasher", "enabled = false\n"+eager)
	}
	r.define("forker", "forker", "enabled = false\n"+eager)
	r.define("slow", "slow", "")
	r.define("task", "task", "kind = \"task\"\nenabled = false\n")
	r.define("moved", "slow", "description = \"0\"\n")
	r.defineDependents()
	return r
}

// define writes a definition of a service that this program plays. Keys of the
// top level come before the first table of rest.
func (r *round) define(name, part, rest string) {
	r.Define(name, fmt.Sprintf("command = [%q]\nenvironment = { %s = %q }\n%s", r.self, partVariable, part+" "+r.notes, rest))
}

// transient are the services that come and go; everything else is left alone.
var transient = []string{"crasher0", "crasher1", "forker", "task"}

// steady are the services that keep their pid through the whole round.
func steady() (names []string) {
	for i := range sleepers {
		names = append(names, fmt.Sprintf("sleeper%d", i))
	}
	for i := range writers {
		names = append(names, fmt.Sprintf("writer%d", i))
	}
	return append(names, "tended")
}

// start starts the instance under an init of its own, and notes how things are
// while only what stays is running.
func (r *round) start() {
	r.t.Helper()
	r.Abide.Start("--attach")
	for _, name := range steady() {
		r.began[name] = r.AwaitStatus(name, "runs", running)
	}
	for _, name := range []string{"slow", "moved"} {
		r.AwaitStatus(name, "runs", running)
	}
}

func running(s client.Status) bool { return s.State == "running" && s.Pid > 0 }

func (r *round) file(kind, name string) string {
	data, _ := os.ReadFile(filepath.Join(r.notes, kind+"."+name))
	return string(data)
}

// inCharge tells whether keeper and engine answer, and who they are.
func (r *round) inCharge() (keeper, engine int, err error) {
	about, err := r.About()
	if err != nil {
		return 0, 0, err
	}
	if !harness.Alive(about.Keeper) {
		return 0, 0, fmt.Errorf("the keeper, pid %d, is dead", about.Keeper)
	}
	return about.Keeper, about.Pid, nil
}

// settle waits until abide is in charge again, and closes the open spans.
func (r *round) settle() {
	r.t.Helper()
	harness.Eventually(r.t, "abide is back in charge", func() error {
		_, _, err := r.inCharge()
		return err
	})
	now := time.Now().UnixNano()
	for _, list := range [][]span{r.blind, r.dark} {
		if n := len(list); n > 0 && list[n-1].to == 0 {
			list[n-1].to = now
		}
	}
}

// open begins a span unless one is open.
func open(list []span) []span {
	if n := len(list); n > 0 && list[n-1].to == 0 {
		return list
	}
	return append(list, span{from: time.Now().UnixNano()})
}

// within tells whether a moment lies in one of the spans, or so close before one
// that what happened then may not have been seen any more.
func within(list []span, at int64) bool {
	const before = int64(200 * time.Millisecond)
	for _, s := range list {
		if at >= s.from-before && (s.to == 0 || at <= s.to) {
			return true
		}
	}
	return false
}

// across tells whether one of the spans lies between two moments, or has begun
// before and ended after the first of them.
func across(list []span, from, to int64) bool {
	for _, s := range list {
		if s.from <= to && (s.to == 0 || s.to >= from) {
			return true
		}
	}
	return false
}

// near says where among the spans a moment lies.
func near(list []span, at int64) string {
	for i, s := range list {
		if at < s.from {
			return fmt.Sprintf("%s before span %d of %d", time.Duration(s.from-at), i+1, len(list))
		}
		if s.to != 0 && (i+1 == len(list) || at < list[i+1].from) {
			return fmt.Sprintf("%s after the end of span %d of %d", time.Duration(at-s.to), i+1, len(list))
		}
	}
	return "at a time without any"
}
