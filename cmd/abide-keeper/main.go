// Command abide-keeper is the parent of every service: it spawns, reaps, holds
// and starts the engine again. docs/keeper.md describes it; people start it by
// `abide daemon`, `abide init` or `abide up`.
package main

import (
	"os"
	"runtime"

	"github.com/abide-project/abide/internal/keeper"
)

// The first thread is the parent of the engine and of orphans, so the keeper's
// main goroutine must stay on it.
func init() { runtime.LockOSThread() }

func main() { os.Exit(keeper.Main(os.Args[1:], os.Environ())) }
