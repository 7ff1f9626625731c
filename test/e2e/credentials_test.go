//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

const secret = "correct-horse-battery"

// TestCredentialsAreTheServicesAlone looks for the secret everywhere it must not be,
// and tries to read it as somebody else.
func TestCredentialsAreTheServicesAlone(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	source := filepath.Join(a.Dir, "db.pass")
	harness.Check(t, os.WriteFile(source, []byte(secret+"\n"), 0o600))
	seen := filepath.Join(a.Dir, "seen")
	a.Define("shop", fmt.Sprintf(`
command = ["/bin/sh", "-c", "wc -c < $CREDENTIALS_DIRECTORY/db; test ${credentials_dir} = $CREDENTIALS_DIRECTORY && stat -c '%%a %%U' $CREDENTIALS_DIRECTORY $CREDENTIALS_DIRECTORY/db; exec sleep 1000"]
before_start = { command = ["/bin/sh", "-c", "cat $CREDENTIALS_DIRECTORY/db > %s"], user = "root" }
user = "nobody"
[credentials]
db = %q
`, seen, source))
	a.Define("thief", fmt.Sprintf(`
command = ["/bin/sh", "-c", "cat %s/credentials/*/* %s/credentials/shop-1/db; ls %s/credentials; exec sleep 1000"]
user = "daemon"
`, a.Run, a.Run, a.Run))
	a.Start()
	a.Await("shop", "running")
	a.Await("thief", "running")
	a.AwaitLogged("shop", fmt.Sprintf("[1] %d\n", len(secret)+1))
	a.AwaitLogged("shop", "[1] 500 nobody\n")
	a.AwaitLogged("shop", "[1] 400 nobody\n")
	a.AwaitLogged("thief", "Permission denied")
	if got := lines(seen); len(got) != 1 || got[0] != secret {
		t.Errorf("the hook read %v", got)
	}
	harness.Check(t, os.Remove(seen))
	killEngine(t, a)
	a.OK("restart", "shop")
	awaitPlaced(t, a, "shop-2")

	harness.Check(t, os.Remove(source))
	harness.Check(t, os.Remove(seen))
	a.OK("stop", "shop")
	awaitPlaced(t, a)
	if r := a.Do("start", "shop"); r.Code == 0 || !strings.Contains(r.Err, "cannot read credential db from "+source) {
		t.Errorf("a start without the file: %d %s", r.Code, r.Err)
	}
	out := a.OK("show", "shop") + a.Do("status", "--json", "shop").Out + a.OK("events") + a.Logged("shop") + a.Logged("thief") + a.Output()
	if strings.Contains(out, secret) {
		t.Error("the secret is shown")
	}
	a.StopDaemon()
	harness.Check(t, filepath.Walk(a.Dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), secret) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	}))
	if _, err := os.Lstat(filepath.Join(a.Run, "credentials")); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
}

// awaitPlaced returns when exactly these runs have credentials.
func awaitPlaced(t *testing.T, a *harness.Abide, want ...string) {
	t.Helper()
	harness.Eventually(t, "credentials go with their runs", func() error {
		entries, _ := os.ReadDir(filepath.Join(a.Run, "credentials"))
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("there are %v, want %v", got, want)
		}
		return nil
	})
}

func TestDirectoriesAreMadeAndTheRunDirectoryGoesWithTheService(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	name := fmt.Sprintf("abide-e2e-%d", os.Getpid())
	for _, base := range []string{"/var/lib", "/var/cache", "/var/log", "/etc", "/run"} {
		t.Cleanup(func() { os.RemoveAll(filepath.Join(base, name)) })
	}
	a.Define("web", fmt.Sprintf(`
command = ["/bin/sh", "-c", "for d in $RUNTIME_DIRECTORY $STATE_DIRECTORY $CACHE_DIRECTORY $LOGS_DIRECTORY $CONFIGURATION_DIRECTORY; do touch $d/x; stat -c '%%n %%a %%U' $d; done; test ${run_dir} = $RUNTIME_DIRECTORY && echo same; exec sleep 1000"]
user = "nobody"
[directories]
name = %q
run = true
state = "0700"
cache = "0750"
logs = true
config = "0700"
`, name))
	a.Start()
	a.Await("web", "running")
	for _, want := range []string{"/run/" + name + " 755 nobody", "/var/lib/" + name + " 700 nobody", "/var/cache/" + name + " 750 nobody", "/var/log/" + name + " 755 nobody", "/etc/" + name + " 700 nobody", "same"} {
		a.AwaitLogged("web", "[1] "+want+"\n")
	}
	a.KillService("web")
	a.AwaitStatus("web", "runs again", isRun(2))
	if _, err := os.Stat(filepath.Join("/run", name, "x")); err != nil {
		t.Errorf("the run directory did not last over a restart: %v", err)
	}
	a.OK("stop", "web")
	harness.Eventually(t, "the run directory goes", func() error {
		if _, err := os.Lstat(filepath.Join("/run", name)); err == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	if _, err := os.Stat(filepath.Join("/var/lib", name, "x")); err != nil {
		t.Errorf("the state directory: %v", err)
	}
	// Somebody else's folder, or a link in its place, is refused.
	harness.Check(t, os.Symlink(a.Dir, filepath.Join("/run", name)))
	if r := a.Do("start", "web"); r.Code == 0 || !strings.Contains(r.Err, "it is a symbolic link") {
		t.Errorf("a start over a link: %d %s", r.Code, r.Err)
	}
	a.OK("stop", "web")
	harness.Check(t, os.Remove(filepath.Join("/run", name)))
	harness.Check(t, os.Mkdir(filepath.Join("/run", name), 0o755))
	harness.Check(t, os.WriteFile(filepath.Join("/run", name, "theirs"), nil, 0o644))
	if r := a.Do("start", "web"); r.Code == 0 || !strings.Contains(r.Err, "it belongs to uid 0") {
		t.Errorf("a start over a folder of root's: %d %s", r.Code, r.Err)
	}
	a.OK("stop", "web")
}
