//go:build linux

package contain

import (
	"context"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// report is how the perl programs say that they are ready.
const report = `sub report { open(my $r, ">>", $ARGV[0]) or die; syswrite($r, "$$\n"); close $r } `

const forever = `sleep 1000 while 1;`

// alertly is forever for programs with signal handlers, which perl runs between
// two operations: a signal just before a long sleep would wait for its end.
const alertly = `select(undef, undef, undef, 0.01) while 1;`

// daemonize is the classic double fork.
const daemonize = report + `use POSIX "setsid"; fork and exit; setsid; my $middle = $$; fork and exit; 1 while getppid == $middle; report; ` + forever

func TestADaemonizedProcessIsEndedAfterItsMainProcess(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, daemonize)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		if g.Empty(true) {
			t.Error("the group is empty, but a process of it lives")
		}
		r := g.Clean(context.Background(), Options{})
		w.wantGone("the daemonized process", left)
		w.wantClean(g, r)
		if r.Ended != 1 || !r.NeededKill {
			t.Errorf("result is %+v, want one process ended by KILL", r)
		}
	})
}

func TestAChildInTheSameSessionIsEndedAfterItsMainProcess(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`%ENV = (); fork and exit; exec "/usr/bin/env", "-i", "/usr/bin/perl", "-e", '`+report+forever+` ', $ARGV[0] if !@ARGV; report; `+forever)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		r := g.Clean(context.Background(), Options{})
		w.wantGone("the child", left)
		w.wantClean(g, r)
	})
}

// shed starts a process without environment and session, and without the log pipe
// unless keepPipe is set.
func shed(keepPipe bool) string {
	shut := `open(STDOUT, ">", "/dev/null"); `
	if keepPipe {
		shut = ""
	}
	return report + `use POSIX qw(setsid pause); if (fork) { pause; exit }
		setsid; ` + shut + `
		exec "/usr/bin/env", "-i", "/usr/bin/perl", "-e", '` + report + ` report; ` + forever + `', $ARGV[0];`
}

func TestAProcessThatOnlyKeptTheLogPipeIsEnded(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, shed(true))
		left := w.watch(w.report())
		syscall.Kill(main, syscall.SIGKILL)
		w.keeper.waitEnd(main)
		if g.Empty(true) {
			t.Error("the group is empty, but a process of it lives")
		}
		r := g.Clean(context.Background(), Options{})
		w.wantGone("the process", left)
		w.wantClean(g, r)
	})
}

func TestAProcessThatShedEveryMarkIsEndedWhenItWasSeenBeforeTheStop(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, shed(false))
		left := w.watch(w.report())
		g.Snapshot()
		syscall.Kill(main, syscall.SIGKILL)
		w.keeper.waitEnd(main)
		r := g.Clean(context.Background(), Options{})
		w.wantGone("the process", left)
		w.wantClean(g, r)
	})
}

func TestAProcessThatShedEveryMarkIsNamedAndLeftAlone(t *testing.T) {
	w := newWorld(t, Traced)
	g, main := w.perl("web", 1, shed(false))
	pid := w.report()
	left := w.watch(pid)
	syscall.Kill(main, syscall.SIGKILL)
	w.keeper.waitEnd(main)
	for range 2 {
		r := g.Clean(context.Background(), Options{Grace: time.Hour})
		w.wantAlive("the stray", left)
		if len(r.Strays) != 1 || r.Strays[0].Pid != pid || r.Strays[0].Comm != "perl" || r.Ended != 0 || r.Err != nil {
			t.Errorf("result is %+v, want process %d named as a stray", r, pid)
		}
	}
	if !g.Empty(true) {
		t.Error("a stray keeps the group from being empty")
	}

	// The stray is nobody else's news.
	other, main := w.perl("db", 1, "exit 0")
	w.keeper.waitEnd(main)
	if r := other.Clean(context.Background(), Options{}); len(r.Strays) != 0 {
		t.Errorf("another run names the stray too: %+v", r)
	}
	w.wantAlive("the stray", left)
}

func TestOtherRunsAreNotTouched(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		// One neighbour began before the run that is ended, one after it, and both
		// have an orphan of their own; so has an older run of the same service.
		older, mainOfOlder := w.perl("web", 1, daemonize)
		others := []int{w.watch(w.report())}
		w.keeper.waitEnd(mainOfOlder)
		older.Leave()
		_, before := w.perl("db", 1, report+`if (!fork) { if (!fork) { report; `+forever+`} exit } wait; report; `+forever)
		others = append(others, w.watch(before), w.watch(w.report()), w.watch(w.report()))
		g, main := w.perl("web", 2, daemonize)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		_, after := w.perl("cache", 1, report+`if (!fork) { if (!fork) { report; `+forever+`} exit } wait; report; `+forever)
		others = append(others, w.watch(after), w.watch(w.report()), w.watch(w.report()))

		r := g.Clean(context.Background(), Options{})
		w.wantGone("the leftover", left)
		w.wantClean(g, r)
		if r.Ended != 1 {
			t.Errorf("%d processes were ended, want 1", r.Ended)
		}
		w.wantAlive("a process of another run", others...)
		w.wantAlive("the engine", w.watch(w.keeper.engine))
		w.wantAlive("the keeper", w.watch(w.keeper.pid()))
	})
}

