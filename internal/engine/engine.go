// Package engine is the one loop that runs services: events in, core.Step,
// actions out. One goroutine owns all state; everything else posts to it. It may
// be killed at any instruction: what must survive lies with the keeper, in
// RUN/engine.state or in the wishes, and a new engine adopts it. It reads no
// definition format, accepts no connection and starts no process by itself.
package engine

import (
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/state"
)

// Options is how one engine was asked to run.
type Options struct {
	ID            string // of RUN, part of ABIDE_RUN_ID
	Run           string
	State         string
	Log           string
	Mode          Mode
	Project       string
	Names         []string // up NAME...: only these are wanted
	ExitOnFailure bool
	Version       string
	Host          string // its name
	KeeperPid     int
	PID1          bool
	RecordsLost   bool // the keeper's records of this boot were unusable
	// Records names the file that holds them, 0 if it has no name. Another file than
	// the one in which all that runs was found may lack what ran before it was made.
	Records uint64
	Follows bool // an engine of this keeper was in charge before
	OnTrial bool // an upgrade waits for us to be in charge
	Rung    string
	Notes   []string // what works only in part here
	// Shutdown bounds stopping everything; 0 takes it from the definitions.
	Shutdown time.Duration
	// Self is the engine's own program file, run again to compress logs.
	Self string
	// NofileSoft and NofileHard are abide's limits before it raised them: what
	// services get unless they say otherwise.
	NofileSoft, NofileHard uint64
	// Environment is abide's own, for inherit_environment and LANG, LC_*, TZ.
	Environment []string
}

// Mode is the verb that started abide.
type Mode string

// The modes differ in what HUP means and in when abide ends by itself.
const (
	ModeDaemon Mode = "daemon"
	ModeInit   Mode = "init"
	ModeUp     Mode = "up"
)

// Engine is one running engine. Make it with New, feed it with Run.
type Engine struct {
	opts  Options
	ports Ports

	inbox    *mailbox
	services map[string]*service
	queue    eventQueue // events not yet stepped
	orders   eventQueue // what the graph orders, before those
	deps     dependencies
	runlevel runlevel
	due      dueHeap
	wakes    wakeHeap
	timer    *time.Timer
	armedFor core.Time

	hidden     map[string]*service // the other halves of rolls, by slot
	undefined  map[string]Record   // what the keeper knows of services that nothing defines
	aux        map[string]*auxRun
	stores     map[string]*fdStore           // what services have stored, by name
	complained map[string]bool               // kinds of trouble of our own that were said
	patterns   map[string]state.PatternUsers // for whom [operators] was given
	refusals   map[int]int                   // attempts that were not permitted, by uid
	notes      map[string]string
	compress   compressQueue
	alarms     alarms
	asked      requests
	request    uint64 // the request that is being carried out, 0: none
	because    uint64 // the event of the history that led to what is being done, 0: none
	waiters    map[*waiter]struct{}

	events    []control.Event   // of this turn, not yet in the history
	tidying   []func()          // put off to the end of this turn
	unclaimed []*service        // of a former engine, see takeOver
	unread    []heldRun         // ended runs whose pipes the keeper holds
	ordered   bool              // this turn asked the keeper for something
	page      [pageSize]byte    // of the service that is being stored
	set       Loaded            // what was read last
	pins      map[string]Pin    // services that stay at a snapshot, whatever their files say
	archived  bool              // what is in force was given to the archive
	own       map[string][]byte // pages of a former engine that are no service's
	pastPages map[string][]byte // the second pages of services, of a former engine
	signals   [len(shutdownSignals)]uint32
	beginning bool // what lives is not known yet: nothing is concluded from the whole
	stopping  *shutdown
	upgrading *upgradeRun // the last one, nil: none
	leaving   bool        // another engine takes over
	code      int         // the exit code, once done
	done      bool
	failure   error // why it could not take over, see Failure
	uid, pid  int
	detaching int          // released runs whose output nobody takes yet
	aside     func(func()) // runs what may block outside the loop

	savingFaults bool // at the end of this turn
}

type pending struct {
	s       *service
	ev      core.Event
	request uint64 // it is part of, 0: none
	because uint64 // the cursor of the history's event that led to it, 0: none
	named   bool   // an operator means this very service
	ends    bool   // what was to become of the service is done with it
}

