package model

import (
	"strings"

	"github.com/abide-project/abide/internal/diag"
)

// WordIssue is something SplitWords found at a byte of its text.
type WordIssue struct {
	Offset   int
	Severity diag.Severity
	Message  string
	Hint     string
}

const shellHint = "if a shell is meant to read it, set shell = true; else put it in quotes"

// SplitWords parts a command as a shell parts it into words, with ' " and \ as
// quotes. No shell will run: an operator of the shell (| || && ; & < > and
// command substitution) is an error unless quoted, and what a shell would have
// replaced ($X, ~, globs) is a warning. ${...} stays one word, whatever its value
// turns out to be, and '${' or \${ means the characters themselves. When an issue
// is an Error the words mean nothing.
func SplitWords(text string) ([]Word, []WordIssue) {
	s := splitter{text: text}
	for s.pos < len(text) {
		s.step()
	}
	s.endWord()
	s.checkHabits()
	return s.words, s.issues
}

// Word is one word of a command and the byte at which it begins.
type Word struct {
	Text   string
	Offset int
}

// Argv is the words alone.
func Argv(words []Word) []string {
	argv := make([]string, len(words))
	for i, w := range words {
		argv[i] = w.Text
	}
	return argv
}

type splitter struct {
	text   string
	pos    int
	word   strings.Builder
	inWord bool
	start  int // of the current word
	quoted bool
	words  []Word
	plain  []bool // word i was written without quotes
	issues []WordIssue
}

func (s *splitter) issue(sev diag.Severity, offset int, message, hint string) {
	s.issues = append(s.issues, WordIssue{offset, sev, message, hint})
}

func (s *splitter) begin() {
	if !s.inWord {
		s.inWord, s.start, s.quoted = true, s.pos, false
	}
}

func (s *splitter) endWord() {
	if s.inWord {
		s.words = append(s.words, Word{s.word.String(), s.start})
		s.plain = append(s.plain, !s.quoted)
		s.word.Reset()
		s.inWord = false
	}
}

func (s *splitter) step() {
	c := s.text[s.pos]
	switch c {
	case ' ', '\t', '\n', '\r':
		s.endWord()
		s.pos++
		return
	case '|', ';', '&', '<', '>':
		op := string(c)
		if strings.HasPrefix(s.text[s.pos+1:], op) && c != ';' {
			op += op
		}
		s.issue(diag.Error, s.pos, "cannot use "+op+" in a command: no shell reads it", shellHint)
		s.endWord()
		s.pos += len(op)
		return
	case '`':
		s.issue(diag.Error, s.pos, "cannot use `...` in a command: no shell reads it", shellHint)
		s.begin()
		s.pos++
		return
	case '(', ')':
		s.issue(diag.Error, s.pos, "cannot use "+string(c)+" in a command: no shell reads it", shellHint)
		s.begin()
		s.pos++
		return
	case '#':
		if !s.inWord {
			s.issue(diag.Warning, s.pos, "# does not begin a comment in a command: it becomes an argument", "put the comment behind the closing quote of the text, or # in quotes")
		}
	case '~':
		if !s.inWord {
			s.issue(diag.Warning, s.pos, "~ is passed as it stands: no shell replaces it", "write ${home}, or put it in quotes if it is meant")
		}
	case '*', '?', '[':
		s.issue(diag.Warning, s.pos, string(c)+" is passed as it stands: no shell looks for files", shellHint)
	}
	s.begin()
	switch c {
	case '\'':
		s.singleQuotes()
	case '"':
		s.doubleQuotes()
	case '\\':
		s.backslash(false)
	case '$':
		s.dollar()
	default:
		s.word.WriteByte(c)
		s.pos++
	}
}

func (s *splitter) singleQuotes() {
	s.quoted = true
	end := strings.IndexByte(s.text[s.pos+1:], '\'')
	if end < 0 {
		s.issue(diag.Error, s.pos, "the closing ' is missing", `write \' for the character itself`)
		s.pos = len(s.text)
		return
	}
	s.word.WriteString(Quote(s.text[s.pos+1 : s.pos+1+end]))
	s.pos += end + 2
}

func (s *splitter) doubleQuotes() {
	s.quoted = true
	open := s.pos
	s.pos++
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case '"':
			s.pos++
			return
		case '\\':
			s.backslash(true)
		case '$':
			s.dollar()
		case '`':
			s.issue(diag.Error, s.pos, "cannot use `...` in a command: no shell reads it", shellHint)
			s.pos++
		default:
			s.word.WriteByte(c)
			s.pos++
		}
	}
	s.issue(diag.Error, open, `the closing " is missing`, `write \" for the character itself`)
}

