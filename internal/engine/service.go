package engine

import (
	"slices"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// service is all the engine knows of one service. Only the loop touches it.
type service struct {
	name string
	slot string         // under which the keeper and the snapshot know it, see roll.go
	def  *model.Service // what is applied; kept while a removed service still stops
	cfg  core.Config
	st   core.State
	info info
	wish state.Wish

	broken    diag.List // the newest definition cannot be used
	gone      bool      // its definition was removed: forgotten when nothing lives
	adopted   bool      // this engine found a snapshot of it
	lettingGo bool      // it is forgotten when its log is read to the end
	taking    bool      // what became of its run is being found out, see takeUp
	unread    bool      // its snapshot makes no sense
	claim     uint64    // the run whose log pipes and group are not taken over yet
	transient bool      // made by `abide run`
	settled   bool      // what lost records leave open about it is decided
	handed    PastRun   // a run without a record that the keeper was asked to take over
	mirrored  PastRun   // what the mirror was told last

	group     Group     // of the run that lives or is being cleaned up
	groupRun  uint64    // whose it is
	adopting  *adoption // a process on its way to being its run
	outside   bool      // its output may go elsewhere, see Engine.elsewhere
	program   *Program  // of the last spawn, to put failures into words
	strays    []Stray
	fault     string // why it could not be started, in full
	hint      string // what to do about that
	stuck     bool   // fault is about what its last run left behind
	notReady  string // why its last run did not become ready
	ungranted string // why a pattern of [operators] does not hold for it
	rollFault string // why the last roll failed
	refusal   int    // what a shell would exit with for that, 0 if nobody says
	reading   bool   // a goroutine reads its files

	hooks     *hookRun       // on their way
	placed    uint64         // the run that credentials and directories were made for, 0: none
	tenant    bool           // its run directory may be there
	condition string         // that it waits for
	watched   *model.Service // its conditions of this definition are
	watches   []func()

	lastOutput []string // of the run with which it failed

	node      *node // its part in the graph, nil if it has none
	links     links
	keptPast  past // what its second page holds
	coming    int  // events on their way that will have it wanted
	named     int  // of these, those by which an operator means this very service
	builtIn   bool // a target that abide itself defines
	forgotten bool

	readying  *readying    // nil: no sign of readiness is waited for here
	health    *healthWatch // nil: it is not checked
	hearing   uint64       // the run whose notification socket is ours, 0: none is
	heard     bool         // the keeper holds that of a run that is not taken over yet
	deaf      bool         // nobody has that of such a run any more
	told      *told        // what its run said, nil: not looked at yet
	handedOut []int        // copies of what it stored, for the run that is being ordered
	starter   lastExit
	mainAsked mainChange
	endSearch func() // for its main process; nil: nothing is waited for

	acked     uint64 // the last run whose exit the keeper may forget
	waiters   []*waiter
	heapIndex int
	touched   bool
}

// info is what status shows beyond the core's state. It survives the engine in
// the snapshot, so it holds no pointers.
type info struct {
	Since     int64 // CLOCK_REALTIME: when the state was entered
	Began     int64 // CLOCK_REALTIME: when the run began
	Pid       int32
	SentStep  int32 // the stop step whose signal was sent, plus one
	StartTime uint64
	UID, GID  int32
	Last      lastExit
	Request   uint64 // number of the last operator's request that was carried out on it
	Stopped   bool   // an operator holds it stopped, as its wish says where that could be stored
	Chain     uint64 // cursor of the last event of the history about it
	Upheld    int64  // CLOCK_BOOTTIME, ns: since when it is up, if a roll brought this run about; 0: since the run began
	Roll      rollPart
	Gone      bool // its definition was removed

	// For the graph.
	past
	Ending ending // what is to become of it when its turn comes
	Named  bool   // it is wanted because an operator named it
	Erred  bool   // its last run, or start, ended in a fault
}

// lastExit is how the last run ended; Run 0 means that none has yet.
type lastExit struct {
	Run    uint64
	At     int64 // CLOCK_REALTIME
	Status uint32
	Known  bool
	OOM    bool
}

// enabled is the file's word unless an operator's wish is newer.
func (s *service) enabled() bool {
	switch s.wish.Enabled {
	case state.Yes:
		return true
	case state.No:
		return false
	}
	return s.def != nil && s.def.Enabled
}

// lives tells whether a main process exists or is about to.
func (s *service) lives() bool {
	return ofRun(s.st) || s.st.Phase == core.Spawning || s.st.Phase == core.Preparing
}

// busy tells whether processes of the service may exist, its hooks among them.
func (s *service) busy() bool {
	return s.lives() || s.st.Phase == core.Cleaning || s.st.Phase == core.Closing
}

// stateName is the state in DESIGN's words.
func (s *service) stateName() string {
	if s.st.Phase == core.Down && !s.st.Wanted && !s.enabled() {
		return "disabled"
	}
	return core.StateName(&s.cfg, s.st)
}

// leaveGroup lets go of a run whose children are to live on: the definition
// says so, or its clean-up is over and took the group with it.
func (e *Engine) leaveGroup(s *service) {
	if s.group == nil {
		return
	}
	s.group.Leave()
	e.later(s.group.Remove)
	s.group = nil
}

// add makes a service known, or gives a known one its definition.
func (e *Engine) add(name string, def *model.Service) *service {
	s := e.services[name]
	if s != nil {
		s.define(def)
		e.rewire(name)
		return s
	}
	s = &service{name: name, slot: name, heapIndex: -1, wish: e.ports.Wishes.Get(name)}
	e.services[name] = s
	s.info.Since = e.wall().UnixNano()
	s.define(def)
	e.rewire(name)
	e.takeUp(s)
	return s
}

func (s *service) define(def *model.Service) {
	s.def = def
	s.cfg = configure(def)
	s.broken = nil
	s.gone, s.info.Gone = false, false
}

// configure takes from a definition what the core decides by.
func configure(def *model.Service) core.Config {
	c := core.Config{
		Task:          def.Kind == model.Task,
		Target:        def.Kind == model.Target,
		Forking:       def.Kind == model.Forking,
		When:          restartWhen[def.Restart.When],
		Delay:         def.Restart.Delay,
		Spacing:       def.Restart.Spacing,
		Short:         configureShort(&def.Restart.Short),
		Backoff:       core.Backoff(def.Restart.Backoff),
		Limit:         configureLimit(&def.Restart.Limit),
		ReadyWait:     def.Ready.Signed(),
		ReadyAfter:    def.Ready.After,
		ReadyTimeout:  def.Ready.Timeout,
		HealthGrace:   def.Health.Grace,
		HealthRestart: def.Health.Restart,
		Watchdog:      def.Health.Watchdog,
		StopTimeout:   def.Stop.Timeout,
		CrashGrace:    def.Stop.CrashGrace,
		LeaveChildren: def.Stop.LeaveChildren,
		KeepLeftovers: !def.KillLeftovers,
	}
	for kind, hooks := range [core.HookKinds][]model.Hook{
		core.BeforeStart: def.Hooks.BeforeStart, core.AfterStart: def.Hooks.AfterStart,
		core.BeforeStop: def.Hooks.BeforeStop, core.AfterStop: def.Hooks.AfterStop,
	} {
		c.Hooks[kind] = len(hooks) > 0
	}
	if def.Health.Checks() {
		c.HealthFailures = max(atMost255(def.Health.Failures), 1)
	}
	if def.Stop.Command != nil {
		c.StopSteps = 1
		return c
	}
	for i, step := range def.Stop.Steps {
		c.StopWait[i] = step.Wait
		c.StopSteps++
	}
	return c
}

func configureLimit(l *model.Limit) core.Limit {
	return core.Limit{
		Count: uint32(l.Count), Window: l.Window, RetryAfter: l.RetryAfter,
		InRow: atMost255(l.InRow), Starts: l.Starts, FromFirst: l.FromFirst,
	}
}

func configureShort(s *model.Short) core.Short {
	return core.Short{Under: s.Under, Delay: s.Delay, After: atMost255(s.After), Counted: s.Counted}
}

func atMost255(n int) uint8 { return uint8(max(min(n, 255), 0)) }

var restartWhen = map[model.RestartWhen]core.When{
	model.RestartAlways: core.Always, model.RestartNever: core.Never,
	model.RestartOnFailure: core.OnFailure, model.RestartOnCrash: core.OnCrash,
}

// account keeps what status shows of a run.
func (s *service) account(old core.State) {
	if s.st.Run != old.Run {
		s.info.SentStep, s.info.Upheld = 0, 0
	}
	if !s.st.Live() {
		s.info.Pid = 0
	}
	if old.Phase == core.Finding && !ofRun(s.st) && s.starter.Run == old.Run {
		s.info.Last = s.starter // no main process came after it
	}
}

// writeEvents puts what was noted into the history.
func (e *Engine) writeEvents() {
	if len(e.events) == 0 {
		return
	}
	last := e.ports.History.Append(e.events...)
	if e.ports.Pending != nil {
		e.ports.Pending.Clear(last)
	}
	clear(e.events)
	e.events = e.events[:0]
}

// recoverEvents writes what a former engine noted and had no time to write. Its
// events have the cursors that follow the last one that it knew to be written.
func (e *Engine) recoverEvents() {
	if e.ports.Pending == nil {
		return
	}
	last := e.ports.History.Last()
	var missing []control.Event
	for _, ev := range e.ports.Pending.Left() {
		if ev.Cursor > last {
			missing = append(missing, ev)
		}
	}
	if len(missing) > 0 {
		last = e.ports.History.Append(missing...)
	}
	e.ports.Pending.Clear(last)
}

// later puts off work that nobody waits for to the end of the turn.
func (e *Engine) later(f func()) { e.tidying = append(e.tidying, f) }

// tidy ends a turn of the loop: what was put off is done, and what the turn noted
// is written. A program must not wait for its own history.
func (e *Engine) tidy() {
	if e.ordered {
		// The keeper may wait for the processor that this goroutine is on.
		e.ordered = false
		e.ports.Clock.Yield()
	}
	e.keepOutcomes()
	for i := 0; i < len(e.tidying); i++ { // one may put off another
		f := e.tidying[i]
		e.tidying[i] = nil
		f()
	}
	e.tidying = e.tidying[:0]
	e.writeEvents()
}

// look does what follows from a service's new state as a whole: its exit is
// acknowledged, who waits for it is answered, what is gone is forgotten.
func (e *Engine) look(s *service) {
	if e.inSlot(s.slot) != s {
		return
	}
	if s.info.Last.Run > s.acked && s.st.Phase != core.Spawning {
		_ = e.ports.Keeper.Ack(s.slot, s.info.Last.Run)
		s.acked = s.info.Last.Run
	}
	e.tidySetting(s)
	e.lookAtReadiness(s)
	e.lookAtHealth(s)
	if s.info.Roll != rollNone {
		e.lookAtRoll(s)
		return
	}
	e.watchConditions(s)
	e.checkWaiters(s)
	e.watchEssential(s)
	e.lookAtStore(s)
	if s.gone && !s.busy() {
		e.forgetRead(s)
	}
}

// checkWaiters looks who of those that wait for a service is to be answered.
func (e *Engine) checkWaiters(s *service) {
	// A check may answer and so take the waiter off the list.
	for _, w := range slices.Clone(s.waiters) {
		e.check(w)
	}
}

// untilRead is how long a service whose definition is gone is kept for what its last
// run wrote: children that were let live may hold its pipes open for ever.
const untilRead = 10 * time.Second

// forgetRead forgets a service once the log of its last run is read to the end: the keeper
// drops what it holds of a service that is forgotten, and an engine that dies with the
// rest of a pipe unread has left that to the next one.
func (e *Engine) forgetRead(s *service) {
	if s.lettingGo {
		return
	}
	s.lettingGo = true
	forget := func() {
		e.Post(func() {
			if s.lettingGo && e.services[s.name] == s && s.gone && !s.busy() {
				e.forget(s)
			}
			s.lettingGo = false
		})
	}
	timer := time.AfterFunc(untilRead, forget)
	e.ports.Logs.Ended(s.name, s.st.Run, func() {
		timer.Stop()
		forget()
	})
}

// forget removes a service of which nothing lives.
func (e *Engine) forget(s *service) {
	delete(e.services, s.name)
	s.forgotten = true
	s.unwatch()
	e.unwire(s)
	e.rewire(s.name)
	s.claim = 0
	if s.heapIndex >= 0 {
		s.st.Deadline = 0
		e.arm(s)
	}
	_ = e.ports.Keeper.Forget(s.slot)
	if s.st.Skip > 0 {
		_ = e.ports.Keeper.Forget(s.otherSlot()) // of a roll that failed
	}
	e.forgetAux(s.slot)
	e.dropStore(s.name)
	e.forgetTold(s)
	e.ports.Logs.Forget(s.name)
	// Last: the page says that it is to be forgotten.
	e.ports.Snapshot.Delete(pastName(s.name))
	e.ports.Snapshot.Delete(s.slot)
}

func (i *info) since() time.Time { return time.Unix(0, i.Since) }
