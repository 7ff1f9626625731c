package engine

import (
	"fmt"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/svlog"
)

// compressQueue holds rotated logs that wait for their turn: one child at a
// time, so that compression never takes more than one processor.
type compressQueue struct {
	files []string
	busy  bool
}

// Compress asks for a rotated log to be compressed by a child at low priority.
// It may be called from any goroutine.
func (e *Engine) Compress(path string) {
	e.Post(func() {
		e.compress.files = append(e.compress.files, path)
		e.compressNext()
	})
}

func (e *Engine) compressNext() {
	q := &e.compress
	if q.busy || len(q.files) == 0 || e.done {
		return
	}
	path := q.files[0]
	q.files = q.files[1:]
	slot := "abide/compress"
	a := e.auxOf(slot)
	nice := 19
	helper := &model.Service{
		Name: "abide", Command: []string{e.opts.Self, "compress", path}, Umask: 0o077, Nice: &nice, Directory: "/",
	}
	program, err := e.ports.Compiler.Command(helper, helper.Command, RunContext{Name: "abide", Out: svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}, Err: svlog.Pipe{Kind: svlog.PipeNull, ReadFD: -1}})
	if err != nil {
		e.complainOnce("compress", fmt.Sprintf("Cannot compress %s: %v", path, err))
		return
	}
	q.busy = true
	e.orderAux(a, a.run+1, program.Bytes, program.Slow, 0, func(x Exit, reason string) {
		q.busy = false
		if x.ExecOp >= 0 {
			reason = program.Explain(x.ExecOp, x.ExecErr)
		}
		if reason != "" {
			e.complainOnce("compress", fmt.Sprintf("Cannot compress %s: %s", path, reason))
		}
		e.compressNext()
	})
}