// backslash takes \ and what it quotes. Between double quotes it quotes only
// $ ` " \ and the end of a line, as POSIX says (Shell Command Language 2.2.3).
func (s *splitter) backslash(inQuotes bool) {
	if s.pos+1 >= len(s.text) {
		s.issue(diag.Error, s.pos, `a \ at the end quotes nothing`, `write \\ for the character itself`)
		s.pos++
		return
	}
	next := s.text[s.pos+1]
	if next == '\n' {
		if s.start == s.pos {
			s.inWord = false
		}
		s.pos += 2
		return
	}
	s.quoted = true
	switch {
	case next == '$' && strings.HasPrefix(s.text[s.pos+2:], "{"):
		s.word.WriteString("$${")
		s.pos += 3
	case inQuotes && !strings.ContainsRune("$`\"\\", rune(next)):
		s.word.WriteByte('\\')
		s.pos++
	default:
		s.word.WriteByte(next)
		s.pos += 2
	}
}

// dollar takes ${...} whole, so that spaces inside do not part it.
func (s *splitter) dollar() {
	rest := s.text[s.pos:]
	switch {
	case strings.HasPrefix(rest, "$${"):
		s.word.WriteString("$${")
		s.pos += 3
		return
	case strings.HasPrefix(rest, "${"):
		if end := closing(s.text, s.pos); end >= 0 {
			s.word.WriteString(s.text[s.pos : end+1])
			s.pos = end + 1
		} else {
			s.word.WriteString(rest)
			s.pos = len(s.text)
		}
		return
	case strings.HasPrefix(rest, "$("):
		s.issue(diag.Error, s.pos, "cannot use $(...) in a command: no shell reads it", shellHint)
		s.pos += 2
		return
	}
	if len(rest) > 1 && (rest[1] == '_' || validVariable(rest[1:2]) || strings.IndexByte("@*#?0123456789$!", rest[1]) >= 0) {
		name := rest[1:]
		end := 1
		for end < len(name) && validVariable("_"+name[end:end+1]) && validVariable(name[:1]) {
			end++
		}
		hint := `write \$ if the character is meant, or set shell = true`
		if validVariable(name[:end]) {
			hint = "write ${" + name[:end] + "} for the variable of that name"
		}
		s.issue(diag.Warning, s.pos, "$"+name[:end]+" is passed as it stands: no shell replaces it", hint)
	}
	s.word.WriteByte('$')
	s.pos++
}

// checkHabits finds what only a shell understands as the first word.
func (s *splitter) checkHabits() {
	if len(s.words) == 0 || !s.plain[0] {
		return
	}
	first, at := s.words[0].Text, s.words[0].Offset
	name, _, found := strings.Cut(first, "=")
	switch {
	case found && validVariable(name):
		s.issue(diag.Error, at, first+" cannot be a program: no shell reads it as a variable",
			"set it with environment = { "+name+" = \"...\" }")
	case first == "exec":
		s.issue(diag.Error, at, "exec is a word of the shell, not a program", "leave it out: abide runs the program itself, without a shell")
	case first == "cd":
		s.issue(diag.Error, at, "cd is a word of the shell, not a program", "set directory = \"...\"")
	}
}

// JoinWords writes argv as one text that SplitWords reads back as the same
// words without any issue.
func JoinWords(argv []string) string {
	var b strings.Builder
	for i, w := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quoteWord(w, i == 0))
	}
	return b.String()
}

func quoteWord(w string, first bool) string {
	plain := w != ""
	for i := 0; i < len(w) && plain; i++ {
		c := w[i]
		plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("%+,-./:=@_^", c) >= 0 || c >= 0x80
	}
	if plain && !(first && (w == "exec" || w == "cd" || strings.Contains(w, "="))) {
		return w
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(w); i++ {
		rest := w[i:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			b.WriteString("$${")
			i += 2
		case strings.HasPrefix(rest, "${"):
			end := closing(w, i)
			if end < 0 {
				end = len(w) - 1
			}
			b.WriteString(w[i : end+1])
			i = end
		case strings.IndexByte("$`\"\\", w[i]) >= 0:
			b.WriteByte('\\')
			b.WriteByte(w[i])
		default:
			b.WriteByte(w[i])
		}
	}
	b.WriteByte('"')
	return b.String()
}
