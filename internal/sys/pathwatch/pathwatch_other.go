//go:build !linux

package pathwatch

import (
	"fmt"
	"runtime"
)

// Watcher cannot watch here.
type Watcher struct{}

// New returns a Watcher that refuses.
func New(Options) *Watcher { return &Watcher{} }

// Watch refuses.
func (w *Watcher) Watch(path string, _ func()) (cancel func(), err error) {
	return nil, fmt.Errorf("cannot watch %s: %s lacks inotify", path, runtime.GOOS)
}

// WatchGlob refuses.
func (w *Watcher) WatchGlob(pattern string, fn func()) (cancel func(), err error) {
	return w.Watch(pattern, fn)
}

// Close does nothing.
func (w *Watcher) Close() {}