// New makes an engine over its ports. Nothing happens before Run.
func New(opts Options, ports Ports) *Engine {
	if ports.Faults == nil {
		ports.Faults, _ = state.LoadFaults(nil, "")
	}
	if ports.Requests == nil {
		ports.Requests = forgetful{}
	}
	if ports.Paths == nil {
		ports.Paths = noPaths{}
	}
	if ports.Layers == nil {
		ports.Layers = noLayers{}
	}
	if ports.Signs == nil {
		ports.Signs = noSigns{}
	}
	if ports.Notices == nil {
		ports.Notices = noNotices{}
	}
	if ports.Descriptors == nil {
		ports.Descriptors = noDescriptors{}
	}
	e := &Engine{
		opts:       opts,
		ports:      ports,
		inbox:      newMailbox(),
		services:   map[string]*service{},
		hidden:     map[string]*service{},
		deps:       newDependencies(),
		undefined:  map[string]Record{},
		aux:        map[string]*auxRun{},
		stores:     map[string]*fdStore{},
		complained: map[string]bool{},
		refusals:   map[int]int{},
		waiters:    map[*waiter]struct{}{},
		uid:        os.Getuid(),
		pid:        os.Getpid(),
		aside:      func(f func()) { go f() },
		asked: requests{
			open: map[uint64]*request{}, byKey: map[requestKey]*request{}, runs: map[string][]byte{},
		},
	}
	e.ports.Paths = loopPaths{e, ports.Paths}
	return e
}

// SetLogs gives the engine its logs, before Run.
func (e *Engine) SetLogs(l Logs) { e.ports.Logs = l }

// LogTrouble is told what goes wrong with a log, or works again, from any
// goroutine.
func (e *Engine) LogTrouble(service, text string) {
	e.Post(func() {
		e.record(service, 0, "log", text, nil)
		e.ports.Console.Say(join(service, text))
	})
}

// quietAfter is how long nothing must have happened before memory is given
// back. The timer that measures it runs once after each burst of work.
const quietAfter = 2 * time.Second

// Post hands a piece of work to the loop, from any goroutine. It never blocks.
func (e *Engine) Post(f func()) { e.inbox.post(f) }

// Run adopts what lives, starts what is wanted and serves until abide is to end.
// It returns the exit code.
func (e *Engine) Run() int {
	e.timer = time.NewTimer(time.Hour)
	e.timer.Stop()
	e.begin()
	var spare []func()
	quiet := time.NewTimer(quietAfter)
	for {
		e.settle()
		e.tidy()
		if e.done || e.leaving {
			return e.code
		}
		e.setTimer()
		select {
		case <-e.inbox.wake:
		case <-e.timer.C:
			e.tick()
		case <-quiet.C:
			e.archiveWhenQuiet()
			e.ports.Memory.Quiet()
			continue
		}
		// All that waits is taken in one go: a thousand exits cost one look at
		// the timer, not a thousand.
		work := e.inbox.take(spare)
		for i, f := range work {
			f()
			work[i] = nil
			e.settle()
		}
		spare = work
		e.settle()
		e.ports.Memory.Busy()
		quiet.Reset(quietAfter)
	}
}

// Failure tells why Run returned without having been in charge, nil if it was:
// nothing was changed, and the next engine may succeed.
func (e *Engine) Failure() error { return e.failure }

// feed queues an event; settle steps it. One that is part of a request goes to a
// service once, whatever engines die on the way.
func (e *Engine) feed(s *service, ev core.Event) {
	e.feedPart(s, e.once(s, ev), e.request)
}

// feedNamed is feed for an operator who means this very service: what conflicts with
// it has to go.
func (e *Engine) feedNamed(s *service, ev core.Event) {
	p := e.pend(s, e.once(s, ev), e.request)
	p.named = true
	e.announce(&p)
	e.queue.put(p)
}

// once is the event, or nothing if it was part of a request that was carried out on
// the service before: what follows from its state is looked at all the same.
func (e *Engine) once(s *service, ev core.Event) core.Event {
	if e.request != 0 && s.info.Request >= e.request {
		return core.Event{}
	}
	return ev
}

// feedPart queues an event of a request whose number goes on the service's page
// with the step.
func (e *Engine) feedPart(s *service, ev core.Event, request uint64) {
	p := e.pend(s, ev, request)
	e.announce(&p)
	e.queue.put(p)
}

