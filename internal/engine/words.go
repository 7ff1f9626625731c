package engine

import "github.com/abide-project/abide/internal/model"

// The signals that mean something to the engine itself, by Linux's numbers.
const (
	sigHUP    = 1
	sigINT    = 2
	sigQUIT   = 3
	sigABRT   = 6
	sigKILL   = 9
	sigTERM   = 15
	sigRTMIN3 = 37
)

// means tells whether a name that somebody gave stands for a service: its own
// name, or that of the template it is a copy of.
func means(asked, name string) bool {
	if asked == name {
		return true
	}
	base, instance := model.SplitName(name)
	return instance != "" && asked == base
}

// Literal keeps words that somebody typed from being expanded.
func Literal(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = model.Quote(w)
	}
	return out
}

// transient is the definition of a command line: a task that is seen once.
func transient(name string, command []string, directory string, environment []model.EnvVar) *model.Service {
	def := model.Defaults(model.Task, false)
	def.Name, def.Command = name, Literal(command)
	def.Description = "a command run by hand"
	def.Directory = directory
	def.Environment = environment
	return &def
}
