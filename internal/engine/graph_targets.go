package engine

import (
	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// The targets that abide itself defines. What belongs to one says so by wanted_by or
// required_by; a definition of the same name takes its place.
var builtInTargets = map[string]string{
	"boot":           "what is started at boot beside what is enabled",
	"network":        "the network interfaces are set up",
	"network-online": "the network can be used",
	"time-sync":      "the clock has been set",
}

// addBuiltIn makes a target of ours exist as soon as a definition mentions it.
func (e *Engine) addBuiltIn(name string) {
	description, ours := builtInTargets[name]
	if !ours || e.services[name] != nil {
		return
	}
	def := model.Defaults(model.Target, false)
	def.Name, def.Description = name, description
	def.Enabled = name == "boot"
	s := e.add(name, &def)
	s.builtIn = true
	if e.deps.known && e.wantedAtBoot(s) {
		e.feedPart(s, core.Event{Kind: core.EvNeed}, 0)
	}
}

// dropBuiltIns forgets the targets of ours that no definition mentions any more.
func (e *Engine) dropBuiltIns() {
	for name := range builtInTargets {
		if s := e.services[name]; s != nil && s.builtIn && len(e.deps.wiring.mentions[name]) == 0 {
			e.forget(s)
		}
	}
}
