package api

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rtmin is the first real-time signal that the C libraries leave to programs.
const rtmin = 34

// signalNumber reads "TERM", "SIGTERM", "RTMIN+3" or "15".
func signalNumber(text string) (int, error) {
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= 64 {
		return n, nil
	}
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return int(n), nil
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		if rest == "" {
			return rtmin, nil
		}
		if n, err := strconv.Atoi(rest); err == nil && rest[0] == '+' && n <= 64-rtmin {
			return rtmin + n, nil
		}
	}
	return 0, usage("cannot send signal %q: no such signal", text)
}
