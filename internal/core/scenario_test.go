package core

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata and docs/state-machine.md with what Step does")

// TestScenarios plays the stories in testdata. Each line is something that
// happens, the indented lines below it are what Step makes of that. A story
// reads like a log, so -update plus a look at the diff is the way to change one.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(string(want))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if got == string(want) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s differs; got:\n%s", file, got)
		})
	}
}

// stage is a story while it is told.
type stage struct {
	cfg Config
	s   State
	now Time
	out strings.Builder
}

const curtain = Time(time.Hour) // when every story begins

func play(text string) (string, error) {
	st := &stage{now: curtain, cfg: usual()}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		st.out.WriteString(line + "\n")
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := st.do(words[0], words[1:]); err != nil {
			return "", fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return st.out.String(), nil
}

// usual is a definition of one line, without jitter so that times are round.
func usual() Config {
	return Config{
		Backoff: Backoff{
			First: 100 * ms, Factor: 2, Max: 30 * time.Second,
			Healthy: time.Second, ResetAfter: time.Minute,
		},
		StopSteps: 1, StopTimeout: 10 * time.Second,
	}
}

var sceneEvents = map[string]Event{
	"start": {Kind: EvStart}, "start-once": {Kind: EvStartOnce}, "need": {Kind: EvNeed},
	"stop": {Kind: EvStop}, "restart": {Kind: EvRestart}, "clear": {Kind: EvClear},
	"pause": {Kind: EvPause}, "resume": {Kind: EvResume}, "hurry": {Kind: EvHurry},
	"spawned": {Kind: EvSpawned}, "spawn-failed": {Kind: EvSpawnFailed}, "ready": {Kind: EvReady},
	"exited": {Kind: EvExited}, "cleaned": {Kind: EvCleaned}, "redefined": {Kind: EvRedefined},
	"adopted": {Kind: EvAdopted}, "lost": {Kind: EvLost}, "tick": {Kind: EvTick},
	"hold": {Kind: EvHold}, "allow": {Kind: EvAllow}, "unmet": {Kind: EvUnmet}, "recheck": {Kind: EvRecheck},
	"healthy": {Kind: EvHealth, OK: true}, "ill": {Kind: EvHealth}, "alive": {Kind: EvWatchdog},
	"extend": {Kind: EvExtend}, "main-found": {Kind: EvMain, OK: true}, "no-main": {Kind: EvMain},
	"hooked": {Kind: EvHooked, OK: true}, "hook-failed": {Kind: EvHooked},
}

func (st *stage) do(verb string, args []string) error {
	switch verb {
	case "config":
		st.cfg = usual()
		return st.configure(args)
	case "advance":
		return st.advance(args)
	case "forget": // the stored state is lost
		st.s = State{}
		return nil
	}
	ev, ok := sceneEvents[verb]
	if !ok {
		return fmt.Errorf("unknown event %q", verb)
	}
	ev.Run, ev.Hook = st.s.Run, st.s.Hook
	for _, arg := range args {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "success":
			ev.End = Success
		case "failure":
			ev.End = Failure
		case "crash":
			ev.End = Crash
		case "give-up":
			ev.End = GiveUp
		case "unknown":
			ev.End = Unknown
		case "permanent":
			ev.Permanent = true
		case "unsure":
			ev.Unsure = true
		case "is-ready":
			ev.Ready = true
		case "must":
			ev.Must = true
		case "run":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return err
			}
			ev.Run = n
		case "for":
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			ev.For = d
		case "ago":
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			ev.At = st.now - Time(d)
		default:
			if err := st.configure([]string{arg}); err != nil {
				return err
			}
		}
	}
	st.step(ev, "")
	return nil
}

