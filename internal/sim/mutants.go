package sim

// Mutant is a deliberate bug: one text of one file replaced by another. The
// simulation must find each, or its checks are worth nothing.
type Mutant struct {
	Name, File, Old, New string
}

// Mutants are bugs that somebody could make.
var Mutants = []Mutant{}
