package cli

import (
	"testing"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

func TestEndedRun(t *testing.T) {
	t.Parallel()
	exit := func(run uint64) *client.Exit { return &client.Exit{Run: run} }
	for _, c := range []struct {
		what string
		o    client.Outcome
		want uint64
	}{
		{"waiting for its next run", client.Outcome{Code: control.Failed, Status: &client.Status{State: "waiting", Run: 3, LastExit: exit(3)}}, 3},
		{"in its next run already", client.Outcome{Code: control.Failed, Status: &client.Status{State: "starting", Run: 4, LastExit: exit(3)}}, 3},
		{"without a process", client.Outcome{Code: control.Failed, Status: &client.Status{State: "waiting", Run: 4, LastExit: exit(3)}}, 0},
		{"that never ran", client.Outcome{Code: control.Failed, Status: &client.Status{State: "failed", Run: 1}}, 0},
		{"that was refused", client.Outcome{Code: control.NotPermitted, Status: &client.Status{State: "waiting", Run: 3, LastExit: exit(3)}}, 0},
		{"of which nothing is known", client.Outcome{Code: control.Failed}, 0},
		{"that started", client.Outcome{Done: true, Status: &client.Status{State: "running", Run: 3, LastExit: exit(3)}}, 0},
	} {
		if got := endedRun(&c.o); got != c.want {
			t.Errorf("a service %s: run %d, want %d", c.what, got, c.want)
		}
	}
}
