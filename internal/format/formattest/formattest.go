// Package formattest is the suite every format must pass: goldens over its
// corpus, a place for every diagnostic, a complete support table, and models
// that survive being written as native and read back. It is imported by tests
// only.
package formattest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/model"
)

var update = flag.Bool("update", false, "write the expected models and diagnostics anew")

// root stands for the folder that relative paths of the corpus resolve against.
const root = "/srv/root"

// Case is one folder of a corpus.
type Case struct {
	Dir  string
	File string // the name of the definition
	Data []byte
}

// Cases reads the corpus of a format, testdata/corpus/NAME of the repository.
func Cases(t testing.TB, f format.Format) []Case {
	t.Helper()
	base := filepath.Join("..", "..", "..", "testdata", "corpus", f.Name())
	dirs, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	var out []Case
	for _, d := range dirs {
		files, err := os.ReadDir(filepath.Join(base, d.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasPrefix(file.Name(), "want.") {
				continue
			}
			path := filepath.Join(base, d.Name(), file.Name())
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, Case{filepath.Dir(path), file.Name(), data})
		}
	}
	if len(out) == 0 {
		t.Fatalf("the corpus %s is empty", base)
	}
	return out
}

// Read is what f makes of the case.
func (c Case) Read(f format.Format) format.Output {
	return f.Read(format.Input{Path: c.File, Data: c.Data, Settings: format.Settings{Root: root}})
}

// Run is the suite.
func Run(t *testing.T, f format.Format) {
	t.Run("support", func(t *testing.T) { support(t, f) })
	for _, c := range Cases(t, f) {
		t.Run(filepath.Base(c.Dir), func(t *testing.T) {
			if !f.Claims(c.File, c.Data) {
				t.Errorf("%s does not claim %s", f.Name(), c.File)
			}
			out := c.Read(f)
			Check(t, out, c.Data)
			golden(t, filepath.Join(c.Dir, "want.toml"), models(out))
			golden(t, filepath.Join(c.Dir, "want.diags"), diagnostics(t, c, out))
			for cut := 0; cut < len(c.Data); cut += 1 + len(c.Data)/50 {
				Check(t, f.Read(format.Input{Path: c.File, Data: c.Data[:cut]}), c.Data[:cut])
			}
		})
	}
}

// Fuzz feeds f mutations of its corpus.
func Fuzz(f *testing.F, reader format.Format, file string) {
	for _, c := range Cases(f, reader) {
		f.Add(c.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		Check(t, reader.Read(format.Input{Path: file, Data: data, Settings: format.Settings{Root: root}}), data)
	})
}

// Check holds for every output of every reader: diagnostics have a place inside
// the file and a code; a broken name comes with an error; services are valid, are
// not broken, know where they came from, and survive being written as native.
func Check(t *testing.T, out format.Output, data []byte) {
	t.Helper()
	lines := bytes.Count(data, []byte("\n")) + 1
	for _, d := range out.Diags {
		if d.Pos.File == "" || d.Pos.Line < 1 || d.Pos.Line > lines || d.Pos.Col < 1 {
			t.Errorf("no place in the file: %v", d)
		}
		if d.Code == "" || d.Message == "" || strings.HasSuffix(d.Message, ".") {
			t.Errorf("no code, no message, or a full stop: %v", d)
		}
	}
	if len(out.Broken) > 0 && !out.Diags.HasErrors() {
		t.Errorf("%v are broken without an error", out.Broken)
	}
	for _, s := range out.Services {
		if list := model.Validate(s); list.HasErrors() {
			t.Errorf("%s was given out though it is wrong: %v", s.Name, list)
		}
		if len(s.Files) == 0 || len(s.Origin) == 0 {
			t.Errorf("%s does not know where it came from", s.Name)
		}
		for _, broken := range out.Broken {
			if broken == s.Name {
				t.Errorf("%s is broken and given out", s.Name)
			}
		}
		survives(t, s)
	}
}

// survives writes s as native and reads it back.
func survives(t *testing.T, s *model.Service) {
	t.Helper()
	own := *s
	own.Grants = nil // written, what patterns grant is the definition's own
	s = &own
	for _, opts := range []native.WriteOptions{{}, {All: true}, {Origin: true, All: true}} {
		text := native.Write(s, opts)
		back := native.Format{}.Read(format.Input{Path: s.Name + ".toml", Data: text, Settings: format.Settings{Root: s.Root}})
		if len(back.Services) != 1 || back.Diags.HasErrors() {
			t.Fatalf("%s written as native is not read back: %v\n%s", s.Name, back.Diags, text)
		}
		if changes := model.Diff(s, back.Services[0]); len(changes) > 0 {
			t.Fatalf("%s written as native reads back with changes %v\n%s", s.Name, changes, text)
		}
	}
}

func support(t *testing.T, f format.Format) {
	seen := map[string]bool{}
	table := f.Support()
	if len(table) == 0 {
		t.Error("the support table is empty")
	}
	for _, s := range table {
		if s.Key == "" {
			t.Error("a line of the support table has no key")
		}
		if seen[s.Key] && !strings.Contains("operators on_failure", s.Key) {
			t.Errorf("%s stands twice in the support table", s.Key)
		}
		seen[s.Key] = true
		if (s.Level != format.Honoured) != (s.Note != "") {
			t.Errorf("%s is %s with the note %q", s.Key, s.Level, s.Note)
		}
	}
}

// models writes services as native, one below the other.
func models(out format.Output) string {
	var b strings.Builder
	for _, s := range out.Services {
		fmt.Fprintf(&b, "# service %s, template %q, instance %q, root %s\n", s.Name, s.Template, s.Instance, s.Root)
		b.Write(native.Write(s, native.WriteOptions{Origin: true}))
		b.WriteByte('\n')
	}
	for _, name := range out.Broken {
		fmt.Fprintf(&b, "# broken: %s\n", name)
	}
	return b.String()
}

func diagnostics(t *testing.T, c Case, out format.Output) string {
	var b bytes.Buffer
	if err := diag.Render(&b, out.Diags, func(string) []byte { return c.Data }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// golden compares text with a file; an empty text has no file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		var err error
		if got == "" {
			if err = os.Remove(path); os.IsNotExist(err) {
				err = nil
			}
		} else {
			err = os.WriteFile(path, []byte(got), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update to accept): got\n%s\nwant\n%s", path, got, want)
	}
}
