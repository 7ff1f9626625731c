package model

import (
	"strings"
	"time"
)

// DefaultPath is where the program of a service is looked for, and its PATH,
// unless the definition says otherwise.
var DefaultPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// DefaultUmask is the file mode creation mask of a service.
const DefaultUmask = 0o022

// DefaultShutdown is how long a whole instance may take to stop.
const DefaultShutdown = 90 * time.Second

// Defaults is a service of which nothing is said yet (FORMAT.md, the columns of
// defaults). Its slices belong to the caller.
func Defaults(kind Kind, essential bool) Service {
	s := Service{
		Kind:          kind,
		Enabled:       true,
		Essential:     essential,
		Umask:         DefaultUmask,
		KillLeftovers: true,
		Restart: Restart{
			Backoff: Backoff{
				First:      100 * time.Millisecond,
				Factor:     2,
				Max:        30 * time.Second,
				Jitter:     0.2,
				Healthy:    time.Second,
				ResetAfter: time.Minute,
			},
			Limit: Limit{Window: 10 * time.Minute},
		},
		Stop: Stop{
			Steps:   []StopStep{{Signal: 15}},
			Timeout: 10 * time.Second,
		},
		Ready: Ready{Timeout: DefaultReadyTimeout},
		Health: Health{
			Interval: 10 * time.Second,
			Timeout:  5 * time.Second,
			Failures: 3,
			Restart:  true,
		},
		Reload: Reload{Signal: 1},
		Log: Log{
			Stdout:   []LogTarget{{Kind: LogFile}},
			Stderr:   []LogTarget{{Kind: LogFile}},
			Size:     16 << 20,
			Keep:     10,
			KeepFor:  30 * day,
			Compress: "zstd",
		},
		Operators: Operators{"view": {"*"}},
	}
	if kind == Task || essential {
		s.Restart.When = RestartNever
	}
	return s
}

// String is the word of FORMAT.md.
func (k Kind) String() string {
	return [...]string{"daemon", "task", "forking", "target"}[k]
}

// String is the word of FORMAT.md.
func (w RestartWhen) String() string {
	return [...]string{"always", "never", "on-failure", "on-crash"}[w]
}

// String is the word of FORMAT.md.
func (s Stdin) String() string {
	return [...]string{"null", "open", "tty"}[s]
}

// String is the word of FORMAT.md.
func (s Stamp) String() string {
	return [...]string{"rfc3339", "tai64n", "none"}[s]
}

// String is the word of FORMAT.md, for LogPath the path.
func (t LogTarget) String() string {
	if t.Kind == LogPath {
		return t.Path
	}
	return [...]string{"file", "console", "null", "inherit"}[t.Kind]
}

// IsSecret reports whether a variable of this name is masked wherever an
// environment is shown: its name holds PASS, SECRET, TOKEN, KEY or CREDENTIAL.
func IsSecret(variable string) bool {
	upper := strings.ToUpper(variable)
	for _, word := range []string{"PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL"} {
		if strings.Contains(upper, word) {
			return true
		}
	}
	return false
}
