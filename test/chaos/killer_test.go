//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/abide-project/abide/test/internal/harness"
)

// ours are the processes of abide itself.
type ours struct {
	keepers, engines []int
	helpers          []int // what compresses logs
	proxies          []int // what stands in for a keeper that another process has become
}

// look finds the processes of this instance by their command lines. A child that
// is about to become a service still shows the keeper's: it is not one of ours.
func (r *round) look() ours {
	var found ours
	kind := map[int]string{}
	for _, pid := range harness.Pids() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.Contains(line, []byte("\x00"+r.Dir+"/")) {
			continue
		}
		argv := bytes.SplitN(line, []byte{0}, 3)
		kind[pid] = filepath.Base(string(argv[0]))
		if len(argv) > 1 && string(argv[1]) == "compress" {
			kind[pid] = "helper"
		}
	}
	for pid, name := range kind {
		parent := harness.Parent(pid)
		switch {
		case name == "abide-keeper" && kind[parent] != "abide-keeper":
			found.keepers = append(found.keepers, pid)
		case name == "abide-engine" && kind[parent] != "abide-engine":
			found.engines = append(found.engines, pid)
		case name == "helper":
			found.helpers = append(found.helpers, pid)
		case name == "abide":
			found.proxies = append(found.proxies, pid)
		}
	}
	slices.Sort(found.keepers)
	slices.Sort(found.engines)
	return found
}

// attack is one thing that can happen to abide.
type attack struct {
	name   string
	weight int
	do     func(r *round, o ours) (done bool)
}

var attacks = []attack{
	{"engine KILL", 36, func(r *round, o ours) bool { return r.strike(syscall.SIGKILL, nil, o.engines) }},
	{"keeper KILL", 24, func(r *round, o ours) bool { return r.strike(syscall.SIGKILL, o.keepers, nil) }},
	{"both KILL", 16, func(r *round, o ours) bool { return r.strike(syscall.SIGKILL, o.keepers, o.engines) }},
	{"engine SEGV", 5, func(r *round, o ours) bool { return r.strike(syscall.SIGSEGV, nil, o.engines) }},
	{"engine ABRT", 3, func(r *round, o ours) bool { return r.strike(syscall.SIGABRT, nil, o.engines) }},
	{"engine frozen", 5, func(r *round, o ours) bool { return r.freeze(o.engines) }},
	{"keeper frozen", 4, func(r *round, o ours) bool { return r.freeze(o.keepers) }},
	{"frozen engine KILL", 3, func(r *round, o ours) bool { return r.freeze(o.engines) && r.strike(syscall.SIGKILL, nil, o.engines) }},
	{"helper KILL", 8, func(r *round, o ours) bool { return r.strike(syscall.SIGKILL, nil, nil, o.helpers...) }},
	{"proxy KILL", 4, func(r *round, o ours) bool { return r.strike(syscall.SIGKILL, nil, nil, o.proxies...) }},
}

// strike sends a signal to processes at once, and notes from when on nobody was
// in charge.
func (r *round) strike(signo syscall.Signal, keepers, engines []int, others ...int) bool {
	if len(keepers)+len(engines)+len(others) == 0 {
		return false
	}
	alone := len(engines) == 0
	if len(keepers) > 0 {
		// Frozen first, so that neither acts on the death of the other.
		if !alone {
			for _, pid := range append(slices.Clone(keepers), engines...) {
				syscall.Kill(pid, syscall.SIGSTOP)
			}
			r.dark = open(r.dark)
		}
		r.blind = open(r.blind)
	}
	if len(r.blind) > 0 && r.blind[len(r.blind)-1].to == 0 && len(engines) > 0 {
		r.dark = open(r.dark)
	}
	for _, list := range [][]int{keepers, engines, others} {
		for _, pid := range list {
			syscall.Kill(pid, signo)
		}
	}
	return true
}

// freeze stops processes for a moment.
func (r *round) freeze(pids []int) bool {
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	time.Sleep(time.Duration(1+r.rand.IntN(30)) * time.Millisecond)
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	return len(pids) > 0
}

// rage kills n times. Most of the time abide is let come back in between; now and
// then it is struck again while it does. tick is sent to by the mover at the very
// moment of an order, which is the moment that some of the blows wait for.
func (r *round) rage(n int, tick <-chan struct{}) {
	total := 0
	for _, a := range attacks {
		total += a.weight
	}
	for done := 0; done < n; {
		pick := r.rand.IntN(total)
		var a attack
		for _, a = range attacks {
			if pick -= a.weight; pick < 0 {
				break
			}
		}
		patience := time.After(time.Duration(r.rand.IntN(60_000)) * time.Microsecond)
		if r.rand.IntN(3) == 0 {
			select {
			case <-tick:
				time.Sleep(time.Duration(r.rand.IntN(3_000)) * time.Microsecond)
			case <-patience:
			}
		} else {
			<-patience
		}
		if a.do(r, r.look()) {
			done++
			r.count[a.name]++
		}
		if r.rand.IntN(5) != 0 || done == n {
			r.settle()
			if r.t.Failed() {
				return
			}
		}
		if done%20 == 0 {
			r.alike("after a blow")
		}
	}
}
