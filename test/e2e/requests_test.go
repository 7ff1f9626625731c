//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// diary is a service that writes down each of its starts, and each signal it gets.
type diary struct {
	a    *harness.Abide
	name string
	path string
	want map[string]int
}

func newDiary(a *harness.Abide, name string) *diary {
	d := &diary{a, name, filepath.Join(a.Dir, name+".diary"), map[string]int{"start": 1}}
	script := a.NewFile(name+".pl", `
open(my $f, ">>", "`+d.path+`") or die; sub note { syswrite($f, "$_[0]\n") }
$SIG{USR1} = sub { note("USR1") }; $SIG{HUP} = sub { note("HUP") };
$SIG{TERM} = sub { note("TERM"); exit 0 }; note("start"); sleep 1000 while 1;
`, 0o644)
	a.Define(name, fmt.Sprintf("command = [\"/usr/bin/perl\", %q]\n[ready]\nafter = \"1ms\"\n", script))
	return d
}

func (d *diary) read() map[string]int {
	data, _ := os.ReadFile(d.path)
	seen := map[string]int{}
	for line := range strings.Lines(string(data)) {
		seen[strings.TrimSpace(line)]++
	}
	return seen
}

// await returns when everything that was asked for is in the diary.
func (d *diary) await(t testing.TB) {
	t.Helper()
	harness.Eventually(t, d.name+" has written down what was asked of it", func() error {
		if got := d.read(); fmt.Sprint(got) != fmt.Sprint(d.want) {
			return fmt.Errorf("it has %v, want %v", got, d.want)
		}
		return nil
	})
}

// do asks for a random verb and notes what must come of it.
func (d *diary) do(t testing.TB, c *client.Client, random *rand.Rand) {
	t.Helper()
	req := client.Request{Names: []string{d.name}}
	switch random.IntN(5) {
	case 0:
		req.Verb = client.Restart
		d.want["TERM"]++
		d.want["start"]++
	case 1:
		req.Verb, req.Signal = client.Signal, "USR1"
		d.want["USR1"]++
	case 2:
		req.Verb = client.Reload
		d.want["HUP"]++
	case 3:
		req.Verb = client.Stop
		d.want["TERM"]++
		d.ask(t, c, req)
		d.await(t)
		req.Verb = client.Start
		d.want["start"]++
	case 4:
		req.Verb, req.Now = client.Disable, random.IntN(2) == 0
		if req.Now {
			d.want["TERM"]++
		}
		d.ask(t, c, req)
		d.await(t)
		if req.Verb = client.Enable; req.Now {
			d.want["start"]++
		}
	}
	d.ask(t, c, req)
	// The same signal twice at once would be one: the kernel keeps no count.
	d.await(t)
}

func (d *diary) ask(t testing.TB, c *client.Client, req client.Request) {
	t.Helper()
	out, err := c.Do(context.Background(), req)
	if err != nil || len(out) != 1 || !out[0].Done {
		t.Errorf("%s %s: %+v, %v", req.Verb, d.name, out, err)
	}
}

// TestEveryRequestIsCarriedOutOnceWhileEnginesAreKilled has clients ask for many
// things while the engine is killed again and again.
func TestEveryRequestIsCarriedOutOnceWhileEnginesAreKilled(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	const clients, requests = 4, 4
	var diaries []*diary
	for i := range clients {
		diaries = append(diaries, newDiary(a, fmt.Sprintf("diary%d", i)))
	}
	a.Start()
	for _, d := range diaries {
		d.await(t)
	}
	over := make(chan struct{})
	var killer, all sync.WaitGroup
	var kills atomic.Int32
	wanted := int32(8)
	if full() {
		wanted = 60
	}
	killer.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(rand.IntN(60)) * time.Millisecond):
			}
			if about, err := a.About(); err == nil && syscall.Kill(about.Pid, syscall.SIGKILL) == nil {
				kills.Add(1)
			}
		}
	})
	for i, d := range diaries {
		all.Go(func() {
			c, err := a.Client()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for n := 0; n < requests || kills.Load() < wanted; n++ {
				if d.do(t, c, random); t.Failed() {
					return
				}
			}
		})
	}
	all.Wait()
	close(over)
	killer.Wait()
	t.Logf("%d engines were killed", kills.Load())
	for _, d := range diaries {
		d.await(t)
		if copies := a.Processes(d.name); len(copies) != 1 {
			t.Errorf("%s has the processes %v, want one", d.name, copies)
		}
	}
}