func (e *Engine) pend(s *service, ev core.Event, request uint64) pending {
	ev.Rand = rand.Uint32()
	if s.info.Roll == rollNone && endsRun(ev) {
		if next := e.settleRoll(s); ev.Kind != core.EvExited {
			s = next
		}
	}
	because := e.because
	if because == 0 && !rootEvent(s, ev) {
		because = s.info.Chain
	}
	return pending{s: s, ev: ev, request: request, because: because}
}

// settle steps what is queued, and what the graph makes of that, until nothing is
// left, then looks at what changed as a whole: waiting requests, the shutdown, an
// essential service's end.
func (e *Engine) settle() {
	for !e.settled() {
		e.settleQueue()
	}
	e.because = 0
}

func (e *Engine) settleQueue() {
	touched := make([]*service, 0, 8)
	for {
		p, any := e.next()
		if !any {
			break
		}
		s := p.s
		e.announced(&p)
		if s.forgotten {
			continue
		}
		s.info.Request = max(s.info.Request, p.request)
		if p.ends {
			s.info.Ending = endNone
		}
		e.because = p.because
		e.step(s, p.ev)
		if p.ends || p.ev.Kind == core.EvHold || p.ev.Kind == core.EvAllow {
			e.hold(s)
		}
		if !s.touched {
			s.touched = true
			touched = append(touched, s)
		}
	}
	for _, s := range touched {
		s.touched = false
		e.because = s.info.Chain
		e.look(s)
	}
	e.because = 0
	e.lookAtWaiting()
	e.lookAtAll() // which may feed more
}

// settled tells whether nothing is left to step.
func (e *Engine) settled() bool {
	return e.queue.empty() && e.orders.empty() && !(e.deps.dirty && e.deps.known)
}

// step runs the core once for one service. The new state is on its page before
// any action is taken, so that an engine killed between the two repeats the
// action and never forgets it.
func (e *Engine) step(s *service, ev core.Event) {
	if ev.Kind != core.EvAdopted {
		e.claim(s)
	}
	old := s.st
	next, acts := core.Step(&s.cfg, old, ev, e.now())
	s.st = next
	if next.Phase != old.Phase {
		s.info.Since = e.wall().UnixNano()
	}
	s.account(old)
	s.remember(old, ev, e.now())
	began, ended := !ofRun(old) && ofRun(next) || ev.Kind == core.EvAdopted && ofRun(next), ofRun(old) && !ofRun(next)
	if ended && next.Phase != core.Cleaning || next.Run != old.Run && next.Run != s.groupRun {
		e.leaveGroup(s)
	}
	e.persist(s)
	e.mirror(s)
	if e.explain(s, old, ev, &acts) {
		e.persist(s) // the page leads to that event
	}
	e.noteFault(s, &old)
	if ended {
		e.runEnded(s)
	}
	if began {
		e.runBegan(s)
	}
	for _, a := range acts.All() {
		e.act(s, a)
	}
	if next.Phase == core.Failed && old.Phase != core.Failed {
		e.alarm(s)
	}
	e.arm(s)
	e.inform(s)
}

func (e *Engine) act(s *service, a core.Action) {
	e.claim(s)
	switch a.Kind {
	case core.ActSpawn:
		e.ordered = true
		e.spawn(s, a.Run)
	case core.ActSignal:
		e.signalStep(s, a.Run, int(a.Step))
	case core.ActKill:
		e.kill(s, a.Run, a.Main)
	case core.ActClean:
		e.clean(s, a.Run, a.Grace)
	case core.ActFreeze:
		e.freeze(s, a.Run, true)
	case core.ActThaw:
		e.freeze(s, a.Run, false)
	case core.ActHook:
		e.hook(s, a.Run, a.Hook)
	case core.ActUnhook:
		e.unhook(s, a.Run, a.Hook)
	case core.ActFindMain:
		e.findMain(s, a.Run)
	case core.ActAbort:
		e.abort(s, a.Run)
	}
}

// ofRun tells whether a run has a main process, or had a starter and is to have one.
func ofRun(st core.State) bool { return st.Live() || st.Phase == core.Finding }

// runBegan begins what goes with a run as long as it lives: it was spawned, taken,
// or found alive. It comes after the page has the new state and before the actions.
func (e *Engine) runBegan(s *service) {
	e.followNotices(s)
	e.resumeMain(s)
}

// runEnded ends what runBegan began.
func (e *Engine) runEnded(s *service) {
	e.endNotices(s)
	e.endSearch(s)
}

