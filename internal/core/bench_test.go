package core

import "testing"

func BenchmarkStep(b *testing.B) {
	cfg := zoo["daemon"]
	running, _ := Step(&cfg, State{Run: 1, Wanted: true, Phase: Spawning}, Event{Kind: EvSpawned, Run: 1}, base)
	for _, bb := range []struct {
		name string
		ev   Event
	}{
		{"late tick", Event{Kind: EvTick}},
		{"old news", Event{Kind: EvExited, Run: 9}},
		{"exit", Event{Kind: EvExited, Run: 1, End: Crash}},
		{"stop", Event{Kind: EvStop}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Step(&cfg, running, bb.ev, base)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	s := State{Run: 1, Wanted: true, Phase: Running}
	var buf [EncodedSize]byte
	b.ReportAllocs()
	for b.Loop() {
		s.Encode(&buf)
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	cfg := zoo["many signals"]
	cfg.Limit = Limit{Count: 5}
	got := testing.AllocsPerRun(100, func() {
		s := State{}
		for _, ev := range []Event{
			{Kind: EvStart}, {Kind: EvSpawned, Run: 1}, {Kind: EvPause}, {Kind: EvRestart},
			{Kind: EvExited, Run: 1, End: Success}, {Kind: EvCleaned, Run: 1}, {Kind: EvSpawnFailed, Run: 2},
		} {
			s, _ = Step(&cfg, s, ev, base)
		}
	})
	if got != 0 {
		t.Errorf("a life of seven events allocates %v times", got)
	}
}
