// Package sim runs the real engine and the real keeper on a simulated kernel, one
// step at a time, with faults at every step, all from one seed: spawns fail,
// processes end at any moment, either side dies at any of its calls with the
// messages that are under way, clocks jump, disks fill. After each step it checks
// that no service runs twice, that run numbers grow, that no stranger is signalled,
// that every exit has its true status, that every log byte arrives once; and now
// and then, with the faults off, that everything wanted is up and everything else
// is down within bounded time.
//
// What is real and what is not:
//
//   - Package keeper with records, table, adoption, requests, exits and both its
//     threads, package sys/raw and the wire codec are the real code, compiled with
//     their system calls going to package sim/kernel.
//   - Package engine and core are the real code, over ports of the simulation, with
//     time, goroutines and randomness from package sim/sched.
//   - The assembler loop of spawn/vspawn is replaced by a fork of the simulated
//     kernel. Package keeper/link, which is bound to os.File, svlog, contain, state
//     and the compiler of spawn programs are simulated by what they promise; each
//     has crash tests of its own.
//
// The code under test has no hook for any of this: it is compiled from copies in
// which calls of the kernel, the clock and the scheduler are replaced (go build
// -overlay). A mutant is one more replacement, see mutants.go.
//
//	go test ./internal/sim -seed 7 -v          one seed again
//	go test ./internal/sim -for 10m            as many seeds as fit
package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

const module = "github.com/abide-project/abide/"

// Build compiles the simulation of the tree at root into a program in dir, with a
// deliberate bug if mutant is not nil.
func Build(root, dir string, mutant *Mutant) (program string, err error) {
	o := overlay{root: root, dir: dir, replace: map[string]string{}, mutant: mutant}
	if err := o.fill(); err != nil {
		return "", fmt.Errorf("cannot prepare the simulation: %w", err)
	}
	list := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": o.replace})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "abide-sim")
	cmd := exec.Command("go", "build", "-tags", "abide_sim", "-overlay", list, "-o", program, "./internal/sim/abide-sim")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the simulation: %w\n%s", err, out)
	}
	return program, nil
}

type overlay struct {
	root, dir string
	replace   map[string]string // file of the tree: file that is compiled instead
	mutant    *Mutant
	mutated   bool
}

func (o *overlay) fill() error {
	for _, p := range []struct {
		dir    string
		change func(name string, src []byte) ([]byte, error)
	}{
		{"internal/sys/raw", kernelCalls},
		{"internal/keeper", kernelCalls},
		{"internal/engine", o.simulatedTime},
		{"internal/core", unchanged},
	} {
		if err := o.rewrite(p.dir, p.change); err != nil {
			return err
		}
	}
	for _, gone := range []string{"prelude.go", "probe.go", "enter_linux_amd64.s", "enter_linux_arm64.s"} {
		o.replace[filepath.Join(o.root, "internal/spawn/vspawn", gone)] = ""
	}
	for file, instead := range map[string]string{
		"internal/spawn/vspawn/spawner.go": "vspawn/spawner.go",
		"internal/keeper/sim.go":           "keeper/sim.go",
		"internal/engine/sim.go":           "engine/sim.go",
	} {
		o.replace[filepath.Join(o.root, file)] = filepath.Join(o.root, "internal/sim/testdata/overlay", instead)
	}
	if o.mutant != nil && !o.mutated {
		return fmt.Errorf("mutant %s: no such text in %s", o.mutant.Name, o.mutant.File)
	}
	return nil
}

