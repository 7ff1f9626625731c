package state

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layerOn makes a layer that was read from these files and is written to a
// recorder.
func layerOn(t *testing.T, files map[string]string, refuse int) (*Layer, *recorder) {
	t.Helper()
	l, problem := readLayer(t, files)
	if problem != nil {
		t.Fatal(problem)
	}
	r := &recorder{refuse: refuse, named: map[string]int{}, data: map[int]string{}}
	l.dir = &Dir{path: "/state", durable: true, files: r}
	return l, r
}

func readLayer(t *testing.T, files map[string]string) (*Layer, error) {
	t.Helper()
	path, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(path)
	defer dir.Close()
	return LoadLayer(dir)
}

// laid is a layer as text.
func laid(l *Layer) string { return fmt.Sprint(l.Pins(), l.Scales()) }

var layerChanges = []func(*Layer) error{
	func(l *Layer) error {
		return l.SetPin("web", &Pin{Number: 3, By: 7, At: noon, Definition: []byte("old")})
	},
	func(l *Layer) error { return l.SetScale("web@", &Scale{Copies: 4, By: 7, At: noon}) },
	func(l *Layer) error { return l.SetScale("none@", &Scale{Copies: 0, By: 7, At: noon}) },
	func(l *Layer) error { return l.SetPin("web", nil) },
	func(l *Layer) error { return l.SetScale("web@", nil) },
}

func TestAPowerCutLeavesTheOldOrTheNewLayer(t *testing.T) {
	files := map[string]string{}
	for i, change := range layerChanges {
		l, r := layerOn(t, files, -1)
		old := laid(l)
		if err := change(l); err != nil {
			t.Fatal(err)
		}
		want := laid(l)
		if want == old {
			t.Fatalf("change %d changes nothing", i)
		}
		for n := 0; n <= len(r.calls); n++ {
			r.afterPowerCut(n, files, func(dir map[string]string) {
				got, problem := readLayer(t, dir)
				if text := laid(got); text != old && text != want || problem != nil || n == len(r.calls) && text != want {
					t.Errorf("change %d, power cut after %d calls: %s, %v, want %s or %s", i, n, text, problem, old, want)
				}
			})
		}
		files = map[string]string{layerName: r.data[r.named[layerName]]}
	}
}

func TestALayerThatFindsNoSpaceIsAsItWas(t *testing.T) {
	files := map[string]string{}
	for i, change := range layerChanges {
		for refuse := 0; ; refuse++ {
			l, r := layerOn(t, files, refuse)
			old := laid(l)
			err := change(l)
			if r.asked <= refuse {
				files = map[string]string{layerName: r.data[r.named[layerName]]}
				break
			}
			// What fails last is to sync the folder: the file is there and may be
			// lost again.
			if err == nil || laid(l) != old {
				t.Errorf("change %d, no space at call %d: %s, %v; want %s and an error", i, refuse, laid(l), err, old)
			}
		}
	}
}

func TestALayerThatMakesNoSenseIsSetAside(t *testing.T) {
	for _, text := range []string{"", "{", `{"version": 2}`, "[]"} {
		dir := openState(t)
		path := filepath.Join(dir.Path(), layerName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, problem := LoadLayer(dir)
		if problem == nil || !strings.Contains(problem.Error(), "layer.bad") || len(l.Pins()) != 0 {
			t.Errorf("%q: %v, %v", text, problem, l.Pins())
		}
		if kept, err := os.ReadFile(path + ".bad"); err != nil || string(kept) != text {
			t.Errorf("%q is kept as %q, %v", text, kept, err)
		}
		if err := l.SetPin("web", &Pin{Number: 1}); err != nil {
			t.Error(err)
		}
	}
}
