package core

import (
	"strings"
	"testing"
)

func TestEveryValueHasItsWord(t *testing.T) {
	seen := map[string]bool{}
	check := func(kind, word string) {
		t.Helper()
		if word == "" || word == "unknown" || seen[kind+word] {
			t.Errorf("%s: %q is no word of its own", kind, word)
		}
		seen[kind+word] = true
	}
	for p := range phases {
		check("phase", p.String())
	}
	for c := range causes {
		check("cause", c.String())
	}
	for e := range ends {
		check("end", e.String())
	}
	for k := range eventKinds {
		check("event", k.String())
	}
	for k := range actionKinds {
		check("action", k.String())
	}
	for k := range HookKinds {
		check("hook", k.String())
	}
	for w := Always; w <= OnCrash; w++ {
		check("rule", w.String())
	}
	for _, word := range []string{phases.String(), causes.String(), ends.String(), eventKinds.String(), actionKinds.String()} {
		if word != "unknown" {
			t.Errorf("a value out of range is called %q", word)
		}
	}
}

func TestStateNamesAreTheWordsOfTheDesign(t *testing.T) {
	want := map[Phase]string{
		Down: "stopped", Delaying: "waiting", Spawning: "starting", Starting: "starting", Running: "running",
		Stopping: "stopping", Cleaning: "stopping", Finished: "finished", Failed: "failed",
		Waiting: "waiting", Preparing: "starting", Arriving: "starting", Finding: "starting",
		Leaving: "stopping", Closing: "stopping", Reached: "running",
	}
	if got := StateName(&Config{}, State{Phase: Running, Degraded: true}); got != "degraded" {
		t.Errorf("a degraded service is called %q", got)
	}
	for p := range phases {
		if got := StateName(&Config{}, State{Phase: p}); got != want[p] {
			t.Errorf("%v is called %q, want %q", p, got, want[p])
		}
	}
}

func TestAReasonIsAClauseWithoutPunctuation(t *testing.T) {
	for c := range causes {
		checkReason(t, c.Fault())
	}
}

func checkReason(t *testing.T, why string) {
	t.Helper()
	if strings.TrimSpace(why) != why || strings.HasSuffix(why, ".") || strings.ToLower(why[:1]) != why[:1] {
		t.Errorf("%q is no clause that fits after a service's name", why)
	}
}

func TestATaskIsReadyWhenItHasFinished(t *testing.T) {
	daemon, task := Config{}, Config{Task: true}
	running, finished := State{Phase: Running}, State{Phase: Finished}
	if !running.Ready(&daemon) || running.Ready(&task) || finished.Ready(&daemon) || !finished.Ready(&task) {
		t.Error("a daemon is ready when it runs, a task when it has finished")
	}
}
