package engine

import (
	"fmt"
	"runtime"
)

// loopPaths is Ports.Paths for the engine's own use: what it is given runs in the
// loop, and never after it was cancelled there.
type loopPaths struct {
	e    *Engine
	port Paths
}

func (l loopPaths) Watch(path string, fn func()) (cancel func(), err error) {
	return l.watch(path, fn, l.port.Watch)
}

func (l loopPaths) WatchGlob(pattern string, fn func()) (cancel func(), err error) {
	return l.watch(pattern, fn, l.port.WatchGlob)
}

func (l loopPaths) watch(text string, fn func(), watch func(string, func()) (func(), error)) (func(), error) {
	cancelled := false
	stop, err := watch(text, func() {
		l.e.Post(func() {
			if !cancelled {
				fn()
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return func() {
		if !cancelled {
			cancelled = true
			stop()
		}
	}, nil
}

func (l loopPaths) Mark(path string) uint64 { return l.port.Mark(path) }

// noPaths watches nothing.
type noPaths struct{}

func (noPaths) Watch(path string, _ func()) (func(), error) {
	return nil, fmt.Errorf("cannot watch %s: this abide cannot watch paths on %s", path, runtime.GOOS)
}
func (n noPaths) WatchGlob(pattern string, fn func()) (func(), error) { return n.Watch(pattern, fn) }
func (noPaths) Mark(string) uint64                                    { return 0 }
