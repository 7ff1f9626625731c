package cli

import "testing"

func TestTheLockNamesAKeeper(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"4711 120034\n":   4711,
		"4711\n":          4711,
		"4711":            4711,
		"4711 12":         4711,
		"":                0,
		"\n4711 1\n":      0,
		"-1 5\n":          0,
		"99999999999 5\n": 0,
		"\x00\x00\x00":    0,
	} {
		if got, _ := namedInLock(text); got != want {
			t.Errorf("the lock %q names pid %d, want %d", text, got, want)
		}
	}
}
