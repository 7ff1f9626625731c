package svlog

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What epoll hands back for descriptors that are no source; ids of sources are
// greater.
const (
	wakeEvent    = 0
	consoleEvent = 1
)

// threadName is what top and /proc call the Manager's thread.
const threadName = "abide-log"

const outSize = 256 << 10 // of the buffer that lines are made in

// Manager takes the output of all services into their logs. Its methods may be
// called from any goroutine and do not wait for a disk.
type Manager struct {
	opt     Options
	hostile bool // abide has rights that the services' users have not
	began   time.Time
	epoll   int
	wakeFD  int
	pwrite  func(fd int, p []byte, off int64) (int, error)
	append  func(fd int, p []byte) (int, error) // nil: there is none

	// The rest of this block belongs to the Manager's thread.
	journal   *journal
	stage     *stage // nil: none could be had, bytes go through memory
	spare     []*stage
	stages    int // how many there are
	stageFull bool
	current   take
	private   *takeRec // the record of takes that have no place in the journal
	enc       encoder
	out, in   []byte
	text      []byte
	console   *console
	sinks     map[string]*sink
	bySlot    map[uint32]*sink
	ready     []*source     // to be looked at, in order
	own       *source       // abide itself, for its notes
	next      time.Duration // when tick has something to do, 0: never
	takes     int           // since pace last looked
	taken     int           // bytes
	rush      int           // rounds of small takes in quick succession
	lastRound time.Duration
	told      map[string]string

	relief     relief
	subscribed atomic.Int32

	mu       sync.Mutex // guards what follows, and the journal's lists
	services map[string]*service
	runs     map[runKey]*run
	sources  map[uint64]*source
	left     map[runKey]uint32 // runs of an earlier Manager, by slot in the journal
	subs     map[string][]chan struct{}
	todo     []func()

	spareNumber uint64
	woken       bool
	closed      bool

	done chan struct{}
}

type runKey struct {
	name   string
	number uint64
}

// Open prepares the log side of an instance: it brings to an end what an earlier
// Manager on the same run directory was killed at, and starts the thread. Where
// the run directory cannot hold a stage or a journal it goes on without them and
// reports that.
func Open(opt Options) (*Manager, error) {
	return openInto(&Manager{append: appendTo}, opt, unix.Pwrite)
}

func openInto(m *Manager, opt Options, pwrite func(int, []byte, int64) (int, error)) (*Manager, error) {
	m.opt, m.hostile, m.began, m.pwrite = opt, os.Geteuid() == 0, time.Now(), pwrite
	m.private, m.out, m.text = new(takeRec), make([]byte, 0, outSize), make([]byte, 0, 256)
	m.sinks, m.bySlot, m.told = map[string]*sink{}, map[uint32]*sink{}, map[string]string{}
	m.services, m.runs, m.sources = map[string]*service{}, map[runKey]*run{}, map[uint64]*source{}
	m.left, m.subs = map[runKey]uint32{}, map[string][]chan struct{}{}
	m.done = make(chan struct{})
	m.own = &source{id: goneID, stream: streamOwn, rec: new(runRec), name: "abide", safe: true, fd: -1}
	if err := os.MkdirAll(filepath.Join(opt.RunDir, "services"), 0o700); err != nil {
		return nil, fmt.Errorf("cannot prepare log pipes: %w", err)
	}
	var err error
	if m.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cannot prepare log pipes: %w", err)
	}
	if m.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(m.epoll)
		return nil, fmt.Errorf("cannot prepare log pipes: %w", err)
	}
	unix.EpollCtl(m.epoll, unix.EPOLL_CTL_ADD, m.wakeFD, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeEvent})
	if opt.Console != nil {
		if m.console, err = openConsole(opt.Console, opt.Colour); err != nil {
			m.report("", err.Error())
		}
	}
	if m.journal, err = openJournal(opt.RunDir); err != nil {
		m.report("", err.Error())
	}
	m.recover()
	if m.relief.patience == 0 {
		m.relief.patience = patience
	}
	m.relief.timer = time.AfterFunc(m.relief.patience, m.check)
	m.relief.armed.Store(true)
	go m.begin()
	return m, nil
}

func (m *Manager) now() time.Time { return time.Now() }

// mono is now on the Manager's own clock, which is never set.
func (m *Manager) mono(now time.Time) time.Duration { return now.Sub(m.began) }

