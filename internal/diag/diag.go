// Package diag holds what abide has to say about a definition: where, how
// grave, and what to do about it. It is pure: it formats text and reads nothing.
package diag

// Pos is a place in a source file. Line and Col count from 1; Col counts bytes
// as editors and compilers do. The zero Pos means "no place".
type Pos struct {
	File string
	Line int
	Col  int
}

// Severity orders diagnostics by what they mean for the definition.
type Severity uint8

// An Error refuses the definition; a Warning lets it run with something the
// author should look at; a Note only informs.
const (
	Note Severity = iota
	Warning
	Error
)

// Diagnostic is one finding. Code is a short stable word ("unknown-key") that
// tests and scripts may rely on; Message is one lower-case sentence without a
// full stop; Hint, when not empty, says what to write instead.
type Diagnostic struct {
	Pos      Pos
	Severity Severity
	Code     string
	Message  string
	Hint     string
}

// List collects diagnostics in the order they were found.
type List []Diagnostic

// HasErrors reports whether any diagnostic refuses its definition.
func (l List) HasErrors() bool {
	for _, d := range l {
		if d.Severity == Error {
			return true
		}
	}
	return false
}
