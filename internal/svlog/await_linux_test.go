package svlog

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

// awaited waits for a line that begins with "ready".
func (in *instance) awaited(name string, run uint64) (lines func() []string, cancel func()) {
	var got []string // of the Manager's thread; barrier orders it
	cancel = in.m.AwaitLine(name, run, func(line []byte) bool { return bytes.HasPrefix(line, []byte("ready")) },
		func(line string) { got = append(got, line) })
	return func() []string { in.barrier(); return got }, cancel
}

func TestALineThatIsWaitedForIsToldOnce(t *testing.T) {
	for _, stderr := range []bool{false, true} {
		in := newInstance(t)
		in.open()
		p := in.begin("web", 1, fileSpec())
		other := in.begin("other", 1, fileSpec())
		lines, _ := in.awaited("web", 1)
		out := p.out
		if stderr {
			out = p.err
		}
		other.out.WriteString("ready, the other\n")
		out.WriteString("not ready\nrea")
		if got := lines(); len(got) != 0 {
			t.Errorf("told of %q", got)
		}
		out.WriteString("dy at ")
		in.barrier()
		out.WriteString("last\r\nready again\n")
		if got, want := lines(), []string{"ready at last"}; !slices.Equal(got, want) {
			t.Errorf("stderr %t: told of %q, want %q", stderr, got, want)
		}
		out.WriteString("ready once more\n")
		if got := lines(); len(got) != 1 {
			t.Errorf("told again: %q", got)
		}
		in.end("other", 1, other)
		in.end("web", 1, p)
		if got := in.texts("web"); len(got) != 4 {
			t.Errorf("the log has %q", got)
		}
	}
}

func TestAHalfLineOfOneStreamIsNotEndedByTheOther(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	lines, _ := in.awaited("web", 1)
	p.out.WriteString("read")
	in.barrier()
	p.err.WriteString("y\n")
	if got := lines(); len(got) != 0 {
		t.Errorf("told of %q", got)
	}
	in.end("web", 1, p)
}

func TestALongLineIsLookedAtByItsBeginning(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	lines, _ := in.awaited("web", 1)
	long := strings.Repeat("x", 3*maxAwaited)
	for _, part := range []string{long, long, "\n", "ready" + long, long + "\n"} {
		go p.out.WriteString(part)
		for range 8 {
			in.barrier()
		}
	}
	in.end("web", 1, p)
	if got := lines(); len(got) != 1 || len(got[0]) > maxAwaited || !strings.HasPrefix(got[0], "readyxx") {
		t.Errorf("told of %d lines", len(got))
	}
}

func TestALineThatIsNotWaitedForAnyMoreIsNotTold(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	lines, cancel := in.awaited("web", 1)
	cancel()
	second, _ := in.awaited("web", 1)
	cancel() // it is not this one's any more
	p.out.WriteString("ready\n")
	if got := lines(); len(got) != 0 {
		t.Errorf("told of %q after it was cancelled", got)
	}
	if got := second(); len(got) != 1 {
		t.Errorf("the second is told of %q", got)
	}
	in.end("web", 1, p)
	none, cancel := in.awaited("nobody", 3)
	cancel()
	if got := none(); len(got) != 0 {
		t.Errorf("nobody wrote %q", got)
	}
}

func TestALineThatGoesToTheConsoleOnlyIsWaitedForAsWell(t *testing.T) {
	in := newInstance(t)
	in.open()
	console := []model.LogTarget{{Kind: model.LogConsole}}
	p := in.begin("web", 1, &model.Log{Stdout: console, Stderr: console})
	lines, _ := in.awaited("web", 1)
	p.out.WriteString("ready\n")
	if got := lines(); len(got) != 1 {
		t.Errorf("told of %q", got)
	}
	in.end("web", 1, p)
}
