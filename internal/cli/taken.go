package cli

import (
	"context"
	"time"

	"github.com/abide-project/abide/client"
)

// Patience with an instance that may be on its way out: a process that was just
// killed still holds its lock for as long as its end takes.
const (
	endingTime  = 2 * time.Second
	endingPause = 5 * time.Millisecond
)

// taken tells whether a living abide has the run directory, and the pid of its
// keeper, 0 if nobody says. One that answers has it. One that does not answer has
// it if it still holds the lock a moment later.
func (a *app) taken(i instance) (pid int, taken bool) {
	deadline := time.Now().Add(endingTime)
	for {
		pid, held := holder(i.run)
		if held {
			held = keeperLives(i.run)
		} else {
			pid, held = mirrored(i)
		}
		if !held {
			return 0, false
		}
		if answers(a.cmd.Context(), i) || time.Now().After(deadline) {
			return pid, true
		}
		time.Sleep(endingPause)
	}
}

func answers(ctx context.Context, i instance) bool {
	ctx, cancel := context.WithTimeout(ctx, endingTime/4)
	defer cancel()
	c, err := client.Dial(i.run)
	if err != nil {
		return false
	}
	defer c.Close()
	_, err = c.About(ctx)
	return err == nil
}
