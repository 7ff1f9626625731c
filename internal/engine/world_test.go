package engine

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/outside"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
)

// world is everything outside an engine, simulated: a keeper that holds to its
// rules and fails the test when it is asked for a second copy, processes that
// obey signals, a clock that moves only when told. It survives engines.
type world struct {
	t       *testing.T
	rand    *rand.Rand
	now     int64
	eng     *Engine
	keeper  *fakeKeeper
	pages   map[string][]byte
	wishes  map[string]state.Wish
	defs    map[string]*model.Service
	broken  map[string]diag.List
	applied map[string]*model.Service
	asked   [][]byte // what Requests holds
	history []control.Event
	noted   []control.Event // not in the history yet
	cleared uint64          // cursor of the last one in it

	everNoted int

	keeperPid int
	terms     uint32   // TERM signals that the keeper got
	post      []func() // work of goroutines that has come back and is not posted yet
	groups    map[string]*fakeGroup
	boots     int // engines so far
	crashIn   int // calls through a port until the engine dies; 0: never
	// crashNext is crashIn for the engine after that, once.
	crashNext int
	commands  func(slot string) // called when a command beside a service was started
	hold      map[string]bool   // commands that do not end
	fails     map[string]uint32 // wait status of commands, by slot
	setting   Setting
	alarms    Alarms
	ignores   map[string]bool
	said      []string
	others    map[int]outside.Process // processes that nobody of ours started
	owners    map[int]string          // services that processes belong to
	writes    map[int]outside.Output  // where processes write to
	readers   []outside.Reader        // of any pipe
	outputs   []string                // taken by descriptor

	patterns Patterns
	clock    func() // called when time has passed to what is due
	verdict  uint32 // wait status of commands that check, see answerCommands
	sights   *sights
	sockets  *fakeSockets
	members  map[string][]int    // of the present run, beside the main process
	ending   []int               // processes that end when somebody waits for it
	stored   map[string][]string // what the programs of runs are told they were given
	handed   map[string][]string // what they were, by name and descriptor

	past Past // nil: nothing is ever lost
	lost bool // the keeper says that its records were

	faults   Faults
	stateDir *state.Dir
	lines    []control.LogRecord // what is in the logs

	watched   []*watchedPath  // by the present engine
	after     time.Duration   // how long what is defined takes to be ready, on our clock
	missing   map[string]bool // programs that are not there
	templates map[string]Template
	copies    map[string]*model.Service // definitions of templates, by template, and of their copies
	scales    map[string]*state.Scale
	pins      map[string]Pin
	kept      map[string][]Version
	full      bool // the state folder is

	holdLogs bool // what runs wrote stays in their pipes until releaseLogs
	unlogged []func()
}

// crash is what a port panics with when the engine is to die inside it.
type crash struct{}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: int64(time.Hour),
		pages: map[string][]byte{}, wishes: map[string]state.Wish{}, defs: map[string]*model.Service{},
		hold: map[string]bool{}, fails: map[string]uint32{},
		broken: map[string]diag.List{}, groups: map[string]*fakeGroup{}, ignores: map[string]bool{},
		missing: map[string]bool{}, templates: map[string]Template{}, copies: map[string]*model.Service{},
		scales: map[string]*state.Scale{}, pins: map[string]Pin{}, kept: map[string][]Version{},
	}
	w.sights = newSights(w)
	w.sockets, w.stored, w.handed = newFakeSockets(w), map[string][]string{}, map[string][]string{}
	w.keeper = &fakeKeeper{w: w, slots: map[string]*slot{}, refuseOp: -1, held: map[string][]uint64{}}
	return w
}

func (w *world) define(name string, change func(*model.Service)) {
	def := model.Defaults(model.Daemon, false)
	def.Name, def.Command, def.Files = name, []string{"/bin/" + name}, []string{"/etc/" + name + ".toml"}
	def.Restart.Backoff.Jitter = 0
	def.Ready.After = w.after
	if change != nil {
		change(&def)
	}
	w.defs[name] = &def
}

