package main

import (
	"runtime"
	"sync"
)

// warm is how many threads an engine has from its start on. The loop, the log,
// the network poller, the collector and some blocking calls use about eight.
const warm = 12

// warmThreads makes the runtime create its threads now. It ends the process when
// it needs one and the system has none left, which is when a user's services have
// used up all processes: the engine is wanted most then.
func warmThreads() {
	var all, gone sync.WaitGroup
	all.Add(warm)
	gone.Add(warm)
	for range warm {
		go func() {
			// A locked goroutine holds its thread while it waits.
			runtime.LockOSThread()
			all.Done()
			all.Wait()
			runtime.UnlockOSThread()
			gone.Done()
		}()
	}
	gone.Wait()
}
