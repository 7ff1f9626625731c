package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBootTexts(t *testing.T) {
	for _, b := range bootInits {
		for _, user := range []bool{false, true} {
			if user && b.userPath == "" && b.name != "cron" {
				continue
			}
			name := b.name
			if user {
				name += "-user"
			}
			t.Run(name, func(t *testing.T) {
				golden(t, filepath.Join("testdata/boot", name), b.text("/usr/bin/abide", user))
			})
		}
	}
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
	} {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
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
	for range 2 {
		if err := installBoot(path, text, unit); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if err := removeBoot(path, text, false); err != nil || exists(path) {
		t.Errorf("not removed: %v", err)
	}
	if err := removeBoot(path, text, false); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	os.WriteFile(path, []byte("another program's\n"), 0o644)
	if err := installBoot(path, text, unit); err == nil {
		t.Error("a file of another program was replaced")
	}
	if err := removeBoot(path, text, false); err == nil {
		t.Error("a file of another program was removed")
	}
}

func TestInittabKeepsTheLinesOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inittab")
	old := []byte("id:2:initdefault:\n1:2345:respawn:/sbin/getty 38400 tty1")
	os.WriteFile(path, old, 0o600)
	line := inittabLine("/usr/bin/abide", false)
	b := &bootInit{mode: 0o644, line: true}
	for range 2 {
		if err := installBoot(path, line, b); err != nil {
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
	if err := removeBoot(path, line, true); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); !bytes.Equal(data, append(old, '\n')) {
		t.Errorf("left %q", data)
	}
}