func (m *Manager) report(service, text string) {
	if m.opt.Report != nil {
		m.opt.Report(service, text)
	}
}

// reportOnce reports text about a log unless it was the last thing said of what.
func (m *Manager) reportOnce(k *sink, what, text string) {
	m.once(k.path+"\x00"+what, k.service, text)
}

// once reports text unless it was the last thing said under key.
func (m *Manager) once(key, service, text string) {
	if m.told[key] != text {
		m.told[key] = text
		m.report(service, text)
	}
}

// deadline makes the thread look at all logs at the given time at the latest.
func (m *Manager) deadline(at time.Duration) {
	if m.next == 0 || at < m.next {
		m.next = max(at, 1)
	}
}

// do has f run on the Manager's thread.
func (m *Manager) do(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.todo = append(m.todo, f)
	m.wake()
	return nil
}

// wake must be called with mu held.
func (m *Manager) wake() {
	if !m.woken {
		m.woken = true
		one := [8]byte{1}
		unix.Write(m.wakeFD, one[:])
	}
}

func (m *Manager) queue(src *source) {
	if !src.queued && !src.closed {
		src.queued = true
		m.ready = append(m.ready, src)
	}
}

// begin gives the loop a thread that may have a name of its own: a process goes by
// the name of its first one.
func (m *Manager) begin() {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		m.loop()
		return
	}
	// While this goroutine holds the first thread another one gets another.
	begun := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(begun)
		m.loop()
	}()
	<-begun
	runtime.UnlockOSThread()
}

// loop is the Manager's thread. It sleeps in epoll_wait and nowhere else.
func (m *Manager) loop() {
	name := [16]byte{}
	copy(name[:], threadName)
	unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	defer close(m.done)
	var events [64]unix.EpollEvent
	for {
		timeout := m.timeout()
		if timeout != 0 {
			m.progress()
			m.relief.idle.Store(true)
		}
		n, err := unix.EpollWait(m.epoll, events[:], timeout)
		m.watch()
		if err != nil && err != unix.EINTR {
			m.report("", "cannot wait for log pipes: "+err.Error())
		}
		for i := range events[:max(n, 0)] {
			switch id := uint64(uint32(events[i].Fd)) | uint64(uint32(events[i].Pad))<<32; id {
			case wakeEvent:
				if m.runTodo() {
					return
				}
			case consoleEvent:
				m.console.waiting = false
			default:
				m.mu.Lock()
				src := m.sources[id]
				m.mu.Unlock()
				if src != nil {
					m.queue(src)
				}
			}
		}
		for range 4 {
			m.serveReady()
			if len(m.ready) == 0 {
				break
			}
		}
		m.pace()
		if m.console != nil {
			m.console.flush(m.epoll)
		}
		if m.next != 0 {
			now := m.now()
			if mono := m.mono(now); mono >= m.next {
				m.tick(now, mono)
			}
		}
	}
}

// The pace of a Manager that is kept busy by small writes.
const (
	paceBytes  = 8 << 10                // takes below this are small
	paceGap    = 500 * time.Microsecond // rounds closer together than this are one rush
	paceRounds = 8                      // a rush is that many rounds
	paceNap    = 200 * time.Microsecond
)

// pace lets small writes gather while they rush in: to be woken for each line
// costs both sides more than the line. A program that writes now and then is
// served at once.
func (m *Manager) pace() {
	if m.takes == 0 {
		return
	}
	mono := m.current.mono
	if m.taken/m.takes < paceBytes && mono-m.lastRound < paceGap {
		m.rush++
	} else {
		m.rush = 0
	}
	m.takes, m.taken, m.lastRound = 0, 0, mono
	if m.rush >= paceRounds {
		nap := unix.NsecToTimespec(int64(paceNap))
		unix.Nanosleep(&nap, nil)
	}
}

// serveReady gives each source that has something one turn.
func (m *Manager) serveReady() {
	n := len(m.ready)
	for i := range n {
		m.serve(m.ready[i])
	}
	rest := copy(m.ready, m.ready[n:])
	clear(m.ready[rest:])
	m.ready = m.ready[:rest]
}

// timeout is how long to sleep, in milliseconds: for ever, unless a log asked for
// something.
func (m *Manager) timeout() int {
	if len(m.ready) > 0 {
		return 0
	}
	if m.next == 0 {
		return -1
	}
	left := m.next - m.mono(m.now())
	if left <= 0 {
		return 0
	}
	return int(min(left/time.Millisecond+1, 6*60*60*1000))
}

