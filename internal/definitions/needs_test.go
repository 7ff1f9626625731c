package definitions

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/graph"
	"github.com/abide-project/abide/internal/model"
)

func TestNamesThatNobodyHas(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/services/postgres.toml": "command = 'x'\n",
		"etc/services/pool@.toml":    "command = 'x'\nscale = 2\n",
		"etc/services/none@.toml":    "command = 'x'\n",
		"etc/services/broken.toml":   "comand = 'x'\n",
		"etc/services/hard.toml":     "command = 'x'\nrequires = ['postgres', 'postgre']\n",
		"etc/services/rev.toml":      "command = 'x'\nrequired_by = ['nobody']\n",
		"etc/services/any.toml":      "command = 'x'\nany_of = [['a', 'postgres'], ['b',\n'c']]\n",
		"etc/services/copy.toml":     "command = 'x'\nrequires = ['pool@3']\n",
		"etc/services/soft.toml":     "command = 'x'\nwants = ['a']\nafter = ['b']\nconflicts = ['c']\nwanted_by = ['d']\n[on_failure]\nstart = ['page']\n",
		"etc/services/fine.toml":     "command = 'x'\nrequires = ['postgres', 'pool', 'pool@2', 'none', 'broken', 'network-online', { file = '/x' }]\nwanted_by = ['boot']\nany_of = [['a', 'pool']]\n",
	})
	s := Load(system(root))
	var got []string
	for _, d := range s.Diags {
		if d.Code == "unknown-service" {
			got = append(got, strings.ReplaceAll(diag.List{d}.String(), root+"/etc/services/", "")+" "+strings.ReplaceAll(d.Hint, root, ""))
		}
	}
	want := `any.toml:2:12: note: cannot find a that any_of names: there is no such service [unknown-service]
any.toml:2:31: note: cannot find b that any_of names: there is no such service [unknown-service]
any.toml:3:1: error: cannot find c that any_of names: there is no such service [unknown-service]
copy.toml:2:13: error: cannot find pool@3 that requires names: there is no such service [unknown-service] /etc/services/pool@.toml makes 2 copies
fine.toml:4:12: note: cannot find a that any_of names: there is no such service [unknown-service]
hard.toml:2:25: error: cannot find postgre that requires names: there is no such service [unknown-service] did you mean postgres?
rev.toml:2:16: error: cannot find nobody that required_by names: there is no such service [unknown-service]
soft.toml:2:10: note: cannot find a that wants names: there is no such service [unknown-service]
soft.toml:3:10: note: cannot find b that after names: there is no such service [unknown-service]
soft.toml:4:14: note: cannot find c that conflicts names: there is no such service [unknown-service]
soft.toml:5:14: note: cannot find d that wanted_by names: there is no such service [unknown-service]
soft.toml:7:9: warning: cannot find page that on_failure.start names: there is no such service [unknown-service]`
	for i := range got {
		got[i] = strings.TrimSuffix(got[i], " ")
	}
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if names(s) != "fine pool@1 pool@2 postgres soft" || s.Broken["hard"] == nil || s.Broken["copy"] == nil {
		t.Errorf("services %s", names(s))
	}
}

func TestACycleIsRefusedWithItsWholePath(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/abide.toml":          "[services.d]\ncommand = 'x'\nbefore = ['e']\n[services.e]\ncommand = 'x'\nrequired_by = ['d']\n",
		"etc/services/a.toml":     "command = 'x'\nrequires = ['b']\n",
		"etc/services/b.toml":     "command = 'x'\nafter = ['other',\n 'c']\n",
		"etc/services/c.toml":     "command = 'x'\nany_of = [['other', 'a']]\n",
		"etc/services/other.toml": "command = 'x'\nconflicts = ['user']\n",
		"etc/services/user.toml":  "command = 'x'\nrequires = ['a']\npart_of = ['other']\nexclude_all = ['other']\n",
		"etc/services/t@.toml":    "command = 'x'\nscale = 2\nwants = ['hub']\n",
		"etc/services/hub.toml":   "command = 'x'\nrequires = ['t']\n",
	})
	s := Load(system(root))
	want := `etc/abide.toml:6:16: error: cannot order d: dependency cycle d requires e (etc/abide.toml:6:16) -> e after d (etc/abide.toml:3:11) [cycle]
etc/services/a.toml:2:13: error: cannot order a: dependency cycle a requires b (etc/services/a.toml:2:13) -> b after c (etc/services/b.toml:3:2) -> c any_of a (etc/services/c.toml:2:21) [cycle]
etc/services/hub.toml:2:13: error: cannot order hub: dependency cycle hub requires t@1 (etc/services/hub.toml:2:13) -> t@1 wants hub (etc/services/t@.toml:3:10) [cycle]
etc/services/t@.toml:3:10: error: cannot order t@2: dependency cycle t@2 wants hub (etc/services/t@.toml:3:10) -> hub requires t@2 (etc/services/hub.toml:2:13) [cycle]`
	if got := messages(s.Diags, root); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if names(s) != "other user" {
		t.Errorf("services %s: what is on no cycle must load", names(s))
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "hub", "t@1", "t@2"} {
		if !s.Broken[name].HasErrors() {
			t.Errorf("%s is not broken", name)
		}
	}
}