func TestWhatObeysTermNeedsNoKill(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, daemonize)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		r := g.Clean(context.Background(), Options{Grace: time.Hour})
		w.wantGone("the leftover", left)
		w.wantClean(g, r)
		if r.Ended != 1 || r.NeededKill {
			t.Errorf("result is %+v, want one process ended without KILL", r)
		}
	})
}

func TestWhatIgnoresTermIsKilledAfterTheGrace(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`$SIG{TERM} = "IGNORE"; fork and exit; report; `+forever)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		r := g.Clean(context.Background(), Options{Grace: 50 * time.Millisecond})
		w.wantGone("the leftover", left)
		w.wantClean(g, r)
		if r.Ended != 1 || !r.NeededKill {
			t.Errorf("result is %+v, want one process ended by KILL", r)
		}
	})
}

func TestKillDuringTheGraceEndsBoth(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`$SIG{TERM} = sub { report }; fork and exit; report; `+alertly)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		cleaned := make(chan Result)
		go func() { cleaned <- g.Clean(context.Background(), Options{Grace: time.Hour}) }()
		w.report() // TERM has arrived
		r := g.Kill(context.Background())
		w.wantGone("the leftover", left)
		w.wantClean(g, r)
		if r = <-cleaned; !r.NeededKill {
			t.Errorf("result of Clean is %+v, but KILL was needed", r)
		}
	})
}

func TestAStoppedProcessSeesTerm(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, daemonize)
		pid := w.report()
		left := w.watch(pid)
		w.keeper.waitEnd(main)
		syscall.Kill(pid, syscall.SIGSTOP)
		r := g.Clean(context.Background(), Options{Grace: time.Hour})
		w.wantGone("the stopped process", left)
		w.wantClean(g, r)
		if r.NeededKill {
			t.Error("KILL was needed for a process that obeys TERM")
		}
	})
}

func TestAFrozenRunIsEnded(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		for i, grace := range []time.Duration{0, time.Hour} {
			g, main := w.perl("web", uint64(i+1), daemonize)
			left := w.watch(w.report())
			w.keeper.waitEnd(main)
			if err := g.Freeze(); err != nil {
				t.Fatal(err)
			}
			r := g.Clean(context.Background(), Options{Grace: grace})
			w.wantGone("the frozen process", left)
			w.wantClean(g, r)
			g.Remove()
		}
	})
}

func TestFreezeStopsAllAndThawLetsThemGoOn(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`$SIG{USR1} = sub { report }; fork; report; `+alertly)
		pids := []int{w.report(), w.report()}
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		if got := g.Members(); len(got) != 2 || !slices.Contains(got, main) {
			t.Errorf("members are %v, want %v", got, pids)
		}
		if err := g.SignalAll(int(syscall.SIGUSR1)); err != nil {
			t.Fatal(err)
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
		answers := []int{w.report(), w.report()}
		slices.Sort(pids)
		slices.Sort(answers)
		if !slices.Equal(pids, answers) {
			t.Errorf("%v answered, want %v", answers, pids)
		}
		w.wantClean(g, g.Kill(context.Background()))
	})
}

func TestKillEndsTheMainProcessAndAllBelowIt(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`use POSIX "setsid"; if (!fork) { setsid; if (!fork) { setsid; report; `+forever+` } report; `+forever+` } report; `+forever)
		all := []int{w.watch(w.report()), w.watch(w.report()), w.watch(w.report())}
		if g.Empty(false) {
			t.Error("the group is empty while its main process lives")
		}
		r := g.Kill(context.Background())
		w.wantGone("a process", all...)
		w.keeper.waitEnd(main)
		w.wantClean(g, r)
		if r.Ended != 3 {
			t.Errorf("%d processes were ended, want 3", r.Ended)
		}
	})
}

func TestZombiesAreNotLeftovers(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		// The middle process never waits for its child.
		g, main := w.perl("web", 1, report+`fork and exit; if (!fork) { report; exit } `+forever)
		zombie := w.watch(w.report())
		awaitEnd(zombie)
		w.keeper.waitEnd(main)
		if got := len(g.Members()); got != 1 {
			t.Errorf("the run has %d members, want 1", got)
		}
		r := g.Clean(context.Background(), Options{})
		w.wantClean(g, r)
	})
}

