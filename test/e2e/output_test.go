//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

const asyncioProgram = `
import asyncio, os, sys

async def main():
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    for n in range(20):
        transport.write(b"line %d by asyncio\n" % n)
        await asyncio.sleep(0.02)
    print("after 20 lines the pipe is", "closed" if transport.is_closing() else "open", file=sys.stderr, flush=True)
    await asyncio.sleep(100000)

asyncio.run(main())
`

// asyncio watches the pipe that it writes to for becoming readable, which it
// takes for the reader's end. Of a pipe that is open for both, what it has
// written itself is readable: this is why [log] pipe exists.
func TestAsyncioWritesToItsPipe(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	script := a.NewFile("writes.py", asyncioProgram, 0o644)
	a.Define("write", fmt.Sprintf("command = [\"/usr/bin/python3\", %q]\n[log]\npipe = \"write\"\n", script))
	a.Define("read-write", fmt.Sprintf("command = [\"/usr/bin/python3\", %q]\n[log]\npipe = \"read-write\"\n", script))
	a.Start()

	a.AwaitLogged("write", "after 20 lines the pipe is open")
	log := a.Logged("write")
	for n := range 20 {
		harness.Contains(t, log, fmt.Sprintf("line %d by asyncio", n))
	}

	// With the default asyncio closes its end sooner or later, by its own
	// choice; nothing else of the service is touched, and what it has written
	// before is there.
	a.AwaitLogged("read-write", "after 20 lines the pipe is")
	harness.Contains(t, a.Logged("read-write"), "line 0 by asyncio")
	for _, name := range []string{"write", "read-write"} {
		if s := a.Status(name); s.State != "running" || s.Run != 1 {
			t.Errorf("%s is %s in run %d", name, s.State, s.Run)
		}
	}
}

func TestAUserWithoutRightsReopensItsOutput(t *testing.T) {
	t.Parallel()
	for _, pipe := range []string{"read-write", "write"} {
		t.Run(pipe, func(t *testing.T) {
			t.Parallel()
			a := harness.New(t)
			a.Define("reopens", fmt.Sprintf(`
command = "echo direct; echo to stdout >/dev/stdout; echo to stderr >/dev/stderr; echo appended >>/proc/self/fd/1; exec sleep 100000"
shell   = true
user    = "nobody"
group   = "nogroup"
[log]
pipe = %q
`, pipe))
			a.Start()
			a.Await("reopens", "running")
			a.AwaitLogged("reopens", "appended")
			log := a.Logged("reopens")
			for _, text := range []string{"direct", "to stdout", "to stderr"} {
				harness.Contains(t, log, text)
			}
			if strings.Contains(log, "denied") {
				t.Errorf("a permission was denied:\n%s", log)
			}
		})
	}
}

func TestTheLastLineOfARunIsNotJoinedToTheNext(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	a.Define("cut", "command = \"printf 'run %s, no newline' $ABIDE_RUN_NUMBER; exec sleep 100000\"\nshell = true\n"+atOnce)
	a.Start()
	a.Await("cut", "running")
	a.AwaitLogged("cut", "run 1, no newline")
	a.KillService("cut")
	a.AwaitLogged("cut", "run 2, no newline")
	for line := range strings.Lines(a.Logged("cut")) {
		if strings.Count(line, "no newline") > 1 {
			t.Errorf("the lines of two runs are one: %q", line)
		}
	}
}

func TestLogsOfSeveralServicesAreMergedByTime(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	for _, name := range []string{"one", "two", "three"} {
		a.Define(name, fmt.Sprintf("kind = \"task\"\nenabled = false\ncommand = [\"/bin/echo\", \"said by %s\"]\n", name))
	}
	a.Start()
	order := []string{"two", "three", "one"}
	for _, name := range order {
		a.OK("start", name)
		a.Await(name, "finished")
	}
	log := a.OK("log", "one", "two", "three")
	at := 0
	for line := range strings.Lines(log) {
		if at < len(order) && strings.Contains(line, "said by "+order[at]) {
			at++
		}
	}
	if at != len(order) {
		t.Errorf("the order is not %v:\n%s", order, log)
	}
}

func TestManyLinesAreKeptAndRotated(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	const lines = 200000
	a.Define("many", fmt.Sprintf("kind = \"task\"\nenabled = false\ncommand = [\"/usr/bin/seq\", \"-f\", \"line %%.0f\", \"%d\"]\n[log]\nsize = \"1MiB\"\nkeep = 0\n", lines))
	a.Start()
	a.OK("start", "many")
	a.AwaitStatus("many", "is finished", func(s client.Status) bool { return s.State == "finished" })
	a.AwaitLogged("many", fmt.Sprintf("line %d", lines))
	seen := make(map[string]int, lines)
	for line := range strings.Lines(a.OK("log", "-n", "1000000", "many")) {
		if at := strings.LastIndex(line, "line "); at >= 0 {
			seen[strings.TrimSpace(line[at:])]++
		}
	}
	for n := 1; n <= lines; n++ {
		if times := seen[fmt.Sprintf("line %d", n)]; times != 1 {
			t.Fatalf("line %d is in the log %d times", n, times)
		}
	}
	if s := a.Status("many"); s.Log.DroppedBytes != 0 {
		t.Errorf("%d bytes were dropped", s.Log.DroppedBytes)
	}
}