// port is passed by every call an engine makes; the engine may die in it.
func (w *world) port() {
	if w.crashIn > 0 {
		if w.crashIn--; w.crashIn == 0 {
			w.crashIn, w.crashNext = w.crashNext, 0
			panic(crash{})
		}
	}
}

// boot starts an engine over what the last one left.
func (w *world) boot() {
	w.keeper.outbox, w.post, w.watched = nil, nil, nil
	w.sights.forget()
	defer func() { w.boots++ }()
	w.eng = New(Options{ID: "0123456789abcdef", Mode: ModeDaemon, Shutdown: time.Minute, Version: "test", Follows: w.boots > 0, RecordsLost: w.lost, KeeperPid: w.keeperPid}, Ports{
		Clock: w, Keeper: w.keeper, Compiler: fakeCompiler{w}, Logs: fakeLogs{w}, Groups: fakeGroups{w},
		Definitions: fakeDefinitions{w}, Wishes: fakeWishes{w}, Processes: fakeProcesses{w}, Snapshot: fakeSnapshot{w}, Requests: fakeRequests{w}, History: fakeHistory{w}, Pending: fakePending{w}, Console: w, Memory: w, Past: w.past, Paths: fakePaths{w}, Signs: w.sights, Patterns: w.patterns, Faults: w.faults, Setting: w.setting,
		Layers: fakeLayers{w}, Alarms: w.alarms, Notices: &fakeNotices{w.sockets, map[PastRun]int{}}, Descriptors: fakeDescriptors{w.sockets},
	})
	w.eng.aside = func(f func()) { f() }
	w.eng.timer = time.NewTimer(time.Hour)
	w.eng.timer.Stop()
	w.guard(w.eng.begin)
	if n := w.terms; n > 0 {
		// The keeper tells each engine of what the last one did not see to the end.
		w.keeper.outbox = append(w.keeper.outbox, func() { w.eng.Signaled(sigTERM, n) })
	}
}

// guard runs a piece of the engine, and a new engine after it if it dies inside.
func (w *world) guard(f func()) {
	died := func() (died bool) {
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(crash); !ok {
					panic(r)
				}
				died = true
			}
		}()
		f()
		w.eng.settle()
		w.eng.tidy()
		return false
	}()
	if died {
		w.boot()
	}
}

// step delivers one thing that waits, and reports false when nothing does.
func (w *world) step() bool {
	if w.eng.done {
		return false
	}
	if work := w.eng.inbox.take(nil); len(work) > 0 {
		for _, f := range work {
			eng := w.eng
			w.guard(f)
			if w.eng != eng {
				return true
			}
		}
		return true
	}
	if len(w.post) > 0 {
		f := w.post[0]
		w.post = w.post[1:]
		w.guard(f)
		return true
	}
	if len(w.keeper.outbox) > 0 {
		f := w.keeper.outbox[0]
		w.keeper.outbox = w.keeper.outbox[1:]
		w.guard(f)
		return true
	}
	return false
}

// run delivers all that waits.
func (w *world) run() {
	w.t.Helper()
	for i := 0; w.step(); i++ {
		if i > 100000 {
			w.t.Fatal("the engine does not come to rest")
		}
	}
}

// advance lets time pass, deadline by deadline.
func (w *world) advance(d time.Duration) {
	w.t.Helper()
	end := w.now + int64(d)
	for i := 0; ; i++ {
		w.run()
		if w.eng.done {
			return
		}
		next := int64(w.eng.nextTime())
		if next == 0 || next > end {
			break
		}
		w.now = max(w.now, next)
		if w.clock != nil {
			w.clock()
		}
		w.guard(w.eng.tick)
		if i > 100000 {
			w.t.Fatal("deadlines without end")
		}
	}
	w.now = end
	w.run()
}

func (w *world) service(name string) *service {
	w.t.Helper()
	s := w.eng.services[name]
	if s == nil {
		w.t.Fatalf("no service %s", name)
	}
	return s
}

func (w *world) expect(name, want string) {
	w.t.Helper()
	if got := w.service(name).stateName(); got != want {
		w.t.Fatalf("%s is %s, want %s\n%s", name, got, want, w.story())
	}
}

