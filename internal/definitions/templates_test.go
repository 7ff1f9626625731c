package definitions

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

func TestTemplatesHaveNumberedOrNamedCopies(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/services/pool@.toml":  "command = ['pool', '${instance}']\nscale = 3\nrequires = ['queue@${instance}']\n",
		"etc/services/pool@2.toml": "command = 'own'\n",
		"etc/services/queue@.toml": "command = 'queue'\ninstances = ['1', '2', '3', 'mail']\n",
		"etc/services/none@.toml":  "command = 'none'\n",
		"etc/services/zero@.toml":  "command = 'zero'\nscale = 0\n",
	})
	s := Load(system(root))
	if s.Diags.HasErrors() {
		t.Fatal(messages(s.Diags, root))
	}
	if got, want := names(s), "pool@1 pool@2 pool@3 queue@1 queue@2 queue@3 queue@mail"; got != want {
		t.Errorf("services %s, want %s", got, want)
	}
	if got := s.Services["pool@3"].Needs.Requires; len(got) != 1 || got[0].Service != "queue@3" {
		t.Errorf("pool@3 requires %v", got)
	}
	if own := s.Services["pool@2"]; own.Template != "" || own.Command[0] != "own" {
		t.Errorf("pool@2 was made of %q: %v", own.Template, own.Command)
	}
	file := func(name string) string { return filepath.Join(root, "etc/services", name) }
	want := map[string]Template{
		"pool@":  {File: file("pool@.toml"), Scale: 3},
		"queue@": {File: file("queue@.toml"), Named: []string{"1", "2", "3", "mail"}},
		"none@":  {File: file("none@.toml")},
		"zero@":  {File: file("zero@.toml")},
	}
	if !reflect.DeepEqual(s.Templates, want) {
		t.Errorf("templates %+v", s.Templates)
	}
	memory, ok := s.Memory()
	if back := Restore(system(root), memory, s.Services, nil); !ok || !reflect.DeepEqual(back.Templates, want) {
		t.Errorf("restored %+v, %v", back.Templates, ok)
	}
}

// What an operator asked for wins over the file, but for copies that have names.
func TestOperatorsScaleTemplates(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/services/pool@.toml":  "command = 'pool'\nscale = 3\n",
		"etc/services/none@.toml":  "command = 'none'\n",
		"etc/services/named@.toml": "command = 'named'\ninstances = ['a']\n",
		"etc/services/huge@.toml":  "command = 'huge'\n",
	})
	asked := map[string]int{"pool@": 1, "none@": 2, "named@": 5, "huge@": -1}
	opts := system(root)
	opts.Scale = func(template string) (int, bool) {
		n, said := asked[template]
		return n, said
	}
	s := Load(opts)
	if got, want := names(s), "named@a none@1 none@2 pool@1"; got != want || s.Diags.HasErrors() {
		t.Errorf("services %s, want %s (%v)", got, want, s.Diags)
	}
	if got := s.Templates["pool@"].Scale; got != 3 {
		t.Errorf("the file asks for %d copies", got)
	}
	asked["pool@"] = 2
	if svc, diags := s.Reread("pool@2"); svc == nil || diags.HasErrors() {
		t.Errorf("pool@2 is %v, %v", svc, diags)
	}
	delete(asked, "pool@")
	if svc, _ := s.Reread("pool@4"); svc != nil {
		t.Errorf("pool@4 is there though the file asks for 3")
	}
}

// An operator who names web would mean both.
func TestAServiceBesideItsTemplateIsRefusedNamingBothFiles(t *testing.T) {
	root := tree(t, map[string]string{
		"lib/services/web.toml":   "command = 'web'\n",
		"etc/services/web@.toml":  "command = 'copy'\nscale = 2\n",
		"etc/services/other.toml": "command = 'other'\n",
	})
	s := Load(system(root))
	want := "etc/services/web@.toml:1:1: error: cannot define web@ beside web: web would mean that service and all copies of the template (lib/services/web.toml:1:1) [duplicate]"
	if got := messages(s.Diags, root); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if names(s) != "other" || s.Broken["web"] == nil || s.Broken["web@"] == nil || len(s.Templates) != 0 {
		t.Errorf("services %s, broken %v, templates %v", names(s), s.Broken, s.Templates)
	}
	for _, name := range []string{"web", "web@1"} {
		if svc, diags := s.Reread(name); svc != nil || !diags.HasErrors() {
			t.Errorf("%s alone is %v, %v", name, svc, diags)
		}
	}
	s.Keep(map[string]*model.Service{"web": {Name: "web"}, "web@1": {Name: "web@1", Template: "web@"}})
	if s.Broken["web@1"] == nil {
		t.Error("a running copy would be stopped for that")
	}
	if svc, diags := s.Reread("other"); svc == nil || diags.HasErrors() {
		t.Errorf("other is %v, %v", svc, diags)
	}
}

// A template that appears beside a service, and a service beside a template, are
// changes of both.
func TestWhatComesBetweenAServiceAndItsNameIsAChange(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/services/web.toml":   "command = 'web'\n",
		"etc/services/pool@.toml": "command = 'pool'\nscale = 1\n",
	})
	s := Load(system(root))
	if look := s.Look(); look.Changed("web") || look.Changed("pool@1") {
		t.Fatal("changed before anything was")
	}
	write(t, filepath.Join(root, "etc/services/web@.toml"), "command = 'copy'\n")
	write(t, filepath.Join(root, "etc/services/pool.toml"), "command = 'plain'\n")
	if look := s.Look(); !look.Changed("web") || !look.Changed("pool@1") {
		t.Error("nothing has changed")
	}
}

func TestTwoPlacesOfOneLayerCannotDefineOneName(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/abide.toml":           "[services.web]\ncommand = 'a'\n[services.'pool@']\ncommand = 'c'\nscale = 1\n",
		"etc/services/web.toml":    "command = 'b'\n",
		"etc/services/pool@1.toml": "command = 'd'\n",
	})
	s := Load(system(root))
	want := "etc/services/web.toml:1:1: error: cannot define web twice: it is already defined in etc/abide.toml:1:11 [duplicate]"
	if got := messages(s.Diags, root); got != want || names(s) != "pool@1" {
		t.Errorf("got %s, services %s", got, names(s))
	}
}
