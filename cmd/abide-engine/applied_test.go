package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abide-project/abide/internal/definitions"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// shop is a run directory and a folder with definitions.
type shop struct {
	t    *testing.T
	root string
	dir  *state.Dir
}

func newShop(t *testing.T, files map[string]string) *shop {
	s := &shop{t: t, root: t.TempDir()}
	for name, text := range files {
		s.write(name, text)
	}
	var err error
	if s.dir, err = state.OpenState(filepath.Join(s.root, "run")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.dir.Close() })
	return s
}

func (s *shop) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.root, "services", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) reader(boot string) *reader {
	return newReader(definitions.Options{Config: []string{filepath.Join(s.root, "services")}}, nil, s.dir, boot, func(err error) { s.t.Error(err) })
}

const twoServices = "command = [\"/bin/web\", \"-x\"]\nenvironment = { A = \"1\" }\n[log]\nkeep = 3\n"

// keepNow stores what is in force and passes the time that the first version
// waits.
func keepNow(t *testing.T, r *reader, services map[string]*model.Service) {
	t.Helper()
	if err := r.KeepApplied(services); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * applyLater)
	synctest.Wait()
}

func TestTheNextEngineRunsWhatWasAppliedWhateverTheFilesSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, map[string]string{"web.toml": twoServices, "job.toml": "kind = \"task\"\ncommand = [\"/bin/job\"]\n"})
		first := s.reader("boot")
		if _, ok := first.Restored(); ok {
			t.Fatal("something was restored from nothing")
		}
		loaded := first.Load(nil)
		keepNow(t, first, loaded.Services)

		s.write("web.toml", "command = [\"/bin/other\"]\n")
		s.write("new.toml", "command = [\"/bin/new\"]\n")
		next := s.reader("boot")
		restored, ok := next.Restored()
		if !ok || !reflect.DeepEqual(restored.Services, loaded.Services) || !reflect.DeepEqual(next.Applied(), loaded.Services) {
			t.Fatalf("restored %v %+v", ok, restored.Services)
		}
		if !next.Changed("web") || next.Changed("job") {
			t.Errorf("web changed: %t, job changed: %t; want true, false", next.Changed("web"), next.Changed("job"))
		}
		if other := s.reader("another boot"); other.Applied() != nil {
			t.Errorf("in another boot there is %v", other.Applied())
		}
	})
}

func TestAChangeIsKeptBeforeItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := map[string]string{}
		for i := range 20 {
			files[fmt.Sprintf("s%d.toml", i)] = twoServices
		}
		s := newShop(t, files)
		r := s.reader("boot")
		services := r.Load(nil).Services
		keepNow(t, r, services)

		s.write("s3.toml", "command = [\"/bin/other\"]\n")
		changed, diags := r.Reread("s3")
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		next := map[string]*model.Service{"s3": changed, "s4": services["s4"]}
		if err := r.KeepApplied(next); err != nil {
			t.Fatal(err)
		}
		if got := s.reader("boot").Applied(); !reflect.DeepEqual(got, next) {
			t.Errorf("kept %v, want %v", got, next)
		}
	})
}

func TestASetWithErrorsIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, map[string]string{"web.toml": twoServices, "bad.toml": "comand = 1\n"})
		r := s.reader("boot")
		loaded := r.Load(nil)
		keepNow(t, r, loaded.Services)
		next := s.reader("boot")
		if _, ok := next.Restored(); ok {
			t.Error("a set was restored without its errors")
		}
		if !reflect.DeepEqual(next.Applied(), loaded.Services) {
			t.Errorf("applied %v, want %v", next.Applied(), loaded.Services)
		}
	})
}