func (w *world) status(name string) control.Status {
	return w.eng.status(w.service(name), w.eng.ports.Definitions.Changed)
}

func (w *world) story() string {
	text := ""
	for _, ev := range w.history {
		text += fmt.Sprintf("%d %s %s[%d] %s\n", ev.Cursor, ev.Kind, ev.Service, ev.Run, ev.Text)
	}
	return text
}

func (w *world) releaseLogs() {
	for _, done := range w.unlogged {
		done()
	}
	w.holdLogs, w.unlogged = false, nil
}

// ask sends a request and returns its outcomes once the world is at rest; nil
// while it waits.
func (w *world) ask(verb control.Verb, names ...string) []control.Outcome {
	w.t.Helper()
	req := control.Request{Verb: verb, Names: names, Who: control.Who{UID: 0, PID: 1}}
	var outcomes []control.Outcome
	var waits []*waiter
	w.guard(func() {
		var err error
		outcomes, waits, err = w.eng.carryOut(req)
		if err != nil {
			w.t.Fatalf("%s %v: %v", verb, names, err)
		}
	})
	w.run()
	for _, wait := range waits {
		select {
		case o := <-wait.out:
			outcomes = append(outcomes, o)
		default:
		}
	}
	return outcomes
}

func (w *world) Boot() int64     { return w.now }
func (w *world) Yield()          {}
func (w *world) Wall() time.Time { return time.Unix(1_700_000_000, w.now) }
func (w *world) Quiet()          {}
func (w *world) Busy()           {}
func (w *world) Say(line string) { w.said = append(w.said, line) }

type fakeKeeper struct {
	w      *world
	slots  map[string]*slot
	outbox []func()
	pid    int
	unread bool // signals are asked for and the keeper dies before it reads that
	// listErr is what the keeper's records cannot be read for.
	listErr error
	orders  []Order        // all that were accepted
	refuse  map[string]int // errno for the next spawns of a name
	// refuseOp is the op that is said to have failed then.
	refuseOp int
	journal  []string // of services: "+name" started, "-name" ended
	held     map[string][]uint64
	tags     map[string]map[Tagged]int // what stands for a descriptor
}

type slot struct {
	run    uint64
	acked  uint64
	live   bool
	pid    int
	began  int64
	exit   Exit
	spawns int

	once    uint64
	signals []int // all that were sent
}

func (k *fakeKeeper) Spawn(o Order) error {
	k.w.port()
	s := k.slots[o.Name]
	if s == nil {
		s = &slot{}
		k.slots[o.Name] = s
	}
	if o.AckRun > s.acked && o.AckRun == s.run {
		s.acked = o.AckRun
	}
	if s.live {
		k.w.t.Errorf("%s: run %d ordered while run %d lives\n%s", o.Name, o.Run, s.run, k.w.story())
	}
	if o.Run <= s.run {
		k.w.t.Errorf("%s: run %d ordered after run %d\n%s", o.Name, o.Run, s.run, k.w.story())
	}
	if s.run != s.acked {
		k.w.t.Errorf("%s: run %d ordered, the exit of run %d is not acknowledged\n%s", o.Name, o.Run, s.run, k.w.story())
	}
	s.run = o.Run
	if errno := k.refuse[o.Name]; errno != 0 {
		s.acked = o.Run
		k.outbox = append(k.outbox, func() { k.w.eng.Refused(o.Name, o.Run, k.refuseOp, errno, "") })
		k.w.port()
		return nil
	}
	names := k.w.stored[fmt.Sprintf("%s.%d", serviceOf(o.Name), o.Run)]
	for i, fd := range o.Pass {
		k.w.handed[fmt.Sprintf("%s.%d", o.Name, o.Run)] = append(k.w.handed[fmt.Sprintf("%s.%d", o.Name, o.Run)], fmt.Sprintf("%s:%d", names[i], fd))
	}
	for _, h := range o.Hold {
		k.hold(o.Name, o.Run, h.Tag, h.FD)
	}
	k.pid++
	k.orders = append(k.orders, o)
	s.live, s.pid, s.began, s.spawns = true, 1000+k.pid, k.w.now, s.spawns+1
	k.journal = append(k.journal, "+"+o.Name)
	pid := s.pid
	k.outbox = append(k.outbox, func() { k.w.eng.Spawned(o.Name, o.Run, pid, uint64(pid)) })
	if isAux(o.Name) && k.w.commands != nil {
		k.w.commands(o.Name)
	}
	k.w.port()
	return nil
}

