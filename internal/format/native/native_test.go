package native_test

import (
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/formattest"
	"github.com/abide-project/abide/internal/format/native"
)

func read(file, text string) format.Output {
	return native.Format{}.Read(format.Input{Path: file, Data: []byte(text)})
}

func TestNativePassesTheSuite(t *testing.T) { formattest.Run(t, native.Format{}) }

func FuzzRead(f *testing.F) { formattest.Fuzz(f, native.Format{}, "web.toml") }

func FuzzReadProject(f *testing.F) { formattest.Fuzz(f, native.Format{}, "abide.toml") }

// The corpus must show each key at work, or refused.
func TestTheCorpusCoversEveryKey(t *testing.T) {
	seen := map[string]bool{}
	var messages strings.Builder
	for _, c := range formattest.Cases(t, native.Format{}) {
		out := c.Read(native.Format{})
		for _, s := range out.Services {
			for key := range s.Origin {
				seen[key] = true
			}
		}
		for _, d := range out.Diags {
			messages.WriteString(d.Message + "\n")
		}
	}
	for _, k := range native.Keys() {
		if k.Refused == "" && !seen[k.Path] {
			t.Errorf("no definition of the corpus sets %s", k.Path)
		}
		if want := "cannot use " + k.Path + ": " + k.Refused; k.Refused != "" && !strings.Contains(messages.String(), want) {
			t.Errorf("no definition of the corpus is told %q", want)
		}
	}
	for _, k := range native.ProjectKeys() {
		if want := "cannot use " + k.Path + ": " + k.Refused; k.Refused != "" && !strings.Contains(messages.String(), want) {
			t.Errorf("no definition of the corpus is told %q", want)
		}
	}
}

func TestMessagesNeverShowTypesOfGo(t *testing.T) {
	for _, c := range formattest.Cases(t, native.Format{}) {
		for _, d := range c.Read(native.Format{}).Diags {
			for _, word := range []string{"int64", "[]string", "map[", "struct", "strconv", "unmarshal", "%!"} {
				if strings.Contains(d.Message+d.Hint, word) {
					t.Errorf("%v (hint %q) shows %q", d, d.Hint, word)
				}
			}
		}
	}
}

func TestWriteMasksSecretsAndShowsOrigins(t *testing.T) {
	out := read("web.toml", "command = 'x'\n[environment]\nDB_PASSWORD = 'hush'\nPORT = 80\n")
	got := string(native.Write(out.Services[0], native.WriteOptions{Origin: true, Mask: true}))
	want := "command = [\"x\"]  # web.toml:1\n\n[environment]\nDB_PASSWORD = \"***\"  # web.toml:3\nPORT = \"80\"  # web.toml:4\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
