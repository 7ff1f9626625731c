// Command abide-engine decides: it reads definitions, steps each service's state
// machine, takes logs and answers the control socket. abide-keeper starts it, with
// the keeper's socket as descriptor 3, the control socket's listener as 4 and the
// run directory's lock as 5. It may be killed at any time.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/api"
	"github.com/abide-project/abide/internal/contain"
	"github.com/abide-project/abide/internal/definitions"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/notify/sockets"
	"github.com/abide-project/abide/internal/spawn"
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
	"github.com/abide-project/abide/internal/sys/self"
	"github.com/abide-project/abide/internal/version"
)

const (
	keeperFD   = 3
	listenerFD = 4
	lockFD     = 5
)

var started = time.Now()

func main() {
	args := os.Args[1:]
	if len(args) == 2 && args[0] == "compress" {
		if err := svlog.CompressFile(args[1]); err != nil {
			fail(err)
		}
		return
	}
	if len(args) == 2 && args[0] == "drain" {
		if err := drain(args[1]); err != nil {
			fail(err)
		}
		return
	}
	if len(args) == 1 && args[0] == "--version" {
		fmt.Println("abide-engine " + version.Version)
		return
	}
	f, err := parseFlags(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "abide-engine: %v\nhint: abide daemon starts it\n", err)
		os.Exit(2)
	}
	if err := serve(f); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "abide-engine: %v\n", err)
	os.Exit(1)
}