// begin takes over what lives and starts what is wanted.
func (e *Engine) begin() {
	e.beginning = true
	e.recoverEvents()
	e.loadRequests()
	e.loadPatterns()
	e.loadAlarms()
	pages := e.loadPages()
	e.opts.RecordsLost = e.recordsLost()
	applied := e.ports.Definitions.Applied()
	if e.endedBefore() {
		applied = nil // that instance is over: the files count
	}
	set, ok := Loaded{}, false
	if e.opts.Follows {
		set, ok = e.ports.Definitions.Restored()
	}
	if !ok {
		set = e.ports.Definitions.Load(applied)
	}
	e.set, e.pins = set, e.ports.Layers.Pins()
	_, before := e.own[bootPage]
	_, archived := e.own[archivedPage]
	e.archived = archived && applied != nil
	for name, def := range set.Services {
		// What an engine before us applied stays in force until somebody asks for
		// more.
		old := applied[name]
		switch {
		case old != nil:
			def = old
		case applied != nil && before:
			continue
		case e.pins[name].Def != nil:
			def = e.pins[name].Def
		}
		e.add(name, def)
	}
	for name := range set.Broken {
		if old := applied[name]; old != nil {
			e.add(name, old).broken = set.Broken[name]
		}
	}
	for name, pin := range e.pins {
		// Its file is broken or gone.
		def := pin.Def
		if applied != nil && before {
			def = applied[name]
		}
		if e.services[name] == nil && set.Services[name] == nil && def != nil && def.Template == "" {
			e.add(name, def).broken = set.Broken[name]
		}
	}
	e.reportBroken(set)
	e.runlevel = decodeRunlevel(e.own[runlevelPage])
	e.wire()
	e.findShutdown()
	resumed := e.stopping != nil
	if e.done {
		return
	}
	if e.failure = e.adopt(pages); e.failure != nil {
		e.done, e.code = true, 1
		return
	}
	e.wire()
	e.deps.known, e.deps.dirty = true, true
	for _, s := range e.services {
		if s.node == nil {
			e.free(s)
		}
		e.inform(s)
	}
	if !e.foundBefore() {
		e.noteFound()
	}
	e.drainAgain()
	e.takeOverSetting()
	e.record("", 0, "abide", fmt.Sprintf("engine %s is in charge of %d services", e.opts.Version, len(e.services)), nil)
	e.endUpgrade(e.own[upgradePage])
	if resumed {
		e.record("", 0, "abide", "going on with the shutdown: "+e.stopping.why, nil)
		e.stopAll()
		e.settle()
	}
	e.judgePatterns()
	e.recallFaults()
	e.resumeRequests()
	e.resumeAlarms()
	if e.stopping == nil {
		e.needAtBoot()
	}
	e.writeApplied()
	e.settle()
	if e.stopping == nil {
		e.putOwn(bootPage, nil)
	}
	e.beginning = false
	e.lookAtAll()
}

// needAtBoot starts what is wanted without anybody asking. It happens once in the
// life of an instance: what a former engine left as it is stays so.
func (e *Engine) needAtBoot() {
	_, before := e.own[bootPage]
	for _, s := range e.services {
		// Before that is noted nobody can have asked for its stop: what is down has not
		// been asked for yet.
		fresh := !before && (!s.adopted || s.st.Phase == core.Down && !s.st.Wanted)
		if (fresh || !s.adopted && s.unread) && e.wantedAtBoot(s) {
			e.feed(s, core.Event{Kind: core.EvNeed})
		}
	}
}

// wantedAtBoot tells whether a service that nobody asked for by name is to run.
func (e *Engine) wantedAtBoot(s *service) bool {
	if s.def == nil || !s.enabled() || s.wish.Stopped {
		return false
	}
	return e.askedFor(s.name)
}

// askedFor tells whether a service is among those that this abide was started for.
func (e *Engine) askedFor(name string) bool {
	return len(e.opts.Names) == 0 || len(meantBy(e.opts.Names, name)) > 0
}

// reportBroken says which definitions cannot be used. A running service keeps
// the one it has.
func (e *Engine) reportBroken(set Loaded) {
	for _, d := range set.Diags {
		if d.Severity == diag.Error {
			e.record("", 0, "definition", d.String(), nil)
			e.ports.Console.Say(d.String())
		}
	}
}
