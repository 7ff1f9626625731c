// Package procfile reads the Procfile of a project: one "name: command" a line.
// It promises that each line becomes a daemon whose command /bin/sh reads, or an
// error at its place. It must not guess what a Procfile does not say.
package procfile

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/model"
)

// maxSize bounds a file, in bytes.
const maxSize = 1 << 20

// Format is the reader.
type Format struct{}

// Name implements format.Format.
func (Format) Name() string { return "procfile" }

// Claims implements format.Format: the file is called Procfile, or Procfile with
// a suffix such as Procfile.dev.
func (Format) Claims(file string, _ []byte) bool {
	base := path.Base(file)
	return base == "Procfile" || strings.HasPrefix(base, "Procfile.") && !strings.HasSuffix(base, "~")
}

// Support implements format.Format.
func (Format) Support() []format.Support {
	return []format.Support{{Key: "NAME: COMMAND"}}
}

var entry = regexp.MustCompile(`^([A-Za-z0-9_-]+)[ \t]*:[ \t]*(.*)$`)

// Read implements format.Format.
func (Format) Read(in format.Input) format.Output {
	var out format.Output
	at := diag.Pos{File: in.Path, Line: 1, Col: 1}
	data := bytes.TrimPrefix(in.Data, []byte("\ufeff"))
	switch i := bytes.IndexByte(data, 0); {
	case len(data) > maxSize:
		out.Diags.Add(diag.Error, at, "too-large", "", "cannot read %s: it has %d bytes, at most %d are allowed", in.Path, len(data), maxSize)
		return out
	case i >= 0:
		out.Diags.Add(diag.Error, at, "encoding", "", "cannot read %s: it holds a NUL character", in.Path)
		return out
	case !utf8.Valid(data):
		out.Diags.Add(diag.Error, at, "encoding", "save the file as UTF-8", "cannot read %s: it is not UTF-8", in.Path)
		return out
	}
	first := map[string]int{}
	for i, line := range strings.Split(string(data), "\n") {
		at.Line, at.Col = i+1, 1
		line = strings.TrimRight(line, " \t\r")
		if trimmed := strings.TrimLeft(line, " \t"); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		m := entry.FindStringSubmatchIndex(line)
		if m == nil {
			out.Diags.Add(diag.Error, at, "syntax", "as in web: bin/server --port 8080", "cannot read the line: a Procfile holds lines of NAME: COMMAND")
			continue
		}
		name, script := line[m[2]:m[3]], line[m[4]:m[5]]
		if before, twice := first[name]; twice {
			out.Diags.Add(diag.Error, at, "duplicate", "keep one of the two", "cannot use name %s twice: it is already used in line %d", name, before)
			out.Broken = append(out.Broken, name)
			out.Services = slices.DeleteFunc(out.Services, func(s *model.Service) bool { return s.Name == name })
			continue
		}
		first[name] = at.Line
		svc := in.Defaults(model.Daemon, false)
		svc.Name, svc.Shell, svc.Script, svc.Files = name, true, script, []string{in.Path}
		svc.Origin = map[string]diag.Pos{"command": {File: in.Path, Line: at.Line, Col: m[4] + 1}, "name": at}
		list := model.Validate(&svc)
		out.Diags = append(out.Diags, list...)
		if list.HasErrors() {
			out.Broken = append(out.Broken, name)
			continue
		}
		out.Services = append(out.Services, &svc)
	}
	return out
}
