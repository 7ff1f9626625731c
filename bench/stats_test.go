package main

import "testing"

func TestQuantilesAreNearestRank(t *testing.T) {
	s := samples{9, 1, 5, 3, 7}
	for _, c := range []struct{ fraction, want float64 }{{0, 1}, {0.1, 1}, {0.5, 5}, {0.9, 9}, {1, 9}} {
		if got := s.at(c.fraction); got != c.want {
			t.Errorf("at(%v) = %v, want %v", c.fraction, got, c.want)
		}
	}
	if got := (samples)(nil).at(0.5); got != 0 {
		t.Errorf("at of nothing = %v, want 0", got)
	}
}
