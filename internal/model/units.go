package model

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"ns", time.Nanosecond}, {"us", time.Microsecond}, {"µs", time.Microsecond}, {"ms", time.Millisecond},
	{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", day}, {"w", week},
}

// ParseDuration reads "10s", "1.5h" or a sum such as "1h 30m", with the units
// ns us ms s m h d w. A number without a unit is an error, as are negative times
// and those above 290 years.
func ParseDuration(text string) (time.Duration, error) {
	rest := strings.TrimSpace(text)
	if rest == "" {
		return 0, fmt.Errorf("cannot use an empty time: write a number and a unit, as in \"10s\"")
	}
	var sum float64
	var exact int64
	for rest != "" {
		number, unit, after := splitUnit(rest)
		if number == "" {
			return 0, fmt.Errorf("cannot use time %q: write a number and a unit, as in \"10s\"", text)
		}
		if unit == "" {
			return 0, fmt.Errorf("cannot use time %q: a unit is missing, write %q or another of ns us ms s m h d w", text, number+"s")
		}
		scale, ok := durationUnit(unit)
		if !ok {
			return 0, fmt.Errorf("cannot use time %q: unknown unit %q, the units are ns us ms s m h d w", text, unit)
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot use time %q: %q is not a number", text, number)
		}
		sum += value * float64(scale)
		if sum > math.MaxInt64/2 {
			return 0, fmt.Errorf("cannot use time %q: it is too long", text)
		}
		if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
			exact += whole * int64(scale)
		} else {
			exact += int64(math.Round(value * float64(scale)))
		}
		rest = strings.TrimLeft(after, " \t")
	}
	return time.Duration(exact), nil
}

// splitUnit parts "10s rest" into number, unit and what follows.
func splitUnit(s string) (number, unit, rest string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
		i++
	}
	number, s = s[:i], strings.TrimLeft(s[i:], " ")
	i = 0
	for i < len(s) && s[i] != ' ' && s[i] != '\t' && !(s[i] >= '0' && s[i] <= '9') && s[i] != '.' {
		i++
	}
	return number, s[:i], s[i:]
}

func durationUnit(name string) (time.Duration, bool) {
	for _, u := range durationUnits {
		if u.name == name {
			return u.unit, true
		}
	}
	return 0, false
}

// FormatDuration writes d so that ParseDuration reads the same value back, in
// the largest unit that leaves a whole number.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"w", week}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}} {
		if d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}

var sizeUnits = []struct {
	name string
	unit int64
}{
	{"B", 1},
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"P", 1 << 50},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15},
}

// ParseSize reads a number of bytes: "4096", "16MiB" or "16M" (1024 each), "16MB"
// (1000 each), "1.5GiB".
func ParseSize(text string) (int64, error) {
	number, unit, rest := splitUnit(strings.TrimSpace(text))
	if number == "" || rest != "" {
		return 0, fmt.Errorf("cannot use size %q: write a number and a unit, as in \"16MiB\"", text)
	}
	scale := int64(1)
	if unit != "" {
		var ok bool
		if scale, ok = sizeUnit(unit); !ok {
			return 0, fmt.Errorf("cannot use size %q: unknown unit %q, the units are KiB MiB GiB TiB (or K M G T) and kB MB GB TB", text, unit)
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot use size %q: %q is not a number", text, number)
	}
	if value*float64(scale) > math.MaxInt64/2 {
		return 0, fmt.Errorf("cannot use size %q: it is too large", text)
	}
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
		return whole * scale, nil
	}
	bytes := value * float64(scale)
	if bytes != math.Trunc(bytes) {
		return 0, fmt.Errorf("cannot use size %q: it is not a whole number of bytes", text)
	}
	return int64(bytes), nil
}

func sizeUnit(name string) (int64, bool) {
	for _, u := range sizeUnits {
		if u.name == name {
			return u.unit, true
		}
	}
	return 0, false
}

// FormatSize writes n so that ParseSize reads the same value back.
func FormatSize(n int64) string {
	for i, name := range []string{"TiB", "GiB", "MiB", "KiB"} {
		unit := int64(1) << (40 - 10*i)
		if n != 0 && n%unit == 0 {
			return strconv.FormatInt(n/unit, 10) + name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
