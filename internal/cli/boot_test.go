package cli

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The files of packaging/ are what abide prints, and nothing else is there.
func TestPackagingIsWhatBootPrints(t *testing.T) {
	const root, abide = "../../packaging", "/usr/bin/abide"
	known := map[string]bool{filepath.Join(root, "README.md"): true}
	check := func(path, text string) {
		known[path] = true
		if *update {
			os.MkdirAll(filepath.Dir(path), 0o755)
		}
		golden(t, path, text)
	}
	for _, b := range bootInits {
		check(filepath.Join(root, b.name, filepath.Base(b.path)), b.text(abide, false))
		if b.userPath != "" || b.name == "cron" {
			check(filepath.Join(root, b.name, "user", filepath.Base(b.path)), b.text(abide, true))
		}
		for _, f := range b.more {
			check(filepath.Join(root, b.name, f.name), f.text(abide))
		}
	}
	filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !known[path] {
			t.Errorf("%s is not printed by abide boot: %v", path, err)
		}
		return nil
	})
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBootScriptsAreShell(t *testing.T) {
	for name, text := range map[string]string{
		"sysvinit": sysvScript("/opt/my tools/it's/abide", false),
		"openrc":   openrcScript("/opt/my tools/it's/abide", false),
		"runit":    runitScript("/opt/my tools/it's/abide", false),
		"finish":   runitFinish(""),
		"control":  runitTerm(""),
		"s6":       s6Script("/opt/my tools/it's/abide", false),
		"finish6":  s6Finish("/opt/my tools/it's/abide"),
	} {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	for name, text := range map[string]string{"": launchdPlist("/opt/a<b>&/abide", false), "user": launchdPlist("/usr/bin/abide", true)} {
		if err := xml.Unmarshal([]byte(text), new(struct{})); err != nil {
			t.Errorf("launchd %s: %v", name, err)
		}
	}
	if got := systemdQuote(`/opt/my tools/100%$x`); got != `"/opt/my tools/100%%$$x"` {
		t.Errorf("systemd: %s", got)
	}
}

func TestBootFilesAreInstalledOnceAndRemoved(t *testing.T) {
	dir := t.TempDir()
	unit := &bootInit{mode: 0o755}
	path := filepath.Join(dir, "sv", "abide", "run")
	text := runitScript("/usr/bin/abide", false)
	unit.more = []bootFile{{"control/t", 0o755, runitTerm}, {"down-signal", 0o644, s6DownSignal}}
	control, signal := filepath.Join(filepath.Dir(path), "control", "t"), filepath.Join(filepath.Dir(path), "down-signal")
	for range 2 {
		if err := installBoot(path, text, "/usr/bin/abide", unit); err != nil {
			t.Fatal(err)
		}
	}
	for file, mode := range map[string]os.FileMode{path: 0o755, control: 0o755, signal: 0o644} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%v, %v", info, err)
		}
	}
	if err := removeBoot(path, text, unit); err != nil || exists(path) || exists(filepath.Dir(control)) || exists(signal) {
		t.Errorf("not removed: %v", err)
	}
	if err := removeBoot(path, text, unit); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	for _, file := range []string{path, signal} {
		os.WriteFile(file, []byte("another program's\n"), 0o644)
		if err := installBoot(path, text, "/usr/bin/abide", unit); err == nil {
			t.Errorf("%s of another program was replaced", file)
		}
		if err := removeBoot(path, text, unit); err == nil && file == path {
			t.Errorf("%s of another program was removed", file)
		}
		os.Remove(file)
	}
}

func TestInittabKeepsTheLinesOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inittab")
	old := []byte("id:2:initdefault:\n1:2345:respawn:/sbin/getty 38400 tty1")
	os.WriteFile(path, old, 0o600)
	line := inittabLine("/usr/bin/abide", false)
	b := &bootInit{mode: 0o644, line: true}
	for range 2 {
		if err := installBoot(path, line, "", b); err != nil {
			t.Fatal(err)
		}
	}
	data, _ := os.ReadFile(path)
	if want := string(old) + "\n" + line; string(data) != want {
		t.Errorf("got %q, want %q", data, want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("its mode became %v", info.Mode())
	}
	if err := removeBoot(path, line, b); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); !bytes.Equal(data, append(old, '\n')) {
		t.Errorf("left %q", data)
	}
}
