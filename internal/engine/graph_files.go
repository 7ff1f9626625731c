package engine

import (
	"fmt"
	"os"

	"github.com/abide-project/abide/internal/graph"
)

// neededFile is a file that services depend on. It is watched as long as any does.
type neededFile struct {
	path   string
	users  int
	cancel func()
	there  bool
}

// needFile begins to look after a file for one more edge.
func (e *Engine) needFile(path string) {
	f := e.deps.files[path]
	if f == nil {
		f = &neededFile{path: path}
		e.deps.files[path] = f
		cancel, err := e.ports.Paths.Watch(path, func() { e.lookAtFile(f) })
		if err != nil {
			e.complainOnce("file "+path, fmt.Sprintf("Cannot wait for %s, what needs it does not start: %v", path, err))
		}
		f.cancel = cancel
	}
	f.users++
}

// unneedFile ends that.
func (e *Engine) unneedFile(path string) {
	f := e.deps.files[path]
	if f == nil {
		return
	}
	if f.users--; f.users > 0 {
		return
	}
	delete(e.deps.files, path)
	if f.cancel != nil {
		f.cancel()
	}
}

// lookAtFile tells the graph whether a file is there. What cannot be watched is
// never looked at: it may lie where a look does not come back.
func (e *Engine) lookAtFile(f *neededFile) {
	id, known := e.deps.graph.LookupFile(f.path)
	if !known || f.cancel == nil {
		return
	}
	_, err := os.Stat(f.path)
	if there := err == nil; there != f.there {
		f.there = there
		text := "the file %s is there"
		if !there {
			text = "the file %s is gone"
		}
		e.record("", 0, "file", fmt.Sprintf(text, f.path), nil)
	}
	fact := graph.Fact{Status: graph.Absent}
	if f.there {
		fact.Status = graph.Ready
	}
	e.deps.graph.Set(id, fact)
	e.deps.dirty = true
}
