// Package format says what a reader of definitions is: bytes of one file in,
// services and diagnostics out. It promises that every diagnostic has a place and
// that no key of the source system is dropped in silence: each stands in the
// reader's support table. A reader opens no files and knows nothing of the
// engine; a format never imports another one.
package format

import (
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
)

// Format reads the definitions of one system.
type Format interface {
	// Name is the word for the format in commands and messages.
	Name() string
	// Claims reports whether a file is of this format, judged by its path and,
	// where the path does not decide, its first bytes. It must be cheap.
	Claims(path string, head []byte) bool
	// Read never panics, whatever the bytes. After errors the services are those
	// that were understood; one that has errors is not among them.
	Read(in Input) Output
	// Support lists every key of the source system.
	Support() []Support
}

// Input is one file.
type Input struct {
	Path string // as diagnostics show it
	Data []byte
	Settings
}

// Settings are what a definition's surroundings say where it is silent.
type Settings struct {
	// Root is the absolute folder that relative paths resolve against, "/" if empty.
	Root string
	// Console sends output to abide's own by default, not to files.
	Console bool
	// Inherit passes abide's own environment on by default.
	Inherit bool
}

// Defaults is model.Defaults as these settings change it.
func (s Settings) Defaults(kind model.Kind, essential bool) model.Service {
	svc := model.Defaults(kind, essential)
	svc.Root = s.Root
	if svc.Root == "" {
		svc.Root = "/"
	}
	if s.Console {
		svc.Log.Stdout = []model.LogTarget{{Kind: model.LogConsole}}
		svc.Log.Stderr = []model.LogTarget{{Kind: model.LogConsole}}
	}
	svc.Inherit.All = s.Inherit
	return svc
}

// Output is what a file says.
type Output struct {
	Services []*model.Service
	Broken   []string // names whose definition has errors
	Diags    diag.List
}

// Level says what becomes of a key.
type Level uint8

// A key is Honoured as its manual says, Approximated as the note says, or
// Refused with an error.
const (
	Honoured Level = iota
	Approximated
	Refused
)

// String is the level in one word.
func (l Level) String() string {
	return [...]string{"honoured", "approximated", "refused"}[l]
}

// Support is one key of a source system.
type Support struct {
	Key   string
	Level Level
	Note  string // why, for other than Honoured
}

// Find is the first of formats that claims the file, or nil.
func Find(formats []Format, path string, head []byte) Format {
	for _, f := range formats {
		if f.Claims(path, head) {
			return f
		}
	}
	return nil
}