// end lets a service's process end with a wait status.
func (k *fakeKeeper) end(name string, status uint32) {
	s := k.slots[name]
	if s == nil || !s.live {
		return
	}
	s.live = false
	k.journal = append(k.journal, "-"+name)
	s.exit = Exit{Name: name, Run: s.run, Pid: s.pid, Known: true, Status: status, At: k.w.Wall(), Boot: k.w.now, ExecOp: -1}
	x := s.exit
	k.outbox = append(k.outbox, func() { k.w.eng.Exited(x) })
}

func (k *fakeKeeper) Signal(name string, run uint64, signo int, _ Scope) error {
	k.w.port()
	s := k.slots[name]
	if s == nil || !s.live || s.run != run {
		return syscall.ESRCH
	}
	if signo == sigKILL || signo == sigTERM && !k.w.ignores[name] {
		k.end(name, uint32(signo))
	}
	s.signals = append(s.signals, signo)
	k.w.port()
	return nil
}

// Adopt holds to the rules of Spawn; the process is whatever pid is given.
func (k *fakeKeeper) Adopt(name string, run uint64, pid int, start uint64) error {
	k.w.port()
	s := k.slots[name]
	if s == nil {
		s = &slot{}
		k.slots[name] = s
	}
	if s.live || run <= s.run || s.run != s.acked {
		k.outbox = append(k.outbox, func() { k.w.eng.Refused(name, run, -1, 0, "a run of it lives") })
		return nil
	}
	s.live, s.run, s.pid, s.began = true, run, pid, k.w.now
	k.outbox = append(k.outbox, func() { k.w.eng.Spawned(name, run, pid, start) })
	k.w.port()
	return nil
}

// Main holds to the keeper's rules; whose process it is it cannot know.
func (k *fakeKeeper) Main(name string, run uint64, pid int, start uint64) error {
	k.w.port()
	s := k.slots[name]
	if s == nil || s.run != run || !s.live && s.acked == run {
		k.outbox = append(k.outbox, func() { k.w.eng.Refused(name, run, -1, 0, "no such run lives") })
		return nil
	}
	s.live, s.pid, s.exit = true, pid, Exit{}
	k.outbox = append(k.outbox, func() { k.w.eng.Spawned(name, run, pid, start) })
	k.w.port()
	return nil
}

// Release leaves the slot without a run.
func (k *fakeKeeper) Release(name string, run uint64) error {
	k.w.port()
	if s := k.slots[name]; s != nil && s.live && s.run == run {
		s.live, s.acked = false, run
	}
	k.w.port()
	return nil
}

func (k *fakeKeeper) SignalOnce(name string, run uint64, signo int, to Scope, once uint64) error {
	k.w.port()
	s := k.slots[name]
	if once == 0 {
		k.w.t.Errorf("%s: a signal without a name", name)
	}
	if k.unread || s != nil && s.once == once {
		return nil
	}
	crashIn := k.w.crashIn
	k.w.crashIn = 0
	err := k.Signal(name, run, signo, to)
	k.w.crashIn = crashIn
	if err == nil {
		s.once = once
	}
	k.w.port()
	return err
}

func (k *fakeKeeper) Ack(name string, run uint64) error {
	k.w.port()
	if s := k.slots[name]; s != nil && run == s.run && !s.live {
		s.acked = run
	}
	k.w.port()
	return nil
}

func (k *fakeKeeper) Keep(name string, run uint64, tag uint32, fd int) error {
	k.w.port()
	k.held[name] = append(k.held[name], run)
	k.hold(name, run, tag, fd)
	return nil
}

