package core

import (
	"slices"
	"testing"
	"time"
)

// The rules by which other systems stop or slow down a program that keeps dying,
// as their sources have them, in our terms.
var (
	// init(8) of SysV: TESTTIME 120, MAXSPAWN 10, SLEEPTIME 300.
	inittab = Config{Limit: Limit{Count: 10, Window: 2 * time.Minute, RetryAfter: 5 * time.Minute, Starts: true, FromFirst: true}}
	// upstart: respawn limit 10 5.
	upstart = Config{Limit: Limit{Count: 10, Window: 5 * time.Second, FromFirst: true}}
	// systemd: StartLimitBurst=5, StartLimitIntervalSec=10, RestartSec=100ms.
	systemd = Config{Delay: 100 * ms, Limit: Limit{Count: 5, Window: 10 * time.Second, Starts: true, FromFirst: true}}
	// svc.startd: FAULT_THRESHOLD 3, and the fifth start whose last four follow each
	// other by less than 600 s on average.
	smfStart = Config{ReadyWait: true, Limit: Limit{InRow: 3}}
	smfRate  = Config{Limit: Limit{Count: 4, Window: 40 * time.Minute, Starts: true}}
	// FreeBSD's init: GETTY_SPACING 5, GETTY_SLEEP 30, GETTY_NSPACE 3; in OpenBSD each
	// quick one is late.
	gettyFreeBSD = Config{Short: Short{Under: 5 * time.Second, Delay: 30 * time.Second, After: 3, Counted: true}}
	gettyOpenBSD = Config{Short: Short{Under: 5 * time.Second, Delay: 30 * time.Second, Counted: true}}
	// launchd: ThrottleInterval 10 from start to start.
	launchd = Config{Spacing: 10 * time.Second}
)

// live starts a service whose runs last so long and returns when its runs began, up
// to most of them, and how it ended up. A run that does not become ready is stopped
// at the end of its life by failing.
func live(cfg Config, life time.Duration, most int) (began []time.Duration, s State, now Time) {
	now = curtain
	s, acts := Step(&cfg, State{}, Event{Kind: EvStart}, now)
	for {
		switch {
		case acts.N > 0 && acts.List[0].Kind == ActSpawn:
			if len(began) == most {
				return began, s, now
			}
			began = append(began, time.Duration(now-curtain))
			s, _ = Step(&cfg, s, Event{Kind: EvSpawned, Run: s.Run}, now)
			now += Time(life)
			s, _ = Step(&cfg, s, Event{Kind: EvExited, Run: s.Run, End: Failure}, now)
			s, acts = Step(&cfg, s, Event{Kind: EvCleaned, Run: s.Run}, now)
		case s.Deadline != 0:
			now = s.Deadline
			s, acts = Step(&cfg, s, Event{Kind: EvTick}, now)
		default:
			return began, s, now
		}
	}
}

func seconds(list ...float64) []time.Duration {
	var out []time.Duration
	for _, n := range list {
		out = append(out, time.Duration(n*float64(time.Second)))
	}
	return out
}

