package cli

import (
	"context"
	"fmt"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

// runlevel goes to a runlevel, or shows the one before and the present one.
func (a *app) runlevel(args []string) error {
	if len(args) > 0 {
		return a.act(client.Request{Verb: control.Runlevel, Names: args})
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		about, err := c.About(ctx)
		if err != nil {
			return err
		}
		if about.Runlevel == "" {
			fmt.Fprintln(a.stdout, "unknown")
			return exitCode(exitFailed)
		}
		fmt.Fprintln(a.stdout, about.Runlevel)
		return nil
	})
}
