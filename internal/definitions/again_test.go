package definitions

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

// sameSet tells what differs between two sets, as far as anybody is told of it.
func sameSet(a, b *Set) string {
	for _, pair := range [][2]*Set{{a, b}, {b, a}} {
		for name, svc := range pair[0].Services {
			other := pair[1].Services[name]
			if other == nil {
				return name + " is in one only"
			}
			if d := model.Diff(svc, other); len(d) > 0 {
				return fmt.Sprint(name, " differs: ", d)
			}
		}
		for name := range pair[0].Broken {
			if pair[1].Broken[name] == nil {
				return name + " is broken in one only"
			}
		}
	}
	if x, y := fmt.Sprint(a.Diags), fmt.Sprint(b.Diags); x != y {
		return fmt.Sprintf("diagnostics %s, %s", x, y)
	}
	if x, y := fmt.Sprint(a.Templates), fmt.Sprint(b.Templates); x != y {
		return fmt.Sprintf("templates %s, %s", x, y)
	}
	return ""
}

// changer changes a folder of definitions at random, by all the ways that count.
type changer struct {
	t    *testing.T
	rand *rand.Rand
	dir  string
	n    int
}

func (c *changer) write(name, text string) {
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *changer) change() {
	c.n++
	name := fmt.Sprintf("s%d", c.rand.IntN(6))
	service := fmt.Sprintf("command = \"/bin/x %d\"\n", c.n)
	switch c.rand.IntN(14) {
	case 12, 13: // unknown names and circles among them
		c.write("services/"+name+".toml", service+fmt.Sprintf("requires = [\"s%d\"]\nwants = [\"s%d\"]\n", c.rand.IntN(6), c.rand.IntN(8)))
	case 0, 1, 2:
		c.write("services/"+name+".toml", service)
	case 3:
		c.write("services/"+name+".toml", "command = \n")
	case 4:
		c.write("services/"+name+".toml", "command = \"~/x\"\n") // a warning
	case 5:
		os.Remove(filepath.Join(c.dir, "services", name+".toml"))
	case 6:
		c.write("services/"+name+".toml.d/a.toml", fmt.Sprintf("nice = %d\n", c.n%19))
	case 7:
		os.RemoveAll(filepath.Join(c.dir, "services", name+".toml.d"))
	case 8:
		c.write("services/t@.toml", service+fmt.Sprintf("scale = %d\n", c.rand.IntN(4)))
	case 9:
		c.write(fmt.Sprintf("services/t@%d.toml", 1+c.rand.IntN(3)), service)
	case 10:
		c.write("abide.toml", fmt.Sprintf("[defaults]\nnice = %d\n[services.p]\ncommand = \"/bin/p\"\n[services.s5]\ncommand = \"/bin/y\"\n", c.rand.IntN(3)))
	case 11:
		os.Remove(filepath.Join(c.dir, "abide.toml"))
	}
}

func TestWhatIsReadAfterAnEarlierSetIsWhatIsReadAnew(t *testing.T) {
	for seed := range uint64(30) {
		dir := t.TempDir()
		c := &changer{t: t, rand: rand.New(rand.NewPCG(seed, 7)), dir: dir}
		opts := Options{Config: []string{dir}, Scale: func(template string) (int, bool) { return 2, seed%3 == 0 }}
		var set *Set
		for range 40 {
			c.change()
			if c.rand.IntN(3) == 0 {
				continue // several changes at once
			}
			if set != nil && c.rand.IntN(4) == 0 {
				set.Reread(fmt.Sprintf("s%d", c.rand.IntN(6)))
			}
			next := LoadAfter(opts, set)
			if wrong := sameSet(next, Load(opts)); wrong != "" {
				t.Fatalf("seed %d, change %d: %s", seed, c.n, wrong)
			}
			if c.rand.IntN(3) == 0 && set != nil {
				half := func(name string) bool { return name < "s3" }
				set = next.Over(set, half)
			} else {
				set = next
			}
		}
	}
}

func TestAServiceWhoseFilesAreTheSameIsTheSame(t *testing.T) {
	dir := t.TempDir()
	c := &changer{t: t, dir: dir}
	for _, name := range []string{"a", "b", "t@"} {
		c.write(name+".toml", "command = \"/bin/x\"\n")
	}
	c.write("t@.toml", "command = \"/bin/x\"\nscale = 2\n")
	c.write("a.toml.d/one.toml", "nice = 1\n")
	opts := Options{Config: []string{dir}}
	first := Load(opts)
	c.write("b.toml", "command = \"/bin/y\"\n")
	second := LoadAfter(opts, first)
	for name, same := range map[string]bool{"a": true, "b": false, "t@1": true, "t@2": true} {
		if (first.Services[name] == second.Services[name]) != same {
			t.Errorf("%s is the same: %v, want %v", name, !same, same)
		}
	}
	c.write("a.toml.d/two.toml", "nice = 2\n")
	third := LoadAfter(opts, second)
	if third.Services["a"].Nice == nil || *third.Services["a"].Nice != 2 {
		t.Errorf("a drop-in that came is not seen: %v", third.Services["a"].Nice)
	}
}

func TestWhatAnotherProgramMadeIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	c := &changer{t: t, dir: dir}
	c.write("a.toml", "command = \"/bin/x\"\n")
	opts := Options{Config: []string{dir}, Build: "1"}
	first := Load(opts)
	memory, ok := first.Memory()
	if !ok {
		t.Fatal("no memory")
	}
	for build, same := range map[string]bool{"1": true, "2": false, "": false} {
		inputs, _ := first.Inputs("a", first.Services["a"])
		opts.Build = build
		restored := Restore(opts, memory, map[string]*model.Service{"a": first.Services["a"]}, map[string][]Input{"a": inputs})
		if next := LoadAfter(opts, restored); (next.Services["a"] == first.Services["a"]) != same {
			t.Errorf("build %q: taken over %v, want %v", build, !same, same)
		}
	}
}

func BenchmarkOneOfTenThousandChanged(b *testing.B) {
	dir := b.TempDir()
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("s%05d.toml", i)), []byte("command = \"/bin/sleep 1000\"\nuser = \"nobody\"\n[restart]\ndelay = \"1s\"\n"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	opts := Options{Config: []string{dir}}
	set := Load(opts)
	for b.Loop() {
		if err := os.WriteFile(filepath.Join(dir, "s05000.toml"), fmt.Appendf(nil, "command = \"/bin/sleep %d\"\n", b.N), 0o644); err != nil {
			b.Fatal(err)
		}
		set = LoadAfter(opts, set)
	}
	if len(set.Services) != 10_000 {
		b.Fatalf("%d services", len(set.Services))
	}
}