func TestAProcessWhoseFirstThreadHasExitedIsEnded(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.start("web", 1, order{
			Argv: []string{"/usr/bin/perl", "-e", "fork and exit; exec @ARGV", testBinary(t), w.readyAt},
			Env:  []string{roleVar + "=deadleader"},
		})
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		if g.Empty(true) {
			t.Error("the group is empty, but a thread of it lives")
		}
		r := g.Clean(context.Background(), Options{})
		w.wantGone("the process", left)
		w.wantClean(g, r)
	})
}

func TestAThousandChildrenAreEnded(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`for (1..1000) { if (!fork) { close STDOUT; `+forever+` } } report; `+forever)
		w.report()
		g.Snapshot()
		syscall.Kill(main, syscall.SIGKILL)
		w.keeper.waitEnd(main)
		r := g.Clean(context.Background(), Options{Grace: time.Hour})
		w.wantClean(g, r)
		if r.Ended != 1000 || r.NeededKill {
			t.Errorf("result is %+v, want 1000 processes ended by TERM", r)
		}
	})
}

// bombUID has no other process and may have a few hundred.
const bombUID = 64999

func bomb(w *world, script string) order {
	return order{
		Argv: []string{
			"/usr/bin/setpriv", "--reuid", strconv.Itoa(bombUID), "--clear-groups",
			"/bin/bash", "-c", `ulimit -u 300; exec /usr/bin/perl -e "$0" "$@"`, script, w.readyAt,
		},
	}
}

func TestAForkBombIsEnded(t *testing.T) {
	scripts := map[string]string{
		// It reports when there is no room for more.
		"in one group": report + `my $told; while (1) { defined fork or $told++ or report }`,
		// Each link ends as soon as it has a successor.
		"a chain": report + `my $n; while (1) { my $p = fork; exit if $p; $n++ == 60 and report }`,
		// Each link leaves its session as well.
		"a chain of sessions": report + `use POSIX "setsid"; my $n; while (1) { my $p = fork; exit if $p; setsid; $n++ == 60 and report }`,
		// They continue each other when they are stopped.
		"guards": report + `report; for (1..5) { fork } my $all = getpgrp; while (1) { kill "CONT", -$all; if (my $p = fork) { waitpid $p, 0 } else { exit } }`,
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, w *world) {
				if os.Getuid() != 0 {
					return // needs a user of its own
				}
				w.letEveryoneIn()
				g, _ := w.start("bomb", 1, bomb(w, script))
				w.report()
				r := g.Kill(context.Background())
				w.wantClean(g, r)
			})
		})
	}
}

func TestAnEndedContextEndsTheWait(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		g, main := w.perl("web", 1, report+`$SIG{TERM} = sub { report }; fork and exit; report; `+alertly)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		ctx, cancel := context.WithCancel(context.Background())
		cleaned := make(chan Result)
		go func() { cleaned <- g.Clean(ctx, Options{Grace: time.Hour}) }()
		w.report()
		cancel()
		if r := <-cleaned; len(r.Left) != 1 {
			t.Errorf("result is %+v, want the process that is left", r)
		}
		w.wantAlive("the process", left)
		w.wantClean(g, g.Kill(context.Background()))
	})
}

func TestWhatIsLeftOnPurposeIsNotTheNextRunsLeftover(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		first, main := w.perl("sshd", 1, daemonize)
		kept := w.watch(w.report())
		w.keeper.waitEnd(main)
		first.Leave()
		second, main := w.perl("sshd", 2, daemonize)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		r := second.Clean(context.Background(), Options{Grace: time.Hour})
		w.wantGone("the leftover", left)
		w.wantAlive("the kept process", kept)
		w.wantClean(second, r)
		second.Remove()
		w.settle()
	})
}

func TestANewEngineFindsTheRunsOfTheOld(t *testing.T) {
	eachMode(t, func(t *testing.T, w *world) {
		mode := map[bool]string{true: Traced, false: Cgroup}[w.manager.Kind() == Traced]
		if w.manager.v1 != "" {
			mode = "cgroup-v1"
		}
		_, main := w.perl("web", 1, daemonize)
		left := w.watch(w.report())
		w.keeper.waitEnd(main)
		_, living := w.perl("db", 7, report+`if (!fork) { report; `+forever+`} report; `+forever)
		all := []int{w.watch(w.report()), w.watch(w.report())}

		w.manager = w.detect(mode)
		web, err := w.manager.Adopt("web", 1, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		db, err := w.manager.Adopt("db", 7, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.setMain(db, living)
		w.manager.Sweep()
		r := web.Clean(context.Background(), Options{})
		w.wantGone("the leftover", left)
		w.wantClean(web, r)
		w.wantAlive("a process of the other run", all...)
		w.wantClean(db, db.Kill(context.Background()))
		w.wantGone("a process of the other run", all...)
	})
}
