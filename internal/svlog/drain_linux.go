package svlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// Nameless is what Detach calls a pipe without a name.
const Nameless = "-"

// Detach gives up the pipes of a run: what is in them is taken, then they are
// closed, and from there on they are somebody else's to read. Done is called from
// the Manager's thread, and must not block, with the names that they have then: ""
// for a stream that was not taken.
func (m *Manager) Detach(name string, number uint64, done func(out, err string)) error {
	key := runKey{name, number}
	return m.do(func() {
		m.mu.Lock()
		r := m.runs[key]
		m.mu.Unlock()
		if r == nil {
			done("", "")
			return
		}
		var paths [2]string
		for _, src := range r.live {
			src.released = true
			paths[src.stream&1] = Nameless
			if src.path != "" {
				paths[src.stream&1] = src.path + ReleasedSuffix
			}
			m.queue(src)
		}
		r.ended, r.abandoned = true, true
		r.done = append(r.done, func() { done(paths[streamOut], paths[streamErr]) })
		if len(r.live) == 0 {
			m.runDone(r)
		}
	})
}

// Reclaim gives a pipe that Detach named the name that it has as a stream of a run.
func (m *Manager) Reclaim(path, name string, number uint64, s Stream) error {
	if err := checkName(name); err != nil {
		return err
	}
	to := m.fifo(runKey{name, number}, s&1)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("cannot take back log pipe %s: %w", path, err)
	}
	if err := os.Rename(path, to); err != nil {
		return fmt.Errorf("cannot take back log pipe %s: %w", path, err)
	}
	return nil
}

// DrainPlan is what Drain is to do.
type DrainPlan struct {
	Dir    string    // of its own, made as needed and removed at the end
	LogDir string    // as in Options
	Name   string    // of the service
	Run    uint64    // which was released
	Pipes  [2]string // stdout and stderr: paths to open, "" for none
	Log    model.Log
}

// Drain takes what a released process writes into its log for as long as somebody
// has its pipes open for writing, or until ctx ends. What it has taken is written
// when it returns; killed in between, it goes on where it was when it is called
// again. Pipes that cannot be opened are passed over.
func Drain(ctx context.Context, plan DrainPlan) error {
	var fds [2]int
	some := false
	for s, path := range plan.Pipes {
		fds[s] = -1
		if path == "" {
			continue
		}
		fd, err := ignoringEINTR(func() (int, error) {
			return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		})
		if err == nil {
			fds[s], some = fd, true
		}
	}
	if !some {
		return nil
	}
	if err := os.MkdirAll(plan.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot drain the output of %s: %w", plan.Name, err)
	}
	m, err := Open(Options{RunDir: plan.Dir, LogDir: plan.LogDir})
	if err != nil {
		return fmt.Errorf("cannot drain the output of %s: %w", plan.Name, err)
	}
	var errs []error
	for s, fd := range fds {
		if fd >= 0 {
			errs = append(errs, m.AdoptFD(plan.Name, plan.Run, Stream(s), fd, &plan.Log))
		}
	}
	ended := make(chan struct{})
	errs = append(errs, m.Ended(plan.Name, plan.Run, func() { close(ended) }))
	over := false
	select {
	case <-ended:
		over = true
	case <-ctx.Done():
	}
	errs = append(errs, m.Close())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if over {
		for _, path := range plan.Pipes {
			if filepath.Ext(path) == ReleasedSuffix {
				os.Remove(path)
			}
		}
	}
	return os.RemoveAll(plan.Dir)
}