// rewrite puts a changed copy of each file of a package in its place.
func (o *overlay) rewrite(dir string, change func(string, []byte) ([]byte, error)) error {
	files, err := filepath.Glob(filepath.Join(o.root, dir, "*.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text := src
		if m := o.mutant; m != nil && m.File == filepath.Join(dir, filepath.Base(file)) {
			if n := bytes.Count(src, []byte(m.Old)); n != 1 {
				return fmt.Errorf("mutant %s: its text is %d times in %s", m.Name, n, m.File)
			}
			text = bytes.Replace(src, []byte(m.Old), []byte(m.New), 1)
			o.mutated = true
		}
		if text, err = change(file, text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if bytes.Equal(text, src) {
			continue
		}
		to := filepath.Join(o.dir, strings.ReplaceAll(dir, "/", "_")+"_"+filepath.Base(file))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return err
		}
		o.replace[file] = to
	}
	return nil
}

func unchanged(_ string, src []byte) ([]byte, error) { return src, nil }

var kernelCall = regexp.MustCompile(`\bsyscall\.(RawSyscall6?|Syscall6?|Open|Openat|Renameat|Unlinkat|Unlink|Fstat|Stat|` +
	`Ftruncate|Fallocate|Pwrite|Pread|Write|Read|Flock|Close|Socket|Socketpair|Bind|Listen|SetsockoptInt|GetsockoptUcred|Fchdir|Umask|Madvise|Sync|Reboot)\(`)

// kernelCalls sends the system calls of a file to the simulated kernel.
func kernelCalls(_ string, src []byte) ([]byte, error) {
	return imported(kernelCall.ReplaceAll(src, []byte("simkernel.$1(")), "simkernel", module+"internal/sim/kernel"), nil
}

// imported adds an import behind the package clause, on the same line, if the
// text needs it.
func imported(src []byte, name, path string) []byte {
	if !bytes.Contains(src, []byte(name+".")) {
		return src
	}
	return packageClause.ReplaceAll(src, []byte(fmt.Sprintf("$0; import %s %q", name, path)))
}

var (
	packageClause = regexp.MustCompile(`(?m)^package \w+`)
	rangeOfMap    = regexp.MustCompile(`range (e\.services|e\.hidden|e\.undefined|e\.pastPages|builtInTargets|pages|given|set\.Services|set\.Broken|e\.ports\.Snapshot\.All\(\))`)
	loopWait      = "\t\te.setTimer()\n\t\tselect {\n"
)

// simulatedTime gives a file of the engine the simulation's clock, goroutines and
// random numbers, and lets it range over maps in the same order each time.
func (o *overlay) simulatedTime(name string, src []byte) ([]byte, error) {
	src, err := goStatements(name, src)
	if err != nil {
		return nil, err
	}
	src = rangeOfMap.ReplaceAll(src, []byte("range simsched.InOrder($1)"))
	src = bytes.ReplaceAll(src, []byte("rand.Uint32()"), []byte("simsched.Random()"))
	src = bytes.ReplaceAll(src, []byte("\t\"math/rand/v2\"\n"), []byte("\t_ \"math/rand/v2\"\n"))
	src = bytes.ReplaceAll(src, []byte("\t\"time\"\n"), []byte("\ttime \""+module+"internal/sim/simtime\"\n"))
	if filepath.Base(name) == "engine.go" {
		if bytes.Count(src, []byte(loopWait)) != 1 {
			return nil, fmt.Errorf("the loop does not wait as it did")
		}
		wait := "\t\te.setTimer()\n\t\tsimsched.Park(func() bool { return len(e.inbox.wake)+len(e.timer.C)+len(quiet.C) > 0 }, 0)\n\t\tselect {\n"
		src = bytes.Replace(src, []byte(loopWait), []byte(wait), 1)
		// Of several that are ready a select takes one by chance.
		for one, first := range map[string]string{"e.timer.C": "e.inbox.wake", "quiet.C": "e.inbox.wake, e.timer.C"} {
			from, to := "case <-"+one+":", fmt.Sprintf("case <-simsched.After(%s, len(%s) == 0):", one, strings.ReplaceAll(first, ", ", ")+len("))
			if bytes.Count(src, []byte(from)) != 1 {
				return nil, fmt.Errorf("the loop does not wait for %s as it did", one)
			}
			src = bytes.Replace(src, []byte(from), []byte(to), 1)
		}
	}
	return imported(src, "simsched", module+"internal/sim/sched"), nil
}

// goStatements turns `go f(x)` into a task of the schedule.
func goStatements(name string, src []byte) ([]byte, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, 0)
	if err != nil {
		return nil, err
	}
	type edit struct {
		at   int
		cut  int
		text string
	}
	var edits []edit
	ast.Inspect(file, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			edits = append(edits, edit{set.Position(g.Go).Offset, len("go"), "simsched.Go(func() {"},
				edit{set.Position(g.Call.End()).Offset, 0, " })"})
		}
		return true
	})
	sort.Slice(edits, func(i, j int) bool { return edits[i].at > edits[j].at })
	for _, e := range edits {
		src = append(src[:e.at:e.at], append([]byte(e.text), src[e.at+e.cut:]...)...)
	}
	return src, nil
}
