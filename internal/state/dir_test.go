package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func openRun(t *testing.T) *Run {
	t.Helper()
	run, err := OpenRun(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Close() })
	return run
}

func openState(t *testing.T) *Dir {
	t.Helper()
	d, err := OpenState(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestARunDirectoryKeepsItsID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "run")
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			run, err := OpenRun(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer run.Close()
			ids[i] = run.ID()
		})
	}
	all.Wait()
	for _, id := range ids {
		if len(id) != 16 || id != ids[0] {
			t.Errorf("ids are %q", ids)
			break
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v, want only the id", entries, err)
	}
}

func TestTheUmaskDoesNotDecideTheModeOfADirectory(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	run := openRun(t)
	info, err := os.Stat(run.Path())
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode is %v, %v, want 0755", info.Mode(), err)
	}
}

func TestADirectoryThatOthersCouldHavePreparedIsRefused(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	for path, prepare := range map[string]func(string) error{
		"link":     func(p string) error { return errors.Join(os.MkdirAll(good, 0o755), os.Symlink(good, p)) },
		"file":     func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"writable": func(p string) error { return errors.Join(os.Mkdir(p, 0o755), os.Chmod(p, 0o775)) },
		"foreign":  func(p string) error { return errors.Join(os.Mkdir(p, 0o755), os.Chown(p, 64997, 0)) },
		"id link": func(p string) error {
			return errors.Join(os.Mkdir(p, 0o755), os.Symlink("/etc/hostname", filepath.Join(p, "id")))
		},
	} {
		path = filepath.Join(dir, path)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if run, err := OpenRun(path); err == nil {
			t.Errorf("%s is accepted", path)
			run.Close()
		} else if !strings.HasPrefix(err.Error(), "cannot ") || !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name the object: %v", err)
		}
	}
}

func TestADamagedIDIsSetAsideAndMayBeRestored(t *testing.T) {
	run := openRun(t)
	old := run.ID()
	file := filepath.Join(run.Path(), "id")
	for _, noise := range []string{"../../x", "", "0123456789ABCDEF\n", "\x00\x00"} {
		if err := os.WriteFile(file, []byte(noise), 0o644); err != nil {
			t.Fatal(err)
		}
		again, err := OpenRun(run.Path())
		if err != nil {
			t.Fatalf("with %q as its id: %v", noise, err)
		}
		if again.ID() == old {
			t.Errorf("%q gave the old id without anybody saying it", noise)
		}
		if restored, err := again.RestoreID("no id"); restored || err != nil {
			t.Errorf("what is no id is restored: %v, %v", restored, err)
		}
		if restored, err := again.RestoreID(old); !restored || err != nil || again.ID() != old {
			t.Errorf("the id is %s after %v, %v", again.ID(), restored, err)
		}
		if restored, err := again.RestoreID(old); restored || err != nil {
			t.Errorf("restored twice: %v, %v", restored, err)
		}
		again.Close()
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != old+"\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	got := MaskEnv([]string{"PATH=/bin", "DB_PASSWORD=x=y", "api_key=1", "MY_TOKEN=", "CLIENT_SECRET=s", "A=TOKEN", "SECRET"})
	want := "PATH=/bin DB_PASSWORD=*** api_key=*** MY_TOKEN=*** CLIENT_SECRET=*** A=TOKEN ***"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}
