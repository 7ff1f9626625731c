package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/abide-project/abide/internal/state"
)

func TestAlarmsAreThereForTheNextEngine(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	dir, err := state.OpenState(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	first := openAlarms(dir, root, "boot")
	for i := range 100 {
		if err := first.Set("web", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Set("db", []byte("x")); err != nil {
		t.Fatal(err)
	}
	next := openAlarms(dir, root, "boot").All()
	if len(next) != 2 || string(next["web"]) != "99" || string(next["db"]) != "x" {
		t.Errorf("there is %q", next)
	}
	if other := openAlarms(dir, root, "another boot").All(); len(other) != 0 {
		t.Errorf("in another boot there is %q", other)
	}
	path, err := first.Write("id", []string{"one", "two"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	text, _ := os.ReadFile(path)
	if err != nil || info.Mode().Perm() != 0o600 || string(text) != "one\ntwo\n" {
		t.Errorf("%v, %q, %v", info, text, err)
	}
	first.Remove("id")
	if _, err := os.Lstat(path); err == nil {
		t.Error("the lines are left")
	}
}

func TestOnlyWhatMayHelpIsTriedAgain(t *testing.T) {
	code := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Idempotency-Key") != "id" || r.URL.Path != "/hook" {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
	}))
	defer server.Close()
	a := &alarms{client: webhookClient()}
	for answer, want := range map[int]struct{ again, ok bool }{
		200: {false, true}, 204: {false, true}, 302: {}, 404: {}, 408: {true, false}, 429: {true, false}, 500: {true, false}, 503: {true, false},
	} {
		code = answer
		again, err := a.Post(context.Background(), server.URL+"/hook", "id", []byte("{}"))
		if again != want.again || (err == nil) != want.ok {
			t.Errorf("%d: again %t, %v", answer, again, err)
		}
	}
	server.Close()
	if again, err := a.Post(context.Background(), server.URL, "id", nil); !again || err == nil {
		t.Errorf("nobody there: again %t, %v", again, err)
	}
	if again, err := a.Post(context.Background(), "://", "id", nil); again || err == nil {
		t.Errorf("no address: again %t, %v", again, err)
	}
}