// serve puts the parts together and runs the loop to its end.
func serve(f flags) error {
	// Two processors' worth of goroutines are plenty: the loop is one, the log
	// thread another; every further one is memory.
	runtime.GOMAXPROCS(max(2, min(runtime.NumCPU(), 4)))
	debug.SetGCPercent(-1) // while everything is read and nothing is garbage yet
	warmThreads()
	var out console
	var notes []string
	note := func(format string, a ...any) {
		text := fmt.Sprintf(format, a...)
		notes = append(notes, text)
		out.Say(text)
	}

	k := &keeper{next: newSuccession(f.lease)}
	k.notices = sockets.New(f.run, func(slot string, run uint64) {
		k.eng.Post(func() { k.eng.Noticed(slot, run) })
	})
	lk, welcome, err := link.Open(keeperFD, k.handler())
	if err != nil {
		if k.next.orphaned() {
			k.next.keeperLost(link.Orphan(), err)
		}
		return err
	}
	k.link, k.pid1 = lk, welcome.PID1
	k.next.meet(welcome)
	k.upgrader = newUpgrader(lk, welcome)
	if text := k.upgrader.note(version.Version); text != "" {
		note("%s", text)
	}

	run, err := state.OpenRun(f.run)
	if err != nil {
		return err
	}
	boot := state.BootKey()
	if !welcome.Unrecorded && len(missingIn(f.run, []string{"lock", "keeper.state", "control.sock"})) > 0 {
		// Wiped while no engine looked.
		if err := keeperFiles(lk); err != nil {
			note("Cannot make the files of the run directory again: %v", err)
		}
	}
	stateDir, err := state.OpenState(f.state)
	if err != nil {
		stateDir = nil
		note("Cannot use the state folder: %v; what operators ask for is kept until the next boot only", err)
	}
	snapshot, what, err := state.OpenSnapshot(run.Dir, boot)
	if err != nil {
		return err
	}
	if what != "" {
		out.Say(what)
	}
	requests, err := openRequests(run.Dir, boot, out.Say)
	if err != nil {
		return err
	}
	mirror := readMirror(stateDir, boot, f.run, out.Say)
	lost := recordsLost(welcome, mirror)
	idKnown, restored, err := settleID(run, snapshot, mirror, welcome.RunID)
	if err != nil {
		out.Say(fmt.Sprintf("Cannot keep the id of the run directory: %v", err))
	}
	wishes, problems := state.LoadWishes(run.Dir, stateDir, boot)
	for _, p := range problems {
		note("%v", p)
	}
	layers, err := openLayers(stateDir, out.Say)
	if err != nil {
		note("%v", err)
	}
	history := state.OpenHistory(stateDir, out.Say)
	pending, err := state.OpenPending(run.Dir, boot)
	if err != nil {
		return err
	}

	mounts, err := spawn.SystemMounts()
	if err != nil {
		note("Cannot read the mounts: %v; programs are started by way of abide-exec", err)
	}
	detect := func() *contain.Manager {
		return contain.Detect(run.ID(), contain.Config{
			Run: f.run, Keeper: welcome.KeeperPid, Own: []int{os.Getpid()}, Force: os.Getenv("ABIDE_CONTAINMENT"),
		})
	}
	groupManager := detect()
	if lost && !idKnown {
		if restored, err = lookForID(run, snapshot, groupManager); err != nil {
			out.Say(fmt.Sprintf("Cannot keep the id of the run directory: %v", err))
		}
		if restored {
			groupManager = detect()
		}
	}
	if restored {
		out.Say(fmt.Sprintf("The id of %s was lost; it is %s again, as what runs knows it", f.run, run.ID()))
	}
	var eng *engine.Engine
	logOptions := svlog.Options{
		RunDir: f.run, LogDir: f.log, Colour: f.color, Console: os.Stdout,
		Compress: func(path string) { eng.Compress(path) },
		Report:   func(service, text string) { eng.LogTrouble(service, text) },
	}
	// The log thread may report before the engine is there: it is made first and
	// given its logs afterwards.
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	own, err := self.Path()
	if err != nil {
		return err
	}
	defs := newReader(definitions.Options{
		Scope: f.scope, Root: f.root, Config: f.config, Home: home, ConfigHome: os.Getenv("XDG_CONFIG_HOME"),
		CheckOwner: f.mode != engine.ModeUp, Console: f.console, Inherit: f.console, DotEnv: f.mode == engine.ModeUp,
		Scale: layers.copies, Build: version.Version,
	}, mainService(f), run.Dir, boot, func(err error) { out.Say(fmt.Sprintf("Cannot keep what is applied: %v", err)) })

	faults, err := state.LoadFaults(stateDir, boot)
	if err != nil {
		out.Say(err.Error())
	}
	spawner := compilerFor(f, welcome, mounts, home)
	alarms := openAlarms(run.Dir, f.run, boot)
	ports := engine.Ports{
		Clock: clock{}, Keeper: k, Groups: groups{groupManager}, Processes: processes{}, Definitions: defs, Wishes: wishes, Patterns: patterns{stateDir}, Faults: faults,
		Snapshot: snapshot, Requests: requests, History: history, Pending: pending, Console: out, Memory: &memory{},
		Upgrader: k.upgrader, Notices: k.notices, Descriptors: descriptors{},
		Compiler: compiler{run: f.run, c: spawner}, Setting: setting{spawner}, Alarms: alarms,
		Past: evidence{run: f.run, mirror: mirror, groups: groupManager},
	}
	watcher := watchPaths(lk, mounts, out.Say)
	defer watcher.Close()
	ports.Paths, ports.Signs = paths{watcher}, signs{run: f.run}
	copied := keepMirror(stateDir, boot, f.run, run.ID(), welcome.KeeperPid, out.Say)
	ports.Layers = layers
	if copied != nil {
		ports.Mirror = copied
	}
	eng = engine.New(engine.Options{
		ID: run.ID(), Host: spawner.Host, Run: f.run, State: f.state, Log: f.log, Mode: f.mode, Project: f.root, Names: f.names,
		ExitOnFailure: f.exitOnFailure, Version: version.Version, KeeperPid: welcome.KeeperPid, PID1: welcome.PID1,
		Follows: welcome.Engines > 1, OnTrial: welcome.OnTrial, RecordsLost: lost, Records: recordsName(f.run), Rung: vspawn.Rung(welcome.Rung).String(),
		Notes: notes, Shutdown: shutdownLimit(f.mode), Self: own,
	}, ports)
	k.eng = eng
	manager, err := svlog.Open(logOptions)
	if err != nil {
		return err
	}
	k.logs = manager
	eng.SetLogs(logs{Manager: manager, dir: f.log, nameless: k.nameless, report: func(text string) { eng.LogTrouble("", text) }})

	server := api.New(eng, api.Options{ReportDefect: out.Say})
	if err := serveControl(server, k.next, out); err != nil {
		return err
	}
	if !welcome.Unrecorded {
		files := &runDir{run: run, boot: boot, link: lk, snapshot: snapshot, alarms: alarms, wishes: wishes, defs: defs, logs: manager, eng: eng,
			serve: func() {
				if err := serveControl(server, k.next, out); err != nil {
					out.Say(fmt.Sprintf("Cannot serve the control socket: %v", err))
				}
			}}
		eng.Post(func() { go files.guard(context.Background()) })
	}
	if f.lease >= 0 {
		go watchLease(f.lease, eng)
	}
	eng.Post(func() { debug.SetGCPercent(collectAt) })
	if copied != nil {
		eng.Post(copied.Begin)
	}
	eng.Post(func() { tellInit("READY=1\nMAINPID=" + strconv.Itoa(welcome.KeeperPid)) })
	code := eng.Run()
	if err := eng.Failure(); err != nil {
		if os.Getppid() != welcome.KeeperPid {
			k.next.keeperLost(lk, err)
		}
		return err // the keeper starts another
	}
	if eng.Leaving() {
		// Another engine takes over as soon as we end. Whoever waits for an answer asks
		// that one again.
		if copied != nil {
			copied.Flush()
		}
		return nil
	}
	tellInit("STOPPING=1")
	finish, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.Shutdown(finish)
	groupManager.Sweep()
	spawner.CloseCredentials()
	if copied != nil {
		copied.Flush()
	}
	return k.Exit(code)
}