// Each of them would end and start again because the one before it did, for ever.
func TestACircleOfPartsIsRefused(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/services/a.toml":    "command = 'x'\npart_of = ['b']\n",
		"etc/services/b.toml":    "command = 'x'\npart_of = ['a']\n",
		"etc/services/main.toml": "command = 'x'\nrequires = ['part']\n",
		"etc/services/part.toml": "command = 'x'\npart_of = ['main']\n",
	})
	s := Load(system(root))
	want := "etc/services/a.toml:2:12: error: cannot order a: dependency cycle a part_of b (etc/services/a.toml:2:12) -> b part_of a (etc/services/b.toml:2:12) [cycle]"
	if got := messages(s.Diags, root); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if names(s) != "main part" {
		t.Errorf("services %s", names(s))
	}
}

// Whoever checks one file has the others elsewhere.
func TestOneFileIsCheckedWithoutTheOthers(t *testing.T) {
	root := tree(t, map[string]string{
		"services/web.toml": "command = 'x'\nrequires = ['db']\n",
		"p/abide.toml":      "[services.web]\ncommand = 'x'\nrequires = ['db']\n",
	})
	if list := Check([]string{filepath.Join(root, "services/web.toml")}); len(list) > 0 {
		t.Errorf("one file: %v", list)
	}
	for _, path := range []string{"services", "p"} {
		if list := Check([]string{filepath.Join(root, path)}); len(list) != 1 || list.HasErrors() {
			t.Errorf("%s: %v", path, list)
		}
	}
}

// A circle is refused when its last file is read by itself, too.
func TestADefinitionThatClosesACircleIsNotTakenByItself(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/services/a.toml": "command = 'x'\nrequires = ['b']\n",
		"etc/services/b.toml": "command = 'x'\n",
	})
	s := Load(system(root))
	file := filepath.Join(root, "etc/services/b.toml")
	write(t, file, "command = 'x'\nwants = ['c', 'a']\n")
	svc, diags := s.Reread("b")
	want := "etc/services/a.toml:2:13: error: cannot order a: dependency cycle a requires b (etc/services/a.toml:2:13) -> b wants a (etc/services/b.toml:2:15) [cycle]"
	if got := messages(diags, root); svc != nil || got != want {
		t.Errorf("took %v, said %s", svc, got)
	}
	write(t, file, "command = 'x'\nwants = ['c']\n")
	if svc, diags := s.Reread("b"); svc == nil || len(diags) > 0 {
		t.Errorf("took %v, said %v", svc, diags)
	}
}

// The quick look that spares building a graph must not miss a circle, nor see one
// where the graph has none.
func TestTheQuickLookForCirclesAgreesWithTheGraph(t *testing.T) {
	circles := 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := &Set{Services: map[string]*model.Service{}, Broken: map[string]diag.List{}}
		g := graph.New()
		name := func() string { return string(rune('a' + r.IntN(6))) }
		for range 6 {
			svc := &model.Service{Name: name()}
			other := []model.Dependency{{Service: name()}}
			if other[0].Service == svc.Name || s.Services[svc.Name] != nil {
				continue
			}
			edge := graph.Edge{To: other[0].Service}
			switch r.IntN(6) {
			case 0:
				svc.Needs.Requires, edge.Kind = other, graph.Requires
			case 1:
				svc.Needs.Before, edge.Kind = other, graph.Before
			case 2:
				svc.Needs.WantedBy, edge.Kind, edge.Reverse = other, graph.Wants, true
			case 3:
				svc.Needs.AnyOf, edge.Kind = [][]model.Dependency{other}, graph.AnyOf
			case 4:
				svc.Needs.Conflicts, edge.Kind = other, graph.Conflicts
			default:
				svc.Needs.After, edge.Kind = other, graph.After
			}
			s.Services[svc.Name] = svc
			g.Define(svc.Name, []graph.Edge{edge})
		}
		n := needsOf(s)
		want := len(g.Cycles()) == 0
		if got := n.ordered(); got != want {
			t.Fatalf("seed %d: ordered is %v, the graph has the cycles %v", seed, got, g.Cycles())
		}
		if !want {
			circles++
		}
	}
	if circles < 100 || circles > 1900 {
		t.Errorf("%d of 2000 have circles: that tells little", circles)
	}
}