func TestTheRulesOfOtherSystems(t *testing.T) {
	const at11 = 11 * 9 // the last of ten starts of a program that lives 11 s
	for _, tt := range []struct {
		name  string
		cfg   Config
		life  time.Duration
		most  int
		began []time.Duration
		end   Cause // CauseNone: it goes on
	}{
		{"inittab lets ten starts be and rests for five minutes", inittab, time.Second, 13,
			seconds(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 310, 311, 312), CauseNone},
		{"inittab stops what lives 11 s", inittab, 11 * time.Second, 12,
			seconds(0, 11, 22, 33, 44, 55, 66, 77, 88, at11, at11+11+300, at11+22+300), CauseNone},
		{"inittab never stops what lives 12 s", inittab, 12 * time.Second, 13,
			seconds(0, 12, 24, 36, 48, 60, 72, 84, 96, 108, 120, 132, 144), CauseNone},
		{"upstart gives up after eleven runs", upstart, 0, 20, seconds(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), CauseLimit},
		{"upstart's window begins with its first respawn", upstart, time.Second, 14,
			seconds(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13), CauseNone},
		{"systemd refuses the sixth start", systemd, 0, 20, seconds(0, 0.1, 0.2, 0.3, 0.4), CauseLimit},
		{"systemd lets slow ones be", systemd, 3 * time.Second, 7,
			seconds(0, 3.1, 6.2, 9.3, 12.4, 15.5, 18.6), CauseNone},
		{"svc.startd gives up at the third failed start", smfStart, time.Minute, 9, seconds(0, 60, 120), CauseLimit},
		{"svc.startd gives up at the fifth start in 40 minutes", smfRate, 9 * time.Minute, 9,
			seconds(0, 540, 1080, 1620), CauseLimit},
		{"svc.startd lets one in ten minutes be", smfRate, 10 * time.Minute, 7,
			seconds(0, 600, 1200, 1800, 2400, 3000, 3600), CauseNone},
		{"FreeBSD's getty sleeps after the fourth quick one", gettyFreeBSD, 0, 10,
			seconds(0, 0, 0, 0, 30, 30, 30, 30, 30, 60), CauseNone},
		{"FreeBSD lets a getty of five seconds be", gettyFreeBSD, 5 * time.Second, 6, seconds(0, 5, 10, 15, 20, 25), CauseNone},
		{"OpenBSD's getty sleeps after each quick one", gettyOpenBSD, time.Second, 5, seconds(0, 31, 32, 63, 64), CauseNone},
		{"launchd counts from start to start", launchd, time.Second, 4, seconds(0, 10, 20, 30), CauseNone},
		{"launchd starts at once what lived 11 s", launchd, 11 * time.Second, 3, seconds(0, 11, 22), CauseNone},
	} {
		began, s, _ := live(tt.cfg, tt.life, tt.most)
		if tt.name == "svc.startd gives up at the third failed start" {
			// Its attempts have no delay but the shortest.
			for i := range began {
				began[i] = began[i].Round(time.Second)
			}
		}
		if !slices.Equal(began, tt.began) {
			t.Errorf("%s: it starts at %v, want %v", tt.name, began, tt.began)
		}
		if (s.Phase == Failed) != (tt.end != CauseNone) || tt.end != CauseNone && s.Cause != tt.end {
			t.Errorf("%s: it is %v (%v)", tt.name, s.Phase, s.Cause)
		}
	}
}

func TestAStartOverALimitOfStartsIsRefusedUntilItIsCleared(t *testing.T) {
	cfg := systemd
	_, s, now := live(cfg, 0, 20)
	step := func(kind EventKind) Actions {
		var acts Actions
		s, acts = Step(&cfg, s, Event{Kind: kind}, now)
		return acts
	}
	for _, kind := range []EventKind{EvStart, EvRestart, EvStartOnce} {
		if acts := step(kind); acts.N != 0 || s.Phase != Failed || s.Cause != CauseLimit {
			t.Errorf("after %v it is %v (%v) and asks for %v", kind, s.Phase, s.Cause, acts.All())
		}
	}
	cleared := s
	if acts := step(EvClear); s.Phase != Spawning || acts.N != 1 {
		t.Errorf("after clear it is %v", s.Phase)
	}
	s, now = cleared, now+Time(10*time.Second)
	if acts := step(EvStart); s.Phase != Spawning || acts.N != 1 {
		t.Errorf("when the window is over it is %v", s.Phase)
	}
}

func TestFailuresInARowAreForgottenByReadiness(t *testing.T) {
	cfg := smfStart
	s, _ := Step(&cfg, State{}, Event{Kind: EvStart}, curtain)
	run := func(ready bool) {
		s, _ = Step(&cfg, s, Event{Kind: EvSpawned, Run: s.Run}, curtain)
		if ready {
			s, _ = Step(&cfg, s, Event{Kind: EvReady, Run: s.Run}, curtain)
		}
		s, _ = Step(&cfg, s, Event{Kind: EvExited, Run: s.Run, End: Crash}, curtain)
		s, _ = Step(&cfg, s, Event{Kind: EvCleaned, Run: s.Run}, curtain)
		if s.Phase == Delaying {
			s, _ = Step(&cfg, s, Event{Kind: EvTick}, s.Deadline)
		}
	}
	for _, ready := range []bool{false, false, true, false, false} {
		if run(ready); s.Phase != Spawning {
			t.Fatalf("it is %v (%v)", s.Phase, s.Cause)
		}
	}
	if run(false); s.Phase != Failed || s.Cause != CauseLimit {
		t.Errorf("after three in a row it is %v (%v)", s.Phase, s.Cause)
	}
}

func TestAShortRunIsFollowedByItsDelayAndNoBackoff(t *testing.T) {
	cfg := usual()
	cfg.Short = Short{Under: 5 * time.Second, Delay: 2 * time.Second}
	began, _, _ := live(cfg, time.Second, 4)
	if want := seconds(0, 3, 6, 9); !slices.Equal(began, want) {
		t.Errorf("it starts at %v, want %v", began, want)
	}
	began, _, _ = live(cfg, 5*time.Second, 3)
	if want := seconds(0, 5, 10); !slices.Equal(began, want) {
		t.Errorf("what is not short starts at %v, want %v", began, want)
	}
}
