package svlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// draining runs Drain as abide leaves it behind.
type draining struct {
	stop context.CancelFunc
	end  chan error
}

func (in *instance) drain(pipes ...string) draining {
	plan := DrainPlan{Dir: filepath.Join(in.run, "drains", "web"), LogDir: in.log, Name: "web", Run: 1, Log: *fileSpec()}
	copy(plan.Pipes[:], pipes)
	ctx, stop := context.WithCancel(context.Background())
	d := draining{stop, make(chan error, 1)}
	go func() { d.end <- Drain(ctx, plan) }()
	return d
}

func (in *instance) detach(name string, run uint64) (pipes []string) {
	in.t.Helper()
	done := make(chan struct{})
	err := in.m.Detach(name, run, func(out, err string) {
		pipes = []string{out, err}
		close(done)
	})
	if err != nil {
		in.t.Fatal(err)
	}
	<-done
	return pipes
}

func TestADrainedRunLosesNoLineOnTheWayOutAndBack(t *testing.T) {
	in := newInstance(t)
	m := in.open()
	p := in.begin("web", 1, fileSpec())
	fmt.Fprint(p.out, "one\n")
	pipes := in.detach("web", 1)
	for _, path := range pipes {
		if !strings.HasSuffix(path, ReleasedSuffix) {
			t.Fatalf("the pipes are called %q", pipes)
		}
	}
	if err := m.Sweep(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(p.out, "two\n")
	d := in.drain(pipes...)
	for i := range 1000 {
		fmt.Fprintf(p.out, "%d is longer than a pipe has room for, all taken together %s\n", i, strings.Repeat(".", 100))
	}
	d.stop()
	if err := <-d.end; err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(p.out, "three\n")
	fmt.Fprint(p.err, "beside\n")
	for s, path := range pipes {
		if err := m.Reclaim(path, "web", 2, Stream(s)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Adopt("web", 2, fileSpec()); err != nil {
		t.Fatal(err)
	}
	in.end("web", 2, p)
	texts := in.texts("web")
	if len(texts) != 1004 || texts[0] != "1 out one" || texts[1] != "1 out two" {
		t.Fatalf("%d lines, the first ones %q", len(texts), texts[:min(len(texts), 2)])
	}
	for i, text := range texts[2:1002] {
		if !strings.HasPrefix(text, fmt.Sprintf("1 out %d is longer", i)) {
			t.Fatalf("line %d is %q", i, text)
		}
	}
	for _, last := range []string{"2 out three", "2 err beside"} {
		if texts[1002] != last && texts[1003] != last {
			t.Errorf("the last lines are %q", texts[1002:])
		}
	}
}

func TestADrainEndsWithItsProgramAndLeavesNothing(t *testing.T) {
	in := newInstance(t)
	in.open()
	p := in.begin("web", 1, fileSpec())
	pipes := in.detach("web", 1)
	kept := in.program(Pipes{Out: Pipe{Path: pipes[0], Flags: os.O_RDONLY}, Err: Pipe{Kind: PipeNull}}) // as the keeper has it
	defer kept.close()
	d := in.drain(pipes...)
	fmt.Fprint(p.out, "the last words\n")
	p.close()
	if err := <-d.end; err != nil {
		t.Fatal(err)
	}
	for _, path := range append(pipes, filepath.Join(in.run, "drains", "web")) {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if texts := in.texts("web"); len(texts) != 1 || texts[0] != "1 out the last words" {
		t.Errorf("logged %q", texts)
	}
	if d := in.drain(pipes...); <-d.end != nil {
		t.Error("pipes that are gone are an error")
	}
}

func TestDetachOfWhatIsNotTakenNamesNothing(t *testing.T) {
	in := newInstance(t)
	in.open()
	if pipes := in.detach("web", 7); pipes[0] != "" || pipes[1] != "" {
		t.Errorf("%q", pipes)
	}
}
