//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

func isRun(n uint64) func(client.Status) bool {
	return func(s client.Status) bool { return s.Run == n && s.State == "running" }
}

// hooks is a receiver of webhooks.
type hooks struct {
	*httptest.Server
	mu    sync.Mutex
	codes []int // of the next answers
	got   []map[string]any
	ids   []string
}

func newHooks(t *testing.T, codes ...int) *hooks {
	h := &hooks{codes: codes}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		err := json.NewDecoder(r.Body).Decode(&body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %v, %v", r.Method, r.Header, err)
		}
		h.got, h.ids = append(h.got, body), append(h.ids, r.Header.Get("Idempotency-Key"))
		if len(h.codes) > 0 {
			code := h.codes[0]
			h.codes = h.codes[1:]
			w.WriteHeader(code)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) await(t *testing.T, n int) []map[string]any {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("the webhook was called %d times", n), func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.got) < n {
			return fmt.Errorf("%d times", len(h.got))
		}
		return nil
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.got
}

func TestAFaultStartsServicesRunsACommandAndCallsAWebhook(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	told := newHooks(t, 503)
	diary := filepath.Join(a.Dir, "diary")
	a.Define("web", fmt.Sprintf(`
command = ["/bin/sh", "-c", "for i in $(seq 60); do echo line $i; done; exit 3"]
[restart]
when = "never"
[on_failure]
start = ["rescue"]
command = ["/bin/sh", "-c", "echo $ABIDE_SERVICE $ABIDE_EXIT_CODE/$ABIDE_EXIT_STATUS $(wc -l) >> %s; echo the command speaks"]
webhook = "%s/T0/secret"
`, diary, told.URL))
	a.Define("rescue", "command = \"/bin/sleep 1000\"\nenabled = false\n")
	a.Start()
	a.Await("web", "failed")
	a.Await("rescue", "running")
	awaitLines(t, diary, "web", "exited/3", "50")
	a.AwaitLogged("web", "[1] on_failure: the command speaks\n")
	got := told.await(t, 2)
	last := got[1]
	lines := last["lines"].([]any)
	if last["service"] != "web" || last["state"] != "failed" || last["exit"].(map[string]any)["code"] != 3.0 || len(lines) != 50 || lines[49] != "line 60" {
		t.Errorf("told %v", last)
	}
	if told.ids[0] == "" || told.ids[0] != told.ids[1] || told.ids[0] != last["id"] {
		t.Errorf("ids %v", told.ids)
	}
	harness.Eventually(t, "the outcome is in the events", func() error {
		events := a.OK("events")
		if strings.Contains(events, "secret") {
			return harness.Final(fmt.Errorf("the address is in the events"))
		}
		if !strings.Contains(events, "cannot tell "+told.URL+": it answers 503") || !strings.Contains(events, "told "+told.URL) {
			return fmt.Errorf("they are %s", events)
		}
		return nil
	})
}

// TestAFaultIsToldOnceAlthoughEnginesAreKilled kills the engine while the command
// runs.
func TestAFaultIsToldOnceAlthoughEnginesAreKilled(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	told := newHooks(t)
	diary, gate := filepath.Join(a.Dir, "diary"), filepath.Join(a.Dir, "gate")
	harness.Check(t, syscall.Mkfifo(gate, 0o666))
	a.Define("web", fmt.Sprintf(`
command = ["/bin/sh", "-c", "exit 3"]
[restart]
when = "never"
[on_failure]
command = ["/bin/sh", "-c", "echo began >> %s; read x < %s; echo ended >> %s"]
webhook = "%s/"
`, diary, gate, diary, told.URL))
	a.Start()
	awaitLines(t, diary, "began")
	told.await(t, 1)
	for range 3 {
		killEngine(t, a)
	}
	a.RunCommand(a.Command("abide", "status"))
	harness.Check(t, os.WriteFile(gate, []byte("go\n"), 0))
	awaitLines(t, diary, "began", "ended")
	killEngine(t, a)
	a.Await("web", "failed")
	awaitLines(t, diary, "began", "ended")
	ids := map[string]bool{}
	for _, id := range told.ids {
		ids[id] = true
	}
	if len(ids) != 1 {
		t.Errorf("ids %v", told.ids)
	}
}

// TestAnEssentialFaultIsToldBeforeAbideEnds and abide ends with the service's code.
func TestAnEssentialFaultIsToldBeforeAbideEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		code   int
	}{{"exit 7", 7}, {"kill -KILL $$", 128 + 9}} {
		a := harness.New(t)
		told := newHooks(t)
		diary := filepath.Join(a.Dir, "diary")
		a.Define("db", fmt.Sprintf("command = [\"/bin/sh\", \"-c\", \"trap 'echo db >> %s; exit 0' TERM; while :; do sleep 1 & wait; done\"]\n", diary))
		a.Define("web", fmt.Sprintf("command = [\"/bin/sh\", \"-c\", \"trap 'sleep 0.2; echo web >> %s; exit 0' TERM; while :; do sleep 1 & wait; done\"]\nrequires = [\"db\"]\n", diary))
		a.Define("main", fmt.Sprintf("command = [\"/bin/sh\", \"-c\", \"sleep 0.5; %s\"]\nessential = true\nrequires = [\"web\"]\n[on_failure]\nwebhook = \"%s/\"\n", c.script, told.URL))
		a.Start()
		if code := a.DaemonExit(); code != c.code {
			t.Errorf("%s: abide ended with %d, want %d", c.script, code, c.code)
		}
		told.await(t, 1)
		awaitLines(t, diary, "web", "db")
	}
}
