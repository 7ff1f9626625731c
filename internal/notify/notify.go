// Package notify reads what programs say of themselves by sd_notify(3): a datagram
// of lines NAME=VALUE. It is pure: bytes in, a Message out, and it never panics. A
// datagram with a line that it knows and cannot read is refused as a whole, so that
// it changes nothing. Who sent it, and whether that is allowed, is the caller's
// business.
package notify

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of what a program may say. They are systemd's.
const (
	MaxDatagram = 4096 // bytes
	MaxName     = 255  // bytes of FDNAME
)

// DefaultName is what a stored descriptor is called that was given no name.
const DefaultName = "stored"

// Datagram is one message as it came in. Its descriptors belong to whoever reads it.
type Datagram struct {
	Data []byte
	Pid  int // of the sender, as the kernel saw it; 0 if it could not tell
	UID  int
	FDs  []int
	Cut  bool // it, or what came with it, did not fit: what is here is not all
}

// Message is what a datagram says. What it does not mention is zero.
type Message struct {
	Ready     bool
	Stopping  bool
	Reloading bool
	Monotonic time.Duration // CLOCK_MONOTONIC when the reload began, 0 if it does not say

	HasStatus bool
	Status    string // valid UTF-8 without control characters

	MainPid     int    // 0: not mentioned
	MainPidfdID uint64 // inode of the pidfd of MainPid, 0: not mentioned
	MainPidfd   bool   // a pidfd of the main process came with it

	KeepAlive bool          // the watchdog is fed
	Trigger   bool          // the program asks to be ended as if it had not fed the watchdog
	Watchdog  time.Duration // the watchdog's new interval, 0: as it is
	Extend    time.Duration // the wait under way lasts at least this long from now on

	Store  bool // keep the descriptors that came with it
	Remove bool // forget those kept under FDName
	FDName string
	NoPoll bool // descriptors that have hung up are kept as well
	// Barrier: the sender waits until the descriptor that came with it is closed.
	Barrier bool

	Errno    int
	BusError string
	// ExitStatus is what the program says that it will end with, plus 1; 0: not
	// mentioned.
	ExitStatus int
}

// ErrLong is why a datagram is refused that is not here as a whole.
var ErrLong = errors.New("it is too long, or came with too many descriptors")

// Parse reads a datagram. Lines that mean nothing here are passed over; of several
// of one name the first counts. An error says which line cannot be read.
func Parse(data []byte) (Message, error) {
	var m Message
	if len(data) > MaxDatagram {
		return m, ErrLong
	}
	// Some senders count the NUL that ends a text in C.
	data = bytes.TrimSuffix(data, []byte{0})
	if bytes.IndexByte(data, 0) >= 0 {
		return m, errors.New("there is a NUL in it")
	}
	var seen uint32
	for line := range strings.SplitSeq(string(data), "\n") {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		i, known := variables[name]
		if !known || seen&(1<<i) != 0 {
			continue
		}
		seen |= 1 << i
		if err := readers[i].read(&m, value); err != nil {
			return Message{}, fmt.Errorf("cannot read %s=%.40q: %w", name, value, err)
		}
	}
	if m.FDName != "" && !m.Store && !m.Remove {
		m.FDName = ""
	}
	if m.Remove && m.FDName == "" {
		return Message{}, errors.New("cannot read FDSTOREREMOVE=1: there is no FDNAME")
	}
	return m, nil
}

// readers are all variables that mean something. A flag that is not "1" means
// nothing, as with systemd.
var readers = [...]struct {
	name string
	read func(*Message, string) error
}{
	{"READY", flag(func(m *Message) *bool { return &m.Ready })},
	{"STOPPING", flag(func(m *Message) *bool { return &m.Stopping })},
	{"RELOADING", flag(func(m *Message) *bool { return &m.Reloading })},
	{"FDSTORE", flag(func(m *Message) *bool { return &m.Store })},
	{"FDSTOREREMOVE", flag(func(m *Message) *bool { return &m.Remove })},
	{"BARRIER", flag(func(m *Message) *bool { return &m.Barrier })},
	{"MAINPIDFD", flag(func(m *Message) *bool { return &m.MainPidfd })},
	{"STATUS", func(m *Message, v string) error {
		m.HasStatus, m.Status = true, Clean(v)
		return nil
	}},
	{"FDPOLL", func(m *Message, v string) error {
		m.NoPoll = v == "0"
		return nil
	}},
	{"FDNAME", func(m *Message, v string) error {
		if !goodName(v) {
			return errors.New("a name is 1 to 255 printable ASCII characters without a colon")
		}
		m.FDName = v
		return nil
	}},
	{"WATCHDOG", func(m *Message, v string) error {
		m.KeepAlive, m.Trigger = v == "1", v == "trigger"
		return nil
	}},
	{"MAINPID", number(1, math.MaxInt32, func(m *Message, n uint64) { m.MainPid = int(n) })},
	{"MAINPIDFDID", number(1, math.MaxUint64, func(m *Message, n uint64) { m.MainPidfdID = n })},
	{"MONOTONIC_USEC", microseconds(0, func(m *Message) *time.Duration { return &m.Monotonic })},
	{"WATCHDOG_USEC", microseconds(1, func(m *Message) *time.Duration { return &m.Watchdog })},
	{"EXTEND_TIMEOUT_USEC", microseconds(1, func(m *Message) *time.Duration { return &m.Extend })},
	{"ERRNO", number(0, 4095, func(m *Message, n uint64) { m.Errno = int(n) })},
	{"EXIT_STATUS", number(0, 255, func(m *Message, n uint64) { m.ExitStatus = int(n) + 1 })},
	{"BUSERROR", func(m *Message, v string) error {
		m.BusError = Clean(v)
		return nil
	}},
}

var variables = func() map[string]int {
	byName := map[string]int{}
	for i, r := range readers {
		byName[r.name] = i
	}
	return byName
}()

func flag(of func(*Message) *bool) func(*Message, string) error {
	return func(m *Message, v string) error {
		*of(m) = v == "1"
		return nil
	}
}

func number(least, most uint64, set func(*Message, uint64)) func(*Message, string) error {
	return func(m *Message, v string) error {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil || n < least || n > most {
			return fmt.Errorf("it is not a number from %d to %d", least, most)
		}
		set(m, n)
		return nil
	}
}

func microseconds(least uint64, of func(*Message) *time.Duration) func(*Message, string) error {
	return number(least, math.MaxInt64/1000, func(m *Message, n uint64) { *of(m) = time.Duration(n) * time.Microsecond })
}

// goodName is systemd's rule for the name of a descriptor.
func goodName(name string) bool {
	if name == "" || len(name) > MaxName {
		return false
	}
	for _, c := range []byte(name) {
		if c < ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return true
}

// Clean makes a text fit for a terminal and a log: what is no UTF-8 becomes U+FFFD,
// what is no character to be seen a space.
func Clean(text string) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	text = strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return ' '
		}
		return r
	}, text)
	return strings.TrimSpace(text)
}
