package main

import (
	"slices"
	"time"
)

// samples are the values of one measure for one supervisor, in the measure's
// unit.
type samples []float64

// at returns the value below which the given fraction of the samples lies
// (nearest rank), 0 when there are none.
func (s samples) at(fraction float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(fraction*float64(len(sorted)-1)+0.5)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
