package spawn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// maxEnvFile bounds an environment file, in bytes.
const maxEnvFile = 1 << 20

// readEnvFile adds a file's variables to env. Its errors never quote the file.
func readEnvFile(path string, optional, privileged bool, env map[string]string) error {
	f, err := openPlain(path, privileged)
	if errors.Is(err, fs.ErrNotExist) && optional {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read environment file %s: %w", path, reasonOf(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil {
		return fmt.Errorf("cannot read environment file %s: %w", path, reasonOf(err))
	}
	if len(text) > maxEnvFile {
		return fmt.Errorf("cannot read environment file %s: it is larger than %d bytes", path, maxEnvFile)
	}
	if err := parseEnv(string(text), func(name, value string) { env[name] = value }); err != nil {
		return fmt.Errorf("cannot read environment file %s: %w", path, err)
	}
	return nil
}

// reasonOf strips the path that an *fs.PathError repeats.
func reasonOf(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parseEnv reads systemd's EnvironmentFile= syntax (systemd.exec(5)), with a
// leading "export" as shells have it: NAME=value lines, comments with # or ;,
// values quoted by ' or " or not at all, a backslash before a newline joins
// lines. Variables are not expanded. A line that is none of this is an error,
// which names the line and never its text.
func parseEnv(text string, set func(name, value string)) error {
	p := envParser{text: strings.TrimPrefix(text, "\ufeff"), line: 1}
	for {
		p.skipBlank()
		if p.done() {
			return nil
		}
		if c := p.text[p.at]; c == '#' || c == ';' {
			p.skipComment()
			continue
		}
		line := p.line
		name, ok := p.name()
		if !ok {
			return fmt.Errorf("line %d is not NAME=value", line)
		}
		value, err := p.value()
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("line %d holds a NUL", line)
		}
		set(name, value)
	}
}

type envParser struct {
	text string
	at   int
	line int
}

func (p *envParser) done() bool { return p.at >= len(p.text) }

func (p *envParser) next() byte {
	c := p.text[p.at]
	p.at++
	if c == '\n' {
		p.line++
	}
	return c
}

func (p *envParser) skipBlank() {
	for !p.done() && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.next()
	}
}

// skipComment goes to the end of a comment, which a backslash carries on to the
// next line.
func (p *envParser) skipComment() {
	for !p.done() {
		switch p.next() {
		case '\\':
			if !p.done() {
				p.next()
			}
		case '\n':
			return
		}
	}
}

// name reads up to the = of an assignment.
func (p *envParser) name() (string, bool) {
	rest := p.text[p.at:]
	end := strings.IndexAny(rest, "=\n")
	if end < 0 || rest[end] != '=' {
		return "", false
	}
	name := strings.TrimSpace(rest[:end])
	if after, ok := strings.CutPrefix(name, "export"); ok && after != strings.TrimLeft(after, " \t") {
		name = strings.TrimSpace(after)
	}
	p.at += end + 1
	return name, validEnvName(name)
}

func validEnvName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return name != ""
}

// value reads what stands behind the =. Quotes have a meaning only until the
// first character outside of them; blanks around the whole are no part of it.
func (p *envParser) value() (string, error) {
	var b strings.Builder
	keep := 0 // the length below which nothing is cut off
	bare := false
	for !p.done() {
		c := p.next()
		switch {
		case c == '\n':
			return b.String()[:keep], nil
		case !bare && (c == '\'' || c == '"'):
			if err := p.quoted(&b, c); err != nil {
				return "", err
			}
			keep = b.Len()
			continue
		case c == ' ' || c == '\t' || c == '\r':
			if bare {
				b.WriteByte(c)
			}
			continue
		case c == '\\':
			bare = true
			if p.done() {
				continue
			}
			if c = p.next(); c == '\n' {
				continue
			}
		}
		bare = true
		b.WriteByte(c)
		keep = b.Len()
	}
	return b.String()[:keep], nil
}

// quoted reads up to the closing quote. In double quotes a backslash makes only
// ", \, `, $ and the newline special, and stays before anything else.
func (p *envParser) quoted(b *strings.Builder, quote byte) error {
	for !p.done() {
		c := p.next()
		switch {
		case c == quote:
			return nil
		case c == '\\' && quote == '"' && !p.done():
			c = p.next()
			if c == '\n' {
				continue
			}
			if strings.IndexByte("\"\\`$", c) < 0 {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(c)
	}
	return errors.New("a quote is not closed")
}
