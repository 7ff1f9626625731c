package svlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/abide-project/abide/internal/model"
)

// PipeKind says what a program gets as its stdout or stderr.
type PipeKind uint8

// A PipeFIFO is opened by Pipe.Path; PipeNull is /dev/null; PipeInherit is the
// descriptor abide itself has.
const (
	PipeFIFO PipeKind = iota
	PipeNull
	PipeInherit
)

// Pipe is one end for a program's stdout or stderr.
type Pipe struct {
	Kind PipeKind
	// Path of the FIFO, to be opened by the child before it changes its root
	// or drops privileges.
	Path string
	// Flags for that open: O_RDWR, so that the program never meets SIGPIPE, or
	// O_WRONLY where the definition asks for it.
	Flags int
	// ReadFD is the Manager's read end, -1 if there is none. It stays the
	// Manager's: whoever wants to hold the pipe open duplicates it.
	ReadFD int
}

// Pipes are the two ends of one run.
type Pipes struct{ Out, Err Pipe }

// Stats is what became of a service's output.
type Stats struct {
	Path         string // of the first log file, "" if there is none
	Bytes        uint64 // written to logs, stamps included
	DroppedBytes uint64 // of the program's own bytes
	DroppedLines uint64
	Trouble      string // why nothing can be written at present, "" if all is well
}

// Options configure a Manager.
type Options struct {
	// RunDir must exist and belong to abide; FIFOs, stage and journal live in it.
	RunDir string
	// LogDir is where a service's own folder is made when it first writes.
	LogDir string
	// Console is abide's own output, nil if it has none. It is never blocked on.
	Console *os.File
	// Colour colours the service's name on the console.
	Colour bool
	// Report is told once of each thing that goes wrong with a log, and once
	// when it works again. It is called from the Manager's thread and must not
	// block. Service is "" when all are concerned. May be nil.
	Report func(service, text string)
	// Compress is given the path of each rotated log that is to be compressed,
	// and should have CompressFile run on it at low priority in another process.
	// It is called from the Manager's thread and must not block. Nil: rotated
	// logs stay as they are.
	Compress func(path string)
}

// ErrClosed is returned by calls on a Manager that was closed.
var ErrClosed = errors.New("log manager is closed")

// ReleasedSuffix ends the name of a FIFO whose run was released. No Manager takes
// it for one of its own.
const ReleasedSuffix = ".released"

// DefaultPath is the log of a service whose definition names no other.
func DefaultPath(logDir, service string) string {
	return filepath.Join(logDir, service, "current")
}

// Path is the first file that a service's output goes to, "" if there is none.
func Path(logDir, service string, spec *model.Log) string {
	for _, targets := range [][]model.LogTarget{spec.Stdout, spec.Stderr} {
		for _, t := range targets {
			switch t.Kind {
			case model.LogFile:
				return DefaultPath(logDir, service)
			case model.LogPath:
				return t.Path
			}
		}
	}
	return ""
}

// Check refuses a [log] table that svlog cannot honour.
func Check(spec *model.Log) error {
	for _, targets := range [][]model.LogTarget{spec.Stdout, spec.Stderr} {
		files := 0
		for _, t := range targets {
			switch t.Kind {
			case model.LogInherit:
				if len(targets) > 1 {
					return errors.New("cannot combine log target \"inherit\" with others: the program has the descriptor itself")
				}
			case model.LogPath:
				files++
				if !filepath.IsAbs(t.Path) {
					return fmt.Errorf("cannot log to %q: the path is not absolute", t.Path)
				}
				if len(t.Path) > maxPath {
					return fmt.Errorf("cannot log to %q: the path is longer than %d bytes", t.Path, maxPath)
				}
			case model.LogFile:
				files++
			}
		}
		if files > maxSinks {
			return fmt.Errorf("cannot log one stream to %d files: at most %d", files, maxSinks)
		}
	}
	switch spec.Compress {
	case "", "none", "zstd":
	default:
		return fmt.Errorf("cannot compress logs with %q: only \"zstd\" and \"none\" are known", spec.Compress)
	}
	return nil
}

const (
	maxPath  = 360 // bytes of a log's path
	maxName  = 184 // bytes of a slot's name
	maxSinks = 4   // files that one stream goes to
)

// checkName refuses what cannot be the name of a folder. A name may have one
// slash: what stands behind it is an auxiliary command of the service before it.
func checkName(name string) error {
	service, aux, _ := strings.Cut(name, "/")
	bad := func(s string) bool {
		return s == "." || s == ".." || strings.ContainsAny(s, "/\x00\n")
	}
	if service == "" || len(name) > maxName || bad(service) || bad(aux) || strings.HasPrefix(service, ".") {
		return fmt.Errorf("cannot log for service %q: not a usable name", name)
	}
	return nil
}

// serviceOf is the service that a slot such as "web/reload" belongs to.
func serviceOf(name string) string {
	service, _, _ := strings.Cut(name, "/")
	return service
}
