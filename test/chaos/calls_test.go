//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// callKinds are the system calls before which a process of abide is killed: every
// message between keeper and engine, and what makes the engine's files durable.
var callKinds = []struct{ who, calls string }{
	{"keeper", "sendmsg"},
	{"keeper", "recvmsg"},
	{"engine", "sendmsg"},
	{"engine", "recvmsg"},
	{"engine", "pwrite64,write"},
	{"engine", "fsync,fdatasync,renameat,renameat2,unlinkat,ftruncate"},
}

// TestAKillBeforeEveryCall kills keeper or engine with strace(1) when it enters the
// n-th of these calls while services are restarted, stopped and started, one n
// after the other, and looks whether everything comes right every time. -calls
// takes a few of them at random, -calls 0 goes on until an n is never reached.
func TestAKillBeforeEveryCall(t *testing.T) {
	r := newRound(t, *seed&^3) // with the best way of making processes
	r.start()
	r.OK("start", "--no-wait", "crasher0")
	r.OK("start", "top")
	for _, kind := range callKinds {
		reached := 0
		for n := 1; ; n++ {
			at := n
			if *calls > 0 {
				if n > *calls {
					break
				}
				at = 1 + r.rand.IntN(8)
			}
			if r.interrupted(kind.who, kind.calls, at) {
				reached++
			} else if *calls == 0 {
				break
			}
			if t.Failed() {
				t.Fatalf("after a kill of the %s before %s number %d", kind.who, kind.calls, at)
			}
		}
		if reached == 0 && *calls == 0 {
			t.Errorf("the %s never called %s", kind.who, kind.calls)
		}
		t.Logf("%s: killed before %d different calls of %s", kind.who, reached, kind.calls)
	}
	r.OK("stop", "base", "middle", "top")
	r.inOrder()
	r.inReverse()
	before, after, excused := r.hooksRan("top")
	t.Logf("%d restarts of a chain; %d and %d commands before and after runs, %d that nobody can tell of", len(r.lives("base")), before, after, excused)
	r.OK("stop", "crasher0")
	r.exits("crasher0", r.told())
	for i := range writers {
		r.OK("stop", fmt.Sprintf("writer%d", i))
	}
	r.OK("shutdown")
	r.DaemonExit()
	for i := range writers {
		r.logged(fmt.Sprintf("writer%d", i))
	}
}

// interrupted lets the scenario run under a tracer that kills a process before its
// n-th call, and reports whether it came to that.
func (r *round) interrupted(who, calls string, n int) (killed bool) {
	r.t.Helper()
	keeper, engine, err := r.inCharge()
	harness.Check(r.t, err)
	victim := map[string]int{"keeper": keeper, "engine": engine}[who]
	arguments := []string{"-qq", "-o", "/dev/null", "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n)}
	// Thread by thread: the children that become services are left alone.
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", victim))
	harness.Check(r.t, err)
	for _, task := range tasks {
		arguments = append(arguments, "-p", task.Name())
	}
	tracer := exec.Command("strace", arguments...)
	harness.Check(r.t, tracer.Start())
	ended := make(chan struct{})
	go func() {
		tracer.Wait()
		close(ended)
	}()
	harness.Eventually(r.t, "the tracer is attached", func() error {
		if !harness.Alive(victim) || traced(victim) {
			return nil
		}
		return fmt.Errorf("nobody traces %d", victim)
	})
	if who == "keeper" {
		// From now on it may die at any moment.
		r.blind = open(r.blind)
	}
	chain := r.lastRun("top")
	for _, req := range []client.Request{
		{Verb: client.Restart, Names: []string{"slow"}},
		{Verb: client.Restart, Names: []string{"base"}},
		{Verb: client.Stop, Names: []string{"moved"}},
		{Verb: client.Start, Names: []string{"moved"}},
	} {
		harness.Eventually(r.t, fmt.Sprintf("%s %v is taken", req.Verb, req.Names), func() error {
			if !r.order(req) {
				return fmt.Errorf("it is not")
			}
			return nil
		})
	}
	killed = !harness.Alive(victim)
	_ = tracer.Process.Kill()
	<-ended
	r.settle()
	for _, name := range []string{"slow", "moved"} {
		s := r.AwaitStatus(name, "runs", running)
		if of := r.Processes(name); len(of) != 1 || of[0].Pid != s.Pid {
			r.t.Errorf("%s has the processes %v, want %d alone", name, of, s.Pid)
		}
	}
	harness.Eventually(r.t, "the chain is restarted", func() error {
		if last := r.lastRun("top"); last <= chain {
			return fmt.Errorf("top is in run %d", last)
		}
		return nil
	})
	r.AwaitStatus("top", "runs", running)
	r.same()
	r.alike(fmt.Sprintf("%s killed before %s number %d", who, calls, n))
	return killed
}

// traced tells whether any thread of a process has a tracer.
func traced(pid int) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		var tracer int
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", pid, task.Name()))
		if _, rest, found := strings.Cut(string(text), "TracerPid:"); found {
			fmt.Sscan(rest, &tracer)
		}
		if tracer != 0 {
			return true
		}
	}
	return false
}
