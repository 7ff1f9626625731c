package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/notify"
	"github.com/abide-project/abide/internal/pack"
)

// Notices are the sockets on which runs say how they are, see package
// notify/sockets. Each is named by the slot of its run. A message stays where it is
// until Done: an engine that dies over it leaves it to the next, which may then be
// told the same twice and never misses it.
type Notices interface {
	// Open makes the socket of a run and returns what NOTIFY_SOCKET is to say. A
	// program that does not see our files is hidden.
	Open(slot string, run uint64, uid, gid int, hidden bool) (address string, err error)
	// Adopt takes over one that another engine made.
	Adopt(slot string, run uint64, fd int) error
	// Reopen makes one again whose end nobody has any more; address is what Open
	// returned if that is no name in the file system, else "".
	Reopen(slot string, run uint64, uid, gid int, address string) error
	FD(slot string, run uint64) int // -1: there is none
	// Again has Engine.Noticed called, once, when something waits.
	Again(slot string, run uint64) error
	// Next is what waits longest. Its data is valid until the next call, its
	// descriptors until Done.
	Next(slot string, run uint64) (notify.Datagram, bool)
	Done(slot string, run uint64)
	Close(slot string, run uint64)
	// Sweep removes what is left of sockets whose runs are over.
	Sweep(lives func(slot string, run uint64) bool)

	// Keep stores a few bytes under a name until the run directory goes; a nil blob
	// removes them. Kept returns them, nil if there are none.
	Keep(name string, blob []byte) error
	Kept(name string) ([]byte, error)
}

// noticesATurn bounds what one turn hears of one run, noticesAtEnd what is heard of
// one that has ended, or whose time is up: no program can keep the others waiting.
const (
	noticesATurn = 16
	noticesAtEnd = 1024
)

// told is what a run has said of itself. It is kept for the engines to come.
type told struct {
	Run        uint64
	Status     string
	Reloading  bool
	Stopping   bool
	MainPid    int  // said by a starter that had not left its main process yet
	Guessed    bool // nobody said which process is the main one
	Errno      int
	BusError   string
	ExitStatus int    // plus 1
	Ignored    int    // messages of others, and those that make no sense
	Address    string // of its socket if that has no name in the file system
}

// listens reports whether a service's runs get a socket.
func listens(def *model.Service) bool {
	return def.Ready.Notify || def.Health.Watchdog > 0 || def.FDStore > 0
}

// openNotices makes the socket of a run that is about to begin.
func (e *Engine) openNotices(s *service, run uint64, c *RunContext) error {
	if !listens(s.def) {
		return nil
	}
	var err error
	c.Notify, err = e.ports.Notices.Open(s.slot, run, int(s.info.UID), int(s.info.GID), s.def.Chroot != "")
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", s.name, err)
	}
	c.Watchdog = s.def.Health.Watchdog
	s.hearing = run
	if strings.HasPrefix(c.Notify, "@") {
		e.told(s).Address = c.Notify
		e.keepTold(s)
	}
	return nil
}

// endNotices gives up the socket of a run that is over, or never began.
func (e *Engine) endNotices(s *service) {
	if s.hearing != 0 {
		e.ports.Notices.Close(s.slot, s.hearing)
		s.hearing = 0
	}
}

// followNotices begins to listen to a run of ours.
func (e *Engine) followNotices(s *service) {
	if e.ports.Notices.FD(s.slot, s.st.Run) < 0 {
		return
	}
	if err := e.ports.Notices.Again(s.slot, s.st.Run); err != nil {
		e.complainOnce("notify", fmt.Sprintf("Cannot hear what services say: %v", err))
	}
}

// takeNotices takes back the socket of a run that another engine began.
func (e *Engine) takeNotices(s *service, run uint64) {
	if s.deaf {
		e.reopenNotices(s, run)
		return
	}
	if !s.heard {
		return
	}
	s.heard = false
	fd, err := e.ports.Keeper.Take(s.slot, run, HoldNotify)
	if err == nil {
		s.hearing = run
		err = e.ports.Notices.Adopt(s.slot, run, fd)
	}
	if err == nil {
		err = e.ports.Notices.Again(s.slot, run)
	}
	if err != nil {
		e.record(s.name, run, "notify", fmt.Sprintf("cannot hear any more what it says: %v", err), nil)
	}
}

