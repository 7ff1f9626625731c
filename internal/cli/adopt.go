package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/outside"
)

func adoptFlags(f *pflag.FlagSet, o *options) {
	actionFlags()(f, o)
	f.StringVar(&o.as, "as", "", "name of the service it becomes")
}

// adopt is `abide adopt PID --as NAME`. When the process began is read here, so
// that another one which gets its number on the way is not meant.
func (a *app) adopt(args []string) error {
	const example = "abide adopt PID --as NAME"
	pid, err := strconv.Atoi(args[0])
	if err != nil || pid <= 0 {
		return usage(example, "cannot adopt %s: it is not the number of a process", quoteWord(args[0]))
	}
	if a.as == "" {
		return usage(fmt.Sprintf("abide adopt %d --as NAME", pid), "cannot adopt process %d: no service is named", pid)
	}
	start, err := outside.Start("/proc", pid)
	if err != nil {
		return failed("ps -ef", "cannot adopt process %d: there is none of this number", pid)
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		p := a.startProgress(fmt.Sprintf("waiting for abide to adopt process %d", pid))
		outcomes, err := c.Adopt(ctx, client.Adoption{Pid: pid, Start: start, As: a.as, NoWait: a.noWait, Timeout: a.timeout, Waiting: p.say})
		p.stop()
		if err != nil {
			return err
		}
		return a.outcomes("adopt", outcomes)
	})
}
