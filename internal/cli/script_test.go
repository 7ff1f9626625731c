package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/abide-project/abide/internal/api"
	"github.com/abide-project/abide/internal/api/apitest"
	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// The command is run as the real programs are: abide itself by this test's
// binary, and beside it programs that stand for keeper and engine.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"abide":        func() { os.Exit(Main(os.Args[1:])) },
		"abide-keeper": fakeKeeper,
		"abide-engine": func() {},
		"abide-exec":   func() {},
	})
}

// TestScripts runs the scripts against a fake supervisor behind the real API, in
// $ABIDE_RUN. What they compare is the texts and exit codes of docs/cli.md.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			run := filepath.Join(env.WorkDir, "run")
			for _, dir := range []string{run, filepath.Join(env.WorkDir, "home")} {
				if err := os.Mkdir(dir, 0o700); err != nil {
					return err
				}
			}
			f := supervised()
			stop, err := apitest.Serve(run, f, api.Options{})
			if err != nil {
				return err
			}
			env.Defer(stop)
			env.Values["fake"] = f
			env.Setenv("ABIDE_RUN", run)
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    runForCode,
			"asked":   asked,
			"pidgone": pidGone,
		},
	})
}

// supervised is the fake that the scripts meet.
func supervised() *apitest.Fake {
	f := apitest.New("web", "db", "pool@1", "pool@2")
	code, segv := 3, "SEGV"
	crashed := f.Service("crashed")
	crashed.State, crashed.Pid, crashed.Fault, crashed.Run, crashed.Restarts = "failed", 0, "it ended 5 times within 10m", 6, 5
	crashed.LastExit = &control.Exit{Run: 6, At: apitest.Epoch, Signal: &segv, Core: true}
	f.Set(crashed)
	waiting := f.Service("waiting")
	waiting.State, waiting.Pid, waiting.WaitingFor = "waiting", 0, []string{"a restart in 2s"}
	waiting.LastExit = &control.Exit{Run: 1, At: apitest.Epoch, Code: &code}
	f.Set(waiting)
	task := f.Service("task")
	task.Kind, task.State, task.Pid = "task", "finished", 0
	f.Set(task)
	ends := f.Service("ends")
	ends.State, ends.Pid, ends.LastExit = "waiting", 0, &control.Exit{Run: 1, At: apitest.Epoch, Code: &code}
	f.Set(ends)
	f.Write("web", "first", "second", "\x1b[2J third")
	f.Hook = func(ctx context.Context, req control.Request) ([]control.Outcome, error, bool) {
		if len(req.Names) == 0 {
			return nil, nil, false
		}
		switch name := req.Names[0]; {
		case name == "ends" && req.Verb == control.Start:
			f.Write("ends", "line 1", "line 2", "line 3", "line 4", "line 5", "line 6", "line 7", "line 8", "line 9", "line 10", "cannot bind")
			return []control.Outcome{{Name: name, Code: control.Failed, Hint: "abide log ends", Status: &ends,
				Message: "cannot start ends: exited with code 3; abide keeps trying"}}, nil, true
		case name == "secret":
			return nil, &control.Error{Code: control.NotPermitted, Message: "cannot stop secret: uid 1000 may not operate it"}, true
		case name == "slow" && req.Timeout > 0:
			return []control.Outcome{{Name: name, Code: control.TimedOut, Message: "it still stops after " + req.Timeout.String() + "; the work goes on"}}, nil, true
		case name == "slow":
			req.Trace("waiting for slow to end (KILL in 5s)")
			<-ctx.Done()
			return nil, ctx.Err(), true
		}
		return nil, nil, false
	}
	return f
}

