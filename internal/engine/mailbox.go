package engine

import "sync"

// mailbox is the loop's only door. Posting never blocks: the log and the
// keeper's reader post from places where waiting for the loop could be waiting
// for themselves. What can be in it at once is bounded by its producers: one
// exit a run, one answer an order, a few requests a connection.
type mailbox struct {
	mu    sync.Mutex
	items []func()
	wake  chan struct{}
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.items = append(m.items, f)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take returns all that was posted, in order, and leaves spare behind for the
// next round.
func (m *mailbox) take(spare []func()) []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.items
	m.items = spare[:0]
	return got
}
