package model

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/diag"
)

// Real-time signals as the C library numbers them: the kernel's first two serve
// its threads.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// signals are Linux's numbers on all machines that abide builds for, the first
// name of a number being the one shown.
var signals = []struct {
	name   string
	number int
}{
	{"HUP", 1}, {"INT", 2}, {"QUIT", 3}, {"ILL", 4}, {"TRAP", 5}, {"ABRT", 6}, {"IOT", 6}, {"BUS", 7}, {"FPE", 8},
	{"KILL", 9}, {"USR1", 10}, {"SEGV", 11}, {"USR2", 12}, {"PIPE", 13}, {"ALRM", 14}, {"TERM", 15}, {"STKFLT", 16},
	{"CHLD", 17}, {"CLD", 17}, {"CONT", 18}, {"STOP", 19}, {"TSTP", 20}, {"TTIN", 21}, {"TTOU", 22}, {"URG", 23},
	{"XCPU", 24}, {"XFSZ", 25}, {"VTALRM", 26}, {"PROF", 27}, {"WINCH", 28}, {"IO", 29}, {"POLL", 29}, {"PWR", 30},
	{"SYS", 31}, {"UNUSED", 31},
}

// ParseSignal reads "TERM", "SIGTERM", "RTMIN+3", "RTMAX-1" or a number from 1
// to 64. Letters may be small.
func ParseSignal(text string) (int, error) {
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	for _, s := range signals {
		if s.name == name {
			return s.number, nil
		}
	}
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > sigRTMax {
			return 0, fmt.Errorf("cannot use signal %d: signals are numbered 1 to %d", n, sigRTMax)
		}
		return n, nil
	}
	if n, ok := realtime(name); ok {
		if n < sigRTMin || n > sigRTMax {
			return 0, fmt.Errorf("cannot use signal %q: real-time signals reach from RTMIN to RTMIN+%d", text, sigRTMax-sigRTMin)
		}
		return n, nil
	}
	if near := diag.Nearest(name, SignalNames()); near != "" {
		return 0, fmt.Errorf("cannot use signal %q: there is none of that name, did you mean %s?", text, near)
	}
	return 0, fmt.Errorf("cannot use signal %q: there is none of that name", text)
}

func realtime(name string) (int, bool) {
	base, sign, rest := 0, 0, ""
	switch {
	case strings.HasPrefix(name, "RTMIN"):
		base, sign, rest = sigRTMin, +1, name[5:]
	case strings.HasPrefix(name, "RTMAX"):
		base, sign, rest = sigRTMax, -1, name[5:]
	default:
		return 0, false
	}
	if rest == "" {
		return base, true
	}
	if (sign > 0) != (rest[0] == '+') || (sign < 0) != (rest[0] == '-') {
		return 0, false
	}
	n, err := strconv.ParseUint(rest[1:], 10, 8)
	return base + sign*int(n), err == nil
}

// SignalName is the name without SIG, "RTMIN+3" for a real-time signal, or the
// number when it is none.
func SignalName(n int) string {
	for _, s := range signals {
		if s.number == n {
			return s.name
		}
	}
	switch {
	case n == sigRTMin:
		return "RTMIN"
	case n > sigRTMin && n <= sigRTMax:
		return "RTMIN+" + strconv.Itoa(n-sigRTMin)
	}
	return strconv.Itoa(n)
}

// SignalNames are all names without SIG that ParseSignal knows, in order of
// their numbers, but for the real-time ones with an offset.
func SignalNames() []string {
	names := make([]string, 0, len(signals)+2)
	for _, s := range signals {
		names = append(names, s.name)
	}
	return append(names, "RTMIN", "RTMAX")
}