// reopenNotices makes the socket of a run again that died with keeper and engine. The
// program goes on sending to its address; that it is alive it may have said in vain.
func (e *Engine) reopenNotices(s *service, run uint64) {
	s.deaf = false
	err := e.ports.Notices.Reopen(s.slot, run, int(s.info.UID), int(s.info.GID), e.told(s).Address)
	if err == nil {
		s.hearing = run
		err = e.ports.Keeper.Keep(s.slot, run, HoldNotify, e.ports.Notices.FD(s.slot, run))
	}
	if err == nil {
		err = e.ports.Notices.Again(s.slot, run)
	}
	if err != nil {
		e.record(s.name, run, "notify", fmt.Sprintf("cannot hear any more what it says: %v", err), nil)
		return
	}
	e.record(s.name, run, "notify", "what it said while nothing of abide lived is lost", nil)
	if s.st.Live() { // otherwise it is about to be found alive, and no watchdog is set yet
		e.feed(s, core.Event{Kind: core.EvWatchdog, Run: run})
	}
}

// Noticed is told that something waits at the socket of a run.
func (e *Engine) Noticed(slot string, run uint64) {
	s := e.inSlot(slot)
	if s == nil || s.st.Run != run {
		return
	}
	e.hear(s, noticesATurn)
	e.followNotices(s)
}

// hear deals with messages of a service's run that wait, at most so many. Each is
// taken away when what came of it is on record.
func (e *Engine) hear(s *service, most int) {
	run := s.st.Run
	if e.ports.Notices.FD(s.slot, run) < 0 {
		return
	}
	for range most {
		d, waits := e.ports.Notices.Next(s.slot, run)
		if !waits {
			return
		}
		e.notice(s, run, &d)
		e.settle()
		e.ports.Notices.Done(s.slot, run)
	}
}

// hearFirst deals with what a service has said before its time is judged to be up.
func (e *Engine) hearFirst(s *service) {
	if s.heard || s.deaf {
		e.claim(s)
	}
	e.hear(s, noticesAtEnd)
}

// notice deals with one message. Who sent it need not live any more: the socket is
// the run's, and the kernel tells the user.
func (e *Engine) notice(s *service, run uint64, d *notify.Datagram) {
	if d.UID != 0 && d.UID != int(s.info.UID) && d.UID != e.uid {
		e.ignore(s, fmt.Sprintf("process %d of uid %d sent to its notification socket and is not listened to", d.Pid, d.UID))
		return
	}
	m, err := notify.Parse(d.Data)
	if d.Cut {
		m, err = notify.Message{}, notify.ErrLong
	}
	if err != nil {
		e.ignore(s, fmt.Sprintf("a message on its notification socket is passed over: %v", err))
		return
	}
	t := e.told(s)
	before := *t
	e.noticeMain(s, d, &m)
	switch {
	case m.Stopping:
		t.Stopping, t.Reloading = true, false
	case m.Reloading:
		t.Reloading = true
	}
	if m.HasStatus {
		t.Status = m.Status
	}
	if m.Errno != 0 || m.BusError != "" || m.ExitStatus != 0 {
		t.Errno, t.BusError, t.ExitStatus = m.Errno, m.BusError, m.ExitStatus
		e.record(s.name, run, "notify", "it says: "+t.failure(), nil)
	}
	if m.Ready && t.Reloading {
		t.Reloading = false
		e.reloaded(s)
	}
	if m.Reloading && !before.Reloading {
		e.record(s.name, run, "notify", "it reads its configuration again", nil)
	}
	if *t != before {
		e.keepTold(s)
	}
	e.noticeLife(s, run, &m)
	if m.Remove {
		e.unstore(s, m.FDName)
	}
	if m.Store {
		e.store(s, d.FDs, &m)
	}
}

