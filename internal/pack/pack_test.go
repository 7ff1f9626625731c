package pack

import (
	"reflect"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/model"
)

type inner struct {
	A int8
	B string
}

type outer struct {
	Flag   bool
	Small  uint16
	Real   float64
	Text   string
	Wait   time.Duration
	Number *int
	List   []inner
	None   []string
	Empty  []string
	Map    map[string]inner
	Bytes  []byte
	In     inner
}

func example() outer {
	n := -7
	return outer{
		Flag: true, Small: 65535, Real: 0.25, Text: "a\x00b", Wait: -time.Hour, Number: &n,
		List: []inner{{1, "x"}, {}, {-128, ""}}, Empty: []string{}, Map: map[string]inner{"k": {2, "y"}, "": {}},
		Bytes: []byte{0, 255, 128}, In: inner{3, "z"},
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, want := range []outer{{}, example()} {
		var got outer
		if err := Read(Append(nil, &want), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, %v; want %+v", got, err, want)
		}
	}
}

func TestADifferenceIsPutOverItsBaseAndSharesNothingWithIt(t *testing.T) {
	base, changed := example(), example()
	changed.List = []inner{{9, "new"}}
	changed.Map = map[string]inner{"other": {}}
	changed.Number = nil
	data := AppendDifference(nil, &changed, &base)
	got := base
	if err := Read(data, &got); err != nil || !reflect.DeepEqual(got, changed) {
		t.Errorf("read %+v, %v; want %+v", got, err, changed)
	}
	if !reflect.DeepEqual(base, example()) {
		t.Errorf("the base became %+v", base)
	}
}

func TestAnotherVersionOfAStructIsRead(t *testing.T) {
	type later struct {
		Text string
		New  map[string][]inner
		In   struct {
			B     string
			Added []int
		}
		Flag bool
	}
	var l later
	l.Text, l.Flag, l.New = "t", true, map[string][]inner{"x": {{1, "2"}}}
	l.In.B, l.In.Added = "b", []int{1, 2}
	var got outer
	if err := Read(Append(nil, &l), &got); err != nil {
		t.Fatal(err)
	}
	if want := (outer{Text: "t", Flag: true, In: inner{B: "b"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

func FuzzReadNeverPanics(f *testing.F) {
	e := example()
	f.Add(Append(nil, &e))
	f.Add([]byte{1, 4, 'L', 'i', 's', 't', 5, 0, 0, 0, 255, 255, 255, 255, 15})
	svc := model.Defaults(model.Task, true)
	f.Add(Append(nil, &svc))
	f.Fuzz(func(t *testing.T, data []byte) {
		var o outer
		if Read(data, &o) == nil {
			var again outer
			if err := Read(Append(nil, &o), &again); err != nil {
				t.Errorf("what was read cannot be written and read again: %v", err)
			}
		}
		var s model.Service
		_ = Read(data, &s)
	})
}

func BenchmarkReadOfADefinition(b *testing.B) {
	base := model.Defaults(model.Daemon, false)
	svc := base
	svc.Name, svc.Command, svc.Files = "web", []string{"/bin/sleep", "1000"}, []string{"/etc/abide/services/web.toml"}
	data := AppendDifference(nil, &svc, &base)
	b.ReportAllocs()
	for b.Loop() {
		got := base
		if err := Read(data, &got); err != nil {
			b.Fatal(err)
		}
	}
}
