package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/model"
)

func TestAWatchdogThatBitesIsAskedForOnceWhateverEngineDies(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t, 1)
		w.define("web", func(s *model.Service) { s.Health.Watchdog = 5 * time.Second })
		w.ignores["web"] = true
		w.boot()
		w.run()
		w.expect("web", "running")
		w.crashIn = at
		w.advance(6 * time.Second)
		died := w.crashIn == 0
		w.crashIn = 0
		w.boot()
		w.run()
		w.advance(6 * time.Second)
		w.expect("web", "stopping")
		if sent := w.keeper.slots["web"].signals; !slices.Equal(sent, []int{sigABRT}) {
			t.Fatalf("killed at call %d: it got %v, want ABRT once", at, sent)
		}
		w.advance(4 * time.Second)
		w.expect("web", "running")
		if got := w.service("web").st.Run; got != 2 {
			t.Fatalf("killed at call %d: it is run %d", at, got)
		}
		if !died {
			return
		}
	}
}
