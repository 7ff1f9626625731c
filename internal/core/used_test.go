package core

import (
	"testing"
	"time"
)

func TestNumbersThatARollUsedUpAreNotGivenOutAgain(t *testing.T) {
	cfg := Config{StopSteps: 1, StopTimeout: time.Second}
	st, _ := Step(&cfg, State{}, Event{Kind: EvStart}, 1)
	st, _ = Step(&cfg, st, Event{Kind: EvSpawned, Run: 1}, 2)
	for _, used := range []uint64{2, 4, 3} {
		st, _ = Step(&cfg, st, Event{Kind: EvUsed, Run: used}, 3)
	}
	if st.Run != 1 || st.Phase != Running {
		t.Fatalf("the run that lives is %d in phase %v, want 1 and running", st.Run, st.Phase)
	}
	st, _ = Step(&cfg, st, Event{Kind: EvExited, Run: 1, End: Crash}, 4)
	st, acts := Step(&cfg, st, Event{Kind: EvCleaned, Run: 1}, 5)
	if st.Phase == Delaying {
		st, acts = Step(&cfg, st, Event{Kind: EvTick}, st.Deadline)
	}
	if st.Run != 5 || acts.N != 1 || acts.List[0].Run != 5 || st.Skip != 0 {
		t.Errorf("the next run is %d, skip %d, actions %v; want 5", st.Run, st.Skip, acts.All())
	}
	// What another caller finds counts as well.
	st.Skip = 3
	st, _ = Step(&cfg, st, Event{Kind: EvLost, Run: 7}, st.Began+9)
	if st.Run+uint64(st.Skip) < 8 {
		t.Errorf("after the loss it is run %d and skips %d, want 8 used up", st.Run, st.Skip)
	}
}
