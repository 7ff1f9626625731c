package engine

import "github.com/abide-project/abide/internal/core"

// hook runs the commands of a kind.
func (e *Engine) hook(s *service, run uint64, kind core.HookKind) {
	e.feed(s, core.Event{Kind: core.EvHooked, Run: run, Hook: kind, OK: true})
}

// unhook ends them.
func (e *Engine) unhook(s *service, run uint64, kind core.HookKind) {
	e.feed(s, core.Event{Kind: core.EvHooked, Run: run, Hook: kind})
}