// runForCode is `code N abide ...`: run and compare the exit code. Output goes to
// the files out and err of the working folder.
func runForCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("cannot run: %v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// asked is `asked TEXT`: the last request reads so.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	list := ts.Value("fake").(*apitest.Fake).Requests()
	if len(list) == 0 {
		ts.Fatalf("nothing was asked for")
	}
	r := list[len(list)-1]
	got := fmt.Sprintf("%s %s", r.Verb, strings.Join(r.Names, ","))
	for _, extra := range []struct {
		given bool
		text  string
	}{{r.Once, "once"}, {r.Now, "now"}, {r.NoWait, "no-wait"}, {r.Timeout > 0, "timeout=" + r.Timeout.String()}, {r.Signal > 0, fmt.Sprintf("signal=%d", r.Signal)},
		{r.Verb == control.Rollback || r.Verb == control.Scale && !r.Reset, fmt.Sprintf("number=%d", r.Number)}, {r.Reset, "reset"}, {r.Unpin, "unpin"}} {
		if extra.given {
			got += " " + extra.text
		}
	}
	if r.Run != nil {
		got = fmt.Sprintf("run %q in %q with %q", r.Run.Command, r.Run.Directory, r.Run.Environment)
	}
	if want := strings.Join(args, " "); (strings.TrimSpace(got) == want) == neg {
		ts.Fatalf("asked for %q, want %q", strings.TrimSpace(got), want)
	}
}

// pidGone is `pidgone FILE`: the process whose pid the file holds does not live.
func pidGone(ts *testscript.TestScript, neg bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	if err != nil {
		ts.Fatalf("no pid in %s", args[0])
	}
	if gone := errors.Is(syscall.Kill(pid, 0), syscall.ESRCH); gone == neg {
		ts.Fatalf("pid %d: gone is %v", pid, gone)
	}
}

// fakeKeeper does for abide what the real one does: it takes the lock, writes its
// pid into it, has the socket served, and ends on TERM or when the lease breaks.
// Its command line goes to the file argv in RUN.
func fakeKeeper() {
	args := os.Args[1:]
	run, lease := "", -1
	for n, arg := range args {
		switch {
		case arg == "--":
			goto parsed
		case arg == "--run":
			run = args[n+1]
		case arg == "--lease-fd":
			lease, _ = strconv.Atoi(args[n+1])
		}
	}
parsed:
	if run == "" {
		fmt.Fprintln(os.Stderr, "abide-keeper: --run is missing")
		os.Exit(100)
	}
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "abide-keeper:", err)
			os.Exit(111)
		}
	}
	signals := make(chan os.Signal, 1) // before anybody can know that it is there
	signal.Notify(signals, syscall.SIGTERM)
	lock, err := os.OpenFile(filepath.Join(run, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	must(err)
	must(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	stat, err := proctree.ReadStat("/proc", os.Getpid())
	must(err)
	fmt.Fprintf(lock, "%d %d\n", os.Getpid(), stat.Start) // as the keeper does
	self, err := os.Executable()
	must(err)
	for n, arg := range args {
		args[n] = strings.ReplaceAll(arg, filepath.Dir(self), "BIN")
	}
	must(os.WriteFile(filepath.Join(run, "argv"), []byte(strings.Join(args, "\n")+"\n"), 0o644))
	ended := make(chan int, 4)
	f := apitest.New("web")
	f.SetAbout(func(about *control.About) { about.Keeper, about.Run = os.Getpid(), run })
	f.Hook = func(_ context.Context, req control.Request) ([]control.Outcome, error, bool) {
		switch req.Verb {
		case control.Shutdown:
			f.Event("", "abide", "ended", map[string]string{"exit_code": "5"})
			ended <- 5
			return []control.Outcome{{Done: true, Message: "everything is stopped"}}, nil, true
		case control.Apply:
			os.WriteFile(filepath.Join(run, "applied"), nil, 0o644)
		}
		return nil, nil, false
	}
	must(os.Chdir(run)) // its path may be too long for an address
	os.Remove("control.sock")
	l, err := net.Listen("unix", "control.sock")
	must(err)
	server := api.New(f, api.Options{})
	go server.Serve(l)
	go func() { <-signals; ended <- 7 }()
	if lease >= 0 {
		go func() {
			os.NewFile(uintptr(lease), "lease").Read(make([]byte, 1))
			os.WriteFile(filepath.Join(run, "lease-broke"), nil, 0o644)
			ended <- 9
		}()
	}
	code := <-ended
	server.Shutdown(context.Background())
	os.Exit(code)
}
