//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// sickness is a file that makes a service sick while it is not there.
func sickness(a *harness.Abide) (well string, check string) {
	well = a.NewFile("well", "", 0o644)
	return well, fmt.Sprintf("[health]\nexec = [\"/usr/bin/test\", \"-e\", %q]\ninterval = \"100ms\"\nfailures = 3\n", well)
}

func TestAServiceThatTurnsSickIsDegradedAndHeals(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	well, check := sickness(a)
	a.Define("web", "command = [\"/bin/sleep\", \"100000\"]\n"+check+"action = \"degraded\"\n")
	a.Define("app", "command = [\"/bin/sleep\", \"100000\"]\nrequires = [\"web\"]\nenabled = false\n")
	a.Start()
	before := a.AwaitStatus("web", "runs", running)
	harness.Check(t, os.Remove(well))
	s := a.Await("web", "degraded")
	if !strings.Contains(s.Why, "exited with code 1 (3 in a row)") || !s.Ready {
		t.Errorf("status says %q, ready %v", s.Why, s.Ready)
	}
	harness.Contains(t, a.Do("status", "web").Out, "degraded")
	// For those that depend on it, it is up.
	a.OK("start", "app")
	a.Await("app", "running")
	// The next engine goes on with it.
	harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
	a.AwaitDaemon()
	if s := a.Status("web"); s.State != "degraded" || s.Pid != before.Pid {
		t.Errorf("after the engine's death it is %s with pid %d, was pid %d", s.State, s.Pid, before.Pid)
	}
	harness.Check(t, os.WriteFile(well, nil, 0o644))
	if s := a.Await("web", "running"); s.Pid != before.Pid || s.Run != before.Run {
		t.Errorf("it was pid %d, run %d and is pid %d, run %d", before.Pid, before.Run, s.Pid, s.Run)
	}
}

func TestAServiceThatStaysSickIsStartedAgain(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	well, check := sickness(a)
	a.Define("web", "command = [\"/bin/sleep\", \"100000\"]\n"+check)
	a.Start()
	before := a.AwaitStatus("web", "runs", running)
	harness.Check(t, os.Remove(well))
	a.AwaitStatus("web", "is started again", func(s client.Status) bool { return s.Run > before.Run })
	harness.Check(t, os.WriteFile(well, nil, 0o644))
	after := a.AwaitStatus("web", "runs", running)
	if after.Pid == before.Pid {
		t.Error("the sick process goes on")
	}
	harness.Contains(t, a.OK("events"), "exited with code 1 (2 of 3 in a row)")
}

// A check that never ends is ended with everything of it, and counts as failed.
func TestACheckThatHangsIsEndedAndCounts(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	pids := filepath.Join(a.Dir, "pids")
	check := a.NewFile("check", fmt.Sprintf("#!/bin/sh\nsleep 4711 & echo $$ $! >>%s; wait\n", pids), 0o755)
	a.Define("web", fmt.Sprintf("command = [\"/bin/sleep\", \"100000\"]\n[health]\nexec = [%q]\ninterval = \"100ms\"\ntimeout = \"100ms\"\nfailures = 2\naction = \"degraded\"\n", check))
	a.Start()
	s := a.Await("web", "degraded")
	harness.Contains(t, s.Why, "took longer than 100ms")
	a.OK("stop", "web")
	harness.Eventually(t, "nothing of a check is left", func() error {
		text, err := os.ReadFile(pids)
		if err != nil {
			return err
		}
		for _, pid := range strings.Fields(string(text)) {
			if harness.Alive(number(pid)) {
				return fmt.Errorf("process %s lives", pid)
			}
		}
		return nil
	})
}

// The database is asked by its own tool, the page is asked for, and the port.
func TestRealProgramsAreChecked(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	p, write := nginx(t, a, "[ready]\nhttp = \"http://127.0.0.1:PORT/\"\n[health]\nhttp = \"http://127.0.0.1:PORT/\"\ninterval = \"100ms\"\naction = \"degraded\"\n")
	rewrite(t, filepath.Join(a.Services, "nginx.toml.d"), "PORT", fmt.Sprint(p.port))
	a.Start()
	before := a.Await("nginx", "running")
	conf := filepath.Join(a.Dir, "nginx.conf")
	text, err := os.ReadFile(conf)
	harness.Check(t, err)
	a.Write(conf, strings.ReplaceAll(string(text), "return 200", "return 503"))
	a.OK("reload", "nginx")
	s := a.Await("nginx", "degraded")
	harness.Contains(t, s.Why, "status 503 (3 in a row)")
	write("well again")
	a.OK("reload", "nginx")
	if s := a.Await("nginx", "running"); s.Pid != before.Pid {
		t.Errorf("it was pid %d and is pid %d", before.Pid, s.Pid)
	}
}

func TestPostgreSQLIsReadyWhenItsOwnToolSaysSo(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	harness.Check(t, err)
	if len(folders) == 0 {
		t.Fatal("PostgreSQL is not installed: run test/install-deps.sh")
	}
	bin := filepath.Dir(folders[len(folders)-1])
	a := harness.New(t)
	data := filepath.Join(a.Dir, "pg")
	owned(t, data, "postgres", 0o700)
	initdb := exec.Command("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
		filepath.Join(bin, "initdb"), "--pgdata", data, "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8")
	initdb.Dir = data
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("cannot make a cluster: %v\n%s", err, out)
	}
	port := harness.FreePort(t)
	ask := fmt.Sprintf("[%q, \"-q\", \"-h\", \"127.0.0.1\", \"-p\", \"%d\"]", filepath.Join(bin, "pg_isready"), port)
	a.Define("postgres", fmt.Sprintf("command = [%q, \"-D\", %q, \"-p\", \"%d\", \"-c\", \"unix_socket_directories=%s\", \"-c\", \"fsync=off\"]\nuser = \"postgres\"\n[stop]\nsignal = \"INT\"\n[ready]\nexec = %s\n[health]\nexec = %s\ninterval = \"200ms\"\n",
		filepath.Join(bin, "postgres"), data, port, data, ask, ask))
	a.Start()
	a.Await("postgres", "running")
	psql := exec.Command(filepath.Join(bin, "psql"), "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "postgres", "-Atc", "select 6 * 7")
	if out, err := psql.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "42" {
		t.Errorf("it is running and answers %q: %v", out, err)
	}
	if s := a.Status("postgres"); s.State != "running" || s.Restarts != 0 {
		t.Errorf("it is %s after %d restarts", s.State, s.Restarts)
	}
}
