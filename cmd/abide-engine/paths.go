package main

import (
	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/spawn"
	"github.com/abide-project/abide/internal/sys/pathwatch"
)

// The name under which the keeper holds the descriptor that paths are watched by:
// abide's own, which no service may have.
const (
	pathsSlot = "abide/paths"
	pathsTag  = 1
)

// watchPaths returns the engine's eye on files and folders, which opens nothing
// before it is used. See warden.open for why the keeper has a copy.
func watchPaths(lk *link.Link, mounts *spawn.Mounts, say func(string)) *pathwatch.Watcher {
	return pathwatch.New(pathwatch.Options{
		Take:   func() (int, error) { return lk.Take(pathsSlot, 0, pathsTag) },
		Keep:   func(fd int) { _, _ = lk.Keep(pathsSlot, 0, pathsTag, fd) },
		Local:  mounts.Local,
		Report: func(err error) { say(err.Error()) },
	})
}