func (k *fakeKeeper) hold(name string, run uint64, tag uint32, fd int) {
	if k.tags == nil {
		k.tags = map[string]map[Tagged]int{}
	}
	if k.tags[name] == nil {
		k.tags[name] = map[Tagged]int{}
	}
	k.tags[name][Tagged{run, tag}] = fd
	if k.slots[name] == nil {
		k.slots[name] = &slot{}
	}
}

// holders are the runs for which something is held.
func (k *fakeKeeper) holders(name string) []uint64 {
	runs := slices.Clone(k.held[name])
	for t := range k.tags[name] {
		runs = append(runs, t.Run)
	}
	return runs
}

func (k *fakeKeeper) DropOne(name string, run uint64, tag uint32) error {
	k.w.port()
	delete(k.tags[name], Tagged{run, tag})
	k.w.port()
	return nil
}

func (k *fakeKeeper) Take(name string, run uint64, tag uint32) (int, error) {
	k.w.port()
	if fd, held := k.tags[name][Tagged{run, tag}]; held {
		return fd, nil
	}
	return -1, syscall.ENOENT
}

func (k *fakeKeeper) Drop(name string, run uint64) error {
	k.w.port()
	k.held[name] = slices.DeleteFunc(k.held[name], func(r uint64) bool { return r == run })
	maps.DeleteFunc(k.tags[name], func(t Tagged, _ int) bool { return t.Run == run })
	return nil
}

func (k *fakeKeeper) Forget(name string) error {
	k.w.port()
	delete(k.slots, name)
	delete(k.tags, name)
	return nil
}

func (k *fakeKeeper) List() ([]Record, error) {
	k.w.port()
	if k.listErr != nil {
		return nil, k.listErr
	}
	var out []Record
	for name, s := range k.slots {
		out = append(out, Record{
			Name: name, Run: s.run, Live: s.live, Exited: !s.live && s.acked != s.run && s.exit.Run == s.run,
			Pid: s.pid, StartTime: uint64(s.pid), Began: s.began, Exit: s.exit,
			Held: k.holders(name), Tags: slices.Collect(maps.Keys(k.tags[name])),
		})
	}
	return out, nil
}

type fakeCompiler struct{ w *world }

func (c fakeCompiler) Compile(svc *model.Service, run RunContext) (*Program, error) {
	c.w.port()
	c.w.stored[fmt.Sprintf("%s.%d", run.Name, run.Run)] = run.Stored
	return &Program{
		Hint:     func(int, int) string { return "" },
		ExitCode: func(int, int) int { return 126 },
		Explain: func(op, errno int) string {
			return fmt.Sprintf("cannot do %d: %v", op, syscall.Errno(errno))
		},
	}, nil
}

func (c fakeCompiler) Command(svc *model.Service, _ []string, run RunContext) (*Program, error) {
	return c.Compile(svc, run)
}

func (c fakeCompiler) Check(svc *model.Service) error {
	if len(svc.Command) > 0 && c.w.missing[svc.Command[0]] {
		return fmt.Errorf("cannot find program %s", svc.Command[0])
	}
	return nil
}

func (c fakeCompiler) Expand(_ *model.Service, text string, _ uint64) (string, error) {
	return strings.ReplaceAll(text, "${port}", "80"), nil
}
func (c fakeCompiler) MayBlock(*model.Service) bool             { return false }
func (c fakeCompiler) Account(*model.Service) (int, int, error) { return 0, 0, nil }

type fakeLogs struct{ w *world }

