package native_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/formattest"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
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

func TestWriteHidesWhatAWebhookIsTold(t *testing.T) {
	out := read("web.toml", "command = 'x'\non_failure.webhook = 'https://hooks.example.org/T0/secret'\n")
	if got := string(native.Write(out.Services[0], native.WriteOptions{Mask: true})); strings.Contains(got, "secret") || !strings.Contains(got, `webhook = "https://hooks.example.org/***"`) {
		t.Errorf("got\n%s", got)
	}
}

// What an upper layer says of one sign takes the others away.
func TestAnUpperLayerReplacesTheSign(t *testing.T) {
	layer := func(text string) *tomltree.Value {
		tree, diags := tomltree.Parse("web.toml", []byte(text))
		if len(diags) > 0 {
			t.Fatal(diags)
		}
		return tree
	}
	below := layer("command = 'x'\nready = { tcp = 'h:1', timeout = '5s' }\nhealth = { exec = 'a', failures = 7 }\nbefore_start = ['a', 'b']\nrequires = ['a']\n")
	above := layer("ready.notify = true\nhealth.http = 'http://h'\nbefore_start = []\nrequires = ['b']\n")
	s, diags := native.Build(native.Parts{Name: "web", Layers: []*tomltree.Value{below, above}})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if s.Ready.TCP != "" || !s.Ready.Notify || s.Ready.Timeout != 5*time.Second || s.Health.Exec != nil || s.Health.HTTP == "" || s.Health.Failures != 7 {
		t.Errorf("ready %+v, health %+v", s.Ready, s.Health)
	}
	if s.Hooks.BeforeStart != nil || len(s.Needs.Requires) != 1 || s.Needs.Requires[0].Service != "b" {
		t.Errorf("hooks %v, needs %v", s.Hooks, s.Needs)
	}
	if pos := s.At("requires.b"); pos.Line != 4 || pos.Col != 13 {
		t.Errorf("the dependency stands at %v", pos)
	}
}

func TestGrantsOfPatternsAreTold(t *testing.T) {
	project, diags := native.ReadProject("abide.toml", []byte("[defaults.operators]\nstop = ['user:a']\n[operators.'*']\nstop = ['group:ops']\nview = []\n[operators.'w*']\nstop = ['group:web']\nlog = ['*']\n[services.web]\ncommand = 'x'\n[services.web.operators]\nlog = ['user:x']\n"))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	s, diags := native.Build(native.Parts{Name: "web", Common: project.Common("web"), Layers: []*tomltree.Value{project.Services[0].Value}})
	want := []model.Grant{
		{Role: "stop", Who: []string{"user:a"}}, {Role: "view", Who: []string{"*"}},
		{Pattern: "*", Role: "stop", Who: []string{"group:ops"}}, {Pattern: "*", Role: "view", Who: []string{}}, {Pattern: "w*", Role: "stop", Who: []string{"group:web"}},
	}
	if len(diags) > 0 || !reflect.DeepEqual(s.Grants, want) {
		t.Errorf("%v\ngot  %v\nwant %v", diags, s.Grants, want)
	}
	if got := s.GrantedBy(func(string) bool { return false }); !reflect.DeepEqual(got, model.Operators{"stop": {"user:a"}, "view": {"*"}, "log": {"user:x"}}) {
		t.Errorf("without patterns %v", got)
	}
}