// noticeLife feeds the core what a message says of how the run is.
func (e *Engine) noticeLife(s *service, run uint64, m *notify.Message) {
	if m.Ready && s.def.Ready.Notify {
		e.feed(s, core.Event{Kind: core.EvReady, Run: run})
	}
	if m.KeepAlive || m.Watchdog > 0 {
		e.feed(s, core.Event{Kind: core.EvWatchdog, Run: run, For: m.Watchdog})
	}
	if m.Trigger {
		e.record(s.name, run, "notify", "it asks to be ended by its watchdog", nil)
		e.feed(s, core.Event{Kind: core.EvWatchdog, Run: run, For: 1})
	}
	if m.Extend > 0 {
		e.feed(s, core.Event{Kind: core.EvExtend, Run: run, For: m.Extend})
	}
}

// ignore counts a message that changes nothing. The first one of a run is said.
func (e *Engine) ignore(s *service, text string) {
	t := e.told(s)
	if t.Ignored++; t.Ignored == 1 {
		e.record(s.name, s.st.Run, "notify", text, nil)
		e.keepTold(s)
	}
}

// told returns what the present run has said.
func (e *Engine) told(s *service) *told {
	if s.told == nil {
		s.told = &told{}
		blob, err := e.ports.Notices.Kept(s.slot)
		if err == nil && blob != nil {
			err = pack.Read(blob, s.told)
		}
		if err != nil {
			*s.told = told{}
			e.complainOnce("told", fmt.Sprintf("Cannot read what %s said: %v", s.name, err))
		}
	}
	if s.told.Run != s.st.Run {
		*s.told = told{Run: s.st.Run}
	}
	return s.told
}

func (e *Engine) keepTold(s *service) {
	if err := e.ports.Notices.Keep(s.slot, pack.Append(nil, s.told)); err != nil {
		e.complainOnce("told", fmt.Sprintf("Cannot keep what %s says: %v", s.name, err))
	}
}

// forgetTold ends with the service.
func (e *Engine) forgetTold(s *service) {
	if s.told == nil && (s.def == nil || !listens(s.def) && s.def.Kind != model.Forking) {
		return
	}
	s.told = nil
	_ = e.ports.Notices.Keep(s.slot, nil)
}

// toldText is what the run says of itself, for people; "" if nothing.
func (e *Engine) toldText(s *service) string {
	if s.def == nil || !ofRun(s.st) || s.told == nil && !listens(s.def) {
		return ""
	}
	t := e.told(s)
	text := ""
	switch {
	case t.Stopping && s.st.Phase != core.Stopping:
		text = "it says that it is stopping"
	case t.Reloading:
		text = "it reads its configuration again"
	}
	if t.Status != "" {
		text = join(text, t.Status)
	}
	if f := t.failure(); f != "" {
		text = join(text, f)
	}
	return text
}

// failure is how a run said that it failed, "" if it did not.
func (t *told) failure() string {
	var parts []string
	if t.Errno != 0 {
		parts = append(parts, "error: "+errnoText(t.Errno))
	}
	if t.BusError != "" {
		parts = append(parts, "error: "+t.BusError)
	}
	if t.ExitStatus != 0 {
		parts = append(parts, fmt.Sprintf("exit status %d", t.ExitStatus-1))
	}
	return strings.Join(parts, ", ")
}

// mayListen tells whether somebody may still send to the socket of a run.
func (e *Engine) mayListen(slot string, run uint64) bool {
	if s := e.inSlot(slot); s != nil {
		return s.st.Run == run && s.lives()
	}
	r, aside := e.undefined[slot]
	return aside && r.Run == run && r.Live
}

// noNotices makes none.
type noNotices struct{}

func (noNotices) Open(string, uint64, int, int, bool) (string, error) {
	return "", errors.New("cannot make a notification socket: this abide cannot here")
}
func (noNotices) Reopen(string, uint64, int, int, string) error { return errors.ErrUnsupported }
func (noNotices) Adopt(string, uint64, int) error               { return errors.ErrUnsupported }
func (noNotices) FD(string, uint64) int                         { return -1 }
func (noNotices) Again(string, uint64) error                    { return nil }
func (noNotices) Next(string, uint64) (notify.Datagram, bool)   { return notify.Datagram{}, false }
func (noNotices) Done(string, uint64)                           {}
func (noNotices) Close(string, uint64)                          {}
func (noNotices) Sweep(func(string, uint64) bool)               {}
func (noNotices) Keep(string, []byte) error                     { return nil }
func (noNotices) Kept(string) ([]byte, error)                   { return nil, nil }