// serveControl serves the control socket as it is now, beside what was served
// before.
func serveControl(server *api.Server, next *succession, out console) error {
	// The number stays open as it is: a new keeper is given it.
	fd, err := unix.FcntlInt(listenerFD, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("cannot use descriptor %d as the control socket: %w", listenerFD, err)
	}
	file := os.NewFile(uintptr(fd), "control.sock")
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("cannot use descriptor %d as the control socket: %w", listenerFD, err)
	}
	// The socket is the keeper's: closing our end must not remove its name.
	if l, ok := listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
		next.clients.Store(l)
	}
	go func() {
		if err := server.Serve(listener); err != nil {
			out.Say(fmt.Sprintf("Cannot serve the control socket: %v", err))
		}
	}()
	return nil
}

// watchLease ends abide when `abide up` is gone: the pipe it holds has no other
// writer.
func watchLease(fd int, eng *engine.Engine) {
	pipe := os.NewFile(uintptr(fd), "lease")
	var one [1]byte
	for {
		n, err := pipe.Read(one[:])
		if n == 0 || err != nil {
			eng.Post(func() { eng.Shutdown(1, "abide up is gone") })
			return
		}
	}
}

func compilerFor(f flags, w link.Welcome, mounts *spawn.Mounts, home string) *spawn.Compiler {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	c := &spawn.Compiler{
		Accounts: spawn.SystemAccounts(), Mounts: mounts, Environ: withoutOurs(os.Environ()),
		UID: os.Geteuid(), GID: os.Getegid(), Host: host,
		Nofile: &model.Rlimit{Name: "nofile", Soft: w.NofileSoft, Hard: w.NofileHard},
		Bases:  spawn.Bases{Run: "/run", State: "/var/lib", Cache: "/var/cache", Log: f.log, Logs: "/var/log", Config: "/etc"},

		Credentials: filepath.Join(f.run, "credentials"),
	}
	switch f.scope {
	case definitions.User:
		c.Directory = home
		states := xdg("XDG_STATE_HOME", home+"/.local/state")
		c.Bases = spawn.Bases{
			Run: xdg("XDG_RUNTIME_DIR", ""), State: states, Cache: xdg("XDG_CACHE_HOME", home+"/.cache"),
			Log: f.log, Logs: states + "/log", Config: xdg("XDG_CONFIG_HOME", home+"/.config"),
		}
	case definitions.Project:
		c.Directory = f.root
		own := filepath.Join(f.state, "directories")
		c.Bases = spawn.Bases{Run: own + "/run", State: own + "/state", Cache: own + "/cache", Log: f.log, Logs: own + "/logs", Config: own + "/config"}
	}
	return c
}

func xdg(name, otherwise string) string {
	if v := os.Getenv(name); filepath.IsAbs(v) {
		return v
	}
	return otherwise
}

// withoutOurs leaves out what abide's own processes tell each other.
func withoutOurs(env []string) []string {
	var out []string
	for _, v := range env {
		if !strings.HasPrefix(v, "ABIDE_") && !strings.HasPrefix(v, "NOTIFY_SOCKET=") && !strings.HasPrefix(v, "LISTEN_") {
			out = append(out, v)
		}
	}
	return out
}

// mainService is the essential service of `abide init -- COMMAND`.
func mainService(f flags) *model.Service {
	if len(f.main) == 0 {
		return nil
	}
	def := model.Defaults(model.Daemon, true)
	def.Name = "main"
	def.Command = engine.Literal(f.main)
	def.Description = "the command abide init was given"
	def.Inherit.All = true
	def.Directory = f.root
	console := []model.LogTarget{{Kind: model.LogConsole}}
	def.Log.Stdout, def.Log.Stderr = console, console
	return &def
}

func shutdownLimit(mode engine.Mode) time.Duration {
	if mode == engine.ModeInit {
		const container = 9 * time.Second // docker stop sends KILL after ten
		return container
	}
	return model.DefaultShutdown
}

type clock struct{}

func (clock) Boot() int64     { return boottime() }
func (clock) Wall() time.Time { return time.Now() }
