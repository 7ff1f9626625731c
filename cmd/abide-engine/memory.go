package main

import (
	"runtime"
	"runtime/debug"
)

// memory lets the collector run while there is work and stops it when there is
// none: a heap that has been collected once makes the runtime collect it again
// every two minutes, which would be the only thing an idle engine does.
type memory struct {
	quiet bool
	drops int // how often what only the start needed was given back
}

// startBursts is how many bursts of work a start has: that of the services, and,
// once those are at rest, the archive of their definitions.
const startBursts = 2

// collectAt is by how many percent the heap may grow before it is collected. The
// engine's heap is small and its work comes in bursts: memory counts for more.
const collectAt = 50

func (m *memory) Quiet() {
	if m.quiet {
		return
	}
	m.quiet = true
	// Buffers that pools keep are free after the second collection only.
	runtime.GC()
	debug.FreeOSMemory()
	debug.SetGCPercent(-1)
	if m.drops < startBursts {
		m.drops++
		dropProgram()
	}
}

func (m *memory) Busy() {
	if m.quiet {
		m.quiet = false
		debug.SetGCPercent(collectAt)
	}
}
