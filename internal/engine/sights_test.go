package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"
)

// sights is what an engine can see of programs from outside: sockets, pages, files,
// pipes and lines. What is there outlives engines; who listens does not.
type sights struct {
	w *world

	answers map[string]error // by address; without an entry: refused
	silent  map[string]bool  // addresses that never answer
	asked   []string
	marks   map[string]uint64
	pipes   map[int]string // what was written into them
	closed  map[int]bool   // their other end
	nextFD  int
	open    map[int]bool // read ends that nobody has given up
	made    []string
	lines   map[string][]string // by run

	waiting map[string]func(string) // for lines, by run
	heard   map[int]func()          // by pipe
	asking  int
	most    int // asked at the same time
	next    int
}

func newSights(w *world) *sights {
	s := &sights{
		w: w, answers: map[string]error{}, silent: map[string]bool{}, marks: map[string]uint64{}, pipes: map[int]string{},
		closed: map[int]bool{}, open: map[int]bool{}, lines: map[string][]string{}, nextFD: 500,
	}
	s.forget()
	return s
}

// forget is the end of an engine.
func (s *sights) forget() {
	s.waiting, s.heard, s.asking = map[string]func(string){}, map[int]func(){}, 0
}

var errRefused = errors.New("connection refused")

func (s *sights) TCP(address string, timeout time.Duration, done func(error)) func() {
	s.w.port()
	s.asked = append(s.asked, address)
	s.asking++
	s.most = max(s.most, s.asking)
	over := false
	end := func(err error) {
		if !over {
			over = true
			s.asking--
			done(err)
		}
	}
	if s.silent[address] {
		s.w.eng.wakeIn(timeout, 0, func() { end(fmt.Errorf("no answer within %s", timeout)) })
		return func() { end(errors.New("cancelled")) }
	}
	err, there := s.answers[address]
	if !there {
		err = errRefused
	}
	s.w.post = append(s.w.post, func() { end(err) })
	return func() { end(errors.New("cancelled")) }
}

func (s *sights) HTTP(address string, timeout time.Duration, done func(error)) func() {
	return s.TCP(address, timeout, done)
}

func (s *sights) MakePipe(name string, run uint64) (string, int, error) {
	s.w.port()
	s.nextFD++
	s.open[s.nextFD] = true
	s.made = append(s.made, fmt.Sprintf("%s.%d", name, run))
	return "/run/abide/services/" + name + "/ready", s.nextFD, nil
}

func (s *sights) OpenPipe(string, uint64) (int, error) { s.w.port(); return -1, fs.ErrNotExist }

func (s *sights) AwaitPipe(fd int, told func(bool)) (func(), error) {
	s.w.port()
	look := func() {
		switch text := s.pipes[fd]; {
		case slices.Contains([]byte(text), '\n'):
			told(true)
		case s.closed[fd]:
			told(false)
		}
	}
	s.heard[fd] = look
	s.w.post = append(s.w.post, look)
	return func() { delete(s.heard, fd); delete(s.open, fd) }, nil
}

func (s *sights) RemovePipe(string, uint64) { s.w.port() }

func (s *sights) awaitLine(name string, run uint64, past bool, match func([]byte) bool, done func(string)) func() {
	s.w.port()
	key := fmt.Sprintf("%s.%d", name, run)
	look := func(line string) {
		if match([]byte(line)) {
			done(line)
		}
	}
	s.waiting[key] = look
	if past {
		lines := s.lines[key]
		s.w.post = append(s.w.post, func() {
			for _, line := range lines {
				look(line)
			}
		})
	}
	return func() { delete(s.waiting, key) }
}

// write has a program write a line; without an engine it waits in the log.
func (s *sights) write(name string, run uint64, line string) {
	key := fmt.Sprintf("%s.%d", name, run)
	s.lines[key] = append(s.lines[key], line)
	if look := s.waiting[key]; look != nil {
		look(line)
	}
}

// say has a program write into its pipe.
func (s *sights) say(name string, run uint64, text string) {
	fd := s.w.keeper.tags[name][Tagged{run, HoldReady}]
	s.pipes[fd] += text
	s.closed[fd] = text == ""
	if look := s.heard[fd]; look != nil {
		look()
	}
}

// touch changes a file.
func (s *sights) touch(path string) {
	s.next++
	s.marks[path] = uint64(s.next)
	s.w.changed(path)
}

// listeners is how many things are listened to.
func (s *sights) listeners() int { return len(s.w.watched) + len(s.waiting) + len(s.heard) + s.asking }

func (w *world) tries() int { return len(w.sights.asked) }

func (w *world) expectQuiet(t *testing.T) {
	t.Helper()
	if n := w.sights.listeners(); n != 0 || len(w.eng.wakes) != 0 {
		t.Errorf("%d things are listened to and %d timers set, want none", n, len(w.eng.wakes))
	}
}
