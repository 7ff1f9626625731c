//go:build amd64 || arm64

package keeper

import (
	"sync/atomic"
	"syscall"

	"github.com/abide-project/abide/internal/sys/raw"
)

// said counts the lines that could not be written: a stuck terminal or a full
// pipe must not stop the keeper.
var said struct{ dropped atomic.Uint64 }

// line is one message to stderr, built without an allocation.
type line struct {
	b   [512]byte
	len int
}

func say(text string) *line {
	l := &line{}
	return l.s("abide-keeper: ").s(text)
}

func (l *line) s(text string) *line {
	l.len += copy(l.b[l.len:len(l.b)-1], text)
	return l
}

func (l *line) bytes(text []byte) *line {
	l.len += copy(l.b[l.len:len(l.b)-1], text)
	return l
}

func (l *line) n(n int64) *line {
	var digits [21]byte
	return l.bytes(raw.AppendNumber(digits[:0], n))
}

// errno ends a message with its reason.
func (l *line) errno(e syscall.Errno) *line {
	if text := e.Error(); text != "" {
		return l.s(": ").s(text)
	}
	return l.s(": error ").n(int64(e))
}

func (l *line) end() {
	l.b[l.len] = '\n'
	if !raw.Writable(2) {
		said.dropped.Add(1)
		return
	}
	if n, e := raw.Write(2, l.b[:l.len+1]); e != 0 || n <= l.len {
		said.dropped.Add(1)
	}
}
