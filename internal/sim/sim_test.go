//go:build linux && (amd64 || arm64)

package sim

import (
	"flag"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	seed  = flag.Uint64("seed", 0, "simulate this seed alone and print every step")
	from  = flag.String("seed-from", "1", "the first of the seeds to simulate")
	total = flag.Duration("for", 2*time.Second, "how long to simulate")
	which = flag.String("mutants", "", "all: try every mutant, else the one with this name")
	hours = flag.String("hours", "0", "stop after this many simulated hours")
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// simulate runs the program and returns what it says.
func simulate(program string, args ...string) (string, error) {
	out, err := exec.Command(program, args...).CombinedOutput()
	return string(out), err
}

func TestTheKeeperAndTheEngineHoldTheirPromisesWhateverHappens(t *testing.T) {
	program, err := Build(root(t), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *seed != 0 {
		out, err := simulate(program, "-seed", strconv.FormatUint(*seed, 10), "-seeds", "1", "-v")
		t.Log(out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	out, err := simulate(program, "-seed", *from, "-for", total.String(), "-hours", *hours)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(out)
	first, err1 := simulate(program, "-seed", "100", "-seeds", "2", "-rounds", "2")
	again, err2 := simulate(program, "-seed", "100", "-seeds", "2", "-rounds", "2")
	if err1 != nil || err2 != nil || digest(first) == "" || digest(first) != digest(again) {
		t.Errorf("the same seeds give another story: %v %v\n%s%s", err1, err2, first, again)
	}
}

func digest(out string) string {
	_, d, _ := strings.Cut(out, "digest ")
	d, _, _ = strings.Cut(d, "\n")
	return d
}

// Each mutant is another build, so that only some are tried where time matters.
func TestEveryMutantIsFound(t *testing.T) {
	for i, m := range Mutants {
		if *which == "" && i%12 != 0 || *which != "" && *which != "all" && *which != m.Name {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			program, err := Build(root(t), t.TempDir(), &m)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			out, err := simulate(program, "-for", "60s")
			if err == nil {
				t.Errorf("it is not found:\n%s", out)
			}
			first, _, _ := strings.Cut(out, "\n")
			t.Logf("found after %v: %s", time.Since(began).Round(time.Millisecond), first)
		})
	}
}
