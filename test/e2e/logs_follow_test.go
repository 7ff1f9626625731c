//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/svlog/svlogtest"
	"github.com/abide-project/abide/test/internal/harness"
)

// follower follows logs and proves what it is given.
type follower struct {
	mu     sync.Mutex
	checks map[string]*svlogtest.Check
	last   time.Time
	early  error // a record that is older than the one before
	cancel context.CancelFunc
	ended  chan error
}

// follow begins to follow services as `abide log -f` does.
func follow(t *testing.T, a *harness.Abide, names ...string) *follower {
	t.Helper()
	c, err := a.Client()
	harness.Check(t, err)
	f := &follower{checks: map[string]*svlogtest.Check{}, ended: make(chan error, 1)}
	for _, name := range names {
		f.checks[name] = &svlogtest.Check{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	t.Cleanup(cancel)
	go func() {
		defer c.Close()
		f.ended <- c.Logs(ctx, client.LogQuery{Names: names, Lines: -1, Follow: true}, f.take)
	}()
	return f
}

func (f *follower) take(r client.LogRecord) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := []byte(r.Text)
	if r.Base64 {
		var err error
		if text, err = base64.StdEncoding.DecodeString(r.Text); err != nil {
			return err
		}
	}
	if r.Time.Before(f.last) && f.early == nil {
		f.early = fmt.Errorf("a record of %s of %s comes after one of %s", r.Service, r.Time, f.last)
	}
	f.last = r.Time
	// The stream does not tell pieces of lines from lines, but the text does.
	continued := r.Stream != "abide" && !bytes.HasPrefix(text, []byte(r.Stream+" "))
	return f.checks[r.Service].Add(svlogtest.Record{Stream: r.Stream, Text: text, Continued: continued})
}

// has waits until everything that was written has come.
func (f *follower) has(t *testing.T, authors ...*author) {
	t.Helper()
	harness.Eventually(t, "the follower has everything", func() error {
		select {
		case err := <-f.ended:
			f.ended <- err
			return harness.Final(fmt.Errorf("it ended: %w", err))
		default:
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, w := range authors {
			if err := w.complete(f.checks[w.name]); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		return nil
	})
	f.cancel()
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the follower ended: %v", err)
	}
	if f.early != nil {
		t.Error(f.early)
	}
}

func TestAFollowerMissesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	authors := []*author{newAuthor(t, a, "first", rotating), newAuthor(t, a, "second", rotating)}
	a.Start()
	for _, w := range authors {
		a.Await(w.name, "running")
	}
	both := follow(t, a, "first", "second")
	one := follow(t, a, "first")
	kills := 12
	if full() {
		kills = 50
	}
	for n := range kills {
		for _, w := range authors {
			w.order("go")
		}
		time.Sleep(time.Duration(n%4) * 10 * time.Millisecond)
		harness.Check(t, syscall.Kill(engine(t, a), syscall.SIGKILL))
		time.Sleep(time.Duration(n%3) * 10 * time.Millisecond)
		for _, w := range authors {
			w.order("stop")
			w.answer()
		}
	}
	both.has(t, authors...)
	one.has(t, authors[0])
	for _, w := range authors {
		var c svlogtest.Check
		w.proves(&c)
	}
	t.Logf("%v and %v lines", authors[0].lines, authors[1].lines)
}
