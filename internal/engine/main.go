package engine

import "github.com/abide-project/abide/internal/core"

// findMain looks for the main process that a starter has left behind.
func (e *Engine) findMain(s *service, run uint64) {
	e.feed(s, core.Event{Kind: core.EvMain, Run: run})
}
