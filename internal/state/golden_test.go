//go:build linux

package state

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/golden"
)

// The files of version 1 in testdata are of a real instance in this boot.
const goldenBoot = "c70deea32bae256ec62536d51dd5dcc74f01"

func TestFilesOfVersion1AreRead(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"engine.state": "run/engine.state", "run-wishes": "run/wishes", "state-wishes": "state/wishes",
		"history": "state/history/00000000000000000001",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, golden.Read(t, "testdata/v1/"+name+".gz", 0), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run, err := OpenState(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	stateDir, err := OpenState(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer stateDir.Close()

	snapshot, note, err := OpenSnapshot(run, goldenBoot)
	if err != nil || note != "" {
		t.Fatalf("%q, %v", note, err)
	}
	defer snapshot.Close()
	all := snapshot.All()
	for _, name := range []string{"off", "talker", "task", "web"} {
		// What the pages say is the engine's business.
		if len(all[name]) != 280 {
			t.Errorf("the page of %s has %d bytes", name, len(all[name]))
		}
	}
	if len(all) != 4 {
		t.Errorf("%d pages", len(all))
	}

	wishes, problems := LoadWishes(run, stateDir, goldenBoot)
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	if w := wishes.Get("web"); !w.Stopped || w.Started || w.Enabled != Unset || w.At.Format("15:04:05.000") != "21:55:57.858" {
		t.Errorf("web: %+v", w)
	}
	if w := wishes.Get("task"); !w.Started || w.Stopped {
		t.Errorf("task: %+v", w)
	}
	if w := wishes.Get("off"); w.Enabled != No || w.Stopped {
		t.Errorf("off: %+v", w)
	}

	history := OpenHistory(stateDir, func(text string) { t.Error(text) })
	var first, last control.Event
	n := uint64(0)
	err = history.Read(context.Background(), 0, false, func(e control.Event) error {
		if n++; e.Cursor != n {
			t.Errorf("event %d has cursor %d", n, e.Cursor)
		}
		if n == 1 {
			first = e
		}
		last = e
		return nil
	})
	if err != nil || n != history.Last() || first.Text != "engine v1 is in charge of 4 services" || first.Kind != "abide" {
		t.Errorf("%d events, %v; the first %+v", n, err, first)
	}
	if last.Service != "task" || last.Run != 2 || last.Kind != "state" || last.Fields["state"] != "failed" {
		t.Errorf("the last %+v", last)
	}
	history.Append(control.Event{Kind: "abide", Text: "after it"})
	if history.Last() != n+1 {
		t.Errorf("the next event has cursor %d", history.Last())
	}
}
