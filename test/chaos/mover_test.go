//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/test/internal/harness"
)

// move gives orders until it is told to end. Each is told to tick just before it
// goes out. Whatever an order was answered is held against what the programs note.
func (r *round) move(seed uint64, tick chan<- struct{}, end <-chan struct{}) {
	choices := rand.New(rand.NewPCG(seed, 2))
	for n := 1; ; n++ {
		select {
		case <-end:
			return
		default:
		}
		req := client.Request{Names: []string{[]string{"slow", "moved"}[choices.IntN(2)]}}
		switch choices.IntN(6) {
		case 0:
			req.Verb = client.Start
		case 1:
			req.Verb = client.Stop
		case 2, 3:
			req.Verb = client.Restart
		case 4:
			req.Verb, req.Names = client.Start, []string{"task"}
		case 5:
			r.define("moved", "slow", fmt.Sprintf("description = \"%d\"\n", n))
			req.Verb, req.Names = client.Apply, nil
		}
		ticked(tick)
		if !r.order(req) {
			rest(end)
		}
	}
}

// ticked tells who waits for the moment of an order, if anybody does.
func ticked(tick chan<- struct{}) {
	select {
	case tick <- struct{}{}:
	default:
	}
}

// rest waits a little: all of abide is dead for the moment.
func rest(end <-chan struct{}) {
	select {
	case <-end:
	case <-time.After(5 * time.Millisecond):
	}
}

// order sends one order and checks at once what it promises. It is taken if it was
// answered, also by a refusal.
func (r *round) order(req client.Request) (taken bool) {
	taken, _ = r.ask(req)
	return taken
}

// carriedOut sends one order and reports whether abide says that it is done.
func (r *round) carriedOut(req client.Request) bool {
	_, done := r.ask(req)
	return done
}

func (r *round) ask(req client.Request) (taken, done bool) {
	c, err := r.Client()
	if err != nil {
		return false, false
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	if req.Verb == client.Start && len(req.Names) == 1 && req.Names[0] == "task" {
		// Counted before it goes out: an order that is lost with its answer may
		// have been carried out.
		r.mu.Lock()
		r.ordered["task"]++
		r.mu.Unlock()
	}
	outcomes, err := c.Do(ctx, req)
	if ctx.Err() != nil {
		r.t.Errorf("%s %v is not answered for %s", req.Verb, req.Names, harness.Patience)
	}
	if err == nil && req.Verb == client.Stop {
		for _, name := range req.Names {
			r.NothingOf(name)
		}
	}
	undone := func(o client.Outcome) bool { return !o.Done }
	return err == nil, err == nil && !slices.ContainsFunc(outcomes, undone)
}
