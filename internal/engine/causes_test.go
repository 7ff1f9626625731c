package engine

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// chainText is the chain behind a service's state, one "name kind" a link.
func (w *world) chainText(name string) string {
	var links []string
	chain, err := w.eng.chain(context.Background(), w.service(name).info.Chain, func(*control.Event) bool { return true })
	if err != nil {
		w.t.Fatal(err)
	}
	for _, ev := range chain {
		links = append(links, strings.TrimSpace(ev.Service+" "+ev.Kind))
	}
	return strings.Join(links, ", ")
}

func TestAChainBeginsWithWhatNobodyDecided(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	if got, want := w.chainText("web"), "abide, web state, web spawn, web state"; got != want {
		t.Errorf("after boot the chain is %q, want %q", got, want)
	}
	w.now += int64(2 * time.Second)
	w.keeper.end("web", 11)
	w.run()
	if got := w.chainText("web"); !strings.HasPrefix(got, "web exit, ") || strings.Count(got, "web spawn") != 1 {
		t.Errorf("after a crash the chain is %q, want the crash first and one start", got)
	}
	w.ask(control.Restart, "web")
	w.run()
	if got := w.chainText("web"); !strings.HasPrefix(got, "web operator, web state, web exit, ") {
		t.Errorf("after a restart the chain is %q, want the operator first and then the end he brought about", got)
	}
}

func TestChainsGoOnOverEngines(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.ask(control.Stop, "web")
	before := w.chainText("web")
	w.boot()
	w.run()
	if got := w.chainText("web"); got != before {
		t.Errorf("the next engine tells %q, the one before told %q", got, before)
	}
}

func TestEveryEventNamesAnEarlierOne(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.define("db", nil)
	w.boot()
	w.run()
	for range 3 {
		w.keeper.end("db", 1<<8)
		w.run()
		w.ask(control.Restart, "web")
		w.advance(time.Minute)
	}
	for _, ev := range w.history {
		because, err := strconv.ParseUint(ev.Fields[becauseField], 10, 64)
		if ev.Fields[becauseField] != "" && (err != nil || because == 0 || because >= ev.Cursor) {
			t.Errorf("event %d %q names event %q as its cause", ev.Cursor, ev.Text, ev.Fields[becauseField])
		}
	}
}

func TestRunsArePutTogetherFromEvents(t *testing.T) {
	w := newWorld(t, 1)
	w.define("web", nil)
	w.boot()
	w.run()
	w.now += int64(2 * time.Second)
	w.keeper.end("web", 11|0x80)
	w.run()
	w.ask(control.Stop, "web")
	w.run()
	var runs runList
	for _, ev := range w.history {
		if ev.Service == "web" {
			runs.add(&ev)
		}
	}
	if len(runs.list) != 2 {
		t.Fatalf("%d runs, want 2: %+v", len(runs.list), runs.list)
	}
	first, second := runs.list[0], runs.list[1]
	if first.Pid == 0 || first.Exit == nil || first.Exit.Signal == nil || *first.Exit.Signal != "SEGV" || !first.Exit.Core {
		t.Errorf("the first run is %+v with exit %+v, want a SEGV with a core dump", first, first.Exit)
	}
	if got := first.End.Sub(first.Start); got != 2*time.Second {
		t.Errorf("the first run lasted %s, want 2s", got)
	}
	if second.Cause != "restart.when asks for it" || second.Exit == nil || *second.Exit.Signal != "TERM" {
		t.Errorf("the second run is %+v, want one that restart.when asked for and TERM ended", second)
	}
}

func TestAChainGoesOnThroughNeeds(t *testing.T) {
	w := newWorld(t, 1)
	for _, pair := range [][2]string{{"db", ""}, {"web", "db"}, {"front", "web"}} {
		w.define(pair[0], func(s *model.Service) {
			if pair[1] != "" {
				s.Needs.Requires = []model.Dependency{{Service: pair[1]}}
			}
		})
	}
	w.boot()
	w.run()
	w.expect("front", "running")
	w.ask(control.Stop, "db")
	w.run()
	w.expect("front", "waiting")
	for _, name := range []string{"web", "front"} {
		if got := w.chainText(name); !strings.HasPrefix(got, "db operator, ") {
			t.Errorf("%s waits because of the chain %q, want one that begins with the stop of db\n%s", name, got, w.story())
		}
	}
	unmet := w.eng.unmet(w.service("front"))
	if len(unmet) != 1 || unmet[0].Name != "web" || len(unmet[0].Unmet) != 1 || unmet[0].Unmet[0].Name != "db" {
		t.Errorf("front lacks %+v, want web, and below it db", unmet)
	}
	if got := w.eng.impact(w.service("db")); len(got) != 2 {
		t.Errorf("down because of db are %v, want web and front", got)
	}
}