func (l fakeLogs) Begin(string, uint64, int, int, *model.Log) (svlog.Pipes, error) {
	l.w.port()
	none := svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}
	return svlog.Pipes{Out: none, Err: none}, nil
}
func (l fakeLogs) Adopt(string, uint64, int, int, *model.Log) error { l.w.port(); return nil }
func (l fakeLogs) AdoptFD(name string, run uint64, stream Stream, fd int, _ *model.Log) error {
	l.w.port()
	l.w.outputs = append(l.w.outputs, fmt.Sprintf("%s.%d %s from %d", name, run, streamWords[stream], fd))
	return nil
}
func (l fakeLogs) Detach(name string, run uint64, done func(out, err string)) {
	l.w.port()
	done("/run/abide/services/"+name+"/1.out.released", "")
}
func (l fakeLogs) Reclaim(path, name string, run uint64, stream Stream) error {
	l.w.port()
	l.w.outputs = append(l.w.outputs, fmt.Sprintf("%s is %s.%d", path, name, run))
	return nil
}
func (l fakeLogs) Ended(_ string, _ uint64, done func()) {
	l.w.port()
	if l.w.holdLogs {
		l.w.unlogged = append(l.w.unlogged, done)
		return
	}
	done()
}
func (l fakeLogs) AwaitLine(name string, run uint64, _ *model.Log, since time.Time, match func([]byte) bool, done func(string)) func() {
	return l.w.sights.awaitLine(name, run, !since.IsZero(), match, done)
}
func (l fakeLogs) Configure(string, *model.Log) {}
func (l fakeLogs) Note(string, uint64, string)  {}
func (l fakeLogs) Stats(string) svlog.Stats     { return svlog.Stats{} }
func (l fakeLogs) Forget(string)                {}
func (l fakeLogs) Sweep()                       {}
func (l fakeLogs) Close() error                 { return nil }
func (l fakeLogs) Query(_ context.Context, _ control.LogQuery, fn func(control.LogRecord) error) error {
	for _, r := range l.w.lines {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

type fakeGroups struct{ w *world }

func (g fakeGroups) key(name string, run uint64) string { return fmt.Sprintf("%s.%d", name, run) }

func (g fakeGroups) Prepare(name string, run uint64) (Group, error) {
	g.w.port()
	group := &fakeGroup{w: g.w, name: name, run: run}
	g.w.groups[g.key(name, run)] = group
	return group, nil
}

func (g fakeGroups) Adopt(name string, run uint64, _ int, _ uint64) (Group, error) {
	if group := g.w.groups[g.key(name, run)]; group != nil {
		return group, nil
	}
	return g.Prepare(name, run)
}
func (g fakeGroups) Take(name string, run uint64, pid int, start uint64) (Group, error, error) {
	group, err := g.Prepare(name, run)
	return group, nil, err
}
func (g fakeGroups) Owner(pid int) (string, uint64, string) {
	if name := g.w.owners[pid]; name != "" {
		if slot := g.w.keeper.slots[name]; slot != nil {
			return name, slot.run, "its control group"
		}
		return name, 1, "its control group"
	}
	return "", 0, ""
}
func (g fakeGroups) Stranger(int) string { return "" }

func (g fakeGroups) Kind() string     { return "cgroup" }
func (g fakeGroups) Describe() string { return "simulated" }

// fakeGroup has the main process, and leftovers when a test says so.
type fakeGroup struct {
	w         *world
	name      string
	run       uint64
	leftovers atomic.Int32
}

func (g *fakeGroup) Kind() string        { return "cgroup" }
func (g *fakeGroup) DirFD() int          { return -1 }
func (g *fakeGroup) CloseDir()           {}
func (g *fakeGroup) JoinPaths() []string { return nil }
func (g *fakeGroup) SetMain(int, uint64) {}
func (g *fakeGroup) Snapshot()           {}
func (g *fakeGroup) Members() []int      { return g.w.members[g.name] }
func (g *fakeGroup) SignalAll(int) error { return nil }
func (g *fakeGroup) Freeze() error       { return nil }
func (g *fakeGroup) Thaw() error         { return nil }
func (g *fakeGroup) OOMKilled() bool     { return false }
func (g *fakeGroup) Leave()              {}
func (g *fakeGroup) Remove()             { g.w.port() }
func (g *fakeGroup) Empty() bool         { g.w.port(); return g.leftovers.Load() == 0 }
func (g *fakeGroup) Clean(_ context.Context, _ time.Duration) Cleaned {
	return Cleaned{Ended: int(g.leftovers.Swap(0))}
}
func (g *fakeGroup) Kill(ctx context.Context) Cleaned { return g.Clean(ctx, 0) }

type fakeProcesses struct{ w *world }

func (p fakeProcesses) Look(pid int) (outside.Process, error) {
	if one, ok := p.w.others[pid]; ok {
		return one, nil
	}
	return outside.Process{}, fs.ErrNotExist
}
func (p fakeProcesses) Ancestors(int) []int              { return []int{50, 1} }
func (p fakeProcesses) SameNamespace(pid int) bool       { return pid != 77 }
func (p fakeProcesses) Output(pid, _ int) outside.Output { return p.w.writes[pid] }
func (p fakeProcesses) Readers(outside.Output, func(int) bool) ([]outside.Reader, error) {
	return p.w.readers, nil
}
func (p fakeProcesses) OpenOutput(_, fd int, _ outside.Output) (int, error) { return 2000 + fd, nil }

type fakeDefinitions struct{ w *world }

func (d fakeDefinitions) Load(running map[string]*model.Service) Loaded { return d.Read(running) }
func (d fakeDefinitions) Take(func(string) bool)                        {}
func (d fakeDefinitions) Known(name string) *model.Service              { return d.w.defs[name] }

func (d fakeDefinitions) Read(map[string]*model.Service) Loaded {
	d.w.port()
	services := map[string]*model.Service{}
	for name, def := range d.w.defs {
		if d.w.broken[name] == nil {
			services[name] = def
		}
	}
	for template, t := range d.w.templates {
		n := t.Scale
		if scale := d.w.scales[template]; scale != nil {
			n = scale.Copies
		}
		for i := range n {
			name := fmt.Sprintf("%s%d", template, i+1)
			if d.w.copies[name] == nil {
				def := *d.w.copies[template]
				def.Name, def.Instance, def.Template = name, fmt.Sprint(i+1), template
				d.w.copies[name] = &def
			}
			services[name] = d.w.copies[name]
		}
	}
	return Loaded{Services: services, Broken: d.w.broken, Templates: d.w.templates}
}

func (d fakeDefinitions) Reread(name string) (*model.Service, diag.List) {
	return d.w.defs[name], d.w.broken[name]
}

func (d fakeDefinitions) Changed(name string) bool {
	return d.w.eng.services[name] == nil || d.w.eng.services[name].def != d.w.defs[name] || d.w.broken[name] != nil
}
func (d fakeDefinitions) Look() func(string) bool      { return d.Changed }
func (d fakeDefinitions) Render(*model.Service) string { return "" }
func (d fakeDefinitions) Restored() (Loaded, bool)     { return Loaded{}, false }

func (d fakeDefinitions) KeepApplied(m map[string]*model.Service) error {
	d.w.applied = m
	return nil
}
func (d fakeDefinitions) Applied() map[string]*model.Service { return d.w.applied }

// template defines a template with so many copies.
func (w *world) template(base string, copies int, change func(*model.Service)) {
	w.define(base, change)
	def := w.defs[base]
	delete(w.defs, base)
	for name := range w.copies {
		if means(base, name) {
			delete(w.copies, name)
		}
	}
	def.Files = []string{"/etc/" + base + "@.toml"}
	w.templates[base+"@"], w.copies[base+"@"] = Template{File: def.Files[0], Scale: copies}, def
}

type fakeLayers struct{ w *world }

var errFull = fmt.Errorf("cannot write /state/layer: %w", syscall.ENOSPC)

func (l fakeLayers) Pins() map[string]Pin { return maps.Clone(l.w.pins) }

func (l fakeLayers) SetPin(name string, p *Pin) error {
	l.w.port()
	if l.w.full {
		return errFull
	}
	if p == nil {
		delete(l.w.pins, name)
	} else {
		l.w.pins[name] = *p
	}
	l.w.port()
	return nil
}

func (l fakeLayers) Scale(template string) *state.Scale { return l.w.scales[template] }

func (l fakeLayers) SetScale(template string, s *state.Scale) error {
	l.w.port()
	if l.w.full {
		return errFull
	}
	l.w.scales[template] = s
	l.w.port()
	return nil
}

func (l fakeLayers) Archive(list []Version) error {
	l.w.port()
	if l.w.full {
		return errFull
	}
	for _, v := range list {
		kept := l.w.kept[v.Name]
		if n := len(kept); n == 0 || len(model.Diff(kept[n-1].Def, v.Def)) > 0 {
			v.Number = uint64(n + 1)
			l.w.kept[v.Name] = append(kept, v)
		}
	}
	return nil
}

func (l fakeLayers) Versions(name string) ([]Version, error) { return l.w.kept[name], nil }

func (l fakeLayers) Version(name string, number uint64) (Version, error) {
	if n := uint64(len(l.w.kept[name])); number < 1 || number > n {
		return Version{}, fs.ErrNotExist
	}
	return l.w.kept[name][number-1], nil
}

type fakeWishes struct{ w *world }

func (f fakeWishes) Get(name string) state.Wish { return f.w.wishes[name] }

func (f fakeWishes) Set(name string, wish state.Wish) error {
	f.w.port()
	f.w.wishes[name] = wish
	return nil
}

type fakeSnapshot struct{ w *world }

func (f fakeSnapshot) Put(name string, blob []byte) error {
	f.w.port()
	f.w.pages[name] = append([]byte(nil), blob...)
	f.w.port()
	return nil
}
func (f fakeSnapshot) Delete(name string)     { delete(f.w.pages, name) }
func (f fakeSnapshot) All() map[string][]byte { return maps.Clone(f.w.pages) }

type fakeRequests struct{ w *world }

func (f fakeRequests) All() [][]byte { return f.w.asked }

func (f fakeRequests) Append(records ...[]byte) error {
	f.w.port()
	f.w.asked = append(f.w.asked, records...)
	f.w.port()
	return nil
}

func (f fakeRequests) Rewrite(records [][]byte) error {
	f.w.port()
	f.w.asked = records
	return nil
}

func (f fakeRequests) Size() (n int64) {
	for _, r := range f.w.asked {
		n += int64(len(r))
	}
	return n
}

type fakePending struct{ w *world }

func (f fakePending) Note(ev *control.Event) bool {
	const room = 10
	if len(f.w.noted) == room {
		return false
	}
	f.w.noted = append(f.w.noted, *ev)
	f.w.everNoted++
	return true
}

func (f fakePending) Clear(cursor uint64) {
	f.w.port()
	f.w.noted, f.w.cleared = nil, cursor
	f.w.port()
}

func (f fakePending) Left() []control.Event {
	left := slices.Clone(f.w.noted)
	for i := range left {
		left[i].Cursor = f.w.cleared + uint64(i) + 1
	}
	return left
}

type fakeHistory struct{ w *world }

func (f fakeHistory) Append(events ...control.Event) uint64 {
	f.w.port()
	for _, ev := range events {
		ev.Cursor = f.Last() + 1
		f.w.history = append(f.w.history, ev)
	}
	f.w.port()
	return f.Last()
}
func (f fakeHistory) Last() uint64 { return uint64(len(f.w.history)) }

func (f fakeHistory) Read(_ context.Context, cursor uint64, _ bool, fn func(control.Event) error) error {
	for _, ev := range f.w.history[cursor:] {
		if err := fn(ev); err != nil {
			return err
		}
	}
	return nil
}

// fakePaths tells of the paths that changed is called with.
type fakePaths struct{ w *world }

type watchedPath struct {
	path string
	fn   func()
}

func (p fakePaths) Watch(path string, fn func()) (func(), error) {
	p.w.port()
	x := &watchedPath{path, fn}
	p.w.watched = append(p.w.watched, x)
	return func() {
		p.w.watched = slices.DeleteFunc(p.w.watched, func(other *watchedPath) bool { return other == x })
	}, nil
}
func (p fakePaths) WatchGlob(pattern string, fn func()) (func(), error) { return p.Watch(pattern, fn) }
func (p fakePaths) Mark(path string) uint64                             { p.w.port(); return p.w.sights.marks[path] }

// changed tells the engine that something became of a path.
func (w *world) changed(path string) {
	for _, x := range slices.Clone(w.watched) {
		if x.path == path {
			x.fn()
		}
	}
}
