package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bench is one run: what was asked for, and what is known so far.
type bench struct {
	dir      string // everything is made below it
	bin      string
	programs programs
	kinds    []*kind
	report   report

	services    int  // "among many" means so many
	rounds      int  // of start, kill all, stop
	warmUp      bool // the first start of each is not counted; not when quick
	singles     int  // kills of one service
	idle        time.Duration
	logLines    int
	logRounds   int
	statusCalls int
	soak        int // restarts
	connections int // of the soak
}

// The parts of a run, by the name that -only takes.
var parts = []struct {
	name string
	run  func(*bench)
}{
	{"alone", (*bench).alone},
	{"many", (*bench).many},
	{"idle", (*bench).idleAndStatus},
	{"order", (*bench).order},
	{"apply", (*bench).apply},
	{"recover", (*bench).recover},
	{"logs", (*bench).logs},
	{"soak", (*bench).soakRestarts},
}

func main() {
	b := &bench{services: 1000, rounds: 4, singles: 60, warmUp: true, idle: time.Minute,
		logLines: 3_000_000, logRounds: 3, statusCalls: 20, soak: 2000, connections: 1000}
	bin := flag.String("bin", "bin", "folder of abide's programs")
	who := flag.String("who", "", "measure only these, by comma; C and abide are what the ratios need")
	only := flag.String("only", "", "only these parts, by comma: alone many idle order apply recover logs soak")
	quick := flag.Bool("quick", false, "little of everything, to see that it works; the figures mean nothing")
	soak := flag.Int("soak", 0, "restarts of the soak (default 2,000)")
	connections := flag.Int("connections", 0, "control connections of the soak (default 1,000)")
	output := flag.String("json", "bench/out/bench.json", "where the JSON goes")
	base := flag.String("dir", "", "where to work (default /dev/shm where it can be written, so that no disk is measured)")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: bench [-quick] [-only PARTS] [-who NAMES] [-soak N] [-connections N] [-bin DIR] [-json FILE]")
		os.Exit(2)
	}
	if *quick {
		b.services, b.rounds, b.singles, b.idle, b.warmUp = 30, 1, 2, time.Second, false
		b.logLines, b.logRounds, b.statusCalls, b.soak, b.connections = 40_000, 1, 2, 100, 50
	}
	if *soak > 0 {
		b.soak = *soak
	}
	if *connections > 0 {
		b.connections = *connections
	}
	if err := b.run(*bin, *base, *who, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	b.report.finish(rowOrder())
	b.report.print(os.Stdout)
	if err := b.report.save(*output); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Printf("\nwritten to %s\n", *output)
	if len(b.report.Faults) > 0 {
		os.Exit(1)
	}
}

func (b *bench) run(bin, base, who, only string) error {
	var err error
	if b.bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if b.kinds, err = selectKinds(who); err != nil {
		return err
	}
	if slices.ContainsFunc(b.kinds, func(k *kind) bool { return strings.HasPrefix(k.name, "abide") }) {
		for _, program := range []string{"abide", "abide-keeper", "abide-engine", "abide-exec"} {
			if _, err := os.Stat(filepath.Join(b.bin, program)); err != nil {
				return fmt.Errorf("cannot measure abide: %w (run `make build`)", err)
			}
		}
	}
	if err := raiseDescriptorLimit(); err != nil {
		return err
	}
	if base == "" && unix.Access("/dev/shm", unix.W_OK) == nil {
		base = "/dev/shm"
	}
	if b.dir, err = os.MkdirTemp(base, "abide-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer sweep(b.dir)
	b.endWhenTold()
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	if b.programs, err = compile(b.dir); err != nil {
		return err
	}
	b.report.Machine = machine(b.bin)
	for _, part := range parts {
		if only != "" && !slices.Contains(strings.Split(only, ","), part.name) {
			continue
		}
		begin := time.Now()
		fmt.Fprintf(os.Stderr, "bench: %s ...", part.name)
		part.run(b)
		fmt.Fprintf(os.Stderr, " %.0f s\n", time.Since(begin).Seconds())
	}
	return nil
}

// endWhenTold leaves nothing behind when the run is interrupted.
func (b *bench) endWhenTold() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		<-told
		sweep(b.dir)
		os.RemoveAll(b.dir)
		os.Exit(130)
	}()
}

func selectKinds(who string) ([]*kind, error) {
	all := kinds()
	if who == "" {
		return all, nil
	}
	var chosen []*kind
	for name := range strings.SplitSeq(who, ",") {
		at := slices.IndexFunc(all, func(k *kind) bool { return k.name == name })
		if at < 0 {
			return nil, fmt.Errorf("cannot measure %q: not one of C abide abide-clone runit s6 daemontools supervisor", name)
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

// raiseDescriptorLimit makes room for a thousand services in whatever is
// started here.
func raiseDescriptorLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur = max(limit.Cur, min(limit.Max, 65536)); limit.Cur < 8192 {
		return fmt.Errorf("cannot run 1,000 services: the hard limit of open files is %d, 8192 are needed", limit.Max)
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// machine describes where the figures come from.
func machine(bin string) map[string]string {
	m := map[string]string{
		"processors": fmt.Sprint(runtime.NumCPU()),
		"go":         runtime.Version(),
		"time":       time.Now().UTC().Format(time.RFC3339),
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m["kernel"] = unix.ByteSliceToString(name.Release[:])
		m["architecture"] = unix.ByteSliceToString(name.Machine[:])
	}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m["processor"] = strings.TrimSpace(value)
			}
		}
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		m["load"] = strings.Join(strings.Fields(string(data))[:3], " ")
	}
	if out, err := exec.Command(filepath.Join(bin, "abide"), "version").Output(); err == nil {
		m["abide"] = strings.TrimSpace(string(out))
	}
	if out, err := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Version}; ", "runit", "s6", "daemontools", "supervisor").Output(); err == nil {
		m["peers"] = strings.TrimSpace(string(out))
	}
	return m
}

// rowOrder is the order of the rows of every table.
func rowOrder() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	names = append(names, "abide-chain", "abide-fan")
	for _, l := range loggers() {
		names = append(names, l.name)
	}
	return names
}

// instances sets up each kind that can be measured, and reports the others.
func (b *bench) instances(services int) []*instance {
	var ready []*instance
	for _, k := range b.kinds {
		i, err := newInstance(k, b, services)
		if err != nil {
			b.report.fault("%v", err)
			continue
		}
		ready = append(ready, i)
	}
	return ready
}

// rotated returns the list beginning at a different place each round, so that
// nobody is always measured behind the same neighbour.
func rotated(list []*instance, round int) []*instance {
	if len(list) == 0 {
		return nil
	}
	at := round % len(list)
	return append(append([]*instance(nil), list[at:]...), list[:at]...)
}