func (st *stage) configure(args []string) error {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		durations := map[string]*time.Duration{
			"delay": &st.cfg.Delay, "first": &st.cfg.Backoff.First, "max": &st.cfg.Backoff.Max,
			"healthy": &st.cfg.Backoff.Healthy, "reset-after": &st.cfg.Backoff.ResetAfter,
			"window": &st.cfg.Limit.Window, "retry-after": &st.cfg.Limit.RetryAfter,
			"ready-after": &st.cfg.ReadyAfter, "ready-timeout": &st.cfg.ReadyTimeout,
			"stop-timeout": &st.cfg.StopTimeout, "crash-grace": &st.cfg.CrashGrace,
			"watchdog": &st.cfg.Watchdog, "grace": &st.cfg.HealthGrace,
		}
		if to, ok := durations[name]; ok {
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			*to = d
			continue
		}
		switch name {
		case "when":
			for w := Always; w <= OnCrash; w++ {
				if w.String() == value {
					st.cfg.When = w
				}
			}
		case "task":
			st.cfg.Task, st.cfg.When = true, Never
		case "target":
			st.cfg.Target = true
		case "forking":
			st.cfg.Forking = true
		case "restart-when-ill":
			st.cfg.HealthRestart = true
		case "failures":
			n, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				return err
			}
			st.cfg.HealthFailures = uint8(n)
		case "hooks":
			for kind := range HookKinds {
				st.cfg.Hooks[kind] = value == "all" || strings.Contains(value, kind.String())
			}
		case "wait-ready":
			st.cfg.ReadyWait = true
		case "leave-children":
			st.cfg.LeaveChildren = true
		case "keep-leftovers":
			st.cfg.KeepLeftovers = true
		case "limit":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return err
			}
			st.cfg.Limit.Count = uint32(n)
		case "signals":
			waits := strings.Split(value, ",")
			st.cfg.StopSteps = uint8(len(waits))
			for i, wait := range waits {
				d, err := time.ParseDuration(wait)
				if err != nil {
					return err
				}
				st.cfg.StopWait[i] = d
			}
		default:
			return fmt.Errorf("unknown word %q", arg)
		}
	}
	return nil
}

// advance lets time go by and sends a tick at each deadline.
func (st *stage) advance(args []string) error {
	d, err := time.ParseDuration(strings.Join(args, ""))
	if err != nil {
		return err
	}
	end := st.now + Time(d)
	for range 1000 {
		if st.s.Deadline == 0 || st.s.Deadline > end {
			st.now = end
			return nil
		}
		st.now = max(st.now, st.s.Deadline)
		st.step(Event{Kind: EvTick}, fmt.Sprintf("at %v: ", time.Duration(st.now-curtain)))
	}
	return fmt.Errorf("the deadline stays at %d", st.s.Deadline)
}

func (st *stage) step(ev Event, prefix string) {
	old := st.s
	s, acts := Step(&st.cfg, old, ev, st.now)
	st.s = s
	if s == old && acts.N == 0 {
		fmt.Fprintf(&st.out, "\t%snothing\n", prefix)
		return
	}
	fmt.Fprintf(&st.out, "\t%s%s (%v", prefix, StateName(&st.cfg, s), s.Phase)
	if s.Cause != CauseNone {
		fmt.Fprintf(&st.out, ", %v", s.Cause)
	}
	if s.Paused {
		st.out.WriteString(", paused")
	}
	if s.Deadline != 0 {
		fmt.Fprintf(&st.out, ", due in %v", time.Duration(s.Deadline-st.now))
	}
	st.out.WriteString(")")
	for _, a := range acts.All() {
		fmt.Fprintf(&st.out, "; %v run %d", a.Kind, a.Run)
		switch {
		case a.Kind == ActHook || a.Kind == ActUnhook:
			fmt.Fprintf(&st.out, " %v", a.Hook)
		case a.Kind == ActSignal:
			fmt.Fprintf(&st.out, " step %d", a.Step)
		case a.Grace:
			st.out.WriteString(" with grace")
		case a.Main:
			st.out.WriteString(" main only")
		}
	}
	if why := Reason(old, ev, s); why != "" {
		st.out.WriteString(" -- " + why)
	}
	st.out.WriteString("\n")
}
