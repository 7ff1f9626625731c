package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// exact counts starts as the manual words it, with a list that never ends.
type exact []Time

func (e exact) within(window time.Duration, now Time) uint32 {
	var n uint32
	for _, t := range e {
		if window <= 0 || now-t < Time(window) {
			n++
		}
	}
	return n
}

// checkWindow starts at the given gaps and compares with exact counting.
func checkWindow(limit Limit, gaps []time.Duration) error {
	var w window
	var list exact
	now := base
	slack := (limit.Count - 1) / windowSize // how late a group may make it
	for i, gap := range gaps {
		now += Time(gap)
		spent := list.within(limit.Window, now)
		got := w.spend(&limit, now)
		switch {
		case !got && spent < limit.Count:
			return fmt.Errorf("start %d at %v: gave up after %d of %d", i, time.Duration(now-base), spent, limit.Count)
		case got && spent >= limit.Count+slack:
			return fmt.Errorf("start %d at %v: went on after %d of %d", i, time.Duration(now-base), spent, limit.Count)
		}
		if got {
			list = append(list, now)
		}
	}
	return nil
}

func TestWindowCountsAsManyStartsAsTheLimitSays(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		limit := Limit{Count: 1 + rnd.Uint32N(40)}
		if rnd.IntN(8) > 0 {
			limit.Window = time.Duration(1+rnd.IntN(60)) * time.Second
		}
		gaps := make([]time.Duration, 1+rnd.IntN(150))
		long := 1 + rnd.IntN(8000)
		for i := range gaps {
			gaps[i] = time.Duration(rnd.IntN(long)) * ms
		}
		if err := checkWindow(limit, gaps); err != nil {
			t.Fatalf("%+v %v: %v", limit, gaps, err)
		}
	}
}

func TestWindowOfUpToSixteenIsExact(t *testing.T) {
	for count := uint32(1); count <= windowSize; count++ {
		limit := Limit{Count: count, Window: 10 * time.Second}
		var w window
		for i := range count {
			if !w.spend(&limit, base+Time(i)*unit) {
				t.Errorf("count %d: start %d is refused", count, i+1)
			}
		}
		first := base + Time(limit.Window)
		if w.spend(&limit, first-1) {
			t.Errorf("count %d: one more is allowed though all are within the window", count)
		}
		if !w.spend(&limit, first) {
			t.Errorf("count %d: the first is not forgotten when its time is over", count)
		}
	}
}

func TestWindowBeginsAnewWhenTheGroupsChange(t *testing.T) {
	var w window
	few, many := Limit{Count: 1}, Limit{Count: 1000}
	if !w.spend(&few, base) || w.spend(&few, base) {
		t.Fatal("a limit of one does not allow one")
	}
	if !w.spend(&many, base) {
		t.Error("a wider limit is met at once")
	}
	if w.per != 63 {
		t.Errorf("1000 starts are kept in groups of %d", w.per)
	}
}
