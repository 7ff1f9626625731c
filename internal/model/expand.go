package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/diag"
)

// Builtins are the names that ${...} knows everywhere, whatever the environment
// of the service holds (FORMAT.md, below the top-level keys).
var Builtins = []string{
	"name", "instance", "run_dir", "state_dir", "cache_dir", "log_dir", "credentials_dir", "definition_dir", "home", "uid", "host",
}

// maxNesting bounds ${a:-${b:-...}}.
const maxNesting = 8

// ExpandError says why a text could not be expanded. Offset is the byte in the
// text at which the ${ in question begins.
type ExpandError struct {
	Offset int
	Name   string // the variable, "" if the syntax is wrong
	Reason string
}

func (e *ExpandError) Error() string {
	if e.Name == "" {
		return "cannot expand ${...}: " + e.Reason
	}
	return fmt.Sprintf("cannot expand ${%s}: %s", e.Name, e.Reason)
}

// Expand replaces each ${NAME} by its value and each ${NAME:-TEXT} by its value
// or, if there is none or it is empty, by TEXT, which is expanded too. $${ stands
// for ${ itself. A value is not expanded again. The error is an *ExpandError; a
// name without value and without default is one.
func Expand(text string, lookup func(name string) (string, bool)) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var b strings.Builder
	if err := walk(text, 0, 0, visitor{
		text: func(s string) { b.WriteString(s) },
		variable: func(name, fallback string, hasFallback bool, offset, depth int, v visitor) error {
			value, ok := lookup(name)
			switch {
			case ok && (value != "" || !hasFallback):
				b.WriteString(value)
				return nil
			case hasFallback:
				return walk(fallback, offset+len("${")+len(name)+len(":-"), depth+1, v)
			default:
				return &ExpandError{Offset: offset, Name: name, Reason: "it is not set"}
			}
		},
	}); err != nil {
		return "", err
	}
	return b.String(), nil
}

// Variable is one ${NAME} of a text.
type Variable struct {
	Name       string
	Offset     int // of its $
	HasDefault bool
}

// Variables lists the variables a text uses, those inside of defaults too. The
// error is an *ExpandError for wrong syntax.
func Variables(text string) ([]Variable, error) {
	var list []Variable
	err := walk(text, 0, 0, visitor{
		text: func(string) {},
		variable: func(name, fallback string, hasFallback bool, offset, depth int, v visitor) error {
			list = append(list, Variable{name, offset, hasFallback})
			return walk(fallback, offset+len("${")+len(name)+len(":-"), depth+1, v)
		},
	})
	return list, err
}

// Quote writes text so that Expand gives it back unchanged.
func Quote(text string) string { return strings.ReplaceAll(text, "${", "$${") }

type visitor struct {
	text     func(string)
	variable func(name, fallback string, hasFallback bool, offset, depth int, v visitor) error
}

// walk parts s, which stands at byte base of the whole text, into plain text and
// variables.
func walk(s string, base, depth int, v visitor) error {
	if depth > maxNesting {
		return &ExpandError{Offset: base, Reason: fmt.Sprintf("it is nested more than %d deep", maxNesting)}
	}
	i := 0
	for {
		j := strings.Index(s[i:], "${")
		if j < 0 {
			v.text(s[i:])
			return nil
		}
		j += i
		if j > i && s[j-1] == '$' {
			v.text(s[i : j-1])
			v.text("${")
			i = j + 2
			continue
		}
		v.text(s[i:j])
		end := closing(s, j)
		if end < 0 {
			return &ExpandError{Offset: base + j, Reason: "the closing } is missing"}
		}
		inner := s[j+2 : end]
		name, fallback, hasFallback := strings.Cut(inner, ":-")
		if !validVariable(name) {
			return &ExpandError{Offset: base + j, Reason: fmt.Sprintf("%q is not a name; write ${NAME}, ${NAME:-default}, or $${ for the characters themselves", name)}
		}
		if err := v.variable(name, fallback, hasFallback, base+j, depth, v); err != nil {
			return err
		}
		i = end + 1
	}
}

// closing finds the } that ends the ${ at s[start:], or -1.
func closing(s string, start int) int {
	depth := 0
	for i := start; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "$${"):
			i += 2
		case strings.HasPrefix(s[i:], "${"):
			depth++
			i++
		case s[i] == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func validVariable(name string) bool {
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

// CheckExpand looks at the ${...} of a text before any start: the syntax, and,
// unless anyName, that only Builtins are named. Positions come from at, which
// maps a byte of text to its place.
func CheckExpand(text string, anyName bool, at func(offset int) diag.Pos) diag.List {
	if !strings.Contains(text, "${") {
		return nil
	}
	var l diag.List
	vars, err := Variables(text)
	if err != nil {
		offset := 0
		if e, ok := err.(*ExpandError); ok {
			offset = e.Offset
		}
		l.Add(diag.Error, at(offset), "expansion", "$${ stands for ${ itself", "%s", err)
		return l
	}
	for _, v := range vars {
		switch {
		case anyName || slices.Contains(Builtins, v.Name) || v.HasDefault:
		default:
			hint := "the names known here are " + strings.Join(Builtins, " ")
			if near := diag.Nearest(v.Name, Builtins); near != "" {
				hint = "did you mean ${" + near + "}?"
			}
			l.Add(diag.Error, at(v.Offset), "expansion", hint, "cannot expand ${%s}: only commands may use variables of the environment", v.Name)
		}
	}
	return l
}
