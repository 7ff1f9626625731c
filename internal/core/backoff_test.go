package core

import (
	"math"
	"testing"
	"time"
)

func TestBackoffDoublesUpToItsCap(t *testing.T) {
	b := Backoff{First: 100 * ms, Factor: 2, Max: 30 * time.Second}
	want := []time.Duration{
		100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 25600 * ms,
		30 * time.Second, 30 * time.Second,
	}
	for level, d := range want {
		if got := b.delay(uint8(level), 0); got != d {
			t.Errorf("level %d waits %v, want %v", level, got, d)
		}
	}
}

func TestJitterSpreadsButNeverBeyondTheCap(t *testing.T) {
	b := Backoff{First: 100 * ms, Factor: 2, Max: 30 * time.Second, Jitter: 0.2}
	for _, tt := range []struct {
		level     uint8
		low, high time.Duration
	}{
		{0, 80 * ms, 120 * ms},
		{1, 160 * ms, 240 * ms},
		{8, 20480 * ms, 30 * time.Second},
		{9, 24 * time.Second, 30 * time.Second},
		{255, 24 * time.Second, 30 * time.Second},
	} {
		low, mid, high := b.delay(tt.level, 0), b.delay(tt.level, math.MaxUint32/2), b.delay(tt.level, math.MaxUint32)
		if low != tt.low || high != tt.high {
			t.Errorf("level %d is spread over %v to %v, want %v to %v", tt.level, low, high, tt.low, tt.high)
		}
		if mid <= low || mid >= high {
			t.Errorf("level %d: half the random range gives %v", tt.level, mid)
		}
	}
}

func TestBackoffTakesWhatADefinitionMaySay(t *testing.T) {
	huge := time.Duration(math.MaxInt64)
	for _, tt := range []struct {
		name  string
		b     Backoff
		level uint8
		want  time.Duration
	}{
		{"nothing is one millisecond", Backoff{}, 7, ms},
		{"no growth", Backoff{First: ms * 50, Factor: 1, Max: time.Hour}, 200, 50 * ms},
		{"shrinking counts as no growth", Backoff{First: ms * 50, Factor: 0.5, Max: time.Hour}, 3, 50 * ms},
		{"not a number counts as no growth", Backoff{First: ms * 50, Factor: math.NaN(), Max: time.Hour}, 3, 50 * ms},
		{"a cap below the first", Backoff{First: 10 * ms, Factor: 2, Max: ms}, 5, 10 * ms},
		{"infinite growth", Backoff{First: ms, Factor: math.Inf(1), Max: time.Minute}, 1, time.Minute},
		{"centuries", Backoff{First: huge, Factor: 3, Max: huge}, 255, huge},
		{"jitter of all", Backoff{First: time.Second, Jitter: 7}, 0, ms},
		{"jitter of no number", Backoff{First: time.Second, Jitter: math.NaN()}, 0, time.Second},
	} {
		if got := tt.b.delay(tt.level, 0); got != tt.want {
			t.Errorf("%s: waits %v, want %v", tt.name, got, tt.want)
		}
	}
}

// crashing steps through a failed start and returns the delay after it.
func crashing(t *testing.T, cfg *Config, s *State, now *Time) time.Duration {
	t.Helper()
	*s, _ = Step(cfg, *s, Event{Kind: EvSpawnFailed, Run: s.Run}, *now)
	wait := time.Duration(s.Deadline - *now)
	*now = s.Deadline
	*s, _ = Step(cfg, *s, Event{Kind: EvTick}, *now)
	if s.Phase != Spawning {
		t.Fatalf("after the delay it is %v", s.Phase)
	}
	return wait
}

func TestDelaysOfAServiceThatKeepsFailing(t *testing.T) {
	cfg := usual()
	cfg.Delay = 5 * time.Second
	now := curtain
	s, _ := Step(&cfg, State{}, Event{Kind: EvStart}, now)
	for i, want := range []time.Duration{5100 * ms, 5200 * ms, 5400 * ms, 5800 * ms, 6600 * ms} {
		if got := crashing(t, &cfg, &s, &now); got != want {
			t.Errorf("delay %d is %v, want %v", i, got, want)
		}
	}
	for range 1000 {
		crashing(t, &cfg, &s, &now)
	}
	if got := crashing(t, &cfg, &s, &now); got != 35*time.Second {
		t.Errorf("after a thousand failures it waits %v", got)
	}
	if s.Restarts != 1006 {
		t.Errorf("%d restarts are counted", s.Restarts)
	}
}

func TestTimesFarAwayDoNotOverflow(t *testing.T) {
	cfg := usual()
	cfg.StopTimeout, cfg.Delay, cfg.Backoff.First, cfg.Backoff.Max = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
	s, _ := Step(&cfg, State{}, Event{Kind: EvStart}, curtain)
	s, _ = Step(&cfg, s, Event{Kind: EvSpawnFailed, Run: s.Run}, curtain)
	if s.Phase != Delaying || s.Deadline != math.MaxInt64 {
		t.Errorf("it is %v until %d", s.Phase, s.Deadline)
	}
	s, _ = Step(&cfg, s, Event{Kind: EvStart}, curtain)
	s, _ = Step(&cfg, s, Event{Kind: EvSpawned, Run: s.Run}, curtain)
	s, _ = Step(&cfg, s, Event{Kind: EvStop}, curtain)
	if s.Phase != Stopping || s.Deadline != math.MaxInt64 {
		t.Errorf("it is %v until %d", s.Phase, s.Deadline)
	}
}