// runTodo does what was asked for. It reports true when the Manager is closed.
func (m *Manager) runTodo() bool {
	var count [8]byte
	unix.Read(m.wakeFD, count[:])
	m.mu.Lock()
	todo := m.todo
	m.todo, m.woken = nil, false
	closed := m.closed
	m.mu.Unlock()
	for _, f := range todo {
		m.progress()
		f()
	}
	if closed {
		m.shut()
	}
	return closed
}

// tick does what time alone makes due, and finds the next such moment.
func (m *Manager) tick(now time.Time, mono time.Duration) {
	m.next = 0
	for _, k := range m.sinks {
		m.progress()
		if k.trouble != nil && mono >= k.retryAt {
			if k.parked != nil {
				m.retry(k, now, mono)
			} else if k.rec.place.lostBytes.Load() > 0 {
				m.small(takeFinish, m.own, []*sink{k}, k, k.lastRun, nil)
			}
		}
		if k.trouble != nil && (k.parked != nil || k.rec.place.lostBytes.Load() > 0) {
			m.deadline(max(k.retryAt, mono+time.Millisecond))
		}
		if k.parked != nil {
			continue
		}
		if k.rules.every > 0 && k.fd >= 0 {
			m.rotateIfDue(k, now, mono)
			m.armAge(k, now, mono)
		}
		if k.sweepAt != 0 && mono >= k.sweepAt {
			m.tidy(k, now, mono)
		}
		if k.sweepAt != 0 {
			m.deadline(k.sweepAt)
		}
	}
}

// armAge sets the deadline for rotation by age. A log that is empty, or stands in
// the middle of a line, has none: its next line will look.
func (m *Manager) armAge(k *sink, now time.Time, mono time.Duration) {
	if k.rec.place.offset.Load() == 0 || k.rec.place.open.Load() != 0 {
		return
	}
	m.deadline(max(mono+k.rules.every-k.age(now), k.rotateAt, mono+time.Millisecond))
}

// wrote is called when a log has changed.
func (m *Manager) wrote(t *take, k *sink) {
	if t.src != m.own {
		k.lastRun = t.runNumber()
	}
	if k.rules.every > 0 {
		m.armAge(k, t.now, t.mono)
	}
	if k.trouble != nil {
		m.deadline(k.retryAt)
	}
	if m.subscribed.Load() > 0 {
		m.mu.Lock()
		for _, ch := range m.subs[k.path] {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
		m.mu.Unlock()
	}
}

// Subscribe returns a channel that has an element whenever one of the logs has
// changed since the last one was received. Cancel ends it.
func (m *Manager) Subscribe(paths ...string) (changed <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, path := range paths {
		m.subs[path] = append(m.subs[path], ch)
	}
	m.subscribed.Add(1)
	return ch, sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.subscribed.Add(-1)
		for _, path := range paths {
			list := slices.DeleteFunc(m.subs[path], func(have chan struct{}) bool { return have == ch })
			if m.subs[path] = list; len(list) == 0 {
				delete(m.subs, path)
			}
		}
	})
}

// Close takes what the FIFOs have, writes it, and ends the thread. The FIFOs
// stay: a later Manager adopts them.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		<-m.done
		return ErrClosed
	}
	m.closed = true
	m.wake()
	m.mu.Unlock()
	<-m.done
	return nil
}

// closeTurns bounds how much of a program that never pauses is taken at the end.
const closeTurns = 16

func (m *Manager) shut() {
	m.progress()
	m.mu.Lock()
	for _, src := range m.sources {
		m.queue(src)
	}
	m.mu.Unlock()
	for range closeTurns {
		m.serveReady()
	}
	if m.console != nil {
		m.console.flush(m.epoll)
		m.console.close(m.epoll)
	}
	m.progress()
	m.relief.idle.Store(true)
	m.relief.timer.Stop()
	for _, src := range m.sources {
		unix.Close(src.fd)
	}
	for _, k := range m.sinks {
		if k.fd >= 0 {
			unix.Close(k.fd)
		}
		if k.parked != nil && k.parked.st != nil {
			k.parked.st.close()
		}
	}
	for _, st := range m.spare {
		st.close()
	}
	if m.stage != nil {
		m.stage.close()
	}
	m.journal.close()
	unix.Close(m.epoll)
	unix.Close(m.wakeFD)
}
